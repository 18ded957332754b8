"""Autoencoders of images: what encodes, what draws, and the code between."""

from sfa_jax.autoencoders._autoencoder import ACTIVATIONS as ACTIVATIONS
from sfa_jax.autoencoders._autoencoder import BODIES as BODIES
from sfa_jax.autoencoders._autoencoder import CODES as CODES
from sfa_jax.autoencoders._autoencoder import LIKELIHOODS as LIKELIHOODS
from sfa_jax.autoencoders._autoencoder import Autoencoder as Autoencoder
from sfa_jax.autoencoders._autoencoder import Posterior as Posterior
from sfa_jax.autoencoders._classifier import Classifier as Classifier
from sfa_jax.autoencoders._corruptions import downsample as downsample
from sfa_jax.autoencoders._corruptions import gaussian_noise as gaussian_noise
from sfa_jax.autoencoders._corruptions import masking_noise as masking_noise
from sfa_jax.autoencoders._corruptions import one_of as one_of
from sfa_jax.autoencoders._corruptions import random_erase as random_erase
from sfa_jax.autoencoders._corruptions import random_hole as random_hole
from sfa_jax.autoencoders._corruptions import salt_and_pepper as salt_and_pepper
from sfa_jax.autoencoders._finola_decoder import GENERATORS as GENERATORS
from sfa_jax.autoencoders._finola_decoder import FinolaDecoder as FinolaDecoder
from sfa_jax.autoencoders._generation import CodeDistribution as CodeDistribution
from sfa_jax.autoencoders._generation import fit_code_distribution as fit_code_distribution
from sfa_jax.autoencoders._generation import interpolate as interpolate
from sfa_jax.autoencoders._generation import sample_codes as sample_codes
from sfa_jax.autoencoders._generation import sample_prior as sample_prior
from sfa_jax.autoencoders._image_autoencoder import FinolaAutoencoder as FinolaAutoencoder
from sfa_jax.autoencoders._image_autoencoder import as_float as as_float
from sfa_jax.autoencoders._losses import bernoulli_log_likelihood as bernoulli_log_likelihood
from sfa_jax.autoencoders._losses import draw_gaussian as draw_gaussian
from sfa_jax.autoencoders._losses import elbo as elbo
from sfa_jax.autoencoders._losses import gaussian_log_likelihood as gaussian_log_likelihood
from sfa_jax.autoencoders._losses import kl_to_standard_normal as kl_to_standard_normal
from sfa_jax.autoencoders._losses import l1_penalty as l1_penalty
from sfa_jax.autoencoders._losses import reconstruction_loss as reconstruction_loss
from sfa_jax.autoencoders._masked_finola import VARIANTS as VARIANTS
from sfa_jax.autoencoders._masked_finola import MaskedFinola as MaskedFinola
from sfa_jax.autoencoders._masked_finola import Prediction as Prediction
from sfa_jax.autoencoders._masked_finola import masked_loss as masked_loss
from sfa_jax.autoencoders._recolour import recolour as recolour
from sfa_jax.autoencoders._slow_autoencoder import SlowAutoencoder as SlowAutoencoder
from sfa_jax.autoencoders._video import VideoAutoencoder as VideoAutoencoder
from sfa_jax.autoencoders._video import VideoCarry as VideoCarry
from sfa_jax.autoencoders._wave_start import is_wave_part as is_wave_part

__all__ = [
    "ACTIVATIONS",
    "BODIES",
    "CODES",
    "GENERATORS",
    "LIKELIHOODS",
    "VARIANTS",
    "Autoencoder",
    "Classifier",
    "CodeDistribution",
    "FinolaAutoencoder",
    "FinolaDecoder",
    "MaskedFinola",
    "Posterior",
    "Prediction",
    "SlowAutoencoder",
    "VideoAutoencoder",
    "VideoCarry",
    "as_float",
    "bernoulli_log_likelihood",
    "downsample",
    "draw_gaussian",
    "elbo",
    "fit_code_distribution",
    "gaussian_log_likelihood",
    "gaussian_noise",
    "interpolate",
    "is_wave_part",
    "kl_to_standard_normal",
    "l1_penalty",
    "masked_loss",
    "masking_noise",
    "one_of",
    "random_erase",
    "random_hole",
    "recolour",
    "reconstruction_loss",
    "salt_and_pepper",
    "sample_codes",
    "sample_prior",
]
