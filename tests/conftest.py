"""What all tests share: a strict jax, two emulated devices, one compilation cache, and tiny inputs."""

import importlib.metadata
import os
import pathlib
import subprocess
import sys

os.environ.setdefault("JAX_NUM_CPU_DEVICES", "2")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # of each worker: more would wait for one another
# Tests spend their time in the compiler, not in what it makes. XLA's older emitters compile 2.5 times as fast; a flag
# that a jaxlib does not know would end the process.
os.environ["XLA_FLAGS"] = " ".join(
    ["--xla_backend_optimization_level=0"]
    + ["--xla_cpu_use_fusion_emitters=false"] * importlib.metadata.version("jaxlib").startswith("0.10.")
    + [os.environ.get("XLA_FLAGS", "")]
).strip()

import jax
import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[1]
OURS_ALONE = {
    "sparse",
    "slowness",
    "finola",
    "nets",
    "evaluation",
}  # optax promotes its step counters, so training cannot be strict


def pytest_collection_modifyitems(items):
    """The files that train come first: they take longest, and the workers are given whole files in this order."""
    items.sort(key=lambda item: item.path.parent.name != "training")


@pytest.fixture(autouse=True)
def strict_jax(request):
    """No silent promotion of types or ranks in code that is ours alone."""
    strict = bool(OURS_ALONE & set(request.path.parts))
    with (
        jax.numpy_dtype_promotion("strict" if strict else "standard"),
        jax.numpy_rank_promotion("raise" if strict else "allow"),
    ):
        yield


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session", autouse=True)
def compiled_once(tmp_path_factory):
    """One compilation cache, empty at first, for all workers of this session and every process they start."""
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "compiled"
    for name, value in {
        "jax_compilation_cache_dir": str(folder),
        "jax_persistent_cache_min_compile_time_secs": 0.0,  # many programs of a few milliseconds add up
    }.items():
        os.environ[name.upper()] = str(value)
        jax.config.update(name, value)


TINY = (
    "--config.data.image_size=16",
    "--config.data.room.n_frames=300",
    "--config.network.channels=(4,8)",
    "--config.network.dim=4",
    "--config.network.hidden=16",
    "--config.evaluation.plots=False",
    "--config.evaluation.baselines=('pca','untrained')",
)


@pytest.fixture(scope="session")
def start_train(tmp_path_factory):
    """`start_train(*flags, devices=1)` starts train.py on the smoke config; gives the process.

    With a tiny network, unless `tiny` is false: a flag that holds a tuple adds to one that was given before.
    """
    cache = str(tmp_path_factory.mktemp("frames"))

    def start(*flags, config="configs/sfa.py:smoke", devices=1, tiny=True, **popen):
        env = os.environ | {"SFA_JAX_CACHE": cache, "JAX_NUM_CPU_DEVICES": str(devices)}
        command = [
            sys.executable,
            str(ROOT / "train.py"),
            f"--config={config}",
            *(TINY if tiny else ()),
            *map(str, flags),
        ]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": ROOT}
        return subprocess.Popen(command, env=env, **(pipes | popen))

    return start


@pytest.fixture(scope="session")
def run_train(start_train):
    """`run_train(*flags)` runs train.py to its end; gives (exit status, stdout, stderr)."""

    def run(*flags, **options):
        process = start_train(*flags, **options)
        out, err = process.communicate(timeout=300)
        return process.returncode, out, err

    return run
