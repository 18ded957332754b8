"""Runs that are killed, stopped, or moved to other devices end as an uninterrupted one does."""

import json
import os
import signal
import time

import numpy as np

from tests.training.conftest import STEPS, summary_of


def wait_for_checkpoint(process, workdir, after=0):
    """Returns once a checkpoint beyond step `after` is whole."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        steps = [int(path.name) for path in (workdir / "checkpoints").glob("*") if path.name.isdigit()]
        if max(steps, default=0) > after:
            return max(steps)
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    raise AssertionError("no checkpoint within two minutes")


def test_kill_and_sigterm_change_nothing(uninterrupted, start_train, run_train, tmp_path):
    process = start_train(*STEPS, f"--workdir={tmp_path}")
    killed_after = wait_for_checkpoint(process, tmp_path)
    process.kill()
    process.communicate()
    assert not (tmp_path / "summary.json").exists()

    process = start_train(*STEPS, f"--workdir={tmp_path}")
    stopped_after = wait_for_checkpoint(process, tmp_path, killed_after)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert f"resumed at step {killed_after}" in err
    assert "stopped by SIGTERM" in err
    assert not (tmp_path / "summary.json").exists()

    status, _, err = run_train(*STEPS, f"--workdir={tmp_path}")
    assert status == 0, err
    assert int(err.split("resumed at step ")[1].split()[0]) >= stopped_after
    assert summary_of(tmp_path) == summary_of(uninterrupted)

    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    for split in ("train", "eval"):
        steps = [record["step"] for record in records if record["split"] == split]
        assert steps == sorted(set(steps))
        assert steps[-1] == 3000


def test_other_numbers_of_devices(uninterrupted, start_train, run_train, tmp_path):
    """One device's checkpoint goes on on two, and the reverse; the numbers agree as far as rounding lets them."""
    step = 0
    for devices in (1, 2):
        process = start_train(*STEPS, f"--workdir={tmp_path}", devices=devices)
        step = wait_for_checkpoint(process, tmp_path, step)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        steps = [int(name) for name in os.listdir(tmp_path / "checkpoints") if name.isdigit()]
        step = max(steps)
    status, _, err = run_train(*STEPS, f"--workdir={tmp_path}", devices=1)
    assert status == 0, err
    found, expected = summary_of(tmp_path), summary_of(uninterrupted)
    assert found.keys() == expected.keys()
    for name in ("baseline/pca/r2/x", "held_out_frames", "memory_reliance"):
        assert found[name] == expected[name]
    np.testing.assert_allclose(found["delta_train/0"], expected["delta_train/0"], rtol=0.5)


def test_running_again_measures_again(uninterrupted, run_train):
    before = summary_of(uninterrupted)
    status, _, err = run_train(*STEPS, f"--workdir={uninterrupted}")
    assert status == 0, err
    assert "resumed at step 3000 of 3000" in err
    again = json.loads((uninterrupted / "summary.json").read_text())
    again.pop("frames_per_second")
    assert again == before


def test_another_shape_names_the_leaf(uninterrupted, run_train):
    status, _, err = run_train(*STEPS, f"--workdir={uninterrupted}", "--config.network.hidden=17")
    assert status == 1
    assert "Traceback" not in err
    assert "state/params/head/hidden/bias: the config asks for float32[17], the checkpoint holds float32[16]" in err
    assert "use the config it was made with or another --workdir" in err
    assert (uninterrupted / "summary.json").exists()
    assert json.loads((uninterrupted / "config.json").read_text())["network"]["hidden"] == 16


def test_what_a_run_writes(uninterrupted):
    config = json.loads((uninterrupted / "config.json").read_text())
    assert config["network"]["dim"] == 4
    summary = json.loads((uninterrupted / "summary.json").read_text())
    wanted = {"delta/0", "r2/x", "r2/cos_heading", "baseline/pca/r2/x", "baseline/untrained/r2/x", "effective_rank"}
    wanted |= {
        "shuffle_control_delta",
        "memory_reliance",
        "frames_per_second",
        "slowness_gap",
        "whiteness_error",
        "eta/0",
    }
    assert wanted <= summary.keys()
    assert all(isinstance(value, float) for value in summary.values())
    with np.load(uninterrupted / "embeddings.npz", allow_pickle=False) as arrays:
        y, held_out = arrays["y"], arrays["held_out"]
        assert y.shape == (300, 4)
        assert arrays["truth/x"].shape == arrays["run_id"].shape == arrays["frame_index"].shape == (300,)
    assert held_out.sum() == 60
    train = y[:234]  # 60 held out, and a gap of 6
    np.testing.assert_allclose(train.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(np.cov(train, rowvar=False, bias=True), np.eye(4), atol=5e-3)
    deltas = np.mean(np.diff(train, axis=0) ** 2, axis=0)
    assert np.all(np.diff(deltas) > -1e-4)
