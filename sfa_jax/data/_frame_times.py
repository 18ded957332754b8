"""Times of the frames of a file, and whether they are evenly spaced."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from sfa_jax.data._source import Note

_UNEVEN = 0.25  # of the median interval, by which another may differ
_SHARE = 0.01  # of intervals that may differ by more
_LONG, _LONG_SECONDS = 4, 1.0  # of the median interval, and at least: a pause


class FrameTimes:
    """Collects the times of frames in the order of decoding.

    Args:
      name: what messages call the file.
      stream: that the frames are of.
    """

    def __init__(self, name: str, stream: Any) -> None:
        self._name, self._unit = name, float(stream.time_base or 0)
        self._start = (stream.start_time or 0) * self._unit
        self._expected = 1.0 / float(stream.average_rate or 25)
        self._before: float | None = None
        self._intervals: list[float] = []
        self._before_frame: list[int] = []  # of each interval
        self._n_frames = 0
        self.end = 0.0

    def add(self, frame: Any, number: int) -> float | None:
        """Gives the seconds from the start of the stream to a frame of some number; None where the file has no time."""
        self._n_frames += 1
        if frame.pts is None:
            self.interrupt()
            return None
        time = float(frame.pts * self._unit - self._start)
        self.end = max(self.end, time + (frame.duration or 0) * self._unit)
        if self._before is not None:
            self._intervals.append(time - self._before)
            self._before_frame.append(number)
        self._before = time
        return time

    def interrupt(self) -> None:
        """Takes it that frames are missing before the next one."""
        self._before = None

    @property
    def usual(self) -> float:
        """Median seconds from a frame to the next."""
        return float(np.median(self._intervals)) if self._intervals else self._expected

    def notes(self) -> Iterator[Note]:
        """Tells where times are far from even, or cannot be used."""
        steps = np.array(self._intervals)
        if not len(steps):
            return
        if (steps <= 0).any():
            yield Note(
                f"{self._name}: the times of {(steps <= 0).sum()} of {self._n_frames} frames are not after those of "
                "the frames before them, so no times are kept; frames are in the order of decoding"
            )
            return
        longest = int(np.argmax(steps))
        differ = np.abs(steps - self.usual) > max(_UNEVEN * self.usual, 1.5 * self._unit)
        if differ.mean() >= _SHARE or steps[longest] >= max(_LONG * self.usual, _LONG_SECONDS):
            yield Note(
                f"{self._name}: its frames are not evenly spaced in time: {100 * differ.mean():.2g} % of the intervals "
                f"differ by more than a quarter from the median of {self.usual:.4g} s, the longest is "
                f"{steps[longest]:.4g} s (before frame {self._before_frame[longest]}); slowness takes them as even"
            )
