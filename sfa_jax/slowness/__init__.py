"""Slow feature analysis: the neural objectives, measures of slowness, and the closed-form solution.

Pure functions of arrays on jax alone. Embeddings are `[..., dim]`, `y_t` now and `y_tm1` one lag earlier.
"""

from sfa_jax.slowness._closed_form import LinearSFA as LinearSFA
from sfa_jax.slowness._closed_form import fit as fit
from sfa_jax.slowness._closed_form import solve as solve
from sfa_jax.slowness._controls import memory_reliance as memory_reliance
from sfa_jax.slowness._controls import shuffle_control_delta as shuffle_control_delta
from sfa_jax.slowness._expansion import n_monomials as n_monomials
from sfa_jax.slowness._expansion import polynomial_expansion as polynomial_expansion
from sfa_jax.slowness._hierarchy import HierarchicalSFA as HierarchicalSFA
from sfa_jax.slowness._hierarchy import Layer as Layer
from sfa_jax.slowness._hierarchy import fit_hierarchical as fit_hierarchical
from sfa_jax.slowness._losses import SFALoss as SFALoss
from sfa_jax.slowness._losses import correlation_loss as correlation_loss
from sfa_jax.slowness._losses import sfa_loss as sfa_loss
from sfa_jax.slowness._losses import sfa_weights as sfa_weights
from sfa_jax.slowness._losses import slowness_loss as slowness_loss
from sfa_jax.slowness._losses import two_batch_penalties as two_batch_penalties
from sfa_jax.slowness._losses import variance_loss as variance_loss
from sfa_jax.slowness._measures import delta as delta
from sfa_jax.slowness._measures import effective_rank as effective_rank
from sfa_jax.slowness._measures import eta as eta
from sfa_jax.slowness._moments import Moments as Moments
from sfa_jax.slowness._moments import PairMoments as PairMoments
from sfa_jax.slowness._moments import init_moments as init_moments
from sfa_jax.slowness._moments import merge_moments as merge_moments
from sfa_jax.slowness._moments import update_moments as update_moments
from sfa_jax.slowness._nonlinear import PolynomialSFA as PolynomialSFA
from sfa_jax.slowness._nonlinear import fit_polynomial as fit_polynomial
from sfa_jax.slowness._pca import PCA as PCA
from sfa_jax.slowness._pca import fit_pca as fit_pca
from sfa_jax.slowness._time_lagged import TICA as TICA
from sfa_jax.slowness._time_lagged import VAMP as VAMP
from sfa_jax.slowness._time_lagged import solve_tica as solve_tica
from sfa_jax.slowness._time_lagged import solve_vamp as solve_vamp
from sfa_jax.slowness._time_lagged import tica as tica
from sfa_jax.slowness._time_lagged import vamp as vamp
from sfa_jax.slowness._time_lagged import vamp_score as vamp_score
from sfa_jax.slowness._transform import transform as transform
from sfa_jax.slowness._whitened import log_variance_penalty as log_variance_penalty
from sfa_jax.slowness._whitened import vamp2_loss as vamp2_loss
from sfa_jax.slowness._whitened import whitened_slowness_loss as whitened_slowness_loss

__all__ = [
    "PCA",
    "TICA",
    "VAMP",
    "HierarchicalSFA",
    "Layer",
    "LinearSFA",
    "Moments",
    "PairMoments",
    "PolynomialSFA",
    "SFALoss",
    "correlation_loss",
    "delta",
    "effective_rank",
    "eta",
    "fit",
    "fit_hierarchical",
    "fit_pca",
    "fit_polynomial",
    "init_moments",
    "log_variance_penalty",
    "memory_reliance",
    "merge_moments",
    "n_monomials",
    "polynomial_expansion",
    "sfa_loss",
    "sfa_weights",
    "shuffle_control_delta",
    "slowness_loss",
    "solve",
    "solve_tica",
    "solve_vamp",
    "tica",
    "transform",
    "two_batch_penalties",
    "update_moments",
    "vamp",
    "vamp2_loss",
    "vamp_score",
    "variance_loss",
    "whitened_slowness_loss",
]
