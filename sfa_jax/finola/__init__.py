"""FINOLA: image decoding by first-order norm+linear autoregression, and its one-way waves.

Pure functions of arrays on jax alone. Maps are `[..., height, width, channels]`; x is the column, y the row.
"""

from sfa_jax.finola._autoregress import autoregress as autoregress
from sfa_jax.finola._autoregress import multipath as multipath
from sfa_jax.finola._autoregress import repeat as repeat
from sfa_jax.finola._norm import normalize as normalize
from sfa_jax.finola._params import FinolaParams as FinolaParams
from sfa_jax.finola._params import Matrices as Matrices
from sfa_jax.finola._params import init_params as init_params
from sfa_jax.finola._params import matrices as matrices
from sfa_jax.finola._params import zero_mean_basis as zero_mean_basis
