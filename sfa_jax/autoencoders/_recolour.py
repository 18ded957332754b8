"""Images in other colours: what few photographs do not show, and every encoder must not mind."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from sfa_jax.autoencoders._losses import check_scalar

_CHANNELS = 4


def recolour(key: jax.Array, images: ArrayLike, *, strength: float = 0.3) -> jax.Array:
    """Each image with its channels exchanged, and with gamma, contrast and brightness of its own.

    x -> mean + contrast (x^gamma - mean) + brightness, clipped to [0, 1]

    gamma = exp(strength N) for all channels and exp(strength / 2 N) for each, contrast = exp(strength / 2 N),
    brightness = strength / 6 N, N standard normal; the mean is that of x^gamma over the image.

    Args:
      key: random key.
      images: `[n, height, width, channel]`, floating point in [0, 1], of at most 4 channels.
      strength: 0 changes nothing but the order of the channels.

    Returns:
      Images of the same shape in [0, 1].

    Raises:
      TypeError: the images are not floating point.
      ValueError: they are not `[n, height, width, channel]`, or the strength is below 0.

    >>> recolour(jax.random.key(0), jnp.full((1, 2, 2, 3), 0.5), strength=0.0)[0, 0, 0].tolist()
    [0.5, 0.5, 0.5]
    """
    x = jnp.asarray(images)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"images: expected floating point in [0, 1], got {x.dtype}; divide uint8 by 255 first")
    if x.ndim != 4:
        raise ValueError(f"images: expected shape [n, height, width, channel], got {x.shape}")
    check_scalar("strength", strength)
    if not strength >= 0:
        raise ValueError(f"strength: expected at least 0, got {strength}")
    n, channels = x.shape[0], x.shape[-1]
    if channels > _CHANNELS:  # whose orders are listed
        raise ValueError(f"images: expected a last axis of 1 to {_CHANNELS} channels, got shape {x.shape}")
    keys = jax.random.split(key, 5)

    def normal(key: jax.Array, *shape: int) -> jax.Array:
        return jax.random.normal(key, (n, 1, 1, *shape), x.dtype)

    orders = np.array(list(itertools.permutations(range(channels))))
    order = jnp.asarray(orders)[jax.random.randint(keys[0], (n,), 0, len(orders))]
    x = jnp.take_along_axis(x, order[:, None, None, :], axis=-1)
    gamma = jnp.exp(strength * normal(keys[1], 1) + strength / 2 * normal(keys[2], channels))
    x = jnp.maximum(x, 1e-6) ** gamma  # the gradient of 0 to a power is not finite
    mean = jnp.mean(x, axis=(1, 2, 3), keepdims=True)
    contrast, brightness = jnp.exp(strength / 2 * normal(keys[3], 1)), strength / 6 * normal(keys[4], 1)
    return jnp.clip(mean + contrast * (x - mean) + brightness, 0, 1)
