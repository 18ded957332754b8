"""What the functions of this room ask of their arguments."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

Size = int | tuple[int, int]


def floating(name: str, x: ArrayLike) -> jax.Array:
    """An array of floating point: differences of whole numbers without a sign would wrap round.

    Raises:
      TypeError: it is not.
    """
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"{name}: expected floating point, got {x.dtype}")
    return x


def single(name: str, x: ArrayLike) -> jax.Array:
    """An array of at least float32: sums and squares of half precision would overflow, and round to few digits.

    Raises:
      TypeError: it is not floating point.
    """
    x = floating(name, x)
    return x.astype(jnp.float32) if x.dtype.itemsize < 4 else x


def like(name: str, value: ArrayLike, x: jax.Array) -> jax.Array:
    """A number for each of x, or for all: what would make x larger is refused.

    Raises:
      ValueError: it does not broadcast to the shape of x.
    """
    value = jnp.asarray(value, x.dtype)
    try:
        fits = jnp.broadcast_shapes(value.shape, x.shape) == x.shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"{name}: expected a number, or a shape that broadcasts to that of x, {x.shape}, got {value.shape}"
        )
    return value


def pair(size: Size) -> tuple[int, int]:
    """A size as height and width."""
    return (int(size), int(size)) if isinstance(size, (int, np.integer)) else (int(size[0]), int(size[1]))


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
      ValueError: they are not `[n_atoms, n_features]` and `[n_samples, n_features]` or `[n_features]`.
    """
    check_precision("dictionary, signals", dictionary, signals)
    fits = dictionary.ndim == 2 and signals.ndim in (1, 2) and dictionary.shape[1] == signals.shape[-1]
    if not fits or not dictionary.size:
        raise ValueError(
            "dictionary, signals: expected [n_atoms, n_features], neither 0, and [n_samples, n_features] or one signal "
            f"[n_features], got {dictionary.shape} and {signals.shape}"
        )


def check_lasso(alpha: float | jax.Array, tol: float, max_iter: int) -> None:
    """Raises on options of a solver that are out of their range.

    Raises:
      ValueError: names the option.
    """
    if jnp.ndim(alpha) or (not isinstance(alpha, jax.core.Tracer) and not np.asarray(alpha) >= 0):
        raise ValueError(f"alpha: expected a number of at least 0, got {alpha}")
    if not tol >= 0:
        raise ValueError(f"tol: expected at least 0, got {tol}")
    if max_iter < 1:
        raise ValueError(f"max_iter: expected at least 1, got {max_iter}")
