"""Held-out measures of a slow code and of drawn images, baselines beside it, controls, plots and the run report."""

from sfa_jax.evaluation._baselines import pca_codes as pca_codes
from sfa_jax.evaluation._baselines import sfa_codes as sfa_codes
from sfa_jax.evaluation._class_plots import class_pictures as class_pictures
from sfa_jax.evaluation._code_plots import plot_clips as plot_clips
from sfa_jax.evaluation._code_plots import plot_codes as plot_codes
from sfa_jax.evaluation._code_plots import plot_film as plot_film
from sfa_jax.evaluation._code_plots import plot_future as plot_future
from sfa_jax.evaluation._code_plots import plot_interpolations as plot_interpolations
from sfa_jax.evaluation._code_plots import plot_restorations as plot_restorations
from sfa_jax.evaluation._code_plots import plot_samples as plot_samples
from sfa_jax.evaluation._code_use import code_use as code_use
from sfa_jax.evaluation._image_plots import plot_masked as plot_masked
from sfa_jax.evaluation._image_plots import plot_reconstructions as plot_reconstructions
from sfa_jax.evaluation._image_plots import plot_traversal as plot_traversal
from sfa_jax.evaluation._image_plots import wave_pictures as wave_pictures
from sfa_jax.evaluation._images import dct_best_images as dct_best_images
from sfa_jax.evaluation._images import dct_images as dct_images
from sfa_jax.evaluation._images import image_measures as image_measures
from sfa_jax.evaluation._images import median_residual as median_residual
from sfa_jax.evaluation._images import pca_images as pca_images
from sfa_jax.evaluation._images import principal_components as principal_components
from sfa_jax.evaluation._images import psnr as psnr
from sfa_jax.evaluation._images import ssim as ssim
from sfa_jax.evaluation._measures import code_measures as code_measures
from sfa_jax.evaluation._measures import effective_rank_of as effective_rank_of
from sfa_jax.evaluation._measures import linear_r2 as linear_r2
from sfa_jax.evaluation._measures import run_deltas as run_deltas
from sfa_jax.evaluation._measures import solve_readout as solve_readout
from sfa_jax.evaluation._measures import whiteness_error as whiteness_error
from sfa_jax.evaluation._pictures import Picture as Picture
from sfa_jax.evaluation._pictures import draw_pictures as draw_pictures
from sfa_jax.evaluation._plots import code_pictures as code_pictures
from sfa_jax.evaluation._plots import loss_pictures as loss_pictures
from sfa_jax.evaluation._probe import Probe as Probe
from sfa_jax.evaluation._probe import choose_labelled as choose_labelled
from sfa_jax.evaluation._probe import fit_probe as fit_probe
from sfa_jax.evaluation._probe import probe_accuracy as probe_accuracy
from sfa_jax.evaluation._report import image_table as image_table
from sfa_jax.evaluation._report import table as table
from sfa_jax.evaluation._report import verdicts as verdicts
from sfa_jax.evaluation._restoration import inpaint as inpaint
from sfa_jax.evaluation._restoration import resize_bicubic as resize_bicubic
from sfa_jax.evaluation._restoration import restoration_measures as restoration_measures
from sfa_jax.evaluation._restoration import restore as restore
from sfa_jax.evaluation._sparse_measures import Curves as Curves
from sfa_jax.evaluation._sparse_measures import Pursuit as Pursuit
from sfa_jax.evaluation._sparse_measures import coding_measures as coding_measures
from sfa_jax.evaluation._sparse_measures import drawn_by_sinusoids as drawn_by_sinusoids
from sfa_jax.evaluation._sparse_measures import elbow as elbow
from sfa_jax.evaluation._sparse_measures import pixel_series as pixel_series
from sfa_jax.evaluation._sparse_measures import pursuit as pursuit
from sfa_jax.evaluation._sparse_measures import series_pursuit as series_pursuit
from sfa_jax.evaluation._sparse_measures import sinusoids as sinusoids
from sfa_jax.evaluation._sparse_measures import space_curves as space_curves
from sfa_jax.evaluation._sparse_measures import time_curves as time_curves
from sfa_jax.evaluation._sparse_plots import plot_atoms as plot_atoms
from sfa_jax.evaluation._sparse_plots import plot_kurtosis as plot_kurtosis
from sfa_jax.evaluation._sparse_plots import plot_pursuit as plot_pursuit
from sfa_jax.evaluation._sparse_plots import plot_series as plot_series
from sfa_jax.evaluation._sparse_plots import plot_sparse_codes as plot_sparse_codes

__all__ = [
    "Curves",
    "Picture",
    "Probe",
    "Pursuit",
    "choose_labelled",
    "class_pictures",
    "code_measures",
    "code_pictures",
    "code_use",
    "coding_measures",
    "dct_best_images",
    "dct_images",
    "draw_pictures",
    "drawn_by_sinusoids",
    "effective_rank_of",
    "elbow",
    "fit_probe",
    "image_measures",
    "image_table",
    "inpaint",
    "linear_r2",
    "loss_pictures",
    "median_residual",
    "pca_codes",
    "pca_images",
    "pixel_series",
    "plot_atoms",
    "plot_clips",
    "plot_codes",
    "plot_film",
    "plot_future",
    "plot_interpolations",
    "plot_kurtosis",
    "plot_masked",
    "plot_pursuit",
    "plot_reconstructions",
    "plot_restorations",
    "plot_samples",
    "plot_series",
    "plot_sparse_codes",
    "plot_traversal",
    "principal_components",
    "probe_accuracy",
    "psnr",
    "pursuit",
    "resize_bicubic",
    "restoration_measures",
    "restore",
    "run_deltas",
    "series_pursuit",
    "sfa_codes",
    "sinusoids",
    "solve_readout",
    "space_curves",
    "ssim",
    "table",
    "time_curves",
    "verdicts",
    "wave_pictures",
    "whiteness_error",
]
