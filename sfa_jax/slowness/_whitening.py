"""What the closed-form solutions share: whitening with a relative cut-off of the rank, and fixed signs."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from sfa_jax.slowness._batch import as_whole

_FEW = 100  # features below which the default cut-off does not get smaller
_TIE = 1e-4  # entries of a component within this share of the largest count as equal to it


class Whitening(NamedTuple):
    """A linear map that makes data white, for features brought to unit variance first.

    Attributes:
      scale: `[n_features]`, 1 / standard deviation; 0 for constant features.
      matrix: `[n_features, n_features]`, from scaled features to white ones in its columns; 0 where cut off.
      kept: `[n_features]` bool, columns that are above the cut-off.
    """

    scale: jax.Array
    matrix: jax.Array
    kept: jax.Array


def whiten(
    mean: jax.Array, covariance: jax.Array, rcond: float | None, rounding: float | jax.Array | None = None
) -> Whitening:
    """Whitens by the eigenvectors of the correlation matrix; cuts off eigenvalues up to `rcond` times the largest.

    `rcond` None is `rounding` (the machine epsilon if None) times the number of features, or times 100 where those are
    fewer: the entries of the matrix are sums over many frames, whose rounding does not get less with fewer features.
    """
    limits = jnp.finfo(covariance.dtype)
    eps = float(limits.eps) if rounding is None else rounding
    cut = max(mean.shape[0], _FEW) * eps if rcond is None else rcond
    variance = jnp.diagonal(covariance)
    # Centring rounds: a constant feature on an offset keeps a variance of the order of (eps offset)^2. Below tiny / eps
    # a variance has no digits left.
    varies = variance > jnp.maximum(jnp.square(4 * eps * mean), float(limits.tiny) / float(limits.eps))
    scale = jnp.where(varies, jax.lax.rsqrt(jnp.where(varies, variance, 1)), 0)
    values, vectors = jnp.linalg.eigh(scale[:, None] * covariance * scale[None])
    kept = (values > cut * values[-1]) & (values > 0)
    matrix = vectors * jnp.where(kept, jax.lax.rsqrt(jnp.where(kept, values, 1)), 0)[None]
    return Whitening(scale, matrix, kept)


def leading_signs(directions: jax.Array) -> jax.Array:
    """The sign of the largest entry of each row: of the first one of those that agree with the largest to 1e-4."""
    size = jnp.abs(directions)
    leading = jnp.argmax(size >= (1 - _TIE) * jnp.max(size, axis=1, keepdims=True), axis=1)
    largest = jnp.take_along_axis(directions, leading[:, None], axis=1)
    return jnp.where(largest < 0, -1, 1).astype(directions.dtype)


def check_components(n_components: int | None, n_features: int) -> int:
    """How many components to give: all for None.

    Raises:
      ValueError: not in 1..n_features.
      TypeError: not a whole number.
    """
    if n_components is None:
        return n_features
    n_components = as_whole(n_components, "n_components")
    if not 1 <= n_components <= n_features:
        raise ValueError(f"n_components: expected 1 to {n_features}, got {n_components}")
    return n_components
