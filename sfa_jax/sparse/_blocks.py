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


def check_precision(name: str, *arrays: jax.Array) -> None:
    """Raises on arrays that are not all float32, or all float64.

    Raises:
      TypeError: says which types came.
    """
    types = {array.dtype for array in arrays}
    if len(types) > 1 or not types <= {jnp.dtype(jnp.float32), jnp.dtype(jnp.float64)}:
        came = " and ".join(str(array.dtype) for array in arrays)
        raise TypeError(
            f"{name}: expected float32 or float64{', the same of both' if len(arrays) > 1 else ''}, got {came}"
        )


def check_coding(dictionary: jax.Array, signals: jax.Array) -> None:
    """Raises on a dictionary and signals that do not fit each other.

    Raises:
      TypeError: they are not both float32, or both float64.
      ValueError: they are not `[n_atoms, n_features]` and `[n_samples, n_features]`.
    """
    check_precision("dictionary, signals", dictionary, signals)
    if dictionary.ndim != 2 or signals.ndim != 2 or dictionary.shape[1] != signals.shape[1]:
        raise ValueError(
            "dictionary, signals: expected [n_atoms, n_features] and [n_samples, n_features], got "
            f"{dictionary.shape} and {signals.shape}"
        )
