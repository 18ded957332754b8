"""What a folder holds: everything is read or told."""

import logging
import os

import numpy as np
import pytest
from PIL import Image

from sfa_jax._errors import InputError
from sfa_jax.data import load


@pytest.fixture
def frames(write_folder, tmp_path):
    write_folder("walk", [np.full((8, 8, 3), 20 * number, np.uint8) for number in range(4)])
    return tmp_path / "walk"


def told(caplog, path, level=logging.WARNING):
    caplog.clear()
    with caplog.at_level(level, "sfa_jax"):
        runs = load(path, image_size=0, split_cuts=False)
    return runs, "\n".join(record.message for record in caplog.records if record.levelno == level)


@pytest.mark.parametrize("name", ["f{}.jfif", "f{}.JPG", "f{}.pjpeg", "f{}", "f{}.xyz", "f.{}", "f{}.PNG", "f{}.gif"])
def test_pictures_of_any_name(tmp_path, caplog, name):
    (tmp_path / "walk").mkdir()
    formats = {"f{}.PNG": "PNG", "f{}.gif": "GIF"}
    for number in range(12):
        picture = Image.new("RGB", (8, 8), 3 * (20 * number,))
        picture.save(tmp_path / "walk" / name.format(number), formats.get(name, "JPEG"))
    (run,), said = told(caplog, tmp_path / "walk")
    assert run.frames[:, 0, 0, 0].tolist() == list(range(0, 240, 20))
    assert not said


def test_what_is_left_out_is_told_once(frames, caplog):
    (frames / "notes.txt").write_text("about")
    (frames / "Thumbs.db").write_text("small pictures")
    (frames / "frame9.xyz").write_text("what is this")
    (frames / "frame9.abc").write_text("what is this")
    (frames / "frame8.xyz").write_text("what is this")
    (frames / "frame1.png~").write_bytes((frames / "frame1.png").read_bytes())
    (frames / "frame1.png.bak").write_bytes((frames / "frame1.png").read_bytes())
    (frames / "empty").mkdir()
    (frames / "labels").mkdir()
    (frames / "labels" / "a.csv").write_text("1,2")
    (frames / ".hidden").mkdir()
    (frames / ".hidden" / "a.png").write_text("")
    (frames / ".hidden.png").write_text("")
    (frames / ".git").mkdir()
    (frames / "clip.unknown").symlink_to("nowhere")
    np.save(frames / "labels.npy", np.zeros((4, 5)))
    (run,), said = told(caplog, frames)
    assert len(run) == 4
    assert len(said.splitlines()) == 1
    for part in (
        "5 file(s) of no known kind (2 .xyz", "1 .abc", "1 .png~", "1 .bak",
        "the empty folder empty", "the hidden folder .hidden (1 files)", "the hidden file .hidden.png",
        "the broken link clip.unknown", "labels.npy has shape (4, 5): vectors in time",
    ):  # fmt: skip
        assert part in said
    assert ".git" not in said
    _, said = told(caplog, frames, logging.INFO)
    assert "left out are 3 companions" in said


def test_frames_that_are_missing_end_a_sequence(frames, caplog):
    """A broken link, an empty file and a pipe among the frames."""
    for number in range(4, 12):
        Image.new("RGB", (8, 8), 3 * (20 * number,)).save(frames / f"frame{number}.png")
    for number, damage in (
        (2, lambda path: path.symlink_to("nowhere")),
        (5, lambda path: path.touch()),
        (8, os.mkfifo),
    ):
        (frames / f"frame{number}.png").unlink()
        damage(frames / f"frame{number}.png")
    runs, said = told(caplog, frames)
    assert [run.frame_index.tolist() for run in runs] == [[0, 1], [3, 4], [6, 7], [9, 10, 11]]
    assert "3 of 12 frames cannot be read; they are left out, and sequences end there" in said
    with pytest.raises(InputError, match=r"frame2.png cannot be read as an image \(No such file or directory\)"):
        load(frames, on_corrupt="raise")


