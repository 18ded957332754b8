"""Runs on frames that stay on disk are the runs on the same frames in memory, whichever job and whoever reads them."""

import itertools
import json
import shutil
import socket

import numpy as np
import pytest

from configs import (
    autoencoder,
    csae,
    finola,
    linear_sfa,
    masked_finola,
    sfa,
    sfa_finola,
    sparse_coding,
    video_autoencoder,
)
from sfa_jax._errors import InputError
from sfa_jax.data import ReaderError, prepare
from sfa_jax.embed import embed
from sfa_jax.training import _feed, restore_model, train_and_evaluate
from tests.data.test_tfds_forms import FORMS, write

pytest.importorskip("tensorflow_datasets")
SIZE = 16
NOTHING_IN_MEMORY = 1e-9


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    """A set of two runs of 150 frames, in shards of forty."""
    folder = tmp_path_factory.mktemp("sets")
    return prepare(
        "room", folder / "walk", image_size=SIZE, room={"n_frames": 150, "n_runs": 2}, shard_bytes=40 * SIZE * SIZE * 3
    )


@pytest.fixture
def config_of(walk, tmp_path):
    def make(config, **data):
        config.data.source, config.data.path, config.data.image_size = "tfds", str(walk), SIZE
        config.data.cache_dir, config.evaluation.plots = str(tmp_path / "cache"), False
        for name, value in data.items():
            config.data[name] = value
        return config

    return make


def measures(summary):
    return {name: value for name, value in summary.items() if name != "frames_per_second"}


@pytest.fixture
def tiny(tiny_config, config_of, tmp_path):
    def make(**data):
        config = config_of(tiny_config(tmp_path / "cache"), **data)
        config.evaluation.baselines = ("pca",)
        return config

    return make


def test_same_run(tiny, tmp_path, monkeypatch, caplog):
    """In memory; from disk, broken off in the middle; and read by a process."""
    with caplog.at_level("INFO", logger="sfa_jax"):
        expected = train_and_evaluate(tiny(), tmp_path / "memory")
    assert "frames: 179.7 kB, which fit in memory, lie on the devices" in caplog.text, caplog.text

    class Broken(_feed.Feed):
        def take(self, start, stop):
            if start >= 15:
                raise ReaderError("the disk is gone")
            return super().take(start, stop)

    config = tiny(memory_limit_gb=NOTHING_IN_MEMORY)
    with monkeypatch.context() as patch:
        patch.setattr(_feed, "Feed", Broken)
        with pytest.raises(ReaderError, match="the disk is gone"):
            train_and_evaluate(config, tmp_path / "disk")
    caplog.clear()
    with caplog.at_level("INFO", logger="sfa_jax"):
        found = train_and_evaluate(config, tmp_path / "disk")
    assert "resumed at step 10 of 20" in caplog.text
    assert "179.7 kB are above the limit of memory; Grain reads them by threads as training goes" in caplog.text
    whole = train_and_evaluate(tiny(memory_limit_gb=NOTHING_IN_MEMORY, workers=1), tmp_path / "workers")
    assert measures(found) == measures(whole)
    with np.load(tmp_path / "disk/embeddings.npz") as one, np.load(tmp_path / "workers/embeddings.npz") as other:
        for key in other.files:
            np.testing.assert_array_equal(one[key], other[key])
    # Another program takes frames that lie on the device, and may round otherwise.
    assert found.keys() == expected.keys()
    np.testing.assert_allclose(losses(tmp_path / "disk"), losses(tmp_path / "memory"), rtol=1e-4)

    embed(tmp_path / "disk", config.data.path.join(("tfds:", "")), tmp_path / "codes.npz")
    with np.load(tmp_path / "codes.npz") as codes, np.load(tmp_path / "disk/embeddings.npz") as own:
        np.testing.assert_array_equal(codes["y"], own["y"])


RECIPES = {
    "sfa": lambda: sfa.get_config("smoke"),
    "linear_sfa": lambda: linear_sfa.get_config("smoke"),
    "autoencoder": lambda: autoencoder.get_config("smoke"),
    "csae": lambda: csae.get_config("smoke"),
    "finola": lambda: finola.get_config("smoke"),
    "masked_finola": lambda: masked_finola.get_config("smoke"),
    "sfa_finola": lambda: sfa_finola.get_config("smoke"),
    "video_autoencoder": lambda: video_autoencoder.get_config("smoke"),
    "time_series": lambda: sparse_coding.get_config("time_series,smoke"),
    "patches": lambda: sparse_coding.get_config("patches,smoke"),
}


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_every_job(recipe, config_of, tmp_path):
    config = config_of(RECIPES[recipe]())
    if "patches" in recipe:
        config.signals.size = 8
    expected = train_and_evaluate(config, tmp_path / "memory")
    config.data.memory_limit_gb = NOTHING_IN_MEMORY
    found = train_and_evaluate(config, tmp_path / "disk")
    assert found.keys() == expected.keys()
    np.testing.assert_allclose(losses(tmp_path / "disk"), losses(tmp_path / "memory"), rtol=1e-3)


