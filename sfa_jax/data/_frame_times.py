"""Times of the frames of a file, and whether they are evenly spaced."""

from collections.abc import Iterator

import numpy as np

from sfa_jax.data._source import Note

_UNEVEN = 0.25  # of the median interval, by which another may differ
_SHARE = 0.01  # of intervals that may differ by more
_LONG, _LONG_SECONDS = 4, 1.0  # of the median interval, and at least: a pause


class FrameTimes:
    """Collects the times of frames in the order of decoding.

    Args:
      name: what messages call the file.
      unit: seconds that times are multiples of.
    """

    def __init__(self, name: str, unit: float) -> None:
        self._name, self._unit = name, unit
        self._before: float | None = None
        self._intervals: list[float] = []
        self._before_frame: list[int] = []  # of each interval
        self._n_frames = 0

    def add(self, time: float | None, number: int) -> float | None:
        """Takes the time in seconds of a frame of some number, and gives it back; None where the file has none."""
        self._n_frames += 1
        if time is not None and self._before is not None:
            self._intervals.append(time - self._before)
            self._before_frame.append(number)
        self._before = time
        return time

    def interrupt(self) -> None:
        """Takes it that frames are missing before the next one."""
        self._before = None

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
        longest, usual = int(np.argmax(steps)), float(np.median(steps))
        differ = np.abs(steps - usual) > max(_UNEVEN * usual, 1.5 * self._unit)
        if differ.mean() >= _SHARE or steps[longest] >= max(_LONG * usual, _LONG_SECONDS):
            yield Note(
                f"{self._name}: its frames are not evenly spaced in time: {100 * differ.mean():.2g} % of the intervals "
                f"differ by more than a quarter from the median of {usual:.4g} s, the longest is "
                f"{steps[longest]:.4g} s (before frame {self._before_frame[longest]}); slowness takes them as even"
            )