def test_unreadable_folders_are_told(frames, caplog, monkeypatch):
    (frames / "secret").mkdir()
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("secret"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert "the folder secret that cannot be read (Permission denied)" in told(caplog, frames)[1]


def test_nothing_that_can_be_read(tmp_path, caplog):
    (tmp_path / "a.xyz").write_text("?")
    with pytest.raises(
        InputError, match=r"holds no frames, videos or arrays \(.*1 file\(s\) of no known kind \(1 .xyz"
    ):
        load(tmp_path)


def test_videos_without_their_suffix(write_video, tmp_path, pan, caplog):
    for name in ("a.mp4", "b.mxf", "c.mkv"):
        write_video(name, pan(4), "mpeg2video" if name == "b.mxf" else "mpeg4")
    for name in ("a.mp4", "c.mkv"):
        (tmp_path / name).rename(tmp_path / name[0])
    runs, said = told(caplog, tmp_path)
    assert [len(run) for run in runs] == [4, 4, 4]
    assert not said


def test_kinds_side_by_side(frames, caplog):
    np.save(frames / "more.npy", np.full((3, 8, 8, 3), 7, np.uint8))
    runs, said = told(caplog, frames)
    assert [len(run) for run in runs] == [4, 3]
    assert "holds 4 pictures and 1 arrays, and all are read; give one kind by a pattern" in said


def test_pictures_by_pattern_and_list(frames):
    for number in (10, 11):
        Image.new("RGB", (8, 8), 3 * (20 * number,)).save(frames / f"frame{number}.png")
    (run,) = load(f"{frames}/*.png", image_size=0, split_cuts=False)
    assert run.frames[:, 0, 0, 0].tolist() == [0, 20, 40, 60, 200, 220]
    (run,) = load([frames / f"frame{number}.png" for number in (3, 0, 10)], image_size=0, split_cuts=False)
    assert run.frames[:, 0, 0, 0].tolist() == [60, 0, 200]  # as given
    with pytest.raises(InputError, match=r"frame0.png is one picture; .*give the folder"):
        load(frames / "frame0.png")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.csv", "tables and text hold no frames: save the frames"),
        ("a.pt", r"pickles can run programs .*tensor.cpu\(\).numpy\(\)"),
        ("a.pkl", "pickles can run programs"),
        ("a.parquet", "tables and tensors of this kind are not read"),
        ("a.nii.gz", "it is not read: open it by its own library"),
        ("a.zip", "unpack it first"),
        ("a.heic", "convert such pictures to PNG"),
        ("a.zarr", "zarr is not read"),
    ],
)
def test_known_kinds_that_are_not_read(tmp_path, name, message):
    if name == "a.zarr":
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).write_text("something")
    with pytest.raises(InputError, match=f"{name}: {message}"):
        load(tmp_path / name)


def test_brackets_that_are_meant_literally(frames, caplog):
    frames.rename(frames.parent / "run [1]")
    assert len(load(str(frames.parent / "run [1]"))[0]) == 4
    with pytest.raises(
        InputError, match=r"no file matches the pattern .*run \[1\]/frame\d.png and its like write '.*run \[\[\]1\]/\*"
    ):
        load(f"{frames.parent}/run [1]/*.png")
    assert len(load(f"{frames.parent}/run [[]1]/*.png")[0]) == 4
    (frames.parent / "run 1").mkdir()
    for number in range(2):
        Image.new("RGB", (8, 8)).save(frames.parent / "run 1" / f"{number}.png")
    (run,), said = told(caplog, f"{frames.parent}/run [1]/*.png")
    assert len(run) == 2
    assert "[...] stands for one of the characters in it" in said


@pytest.mark.parametrize(
    "path", ["gs://bucket/*.png", "https://host/a.mp4", "s3://bucket/clips", "None", "$NOWHERE/a.mp4"]
)
def test_addresses_are_no_paths(path):
    with pytest.raises(InputError, match=r"path=.*(expected a path|was not replaced by a value)"):
        load(path)


def test_patterns_tell_what_they_leave_out(frames, caplog):
    (frames / "notes.txt").write_text("about")
    (frames / "what.xyz").write_text("?")
    (run,), said = told(caplog, f"{frames}/*")
    assert len(run) == 4
    assert said == "the pattern: left out are 1 file(s) of no known kind (1 .xyz)"
    (frames / "deep" / "er").mkdir(parents=True)
    for number in range(2):
        Image.new("RGB", (8, 8)).save(frames / "deep" / "er" / f"{number}.png")
    assert [len(run) for run in load(f"{frames.parent}/**/*.png", image_size=0, split_cuts=False)] == [2, 4]
    with pytest.raises(InputError, match=r"nothing that the pattern matches is read, such as .*notes.txt"):
        load(f"{frames}/*.txt")


def test_copies_with_another_suffix_are_told(frames, caplog):
    for number in range(4):
        Image.new("RGB", (8, 8), 3 * (20 * number,)).save(frames / f"frame{number}.bmp")
    _, said = told(caplog, frames)
    assert "4 of the names come twice with another suffix, and each file is taken as a frame" in said


@pytest.mark.parametrize("kind", ["P4", "P5", "P6"])
def test_files_of_many_netpbm_pictures(tmp_path, caplog, kind):
    size = {"P4": 8, "P5": 64, "P6": 192}[kind]
    data = f"{kind} 8 8{'' if kind == 'P4' else ' 255'}\n".encode() + bytes(size)
    for number in range(4):
        (tmp_path / f"{number}.pnm").write_bytes(data * (1 + (number == 3)))
    (run,), said = told(caplog, tmp_path)
    assert len(run) == 3
    assert "3.pnm holds more pictures among files that hold one" in said


def test_arrays_and_videos_that_cannot_be_opened(frames, caplog):
    for name in ("a.npy", "b.h5", "c.mp4"):
        (frames / name).symlink_to("nowhere")
    for name in ("d.npy", "e.mp4"):
        os.mkfifo(frames / name)
    (run,), said = told(caplog, frames)
    assert len(run) == 4
    for name in ("a.npy", "b.h5", "c.mp4", "d.npy", "e.mp4"):
        assert f" {name} is a link to nothing, a pipe or a device" in said
    with pytest.raises(
        InputError, match=r"a.npy is a link to nothing, a pipe or a device; remove it .*on_corrupt=skip"
    ):
        load(frames, on_corrupt="raise")
