"""Parts of sequences that measures are taken on."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_STRETCH = 1000  # frames in a row where not all are taken: short beside a part, long beside what is slow in it


class Part(NamedTuple):
    """Frames `[start, stop)` of sequence number `run`."""

    run: int
    start: int
    stop: int


def n_frames_of(parts: Sequence[Part]) -> int:
    """Number of frames in all parts."""
    return sum(part.stop - part.start for part in parts)


def thin(parts: Sequence[Part], most: int) -> list[Part]:
    """Take evenly spaced stretches of consecutive frames, at most `most` frames in all.

    Args:
      parts: in order.
      most: frames in all, at least 2.

    Returns:
      The parts themselves where they have no more frames; else parts of at most 1,000 frames each, at least 2.
    """
    total = n_frames_of(parts)
    if total <= most:
        return list(parts)
    count = max(1, most // _STRETCH)
    size = min(most, _STRETCH)
    starts = np.floor((np.arange(count) + 0.5) * total / count - size / 2).astype(int)
    taken, first = [], 0
    for part in parts:
        length = part.stop - part.start
        for start in starts:
            begin, end = max(start, first), min(start + size, first + length)
            if end - begin >= 2:  # a stretch that crosses the end of a part is cut there
                taken.append(Part(part.run, int(part.start + begin - first), int(part.start + end - first)))
        first += length
    return taken or [parts[0]._replace(stop=parts[0].start + min(most, parts[0].stop - parts[0].start))]
