"""Checkpoints can be read wherever they could be written, or else nothing is trained."""

import os
import pathlib

import jax.numpy as jnp
import numpy as np
import pytest

from sfa_jax._errors import InputError
from sfa_jax.training._checkpoints import Checkpoints, read_run
from sfa_jax.training._plain_path import plain_path
from sfa_jax.training._steps import TrainState


def make_state(step):
    arrays = {"w": jnp.arange(3.0), "lost": jnp.array([np.nan, step])}
    return TrainState(
        jnp.int32(step), arrays, {}, {"mean": jnp.ones(2)}, {"v": jnp.zeros(2)}, jnp.zeros(1), jnp.zeros(2, jnp.uint32)
    )


@pytest.mark.parametrize("name", ["Project [2026]", "a\\b", "a*?", "gs:", os.fsdecode(b"run \xe9")], ids=ascii)
def test_any_name_of_a_folder(tmp_path, name):
    workdir = tmp_path / name / "run"
    try:
        workdir.mkdir(parents=True)
    except OSError:
        pytest.skip("this file system has no such name")
    with Checkpoints(workdir / "checkpoints") as checkpoints:
        for step in (1, 2):
            checkpoints.save(make_state(step), {"seed": 0}, {"frames": [1, 2]}, 0.5)
    state, config, data = read_run(workdir)
    np.testing.assert_array_equal(state["params"]["lost"], [np.nan, 2])
    assert (config, data) == ({"seed": 0}, {"frames": [1, 2]})
    assert [path.name for path in tmp_path.iterdir()] == [name]  # nothing was written beside it


@pytest.mark.parametrize("bad", ["lost", "changed"])
def test_first_checkpoint_is_read_back(tmp_path, monkeypatch, bad):
    with Checkpoints(tmp_path) as checkpoints:
        restore = checkpoints._manager.restore

        def spoil(step, args):
            found = restore(step, args=args)
            if bad == "lost":
                raise ValueError("NOT_FOUND: metadata")
            found["state"]["params"]["w"][0] += 1
            return found

        monkeypatch.setattr(checkpoints._manager, "restore", spoil)
        said = {"lost": "NOT_FOUND: metadata", "changed": "other values in params/w"}[bad]
        message = rf"{tmp_path.name}: the first checkpoint was written there and does not read back \({said}\), so that"
        with pytest.raises(InputError, match=message):
            checkpoints.save(make_state(1), {}, {}, None)
        checkpoints.save(make_state(2), {}, {}, None)  # the first alone is looked at


def test_a_system_without_handles_refuses_the_path(tmp_path, monkeypatch):
    monkeypatch.setattr(pathlib.Path, "is_dir", lambda path: False)
    folder = tmp_path / "a [1]"
    folder.mkdir()
    with pytest.raises(InputError, match=r"checkpoints cannot be kept below a path with '\[' '\]'"), plain_path(folder):
        pass
    with plain_path(tmp_path) as same:
        assert same == tmp_path
