"""Image autoencoders through the one driver: trained, measured, resumed and restored."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from configs import finola
from sfa_jax._errors import InputError
from sfa_jax.embed import embed
from sfa_jax.training import restore_model, train_and_evaluate
from sfa_jax.training._steps import make_wave_optimizer


def tiny(path, **options):
    config = finola.get_config("smoke")
    config.data.path = str(path)
    config.data.cache_dir = str(path.parent / "cache")
    config.data.image_size = 16
    config.data.batch_size = 8
    config.network.channels = 16
    config.network.map_size = 8
    config.network.encoder_channels = (4,)
    config.network.hidden = config.network.hidden_pixels = 3
    config.train.steps, config.train.evaluate_every, config.train.schedule = 4, 2, "constant"
    for name, value in options.items():
        config.network[name] = value
    return config


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures") / "pictures.npy"
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:16, :16] / 16
    phase = rng.uniform(0, 6, (60, 1, 1, 3))
    np.save(
        path, (127 + 60 * (np.sin(5 * x[..., None] + phase) + np.sin(4 * y[..., None] * phase / 3))).astype(np.uint8)
    )
    return path


@pytest.fixture(scope="module")
def finished(pictures, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("finola")
    return workdir, train_and_evaluate(tiny(pictures), workdir)


def test_what_a_run_measures_and_writes(finished):
    workdir, summary = finished
    assert summary == json.loads((workdir / "summary.json").read_text())
    names = {"psnr", "ssim", "code_size", "held_out_images", "parameters", "wave_residual/average"}
    assert names | {f"baseline/{name}/psnr" for name in ("pca", "dct", "dct_best")} <= summary.keys()
    assert summary["held_out_images"] == 12
    assert summary["psnr"] > 15
    drawn = {path.name for path in (workdir / "plots").iterdir()}
    waves = {"growth.png", "wave_speeds.png", "wave_maps.png"}
    assert drawn == {"reconstructions.png", "losses.png", "filters.png"} | waves


def test_the_function_from_images_to_codes_and_back(finished, pictures, tmp_path):
    workdir, summary = finished
    model, frames = restore_model(workdir), np.load(pictures)
    codes = model(frames)
    with np.load(workdir / "embeddings.npz") as arrays:
        np.testing.assert_allclose(codes, arrays["y"], atol=1e-4)
    error = np.mean((np.clip(model.decode(codes[48:]), 0, 1) - frames[48:] / 255) ** 2, axis=(1, 2, 3))
    np.testing.assert_allclose(-10 * np.log10(error).mean(), summary["psnr"], atol=1e-3)
    embed(workdir, str(pictures), tmp_path / "codes.npz")
    with np.load(tmp_path / "codes.npz") as arrays:
        np.testing.assert_allclose(arrays["y"], codes, atol=1e-4)
    with np.load(workdir / "embeddings.npz") as arrays:
        assert arrays["held_out"].sum() == 12
    with pytest.raises(ValueError, match=r"frames: expected shape \[time, 16, 16, 3\]"):
        model(frames[:, :8])
    with pytest.raises(ValueError, match=r"frames: expected floating point in \[0, 1\], got up to 2\d\d"):
        model(frames.astype(np.float32))
    with pytest.raises(TypeError, match="frames: expected uint8"):
        model(frames.astype(np.int32))
    with pytest.raises(ValueError, match=r"codes: expected shape \[n, 16\], got \(60, 9\)"):
        model.decode(codes[:, :9])


def test_going_on_is_the_same_run(finished, pictures, tmp_path):
    config = tiny(pictures)
    config.evaluation.plots, config.evaluation.baselines = False, ()
    config.train.steps = 2
    train_and_evaluate(config, tmp_path)
    config.train.steps = 4
    config.network.generator = "linear"
    with pytest.raises(InputError, match=r"cannot go on with another network\.generator"):
        train_and_evaluate(config, tmp_path)
    config.network.generator = "finola"
    resumed = train_and_evaluate(config, tmp_path)
    for name in ("psnr", "ssim"):
        assert resumed[name] == pytest.approx(finished[1][name], rel=1e-6)


def test_bad_options(pictures, tmp_path):
    config = tiny(pictures, map_size=5)
    with pytest.raises(InputError, match=r"network\.map_size: expected a number of square cells"):
        train_and_evaluate(config, tmp_path)
    config = tiny(pictures, generator="none")
    with pytest.raises(InputError, match=r"network\.generator: expected one of"):
        train_and_evaluate(config, tmp_path)
    config = tiny(pictures)
    config.data.clip_length = 2
    with pytest.raises(InputError, match=r"data\.clip_length: expected 1"):
        train_and_evaluate(config, tmp_path)


@pytest.mark.parametrize(("start", "expected"), [("waves", 0.01), ("random", 1.0)])
def test_only_what_begins_as_waves_learns_slowly(start, expected):
    train = finola.get_config().train
    train.wave_learning_rate, train.warmup_steps = 0.01, 0
    optimizer = make_wave_optimizer(train, 10, start=start)
    params = {"generator": {"a": jnp.ones(3)}, "encoder": jnp.ones(3)}
    updates, _ = optimizer.update(params, optimizer.init(params), params)
    np.testing.assert_allclose(updates["generator"]["a"] / updates["encoder"], expected, rtol=1e-5)
