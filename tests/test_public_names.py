"""Every public name exists, is documented, and importing the package stays light."""

import importlib
import subprocess
import sys
import typing

import pytest

ROOMS = ["slowness", "finola", "sparse", "sklearn", "nets", "autoencoders", "data", "training", "evaluation"]


@pytest.mark.parametrize("room", ROOMS)
def test_public_names(room):
    module = importlib.import_module(f"sfa_jax.{room}")
    assert module.__doc__
    for name in module.__all__:
        thing = getattr(module, name)
        if callable(thing) and typing.get_origin(thing) is None:
            assert thing.__doc__, f"sfa_jax.{room}.{name} has no docstring"


def test_import_is_light():
    """`import sfa_jax` loads nothing; the pure room loads jax and no flax, data or plotting library."""
    code = """
import sys, sfa_jax
heavy = {"jax", "flax", "matplotlib", "PIL", "av", "orbax", "sklearn", "optax", "tensorflow_datasets"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
import sfa_jax.slowness, sfa_jax.finola, sfa_jax.sparse
assert not (heavy - {"jax"}) & set(sys.modules), heavy & set(sys.modules)
import sfa_jax.training
assert not {"matplotlib", "av", "sklearn", "skimage", "tensorflow_datasets"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
