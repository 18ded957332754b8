"""Progress on a terminal as a bar, elsewhere as plain lines."""

import contextlib
import logging
import sys
import time
from collections.abc import Iterator, Mapping
from types import TracebackType

from tqdm import tqdm

_log = logging.getLogger("sfa_jax")
_LINE_SECONDS = 5.0


class Progress:
    """Shows the step, the loss and the frames trained on a second.

    Args:
      start: step that the run goes on from.
      n_steps: step that it ends at.
      frames_a_step: frames in a batch.
      shown: false where another process of the job shows it.
    """

    def __init__(self, start: int, n_steps: int, frames_a_step: int, *, shown: bool = True):
        self._step, self._n_steps, self._frames_a_step = start, n_steps, frames_a_step
        self._since: float | None = None  # None until the first dispatch, which compiles, is over
        self._said = 0.0
        self._shown = shown
        terminal = shown and sys.stderr.isatty()
        self._bar = tqdm(total=n_steps, initial=start, unit="step", dynamic_ncols=True) if terminal else None
        if self._bar and start < n_steps:
            self._bar.set_postfix_str("compiling")

    def advance(self, step: int, means: Mapping[str, float]) -> float:
        """Tells that `step` is reached; returns the frames a second since the last call, 0 where that was the first."""
        now = time.perf_counter()
        steps, self._step = step - self._step, step
        rate = 0.0
        if self._since is not None:
            rate = steps * self._frames_a_step / (now - self._since)
        self._since = now
        speed = f"{rate:.0f} frames/s" if rate else "compiled"
        if self._bar:
            self._bar.update(steps)
            self._bar.set_postfix_str(f"loss {means['loss']:.4g}, {speed}")
        elif self._shown and (now - self._said > _LINE_SECONDS or step == self._n_steps):
            self._said = now
            _log.info("step %d of %d: loss %.4g, %s", step, self._n_steps, means["loss"], speed)
        return rate

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """What is done inside does not count as training time."""
        before = time.perf_counter()
        yield
        if self._since is not None:
            self._since += time.perf_counter() - before

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.close()
