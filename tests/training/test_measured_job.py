"""What the measures of a job are taken on."""

import numpy as np
import pytest

from sfa_jax.data import Run
from sfa_jax.training import _inputs, _measured_job
from sfa_jax.training._inputs import load_inputs
from sfa_jax.training._measured_job import MeasuredJob
from sfa_jax.training._parts import n_frames_of


@pytest.fixture
def job(tiny_config, tmp_path, monkeypatch):
    """A job on 30,000 frames whose truth is to be seen in the last third only."""
    t = np.arange(30_000)
    truth = np.sin(t / 50).astype(np.float32)
    shown = np.where(t > 20_000, truth, 0)
    frames = (128 + 60 * shown + np.random.default_rng(0).integers(-20, 20, t.size)).astype(np.uint8)
    frames = np.repeat(frames, 16).reshape(-1, 4, 4, 1)
    frames[:, 0, 0, 0] = t % 251  # nothing is constant
    run = Run(frames, "film", t, {"level": truth})
    monkeypatch.setattr(_inputs, "load", lambda *_, **options: [run])
    config = tiny_config(tmp_path)
    config.evaluation.baselines = ("pca", "linear_sfa")
    return MeasuredJob(config, load_inputs(config), dim=2)


def test_baselines_see_all_training_frames(job):
    measures = job._baselines()
    assert measures["baseline/pca/r2/level"] > 0.8
    assert measures["baseline/linear_sfa/r2/level"] > 0.8
    assert n_frames_of(job._read) == n_frames_of(job._train)


def test_a_cap_is_spread_over_all_frames_and_said(job, tiny_config, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(_measured_job, "READ_FRAMES", 5000)
    config = tiny_config(tmp_path)
    with caplog.at_level("INFO", "sfa_jax"):
        capped = MeasuredJob(config, load_inputs(config), dim=2)
    assert "readouts and baselines are fitted on 5000 of" in caplog.text
    assert capped._read[0].start < 3000
    assert capped._read[-1].stop > 20_000
    measured = capped._measures_of(*([np.random.default_rng(0).normal(size=(p.stop - p.start, 2)) for p in parts]
                                     for parts in (capped._read, capped._held_out)))  # fmt: skip
    assert "delta/0" in measured
