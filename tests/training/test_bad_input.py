"""Bad input ends a run with one clear line, a non-zero status, and everything written before in place."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from configs import sfa, sfa_gen
from sfa_jax._errors import InputError
from sfa_jax.training import DivergedError, restore_model, train_and_evaluate
from sfa_jax.training._checkpoints import Checkpoints
from sfa_jax.training._driver import _check_finite
from sfa_jax.training._inputs import load_inputs


@pytest.fixture
def config(tiny_config, tmp_path):
    return tiny_config(tmp_path / "cache")


@pytest.fixture
def frames(rng):
    return rng.integers(0, 256, (40, 16, 16, 3), dtype=np.uint8)


def save_pngs(folder, frames):
    folder.mkdir()
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"frame{number}.png")
    return folder


def run(config, tmp_path, **changes):
    with config.unlocked():
        config.update_from_flattened_dict(changes)
    return train_and_evaluate(config, tmp_path / "run")


def test_missing_path(config, tmp_path):
    with pytest.raises(InputError, match=r"nowhere.*(does not exist|no such)"):
        run(config, tmp_path, **{"data.path": str(tmp_path / "nowhere")})


def test_empty_folder(config, tmp_path):
    (tmp_path / "frames").mkdir()
    with pytest.raises(InputError, match=r"frames.*no"):
        run(config, tmp_path, **{"data.path": str(tmp_path / "frames")})


def test_single_frame(config, tmp_path, frames):
    with pytest.raises(InputError, match="at least two"):
        run(config, tmp_path, **{"data.path": str(save_pngs(tmp_path / "frames", frames[:1]))})


def test_mixed_sizes_are_resized_and_said(config, tmp_path, frames, caplog):
    folder = save_pngs(tmp_path / "frames", frames)
    Image.fromarray(frames[0]).resize((20, 30)).save(folder / "frame7.png")
    config.data.path = str(folder)
    inputs = load_inputs(config)
    assert inputs.store.shape == (16, 16, 3)
    assert "sizes" in caplog.text


@pytest.mark.parametrize("damage", ["truncated", "text"])
def test_bad_picture(config, tmp_path, frames, damage):
    folder = save_pngs(tmp_path / "frames", frames)
    whole = (folder / "frame3.png").read_bytes()
    (folder / "frame3.png").write_bytes(whole[: len(whole) // 2] if damage == "truncated" else b"not a picture\n")
    with pytest.raises(InputError, match=r"frame3\.png .*data\.on_corrupt=skip"):
        run(config, tmp_path, **{"data.path": str(folder), "data.on_corrupt": "raise"})
    config.data.path, config.data.on_corrupt = str(folder), "skip"
    assert load_inputs(config).size[1] == 2  # one sequence before it, one after it


def test_video_without_the_extra(config, tmp_path, monkeypatch):
    (tmp_path / "clip.mp4").write_bytes(b"\0" * 100)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match=r"pip install 'sfa_jax\[video\]'"):
        run(config, tmp_path, **{"data.path": str(tmp_path / "clip.mp4")})


def test_damaged_video(config, tmp_path):
    pytest.importorskip("av")
    (tmp_path / "clip.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 9)
    with pytest.raises(InputError, match=r"clip\.mp4"):
        run(config, tmp_path, **{"data.path": str(tmp_path / "clip.mp4")})


def test_clip_longer_than_every_run(config, tmp_path, frames):
    np.save(tmp_path / "frames.npy", frames)
    with pytest.raises(InputError, match="a clip of 64 frames is longer than every run"):
        run(config, tmp_path, **{"data.path": str(tmp_path / "frames.npy"), "data.clip_length": 64})


def test_constant_frames(config, tmp_path, frames):
    np.save(tmp_path / "frames.npy", np.repeat(frames[:1], 40, axis=0))
    with pytest.raises(InputError, match=r"frames\.npy: all .* training frames are the same"):
        run(config, tmp_path, **{"data.path": str(tmp_path / "frames.npy")})


def test_nan_in_an_array(config, tmp_path, frames):
    values = frames.astype(np.float32) / 255
    values[5, 2, 2] = np.nan
    np.save(tmp_path / "frames.npy", values)
    with pytest.raises(InputError, match=r"frames\.npy.*5"):
        run(config, tmp_path, **{"data.path": str(tmp_path / "frames.npy")})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objective.name": "slow"}, "objective.name: expected one of"),
        ({"objective.lag": 2}, "objective.lag: expected less than data.clip_length = 2, got 2"),
        (
            {"data.clip_length": 1},
            r"data.clip_length: expected a whole number of at least 2 frames \(one pair\).*, got 1",
        ),
        ({"objective.lag": 0}, "objective.lag: expected a whole number of at least 1"),
        ({"objective.name": "sfa", "objective.sfa.scaling": "even"}, "objective.sfa.scaling: expected one of"),
        ({"network.pool": "max"}, "network.pool: expected one of"),
        ({"network.recurrence": "some"}, "network.recurrence: expected one of"),
        ({"network.dim": 0}, "network.dim: expected a whole number of at least 1, got 0"),
        ({"network.channels": ()}, r"network.channels: expected one or more whole numbers of at least 1, got \(\)"),
        ({"seed": -1}, r"seed: expected a whole number from 0 to 2\^32 - 1, got -1"),
        ({"seed": 10**20}, "seed: expected a whole number from 0 to"),
        ({"network.pool": "max", "data.path": "nowhere"}, "network.pool: expected one of"),  # before data are read
        ({"objective.whitened.epsilon": 0.0}, "objective.whitened.epsilon: expected a finite number above 0, got 0.0"),
        (
            {"objective.name": "sfa", "objective.sfa.two_batch": True, "data.batch_size": 3},
            "two_batch: needs two halves",
        ),
        ({"train.steps": -5, "train.epochs": 1.0}, "train.steps: expected a whole number of at least 0, got -5"),
        ({"train.steps": 0, "train.epochs": float("inf")}, "train.epochs: expected a finite number of at least 0"),
        ({"train.learning_rate": float("nan")}, "train.learning_rate: expected a finite number above 0, got nan"),
        ({"train.warmup_steps": -1}, "train.warmup_steps: expected a whole number of at least 0"),
        ({"train.gradient_clip": -1.0}, "train.gradient_clip: expected a finite number of at least 0"),
        ({"train.steps": 0}, "expected exactly one above 0"),
        ({"train.epochs": 2.0}, "expected exactly one above 0"),
        ({"train.schedule": "stairs"}, "train.schedule: expected"),
        ({"train.evaluate_every": 0}, "train.evaluate_every: expected a whole number of at least 1"),
        ({"evaluation.holdout": 1.5}, "evaluation.holdout"),
        ({"evaluation.baselines": ("pca", "ica")}, "evaluation.baselines: expected some of .*, got 'ica'"),
        ({"data.order": "backwards"}, "data.order: expected one of"),
        ({"data.room.preset": "flying"}, "room.preset: expected one of"),
    ],
)
def test_options_out_of_range(config, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        run(config, tmp_path, **changes)


def test_workdir_below_a_file(config, tmp_path):
    (tmp_path / "file").write_text("here")
    with pytest.raises(InputError, match=r"--workdir=.*file/run: cannot make or write"):
        train_and_evaluate(config, tmp_path / "file" / "run")
    assert (tmp_path / "file").read_text() == "here"


def test_divergence_keeps_the_last_good_checkpoint(config, tmp_path, caplog):
    """A huge learning rate, reached after a first step at 0, spoils the third; the checkpoint before it is good."""
    spoiled = {"train.learning_rate": 1e37, "train.warmup_steps": 1, "train.evaluate_every": 1}
    with pytest.raises(DivergedError, match=r"step 3: the loss is (nan|inf) .*The checkpoint of step 1 is kept"):
        run(config, tmp_path, **spoiled)
    assert os.listdir(tmp_path / "run" / "checkpoints") == ["1"]
    assert "step 2: the embedding of the training frames is not finite" in caplog.text


def test_divergence_before_any_checkpoint(tmp_path):
    found = {"loss": np.array([1.0, np.inf, np.nan]), "gradient_norm": np.array([1.0, 2.0, np.nan])}
    with (
        Checkpoints(tmp_path / "checkpoints") as checkpoints,
        pytest.raises(
            DivergedError, match=r"step 12: the loss is inf .*gradient 2; .*No checkpoint had been written yet"
        ),
    ):
        _check_finite(found, 10, checkpoints)


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--config.train.lerning_rate=1", r"--config.train.lerning_rate=1: .*Did you mean \"learning_rate\""),
        ("--config.dat.path=frames", r"--config.dat.path=frames: .*Did you mean \"data\""),
        ("--config.train.steps=many", "--config.train.steps=many: invalid literal"),
        ("--wrkdir=x", "Did you mean: workdir"),
        ("config.train.steps=5", "unexpected argument 'config.train.steps=5'.*did you mean --config.train.steps=5"),
    ],
)
def test_flags(run_train, flag, message):
    status, _, err = run_train(flag)
    assert status == 1
    assert "Traceback" not in err
    assert re.search(message, err), err


def test_unknown_config(run_train):
    status, _, err = run_train(config="configs/sfb.py")
    assert status == 1
    assert "configs/sfb.py" in err
    assert "Traceback" not in err


def test_full_disk(start_train, tmp_path):
    """A workdir on a file system of 256 kB: an error that says so, and the first checkpoint and metrics are whole."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"needs the right to mount a tmpfs: {mounted.stderr.decode()}")
    try:
        flags = ("--config.train.steps=1000", "--config.train.evaluate_every=5")
        process = start_train(*flags, f"--workdir={disk / 'run'}")
        _, err = process.communicate(timeout=300)
        assert process.returncode == 1, err
        assert "the disk is full" in err
        assert "Traceback" not in err
        lines = (disk / "run" / "metrics.jsonl").read_text().splitlines()
        assert json.loads(lines[0])["step"] == 5
        steps = [int(name) for name in os.listdir(disk / "run" / "checkpoints") if name.isdigit()]
        assert steps
        assert restore_model(disk / "run").readout["matrix"].shape == (4, 4)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_config_arguments():
    with pytest.raises(ValueError, match="expected some of smoke, narrow, got 'smoky'"):
        sfa.get_config("smoky")
    with pytest.raises(ValueError, match="expected some of smoke, got 'narrow'"):
        sfa_gen.get_config("narrow")
