"""One function that applies every solved model."""

import jax
from jax.typing import ArrayLike

from sfa_jax.slowness._closed_form import LinearSFA, transform_linear
from sfa_jax.slowness._hierarchy import HierarchicalSFA, transform_hierarchical
from sfa_jax.slowness._nonlinear import PolynomialSFA, transform_polynomial
from sfa_jax.slowness._pca import PCA
from sfa_jax.slowness._time_lagged import TICA


def transform(model: LinearSFA | PolynomialSFA | HierarchicalSFA | TICA | PCA, x: ArrayLike) -> jax.Array:
    """The outputs of a solved model for new frames.

    A linear model gives y = (x - mean) W', a polynomial one the same of its expanded input, a hierarchical one that of
    its layers, one after the other.

    Args:
      model: from `solve`, `fit`, `solve_tica`, `tica`, `fit_polynomial` or `fit_hierarchical`.
      x: `[..., n_features]`, floating; `[..., height, width, channel]` in [0, 1] for a hierarchical model.

    Returns:
      `[..., n_components]`, in the precision of the model under jax's current default: on the data of the fit centred,
      of unit variance, uncorrelated, slowest first; 0 in the components beyond the rank.

    Raises:
      ValueError: `x` has another number of features.
      TypeError: `x` is not floating-point.
    """
    if isinstance(model, HierarchicalSFA):
        return transform_hierarchical(model, x)
    if isinstance(model, PolynomialSFA):
        return transform_polynomial(model, x)
    return transform_linear(model, x)
