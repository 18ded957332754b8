"""A set that `prepare` writes is the source it was written from, however often it was interrupted."""

import errno
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from sfa_jax._errors import InputError
from sfa_jax._folders import hold_folder
from sfa_jax.data import ClipSampler, FrameStore, _prepare, _prepared_set, load, prepare

tfds = pytest.importorskip("tensorflow_datasets")
pytest.importorskip("array_record")


@pytest.fixture
def walk(tmp_path, rng):
    """An array of three runs with truth."""
    frames = rng.integers(0, 256, (40, 6, 5, 3), dtype=np.uint8)
    run_id = np.repeat([4, 1, 9], [17, 3, 20])
    truth = {f"truth/{name}": rng.normal(size=40).astype(np.float32) for name in ("x", "heading")}
    path = tmp_path / "walk.npz"
    np.savez(path, frames=frames, run_id=run_id, **truth)
    return path


def assert_same(found, expected):
    assert len(found) == len(expected)
    for run, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(run.frames), other.frames)
        np.testing.assert_array_equal(run.frame_index, other.frame_index)
        assert run.held_out == other.held_out
        assert run.truth.keys() == other.truth.keys()
        for name in run.truth:
            np.testing.assert_array_equal(run.truth[name], other.truth[name])


SHARD = 7 * 6 * 5 * 3  # bytes of seven frames


def shards(folder):
    return sorted(path.name for path in folder.iterdir() if "array_record" in path.name)


@pytest.mark.parametrize("memory", [None, 0])
def test_every_pair_and_clip(walk, tmp_path, memory):
    out = prepare(walk, tmp_path / "set", image_size=0, shard_bytes=SHARD)
    assert shards(out) == [f"set-train.array_record-0000{i}" for i in range(6)]
    expected = load(walk, image_size=0)
    found = load(out, source="tfds", image_size=0, memory_limit_bytes=memory)
    assert_same(found, expected)
    stores = FrameStore(found), FrameStore(expected)
    for length, order in itertools.product((2, 3, 9), ("shuffled", "consecutive")):
        samplers = [ClipSampler(x.lengths, clip_length=length, batch_size=3, order=order, seed=5) for x in stores]
        for step in range(2 * samplers[0].steps_per_epoch):
            one, other = (sampler.at(step) for sampler in samplers)
            for a, b in zip(one, other, strict=True):
                np.testing.assert_array_equal(a, b)
            np.testing.assert_array_equal(*(store.gather(one.frames) for store in stores))


@pytest.mark.parametrize("options", [{"stride": 2}, {"image_size": (3, 4)}, {"greyscale": True}])
def test_options(walk, tmp_path, options):
    """Of reading a set are those of reading its source; and a set can be written with them."""
    options = {"image_size": 0} | options
    prepare(walk, tmp_path / "set", image_size=0, shard_bytes=SHARD)
    assert_same(load(f"tfds:{tmp_path}/set", **options), load(walk, **options))
    prepare(walk, tmp_path / "made", shard_bytes=SHARD, **options)
    assert_same(load(f"tfds:{tmp_path}/made", image_size=0), load(walk, **options))


def test_sources(pan, write_video, write_folder, tmp_path):
    """Videos with cuts, folders, several of them, what is drawn, and a set of TFDS."""
    video = write_video("two.mp4", [*pan(30, seed=1), *pan(40, seed=2)])
    folder = write_folder("frames", pan(12, seed=3))
    array = tmp_path / "short.npy"
    np.save(array, pan(1))  # too short to be a run
    for number, source in enumerate((video, [video, folder], folder)):
        out = prepare(source, tmp_path / f"set{number}", image_size=16, shard_bytes=20_000)
        expected = load(source, image_size=16)
        assert len(expected) == (2, 3, 1)[number]
        assert_same(load(f"tfds:{out}", image_size=16), expected)
        again = prepare(f"tfds:{out}", tmp_path / f"again{number}", image_size=16)
        assert_same(load(f"tfds:{again}", image_size=16), expected)
    walks = {"n_frames": 20, "n_runs": 2}
    out = prepare("room", tmp_path / "0room", image_size=8, room=walks)
    assert_same(load(f"tfds:{out}", image_size=0), load("room", image_size=8, room=walks))
    assert shards(out) == ["set_0room-train.array_record-00000"]
    with pytest.raises(InputError, match=r"short.npy gives no run of at least two consecutive frames"):
        prepare(array, tmp_path / "none")


def test_held_out_images(tmp_path):
    options = {"image_size": 8, "photographs": {"n_crops": 3, "n_held_out_crops": 2}}
    out = prepare("photographs", tmp_path / "crops", **options)
    expected = sorted(load("photographs", **options), key=lambda run: run.held_out)
    assert_same(load(f"tfds:{out}", image_size=8), expected)
    assert {name.split(".")[0] for name in shards(out)} == {"crops-train", "crops-validation"}


