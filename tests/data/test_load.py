"""Which source a path stands for."""

import pathlib

import numpy as np
import pytest

from sfa_jax._errors import InputError
from sfa_jax.data._load import load


@pytest.fixture
def arrays(tmp_path):
    """Three arrays whose frames are all 1, 2 and 10."""
    for level in (1, 2, 10):
        np.save(tmp_path / f"walk{level}.npy", np.full((3, 4, 4, 3), level, np.uint8))
    return tmp_path


def levels(runs):
    return [int(run.frames[0, 0, 0, 0]) for run in runs]


def test_several_paths(arrays):
    one, two = str(arrays / "walk1.npy"), arrays / "walk2.npy"
    assert levels(load([one, two], image_size=0)) == [1, 2]
    assert levels(load((two,), image_size=0)) == [2]
    assert levels(load(f"{two}, {one}", image_size=0)) == [2, 1]
    assert levels(load(str(arrays / "walk*.npy"), image_size=0)) == [1, 2, 10]
    assert levels(load(f"{arrays}/walk1*.npy,{two}", image_size=0)) == [1, 10, 2]
    assert levels(load(arrays, image_size=0)) == [1, 2, 10]
    assert levels(load([arrays, one], image_size=0)) == [1, 2, 10, 1]


def test_commas_in_names(arrays):
    odd = arrays / "a,b, c.npy"
    (arrays / "walk10.npy").rename(odd)
    assert levels(load(str(odd), image_size=0)) == [10]
    assert levels(load(f"{odd},{arrays}/walk1.npy", image_size=0)) == [10, 1]


def test_pattern_characters_in_names(arrays):
    odd = arrays / "walk[1].npy"
    (arrays / "walk10.npy").rename(odd)
    assert levels(load(str(odd), image_size=0)) == [10]


def test_home_and_relative_paths(arrays, monkeypatch):
    monkeypatch.setenv("HOME", str(arrays))
    assert levels(load("~/walk2.npy", image_size=0)) == [2]
    monkeypatch.chdir(arrays)
    assert levels(load("walk1.npy", image_size=0)) == [1]


def test_names_of_worlds(tmp_path, write_folder, monkeypatch, pan):
    write_folder("room", pan(3))
    monkeypatch.chdir(tmp_path)
    runs = load("room", image_size=(16, 24), greyscale=True, stride=2, room={"n_frames": 9, "n_runs": 2})
    assert [run.frames.shape for run in runs] == [(5, 16, 24, 1)] * 2
    assert runs[0].frame_index.tolist() == [0, 2, 4, 6, 8]
    assert len(runs[0].truth["x"]) == 5
    assert load("./room")[0].frames.shape == load(pathlib.Path("room"))[0].frames.shape == (3, 64, 64, 3)
    with pytest.raises(InputError, match=r"room options: .*unexpected keyword argument 'speeed'"):
        load("room", room={"speeed": 1})
    with pytest.raises(InputError, match=r"gives 1 frame\(s\) at stride 5"):
        load("room", stride=5, room={"n_frames": 4})


def test_videos_of_a_folder(write_video, pan, tmp_path):
    (tmp_path / "sub").mkdir()
    for name, length in (("clip10.mp4", 4), ("clip9.mp4", 3), ("sub/z.mkv", 5)):
        write_video(name, pan(length))
    (tmp_path / "readme.txt").write_text("about")
    assert [len(run) for run in load(tmp_path, image_size=16)] == [3, 4, 5]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "walk3.npz",
            r"path '.*walk3.npz' does not exist \(did you mean '.*walk\d+.npy'\?\); path is 'room', 'photo_pan'",
        ),
        ("nowhere/at/all", r"does not exist \(.* does, with nothing of that name\)"),
        ("clip*.mp4", r"no file matches the pattern '.*clip\*.mp4'"),
        ("walk1.npy,missing.npy", r"path 'missing.npy' does not exist"),
    ],
)
def test_missing_paths(arrays, path, message):
    with pytest.raises(InputError, match=message):
        load(f"{arrays}/{path}", image_size=0)


@pytest.mark.parametrize("path", ["", [], 3, None, [1], b"walk"])
def test_not_a_path(path):
    with pytest.raises(InputError, match=r"path"):
        load(path)


def test_unlike_channels(arrays):
    np.save(arrays / "grey.npy", np.zeros((3, 4, 4), np.uint8))
    with pytest.raises(InputError, match=r"walk1.npy has 3 channel\(s\), .*grey.npy has 1: set greyscale=True"):
        load(arrays, image_size=0)
    assert all(run.frames.shape[3] == 1 for run in load(arrays, image_size=0, greyscale=True))


def test_unlike_sizes_without_an_image_size(arrays):
    np.save(arrays / "big.npy", np.zeros((3, 8, 8, 3), np.uint8))
    with pytest.raises(InputError, match=r"walk1.npy has frames of 4x4 pixels, .*big.npy of 8x8; .*set image_size"):
        load(arrays, image_size=0)


@pytest.mark.parametrize("image_size", [-1, 1.5, "64", True, (1, 2, 3), (64, 0), (None, 64), (64.0, 64)])
def test_bad_image_size(arrays, image_size):
    with pytest.raises(InputError, match=r"image_size must be a whole number of pixels"):
        load(arrays, image_size=image_size)


@pytest.mark.parametrize("stride", [0, -1, 1.5, "2", None, True])
def test_bad_stride(arrays, stride):
    with pytest.raises(InputError, match=r"stride must be a whole number of frames, at least 1; got"):
        load(arrays, stride=stride)


def test_loops_of_links(arrays):
    (arrays / "again").symlink_to(arrays)
    assert levels(load(arrays, image_size=0)) == [1, 2, 10]
