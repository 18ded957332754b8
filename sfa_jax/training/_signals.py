"""SIGTERM (preemption) and Ctrl-C end a run at the next safe place."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType, TracebackType


class Stopped(BaseException):
    """A signal asked for the end. Not an `Exception`, so that nothing on the way takes it for an error of its own.

    Attributes:
      signal_name: of the signal.
    """

    def __init__(self, message: str, signal_name: str):
        super().__init__(message)
        self.signal_name = signal_name


class StopSignals:
    """Catches SIGTERM and SIGINT while it is entered.

    Outside `held()`, where only files are read, the first one raises `Stopped` at once. Inside, where an exception
    from a handler could go through the compiler or a checkpoint on its way to disk, it is noted, and `check` raises
    `Stopped` at the next safe place. A second one ends the process as if it had never been caught.

    Attributes:
      requested: name of the signal that was caught here, or in another process of the job; None before.
    """

    def __init__(self) -> None:
        self.requested: str | None = None
        self._caught = False
        self._holding = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():  # only there can handlers be set
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._catch)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def check(self, saved: str) -> None:
        """Raises `Stopped` if a signal was noted; `saved` says what is on disk."""
        if self.requested:
            raise stopped(self.requested, saved)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        self._holding = True
        try:
            yield
        finally:
            self._holding = False

    def _catch(self, number: int, frame: FrameType | None) -> None:
        if self._caught:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        self._caught, self.requested = True, signal.Signals(number).name
        if not self._holding:
            self.check("what was saved before stays")
        # Not by logging or print: the handler may have interrupted either.
        with contextlib.suppress(OSError, ValueError):
            os.write(sys.stderr.fileno(), b"\nstopping at the next safe place; the same signal again ends it at once\n")


def stopped(signal_name: str, saved: str) -> Stopped:
    """The exception; `saved` says what is on disk."""
    return Stopped(f"stopped by {signal_name}: {saved}; run again with the same --workdir to go on", signal_name)
