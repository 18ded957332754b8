"""Sparse coding through the one driver: each kind of signal trained, measured, resumed, restored and embedded."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import sparse_coding
from sfa_jax import sparse
from sfa_jax._errors import InputError
from sfa_jax.data import room
from sfa_jax.embed import embed
from sfa_jax.training import Stopped, _driver, restore_model, train_and_evaluate
from sfa_jax.training._inputs import load_inputs
from sfa_jax.training._sparse_job import SparseCodingJob
from sfa_jax.training._sparse_signals import Signals

KINDS = ("patches", "frames", "windows")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """`tiny(kind, **changes)`: a config on a small film of digits."""
    cache = str(tmp_path_factory.mktemp("cache"))

    def make(kind, **changes):
        config = sparse_coding.get_config("smoke")
        flat = {
            "data.path": "digit_film",
            "data.image_size": 12,
            "data.digit_film.n_frames": 80,
            "data.batch_size": 4,
            "data.clip_length": 6 if kind == "windows" else 1,
            "data.cache_dir": cache,
            "signals.kind": kind,
            "signals.size": 5,
            "signals.number": 6,
            "dictionary.n_atoms": 8,
            "dictionary.alpha": 0.3,
            "signals.log_intensity": kind == "patches",
            "signals.whiten": kind == "patches",
            "train.steps": 10,
            "train.evaluate_every": 5,
            "evaluation.plots": False,
        }
        config.update_from_flattened_dict(flat | {name.replace("__", "."): v for name, v in changes.items()})
        return config

    return make


@pytest.fixture(scope="module", params=KINDS)
def finished(request, tiny, tmp_path_factory):
    workdir = tmp_path_factory.mktemp(request.param)
    config = tiny(request.param, evaluation__plots=True)
    return request.param, workdir, train_and_evaluate(config, workdir), config


def test_what_a_run_measures_and_writes(finished):
    kind, workdir, summary, config = finished
    assert summary == json.loads((workdir / "summary.json").read_text())
    names = {"objective", "objective_gap", "left", "n_nonzero", "used_atoms", "omp/left/1", "omp/elbow"}
    assert names | {f"baseline/pca/{name}" for name in names} <= summary.keys()
    assert summary["held_out_frames"] == 16
    assert 0 < summary["left"] < 1
    assert ("gabor/share" in summary) == (kind == "patches")
    assert ("sinusoids/omp/elbow" in summary) == (kind != "patches")
    drawn = {path.name for path in (workdir / "plots").iterdir()}
    films = set() if kind == "patches" else {"sinusoids.png", "sinusoids_left.png"}
    assert drawn == {"atoms.png", "codes.png", "pursuit.png", "kurtosis.png", "losses.png"} | films
    with np.load(workdir / "embeddings.npz") as arrays:
        assert arrays["y"].shape == (80, config.dictionary.n_atoms)
        assert arrays["held_out"].sum() == 16
        assert "truth/weight_3" in arrays.files
    record = json.loads((workdir / "metrics.jsonl").read_text().splitlines()[0])
    assert {"loss", "n_nonzero", "gap", "n_replaced"} <= record.keys()


def test_restored_and_embedded(finished, tmp_path):
    kind, workdir, _, config = finished
    model = restore_model(workdir)
    frames = np.random.default_rng(0).integers(0, 256, (40, 12, 12, 1), dtype=np.uint8)
    y = model(frames)
    x = np.asarray(jax.jit(model.signals.of_frames)(frames)) if kind != "windows" else _windows_by_hand(frames)
    codes = model.codes(x.reshape(-1, x.shape[-1])).reshape(*x.shape[:2], -1)
    expected = codes[:, 0] if kind == "frames" else np.abs(codes).mean(axis=1)
    np.testing.assert_allclose(y, expected, atol=2e-4)
    np.save(tmp_path / "new.npy", frames)
    embed(workdir, str(tmp_path / "new.npy"), tmp_path / "new.npz")
    with np.load(tmp_path / "new.npz") as arrays:
        np.testing.assert_allclose(arrays["y"], y, atol=1e-6)
    assert model(frames[:0]).shape == (0, config.dictionary.n_atoms)
    with pytest.raises(ValueError, match="signals: expected shape"):
        model.codes(np.zeros((3, 2), np.float32))


def _windows_by_hand(frames):
    """`[time, 64, 6]`: of every second pixel, from the second on, the six frames up to each, centred and evened out."""
    traces = frames.reshape(len(frames), -1)[:, 1::2][:, :64].astype(np.float32) / 255
    before = np.concatenate([np.repeat(traces[:1], 5, axis=0), traces])
    windows = np.stack([before[t : t + 6].T for t in range(len(frames))])
    windows = windows - windows.mean(axis=-1, keepdims=True)
    return windows / np.sqrt(np.mean(windows**2, axis=-1, keepdims=True) + 0.1**2)


def test_updates_are_the_pure_functions(tiny, tmp_path, monkeypatch):
    """The driver's dictionary of frames is that of `sparse.update_dictionary`, batch after batch."""
    config = tiny("frames", evaluation__baselines=(), train__steps=2)  # of four frames: later rounding is all
    seen = []
    original = sparse.update_dictionary

    def note(state, x, alpha, **options):
        seen.append((alpha, options))
        return original(state, x, alpha, **options)

    monkeypatch.setattr(sparse, "update_dictionary", note)
    train_and_evaluate(config, tmp_path)
    alpha, options = seen[0]
    assert alpha == 0.3
    assert {"positive", "forgetting", "patience", "largest_cosine", "weight", "replace"} == options.keys()
    job_config = tiny("frames")
    inputs = load_inputs(job_config)
    job = SparseCodingJob(job_config, inputs)
    state = job.init()
    learned = sparse.DictionaryState(state.params["dictionary"], *_moments(state))
    update = jax.jit(lambda s, x: original(s, x, 0.3)[0])
    for step in range(2):
        frames = inputs.store.gather(inputs.sampler.at(step).frames)[:, 0].reshape(4, -1).astype(np.float32) / 255
        x = frames - frames.mean(axis=1, keepdims=True)
        learned = update(learned, x / np.sqrt(np.mean(x**2, axis=1, keepdims=True) + 0.01))
    found = restore_model(tmp_path).dictionary
    np.testing.assert_allclose(found, learned.dictionary, atol=1e-4)


