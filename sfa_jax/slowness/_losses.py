"""The soft-constraint objective of neural slow feature analysis and its three terms."""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from sfa_jax.slowness._batch import as_pair, as_samples, as_weights, centred_scatter, check_scalar, covariance, masked


class SFALoss(NamedTuple):
    """The weighted `total` and its three terms, each before its weight; all scalars."""

    total: jax.Array
    slowness: jax.Array
    variance: jax.Array
    correlation: jax.Array


def slowness_loss(y_t: ArrayLike, y_tm1: ArrayLike, *, mask: ArrayLike | None = None) -> jax.Array:
    """Statistic of the batch: mean squared length of the change of the embedding.

    L = mean over samples of ||y_t - y_{t-1}||^2

    Args:
      y_t: embeddings `[..., dim]`.
      y_tm1: embeddings one lag earlier, of the same shape.
      mask: `[...]`, non-zero where a pair counts.

    Returns:
      A scalar, in squared units of the embedding.

    Raises:
      ValueError: the shapes differ or have fewer than two axes.
      TypeError: an embedding is not floating-point.

    References:
      Wiskott & Sejnowski, "Slow feature analysis", Neural Computation 2002, eq. 1.

    >>> float(slowness_loss(jnp.array([[1.0, 2.0]]), jnp.array([[0.0, 0.0]])))
    5.0
    """
    y_t, y_tm1 = as_pair(y_t, y_tm1)
    weights = as_weights(mask, y_t)
    return jnp.sum(jnp.square(masked(y_t - y_tm1, weights))) / jnp.maximum(jnp.sum(weights), 1)


def variance_loss(y: ArrayLike, *, mask: ArrayLike | None = None) -> jax.Array:
    """Statistic of the batch: mean squared deviation of the variances from one.

    L = mean_k (C_kk - 1)^2, with C = Y'Y / N the covariance over the batch, Y centred.

    Its minimum over a finite batch is biased: white data of N samples gives about 2 / N.

    Args:
      y: embeddings `[..., dim]`.
      mask: `[...]`, non-zero where a sample counts.

    Returns:
      A dimensionless scalar.

    Raises:
      ValueError, TypeError: as `slowness_loss`.

    >>> float(variance_loss(jnp.array([[3.0], [-3.0]])))
    64.0
    """
    y = as_samples(y, "y")
    return _variance_term(covariance(y, as_weights(mask, y)))


def correlation_loss(y: ArrayLike, *, mask: ArrayLike | None = None) -> jax.Array:
    """Statistic of the batch: mean squared off-diagonal covariance.

    L = mean over all dim^2 entries of (C * (1 - I))^2, with C as in `variance_loss`. White data of N samples gives
    about 1 / N.

    Args:
      y: embeddings `[..., dim]`.
      mask: `[...]`, non-zero where a sample counts.

    Returns:
      A dimensionless scalar.

    Raises:
      ValueError, TypeError: as `slowness_loss`.

    >>> float(correlation_loss(jnp.array([[1.0, 1.0], [-1.0, -1.0]])))
    0.5
    """
    y = as_samples(y, "y")
    return _correlation_term(covariance(y, as_weights(mask, y)))


def sfa_loss(
    y_t: ArrayLike,
    y_tm1: ArrayLike,
    *,
    slowness_weight: float | jax.Array = 1.0,
    variance_weight: float | jax.Array = 1.0,
    correlation_weight: float | jax.Array = 1.0,
    mask: ArrayLike | None = None,
) -> SFALoss:
    """Statistic of the batch: slowness plus soft whitening, the published objective of neural SFA.

    L = w_s mean ||y_t - y_{t-1}||^2 + w_v mean_k (C_kk - 1)^2 + w_c mean_kl (C * (1 - I))^2

    C is the covariance of `y_t` alone. With weights 1 this is the formula as published, which leaves only the
    slowest few dimensions alive; `sfa_weights` gives other scalings and says what each does.

    Args:
      y_t: embeddings `[..., dim]`.
      y_tm1: embeddings one lag earlier, of the same shape.
      slowness_weight, variance_weight, correlation_weight: scalars w_s, w_v, w_c.
      mask: `[...]`, non-zero where a pair counts.

    Returns:
      `SFALoss(total, slowness, variance, correlation)`, the terms unweighted.

    Raises:
      ValueError, TypeError: as `slowness_loss`.

    References:
      noskill/sfa-gen, README, "Neural Slow Feature Analysis".

    >>> y_t, y_tm1 = jnp.array([[2.0], [0.0]]), jnp.array([[1.0], [1.0]])
    >>> [float(term) for term in sfa_loss(y_t, y_tm1)]
    [1.0, 1.0, 0.0, 0.0]
    """
    weights = {
        "slowness_weight": slowness_weight,
        "variance_weight": variance_weight,
        "correlation_weight": correlation_weight,
    }
    for name, weight in weights.items():
        check_scalar(weight, name)
    y_t, y_tm1 = as_pair(y_t, y_tm1)
    c = covariance(y_t, as_weights(mask, y_t))
    slowness, variance, correlation = slowness_loss(y_t, y_tm1, mask=mask), _variance_term(c), _correlation_term(c)
    total = slowness_weight * slowness + variance_weight * variance + correlation_weight * correlation
    return SFALoss(total, slowness, variance, correlation)


