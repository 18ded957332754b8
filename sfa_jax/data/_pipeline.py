"""Batches of frames that do not fit in memory, read by Grain ahead of the steps that need them.

The element of number k is the batch of step k, whatever reads it: the sampler alone decides which frames it holds. So
the position in the data is the step, which a checkpoint holds, and a run that is resumed sees the batches that an
uninterrupted one would, with any number of workers, devices and processes.
"""

import contextlib
import math
import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Iterator
from multiprocessing import resource_tracker
from typing import NamedTuple

import numpy as np

from sfa_jax._errors import InputError, is_mistake
from sfa_jax.data._checks import check_number, check_whole
from sfa_jax.data._clips import Batch, ClipSampler
from sfa_jax.data._store import FrameStore

_AHEAD_BYTES = 256 << 20  # of frames, read before they are needed
_MOST_AHEAD = 16  # batches
_THREADS = 4  # that read, in each process that does
_ENDLESS = 1 << 40  # steps
_WORKER_NAME = "grain-process-prefetch"  # as Grain calls its processes
_LOOK_SECONDS = 1.0  # between looks at whether the workers live
_DEAD_SECONDS = 5.0  # that Grain has to tell of a dead one
_PARENT_SECONDS = 1.0  # a worker whose parent was killed ends after them


class ReaderError(RuntimeError):
    """Frames could not be read for a reason outside the data: a worker died, or no batch came in time."""


class StalledError(ReaderError):
    """No batch comes any more. The threads that wait for it cannot be ended: end the process with `os._exit`."""


class ReadOptions(NamedTuple):
    """How frames are read.

    Attributes:
      workers: processes that read; 0 for threads of this one, which do where frames are stored raw. A program that has
        them needs `if __name__ == "__main__":` around its work, as always where Python starts processes.
      timeout: seconds to wait for a batch.
    """

    workers: int = 0
    timeout: float = 300.0


_DEFAULT = ReadOptions()


