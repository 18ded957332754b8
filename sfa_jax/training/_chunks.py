"""Functions of many frames, a fixed number at a time: each is compiled once, whatever the length of a run."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from sfa_jax._fork import check_not_forked


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
    """Raises on frames that a model does not take.

    Raises:
      ValueError: they have another shape, or floating point values far above 1.
      TypeError: they are neither uint8 nor floating point.
      RuntimeError: this process was forked from one that has used jax.
    """
    check_not_forked()
    if frames.shape[1:] != frame_shape:
        raise ValueError(f"frames: expected shape [time, {', '.join(map(str, frame_shape))}], got {frames.shape}")
    if frames.dtype == np.uint8:
        return
    if not np.issubdtype(frames.dtype, np.floating):
        raise TypeError(f"frames: expected uint8, or floating point in [0, 1], got {frames.dtype}")
    if frames.size and np.nanmax(frames) > 2:
        raise ValueError(f"frames: expected floating point in [0, 1], got up to {np.nanmax(frames):.4g}; divide by 255")


def check_rows(name: str, rows: np.ndarray, size: int) -> None:
    """Raises on codes of another shape than a model takes.

    Raises:
      ValueError: says which was expected.
    """
    check_not_forked()
    if np.ndim(rows) != 2 or rows.shape[1] != size:
        raise ValueError(f"{name}: expected shape [n, {size}], got {np.shape(rows)}")
