"""Codes that no image gave: drawn from a distribution that was fitted to codes, or between two of them."""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

_LEVELS = 256  # quantiles that are kept of each number


class CodeDistribution(NamedTuple):
    """A Gaussian copula: numbers of a code have their own distributions, and are correlated as normal variables are.

    Attributes:
      quantiles: of each number at evenly spaced levels from 0 to 1, `[n_levels, code_size]`.
      cholesky: L `[code_size, code_size]` of the correlations R = L L' of the normal scores.
    """

    quantiles: jax.Array
    cholesky: jax.Array


def fit_code_distribution(codes: ArrayLike, *, shrinkage: float = 0.01) -> CodeDistribution:
    """Fits a Gaussian copula to codes: their marginal distributions as they are, and the correlations of their ranks.

    r = normal quantile of the rank of each number among the codes, equal ones (the zeros of a sparse code) sharing the
    mean of their ranks; R = (1 - shrinkage) corr(r) + shrinkage I

    Args:
      codes: of training images, `[n, code_size]`, finite, n at least 2.
      shrinkage: of the correlations towards none, above 0 and at most 1.

    Returns:
      `CodeDistribution`.

    Raises:
      ValueError: the codes have another shape, or the shrinkage is out of its range.

    References:
      Liu, Lafferty & Wasserman, "The nonparanormal", JMLR 2009.

    >>> fit_code_distribution(jnp.arange(6.0).reshape(3, 2)).cholesky.shape
    (2, 2)
    """
    z = jnp.asarray(codes)
    if z.ndim != 2 or len(z) < 2:
        raise ValueError(f"codes: expected shape [n, code_size], at least two codes, got {z.shape}")
    if not 0 < shrinkage <= 1:
        raise ValueError(f"shrinkage: expected above 0 and at most 1, got {shrinkage}")
    n = len(z)
    ordered = jnp.sort(z, axis=0)
    first, last = (
        jax.vmap(lambda values, x, side=side: jnp.searchsorted(values, x, side=side), 1, 1)(ordered, z)
        for side in ("left", "right")
    )
    score = jax.scipy.special.ndtri((0.5 * (first + last)).astype(z.dtype) / n)
    score = jnp.clip(score, -4, 4)
    score = score - jnp.mean(score, axis=0, keepdims=True)
    length = jnp.sqrt(jnp.mean(jnp.square(score), axis=0, keepdims=True))
    score = score / jnp.where(length > 0, length, 1)  # of a number that never changes there is none
    r = (1 - shrinkage) * jnp.matmul(score.T, score) / n
    r = r - jnp.diag(jnp.diag(r)) + jnp.eye(len(r), dtype=r.dtype)
    return CodeDistribution(jnp.quantile(z, jnp.linspace(0, 1, _LEVELS), axis=0), jnp.linalg.cholesky(r))


def sample_codes(key: jax.Array, distribution: CodeDistribution, n: int) -> jax.Array:
    """Draws codes `[n, code_size]` from what `fit_code_distribution` found.

    >>> fitted = fit_code_distribution(jnp.arange(6.0).reshape(3, 2))
    >>> sample_codes(jax.random.key(0), fitted, 5).shape
    (5, 2)
    """
    quantiles, cholesky = distribution
    score = jnp.matmul(jax.random.normal(key, (n, len(cholesky)), cholesky.dtype), cholesky.T)
    level = jax.scipy.special.ndtr(score) * (len(quantiles) - 1)
    return jax.vmap(lambda x, values: jnp.interp(x, jnp.arange(len(values)), values), 1, 1)(level, quantiles)


def interpolate(
    first: ArrayLike, last: ArrayLike, n_steps: int, *, path: Literal["linear", "spherical"] = "linear"
) -> jax.Array:
    """Codes between two others, evenly spaced, both included.

    linear: (1 - t) a + t b.  spherical: sin((1 - t) w) / sin(w) a + sin(t w) / sin(w) b, w the angle between them: the
    length of codes between two of a Gaussian code of many numbers stays what it is for most draws.

    Args:
      first, last: a and b, `[..., code_size]`, of one shape.
      n_steps: codes, at least 2.
      path: as above; linear where both point the same way.

    Returns:
      `[..., n_steps, code_size]`.

    Raises:
      ValueError: the shapes differ, there are fewer than two steps, or the path is unknown.

    References:
      White, "Sampling generative networks", arXiv 1609.04468 (spherical).

    >>> interpolate(jnp.zeros(1), jnp.ones(1), 3).ravel().tolist()
    [0.0, 0.5, 1.0]
    """
    a, b = jnp.asarray(first), jnp.asarray(last)
    if a.shape != b.shape or not a.ndim:
        raise ValueError(f"last: expected the shape {a.shape} of first, [..., code_size], got {b.shape}")
    if n_steps < 2:
        raise ValueError(f"n_steps: expected at least 2, got {n_steps}")
    if path not in ("linear", "spherical"):
        raise ValueError(f"path: expected 'linear' or 'spherical', got {path!r}")
    t = jnp.linspace(0, 1, n_steps, dtype=a.dtype)[:, None]
    a, b = a[..., None, :], b[..., None, :]
    if path == "linear":
        return (1 - t) * a + t * b
    lengths = jnp.linalg.norm(a, axis=-1, keepdims=True) * jnp.linalg.norm(b, axis=-1, keepdims=True)
    cosine = jnp.sum(a * b, axis=-1, keepdims=True) / jnp.where(lengths > 0, lengths, 1)
    angle = jnp.arccos(jnp.clip(cosine, -1, 1))
    sine = jnp.sin(angle)
    straight = sine < 1e-4
    safe = jnp.where(straight, 1, sine)
    turned = jnp.sin((1 - t) * angle) / safe * a + jnp.sin(t * angle) / safe * b
    return jnp.where(straight, (1 - t) * a + t * b, turned)


def sample_prior(key: jax.Array, n: int, code_size: int) -> jax.Array:
    """Codes `[n, code_size]` of the standard normal distribution, the prior of Gaussian codes."""
    return jax.random.normal(key, (n, code_size), np.float32)