class Reader:
    """Batches of consecutive steps. Use it as a context; what reads is ended with it.

    Args:
      store: of all frames.
      sampler: of clips of them.
      start, stop: steps, the first one and the one after the last; without end by default.
      part: of the numbers `[batch, time]` of a batch, what this process reads; all by default.
      options: how.

    Raises:
      InputError: an option is out of its range.
    """

    def __init__(
        self,
        store: FrameStore,
        sampler: ClipSampler,
        start: int = 0,
        stop: int = _ENDLESS,
        part: tuple[slice, ...] = (),
        options: ReadOptions = _DEFAULT,
    ) -> None:
        import grain
        from absl import flags

        check_whole("workers", options.workers, 0)
        check_number("timeout", options.timeout, f"(0, {threading.TIMEOUT_MAX:.0f}]", "in seconds")
        self._name, self._step, self._options = store.name, start, options
        n_bytes = int(np.prod(sampler.at(start).frames[part].shape)) * store.frame_bytes
        ahead = int(np.clip(_AHEAD_BYTES // n_bytes, 1, _MOST_AHEAD))
        each = max(1, ahead // max(1, options.workers))
        steps = grain.MapDataset.source(_Steps(store, sampler, stop, part))
        dataset = steps[start:].to_iter_dataset(grain.ReadOptions(min(_THREADS, each), each))
        if options.workers:
            if not flags.FLAGS.is_parsed():  # as in a program that is not absl's; Grain reads flags of its own
                flags.FLAGS.mark_as_parsed()
            workers = grain.MultiprocessingOptions(options.workers, per_worker_buffer_size=1)
            dataset = dataset.mp_prefetch(workers, worker_init_fn=_begin_worker)
            # By pipes: shared memory is small in containers, and what is not taken of it is told as a leak.
            dataset = grain.experimental.WithOptionsIterDataset(
                dataset, grain.experimental.DatasetOptions(min_shm_size=1 << 62)
            )
        self._batches: Iterator[Batch] = iter(dataset)
        self._others, self._workers = multiprocessing.active_children(), list[multiprocessing.process.BaseProcess]()
        self._queue: queue.Queue[Batch | Exception] = queue.Queue(1)
        self._left, self._stalled = threading.Event(), False
        self._stop, self._ended = stop, False
        self._thread = threading.Thread(target=self._fetch, daemon=True)
        self._thread.start()

    def next(self) -> Batch:
        """The batch of the next step; `frames` are the pixels of `part`.

        Raises:
          InputError: frames are damaged, or their files are gone.
          ReaderError: a worker died, or no batch came in time.
          ValueError: there is none, or an error ended the reading before.
        """
        if self._ended or self._step >= self._stop:
            raise ValueError(f"{self._name}: the reader ends before step {self._step}; make another one to read on")
        found = self._wait()
        if isinstance(found, Exception):
            self._ended = True
            if isinstance(found, InputError):
                raise InputError(str(found).splitlines()[0]) from found  # without what Grain adds to a message
            if isinstance(found, (MemoryError, ReaderError)) or is_mistake(found):
                raise found
            raise self._explained(found) from found
        self._step += 1
        return found

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        if self._stalled:
            return
        with contextlib.suppress(queue.Empty):
            self._queue.get_nowait()
        self._thread.join(self._options.timeout)
        close = getattr(self._batches, "close", None)
        if close is not None and not self._thread.is_alive():
            close()
        self._batches = iter(())  # Grain's own fails to end when the interpreter does

    def _wait(self) -> Batch | Exception:
        """What comes next; looks at the workers meanwhile, as Grain waits for ever for the rest of a batch."""
        end, dead_since = time.monotonic() + self._options.timeout, math.inf
        while (now := time.monotonic()) < end and now - dead_since < _DEAD_SECONDS:
            with contextlib.suppress(queue.Empty):
                found = self._queue.get(timeout=min(end - now, _LOOK_SECONDS))
                self._note_workers()
                return found
            if any(process.exitcode for process in self._workers):
                dead_since = min(dead_since, now)
        self._stalled = self._ended = True
        for process in self._workers:
            if process.exitcode:
                raise StalledError(_said_dead(self._name, f"exit code {process.exitcode}"))
        raise StalledError(
            f"{self._name}: no batch for step {self._step} came within {self._options.timeout:g} s; expected one much "
            "sooner: see that the disk or file system answers, or raise --config.data.timeout, and run again with the "
            "same --workdir to go on"
        )

    def _note_workers(self) -> None:
        if len(self._workers) < self._options.workers:
            found = [process for process in multiprocessing.active_children() if process.name.startswith(_WORKER_NAME)]
            self._workers = [process for process in found if process not in self._others]

    def _fetch(self) -> None:
        if hasattr(signal, "pthread_sigmask"):  # workers start with the mask of this thread: the parent ends them
            resource_tracker.ensure_running()  # which would take the mask away
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        while not self._left.is_set():
            try:
                found: Batch | Exception = next(self._batches)
            except StopIteration:
                return
            except Exception as error:
                found = error
            while not self._left.is_set():
                with contextlib.suppress(queue.Full):
                    self._queue.put(found, timeout=0.2)
                    break
            if isinstance(found, Exception):
                return

    def _explained(self, error: Exception) -> Exception:
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        if "terminated unexpectedly" in said:
            return ReaderError(_said_dead(self._name, said.split(". ")[0]))
        if isinstance(error, OSError):
            return InputError(f"{self._name}: frames cannot be read ({said}); see that its files are there")
        return ReaderError(f"{self._name}: frames of step {self._step} cannot be read ({type(error).__name__}: {said})")


def _said_dead(name: str, how: str) -> str:
    hint = (
        'is the work of the program inside `if __name__ == "__main__":`? Processes cannot start without it'
        if how.endswith("exit code 1")
        else "as it does when memory runs out: lower --config.data.workers or data.batch_size, and run again"
    )
    return f"{name}: a process that reads frames has ended ({how}); {hint}"


class _Steps:
    """The batch of each step, for Grain; sent to its workers."""

    def __init__(self, store: FrameStore, sampler: ClipSampler, n_steps: int, part: tuple[slice, ...]) -> None:
        self._store, self._sampler, self._n_steps, self._part = store, sampler, n_steps, part

    def __len__(self) -> int:
        return self._n_steps

    def __getitem__(self, step: int) -> Batch:
        batch = self._sampler.at(int(step))
        return batch._replace(frames=self._store.gather(batch.frames[self._part]))


def _begin_worker(index: int, count: int) -> None:
    """The parent decides when a worker ends: it ignores signals to the whole group, and goes when its parent has."""
    del index, count
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_PARENT_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
