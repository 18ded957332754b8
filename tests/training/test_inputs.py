"""Which frames a run trains on: the first part of each run, or the images that the source does not hold out."""

import numpy as np
import pytest

from configs import sfa
from sfa_jax._errors import InputError
from sfa_jax.data import Run
from sfa_jax.training import _inputs
from sfa_jax.training._inputs import load_inputs, load_runs, split_runs
from sfa_jax.training._measured_job import MeasuredJob, Part


def images(level, n, held_out):
    frames = np.full((n, 4, 4, 3), level, np.uint8)
    frames[:, 0, 0] = np.arange(n)[:, None]
    return Run(frames, f"image {level}", np.arange(n), held_out=held_out)


@pytest.fixture
def loads(tiny_config, tmp_path, monkeypatch):
    """`loads(*runs)`: the inputs of single images from a source of these runs."""

    def load(*runs, **changes):
        config = tiny_config(tmp_path)
        config.data.clip_length, config.data.batch_size = 1, 4
        config.update_from_flattened_dict(changes)
        monkeypatch.setattr(_inputs, "load", lambda *_, **options: list(runs))
        return config, load_inputs(config)

    return load


def test_held_out_by_image(loads):
    config, inputs = loads(images(1, 5, True), images(2, 6, False), images(3, 7, True), images(4, 8, False))
    assert [len(run) for run in inputs.runs] == [5, 6, 7, 8]
    assert inputs.splits == [(0, 0), (6, 6), (0, 0), (8, 8)]
    assert inputs.store.lengths.tolist() == [6, 8]
    assert set(inputs.store.all()[:, 1, 1, 1].tolist()) == {2, 4}
    assert inputs.sampler.steps_per_epoch == 14 // 4
    job = MeasuredJob(config, inputs, dim=2)
    assert job._train == [Part(1, 0, 6), Part(3, 0, 8)]
    assert job._held_out == [Part(0, 0, 5), Part(2, 0, 7)]
    assert [held_out.tolist() for held_out in job._is_held_out()] == [[True] * 5, [False] * 6, [True] * 7, [False] * 8]


def test_nothing_held_out(loads, caplog):
    config, inputs = loads(images(1, 5, False), images(2, 6, False))
    assert len(inputs.store) == 11
    assert "no frames are held out; every measure is on training frames" in caplog.text
    job = MeasuredJob(config, inputs, dim=2)
    assert job._held_out == job._train == [Part(0, 0, 5), Part(1, 0, 6)]
    assert not np.concatenate(job._is_held_out()).any()


def test_the_last_part_of_each_run_where_nothing_is_said():
    assert split_runs([images(1, 100, None), images(2, 50, None)], holdout=0.2, gap=0.1) == [(70, 80), (35, 40)]


def test_held_out_parts_stay_what_they_are():
    run = images(1, 9, True).part(2, 8, 3)
    assert run.held_out is True
    assert run.frame_index.tolist() == [2, 5]


def test_unclear_splits(loads):
    with pytest.raises(
        InputError, match=r"held_out: expected True or False of all runs .*True of image 1 .*of image 2;"
    ):
        loads(images(1, 5, True), images(2, 6, None))
    with pytest.raises(InputError, match="held_out: all 2 runs, such as image 1, are held out; leave one to train on"):
        loads(images(1, 5, True), images(2, 6, True))
    with pytest.raises(InputError, match="lag: expected less than the held-out frames of the longest run, got 5"):
        loads(images(1, 5, True), images(2, 6, False), **{"objective.lag": 5})


def test_images_that_are_all_the_same(loads):
    with pytest.raises(InputError, match="image 2: all 3 training frames are the same"):
        loads(images(1, 5, True), Run(np.ones((3, 4, 4, 3), np.uint8), "image 2", np.arange(3), held_out=False))


@pytest.mark.parametrize("nothing", ["", "None", None])
def test_none_of_a_flag_is_none(tmp_path, monkeypatch, nothing):
    """No folder called None, and no such feature of a set."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SFA_JAX_CACHE", str(tmp_path / "cache"))
    np.save("walk.npy", np.random.default_rng(0).integers(0, 255, (4, 8, 8, 3), np.uint8))
    config = sfa.get_config("smoke")
    config.data.path = "walk.npy"
    config.data.cache_dir = nothing
    assert len(load_runs(config.data)[0]) == 4
    assert not (tmp_path / "None").exists()
    asked = {}
    monkeypatch.setattr("sfa_jax.training._inputs.load", lambda path, **options: asked.update(options["tfds"]))
    for name in ("data_dir", "split", "held_out", "frames", "label", "run", "frame_index"):
        config.data.tfds[name] = nothing
    config.data.tfds.truth = () if nothing == "" else (nothing,)
    load_runs(config.data)
    none, truth = ("", ()) if nothing == "" else ("none", ("none",))
    for name in ("held_out", "label", "run", "frame_index"):
        assert asked.pop(name) == none
    assert asked == {"data_dir": "", "split": "", "frames": "", "truth": truth}