def sfa_weights(scaling: Literal["readme", "author", "equal"], dim: int) -> dict[str, float]:
    """The keyword arguments of `sfa_loss` for one of three scalings of the same objective.

    With Delta_k the slowness of the k-th feature, a memoryless head of full capacity ends at covariance eigenvalues

    - `equal`: slowness averaged over dimensions + ||C - I||_F^2 / dim; c_k = max(0, 1 - Delta_k / 2).
    - `author`: the author's code, slowness averaged over dimensions, penalties as published;
      c_k = max(0, m + dim (1 - m) - dim Delta_k / 2) with m = mean(c).
    - `readme`: as published, all weights 1; as `author` with dim Delta_k in place of Delta_k.

    The last two switch off features that are not among the slowest few; `equal` only above Delta = 2.

    Args:
      scaling: which one.
      dim: size of the embedding.

    Returns:
      `slowness_weight`, `variance_weight`, `correlation_weight`.

    Raises:
      ValueError: an unknown scaling, or `dim` below 1.

    >>> sfa_weights("equal", 4)
    {'slowness_weight': 0.25, 'variance_weight': 1.0, 'correlation_weight': 4.0}
    """
    if dim < 1:
        raise ValueError(f"dim: expected at least 1, got {dim}")
    weights = {"readme": (1.0, 1.0, 1.0), "author": (1.0 / dim, 1.0, 1.0), "equal": (1.0 / dim, 1.0, float(dim))}
    if scaling not in weights:
        raise ValueError(f"scaling: expected one of {sorted(weights)}, got {scaling!r}")
    return dict(zip(("slowness_weight", "variance_weight", "correlation_weight"), weights[scaling], strict=True))


def two_batch_penalties(
    y_a: ArrayLike, y_b: ArrayLike, *, mask_a: ArrayLike | None = None, mask_b: ArrayLike | None = None
) -> tuple[jax.Array, jax.Array]:
    """Statistic of two batches: unbiased estimates of `variance_loss` and `correlation_loss`.

    With independent batches the errors of C_a and C_b are independent, so the expectation of
    (C_a - I) * (C_b - I), entry by entry, is the square that one infinite batch would give. Both covariances divide
    by N - 1. An estimate can be negative.

    Args:
      y_a: embeddings `[..., dim]`.
      y_b: embeddings of other, independent samples, `[..., dim]`.
      mask_a: non-zero where a sample of `y_a` counts.
      mask_b: the same for `y_b`.

    Returns:
      `(variance, correlation)`, normalised as `variance_loss` and `correlation_loss`.

    Raises:
      ValueError: the dimensions differ, or as `slowness_loss`.
      TypeError: as `slowness_loss`.
    """
    y_a, y_b = as_samples(y_a, "y_a"), as_samples(y_b, "y_b")
    if y_a.shape[-1] != y_b.shape[-1]:
        raise ValueError(f"y_a and y_b: expected equal last axes, got {y_a.shape} and {y_b.shape}")
    excess = []
    for y, mask in ((y_a, mask_a), (y_b, mask_b)):
        count, _, scatter = centred_scatter(y, as_weights(mask, y))
        excess.append(scatter / jnp.maximum(count - 1, 1) - jnp.eye(y.shape[-1], dtype=y.dtype))
    product = excess[0] * excess[1]
    diagonal = jnp.diagonal(product)
    return jnp.mean(diagonal), (jnp.sum(product) - jnp.sum(diagonal)) / product.size


def _variance_term(c: jax.Array) -> jax.Array:
    return jnp.mean(jnp.square(jnp.diagonal(c) - 1))


def _correlation_term(c: jax.Array) -> jax.Array:
    return jnp.mean(jnp.square(c * (1 - jnp.eye(c.shape[0], dtype=c.dtype))))
