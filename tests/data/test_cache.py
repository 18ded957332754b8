"""The cache: written once, whole or not at all, and clear errors where it cannot be written."""

import errno
import logging
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from sfa_jax._errors import InputError
from sfa_jax.data import _cache, prepare
from sfa_jax.data.__main__ import main
from sfa_jax.data._load import load


@pytest.fixture
def folder(write_folder, pan):
    return write_folder("walk", pan(12))


def entries(path):
    return sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))


def test_second_load_reads_the_cache(folder, cache_dir, monkeypatch):
    (first,) = load(folder, image_size=16)
    assert len(entries(cache_dir)) == 1
    monkeypatch.setattr(Image, "open", None)
    (second,) = load(folder, image_size=16)
    np.testing.assert_array_equal(first.frames, second.frames)
    np.testing.assert_array_equal(first.frame_index, second.frame_index)


def test_options_and_changed_files_are_other_entries(folder, cache_dir):
    for options in ({}, {"image_size": 16}, {"stride": 2}, {"greyscale": True}, {"split_cuts": False}, {}):
        load(folder, **options)
    assert len(entries(cache_dir)) == 5
    picture = pathlib.Path(folder, "frame3.png")
    Image.new("RGB", (64, 48), (9, 9, 9)).save(picture)
    os.utime(picture, (1, 1))
    assert load(folder, image_size=16)[0].frames[3].max() == 9
    assert len(entries(cache_dir)) == 6


