"""How far long work on data has come: a bar on a terminal, elsewhere plain lines now and then."""

import logging
import sys
import time
from types import TracebackType

_log = logging.getLogger("sfa_jax")
_LINE_SECONDS = 10.0


class Progress:
    """Counts frames or records.

    Args:
      what: is done, such as "reading walk.mp4".
      total: how many there are, about; 0 where that is not known.
      unit: what is counted.
    """

    def __init__(self, what: str, total: int, unit: str = "frames") -> None:
        self._what, self._total, self._unit, self._done = what, total, unit, 0
        self._said = time.monotonic()
        self._bar = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total or None, desc=what, unit=f" {unit}", dynamic_ncols=True, leave=False)

    def update(self, n: int = 1) -> None:
        """Tells that n more are done."""
        self._done += n
        if self._bar is not None:
            self._bar.update(n)
        elif time.monotonic() - self._said > _LINE_SECONDS:
            self._said = time.monotonic()
            of = f" of about {self._total}" if self._total else ""
            _log.info("%s: %d%s %s", self._what, self._done, of, self._unit)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
