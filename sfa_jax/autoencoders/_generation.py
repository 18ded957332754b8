"""Codes that no image gave: drawn from a distribution that was fitted to codes, or between two of them."""

import functools
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

_LEVELS = 641  # quantiles that are kept of each number
_REACH = 5.0  # normal deviations, either way, between which they lie
_TERMS = 12  # of the series in the correlation
_HALVINGS = 16  # of the interval that it is looked for in
_matmul = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)  # correlations, not layers of a network


class CodeDistribution(NamedTuple):
    """Normal to anything: numbers of a code are increasing functions of normal variables that are correlated.

    Attributes:
      quantiles: of each number, `[n_levels, code_size]`, at the levels of normal scores evenly spaced from -5 to 5; the
        ends are the smallest and the largest value.
      cholesky: L `[code_size, code_size]` of the correlations R = L L' of the normal variables.
    """

    quantiles: jax.Array
    cholesky: jax.Array


def fit_code_distribution(codes: ArrayLike, *, floor: float = 0.01) -> CodeDistribution:
    """Fits a Gaussian copula to codes, so that samples have their marginal distributions and their correlations.

    z_i = h_i(s_i),  h_i = (quantile function of z_i) o Phi,  s normal with correlations R;  R_ij solves
    corr(z_i, z_j) = sum_k c_ik c_jk R_ij^k,  c_ik the coefficient of h_i / std(z_i) of normalised Hermite polynomial k

    The correlation of ranks would not do: zeros of a sparse code, which are equal, hide how numbers go together. The
    series is cut off after 12 terms, and R made a matrix of correlations by raising its smallest eigenvalues. A number
    that is active on few images is sampled as active between one level of the quantiles and the next.

    Args:
      codes: of training images, `[n, code_size]`, floating point, finite, n at least 2.
      floor: that eigenvalues of R are raised to before its diagonal is made 1 again, above 0 and at most 1.

    Returns:
      `CodeDistribution`.

    Raises:
      TypeError: the codes are not floating point.
      ValueError: they have another shape, or the floor is out of its range.

    References:
      Cario & Nelson, "Modeling and generating random vectors with arbitrary marginal distributions and correlation
      matrix", Northwestern University 1997; Liu, Lafferty & Wasserman, "The nonparanormal", JMLR 2009.

    >>> fit_code_distribution(jnp.arange(6.0).reshape(3, 2)).cholesky.shape
    (2, 2)
    """
    z = jnp.asarray(codes)
    if z.ndim != 2 or len(z) < 2:
        raise ValueError(f"codes: expected shape [n, code_size], at least two codes, got {z.shape}")
    if not jnp.issubdtype(z.dtype, jnp.floating):
        raise TypeError(f"codes: expected floating point, got {z.dtype}")
    if not 0 < floor <= 1:
        raise ValueError(f"floor: expected above 0 and at most 1, got {floor}")
    z = z.astype(jnp.promote_types(z.dtype, jnp.float32))
    scores = jnp.linspace(-_REACH, _REACH, _LEVELS, dtype=z.dtype)
    levels = jax.scipy.special.ndtr(scores).at[jnp.array([0, -1])].set(jnp.array([0, 1], z.dtype))
    quantiles = jnp.quantile(z, levels, axis=0)
    centred = z - jnp.mean(z, axis=0, keepdims=True)
    deviation = jnp.sqrt(jnp.mean(jnp.square(centred), axis=0))
    per_deviation = jnp.where(deviation > 0, 1 / jnp.where(deviation > 0, deviation, 1), 0)[None]  # or nothing changes
    unit = centred * per_deviation
    wanted = _matmul(unit.T, unit) / len(z)
    r = _solve_correlations(_matmul(_hermite(scores), quantiles * per_deviation), wanted)
    r = jnp.where(jnp.eye(len(r), dtype=bool), 1, r)
    values, vectors = jnp.linalg.eigh(r)
    r = _matmul(vectors * jnp.maximum(values, floor)[None], vectors.T)
    length = jnp.sqrt(jnp.diag(r))
    return CodeDistribution(quantiles, jnp.linalg.cholesky(r / (length[:, None] * length[None])))