@pytest.mark.parametrize("variable", ["SFA_JAX_CACHE", "XDG_CACHE_HOME", "HOME"])
def test_place(monkeypatch, tmp_path, variable):
    for name in ("SFA_JAX_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, str(tmp_path))
    below = {"SFA_JAX_CACHE": "", "XDG_CACHE_HOME": "sfa_jax", "HOME": ".cache/sfa_jax"}[variable]
    assert _cache.cache_root() == tmp_path / below
    assert _cache.cache_root("~/elsewhere") == pathlib.Path("~/elsewhere").expanduser()


def test_estimate_is_logged_first(folder, write_video, pan, caplog):
    with caplog.at_level(logging.INFO, "sfa_jax"):
        load(folder, image_size=16, stride=3)
        load(write_video("clip.mp4", pan(10)), image_size=16)
    assert f"reading {folder}: 4 frames, 3.1 kB" in caplog.messages[0]
    assert any("clip.mp4: about 10 frames, about 7.7 kB" in message for message in caplog.messages)


def test_memory_limit_maps_the_frames(folder, caplog):
    (in_memory,) = load(folder, image_size=16)
    with caplog.at_level(logging.INFO, "sfa_jax"):
        (mapped,) = load(folder, image_size=16, memory_limit_bytes=1000)
    assert isinstance(mapped.frames, np.memmap)
    assert not mapped.frames.flags.writeable
    assert not isinstance(in_memory.frames, np.memmap)
    np.testing.assert_array_equal(mapped.frames, in_memory.frames)
    assert "9.2 kB of frames are above the memory limit of 1.0 kB" in caplog.text


def test_available_memory():
    assert 1 << 20 < _cache.available_memory() < 1 << 50


def test_damaged_entry_is_made_again(folder, cache_dir, caplog):
    load(folder, image_size=16)
    (entry,) = entries(cache_dir)
    os.truncate(entry / "frames.u8", 100)
    assert len(load(folder, image_size=16)[0]) == 12
    assert "is damaged; it is made again" in caplog.text
    (entry / "entry.json").write_text("{")
    assert len(load(folder, image_size=16)[0]) == 12


def test_damaged_truth_is_made_again(tmp_path, rng, cache_dir, caplog):
    heading = rng.normal(size=9).astype(np.float32)
    np.savez(
        tmp_path / "walk.npz", frames=rng.integers(0, 256, (9, 4, 4, 3), dtype=np.uint8), **{"truth/heading": heading}
    )
    out = prepare(tmp_path / "walk.npz", tmp_path / "walk", image_size=0)
    (expected,) = load(out, image_size=2)
    (truth,) = cache_dir.glob("*/known.npz")
    content = bytearray(truth.read_bytes())
    content[len(content) // 2] ^= 0xFF
    truth.write_bytes(content)
    (found,) = load(out, image_size=2)
    assert "is damaged; it is made again" in caplog.text
    np.testing.assert_array_equal(found.truth["heading"], expected.truth["heading"])


def test_shown_and_cleared(tmp_path, cache_dir, capsys):
    load(prepare("room", tmp_path / "walk", image_size=8, room={"n_frames": 9}), image_size=4)
    main([])
    shown = capsys.readouterr().out
    assert "9 frames of 4x4x3, 1 run(s)  tfds:walk/1.0.0 train" in shown
    assert "where the frames of 1 split(s) of sets are\ntotal: 1 entries, " in shown
    main(["--clear"])
    main([])
    assert capsys.readouterr().out.endswith("total: 0 entries, 0 bytes\n")


def test_failure_while_reading_leaves_nothing(folder, cache_dir):
    pathlib.Path(folder, "frame9.png").write_text("no picture")
    with pytest.raises(InputError, match=r"frame9.png"):
        load(folder, on_corrupt="raise")
    assert list(cache_dir.iterdir()) == []


def test_killed_process_leaves_no_entry(write_folder, pan, cache_dir):
    folder = write_folder("long", pan(400))
    code = (
        "import sys, time, sfa_jax.data._files as files; from sfa_jax.data._load import load\n"
        "read = files.open_single\n"
        "def slow(*arguments):\n    time.sleep(0.02)\n    return read(*arguments)\n"
        "files.open_single = slow; load(sys.argv[1])\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", code, folder], env=environment)
    deadline = time.monotonic() + 30
    while not list(cache_dir.glob(".tmp-*/frames.u8")) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert _cache.find_leftovers(cache_dir) == []  # still being written
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert entries(cache_dir) == []
    assert len(_cache.find_leftovers(cache_dir)) == 1
    assert len(load(folder)[0]) == 400
    main([])
    assert [path.name[0] for path in cache_dir.iterdir()] != ["."]
    assert len(list(cache_dir.iterdir())) == 1


def test_two_processes_at_once(folder, cache_dir, monkeypatch):
    """The other process finishes while this one writes: its entry is used, and nothing else stays."""
    load(folder, image_size=16)
    (finished,) = entries(cache_dir)
    kept = shutil.copytree(finished, cache_dir.parent / "kept")
    shutil.rmtree(finished)
    rename = pathlib.Path.rename

    def late(path, target):
        shutil.copytree(kept, target)
        return rename(path, target)

    monkeypatch.setattr(pathlib.Path, "rename", late)
    assert len(load(folder, image_size=16)[0]) == 12
    assert list(cache_dir.iterdir()) == [finished]


def test_unwritable_directory(folder, tmp_path):
    (tmp_path / "file").write_text("in the way")
    message = r"the cache directory .*file/below cannot be written: .*needs 147456 bytes .*SFA_JAX_CACHE"
    with pytest.raises(InputError, match=message):
        load(folder, cache_dir=tmp_path / "file" / "below")


def test_no_room_is_seen_before_work(folder, cache_dir, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 5, 5))
    with pytest.raises(
        InputError, match=r"cannot be written: 5 bytes .* are free; .*walk needs 147456 bytes \(147.5 kB\)"
    ):
        load(folder)
    assert list(cache_dir.iterdir()) == []


def test_disk_fills_up_midway(write_video, pan, cache_dir):
    path = write_video("clip.mp4", pan(200))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))  # as a full disk: writing beyond it fails
    try:
        with pytest.raises(InputError, match=rf"{os.strerror(errno.EFBIG)}; .*clip.mp4 needs about 2457600 bytes"):
            load(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(cache_dir.iterdir()) == []


def test_tool_shows_and_clears(folder, cache_dir, capsys):
    main([])
    assert capsys.readouterr().out == f"cache: {cache_dir}\ntotal: 0 entries, 0 bytes\n"
    load(folder, image_size=16)
    load(folder, image_size=8)
    (cache_dir / "notes").mkdir()
    (cache_dir / f".tmp-{'0' * 32}-{os.uname().nodename}-999999999-abcd1234").mkdir()
    main([])
    shown = capsys.readouterr().out
    assert "12 frames of 16x16x3, 1 run(s)" in shown
    assert "total: 2 entries, 11.5 kB" in shown
    assert "removed 1 unfinished entries" in shown
    assert len(entries(cache_dir)) == 3
    main(["--clear"])
    assert "removed: 2 entries, 11.5 kB" in capsys.readouterr().out
    assert [path.name for path in cache_dir.iterdir()] == ["notes"]