def _moments(state):
    return [jnp.asarray(state.opt_state[name]) for name in sparse.DictionaryState._fields[1:]]


def test_killed_and_resumed_is_the_same(tiny, tmp_path, monkeypatch):
    config = tiny("windows")
    whole = train_and_evaluate(config, tmp_path / "whole")
    measure = _driver._measure
    calls = []

    def stop_after_the_first(*args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            raise Stopped("SIGTERM", "here")
        return measure(*args, **kwargs)

    monkeypatch.setattr(_driver, "_measure", stop_after_the_first)
    with pytest.raises(Stopped):
        train_and_evaluate(config, tmp_path / "parts")
    monkeypatch.setattr(_driver, "_measure", measure)
    parts = train_and_evaluate(config, tmp_path / "parts")
    for summary in (whole, parts):
        summary.pop("frames_per_second")
    assert whole == parts


def test_signals_of_clips_with_padding(tiny):
    """Patches lie in their image, windows are pixels over time, and padding counts for nothing."""
    (run,) = room(n_frames=12, image_size=16)
    frames = run.frames.mean(axis=-1, keepdims=True).astype(np.uint8).reshape(2, 6, 16, 16, 1)
    valid = np.ones((2, 6), bool)
    valid[1, 4:] = False
    plain = {"signals__centre": False, "signals__contrast_floor": 0.0, "signals__log_intensity": False}
    for kind, n, counted in (("patches", 72, 60), ("windows", 12, 6), ("frames", 12, 10)):
        config = tiny(kind, signals__whiten=False, **plain)
        signals = Signals(config.signals, (16, 16, 1), 6)
        x, weight = jax.jit(signals.draw)(jax.random.key(0), frames, valid)
        assert x.shape == (n, signals.size)
        assert weight.sum() == counted
        images = frames.astype(np.float32) / 255
        if kind == "windows":
            traces = images.reshape(2, 6, 256)
            each = [np.abs(traces[k // 6].T - x[k]).max(axis=1).min() for k in range(12)]
        elif kind == "patches":
            views = np.lib.stride_tricks.sliding_window_view(images.reshape(12, 16, 16), (5, 5), axis=(1, 2))
            each = [np.abs(views[k // 6].reshape(-1, 25) - x[k]).max(axis=1).min() for k in range(72)]
        else:
            each = np.abs(images.reshape(12, -1) - x).max(axis=1)
        assert np.max(each) < 1e-6


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("patches", {"signals__kind": "tiles"}, "signals.kind: expected one of"),
        ("patches", {"signals__size": 13}, "signals.size: expected at most the shorter side"),
        ("patches", {"signals__size": 3}, "signals.size: expected at least 4 pixels"),
        ("patches", {"data__clip_length": 2}, "data.clip_length: expected 1"),
        ("windows", {"data__clip_length": 1}, "data.clip_length: expected at least 2"),
        ("windows", {"data__clip_length": 30}, "data.clip_length: expected at most the longest held-out part"),
        ("windows", {"data__path": "room", "data__greyscale": False}, "signals.kind=windows: expected frames of one"),
        ("frames", {"dictionary__alpha": -1.0}, "dictionary.alpha: expected a finite number"),
        ("frames", {"data__order": "in_turn"}, "data.order: expected 'shuffled'"),
        ("frames", {"evaluation__baselines": ("dct",)}, "evaluation.baselines: expected some of"),
        ("frames", {"train__steps": 0}, "train.steps, train.epochs: expected exactly one"),
    ],
)
def test_bad_configs(kind, changes, message, tiny, tmp_path):
    with pytest.raises(InputError, match=message):
        train_and_evaluate(tiny(kind, **changes), tmp_path)


@pytest.mark.parametrize("arg", ["", "patches", "mnist_video", "time_series", "time_series,smoke", "mnist_video,smoke"])
def test_shipped_configs_are_within_their_ranges(arg):
    SparseCodingJob.check(sparse_coding.get_config(arg))
    with pytest.raises(ValueError, match="expected one of patches, mnist_video, time_series"):
        sparse_coding.get_config("patches,time_series")


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("windows", {"data__path": "still.npy", "data__image_size": 0}),  # what is held out stands still
        ("patches", {"signals__cutoff": 0.01}),  # nothing is left after whitening
        ("frames", {"dictionary__n_atoms": 1}),
    ],
)
def test_nothing_to_code_is_no_failure(kind, changes, tiny, tmp_path, monkeypatch):
    frames = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 1), dtype=np.uint8)
    frames[40:] = frames[40]
    np.save(tmp_path / "still.npy", frames)
    monkeypatch.chdir(tmp_path)
    summary = train_and_evaluate(tiny(kind, evaluation__plots=True, **changes), tmp_path / "run")
    assert np.isfinite(list(summary.values())).all()
