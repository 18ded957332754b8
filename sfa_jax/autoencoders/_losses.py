"""Losses of autoencoders, one value an image: the caller reduces."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike


def reconstruction_loss(reconstruction: ArrayLike, images: ArrayLike) -> jax.Array:
    """The mean squared error of each image.

    L_n = mean over rows, columns and channels of (reconstruction_n - images_n)^2

    Args:
      reconstruction: `[n, height, width, channel]`.
      images: of the same shape, floating point in [0, 1].

    Returns:
      `[n]`, in squared units of the image's range.

    Raises:
      ValueError: the shapes differ.
      TypeError: the images are not floating point.

    >>> reconstruction_loss(jnp.zeros((1, 2, 2, 1)), jnp.full((1, 2, 2, 1), 0.5)).tolist()
    [0.25]
    """
    reconstruction, images = jnp.asarray(reconstruction), jnp.asarray(images)
    if reconstruction.shape != images.shape:
        raise ValueError(f"reconstruction: expected the shape {images.shape} of images, got {reconstruction.shape}")
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise TypeError(f"images: expected floating point in [0, 1], got {images.dtype}; divide uint8 by 255 first")
    if images.ndim < 2:
        raise ValueError(f"images: expected shape [n, height, width, channel], got {images.shape}")
    return jnp.mean(jnp.square(reconstruction - images), axis=tuple(range(1, images.ndim)))
