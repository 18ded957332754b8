"""Signals end a run where nothing is lost, whatever it is doing."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from sfa_jax.training import Stopped
from sfa_jax.training._signals import StopSignals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_while_files_are_read_a_signal_ends_at_once(number):
    with pytest.raises(Stopped, match=f"stopped by {number.name}: what was saved before stays"), StopSignals():
        signal.raise_signal(number)


def test_while_held_a_signal_is_noted(capfd):
    with StopSignals() as signals, signals.held():
        signals.check("nothing yet")
        signal.raise_signal(signal.SIGTERM)
        assert "stopping at the next safe place" in capfd.readouterr().err
        with pytest.raises(Stopped, match=r"stopped by SIGTERM: step 3 is saved; run again") as stopped:
            signals.check("step 3 is saved")
    assert stopped.value.signal_name == "SIGTERM"
    assert not isinstance(stopped.value, Exception)


def test_the_second_signal_ends_the_process():
    code = """
import signal
from sfa_jax.training._signals import StopSignals
with StopSignals() as signals, signals.held():
    signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGINT)
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == -signal.SIGINT


def test_handlers_are_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with StopSignals():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_ctrl_c_during_the_first_compilation(start_train, tmp_path, monkeypatch):
    """Without a compilation cache the step compiles for seconds after the data are read: the signal lands there."""
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "empty"))
    flags = ("--config.train.steps=100000", "--config.train.evaluate_every=100000")
    process = start_train(*flags, f"--workdir={tmp_path / 'run'}")
    for line in process.stderr:
        if line.startswith("data:"):
            break
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    saved = re.search(r"stopped by SIGINT: (no step was taken|step (\d+) of 100000 is saved)", err)
    assert saved, err
    if saved[2]:
        assert saved[2] in os.listdir(tmp_path / "run" / "checkpoints")