def test_tfds_reads_it(walk, tmp_path):
    out = prepare(walk, tmp_path / "set", image_size=0, shard_bytes=SHARD)
    builder = tfds.builder_from_directory(out)
    assert builder.info.splits["train"].num_examples == 40
    assert len(builder.info.splits["train"].shard_lengths) == 6
    source = builder.as_data_source("train")
    example = source[18]
    with np.load(walk) as arrays:
        np.testing.assert_array_equal(example["frame"], arrays["frames"][18])
        assert example["truth"]["x"] == arrays["truth/x"][18]
    assert (example["run_id"], example["frame_index"]) == (1, 18)
    assert "tensorflow" not in sys.modules


class Killed(BaseException):
    """In the place of a kill: nothing catches it."""


@pytest.mark.parametrize("method", ["close", "write", "__init__"])
def test_interrupted_anywhere(walk, tmp_path, method, monkeypatch):
    """Each process goes one shard, frame or file further than the one before, and leaves its parts behind."""
    whole = prepare(walk, tmp_path / "whole", image_size=0, shard_bytes=SHARD)
    kept, monkeypatch = getattr(_prepared_set._Shard, method), monkeypatch
    monkeypatch.setattr(_prepared_set._Shard, "abandon", lambda shard: None)
    out = tmp_path / "set"
    for allowed in itertools.count(1):
        calls = itertools.count(1)

        def until(*args, calls=calls, allowed=allowed):
            if next(calls) > allowed % 11:  # a shard needs up to seven
                raise Killed
            return kept(*args)

        monkeypatch.setattr(_prepared_set._Shard, method, until)
        try:
            prepare(walk, out, image_size=0, shard_bytes=SHARD)
        except Killed:
            assert not (out / "dataset_info.json").exists()
            continue
        break
    assert allowed >= 3
    assert_same(load(f"tfds:{out}", image_size=0), load(walk, image_size=0))
    assert [(out / name).stat().st_size for name in shards(out)] == [
        (whole / name.replace("set", "whole")).stat().st_size for name in shards(out)
    ]


def kill_at_random(command, folder, kills, seed, wait):
    """Starts a command until it has been killed so often, then lets it end; gives how many starts were killed."""
    rng, killed = random.Random(seed), 0
    while killed < kills:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder, text=True)
        try:
            process.wait(rng.uniform(0, wait))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            killed += 1
        _, err = process.communicate()
        assert process.returncode in (0, -signal.SIGKILL), err
        if process.returncode == 0:
            break
    done = subprocess.run(command, capture_output=True, cwd=folder, text=True)
    assert done.returncode == 0, done.stderr
    return killed


@pytest.mark.parametrize("kills", [3, pytest.param(30, marks=pytest.mark.slow)])
def test_killed(pan, write_video, tmp_path, kills):
    """`kill -9` at random moments: the set is complete and without duplicates."""
    videos = [write_video(f"{seed}.mp4", pan(150, seed=seed), preset="ultrafast") for seed in range(4)]
    start = time.monotonic()
    command = [sys.executable, "-m", "sfa_jax.prepare", *videos]
    options = ["--image_size=32", "--shard_mb=0.05"]
    subprocess.run([*command, str(tmp_path / "whole"), *options], check=True, capture_output=True)
    wait = 1.1 * (time.monotonic() - start)
    kill_at_random([*command, str(tmp_path / "set"), *options], os.getcwd(), kills, 0, wait)
    expected = load(videos, image_size=32)
    assert sum(map(len, expected)) == 600
    assert_same(load(f"tfds:{tmp_path}/set", image_size=32), expected)
    assert not [path for path in (tmp_path / "set").iterdir() if path.name.startswith((".part", ".tmp", ".frames"))]


def test_again(walk, tmp_path, caplog):
    out = prepare(walk, tmp_path / "set", image_size=0)
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir() if path.name != ".lock"}
    with caplog.at_level("INFO", logger="sfa_jax"):
        prepare(walk, out, image_size=0)
    assert "is complete: 40 frames" in caplog.text
    assert before == {path.name: path.stat().st_mtime_ns for path in out.iterdir() if path.name != ".lock"}
    with pytest.raises(InputError, match=r"OUT=.*set: holds a set of other options; give another OUT, or remove"):
        prepare(walk, out, image_size=3)
    os.utime(walk)
    with pytest.raises(InputError, match=r"holds a set of other sources"):
        prepare(walk, out, image_size=0)
    (out / "prepare.json").write_text("{")
    with pytest.raises(InputError, match=r"prepare.json: cannot be read .*remove the folder .* or give another OUT"):
        prepare(walk, out, image_size=0)


