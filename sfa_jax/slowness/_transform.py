"""One function that applies every solved model."""

import jax
from jax.typing import ArrayLike

from sfa_jax.slowness._closed_form import LinearSFA, transform_linear
from sfa_jax.slowness._hierarchy import HierarchicalSFA, transform_hierarchical
from sfa_jax.slowness._nonlinear import PolynomialSFA, transform_polynomial
from sfa_jax.slowness._pca import PCA
from sfa_jax.slowness._time_lagged import TICA, VAMP


def transform(model: LinearSFA | PolynomialSFA | HierarchicalSFA | TICA | VAMP | PCA, x: ArrayLike) -> jax.Array:
    """The outputs of a solved model for new frames.

    A linear model gives y = (x - mean) W', a polynomial one the same of its expanded input, a hierarchical one that of
    its layers, one after the other. Of a VAMP model it is the functions of the earlier frame.

    Args:
      model: from any `solve` or `fit` of this room.
      x: `[..., n_features]`, floating; `[..., height, width, channel]` for a hierarchical model. That and a polynomial
        one also take uint8 frames, divided by 255 as in the fit: the polynomial one `[..., n_features]` or frames
        `[..., height, width, channel]`, which it flattens.

    Returns:
      `[..., n_components]`, in the precision of the model under jax's current default: on the data of the fit centred,
      uncorrelated, of unit variance (a PCA's have that of their component; a hierarchy clips at 4), in the order of
      the model; 0 in the components beyond the rank. `[..., rows * columns * n_components]` where the last layer of a
      hierarchy has a field.

    Raises:
      ValueError: `x` has another number of features.
      TypeError: `x` is not floating-point.
    """
    if isinstance(model, HierarchicalSFA):
        return transform_hierarchical(model, x)
    if isinstance(model, PolynomialSFA):
        return transform_polynomial(model, x)
    if isinstance(model, VAMP):
        model = TICA(model.mean_tm1, model.components_tm1, model.singular_values, model.rank)
    return transform_linear(model, x)
