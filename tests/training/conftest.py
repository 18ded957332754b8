"""One finished run of train.py that several tests look at."""

import json

import pytest

STEPS = ("--config.train.steps=3000", "--config.train.evaluate_every=500")


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
