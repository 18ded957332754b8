"""Pooling of neighbouring pixels."""

import functools
from typing import Literal

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

PoolKind = Literal["max", "average", "l2"]
POOL_KINDS = ("max", "average", "l2")


def pool2d(x: ArrayLike, *, size: int = 2, kind: PoolKind = "max") -> jax.Array:
    """Squares of pixels that do not overlap, each to one value a channel.

    max, or mean, or the root of the sum of squares over the square, whose gradient is 0 where all of it is 0.

    Args:
      x: `[n, height, width, channel]`, floating point.
      size: pixels a side of the squares, a divisor of height and width.
      kind: "max", "average" or "l2".

    Returns:
      `[n, height / size, width / size, channel]`.

    Raises:
      TypeError: x is not floating point.
      ValueError: an unknown kind, another number of axes, or a size that does not divide height and width.

    References:
      Boureau, Ponce & LeCun, ICML 2010 (max and average); Hyvarinen & Hoyer, Neural Computation 2000 (energy, l2).

    >>> x = jnp.array([[3.0, 4.0], [0.0, 0.0]]).reshape(1, 2, 2, 1)
    >>> [round(pool2d(x, kind=kind).item(), 3) for kind in POOL_KINDS]
    [4.0, 1.75, 5.0]
    """
    x = jnp.asarray(x)
    if kind not in POOL_KINDS:
        raise ValueError(f"kind: expected one of {POOL_KINDS}, got {kind!r}")
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"x: expected floating point, got {x.dtype}; divide uint8 by 255 first")
    if x.ndim != 4:
        raise ValueError(f"x: expected shape [n, height, width, channel], got {x.shape}")
    n, height, width, channel = x.shape
    if size < 1 or height % size or width % size:
        raise ValueError(f"size: expected a divisor of height and width, {height} and {width}, got {size}")
    squares = x.reshape(n, height // size, size, width // size, size, channel)
    if kind == "max":
        # Not jnp.max: on CPU XLA's reduction forgets a nan.
        return functools.reduce(jnp.maximum, (squares[:, :, i, :, j] for i in range(size) for j in range(size)))
    if kind == "average":
        return jnp.mean(squares, axis=(2, 4))
    wide = squares.astype(jnp.float32) if x.dtype.itemsize < 4 else squares  # squares leave the range of half precision
    total = jnp.sum(jnp.square(wide), axis=(2, 4))
    return jnp.where(total == 0, 0, jnp.sqrt(jnp.where(total == 0, 1, total))).astype(x.dtype)
