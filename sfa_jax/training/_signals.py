"""SIGTERM (preemption) and Ctrl-C end a run at the next safe place."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType


class Stopped(BaseException):
    """A signal asked for the end. Not an `Exception`, so that nothing on the way takes it for an error of its own."""


class StopSignals:
    """Catches SIGTERM and SIGINT while it is entered.

    Inside `held()` a signal is only noted in `requested`; anywhere else, where nothing would be lost, it raises
    `Stopped` at once.
    """

    def __init__(self) -> None:
        self.requested: str | None = None
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

    def check(self, saved: str, wait: Callable[[], None]) -> None:
        """Raises `Stopped`, once `wait` has returned, if a signal was noted."""
        if self.requested:
            wait()
            raise Stopped(f"stopped by {self.requested}: {saved}; run again with the same --workdir to go on")

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        self._holding = True
        try:
            yield
        finally:
            self._holding = False

    def _catch(self, number: int, frame: FrameType | None) -> None:
        self.requested = signal.Signals(number).name
        if not self._holding:
            self.check("what was saved before stays", lambda: None)
