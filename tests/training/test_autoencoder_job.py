"""Plain autoencoders through the one driver: trained, measured, resumed, restored, and asked for new images."""

import json

import numpy as np
import pytest
from PIL import Image

from configs import autoencoder, csae
from sfa_jax import evaluation
from sfa_jax._errors import InputError
from sfa_jax.embed import embed
from sfa_jax.generate import generate
from sfa_jax.training import _autoencoder_job, restore_model, train_and_evaluate


@pytest.fixture(scope="module")
def variational(tiny_autoencoder, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("variational")
    config = tiny_autoencoder(
        network__code="gaussian", network__likelihood="bernoulli", corruption__names=("masking_noise", "none")
    )
    return workdir, train_and_evaluate(config, workdir), config


def test_what_a_run_measures_and_writes(variational):
    workdir, summary, _ = variational
    assert summary == json.loads((workdir / "summary.json").read_text())
    names = {"psnr", "squared_error", "elbo", "held_out/kl", "active_units", "baseline/pca/squared_error"}
    names |= {f"restored/{name}/psnr" for name in ("gaussian_noise", "masking_noise", "random_erase", "downsample")}
    assert names <= summary.keys()
    assert summary["held_out_images"] == 20
    np.testing.assert_allclose(summary["elbo"], -summary["held_out/loss"], rtol=1e-6)
    drawn = {path.name for path in (workdir / "plots").iterdir()}
    names = ("reconstructions", "losses", "codes", "filters", "restorations", "samples", "interpolations")
    assert drawn == {f"{name}.png" for name in names}
    record = json.loads((workdir / "metrics.jsonl").read_text().splitlines()[0])
    np.testing.assert_allclose(record["loss"], record["reconstruction"] + record["kl"], rtol=1e-4)


def test_codes_images_and_what_no_image_gave(variational):
    workdir, _, _ = variational
    model = restore_model(workdir)
    with np.load(workdir / "embeddings.npz") as arrays:
        y = arrays["y"]
        assert arrays["held_out"].sum() == 20
        assert arrays["truth/label"].shape == (80,)
    frames = np.random.default_rng(0).integers(0, 256, (5, 28, 28, 1), dtype=np.uint8)
    posterior = model.posterior(frames)
    np.testing.assert_allclose(posterior.mean, model(frames), atol=1e-5)
    assert posterior.log_variance.shape == (5, y.shape[1])
    assert np.std(model.sample(2000)) == pytest.approx(1, abs=0.05)
    codes = model.interpolate(frames[:2], frames[2:4], 3)
    np.testing.assert_allclose(codes[:, 0], model(frames[:2]), atol=1e-5)
    generate(workdir, n=7, seed=1)
    with np.load(workdir / "generated" / "samples.npz") as arrays:
        assert arrays["images"].shape == (7, 28, 28, 1)
        expected = np.clip(model.decode(arrays["codes"]), 0, 1) * 255
        np.testing.assert_allclose(arrays["images"], expected, atol=0.51)
    with pytest.raises(InputError, match="--n: expected at least 1"):
        generate(workdir, n=0)


def test_grey_pictures_are_embedded_by_a_run_on_digits(variational, tmp_path):
    (tmp_path / "grey").mkdir()
    for k in range(3):
        Image.fromarray(np.full((28, 28), 80 * k, np.uint8)).save(tmp_path / "grey" / f"{k}.png")
    embed(variational[0], tmp_path / "grey", tmp_path / "code.npz")
    with np.load(tmp_path / "code.npz") as arrays:
        frames = np.repeat(np.arange(0, 240, 80, dtype=np.uint8), 784).reshape(3, 28, 28, 1)
        np.testing.assert_allclose(arrays["y"], restore_model(variational[0])(frames), atol=1e-5)


def test_words_that_contradict_each_other():
    with pytest.raises(ValueError, match="expected one of average, max, l2, got max and l2"):
        csae.get_config("max,smoke,l2")
    with pytest.raises(ValueError, match="expected one of dense, variational, sigmoid, got variational and sigmoid"):
        autoencoder.get_config("variational,sigmoid")


def test_a_code_that_is_not_used_is_said():
    summary = {"psnr": 6.0, "psnr_worst_tenth": 5.0, "code_size": 32.0, "live_units": 1.0, "held_out_images": 10.0}
    assert "UNUSED: 1 of the 32 numbers" in evaluation.verdicts(summary, 0)[0]
    assert evaluation.verdicts(summary | {"live_units": 20.0}, 0) == []
    assert "live units 1" in evaluation.table(summary)


def test_many_images_are_probed_in_part_and_one_class_is_not(tiny_autoencoder, tmp_path, monkeypatch):
    monkeypatch.setattr(_autoencoder_job, "_PROBED", 30)
    path, labels = tmp_path / "images.npz", np.tile([0.0, 1.0], 40)
    rng = np.random.default_rng(0)
    options = {"frames": rng.integers(0, 256, (80, 8, 8, 1), dtype=np.uint8), "truth/label": labels}
    np.savez(path, **options)
    config = tiny_autoencoder(data__path=str(path), data__image_size=8, evaluation__plots=False)
    config.evaluation.baselines, config.train.steps = (), 2
    summary = train_and_evaluate(config, tmp_path / "two")
    assert 0 <= summary["probe/all_labels"] <= 1
    np.savez(path, **options | {"truth/label": 0 * labels})
    assert "probe/all_labels" not in train_and_evaluate(config, tmp_path / "one")


def test_going_on_is_the_same_run(variational, tmp_path):
    _, summary, config = variational
    config = config.copy_and_resolve_references()
    config.evaluation.plots, config.evaluation.baselines = False, ()
    config.train.steps = 2
    train_and_evaluate(config, tmp_path)
    config.train.steps = 4
    config.network.likelihood = "squared"
    with pytest.raises(InputError, match=r"cannot go on with another network\.likelihood"):
        train_and_evaluate(config, tmp_path)
    config.network.likelihood = "bernoulli"
    resumed = train_and_evaluate(config, tmp_path)
    for name in ("psnr", "elbo", "restored/masking_noise/psnr"):
        assert resumed[name] == pytest.approx(summary[name], rel=1e-5)


def test_a_sparse_convolutional_one(tiny_autoencoder, tmp_path):
    config = tiny_autoencoder(
        network__body="convolutional", network__channels=(2, 3), network__code="sparse", objective__l1_weight=0.1
    )
    config.evaluation.plots, config.evaluation.baselines = False, ()
    summary = train_and_evaluate(config, tmp_path)
    assert {"live_units", "active_share", "active_share_of_live", "held_out/l1"} <= summary.keys()
    record = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[0])
    np.testing.assert_allclose(record["loss"], record["reconstruction"] + record["l1"], rtol=1e-5)
    codes = restore_model(tmp_path).sample(50)
    assert codes.min() >= 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"network__code": "x"}, r"network\.code: expected one of"),
        ({"corruption__names": ("x",)}, r"corruption\.names: expected one or more of"),
        ({"corruption__names": ()}, r"corruption\.names: expected one or more of"),
        ({"objective__l1_weight": 0.1}, r"objective\.l1_weight: expected 0 with network\.code=free"),
        ({"objective__beta": 2.0}, r"objective\.beta: expected 1 with network\.code=free"),
        ({"network__hidden": (1.5,)}, r"network\.hidden: expected whole numbers of at least 1, or \(\)"),
        ({"objective__l1_warmup": 2}, r"objective\.l1_warmup: expected a number from 0 to 1"),
        ({"corruption__share": 2.0}, r"corruption\.share: expected a number from 0 to 1"),
        (
            {"corruption__names": ("random_erase",), "corruption__size": 40},
            r"corruption\.size: expected 1 to 28 x 28",
        ),
        (
            {"network__body": "convolutional", "network__channels": (2, 2, 2)},
            r"network\.channels: 3 blocks halve",
        ),
    ],
)
def test_bad_options(options, message, tiny_autoencoder, tmp_path):
    with pytest.raises(InputError, match=message):
        train_and_evaluate(tiny_autoencoder(**options), tmp_path)
