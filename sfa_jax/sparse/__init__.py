"""Sparsity and sparse coding: measures, thresholds, differences, pursuit, lasso codes, dictionaries, natural images.

Pure functions on jax alone.
"""

from sfa_jax.sparse._convolutional import convolutional_fista as convolutional_fista
from sfa_jax.sparse._convolutional import draw_maps as draw_maps
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
from sfa_jax.sparse._gabor import Gabor as Gabor
from sfa_jax.sparse._gabor import draw_gabor as draw_gabor
from sfa_jax.sparse._gabor import fit_gabor as fit_gabor
from sfa_jax.sparse._gabor import is_simple_cell_like as is_simple_cell_like
from sfa_jax.sparse._lasso import fista as fista
from sfa_jax.sparse._lasso import ista as ista
from sfa_jax.sparse._measures import cardinality as cardinality
from sfa_jax.sparse._measures import hoyer_sparseness as hoyer_sparseness
from sfa_jax.sparse._measures import kurtosis as kurtosis
from sfa_jax.sparse._measures import l0_norm as l0_norm
from sfa_jax.sparse._measures import l1_norm as l1_norm
from sfa_jax.sparse._measures import lifetime_sparseness as lifetime_sparseness
from sfa_jax.sparse._measures import population_sparseness as population_sparseness
from sfa_jax.sparse._natural_images import log_intensity as log_intensity
from sfa_jax.sparse._natural_images import random_patches as random_patches
from sfa_jax.sparse._natural_images import tile_patches as tile_patches
from sfa_jax.sparse._natural_images import whiten_images as whiten_images
from sfa_jax.sparse._natural_images import whitening_filter as whitening_filter
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
    "Gabor",
    "Lasso",
    "box_difference",
    "box_filter",
    "cardinality",
    "convolutional_fista",
    "draw_gabor",
    "draw_maps",
    "fista",
    "fit_gabor",
    "hard_threshold",
    "hoyer_sparseness",
    "init_dictionary",
    "is_simple_cell_like",
    "ista",
    "kurtosis",
    "l0_norm",
    "l1_norm",
    "learn_dictionary",
    "lifetime_sparseness",
    "log_intensity",
    "omp",
    "population_sparseness",
    "random_patches",
    "relu_threshold",
    "soft_threshold",
    "spatial_difference",
    "temporal_difference",
    "tile_patches",
    "update_dictionary",
    "whiten_images",
    "whitening_filter",
]
