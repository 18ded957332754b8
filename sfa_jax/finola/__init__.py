"""FINOLA: image decoding by first-order norm+linear autoregression, and its one-way waves.

Pure functions of arrays on jax alone. Maps are `[..., height, width, channels]`; x is the column, y the row.

The steps of norm+linear are layers of networks and have the precision that is JAX's default for the device, on GPUs
TF32; the matrices themselves and the analysis of their waves have all of it.
"""

from sfa_jax.finola._autoregress import ORDERS as ORDERS
from sfa_jax.finola._autoregress import Order as Order
from sfa_jax.finola._autoregress import autoregress as autoregress
from sfa_jax.finola._autoregress import multipath as multipath
from sfa_jax.finola._autoregress import repeat as repeat
from sfa_jax.finola._masked import MaskedSources as MaskedSources
from sfa_jax.finola._masked import block_sources as block_sources
from sfa_jax.finola._masked import element_sources as element_sources
from sfa_jax.finola._masked import predict_from_block as predict_from_block
from sfa_jax.finola._norm import normalize as normalize
from sfa_jax.finola._params import DIRECTIONS as DIRECTIONS
from sfa_jax.finola._params import SPEEDS as SPEEDS
from sfa_jax.finola._params import Directions as Directions
from sfa_jax.finola._params import FinolaParams as FinolaParams
from sfa_jax.finola._params import Matrices as Matrices
from sfa_jax.finola._params import Speeds as Speeds
from sfa_jax.finola._params import init_params as init_params
from sfa_jax.finola._params import matrices as matrices
from sfa_jax.finola._params import zero_mean_basis as zero_mean_basis
from sfa_jax.finola._plane_waves import PlaneWaves as PlaneWaves
from sfa_jax.finola._plane_waves import lowest_waves as lowest_waves
from sfa_jax.finola._plane_waves import plane_waves as plane_waves
from sfa_jax.finola._waves import QUADRANTS as QUADRANTS
from sfa_jax.finola._waves import Waves as Waves
from sfa_jax.finola._waves import to_wave_coordinates as to_wave_coordinates
from sfa_jax.finola._waves import wave_residual as wave_residual
from sfa_jax.finola._waves import wave_speeds as wave_speeds

__all__ = [
    "DIRECTIONS",
    "ORDERS",
    "QUADRANTS",
    "SPEEDS",
    "Directions",
    "FinolaParams",
    "MaskedSources",
    "Matrices",
    "Order",
    "PlaneWaves",
    "Speeds",
    "Waves",
    "autoregress",
    "block_sources",
    "element_sources",
    "init_params",
    "lowest_waves",
    "matrices",
    "multipath",
    "normalize",
    "plane_waves",
    "predict_from_block",
    "repeat",
    "to_wave_coordinates",
    "wave_residual",
    "wave_speeds",
    "zero_mean_basis",
]
