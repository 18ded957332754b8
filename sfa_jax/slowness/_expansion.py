"""Polynomial expansion: what makes linear slow feature analysis nonlinear."""

import itertools
import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from sfa_jax.slowness._batch import as_whole, check_floating

_MOST = 40_000  # monomials: a covariance of 12.8 GB in float64


def polynomial_expansion(x: ArrayLike, degree: int = 2) -> jax.Array:
    """All monomials of degree 1 to `degree` of the features.

    x_1, ..., x_n, then x_i x_j for i <= j, x_i x_j x_k for i <= j <= k, and so on, each degree in lexicographic order.

    Args:
      x: `[..., n_features]`, floating.
      degree: the highest; a static integer of at least 1.

    Returns:
      `[..., n]` with n = `n_monomials(n_features, degree)`; float32 for half precision.

    Raises:
      ValueError: `degree` is below 1 or `x` has no features.
      TypeError: `x` is not floating-point, or `degree` no whole number.

    References:
      Wiskott & Sejnowski, Neural Computation 2002, section 3.

    >>> polynomial_expansion(jnp.array([2.0, 3.0]), 2).tolist()
    [2.0, 3.0, 4.0, 6.0, 9.0]
    """
    x = jnp.asarray(x)
    check_floating(x.dtype, "x")
    x = x.astype(jnp.float32) if x.dtype.itemsize < 4 else x
    if x.ndim < 1 or x.shape[-1] < 1:
        raise ValueError(f"x: expected shape [..., n_features] with at least one feature, got {x.shape}")
    degree = check_degree(degree)
    by_degree, starts = [x], list(range(x.shape[-1]))
    for _ in range(degree - 1):
        # x_i times every monomial of the degree before whose first factor is x_i or a later one
        products = [x[..., i : i + 1] * by_degree[-1][..., start:] for i, start in enumerate(starts)]
        starts = [0, *itertools.accumulate(block.shape[-1] for block in products[:-1])]
        by_degree.append(jnp.concatenate(products, axis=-1))
    return jnp.concatenate(by_degree, axis=-1)


def n_monomials(n_features: int, degree: int) -> int:
    """How many features `polynomial_expansion` gives: (n + d)! / (n! d!) - 1."""
    return math.comb(n_features + degree, degree) - 1


def check_degree(degree: int) -> int:
    """The degree, if it is one.

    Raises:
      ValueError: below 1.
      TypeError: not a whole number.
    """
    degree = as_whole(degree, "degree")
    if degree < 1:
        raise ValueError(f"degree: expected an integer of at least 1, got {degree}")
    return degree


def check_expansion(n_inputs: int, degree: int) -> int:
    """How many features an expansion has, if their covariance can be held.

    Raises:
      ValueError: it cannot.
    """
    n_expanded = n_monomials(n_inputs, degree)
    if n_expanded > _MOST:
        raise ValueError(
            f"n_inputs and degree: expected at most {_MOST} monomials, for whose covariance there is memory, got "
            f"{n_expanded:.4g} of {n_inputs} inputs up to degree {degree}; take fewer inputs or a lower degree"
        )
    return n_expanded
