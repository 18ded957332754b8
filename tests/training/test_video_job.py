"""Video autoencoders through the one driver: trained, measured, resumed and restored."""

import json

import numpy as np
import pytest

from configs import video_autoencoder
from sfa_jax import data
from sfa_jax._errors import InputError
from sfa_jax.generate import generate
from sfa_jax.training import restore_model, train_and_evaluate


def tiny(cache, arg="smoke"):
    config = video_autoencoder.get_config(arg)
    config.data.cache_dir = str(cache)
    config.data.image_size, config.data.room.n_frames = 8, 200
    config.network.channels, config.network.code_size, config.network.hidden = (3,), 4, 6
    config.train.steps, config.train.evaluate_every, config.train.schedule = 4, 2, "constant"
    config.objective.future_weight = 2.0
    return config


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def finished(cache, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("video")
    return workdir, train_and_evaluate(tiny(cache), workdir)


def test_what_a_run_measures_and_writes(finished):
    workdir, summary = finished
    assert summary == json.loads((workdir / "summary.json").read_text())
    names = {"drawn/psnr", "drawn/baseline/pca/psnr", "r2/x", "memory_reliance"}
    names |= {f"future/{name}squared_error/{k}" for name in ("", "baseline/mean_frame/") for k in (1, 2)}
    assert names <= summary.keys()
    frames = data.load("room", image_size=8, room={"n_frames": 200})[0].frames / 255
    clips = frames[160:196].reshape(6, 6, 8, 8, 3)  # of 40 held-out frames, four to be seen and two to come
    last = [np.mean((clips[:, 3 + k] - clips[:, 3]) ** 2) for k in (1, 2)]
    found = [summary[f"future/baseline/last_frame/squared_error/{k}"] for k in (1, 2)]
    np.testing.assert_allclose(found, last, rtol=1e-5)
    drawn = {path.name for path in (workdir / "plots").iterdir()}
    assert {"clips.png", "clips.gif", "future.png", "losses.png", "filters.png", "extremes.png", "deltas.png"} <= drawn
    record = json.loads((workdir / "metrics.jsonl").read_text().splitlines()[0])
    np.testing.assert_allclose(record["loss"], record["reconstruction"] + record["future"], rtol=1e-5)


def test_codes_clips_and_what_comes_after(finished):
    workdir, _ = finished
    model = restore_model(workdir)
    frames = np.random.default_rng(0).integers(0, 256, (150, 8, 8, 3), dtype=np.uint8)
    y = model.embed(frames)
    assert y.shape == (150, 4)
    np.testing.assert_allclose(model.embed(frames[:40]), y[:40], atol=1e-6)  # the past alone
    # Two chunks are one run: the state is carried from one to the next.
    h, _ = model.network.encode(
        model.variables["params"], frames[None], model.network.init_carry(model.variables["params"], 1, (8, 8, 3))
    )
    np.testing.assert_allclose(y, h[0], atol=1e-5)
    clips = frames[:20].reshape(4, 5, 8, 8, 3)
    assert model.reconstruct(clips).shape == clips.shape
    assert model.go_on(clips, 3).shape == (4, 3, 8, 8, 3)
    with pytest.raises(ValueError, match="frames: expected shape"):
        model.embed(frames[:, :4])


def test_generate_goes_on_with_held_out_clips(finished):
    workdir, _ = finished
    generate(workdir, n=3)
    folder = workdir / "generated"
    assert {path.name for path in folder.iterdir()} == {"clips.png", "clips.gif", "clips.npz"}
    with np.load(folder / "clips.npz") as arrays:
        seen, continued, true = (arrays[name] for name in ("seen", "continued", "true"))
    assert seen.shape == (5, 4, 8, 8, 3)  # of 40 held-out frames
    assert continued.shape == true.shape == (5, 3, 8, 8, 3)
    expected = restore_model(workdir).go_on(seen, 3)
    np.testing.assert_allclose(continued, 255 * np.clip(expected, 0, 1), atol=0.51)
    with pytest.raises(InputError, match="--n: expected at most 36, so that a held-out run of 40 frames"):
        generate(workdir, n=37)


def test_going_on_is_the_same_run(finished, cache, tmp_path):
    config = tiny(cache)
    config.evaluation.plots, config.evaluation.baselines = False, ()
    config.train.steps = 2
    train_and_evaluate(config, tmp_path)
    config.train.steps = 4
    resumed = train_and_evaluate(config, tmp_path)
    for name in ("drawn/psnr", "future/squared_error/2", "r2/x"):
        assert resumed[name] == pytest.approx(finished[1][name], rel=1e-5)


def test_clips_that_nothing_comes_after(cache, tmp_path):
    config = tiny(cache)
    config.objective.n_future, config.train.steps, config.evaluation.baselines = 0, 2, ()
    summary = train_and_evaluate(config, tmp_path)
    assert not [name for name in summary if name.startswith("future/")]
    losses = [json.loads(line)["loss"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert np.isfinite(losses).all()
    with pytest.raises(InputError, match="has not learned how clips go on"):
        generate(tmp_path)


@pytest.mark.parametrize(
    ("part", "field", "value", "message"),
    [
        ("network", "cell", "gru", r"network\.cell: expected one of"),
        ("network", "channels", (2, 2, 2, 2), r"network\.channels: expected frames of multiples of 16 pixels"),
        ("objective", "n_future", 5, r"objective\.n_future: expected at least two frames of a clip to be left"),
        ("data", "clip_length", 100, r"data\.clip_length: expected held-out parts of at least 100 frames, one clip"),
    ],
)
def test_bad_options(part, field, value, message, cache, tmp_path):
    config = tiny(cache)
    config[part][field] = value
    with pytest.raises(InputError, match=message):
        train_and_evaluate(config, tmp_path)
