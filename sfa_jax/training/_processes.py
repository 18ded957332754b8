"""What the processes of a job tell each other. One process alone is a job as well, by the same calls.

They speak through jax's coordination service and not by collectives of the devices, which wait for ever where a process
has failed, and give up where one only works longer than the others.
"""

import itertools
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

import jax
from jax._src import distributed  # the service's client has no public name; Orbax takes it from there too

from sfa_jax.training._signals import Stopped, StopSignals

GRACE_SECONDS = 30.0  # a process that another one's end has not reached by itself after them is ended
_LOOK_SECONDS = 1.0
_runs = itertools.count()  # all processes make as many `Processes` in one order, so each has keys of its own


class PeerError(RuntimeError):
    """Another process of the job has failed; the message names it and tells what it said."""


class Processes:
    """The processes of a job, all of which make the same calls in the same order.

    While it is entered, an exception that leaves the block is told to the others. They meet it where they next wait
    for an answer; where they do not come to that, since they hang in a collective that lacks this process, they are
    ended. A signal that one of them has noted is passed on to all.

    Args:
      signals: of this process.

    Attributes:
      index, count: of this process, and how many there are.
      first: whether this is process 0, which alone measures and writes files.
    """

    def __init__(self, signals: StopSignals | None = None):
        self.index, self.count = jax.process_index(), jax.process_count()
        self.first = self.index == 0
        self._signals = signals or StopSignals()
        self._client: Any = distributed.global_state.client if self.count > 1 else None
        self._name, self._turns = f"sfa_jax/{next(_runs)}", itertools.count()
        self._left = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes, in their order, once all have come here.

        Args:
          value: of this process; JSON can hold it.

        Returns:
          A list of `count` values, the same on every process.

        Raises:
          PeerError: another process has failed.
          Stopped: another process was stopped by a signal.
        """
        if self._client is None:
            return [value]
        turn = next(self._turns)
        self._client.key_value_set(f"{self._name}/{turn}/{self.index}", json.dumps(value))
        answers = [json.loads(self._wait_for(f"{self._name}/{turn}/{i}")) for i in range(self.count)]
        if turn:  # who has answered now has read everything of the turn before
            self._client.key_value_delete(f"{self._name}/{turn - 1}/{self.index}")
        return answers

    def share(self, compute: Callable[[], Any]) -> Any:
        """What `compute` returns, called in process 0 alone while the others wait; raises as `gather`."""
        return self.gather(compute() if self.first else None)[0]

    def first_of(self, value: Any) -> Any:
        """The value of the first process whose value is not None, or None; raises as `gather`."""
        return next((found for found in self.gather(value) if found is not None), None)

    def __enter__(self) -> "Processes":
        if self._client is not None:
            self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is None:
            return
        self._left.set()
        self._watcher.join()
        if isinstance(error, jax.errors.JaxRuntimeError) or _says_gone(error):
            self._check_others()  # a collective failed since another process did: that is what to tell
        if _says_gone(error):
            raise PeerError(
                "the connection to another process was lost; it was killed, or its machine is gone. Start all of them "
                "again with the same --workdir to go on"
            ) from error
        if error is not None and not isinstance(error, PeerError):
            self._tell("ended", {"said": str(error) or type(error).__name__, "signal": _signal_of(error)})

    def _wait_for(self, key: str) -> str:
        while True:
            self._check_others()
            try:
                return self._client.blocking_key_value_get(key, int(1000 * _LOOK_SECONDS))
            except jax.errors.JaxRuntimeError as error:
                if "DEADLINE_EXCEEDED" not in str(error):
                    raise

    def _check_others(self) -> None:
        for index, end in self._told("ended"):
            if end["signal"]:
                raise Stopped(f"process {index} was {end['said']}", end["signal"])
            raise PeerError(f"process {index} failed: {end['said']}")

    def _watch(self) -> None:
        since, told = None, False
        while not self._left.wait(_LOOK_SECONDS):
            try:
                if self._signals.requested and not told:
                    self._tell("stop", self._signals.requested)
                    told = True
                for _, name in self._told("stop"):
                    self._signals.requested = self._signals.requested or name
                self._check_others()
            except (PeerError, Stopped) as error:
                since = since or time.monotonic()
                if time.monotonic() - since > GRACE_SECONDS:
                    _end(error)
            except jax.errors.JaxRuntimeError:  # the service is gone, and jax ends this process itself
                return

    def _tell(self, what: str, value: Any) -> None:
        self._client.key_value_set(f"{self._name}/{what}/{self.index}", json.dumps([self.index, value]))

    def _told(self, what: str) -> list[tuple[int, Any]]:
        """What the others have told, with their numbers."""
        notes = [json.loads(note) for _, note in self._client.key_value_dir_get(f"{self._name}/{what}/")]
        return [(index, value) for index, value in notes if index != self.index]


def _says_gone(error: BaseException | None) -> bool:
    """Whether a collective of the CPU met the end of a process that could tell nothing any more."""
    return isinstance(error, RuntimeError | ValueError) and "Gloo" in str(error)


def _signal_of(error: BaseException) -> str | None:
    if isinstance(error, KeyboardInterrupt):
        return "SIGINT"
    return error.signal_name if isinstance(error, Stopped) else None


def _end(error: PeerError | Stopped) -> None:
    """Ends this process from a thread, as its main thread is inside a collective that no exception reaches."""
    stopped = isinstance(error, Stopped)
    print(str(error) if stopped else f"error: {error}", file=sys.stderr, flush=True)
    jax.distributed.shutdown()  # without it, jax would abort the process that waits for this one
    os._exit((130 if error.signal_name == "SIGINT" else 0) if isinstance(error, Stopped) else 1)
