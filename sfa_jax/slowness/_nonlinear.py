"""Nonlinear slow feature analysis: reduction, polynomial expansion, slow feature analysis, one chunk at a time."""

import dataclasses
import functools
import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from sfa_jax.slowness._batch import as_whole
from sfa_jax.slowness._closed_form import LinearSFA, as_unit_range, solve_jitted, transform_linear
from sfa_jax.slowness._expansion import check_degree, check_expansion, polynomial_expansion
from sfa_jax.slowness._moments import Moments, update_moments
from sfa_jax.slowness._pca import PCA, fit_pca
from sfa_jax.slowness._runs import Runs, add_frames, as_rcond, as_runs, check_varies, no_moments, stream

Reduction = Literal["pca", "sfa"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PolynomialSFA:
    """A solved nonlinear slow feature analysis.

    Attributes:
      reduction: `PCA` or `LinearSFA` from the input to few features.
      slow: `LinearSFA` of their expansion.
      degree: of the expansion.
    """

    reduction: PCA | LinearSFA
    slow: LinearSFA
    degree: int = dataclasses.field(metadata={"static": True})


def transform_polynomial(model: PolynomialSFA, x: ArrayLike) -> jax.Array:
    x = jnp.asarray(x)
    if x.dtype == jnp.uint8:
        x = as_unit_range(_flat_pixels(x, model.reduction.mean.shape[0]), model.reduction)
    return transform_linear(model.slow, polynomial_expansion(transform_linear(model.reduction, x), model.degree))


def _flat_pixels(x: jax.Array, n_features: int) -> jax.Array:
    """`[..., n_features]`, from as many of the last axes as it takes."""
    for first in range(x.ndim - 1, -1, -1):
        if math.prod(x.shape[first:]) == n_features:
            return x.reshape(*x.shape[:first], n_features)
    raise ValueError(f"x: expected frames of {n_features} values in all, got shape {x.shape}")


def fit_polynomial(
    runs: Runs,
    n_components: int | None = None,
    *,
    degree: int = 2,
    n_inputs: int | None = None,
    reduction: Reduction = "pca",
    lag: int = 1,
    rcond: float | None = None,
) -> PolynomialSFA:
    """Fits slow feature analysis to polynomials of few directions of the input, in float64.

    The input is reduced to `n_inputs` directions, those are expanded to all monomials up to `degree`, and their slowest
    combinations are found. The data are passed over chunk by chunk: neither the expanded data nor, with "pca", a
    covariance of the input is ever held, so that images and data mapped from a file do.

    Args:
      runs: one array or a list: `[time, n_features]` floating, or uint8 `[time, ...]` (divided by 255, flattened).
      n_components: how many features; all of the expansion if None.
      degree: of the expansion; 1 is linear slow feature analysis of the reduced input.
      n_inputs: directions kept; all of the input's if None.
      reduction: "pca" keeps the directions of most variance, "sfa" those that change least.
      lag: distance of the two frames of a pair, in frames.
      rcond: as in `solve`, in [0, 1).

    Returns:
      `PolynomialSFA` of NumPy float64 arrays, to be applied with `transform`.

    Raises:
      ValueError: an option is out of its range, or as `fit`.
      TypeError: as `fit`.

    References:
      Wiskott & Sejnowski, Neural Computation 2002, sections 3 and 5.

    >>> t = np.arange(0, 2 * np.pi, 0.011)
    >>> x = np.stack([np.sin(t) + np.cos(11 * t) ** 2, np.cos(11 * t)], axis=1)
    >>> model = fit_polynomial(x, 1)
    >>> with jax.enable_x64(True):
    ...     y = transform_polynomial(model, x)
    >>> bool(abs(np.corrcoef(y[:, 0], np.sin(t))[0, 1]) > 0.999)
    True
    """
    degree, rcond = check_degree(degree), as_rcond(rcond)
    arrays = as_runs(runs, lag=lag, flatten=True)
    n_features = arrays[0].shape[1]
    n_inputs = n_features if n_inputs is None else as_whole(n_inputs, "n_inputs")
    if not 1 <= n_inputs <= n_features:
        raise ValueError(f"n_inputs: expected 1 to {n_features}, the features of the input, got {n_inputs}")
    n_expanded = check_expansion(n_inputs, degree)
    n_components = n_expanded if n_components is None else as_whole(n_components, "n_components")
    if not 1 <= n_components <= n_expanded:
        raise ValueError(
            f"n_components: expected 1 to {n_expanded}, the monomials of {n_inputs} inputs up to degree {degree}, got "
            f"{n_components}"
        )
    with jax.enable_x64(True):
        if reduction == "pca":
            reduced: PCA | LinearSFA = fit_pca(arrays, n_inputs)
        elif reduction == "sfa":
            moments = stream(arrays, no_moments(n_features, lag=lag), add_frames)
            reduced = solve_jitted(moments, n_inputs, rcond=rcond)
        else:
            raise ValueError(f"reduction: expected 'pca' or 'sfa', got {reduction!r}")

        add = functools.partial(_add_expanded, reduced, degree)
        moments = stream(arrays, no_moments(n_expanded, lag=lag), add, width=n_expanded)
        model = PolynomialSFA(reduced, solve_jitted(moments, n_components, rcond=rcond), degree)
        model = jax.tree.map(np.asarray, model)
    check_varies(model.slow.rank)
    return model


@functools.partial(jax.jit, static_argnums=1)
def _add_expanded(
    reduced: PCA | LinearSFA, degree: int, moments: Moments, x: jax.Array, *, new_run: ArrayLike, mask: ArrayLike
) -> Moments:
    expanded = polynomial_expansion(transform_linear(reduced, x), degree)
    return update_moments(moments, expanded, new_run=new_run, mask=mask)