def _hermite(scores: jax.Array) -> jax.Array:
    """Row k - 1 times the values of a function at evenly spaced scores is its Hermite coefficient k, k from 1."""
    weight = jnp.exp(-0.5 * jnp.square(scores))
    weight = weight / jnp.sum(weight)
    before, now = jnp.zeros_like(scores), jnp.ones_like(scores)
    rows = []
    for k in range(_TERMS):
        before, now = now, (scores * now - k**0.5 * before) / (k + 1) ** 0.5
        rows.append(now * weight)
    return jnp.stack(rows)


def _solve_correlations(coefficients: jax.Array, wanted: jax.Array) -> jax.Array:
    """rho of each pair of numbers with sum_k c_ik c_jk rho^k = wanted, by halving: the sum grows with rho."""

    def halve(_: int, ends: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = ends
        rho = 0.5 * (low + high)
        total = jnp.zeros_like(rho)
        for c in coefficients[::-1]:
            total = (total + c[:, None] * c[None]) * rho
        return jnp.where(total < wanted, rho, low), jnp.where(total < wanted, high, rho)

    one = jnp.ones_like(wanted)
    low, high = jax.lax.fori_loop(0, _HALVINGS, halve, (-one, one))
    never = jnp.sum(jnp.abs(coefficients), axis=0) == 0
    return jnp.where(never[:, None] | never[None], 0, 0.5 * (low + high))


def sample_codes(key: jax.Array, distribution: CodeDistribution, n: int) -> jax.Array:
    """Draws codes `[n, code_size]` from what `fit_code_distribution` found.

    >>> fitted = fit_code_distribution(jnp.arange(6.0).reshape(3, 2))
    >>> sample_codes(jax.random.key(0), fitted, 5).shape
    (5, 2)
    """
    quantiles, cholesky = distribution
    scores = _matmul(jax.random.normal(key, (n, len(cholesky)), cholesky.dtype), cholesky.T)
    at = jnp.linspace(-_REACH, _REACH, len(quantiles), dtype=scores.dtype)
    return jax.vmap(lambda x, values: jnp.interp(x, at, values), 1, 1)(scores, quantiles)


def interpolate(
    first: ArrayLike, last: ArrayLike, n_steps: int, *, path: Literal["linear", "spherical"] = "linear"
) -> jax.Array:
    """Codes between two others, evenly spaced, both included.

    linear: (1 - t) a + t b.  spherical: sin((1 - t) w) / sin(w) a + sin(t w) / sin(w) b, w the angle between them: the
    length of codes between two of a Gaussian code of many numbers stays what it is for most draws.

    Args:
      first, last: a and b, `[..., code_size]`, of one shape.
      n_steps: codes, at least 2.
      path: as above; linear where there is no arc: both point the same way or opposite ways, or one is 0.

    Returns:
      `[..., n_steps, code_size]`.

    Raises:
      TypeError: they are not of one floating point type.
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
    if a.dtype != b.dtype or not jnp.issubdtype(a.dtype, jnp.floating):
        raise TypeError(f"first, last: expected one floating point type, got {a.dtype} and {b.dtype}")
    t = jnp.linspace(0, 1, n_steps, dtype=a.dtype).reshape(*[1] * (a.ndim - 1), n_steps, 1)
    a, b = a[..., None, :], b[..., None, :]
    straight = (1 - t) * a + t * b
    if path == "linear":
        return straight
    squares = jnp.sum(jnp.square(a), axis=-1, keepdims=True) * jnp.sum(jnp.square(b), axis=-1, keepdims=True)
    cosine = jnp.sum(a * b, axis=-1, keepdims=True) / jnp.sqrt(jnp.where(squares > 0, squares, 1))
    arc = (squares > 0) & (jnp.abs(cosine) < 1 - 1e-7)
    angle = jnp.arccos(jnp.where(arc, cosine, 0))  # what is not chosen must not spoil the gradient
    turned = (jnp.sin((1 - t) * angle) * a + jnp.sin(t * angle) * b) / jnp.sin(angle)
    return jnp.where(arc, turned, straight)


def sample_prior(key: jax.Array, n: int, code_size: int) -> jax.Array:
    """Codes `[n, code_size]` of the standard normal distribution, the prior of Gaussian codes."""
    return jax.random.normal(key, (n, code_size), np.float32)
