"""Autoencoders of images: what encodes, what draws, and the code between."""

from sfa_jax.autoencoders._finola_decoder import GENERATORS as GENERATORS
from sfa_jax.autoencoders._finola_decoder import FinolaDecoder as FinolaDecoder
from sfa_jax.autoencoders._image_autoencoder import FinolaAutoencoder as FinolaAutoencoder
from sfa_jax.autoencoders._image_autoencoder import as_float as as_float
from sfa_jax.autoencoders._losses import reconstruction_loss as reconstruction_loss
from sfa_jax.autoencoders._masked_finola import VARIANTS as VARIANTS
from sfa_jax.autoencoders._masked_finola import MaskedFinola as MaskedFinola
from sfa_jax.autoencoders._masked_finola import Prediction as Prediction
from sfa_jax.autoencoders._masked_finola import masked_loss as masked_loss
from sfa_jax.autoencoders._recolour import recolour as recolour
from sfa_jax.autoencoders._slow_autoencoder import SlowAutoencoder as SlowAutoencoder
from sfa_jax.autoencoders._wave_start import is_wave_part as is_wave_part

__all__ = [
    "GENERATORS",
    "VARIANTS",
    "FinolaAutoencoder",
    "FinolaDecoder",
    "MaskedFinola",
    "Prediction",
    "SlowAutoencoder",
    "as_float",
    "is_wave_part",
    "masked_loss",
    "recolour",
    "reconstruction_loss",
]
