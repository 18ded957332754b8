"""Parts of sequences that measures are taken on."""

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from sfa_jax.data import evenly_spaced

_FIT_BYTES = 1 << 30  # images that baselines are fitted on
_STRETCH = 1000  # frames in a row where not all are taken: short beside a part, long beside what is slow in it

_log = logging.getLogger("sfa_jax")


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


def fit_images(frames: Sequence[Any]) -> np.ndarray:
    """Take the training images that baselines are fitted on: all, or evenly spaced ones where they pass 1 GB.

    Args:
      frames: `[time, height, width, channel]` of each part.

    Returns:
      `[n, height, width, channel]` uint8.
    """
    total = sum(map(len, frames))
    images = evenly_spaced(frames, max(1, _FIT_BYTES // int(np.prod(frames[0].shape[1:]))))
    if len(images) < total:
        _log.info("baselines are fitted on %d of %d training images, evenly spaced", len(images), total)
    return images
