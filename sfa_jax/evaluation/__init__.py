"""Held-out measures of a slow code, baselines beside it, controls, plots and the run report."""

from sfa_jax.evaluation._baselines import pca_codes as pca_codes
from sfa_jax.evaluation._baselines import sfa_codes as sfa_codes
from sfa_jax.evaluation._measures import code_measures as code_measures
from sfa_jax.evaluation._measures import effective_rank_of as effective_rank_of
from sfa_jax.evaluation._measures import linear_r2 as linear_r2
from sfa_jax.evaluation._measures import run_deltas as run_deltas
from sfa_jax.evaluation._measures import solve_readout as solve_readout
from sfa_jax.evaluation._measures import whiteness_error as whiteness_error
from sfa_jax.evaluation._plots import plot_run as plot_run
from sfa_jax.evaluation._report import table as table
from sfa_jax.evaluation._report import verdicts as verdicts

__all__ = [
    "code_measures",
    "effective_rank_of",
    "linear_r2",
    "pca_codes",
    "plot_run",
    "run_deltas",
    "sfa_codes",
    "solve_readout",
    "table",
    "verdicts",
    "whiteness_error",
]
