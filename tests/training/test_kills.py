"""A run that is killed at random moments ends as one that nobody kills."""

import pytest

from tests.conftest import TINY
from tests.kill_and_resume import MOMENTS, kill_and_resume

FLAGS = ("--config=configs/sfa.py:smoke", *TINY)


def test_two_kills(tmp_path):
    """While a checkpoint is written, and while the run is measured."""
    flags = (*FLAGS, "--config.train.steps=200", "--config.train.evaluate_every=20")
    kills = kill_and_resume(flags, tmp_path, kills=2, seed=0, moments=("writing", "measuring"))
    assert [kill.stage for kill in kills] == ["training", "measuring"]
    assert kills[1].whole == 200


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_many_kills(tmp_path, processes):
    flags = (*FLAGS, "--config.evaluation.plots=True", "--config.train.steps=6000", "--config.train.evaluate_every=100")
    kills = kill_and_resume(flags, tmp_path, kills=30, seed=processes, processes=processes)
    assert len(kills) == 30
    assert {kill.moment for kill in kills} == set(MOMENTS)
    assert {kill.stage for kill in kills} == {"starting", "training", "measuring"}
    assert any("tmp" in name for kill in kills for name in kill.unfinished)
