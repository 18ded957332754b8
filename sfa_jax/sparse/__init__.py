"""Sparsity and sparse coding: measures, thresholds, differences, pursuit, lasso codes. Pure functions on jax alone."""

from sfa_jax.sparse._dictionary import DictionaryState as DictionaryState
from sfa_jax.sparse._dictionary import DictionaryUpdate as DictionaryUpdate
from sfa_jax.sparse._dictionary import init_dictionary as init_dictionary
from sfa_jax.sparse._dictionary import learn_dictionary as learn_dictionary
from sfa_jax.sparse._dictionary import update_dictionary as update_dictionary
from sfa_jax.sparse._differences import BOX_KINDS as BOX_KINDS
from sfa_jax.sparse._differences import box_difference as box_difference
from sfa_jax.sparse._differences import box_filter as box_filter
from sfa_jax.sparse._differences import spatial_difference as spatial_difference
from sfa_jax.sparse._differences import temporal_difference as temporal_difference
from sfa_jax.sparse._lasso import fista as fista
from sfa_jax.sparse._lasso import ista as ista
from sfa_jax.sparse._measures import cardinality as cardinality
from sfa_jax.sparse._measures import hoyer_sparseness as hoyer_sparseness
from sfa_jax.sparse._measures import kurtosis as kurtosis
from sfa_jax.sparse._measures import l0_norm as l0_norm
from sfa_jax.sparse._measures import l1_norm as l1_norm
from sfa_jax.sparse._measures import lifetime_sparseness as lifetime_sparseness
from sfa_jax.sparse._measures import population_sparseness as population_sparseness
from sfa_jax.sparse._omp import OMP as OMP
from sfa_jax.sparse._omp import omp as omp
from sfa_jax.sparse._proximal import Lasso as Lasso
from sfa_jax.sparse._thresholds import hard_threshold as hard_threshold
from sfa_jax.sparse._thresholds import relu_threshold as relu_threshold
from sfa_jax.sparse._thresholds import soft_threshold as soft_threshold

__all__ = [
    "BOX_KINDS",
    "OMP",
    "DictionaryState",
    "DictionaryUpdate",
    "Lasso",
    "box_difference",
    "box_filter",
    "cardinality",
    "fista",
    "hard_threshold",
    "hoyer_sparseness",
    "init_dictionary",
    "ista",
    "kurtosis",
    "l0_norm",
    "l1_norm",
    "learn_dictionary",
    "lifetime_sparseness",
    "omp",
    "population_sparseness",
    "relu_threshold",
    "soft_threshold",
    "spatial_difference",
    "temporal_difference",
    "update_dictionary",
]
