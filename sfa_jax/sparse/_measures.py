"""How sparse numbers are: counts, norms, tails, and sparseness between 0 and 1. All reduce over an axis.

Half precision is computed, and given back, in float32: sums and squares would leave its range.
"""

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from sfa_jax.sparse._checks import single

Axis = int | tuple[int, ...] | None


def l0_norm(x: ArrayLike, *, axis: Axis = -1, tolerance: float = 0.0) -> jax.Array:
    """How many numbers are not 0.

    |x|_0 = sum_i 1(|x_i| > tolerance)

    Args:
      x: any shape.
      axis: that is reduced; None for all.
      tolerance: what counts as 0, in units of x, at least 0.

    Returns:
      int32, of the shape that is left.

    Raises:
      ValueError: the tolerance is negative.

    References:
      Olshausen & Field, Nature 1996; Donoho, IEEE Trans. Inf. Theory 2006 (the pseudo-norm).

    >>> l0_norm(jnp.array([0.0, 3.0, -1.0])).item()
    2
    """
    if tolerance < 0:
        raise ValueError(f"tolerance: expected at least 0, got {tolerance}")
    return jnp.sum(_size(x) > tolerance, axis=axis, dtype=jnp.int32)


def l1_norm(x: ArrayLike, *, axis: Axis = -1) -> jax.Array:
    """The sum of absolute values, the convex stand-in for `l0_norm`.

    |x|_1 = sum_i |x_i|

    Args:
      x: any shape.
      axis: that is reduced; None for all.

    Returns:
      Of the shape that is left, in units of x; floating point, also of whole numbers, whose sum may leave their range.

    References:
      Tibshirani, "Regression shrinkage and selection via the lasso", JRSS B 1996.

    >>> l1_norm(jnp.array([0.0, 3.0, -1.0])).item()
    4.0
    """
    return jnp.sum(_size(x), axis=axis)


def cardinality(codes: ArrayLike, *, tolerance: float = 0.0) -> jax.Array:
    """How many features a code uses at all: those that are not 0 for some sample.

    Args:
      codes: `[..., n_samples, n_features]`.
      tolerance: what counts as 0, in units of the codes, at least 0.

    Returns:
      int32 `[...]`.

    Raises:
      ValueError: the codes have fewer than two axes, or the tolerance is negative.

    >>> cardinality(jnp.array([[0.0, 3.0, 0.0], [0.0, 1.0, 2.0]])).item()
    2
    """
    codes = jnp.asarray(codes)
    if codes.ndim < 2:
        raise ValueError(f"codes: expected shape [..., n_samples, n_features], got {codes.shape}")
    return jnp.sum(l0_norm(codes, axis=-2, tolerance=tolerance) > 0, axis=-1, dtype=jnp.int32)


def kurtosis(x: ArrayLike, *, axis: Axis = None) -> jax.Array:
    """The fourth standardised moment: how heavy the tails are. 3 of a normal distribution, which is not subtracted.

    kappa = E ((x - mu) / sigma)^4

    Args:
      x: any shape.
      axis: that is reduced; None for all.

    Returns:
      Of the shape that is left, at least 1; nan where all numbers are equal.

    Raises:
      TypeError: x is not floating point.

    References:
      Pearson, Biometrika 1905; Field, "What is the goal of sensory coding?", Neural Computation 1994.

    >>> kurtosis(jnp.array([1.0, -1.0, 1.0, -1.0])).item()
    1.0
    """
    x = single("x", x)
    axes = _axes(x, axis)
    first = x[tuple(slice(0, 1) if k in axes else slice(None) for k in range(x.ndim))]
    x = x - first  # equal numbers are 0 from here on, without rounding
    centred = x - jnp.mean(x, axis=axis, keepdims=True)
    largest = jnp.max(jnp.abs(centred), axis=axis, keepdims=True)
    unit = centred / jnp.where(largest > 0, largest, 1)  # its fourth power neither overflows nor vanishes
    variance, fourth = jnp.mean(unit**2, axis=axis), jnp.mean(unit**4, axis=axis)
    return jnp.where(variance > 0, fourth / jnp.where(variance > 0, variance, 1) ** 2, jnp.nan)


