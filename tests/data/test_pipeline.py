"""What Grain reads ahead is what the sampler says, and what goes wrong there ends with a line."""

import contextlib
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from sfa_jax._errors import InputError
from sfa_jax.data import ClipSampler, FrameStore, Reader, ReaderError, ReadOptions, Run, StalledError, load, prepare

pytest.importorskip("grain")
ALL = (slice(None), slice(None))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A set of two runs."""
    folder = tmp_path_factory.mktemp("sets")
    return prepare("room", folder / "walk", image_size=8, room={"n_frames": 30, "n_runs": 2}, shard_bytes=2000)


@pytest.fixture
def store(path):
    return FrameStore(load(path, source="tfds", image_size=0, memory_limit_bytes=0))


@pytest.fixture
def mapped(tmp_path):
    np.save(tmp_path / "walk.npy", load("room", image_size=8, room={"n_frames": 40})[0].frames)
    (run,) = load(tmp_path / "walk.npy", image_size=0, memory_limit_bytes=0, stride=2)
    return FrameStore([run.part(3, 18)])


def sampler_of(store, **options):
    return ClipSampler(store.lengths, **{"clip_length": 3, "batch_size": 4} | options)


def read_on(reader):
    for _ in range(1000):
        reader.next()


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("which", ["records", "mapped"])
def test_batches(store, mapped, which, workers):
    store = store if which == "records" else mapped
    sampler = sampler_of(store, order="shuffled", seed=3)
    start, stop = 3, 3 * sampler.steps_per_epoch + 2  # over the ends of epochs
    with Reader(store, sampler, start, stop, (slice(1, 3), slice(None)), ReadOptions(workers, 60)) as reader:
        for step in range(start, stop):
            found, expected = reader.next(), sampler.at(step)
            np.testing.assert_array_equal(found.frames, store.gather(expected.frames[1:3]))
            for name in ("valid", "reset", "run_id"):
                np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert not multiprocessing.active_children()


def test_a_map_is_sent_as_its_place(mapped):
    sent = pickle.dumps(mapped)
    assert len(sent) < 2000 + mapped.nbytes // 10
    np.testing.assert_array_equal(pickle.loads(sent).all(), mapped.all())
    sampler = pickle.loads(pickle.dumps(sampler_of(mapped)))
    np.testing.assert_array_equal(sampler.at(5).frames, sampler_of(mapped).at(5).frames)


def test_records_are_sent(store):
    sent = pickle.loads(pickle.dumps(store))
    np.testing.assert_array_equal(sent.all(), store.all())


def test_a_worker_dies(store):
    with Reader(store, sampler_of(store), 0, 100_000, ALL, ReadOptions(2, 60)) as reader:
        reader.next()
        for process in multiprocessing.active_children():
            os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(ReaderError, match=r"walk/1.0.0 .* a process that reads frames has ended .*exit code -9"):
            read_on(reader)


def test_a_worker_dies_amid_a_batch(tmp_path):
    """Larger than a pipe: Grain waits for the rest of it, for ever."""
    code = """
import multiprocessing, os, signal, time
import numpy as np
from sfa_jax.data import ClipSampler, FrameStore, Reader, ReadOptions, Run, StalledError

if __name__ == "__main__":
    store = FrameStore([Run(np.zeros((60, 64, 64, 3), np.uint8), "walk", np.arange(60))])
    reader = Reader(store, ClipSampler(store.lengths, clip_length=2, batch_size=16), options=ReadOptions(2))
    reader.next()
    time.sleep(2)  # until both are in the middle of what they write
    os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)
    try:
        while True:
            reader.next()
    except StalledError as error:
        print(error, flush=True)
        os._exit(3)
"""
    (tmp_path / "reads.py").write_text(code)
    done = subprocess.run([sys.executable, str(tmp_path / "reads.py")], stdout=subprocess.PIPE, text=True, timeout=100)
    assert done.returncode == 3
    assert "walk: a process that reads frames has ended (exit code -9); as it does when memory runs out" in done.stdout


def test_a_worker_goes_with_its_parent(path, tmp_path):
    """Also where the parent was killed, and had no time to end it."""
    code = """
import sys, multiprocessing
from sfa_jax.data import *
if __name__ == "__main__":
    store = FrameStore(load(sys.argv[1], source="tfds", image_size=0, memory_limit_bytes=0))
    sampler = ClipSampler(store.lengths, clip_length=2, batch_size=4)
    reader = Reader(store, sampler, 0, 10**6, (slice(None),) * 2, ReadOptions(1, 60))
    reader.next()
    print(*[process.pid for process in multiprocessing.active_children()], flush=True)
    while True:
        reader.next()
