"""Autoencoders of images: what encodes, what draws, and the code between."""

from sfa_jax.autoencoders._image_autoencoder import GENERATORS as GENERATORS
from sfa_jax.autoencoders._image_autoencoder import FinolaAutoencoder as FinolaAutoencoder
from sfa_jax.autoencoders._image_autoencoder import as_float as as_float
from sfa_jax.autoencoders._losses import reconstruction_loss as reconstruction_loss
from sfa_jax.autoencoders._wave_start import is_wave_part as is_wave_part

__all__ = ["GENERATORS", "FinolaAutoencoder", "as_float", "is_wave_part", "reconstruction_loss"]
