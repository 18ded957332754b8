"""Measures are written and reported before anything that can fail after them."""

import json

import numpy as np
import pytest

from sfa_jax.data import Run
from sfa_jax.evaluation import Picture
from sfa_jax.training import _finished
from sfa_jax.training._finished import Finished, write_finished


def test_summary_comes_first(tmp_path, monkeypatch):
    """A disk that is full when the codes are written, and a signal while pictures are drawn, find it on disk."""
    runs = [Run(np.zeros((3, 2, 2, 1), np.uint8), "a", np.arange(3), {}, None)]
    drawn, reported = [], []
    finished = Finished(
        {"delta/0": 0.1}, [np.zeros((3, 1))], [np.zeros(3, bool)], [Picture(name, drawn.append) for name in "ab"]
    )

    def report(summary):
        assert json.loads((tmp_path / "summary.json").read_text()) == summary
        assert not (tmp_path / "embeddings.npz").exists()
        reported.append(summary)

    def poll():
        if drawn:
            raise KeyboardInterrupt

    def no_room(*args):
        raise OSError(28, "No space left on device")

    write_finished(tmp_path, finished, runs, report=report, plots=False, poll=poll)
    assert np.load(tmp_path / "embeddings.npz")["y"].shape == (3, 1)
    assert not drawn
    (tmp_path / "embeddings.npz").unlink()
    with pytest.raises(KeyboardInterrupt):
        write_finished(tmp_path, finished, runs, report=report, plots=True, poll=poll)
    assert drawn == [tmp_path / "plots"]
    (tmp_path / "embeddings.npz").unlink()
    monkeypatch.setattr(_finished, "write_embeddings", no_room)
    with pytest.raises(OSError):
        write_finished(tmp_path, finished, runs, report=report, plots=True, poll=poll)
    assert len(reported) == 3