"""
    (tmp_path / "reads.py").write_text(code)
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "reads.py"), str(path)], stdout=subprocess.PIPE, text=True
    )
    (worker,) = map(int, process.stdout.readline().split())
    process.kill()
    process.wait()
    deadline = time.monotonic() + 30
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.kill(worker, 0)
            time.sleep(0.1)
        raise AssertionError("the worker is still there")
    process.stdout.close()


class Stuck(np.ndarray):
    """Frames in a file system that does not answer."""

    release = threading.Event()

    def __getitem__(self, key):
        if not isinstance(key, slice):
            self.release.wait(60)
        return super().__getitem__(key)


def test_a_reader_that_stalls():
    frames = np.zeros((20, 4, 4, 3), np.uint8).view(Stuck)
    store = FrameStore([Run(frames, "disk", np.arange(20))])
    start = time.monotonic()
    try:
        with (
            pytest.raises(StalledError, match=r"disk: no batch for step 7 came within 0.3 s; .*--config.data.timeout"),
            Reader(store, sampler_of(store), 7, 100, ALL, ReadOptions(0, 0.3)) as reader,
        ):
            reader.next()
    finally:
        Stuck.release.set()
    assert time.monotonic() - start < 10


def test_a_damaged_record(tmp_path):
    """Met while training, for a set is not read whole before it."""
    out = prepare("room", tmp_path / "walk", image_size=8, room={"n_frames": 60}, shard_bytes=192 * 60)
    store = FrameStore(load(out, source="tfds", image_size=0, memory_limit_bytes=0))
    (shard,) = out.glob("*array_record*")
    content = bytearray(shard.read_bytes())
    for place in range(9000, 9100):
        content[place] ^= 0xFF
    shard.write_bytes(content)
    for workers in (0, 1):
        with (
            pytest.raises(InputError, match=r"tfds:walk/1.0.0 train, record \d+ \(in .*copy or write the set again"),
            Reader(store, sampler_of(store), 0, 1000, ALL, ReadOptions(workers, 60)) as reader,
        ):
            read_on(reader)


def test_options(store):
    with Reader(store, sampler_of(store)) as reader:  # all of each batch, from the first one on
        assert reader.next().frames.shape == (4, 3, 8, 8, 3)
    for options, message in [
        (ReadOptions(-1), "workers: expected a whole number of at least 0, got -1"),
        (ReadOptions(timeout=0), r"timeout: expected a number in \(0, \d+\], in seconds, got 0"),
        (ReadOptions(timeout=float("nan")), "timeout: expected a number"),
    ]:
        with pytest.raises(InputError, match=message):
            Reader(store, sampler_of(store), options=options)
    grey = Run(np.zeros((5, 4, 4, 1), np.float32), "walk", np.arange(5))
    with pytest.raises(InputError, match=r"walk: expected frames uint8 .*, got float32 of shape \(5, 4, 4, 1\)"):
        FrameStore([grey])


def test_the_end(store):
    with Reader(store, sampler_of(store), 2, 4, ALL, ReadOptions()) as reader:
        for _ in range(2):
            reader.next()
        with pytest.raises(ValueError, match=r"the reader ends before step 4; make another one"):
            reader.next()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_is_the_parents(path, tmp_path, number):
    """Ctrl-C reaches the workers too, also while they start: no stack trace, and nothing is left behind."""
    (tmp_path / "reads.py").write_text("""
import sys, signal
from sfa_jax.data import *
if __name__ == "__main__":
    stop = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.append(1))
    store = FrameStore(load(sys.argv[1], source="tfds", image_size=0, memory_limit_bytes=0))
    sampler = ClipSampler(store.lengths, clip_length=2, batch_size=4)
    with Reader(store, sampler, 0, 10**6, (slice(None),) * 2, ReadOptions(2, 60)) as reader:
        print("starts", flush=True)
        while not stop:
            reader.next()
""")
    command = [sys.executable, str(tmp_path / "reads.py"), str(path)]
    for wait in (0.5, 4.0):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        process = subprocess.Popen(command, start_new_session=True, **pipes)
        process.stdout.readline()
        time.sleep(wait)
        os.killpg(process.pid, number)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert "Traceback" not in err
        assert "leaked" not in err
