"""Many signals, a block of them at a time, inside one program."""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp

Found = TypeVar("Found")


def in_blocks(function: Callable[[jax.Array], Found], x: jax.Array, block_size: int) -> Found:
    """A function of rows, each by itself, of at most so many rows at once: that bounds the memory.

    Args:
      function: rows `[m, ...]` to a NamedTuple of arrays `[m, ...]`.
      x: `[n, ...]`.
      block_size: m at most.

    Returns:
      What the function gives of all rows.

    Raises:
      ValueError: the block has no row.
    """
    if block_size < 1:
        raise ValueError(f"block_size: expected at least 1, got {block_size}")
    n, blocks = len(x), -(-len(x) // block_size)
    if blocks <= 1:
        return function(x)
    size = -(-n // blocks)
    padded = jnp.pad(x, [(0, size * blocks - n)] + [(0, 0)] * (x.ndim - 1)).reshape(blocks, size, *x.shape[1:])
    found = jax.lax.map(function, padded)
    return jax.tree.map(lambda part: part.reshape(blocks * size, *part.shape[2:])[:n], found)
