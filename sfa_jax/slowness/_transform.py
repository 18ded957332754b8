"""One function that applies every solved model."""

import jax
import numpy as np
from jax.typing import ArrayLike

from sfa_jax._fork import check_not_forked
from sfa_jax.slowness._closed_form import LinearSFA, transform_linear
from sfa_jax.slowness._hierarchy import HierarchicalSFA, transform_hierarchical
from sfa_jax.slowness._nonlinear import PolynomialSFA, transform_polynomial
from sfa_jax.slowness._pca import PCA
from sfa_jax.slowness._time_lagged import TICA, VAMP

Model = LinearSFA | PolynomialSFA | HierarchicalSFA | TICA | VAMP | PCA


def transform(model: Model, x: ArrayLike) -> jax.Array | np.ndarray:
    """The outputs of a solved model for new frames.

    A linear model gives y = (x - mean) W', a polynomial one the same of its expanded input, a hierarchical one that of
    its layers, one after the other. Of a VAMP model it is the functions of the earlier frame.

    Args:
      model: from any `solve` or `fit` of this room.
      x: `[..., n_features]`, floating; `[..., height, width, channel]` for a hierarchical model. That and a polynomial
        one also take uint8 frames, divided by 255 as in the fit: the polynomial one `[..., n_features]` or frames
        `[..., height, width, channel]`, which it flattens.

    Returns:
      `[..., n_components]`, a NumPy array in the precision of the model where model and `x` are NumPy's, as the fits
      give them; else a jax array, in that precision under jax's current default. On the data of the fit centered,
      uncorrelated, of unit variance (a PCA's have that of their component; a hierarchy clips at 4), in the order of
      the model; 0 in the components beyond the rank. `[..., rows * columns * n_components]` where the last layer of a
      hierarchy has a field.

    Raises:
      ValueError: `x` has another number of features.
      TypeError: `x` is not floating-point.
      RuntimeError: of NumPy arrays in a process that was forked from one that has used jax.
    """
    if not _on_host(model, x):
        return _apply(model, x)
    check_not_forked()
    with jax.enable_x64(True):
        y = _apply(model, x)
        return y if isinstance(y, jax.core.Tracer) else np.asarray(y)


def _on_host(model: Model, x: ArrayLike) -> bool:
    """Whether neither holds an array of jax's."""
    return all(isinstance(leaf, (np.ndarray, np.generic, float, int)) for leaf in jax.tree.leaves((model, x)))


def _apply(model: Model, x: ArrayLike) -> jax.Array:
    if isinstance(model, HierarchicalSFA):
        return transform_hierarchical(model, x)
    if isinstance(model, PolynomialSFA):
        return transform_polynomial(model, x)
    if isinstance(model, VAMP):
        model = TICA(model.mean_tm1, model.components_tm1, model.singular_values, model.rank)
    return transform_linear(model, x)
