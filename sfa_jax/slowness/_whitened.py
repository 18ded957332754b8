"""Slowness under exact constraints: the batch covariance is divided out instead of penalised."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from sfa_jax.slowness._batch import (
    as_pair,
    as_samples,
    as_weights,
    check_scalar,
    covariance,
    inner,
    masked,
    mean_of,
    outer_sum,
)


def whitened_slowness_loss(
    y_t: ArrayLike, y_tm1: ArrayLike, *, epsilon: float = 1e-3, mask: ArrayLike | None = None
) -> jax.Array:
    """Statistic of the batch: the mean Delta value of the embedding after whitening it.

    L = tr((C + r I)^-1 (Cdot + 2 r I)) / dim,  r = epsilon tr(C) / dim

    C is the covariance of both frames of all pairs together, Cdot the mean outer product of the differences. The terms
    in r are those of white noise of variance r added to every dimension: a direction in which the embedding does not
    vary costs 2, as noise does, and not 0, so that giving up dimensions gains nothing. (With r in C alone, one
    dimension and its copies would be the optimum.)

    There are no weights to tune: any invertible linear map of the embedding leaves the loss as it is (up to epsilon).
    White noise and a constant embedding give 2. As epsilon is relative to the mean variance, shrinking the embedding
    gains nothing; for the same reason nothing holds its scale, so train it together with a little
    `log_variance_penalty`.

    Args:
      y_t: embeddings `[..., dim]`.
      y_tm1: embeddings one lag earlier, of the same shape.
      epsilon: variance of the added noise, relative to the mean variance of a dimension.
      mask: `[...]`, non-zero where a pair counts.

    Returns:
      A dimensionless scalar.

    Raises:
      ValueError: the shapes differ or have fewer than two axes.
      TypeError: an embedding is not floating-point.

    References:
      Schueler, Hlynsson & Wiskott, "Gradient-based training of slow feature analysis by differentiable approximate
      whitening", ACML 2019 (PowerSFA), with a Cholesky factor in place of power iteration.

    >>> y = jnp.array([[1.0], [-1.0]])
    >>> round(float(whitened_slowness_loss(y, -y, epsilon=1e-6)), 3)
    4.0
    """
    check_scalar(epsilon, "epsilon")
    y_t, y_tm1 = as_pair(y_t, y_tm1)
    weights = as_weights(mask, y_t)
    dim = y_t.shape[-1]
    both, counts = jnp.stack([y_t, y_tm1]), jnp.stack([weights, weights])
    centred = masked(both - mean_of(both, counts), counts)
    units, centred = _own_units(centred, masked(both, counts))
    c = outer_sum(centred) / jnp.maximum(jnp.sum(counts), 1)
    cdot = outer_sum(masked(y_t - y_tm1, weights) / units) / jnp.maximum(jnp.sum(weights), 1)
    variance = jnp.trace(c) / dim
    noise = jnp.where(variance > 0, epsilon * variance, 1) * jnp.eye(dim, dtype=c.dtype)  # all there is in a constant
    factor = jnp.linalg.cholesky(c + noise)
    # Two solves against the small Cdot cost less than one against every pair.
    return jnp.trace(jax.scipy.linalg.cho_solve((factor, True), cdot + 2 * noise)) / dim


def vamp2_loss(y_t: ArrayLike, y_tm1: ArrayLike, *, epsilon: float = 1e-3, mask: ArrayLike | None = None) -> jax.Array:
    """Statistic of the batch: minus the VAMP-2 score of the embedding, the constant function counted.

    L = -1 - ||L_0^-1 C_01 L_1^-T||_F^2,  L_i L_i' = C_ii + epsilon tr(C_ii) / dim I

    C_00, C_11 and C_01 are the covariances of the earlier frames, of the later ones and between them, each about its
    mean. It is smallest where now says most about later, be that slow or oscillating, and lies in [-1 - dim, -1].
    Giving up dimensions loses score, and any invertible linear map of the embedding leaves it as it is (up to epsilon),
    so nothing holds its scale: train it together with a little `log_variance_penalty`.

    Args:
      y_t: embeddings `[..., dim]`.
      y_tm1: embeddings one lag earlier, of the same shape.
      epsilon: variance of the added noise, relative to the mean variance of a dimension.
      mask: `[...]`, non-zero where a pair counts.

    Returns:
      A dimensionless scalar.

    Raises:
      ValueError, TypeError: as `whitened_slowness_loss`.

    References:
      Mardt, Pasquali, Wu & Noe, "VAMPnets for deep learning of molecular kinetics", Nature Communications 2018.

    >>> y = jnp.array([[1.0], [-1.0]])
    >>> round(float(vamp2_loss(y, -y, epsilon=1e-6)), 3)
    -2.0
    """
    check_scalar(epsilon, "epsilon")
    y_t, y_tm1 = as_pair(y_t, y_tm1)
    weights = as_weights(mask, y_t)
    dim, count = y_t.shape[-1], jnp.maximum(jnp.sum(weights), 1)

    def half_white(y: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Centred samples `[n, dim]`, in own units, and the factor of their covariance."""
        centred = masked(y - mean_of(y, weights), weights)
        centred = _own_units(centred, masked(y, weights))[1].reshape(-1, dim)
        c = outer_sum(centred) / count
        variance = jnp.trace(c) / dim
        noise = jnp.where(variance > 0, epsilon * variance, 1) * jnp.eye(dim, dtype=c.dtype)
        return centred, jnp.linalg.cholesky(c + noise)

    (now, factor_t), (past, factor_tm1) = half_white(y_t), half_white(y_tm1)
    left = jax.scipy.linalg.solve_triangular(factor_tm1, inner(past, now) / count, lower=True)
    return -1 - jnp.sum(jnp.square(jax.scipy.linalg.solve_triangular(factor_t, left.T, lower=True)))


def _own_units(centred: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The largest deviation, and the deviations in units of it, whose squares are in the range of the type.

    The losses have no scale, so that the units have no gradient. Deviations that are only the rounding of the mean are
    none.
    """
    largest, magnitude = (jax.lax.stop_gradient(jnp.max(jnp.abs(x), initial=0)) for x in (centred, y))
    limits = jnp.finfo(largest.dtype)
    varies = largest > jnp.maximum(limits.tiny, 4 * limits.eps * magnitude)
    units = jnp.where(varies, largest, 1)
    return units, jnp.where(varies, centred, 0) / units


def log_variance_penalty(y: ArrayLike, *, mask: ArrayLike | None = None) -> jax.Array:
    """Statistic of the batch: mean squared logarithm of the variances, a two-sided hold on the scale.

    L = mean_k (log C_kk)^2

    It is 0 at unit variance and grows alike for a variance doubled or halved, so that it keeps the scale of an
    embedding in place without moving the optimum of a scale-free objective.

    Args:
      y: embeddings `[..., dim]`.
      mask: `[...]`, non-zero where a sample counts.

    Returns:
      A dimensionless scalar, finite for constant dimensions.

    Raises:
      ValueError, TypeError: as `whitened_slowness_loss`.

    >>> round(float(log_variance_penalty(jnp.array([[1.0, 1.0], [-1.0, -1.0]]))), 6)
    0.0
    """
    y = as_samples(y, "y")
    variance = jnp.diagonal(covariance(y, as_weights(mask, y)))
    return jnp.mean(jnp.square(jnp.log(jnp.maximum(variance, 1e-12))))
