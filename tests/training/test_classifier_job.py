"""Fine-tuning through the one driver: labels by class, the probe it begins at, resume, and classes of new images."""

import json

import numpy as np
import pytest

from configs import finetune
from sfa_jax import evaluation
from sfa_jax._errors import InputError
from sfa_jax.data import Run, Split, train_all
from sfa_jax.training import restore_model, train_and_evaluate
from sfa_jax.training._labels import by_class


def images(labels, seed=0, **options):
    labels = np.asarray(labels, np.float32)
    frames = np.random.default_rng(seed).integers(0, 256, (len(labels), 4, 4, 1), dtype=np.uint8)
    return Run(frames, f"run {seed}", np.arange(len(labels)) + 100, {"label": labels}, **options)


def test_labels_by_class():
    runs = [images([3, 7, 3, 7, 7, 3, 7]), images([7, 3, 3, 7, 3, 3], seed=1)]
    splits = [Split(((0, 5),), ((6, 7),)), Split(((0, 4),), ())]
    made = by_class(runs, splits, per_class=2)
    assert [run.name for run in made] == ["class 3", "class 7", "run 0"]
    assert [run.held_out for run in made] == [False, False, True]
    np.testing.assert_array_equal(made[2].frames, runs[0].frames[6:])
    every = np.concatenate([runs[0].frames[:5], runs[1].frames[:4]])
    index = np.concatenate([runs[0].frame_index[:5], runs[1].frame_index[:4]])
    labels = np.concatenate([runs[0].truth["label"][:5], runs[1].truth["label"][:4]])
    for run, label in zip(made, (3, 7), strict=False):
        assert (run.truth["label"] == label).all()
        assert len(run) == 2
        for frame, number in zip(run.frames, run.frame_index, strict=True):
            found = np.flatnonzero((every == frame).all(axis=(1, 2, 3)))
            assert labels[found[0]] == label
            assert index[found[0]] == number
    chosen = evaluation.choose_labelled(labels, 2)
    np.testing.assert_array_equal(np.concatenate([run.frames for run in made[:2]]), every[chosen])
    again = by_class(runs, splits, per_class=2, seed=5)
    assert any((a.frames != b.frames).any() for a, b in zip(made, again, strict=True))
    assert sum(map(len, by_class(runs, splits, per_class=0))) == 9 + 1


@pytest.mark.parametrize(
    ("runs", "options", "message"),
    [
        ([images([1, 2, 1])], {"name": "x"}, "labels.name: expected what is known of each image, run 0 has label"),
        ([images([1, 1, 1])], {"per_class": 1}, "labels.name: expected at least two classes"),
        ([images([1, 2, 1])], {"per_class": 2}, "labels.per_class: expected at most 1, the images of the rarest"),
        ([images([1, 2, 3])], {"per_class": 1}, "run 0: held-out images of class 3, of which none is trained on"),
    ],
)
def test_labels_that_do_not_fit(runs, options, message):
    splits = [train_all(len(run)) if message[:4] != "run " else Split(((0, 2),), ((2, 3),)) for run in runs]
    with pytest.raises(InputError, match=message):
        by_class(runs, splits, **options)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory, tiny_autoencoder):
    workdir = tmp_path_factory.mktemp("pretrained")
    config = tiny_autoencoder(network__code="sparse", network__dropout=0.1, network__code_size=30)
    config.evaluation.plots, config.evaluation.baselines = False, ()
    train_and_evaluate(config, workdir)
    return workdir, config


def tiny(run, /, **options):
    config = finetune.get_config("smoke")
    config.data = run[1].data.copy_and_resolve_references()
    config.pretrained = str(run[0])
    config.train.steps, config.train.evaluate_every, config.train.steps_per_dispatch = 4, 2, 2
    config.train.schedule = "constant"
    config.labels.per_class = 3
    for name, value in options.items():
        part, _, field = name.partition("__")
        if field:
            config[part][field] = value
        else:
            config[part] = value
    return config


