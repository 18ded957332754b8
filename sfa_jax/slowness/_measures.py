"""How slow, and how many-dimensional, a finished signal is."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from sfa_jax.slowness._batch import as_samples, as_whole, covariance, in_own_precision


@in_own_precision
def delta(y: ArrayLike, *, lag: int = 1) -> jax.Array:
    """Statistic of the sequence: the Delta value of each dimension, its mean squared change over its variance.

    Delta_k = <(y_k(t) - y_k(t - lag))^2> / var(y_k). Independent of scale and offset; white noise gives 2.

    Changes are taken of the numbers as they are: an offset costs no more than it did when the numbers were rounded. 0
    means that nothing has moved; a Delta too small for the type is its smallest normal number, as a bound. The
    gradient is that of the dimensions that vary, and 0 in the others. NumPy arrays of float64 are measured in it
    whatever jax's default, and the result is given in that.

    Args:
      y: signals `[time, dim]`, or several of one length `[..., time, dim]`, whose statistics are pooled.
      lag: distance of the two frames, in frames.

    Returns:
      `[dim]`, dimensionless; nan where a dimension is constant.

    Raises:
      ValueError: fewer than two axes, or not more frames than `lag`.
      TypeError: not floating-point.

    References:
      Wiskott & Sejnowski, Neural Computation 2002, eq. 1.

    >>> delta(jnp.array([[1.0], [-1.0], [1.0], [-1.0]])).tolist()
    [4.0]
    """
    y = as_samples(y, "y")
    n_frames, dim = y.shape[-2:]
    lag = as_whole(lag, "lag")
    if lag < 1:
        raise ValueError(f"lag: expected at least 1 frame, got {lag}")
    if n_frames <= lag:
        raise ValueError(f"y: expected more than lag = {lag} frames along axis -2, got shape {y.shape}")
    change, change_unit = _in_units((y[..., lag:, :] - y[..., :-lag, :]).reshape(-1, dim), axis=0)
    spread, spread_unit = _in_units(_from_first(y).reshape(-1, dim), axis=0)
    variance = jnp.var(spread, axis=0)
    varies = variance > 0
    ratio = (change_unit / spread_unit)[0]
    value = jnp.square(ratio) * (jnp.mean(jnp.square(change), axis=0) / jnp.where(varies, variance, 1))
    least = jnp.where(jnp.any(change != 0, axis=0), jnp.finfo(y.dtype).tiny, 0)
    return jnp.where(varies, jnp.maximum(value, least), jnp.nan)


@in_own_precision
def eta(y: ArrayLike) -> jax.Array:
    """Statistic of the sequence: about how many oscillations each dimension makes.

    eta_k = T / (2 pi) sqrt(Delta_k), T the number of frames: a sine of n whole periods gives n.

    Args:
      y: signals `[time, dim]`, or several `[..., time, dim]`.

    Returns:
      `[dim]`, in oscillations a sequence; nan where a dimension is constant.

    Raises:
      ValueError, TypeError: as `delta`.

    References:
      Wiskott & Sejnowski, Neural Computation 2002, section 2.3.

    >>> t = jnp.arange(1000) / 1000
    >>> round(float(eta(jnp.sin(2 * jnp.pi * 3 * t)[:, None])[0]), 2)
    3.0
    """
    y = as_samples(y, "y")
    found = delta(y)
    moves = found > 0
    root = jnp.where(moves, jnp.sqrt(jnp.where(moves, found, 1)), found)  # whose gradient at 0 would be infinite
    return y.shape[-2] / (2 * jnp.pi) * root


@in_own_precision
def effective_rank(y: ArrayLike) -> jax.Array:
    """Statistic of the batch: how many dimensions the embedding really uses.

    exp(-sum_k p_k log p_k), with p the eigenvalues of the covariance divided by their sum.

    Args:
      y: embeddings `[..., dim]`.

    Returns:
      A scalar in [1, dim]; 0 for a constant embedding, nan for one that is not finite.

    Raises:
      ValueError, TypeError: as `delta`.

    References:
      Roy & Vetterli, "The effective rank: a measure of effective dimensionality", EUSIPCO 2007.

    >>> round(float(effective_rank(jnp.array([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]]))), 3)
    2.0
    """
    y = as_samples(y, "y")
    own = in_own_units(y, axis=None)
    values = jnp.maximum(jnp.linalg.eigvalsh(covariance(own, jnp.ones(y.shape[:-1], y.dtype))), 0)
    spread, size = jnp.max(jnp.abs(_from_first(y)), initial=0.0), jnp.max(jnp.abs(y), initial=0.0)
    resolution = jnp.finfo(y.dtype).eps * size / jnp.where(spread > 0, spread, 1)
    values = jnp.where(values > jnp.square(4 * resolution), values, 0)
    total = jnp.sum(values)
    p = values / jnp.where(total > 0, total, 1)
    entropy = -jnp.sum(jnp.where(p > 0, p * jnp.log(jnp.where(p > 0, p, 1)), 0))
    rank = jnp.where(total > 0, jnp.exp(entropy), jnp.zeros((), y.dtype))
    return jnp.where(jnp.isfinite(y).all(), rank, jnp.nan)


def in_own_units(y: jax.Array, *, axis: int | tuple[int, ...] | None) -> jax.Array:
    """`y` less its first sample, over its largest deviation along `axis`, so that no square leaves the type's range.

    For what depends on neither offset nor scale: both have no gradient.
    """
    return _in_units(_from_first(y), axis=axis)[0]


def _in_units(y: jax.Array, *, axis: int | tuple[int, ...] | None) -> tuple[jax.Array, jax.Array]:
    """`y` over its largest magnitude along `axis`, and that, 1 where all is 0; the unit has no gradient."""
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(y), axis=axis, keepdims=True, initial=0.0))
    unit = jnp.where(largest > 0, largest, 1)
    return y / unit, unit


def _from_first(y: jax.Array) -> jax.Array:
    """`y` less its first sample: exactly 0 for a constant, where taking off a rounded mean would leave noise."""
    first = jax.lax.stop_gradient(y.reshape(-1, y.shape[-1])[0])
    return y - jnp.expand_dims(first, tuple(range(y.ndim - 1)))
