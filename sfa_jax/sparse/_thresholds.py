"""Non-linearities that set small numbers to 0."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from sfa_jax.sparse._checks import floating, like


def relu_threshold(x: ArrayLike, theta: ArrayLike = 0.0) -> jax.Array:
    """What exceeds a threshold, by how much it does.

    x - theta where x >= theta, else 0

    Args:
      x: any shape, floating point.
      theta: a number, or of a shape that broadcasts to that of x, in units of x.

    Returns:
      Of the shape and type of x, at least 0.

    Raises:
      TypeError: x is not floating point.
      ValueError: theta has another shape.

    References:
      Hartline & Ratliff, J. Gen. Physiol. 1957 (a threshold in the eye of Limulus).

    >>> relu_threshold(jnp.array([-1.0, 1.0, 3.0]), 1.0).tolist()
    [0.0, 0.0, 2.0]
    """
    x = floating("x", x)
    return jax.nn.relu(x - like("theta", theta, x))


def hard_threshold(x: ArrayLike, theta: ArrayLike = 0.0) -> jax.Array:
    """What reaches a threshold, as it is; of one sign, as firing rates and pixels are.

    x where x >= theta, else 0

    Args:
      x: any shape, floating point.
      theta: a number, or of a shape that broadcasts to that of x, in units of x.

    Returns:
      Of the shape and type of x.

    Raises:
      TypeError: x is not floating point.
      ValueError: theta has another shape.

    References:
      Donoho & Johnstone, Biometrika 1994 (there of |x|).

    >>> hard_threshold(jnp.array([-3.0, 1.0, 3.0]), 2.0).tolist()
    [0.0, 0.0, 3.0]
    """
    x = floating("x", x)
    return jnp.where(x >= like("theta", theta, x), x, jnp.zeros_like(x))


def soft_threshold(x: ArrayLike, alpha: ArrayLike, *, positive: bool = False) -> jax.Array:
    """Each number moved towards 0: the minimum of 1/2 (z - x)^2 + alpha |z| over z.

    sign(x) max(|x| - alpha, 0), or max(x - alpha, 0) over z >= 0

    Args:
      x: any shape, floating point.
      alpha: a number of at least 0, or of a shape that broadcasts to that of x, in units of x.
      positive: over z >= 0 alone.

    Returns:
      z, of the shape and type of x.

    Raises:
      TypeError: x is not floating point.
      ValueError: alpha has another shape.

    References:
      Donoho & Johnstone, Biometrika 1994; Daubechies, Defrise & De Mol, CPAM 2004.

    >>> soft_threshold(jnp.array([-3.0, 1.0, 3.0]), 2.0).tolist()
    [-1.0, 0.0, 1.0]
    """
    x = floating("x", x)
    alpha = like("alpha", alpha, x)
    return jax.nn.relu(x - alpha) if positive else x - jnp.clip(x, -alpha, alpha)
