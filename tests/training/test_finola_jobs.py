"""Masked FINOLA and slow features that are drawn, through the one driver: trained, measured, resumed and restored."""

import json

import numpy as np
import pytest

from configs import masked_finola, sfa_finola
from sfa_jax._errors import InputError
from sfa_jax.training import restore_model, train_and_evaluate


def shrink(config, cache):
    config.data.cache_dir = str(cache)
    config.data.image_size = 16
    config.data.room.n_frames = 200
    config.data.batch_size = 8
    config.train.steps, config.train.evaluate_every, config.train.schedule = 4, 2, "constant"
    config.evaluation.baselines = ("pca", "untrained")
    return config


def tiny_masked(cache):
    config = shrink(masked_finola.get_config("smoke"), cache)
    config.network.features, config.network.encoder_channels = 6, (4, 4)
    return config


def tiny_slow(cache):
    config = shrink(sfa_finola.get_config("smoke"), cache)
    config.network.channels, config.network.dim, config.network.hidden = (4,), 5, 8
    config.decoder.map_size, config.decoder.hidden, config.decoder.between = 4, 4, 8
    config.decoder.n_free = 2
    return config


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def masked(cache, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("masked")
    return workdir, train_and_evaluate(tiny_masked(cache), workdir)


@pytest.fixture(scope="module")
def slow(cache, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("slow")
    return workdir, train_and_evaluate(tiny_slow(cache), workdir)


def test_what_masked_finola_measures_and_writes(masked):
    workdir, summary = masked
    assert summary == json.loads((workdir / "summary.json").read_text())
    names = {"masked_psnr", "masked_psnr_of_mean_image", "r2/x", "baseline/pca/r2/x", "baseline/untrained/r2/x"}
    assert names <= summary.keys()
    assert (workdir / "plots" / "masked.png").stat().st_size > 5000


def test_masked_features_of_a_restored_run(masked):
    workdir, _ = masked
    model = restore_model(workdir)
    with np.load(workdir / "embeddings.npz") as arrays:
        y = arrays["y"]
    frames = np.random.default_rng(0).integers(0, 256, (70, 16, 16, 3), dtype=np.uint8)
    assert model(frames).shape == (70, y.shape[1])
    found = model.predict(frames)
    assert found.images.shape == frames.shape
    assert (found.masked.mean(axis=(1, 2)) == 0.75).all()
    for corners, message in ((np.full((70, 2), 5), "rows from 0 to 2"), (np.zeros((3, 2), int), r"\[70, 2\]")):
        with pytest.raises(ValueError, match=rf"corners: expected .*{message}"):
            model.predict(frames, corners)
    with pytest.raises(ValueError, match="frames: expected at least one"):
        model.predict(frames[:0])


def test_what_a_drawn_slow_code_measures_and_writes(slow):
    workdir, summary = slow
    assert summary == json.loads((workdir / "summary.json").read_text())
    names = {"drawn/psnr", "drawn/ssim", "drawn/baseline/pca/psnr", "r2/x", "delta/0"}
    assert names <= summary.keys()
    assert summary["drawn/code_size"] == 7
    drawn = {path.name for path in (workdir / "plots").iterdir()}
    assert {"traversal.png", "reconstructions.png", "losses.png", "traces.png", "filters.png", "extremes.png"} <= drawn
    record = json.loads((workdir / "metrics.jsonl").read_text().splitlines()[0])
    terms = record["slowness"] + record["log_variance"] + record["reconstruction"]
    np.testing.assert_allclose(record["loss"], terms, rtol=1e-5)


def test_one_feature_is_moved_and_the_others_held(slow):
    model = restore_model(slow[0])
    frames = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    code, free = model(frames), model.free(frames)
    np.testing.assert_allclose(model.decode(code, free), model.reconstruct(frames), atol=1e-4)
    moved = code[[1, 1]].copy()
    moved[:, 2] = -1.0, 0.5
    expected = model.decode(moved, free[[1, 1]])
    for call, message in (
        (lambda: model.decode(code[:, :3], free), r"code: expected shape \[n, 5\]"),
        (lambda: model.decode(code, free[:, :1]), r"free: expected shape \[n, 2\]"),
        (lambda: model.traverse(frames, 0, np.zeros(1)), "frame: expected one"),
        (lambda: model.traverse(frames[:1], 5, np.zeros(1)), "feature: expected 0 to 4"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    np.testing.assert_allclose(model.traverse(frames[1:2], 2, np.array([-1.0, 0.5])), expected, atol=1e-4)


def test_going_on_draws_the_same_blocks(masked, cache, tmp_path):
    config = tiny_masked(cache)
    config.evaluation.plots, config.evaluation.baselines = False, ()
    config.train.steps = 2
    train_and_evaluate(config, tmp_path)
    config.train.steps = 4
    resumed = train_and_evaluate(config, tmp_path)
    for name in ("masked_psnr", "delta/0"):
        assert resumed[name] == pytest.approx(masked[1][name], rel=1e-5)


def test_bad_options(cache, tmp_path):
    config = tiny_masked(cache)
    config.network.encoder_channels = (4, 4, 4, 4)
    with pytest.raises(InputError, match=r"network\.encoder_channels: expected blocks"):
        train_and_evaluate(config, tmp_path)
    config = tiny_masked(cache)
    config.network.variant = "all"
    with pytest.raises(InputError, match=r"network\.variant: expected one of"):
        train_and_evaluate(config, tmp_path)
    config = tiny_slow(cache)
    config.decoder.map_size = 5
    with pytest.raises(InputError, match=r"decoder\.map_size: expected a number of square cells"):
        train_and_evaluate(config, tmp_path)
    config = tiny_slow(cache)
    config.decoder.n_free = -1
    with pytest.raises(InputError, match=r"decoder\.n_free: expected a whole number of at least 0"):
        train_and_evaluate(config, tmp_path)
