"""The job of closed-form slow features: the driver's passes give what `slowness.fit_polynomial` gives."""

import json

import jax
import numpy as np
import pytest

from configs import linear_sfa
from sfa_jax import slowness
from sfa_jax._errors import InputError
from sfa_jax.data import ClipSampler, room
from sfa_jax.embed import embed
from sfa_jax.training import Stopped, _driver, restore_model, train_and_evaluate


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    config = linear_sfa.get_config("smoke,quadratic")
    config.data.cache_dir = str(tmp_path_factory.mktemp("cache"))
    config.data.image_size = 16
    config.data.room.n_frames = 300
    config.data.room.n_runs = 2
    config.data.clip_length = 70
    config.evaluation.plots = False
    config.sfa.n_inputs = 6
    config.sfa.n_components = 5
    return config


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("finished")
    train_and_evaluate(config, workdir)
    return workdir


def summary_of(workdir):
    summary = json.loads((workdir / "summary.json").read_text())
    del summary["frames_per_second"]
    return summary


def test_equals_the_pure_functions(config, finished):
    runs = room(n_frames=300, n_runs=2, image_size=16)
    train = [run.frames[:234] for run in runs]  # 60 held out, and a gap of 6
    model = slowness.fit_polynomial(train, 5, n_inputs=6)
    summary = json.loads((finished / "summary.json").read_text())
    np.testing.assert_allclose([summary[f"delta_train/{k}"] for k in range(5)], model.slow.delta, rtol=2e-3)
    with jax.enable_x64(True):
        expected = [slowness.transform(model, run.frames.reshape(300, -1) / 255.0) for run in runs]
    with np.load(finished / "embeddings.npz") as arrays:
        y = arrays["y"]
    assert y.shape == (600, 5)
    for k in range(5):
        assert abs(np.corrcoef(y[:, k], np.concatenate(expected)[:, k])[0, 1]) > 0.999


def test_lag_runs_and_low_contrast(config, tmp_path):
    """Short dark runs of four grey levels at lag 3: the code is white, and that of the pure functions."""
    rng = np.random.default_rng(0)
    walks = np.cumsum(rng.normal(size=(2, 90, 4)), axis=1) @ rng.normal(size=(4, 36))
    walks = (walks - walks.min()) / (walks.max() - walks.min())
    for number, walk in enumerate(walks):
        np.save(
            tmp_path / f"run{number}.npy", np.repeat(np.rint(1 + 20 * walk).astype(np.uint8), 3).reshape(90, 6, 6, 3)
        )
    config = config.copy_and_resolve_references()
    config.update_from_flattened_dict(
        {
            "data.path": str(tmp_path / "run*.npy"),
            "data.image_size": 0,
            "data.clip_length": 16,
            "objective.lag": 3,
            "sfa.n_inputs": 4,
            "evaluation.holdout": 0.0,
            "evaluation.baselines": (),
        }
    )
    train_and_evaluate(config, tmp_path / "run")
    with np.load(tmp_path / "run" / "embeddings.npz") as arrays:
        y = arrays["y"]
    runs = [np.load(tmp_path / f"run{number}.npy") for number in range(2)]
    model = slowness.fit_polynomial(runs, 5, n_inputs=4, lag=3)
    with jax.enable_x64(True):
        expected = np.concatenate([slowness.transform(model, run) for run in runs])
    np.testing.assert_allclose(y, expected, atol=0.01)
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(np.cov(y, rowvar=False, bias=True), np.eye(5), atol=5e-3)


def test_what_a_run_writes(finished):
    summary = json.loads((finished / "summary.json").read_text())
    wanted = {"delta/0", "r2/x", "baseline/pca/r2/x", "baseline/linear_sfa/r2/x", "baseline/quadratic_sfa/r2/x"}
    assert wanted <= summary.keys()
    assert summary["memory_reliance"] == pytest.approx(0, abs=1e-6)
    assert summary["shuffle_control_delta"] == pytest.approx(2, abs=0.6)  # of 60 frames
    model = restore_model(finished)
    runs = room(n_frames=300, n_runs=2, image_size=16)
    with np.load(finished / "embeddings.npz") as arrays:
        np.testing.assert_allclose(model(runs[1].frames), arrays["y"][300:], atol=1e-4)
    np.testing.assert_allclose(model.read_out(model.embed(runs[1].frames)), model(runs[1].frames), atol=1e-3)
    with pytest.raises(ValueError, match=r"frames: expected shape \[time, 16, 16, 3\]"):
        model(runs[0].frames[:, :8])


def test_embed(config, finished, tmp_path):
    (run,) = room(n_frames=40, image_size=16, seed=3)
    np.save(tmp_path / "new.npy", run.frames)
    embed(finished, str(tmp_path / "new.npy"), tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as arrays:
        np.testing.assert_allclose(arrays["y"], restore_model(finished)(run.frames), atol=1e-5)


def test_stopped_and_resumed_is_the_same(config, finished, tmp_path, monkeypatch):
    """Stopped in the middle of a pass, with what is summed so far in the checkpoint."""
    dispatches = []
    advance = _driver.Progress.advance

    def stop_soon(self, step, means):
        dispatches.append(step)
        if len(dispatches) == 3:
            signals[-1].requested = "SIGTERM"
        return advance(self, step, means)

    signals = []
    enter = _driver.StopSignals.__enter__
    monkeypatch.setattr(_driver.StopSignals, "__enter__", lambda self: signals.append(self) or enter(self))
    monkeypatch.setattr(_driver.Progress, "advance", stop_soon)
    with pytest.raises(Stopped):
        train_and_evaluate(config, tmp_path)
    assert not (tmp_path / "summary.json").exists()
    other = config.copy_and_resolve_references()
    other.evaluation.holdout = 0.5
    with pytest.raises(InputError, match=r"what it has learned cannot go on with another evaluation.holdout"):
        train_and_evaluate(other, tmp_path)
    train_and_evaluate(config, tmp_path)
    assert summary_of(tmp_path) == summary_of(finished)


@pytest.mark.parametrize(
    ("lengths", "resets"),
    [
        ([7, 3, 8], [True, False, True, True, False]),
        ([9, 5], [True, False, False, True, False]),  # one frame is left over
        ([3, 2], [True, True]),  # each shorter than a chunk
    ],
)
def test_in_turn_is_every_frame_once_a_pass(lengths, resets):
    sampler = ClipSampler(lengths, clip_length=4, batch_size=1, order="in_turn")
    n_steps = sampler.steps_per_epoch
    for epoch in range(2):
        batches = [sampler.at(epoch * n_steps + step) for step in range(n_steps)]
        seen = np.concatenate([batch.frames[batch.valid] for batch in batches])
        assert seen.tolist() == list(range(sum(lengths)))
        assert [bool(batch.reset[0, 0]) for batch in batches] == resets
        assert not any(batch.reset[0, 1:].any() for batch in batches)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sfa.n_components": 28}, "sfa.n_components: expected at most 27, the monomials of 6 inputs up to degree 2"),
        ({"sfa.degree": 0}, "sfa.degree: expected a whole number of at least 1, got 0"),
        ({"data.order": "shuffled"}, "data.order, data.batch_size: expected 'in_turn' and 1"),
        ({"job": "sfb"}, "job: expected one of"),
    ],
)
def test_options(config, tmp_path, changes, message):
    config = config.copy_and_resolve_references()
    config.update_from_flattened_dict(changes)
    with pytest.raises(InputError, match=message):
        train_and_evaluate(config, tmp_path)