@pytest.fixture(scope="module")
def finished(pretrained, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("finetune")
    return workdir, train_and_evaluate(tiny(pretrained), workdir)


def test_what_a_run_measures_and_writes(finished, pretrained):
    workdir, summary = finished
    assert summary == json.loads((workdir / "summary.json").read_text())
    assert summary["labelled_images"] == 30
    assert summary["held_out_images"] == 20
    names = {f"baseline/{name}/accuracy" for name in ("probe", "untrained_probe", "pixel_probe")}
    assert {"accuracy", "cross_entropy"} | names <= summary.keys()
    assert "learned from 30 labels" in evaluation.table(summary)
    assert json.loads((workdir / "config.json").read_text())["network"]["code_size"] == 30
    assert {path.name for path in (workdir / "plots").iterdir()} == {"confusion.png", "mistakes.png", "losses.png"}
    with np.load(workdir / "embeddings.npz") as arrays:
        assert arrays["y"].shape == (50, 30)
        assert arrays["held_out"].sum() == 20


def test_begins_at_the_probe_of_the_codes(finished, pretrained, tmp_path):
    """With a step size of next to nothing it stays there, and the probe is that of the pretrained run's own codes."""
    config = tiny(pretrained, train__learning_rate=1e-12)
    config.evaluation.plots, config.evaluation.baselines = False, ("probe",)
    summary = train_and_evaluate(config, tmp_path)
    assert summary["accuracy"] == summary["baseline/probe/accuracy"] == finished[1]["baseline/probe/accuracy"]
    encoder = restore_model(pretrained[0])
    with np.load(tmp_path / "embeddings.npz") as arrays:
        labelled = ~arrays["held_out"]
        assert labelled.sum() == 30
        y, label = arrays["y"], arrays["truth/label"]
    with np.load(pretrained[0] / "embeddings.npz") as arrays:
        np.testing.assert_allclose(y[~labelled], arrays["y"][arrays["held_out"]], atol=1e-5)
    probe = evaluation.fit_probe(y[labelled], label[labelled])
    assert np.mean(probe(y[~labelled]) == label[~labelled]) == summary["accuracy"]
    frames = np.random.default_rng(0).integers(0, 256, (5, 28, 28, 1), dtype=np.uint8)
    model = restore_model(tmp_path)
    np.testing.assert_allclose(model(frames), encoder(frames), atol=1e-5)
    p = model.probabilities(frames)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(model.classify(frames), np.argmax(p, axis=1))


def test_from_random_weights_stands_beside_the_pretrained_probe(finished, pretrained, tmp_path):
    config = tiny(pretrained, start="random", pretrained=f"{pretrained[0]}/")
    config.evaluation.plots = False
    summary = train_and_evaluate(config, tmp_path)
    for name in ("probe", "untrained_probe"):
        assert summary[f"baseline/{name}/accuracy"] == finished[1][f"baseline/{name}/accuracy"]
    assert json.loads((tmp_path / "config.json").read_text())["pretrained"] == str(pretrained[0])


def test_going_on_is_the_same_run(finished, pretrained, tmp_path):
    config = tiny(pretrained, train__steps=2)
    config.evaluation.plots, config.evaluation.baselines = False, ()
    train_and_evaluate(config, tmp_path)
    resumed = train_and_evaluate(
        tiny(pretrained, evaluation__plots=False, evaluation__baselines=("untrained_probe",)), tmp_path
    )
    for name in ("accuracy", "cross_entropy", "baseline/untrained_probe/accuracy"):
        assert resumed[name] == pytest.approx(finished[1][name], rel=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pretrained": ""}, "pretrained: expected the --workdir of a run"),
        ({"pretrained": "/nowhere"}, "pretrained=/nowhere: /nowhere/checkpoints: expected a folder of checkpoints"),
        ({"start": "x"}, "start: expected one of"),
        ({"labels__per_class": 9}, r"labels\.per_class: expected at most 6, the images of the rarest class, got 9"),
        ({"labels__name": "x"}, r"labels\.name: expected what is known of each image"),
        ({"data__image_size": 20}, r"data\.image_size: expected images of \(28, 28, 1\)"),
        ({"evaluation__baselines": ("pca",)}, r"evaluation\.baselines: expected some of"),
    ],
)
def test_bad_options(options, message, pretrained, tmp_path):
    with pytest.raises(InputError, match=message):
        train_and_evaluate(tiny(pretrained, **options), tmp_path)


def test_a_run_of_another_job_is_refused(finished, pretrained, tmp_path):
    with pytest.raises(InputError, match=r"pretrained: expected a run of the job 'autoencoder', .* of 'classifier'"):
        train_and_evaluate(tiny(pretrained, pretrained=str(finished[0])), tmp_path)
