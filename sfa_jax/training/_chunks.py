"""Functions of many frames, a fixed number at a time: each is compiled once, whatever the length of a run."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np


def in_chunks(function: Callable[[Any], jax.Array], rows: np.ndarray, size: int) -> np.ndarray:
    """`function` of each row, given `size` rows at a time, the last ones padded with zeros.

    Args:
      function: rows `[size, ...]` to values `[size, ...]`, row by row.
      rows: `[n, ...]`.
      size: of a chunk.

    Returns:
      `[n, ...]`.
    """
    parts = []
    for start in range(0, max(len(rows), 1), size):
        chunk = np.asarray(rows[start : start + size])
        padded = np.concatenate([chunk, np.zeros((size - len(chunk), *rows.shape[1:]), rows.dtype)])
        parts.append(np.asarray(function(padded))[: len(chunk)])
    return np.concatenate(parts)


def check_frames(frames: np.ndarray, frame_shape: tuple[int, ...]) -> None:
    """Raises on frames of another shape than a model takes.

    Raises:
      ValueError: says which was expected.
    """
    if frames.shape[1:] != frame_shape:
        raise ValueError(f"frames: expected shape [time, {', '.join(map(str, frame_shape))}], got {frames.shape}")
