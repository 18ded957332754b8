"""One run of train.py and what becomes of it: killed, stopped, moved to other devices, run again, used by others."""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from sfa_jax._errors import InputError
from sfa_jax.data import room
from sfa_jax.embed import embed
from sfa_jax.training import restore_model

ROOT = pathlib.Path(__file__).parents[2]
STEPS = ("--config.train.steps=1000", "--config.train.evaluate_every=200")


def summary_of(workdir):
    """The measures of a run that do not depend on the clock."""
    summary = json.loads((workdir / "summary.json").read_text())
    assert summary.pop("frames_per_second") > 0
    return summary


@pytest.fixture(scope="session")
def uninterrupted(run_train, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("uninterrupted")
    status, out, err = run_train(*STEPS, f"--workdir={workdir}")
    assert status == 0, err
    assert "learned code" in out
    return workdir


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


@pytest.fixture(scope="session")
def killed(start_train, tmp_path_factory):
    """The workdir of a run killed after its first checkpoint."""
    workdir = tmp_path_factory.mktemp("killed")
    process = start_train(*STEPS, f"--workdir={workdir}")
    wait_for_checkpoint(process, workdir)
    process.kill()
    process.communicate()
    assert not (workdir / "summary.json").exists()
    return workdir


def latest_step(workdir):
    return max(int(name) for name in os.listdir(workdir / "checkpoints") if name.isdigit())


def test_kill_and_sigterm_change_nothing(uninterrupted, killed, start_train, run_train, tmp_path):
    shutil.copytree(killed, tmp_path, dirs_exist_ok=True)
    killed_after = latest_step(tmp_path)
    process = start_train(*STEPS, f"--workdir={tmp_path}")
    stopped_after = wait_for_checkpoint(process, tmp_path, killed_after)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert f"resumed at step {killed_after}" in err
    assert "stopped by SIGTERM" in err
    assert not (tmp_path / "summary.json").exists()

    with socket.socket() as free:
        free.bind(("localhost", 0))
        job = (f"--coordinator=localhost:{free.getsockname()[1]}", "--num_processes=1", "--process_id=0")
    status, _, err = run_train(*STEPS, f"--workdir={tmp_path}", *job)  # a job of one process is no other run
    assert status == 0, err
    assert int(err.split("resumed at step ")[1].split()[0]) >= stopped_after
    assert summary_of(tmp_path) == summary_of(uninterrupted)

    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    for split in ("train", "eval"):
        steps = [record["step"] for record in records if record["split"] == split]
        assert steps == sorted(set(steps))
        assert steps[-1] == 1000


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


def readme_block(marker):
    """The Python block of the README that contains `marker`."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    return next(block for block in blocks if marker in block)


def test_five_lines_without_our_code(uninterrupted):
    block = readme_block("orbax.checkpoint")
    assert len([line for line in block.splitlines() if line.strip() and not line.startswith("#")]) <= 5
    code = block.replace("WORKDIR", uninterrupted.name) + "\nimport sys\nassert 'sfa_jax' not in sys.modules"
    code += "\nassert state['readout']['matrix'].shape == (4, 4), state.keys()"
    code += "\nassert {'step', 'params', 'batch_stats', 'opt_state', 'carry', 'rng'} <= set(state)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, cwd=uninterrupted.parent)


def test_the_function_from_frames_to_y(uninterrupted):
    (run,) = room(n_frames=300, image_size=16)
    model = restore_model(uninterrupted)
    with np.load(uninterrupted / "embeddings.npz") as arrays:
        np.testing.assert_allclose(model(run.frames), arrays["y"], atol=1e-4)
    with pytest.raises(ValueError, match=r"frames: expected shape \[time, 16, 16, 3\]"):
        model(run.frames[:, :8])


def test_embed_command(uninterrupted, tmp_path):
    (run,) = room(n_frames=40, image_size=16, seed=3)
    np.savez(tmp_path / "new.npz", frames=run.frames, **{"truth/x": run.truth["x"]})
    command = [
        sys.executable,
        "-m",
        "sfa_jax.embed",
        str(uninterrupted),
        str(tmp_path / "new.npz"),
        str(tmp_path / "out.npz"),
    ]
    subprocess.run(command, check=True, timeout=120, cwd=ROOT)
    with np.load(tmp_path / "out.npz", allow_pickle=False) as arrays:
        np.testing.assert_allclose(arrays["y"], restore_model(uninterrupted)(run.frames), atol=1e-4)
        assert {"run_id", "frame_index", "truth/x"} <= set(arrays.files)
    command[3] = str(tmp_path / "nowhere")
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert done.returncode == 1
    assert "nowhere/checkpoints: expected a folder of checkpoints" in done.stderr
    assert "Traceback" not in done.stderr


def test_embed_errors(uninterrupted, tmp_path):
    for path, output, message in [
        ("room", tmp_path / "o.txt", "OUTPUT: expected a name that ends in .npz"),
        ("room", tmp_path / "nowhere" / "o.npz", "OUTPUT: the folder .*nowhere does not exist"),
        ("room", tmp_path / "folder.npz", "OUTPUT: expected a file to write, got the folder"),
        (str(tmp_path / "gone.mp4"), tmp_path / "o.npz", "gone.mp4"),
        (str(tmp_path / "clip.npz"), tmp_path / "clip.npz", "OUTPUT: .*clip.npz exists and was not written by this"),
    ]:
        np.savez(tmp_path / "clip.npz", frames=np.zeros((3, 16, 16, 3), np.uint8))
        (tmp_path / "folder.npz").mkdir(exist_ok=True)
        with pytest.raises(InputError, match=message):
            embed(uninterrupted, path, output)
