"""One device or several, of one process or of two: the same run for its first steps, up to rounding."""

import json
import logging
import socket

import jax
import numpy as np
import pytest

from sfa_jax.training import train_and_evaluate
from sfa_jax.training._checkpoints import read_run

N_STEPS = 20
EACH_STEP = (
    f"--config.train.steps={N_STEPS}",
    "--config.train.evaluate_every=10",
    "--config.train.steps_per_dispatch=1",
)
# The first is what the others are compared with: (devices of each process, processes).
DEVICES = ((1, 1), (2, 1), (4, 1), (2, 2))
CASES = [
    *((f"--config.objective.name={name}", f"--config.network.recurrence={recurrence}")
      for name in ("whitened", "sfa", "vamp2") for recurrence in ("none", "full")),
    ("--config.data.batch_size=8", "--config.data.clip_length=12", "--config.data.order=consecutive",
     "--config.network.recurrence=full"),
    ("--config.objective.name=sfa", "--config.objective.sfa.two_batch=True", "--config.objective.sfa.scaling=equal",
     "--config.network.recurrence=detached", "--config.network.pool=mean", "--config.data.clip_length=6",
     "--config.objective.lag=2"),
    ("--config.objective.name=vamp2", "--config.network.pool=spatial_softmax", "--config.data.batch_size=64",
     "--config.train.gradient_clip=0"),
]  # fmt: skip


def run_of(workdir):
    """Losses of each step, readout, and summary of a finished run."""
    records = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    losses = [record["loss"] for record in records if record["split"] == "train"]
    summary = json.loads((workdir / "summary.json").read_text())
    assert summary.pop("frames_per_second") > 0
    return np.array(losses), read_run(workdir)[0]["readout"], summary


def assert_same(workdir, expected):
    losses, readout, summary = run_of(workdir)
    expected_losses, expected_readout, expected_summary = run_of(expected)
    assert losses.shape == (N_STEPS,)
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-5)
    for name, value in expected_readout.items():
        np.testing.assert_allclose(readout[name], value, rtol=0, atol=1e-4 * np.abs(value).max(), err_msg=name)
    for each in (summary, expected_summary):
        assert np.isfinite(list(each.values())).all()
    for name in ("shuffle_control_delta", "memory_reliance", "delta/0"):
        np.testing.assert_allclose(summary[name], expected_summary[name], rtol=1e-4, err_msg=name)


@pytest.fixture
def train(start_train, tmp_path):
    """`train(flags, devices, processes, tiny=True)` trains to the end; gives the workdir."""

    def run(flags, devices, processes, tiny=True):
        workdir = tmp_path / f"{devices}x{processes}"
        with socket.socket() as free:
            free.bind(("localhost", 0))
            address = f"localhost:{free.getsockname()[1]}"
        jobs = [
            (f"--coordinator={address}", f"--num_processes={processes}", f"--process_id={index}")
            for index in range(processes)
        ]
        flags = (*EACH_STEP, *flags, f"--workdir={workdir}")
        started = [start_train(*flags, *(job if processes > 1 else ()), devices=devices, tiny=tiny) for job in jobs]
        try:
            for process in started:
                _, err = process.communicate(timeout=300)
                assert process.returncode == 0, err
        finally:
            for process in started:
                process.kill()
        return workdir

    return run


def test_two_devices_and_two_processes_of_two(one_device, tiny_config, train, tmp_path, monkeypatch):
    """One of the devices of the tests' own process, then both; then two processes with two devices each."""
    config = tiny_config(tmp_path / "cache")
    config.evaluation.baselines = ()
    config.network.recurrence = "full"
    config.train.steps_per_dispatch = 1
    train_and_evaluate(config, tmp_path / "one")
    monkeypatch.setattr(jax, "devices", jax.local_devices)
    train_and_evaluate(config, tmp_path / "two")
    assert_same(tmp_path / "two", tmp_path / "one")
    assert_same(train(["--config.network.recurrence=full"], 2, 2), tmp_path / "one")


def test_an_uneven_batch_says_which_devices_are_used(one_device, tiny_config, tmp_path, monkeypatch, caplog):
    config = tiny_config(tmp_path / "cache")
    config.evaluation.baselines = ()
    config.data.batch_size, config.train.steps_per_dispatch = 31, 1
    train_and_evaluate(config, tmp_path / "one")
    monkeypatch.setattr(jax, "devices", jax.local_devices)
    monkeypatch.setattr(logging.getLogger("sfa_jax"), "propagate", True)
    train_and_evaluate(config, tmp_path / "two")
    assert "1 of 2 devices are used: a batch of 31 clips (data.batch_size, or the fewer" in caplog.text
    assert_same(tmp_path / "two", tmp_path / "one")


@pytest.mark.slow
@pytest.mark.parametrize("flags", CASES, ids=lambda flags: ",".join(flag.rpartition(".")[2] for flag in flags))
def test_every_objective_on_every_number_of_devices(train, flags, monkeypatch):
    """The smoke config as users run it, with the whole compiler, until training has amplified rounding."""
    monkeypatch.setenv("XLA_FLAGS", "")
    flags = (*flags, "--config.evaluation.plots=False", "--config.evaluation.baselines=()")
    expected, *others = (train(flags, *devices, tiny=False) for devices in DEVICES)
    for workdir in others:
        (losses, _, summary), (expected_losses, _, _) = run_of(workdir), run_of(expected)
        np.testing.assert_allclose(losses[:2], expected_losses[:2], rtol=1e-4)
        np.testing.assert_allclose(losses[:5], expected_losses[:5], rtol=1e-2)
        assert np.isfinite(list(summary.values())).all()