def test_errors(walk, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    for out, message in [
        ("walk.npz", "expected a folder, or nothing"),
        ("full", "an empty folder .* found notes.txt"),
    ]:
        with pytest.raises(InputError, match=message):
            prepare(walk, tmp_path / out)
    assert os.listdir(tmp_path / "full") == ["notes.txt"]
    with pytest.raises(InputError, match=r"shard_bytes: expected at least 1, got 0"):
        prepare(walk, tmp_path / "set", shard_bytes=0)
    with pytest.raises(TypeError, match="prepare\\(\\) takes no cache_dir"):
        prepare(walk, tmp_path / "set", cache_dir="x")
    (tmp_path / "held").mkdir()
    held = "import sys, time, pathlib\nfrom sfa_jax._folders import hold_folder\n"
    held += "with hold_folder(pathlib.Path(sys.argv[1]), 'OUT'):\n    print('held', flush=True)\n    time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", held, str(tmp_path / "held")], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(InputError, match=r"OUT=.*held: another run \(process \d+\) is writing there"):
            prepare(walk, tmp_path / "held", image_size=0)
        process.kill()
    other = tmp_path / "other.npz"
    with np.load(walk) as arrays:
        np.savez(other, frames=arrays["frames"])
    with pytest.raises(InputError, match=r"other.npz: nothing is known of its frames, of those before it heading, x"):
        prepare([walk, other], tmp_path / "mixed", image_size=0)


def test_nothing_is_left_of_what_failed(walk, tmp_path, monkeypatch):
    """A folder that was made for it; one that was there stays, and so does what was begun."""
    with pytest.raises(InputError, match="does not exist"):
        prepare(tmp_path / "nowhere", tmp_path / "set")
    assert not (tmp_path / "set").exists()
    (tmp_path / "mine").mkdir()
    with pytest.raises(InputError, match="does not exist"):
        prepare(tmp_path / "nowhere", tmp_path / "mine")
    assert (tmp_path / "mine").exists()
    monkeypatch.setattr("shutil.disk_usage", lambda path: shutil._ntuple_diskusage(100, 100, 0))
    with pytest.raises(InputError, match=r"set/.frames/0 cannot be written: 0 bytes .* run it again when"):
        prepare(walk, tmp_path / "set", image_size=3)
    assert not (tmp_path / "set").exists()
    monkeypatch.undo()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(_prepare, "write_json", full)
    with pytest.raises(OSError, match="No space left"):
        prepare(walk, tmp_path / "set", image_size=3)
    assert list((tmp_path / "set" / ".frames").glob("0/*/entry.json"))  # what was decoded stays
    monkeypatch.undo()
    assert_same(load(prepare(walk, tmp_path / "set", image_size=3), image_size=0), load(walk, image_size=3))


def test_many_sources_and_one_that_is_given_alone(walk, tmp_path):
    prepare(walk, tmp_path / "set", image_size=0)
    for path in ("room", "tfds:set", tmp_path / "set"):
        with pytest.raises(InputError, match=r"path: '.*' is (drawn|a set of TFDS), which is given alone; exp"):
            load([walk, path])


def test_a_set_and_its_runs_are_known_by_their_place(walk, tmp_path):
    """Without source=tfds; the runs are called so where frames are resized, too."""
    out = prepare(walk, tmp_path / "set", image_size=0)
    assert_same(load(out, image_size=0), load(walk, image_size=0))
    assert [run.name for run in load(out, image_size=3)] == [
        f"tfds:set/1.0.0 train (run {number} of 3)" for number in (1, 2, 3)
    ]


def test_command_errors(tmp_path):
    for arguments, message in [
        (["room", "--set", "n_frames=3"], "--set: expected NAME.OPTION=VALUE"),
        (["room", "--set", "rooms.n_frames=3"], "--set: expected an option of one of room, "),
        (["room", "--image_size", "a"], "--image_size: expected pixels such as 64"),
        (["nowhere.mp4"], "'nowhere.mp4' does not exist"),
    ]:
        command = [sys.executable, "-m", "sfa_jax.prepare", *arguments, str(tmp_path / "set")]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 1
        assert message in done.stderr
        assert "Traceback" not in done.stderr
    command = [sys.executable, "-m", "sfa_jax.prepare", "room", str(tmp_path / "set"), "--set", "room.n_frames=9"]
    subprocess.run([*command, "--image_size=8"], check=True, capture_output=True)
    assert json.loads((tmp_path / "set" / "prepare.json").read_text())["set"]["shards"] == {"train": [9]}
    with hold_folder(tmp_path / "set", "OUT"):  # it was let go
        pass


def test_one_white_for_all_sources(tmp_path, rng):
    """Values of more than 8 bits are as bright in the set as where they are loaded."""
    (tmp_path / "in").mkdir()
    for name, top in (("bright", 4095), ("dark", 900)):
        np.save(tmp_path / "in" / f"{name}.npy", rng.integers(0, top + 1, (4, 6, 5, 3), dtype=np.uint16))
    out = prepare(tmp_path / "in", tmp_path / "set", image_size=0)
    assert_same(load(out, image_size=0), load(tmp_path / "in", image_size=0))
