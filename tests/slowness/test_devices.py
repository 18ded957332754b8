"""Frames sharded over two emulated devices, and over two processes, give the moments and losses of one device."""

import json
import os
import socket
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from sfa_jax import slowness

N_FRAMES, DIM = 64, 5


def frames():
    rng = np.random.default_rng(0)
    return np.cumsum(rng.normal(size=(N_FRAMES, DIM)), axis=0) + 100.0


def statistics(y, lag):
    """Everything that is a statistic of the batch, as one flat vector."""
    past, now = y[:-lag], y[lag:]
    moments = slowness.update_moments(slowness.init_moments(DIM, lag=lag, pairs=True, dtype=y.dtype), y)
    losses = (
        slowness.sfa_loss(now, past),
        slowness.whitened_slowness_loss(now, past),
        slowness.vamp2_loss(now, past),
        slowness.two_batch_penalties(past, now),
        slowness.log_variance_penalty(y),
        slowness.delta(y),
    )
    return jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves((moments, losses))])


def over_all_devices(y, lag):
    """`statistics` of frames that are sharded over every device of the job, each process giving its own part."""
    devices = jax.devices()
    mesh = jax.make_mesh((len(devices),), ("data",), axis_types=(AxisType.Auto,), devices=devices)
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    sharded = jax.make_array_from_callback(y.shape, sharding, lambda index: y[index])
    everywhere = NamedSharding(mesh, PartitionSpec())
    return jax.jit(statistics, static_argnums=1, out_shardings=everywhere)(sharded, lag)


@pytest.mark.parametrize(("dtype", "tolerance", "lag"), [(np.float64, 1e-10, 3), (np.float32, 1e-5, 1)])
def test_two_devices(dtype, tolerance, lag):
    assert len(jax.devices()) >= 2
    with jax.enable_x64(dtype == np.float64):
        y = frames().astype(dtype) - (0 if dtype == np.float64 else 100)
        expected = np.asarray(jax.jit(statistics, static_argnums=1)(y, lag))
        found = np.asarray(over_all_devices(y, lag))
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * np.abs(expected).max())


def test_merging_shards_is_one_shot():
    """Shards that are runs of their own reduce to the moments of all runs, in any grouping."""
    with jax.enable_x64(True):
        y = frames()
        update, merge = jax.jit(slowness.update_moments), jax.jit(slowness.merge_moments)
        whole = slowness.init_moments(DIM)
        parts = []
        for run in np.split(y, 4):
            whole = update(whole, run, new_run=True)
            parts.append(update(slowness.init_moments(DIM), run))
        for merged in (
            merge(merge(parts[0], parts[1]), merge(parts[2], parts[3])),
            merge(merge(merge(parts[3], parts[1]), parts[0]), parts[2]),
        ):
            for name in ("n_frames", "mean", "scatter", "n_pairs", "change_scatter"):
                np.testing.assert_allclose(getattr(merged, name), getattr(whole, name), rtol=1e-10)


PROCESS = """
import sys
import jax
jax.distributed.initialize(sys.argv[1], num_processes=2, process_id=int(sys.argv[2]))
jax.config.update("jax_enable_x64", True)
import json
import numpy as np
import test_devices
found = test_devices.over_all_devices(test_devices.frames(), 1)
print(json.dumps({"devices": jax.device_count(), "found": np.asarray(found.addressable_data(0)).tolist()}))
"""


def test_two_processes():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    here = os.path.dirname(os.path.abspath(__file__))
    env = os.environ | {
        "JAX_NUM_CPU_DEVICES": "1",
        "PYTHONPATH": os.pathsep.join([here, os.environ.get("PYTHONPATH", "")]),
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, address, str(number)],
            env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for number in range(2)
    ]  # fmt: skip
    answers = []
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        answers.append(json.loads(out.splitlines()[-1]))
    with jax.enable_x64(True):
        expected = np.asarray(jax.jit(statistics, static_argnums=1)(frames(), 1))
    for answer in answers:
        assert answer["devices"] == 2
        np.testing.assert_allclose(answer["found"], expected, rtol=1e-10, atol=1e-10 * np.abs(expected).max())