def hoyer_sparseness(x: ArrayLike, *, axis: Axis = -1) -> jax.Array:
    """From 0, all numbers equally large, to 1, a single one that is not 0.

    S = (sqrt(n) - |x|_1 / |x|_2) / (sqrt(n) - 1)

    Args:
      x: at least two numbers along the axis.
      axis: that is reduced; None for all.

    Returns:
      Of the shape that is left, 0 to 1, the same for x times any number; nan where all numbers are 0.

    Raises:
      TypeError: x is not floating point.
      ValueError: there is but one number along the axis.

    References:
      Hoyer, "Non-negative matrix factorization with sparseness constraints", JMLR 2004, section 3.1.

    >>> hoyer_sparseness(jnp.array([[0.0, 2.0], [1.0, -1.0]])).round(6).tolist()
    [1.0, 0.0]
    """
    unit, n = _unit(single("x", x), axis)
    root = math.sqrt(n)
    square = jnp.sum(unit**2, axis=axis)
    ratio = l1_norm(unit, axis=axis) / jnp.sqrt(jnp.where(square > 0, square, 1))
    return jnp.where(square > 0, jnp.clip((root - ratio) / (root - 1), 0, 1), jnp.nan)


def population_sparseness(rates: ArrayLike, *, axis: Axis = -1) -> jax.Array:
    """How few units answer to one sample: 0 where all are equally active, 1 where one is alone.

    S = (1 - a) / (1 - 1 / n),  a = (mean |r|)^2 / mean r^2 over the n units

    Args:
      rates: `[..., n_units]`, at least two; of signed codes the absolute values are taken.
      axis: of the units.

    Returns:
      Of the shape that is left, 0 to 1; nan where no unit is active.

    Raises:
      TypeError: the rates are not floating point.
      ValueError: there is but one unit.

    References:
      Treves & Rolls, Network 1991 (a); Vinje & Gallant, Science 2000 (S); Willmore & Tolhurst, Network 2001 (population
      and lifetime).

    >>> population_sparseness(jnp.array([[0.0, 2.0], [1.0, 1.0]])).tolist()
    [1.0, 0.0]
    """
    unit, n = _unit(single("rates", rates), axis)
    square = jnp.mean(unit**2, axis=axis)
    a = jnp.mean(jnp.abs(unit), axis=axis) ** 2 / jnp.where(square > 0, square, 1)
    return jnp.where(square > 0, jnp.clip((1 - a) / (1 - 1 / n), 0, 1), jnp.nan)


def lifetime_sparseness(rates: ArrayLike, *, axis: Axis = 0) -> jax.Array:
    """How few samples one unit answers to: `population_sparseness` over samples instead of units.

    Args:
      rates: `[n_samples, ...]`, at least two; of signed codes the absolute values are taken.
      axis: of the samples.

    Returns:
      Of the shape that is left, 0 to 1; nan where a unit is never active.

    Raises:
      TypeError: the rates are not floating point.
      ValueError: there is but one sample.

    References:
      As `population_sparseness`.

    >>> lifetime_sparseness(jnp.array([[0.0, 2.0], [1.0, 2.0]])).tolist()
    [1.0, 0.0]
    """
    return population_sparseness(rates, axis=axis)


def _size(x: ArrayLike) -> jax.Array:
    """|x| as floating point of at least 32 bits: the smallest integer of a type has no absolute value in it."""
    x = jnp.asarray(x)
    if jnp.issubdtype(x.dtype, jnp.inexact):
        return jnp.abs(x.astype(jnp.float32) if x.dtype.itemsize < 4 else x)
    return jnp.abs(x.astype(float))


def _axes(x: jax.Array, axis: Axis) -> set[int]:
    """The axes that are reduced, counted from the first."""
    chosen = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    return {int(k) % x.ndim for k in chosen}


def _unit(x: jax.Array, axis: Axis) -> tuple[jax.Array, int]:
    """x over its largest absolute value, so that squares neither overflow nor vanish; and how many are reduced."""
    n = math.prod(x.shape[k] for k in _axes(x, axis))
    if n < 2:
        raise ValueError(f"x: expected at least two numbers along axis {axis}, got shape {x.shape}")
    largest = jnp.max(jnp.abs(x), axis=axis, keepdims=True)
    return x / jnp.where(largest > 0, largest, 1), n
