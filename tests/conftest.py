"""What all tests share: a strict jax, two emulated devices, one compilation cache, and tiny inputs."""

import os

os.environ.setdefault("JAX_NUM_CPU_DEVICES", "2")

import jax
import numpy as np
import pytest

OURS_ALONE = {"slowness", "nets", "evaluation"}  # optax promotes its step counters, so training cannot be strict


@pytest.fixture(autouse=True)
def strict_jax(request):
    """No silent promotion of types or ranks in code that is ours alone."""
    strict = OURS_ALONE & set(request.path.parts)
    with jax.numpy_dtype_promotion("strict" if strict else "standard"), jax.numpy_rank_promotion("raise"):
        yield


@pytest.fixture
def rng():
    return np.random.default_rng(0)
