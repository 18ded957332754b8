"""The norm of norm+linear: every position by itself, over its channels."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

EPSILON = 1e-6


def normalize(z: ArrayLike, *, epsilon: float = EPSILON) -> jax.Array:
    """Each vector minus the mean of its channels, over their standard deviation.

    zhat = (z - mean(z)) / sqrt(var(z) + epsilon)

    The variance is the population's and there is no gain or offset; the length of zhat is sqrt(channels), and its
    channels sum to 0.

    Args:
      z: `[..., channels]`, floating point.
      epsilon: added to the variance; the paper gives no value.

    Returns:
      zhat, of the shape of z.

    Raises:
      TypeError: z is not floating point.
      ValueError: z has no axis, or epsilon is below 0.

    References:
      Chen et al., arXiv 2310.12976, section 3.

    >>> normalize(jnp.array([1.0, 3.0])).round(3).tolist()
    [-1.0, 1.0]
    """
    z = as_vectors(z, "z")
    check_epsilon(epsilon)
    mean, gain = statistics(z, epsilon)
    return (z - mean) * gain


def statistics(z: jax.Array, epsilon: float) -> tuple[jax.Array, jax.Array]:
    """The mean over channels and 1 / sqrt(var + epsilon), `[..., 1]` each, of the dtype of z."""
    x = z.astype(jnp.float32) if z.dtype.itemsize < 4 else z  # squares leave the range of half precision
    mean = jnp.mean(x, axis=-1, keepdims=True)
    gain = jax.lax.rsqrt(jnp.mean(jnp.square(x - mean), axis=-1, keepdims=True) + epsilon)
    return mean.astype(z.dtype), gain.astype(z.dtype)


def check_epsilon(epsilon: float) -> None:
    """Raises where the variance could become negative.

    Raises:
      ValueError: it is below 0.
    """
    if isinstance(epsilon, (int, float)) and not epsilon >= 0:
        raise ValueError(f"epsilon: expected at least 0, got {epsilon}")


def as_vectors(z: ArrayLike, name: str) -> jax.Array:
    """`z` as an array with a channel axis.

    Raises:
      TypeError: it is not floating point.
      ValueError: it has no axis.
    """
    z = jnp.asarray(z)
    if not jnp.issubdtype(z.dtype, jnp.floating):
        raise TypeError(f"{name}: expected floating point, got {z.dtype}; convert it first")
    if z.ndim < 1:
        raise ValueError(f"{name}: expected a last axis of channels, got a scalar")
    return z