def losses(workdir):
    records = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [record["loss"] for record in records if record["split"] == "train"]


def test_images_without_runs(tiny_autoencoder, tmp_path):
    """Single images of a set, their class the truth: what the probes of an autoencoder are fitted to."""
    path = prepare(
        "digits", tmp_path / "digits", image_size=28, digits={"n_train": 12, "n_held_out": 4}, shard_bytes=30_000
    )
    summaries = []
    for limit in (0.0, NOTHING_IN_MEMORY):
        config = tiny_autoencoder(data__source="tfds", data__path=str(path), data__memory_limit_gb=limit)
        config.evaluation.plots = False
        summaries.append(measures(train_and_evaluate(config, tmp_path / f"run{limit}")))
    assert summaries[0] == summaries[1]
    assert summaries[0]["held_out_images"] == 40
    assert 0 <= summaries[0]["probe/all_labels"] <= 1
    assert restore_model(tmp_path / "run0.0").frame_shape == (28, 28, 1)


def test_mocked(tiny_autoencoder, walk, tmp_path):
    """What TFDS's own tests put in the place of records trains like any set."""
    tfds = pytest.importorskip("tensorflow_datasets")
    shutil.copytree(walk, tmp_path / "walk" / "1.0.0")  # as TFDS has its sets
    config = tiny_autoencoder(data__source="tfds", data__path="walk", data__image_size=SIZE)
    config.data.tfds.run = "none"  # those of examples drawn at random
    config.evaluation.plots = False
    with tfds.testing.mock_data(num_examples=40, data_dir=str(tmp_path)):
        summary = train_and_evaluate(config, tmp_path / "run")
    assert summary["held_out_images"] == 40  # of each split as many


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("limit", [0.0, NOTHING_IN_MEMORY])
def test_every_form_trains(form, limit, tiny, tmp_path):
    """By the same config, each of the ways in which TFDS writes video."""
    rng = np.random.default_rng(0)
    clips = [(rng.integers(0, 256, (n, 6, 5, 3), np.uint8), rng.normal(size=(n, 2)).astype("f")) for n in (60, 90)]
    features, example = FORMS[form]
    examples = [example(number, *each) for number, each in enumerate(clips)]
    examples = list(itertools.chain.from_iterable(examples)) if isinstance(examples[0], list) else examples
    name = f"Trained{form}{bool(limit)}".title().replace("_", "")  # TFDS knows no two sets of one name
    path = write(tmp_path, name, features, examples)
    summary = train_and_evaluate(tiny(path=str(path), memory_limit_gb=limit), tmp_path / "run")
    assert np.isfinite(summary["delta/0"])
    assert all(np.isfinite(losses(tmp_path / "run")))


@pytest.mark.slow
def test_two_processes_read_their_parts(walk, start_train, run_train, tmp_path, monkeypatch):
    """Each process reads, from disk, the clips that its own devices hold; with the whole compiler, as users have it."""
    monkeypatch.setenv("XLA_FLAGS", "")
    flags = ("--config.data.source=tfds", f"--config.data.path={walk}", "--config.train.steps_per_dispatch=1")
    flags = (*flags, f"--config.data.memory_limit_gb={NOTHING_IN_MEMORY}")
    status, _, err = run_train(*flags, f"--workdir={tmp_path / 'alone'}")
    assert status == 0, err
    with socket.socket() as free:
        free.bind(("localhost", 0))
        job = (f"--coordinator=localhost:{free.getsockname()[1]}", "--num_processes=2")
    processes = [
        start_train(*flags, *job, f"--process_id={i}", f"--workdir={tmp_path / 'disk'}", devices=2) for i in range(2)
    ]
    answers = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], answers
    assert "Grain reads them by threads" in answers[0][1]
    found, expected = losses(tmp_path / "disk"), losses(tmp_path / "alone")
    np.testing.assert_allclose(found[:4], expected[:4], rtol=5e-5)  # later training has amplified rounding
    np.testing.assert_allclose(found, expected, rtol=1e-2)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("workers", -1, "data.workers: expected a whole number of at least 0, got -1"),
        ("timeout", 0.0, "data.timeout: expected a finite number above 0, got 0.0"),
        ("memory_limit_gb", -1.0, "data.memory_limit_gb: expected a finite number of at least 0, got -1.0"),
        ("on_corrupt", "ignore", "on_corrupt: expected one of .*, got 'ignore'"),
    ],
)
def test_options(tiny, field, value, message, tmp_path):
    with pytest.raises(InputError, match=message):
        train_and_evaluate(tiny(**{field: value}), tmp_path / "run")
