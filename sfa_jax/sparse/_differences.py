"""Differences in time and space: what changes is sparser than what is.

Half precision is computed, and given back, in float32: a difference may leave its range.
"""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from sfa_jax.sparse._checks import single

BoxKind = Literal["temporal", "spatial"]
BOX_KINDS = ("temporal", "spatial")


def temporal_difference(x: ArrayLike, *, lag: int = 1, axis: int = 0) -> jax.Array:
    """The absolute change over a lag.

    Delta_t = |x_t - x_{t - lag}|,  t from lag on: the first frames, which have nothing before them, are left out

    Args:
      x: time along the axis, floating point.
      lag: frames, at least 1 and below the length.
      axis: of time.

    Returns:
      As x, but `lag` frames shorter.

    Raises:
      TypeError: x is not floating point.
      ValueError: the lag is out of its range.

    References:
      Wiskott & Sejnowski, Neural Computation 2002 (what slowness makes small).

    >>> temporal_difference(jnp.array([1.0, 4.0, 2.0])).tolist()
    [3.0, 2.0]
    """
    x = jnp.moveaxis(single("x", x), axis, 0)
    if not 1 <= lag < len(x):
        raise ValueError(f"lag: expected 1 to {len(x) - 1}, below the length of axis {axis}, got {lag}")
    return jnp.moveaxis(jnp.abs(x[lag:] - x[:-lag]), 0, axis)


def spatial_difference(x: ArrayLike, *, axis: int = -1) -> jax.Array:
    """The change from each pixel to the next, with its sign; one pixel fewer along the axis.

    d_i = x_{i + 1} - x_i

    Args:
      x: pixels along the axis, at least 2, floating point.
      axis: -1 for x, -2 for y of an image `[..., height, width]`.

    Returns:
      As x, but one shorter along the axis.

    Raises:
      TypeError: x is not floating point.
      ValueError: there are fewer than two pixels.

    >>> spatial_difference(jnp.array([1.0, 4.0, 2.0])).tolist()
    [3.0, -2.0]
    """
    x = single("x", x)
    if x.shape[axis] < 2:
        raise ValueError(f"x: expected at least two pixels along axis {axis}, got shape {x.shape}")
    return jnp.diff(x, axis=axis)


def box_filter(window: int, *, kind: BoxKind = "temporal") -> np.ndarray:
    """The kernel of `box_difference`: one number against the mean of its neighbours.

    temporal: (w, -1, ..., -1) / sqrt(w + 1), number k for x_{t - k}, k from 0 to w
    spatial: (-1, ..., -1, 2 w, -1, ..., -1) / sqrt(2 w + 1), w neighbours on each side

    Built from +1 and -1, scaled to length 1, and then its positive part so that it sums to 0.

    Args:
      window: w, at least 1.
      kind: "temporal": causal, the neighbours before; "spatial": on both sides.

    Returns:
      float64 `[w + 1]` or `[2 w + 1]`.

    Raises:
      ValueError: the window is not at least 1, or the kind is unknown.

    References:
      Neuromatch Academy, NeuroAI, "Sparsity and sparse coding", `diff_box` and `diff_box_spatial`.

    >>> (box_filter(3) * 2).tolist()
    [3.0, -1.0, -1.0, -1.0]
    """
    n = _neighbours(window, kind)
    kernel = np.full(n + 1, -1.0)
    kernel[0 if kind == "temporal" else window] = n
    return kernel / np.sqrt(n + 1)


def box_difference(x: ArrayLike, window: int, *, kind: BoxKind = "temporal", axis: int = 0) -> jax.Array:
    """Each number against the mean of its neighbours, without delay: `box_filter` along an axis.

    temporal: y_t = w / sqrt(w + 1) (x_t - mean of the w before it)
    spatial: y_i = 2 w / sqrt(2 w + 1) (x_i - mean of the w on each side)

    Beyond the ends the first and the last number go on, so that a constant gives exactly 0 everywhere.

    Args:
      x: time or pixels along the axis, floating point.
      window: w, at least 1.
      kind: as in `box_filter`.
      axis: along which.

    Returns:
      Of the shape of x.

    Raises:
      TypeError: x is not floating point.
      ValueError: as `box_filter`, or x is empty along the axis.

    References:
      As `box_filter`, whose document delays the output and fills the ends otherwise.

    >>> box_difference(jnp.array([1.0, 1.0, 4.0]), 3).tolist()
    [0.0, 0.0, 4.5]
    """
    n, x = _neighbours(window, kind), jnp.moveaxis(single("x", x), axis, 0)
    if not len(x):
        raise ValueError(f"x: expected at least one number along axis {axis}, got shape {x.shape}")
    x = x - x[:1]  # a constant is 0 from here on, without rounding
    ends = [(window, window if kind == "spatial" else 0)] + [(0, 0)] * (x.ndim - 1)
    padded = jnp.pad(x, ends, mode="edge")
    size = (n + 1, *[1] * (x.ndim - 1))
    total = jax.lax.reduce_window(padded, np.zeros((), x.dtype), jax.lax.add, size, (1,) * x.ndim, "VALID")
    return jnp.moveaxis(((n + 1) * x - total) / (n + 1) ** 0.5, 0, axis)


def _neighbours(window: int, kind: str) -> int:
    if kind not in BOX_KINDS:
        raise ValueError(f"kind: expected one of {BOX_KINDS}, got {kind!r}")
    if window < 1:
        raise ValueError(f"window: expected at least 1, got {window}")
    return window if kind == "temporal" else 2 * window
