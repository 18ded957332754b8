"""The upsampling decoder: a feature map to the pixels of an image."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Initializer

from sfa_jax.nets._conv import conv2d

_PLAIN = nn.initializers.variance_scaling(1.0, "fan_in", "normal")
_FAINT = nn.initializers.variance_scaling(0.01, "fan_in", "normal")  # an image of noise would have to be unlearned


class UpsamplingDecoder(nn.Module):
    """A linear image, and what a small convolutional network adds to it.

    The linear part gives each cell's square of pixels from its channels. The network is of the map and of these
    squares: a 3x3 convolution and residual blocks at the map's size, sub-pixel upsampling to the image's, and there
    three 3x3 convolutions, the last of which begins at zero, so that training starts from the linear image.

    Attributes:
      factor: pixels a cell, along each side.
      image_channels: of the image.
      hidden: channels at the map's size.
      blocks: residual blocks there.
      hidden_pixels: channels at the image's size.

    References:
      Chen et al., arXiv 2310.12976, section 3 (three 3x3 convolutions at full resolution); Shi et al., CVPR 2016
      (sub-pixel upsampling); Aitken et al., arXiv 1707.02937 (the start of its kernel, alike for all pixels of a cell).
    """

    factor: int
    image_channels: int = 3
    hidden: int = 64
    blocks: int = 1
    hidden_pixels: int = 12

    @nn.compact
    def __call__(self, z: jax.Array) -> jax.Array:
        """Draws images.

        Args:
          z: `[n, height, width, channels]`.

        Returns:
          `[n, factor height, factor width, image_channels]`, about 0 in the middle of the image's range.
        """
        patches = self._affine("linear", z, self.factor**2 * self.image_channels, init=_FAINT)
        linear = to_pixels(patches, self.factor)
        x = self._affine("map", z, self.hidden) + self._conv("first", patches, self.hidden)
        for k in range(self.blocks):
            x = x + self._conv(f"block_{k}", jax.nn.relu(x), self.hidden)
        x = self._affine("up", jax.nn.relu(x), self.factor**2 * self.hidden_pixels, init=_same_for_all(self.factor**2))
        x = jnp.concatenate([to_pixels(x, self.factor), linear], axis=-1)
        for k in range(2):
            x = jax.nn.relu(self._conv(f"pixels_{k}", x, self.hidden_pixels))
        return linear + self._conv("pixels_2", x, self.image_channels, from_zero=True)

    def _conv(self, name: str, x: jax.Array, features: int, *, from_zero: bool = False) -> jax.Array:
        init = nn.initializers.zeros if from_zero else nn.initializers.he_normal()
        kernel = self.param(f"{name}_kernel", init, (3, 3, x.shape[-1], features))
        return conv2d(x, kernel, stride=1) + self._bias(name, features)

    def _affine(self, name: str, x: jax.Array, features: int, *, init: Initializer = _PLAIN) -> jax.Array:
        kernel = self.param(f"{name}_kernel", init, (x.shape[-1], features))
        return jnp.matmul(x, kernel) + self._bias(name, features)

    def _bias(self, name: str, features: int) -> jax.Array:
        return self.param(f"{name}_bias", nn.initializers.zeros, (features,))[None, None, None]


def _same_for_all(n_pixels: int) -> Initializer:
    """One random kernel for all pixels of a cell: kernels drawn apart show as a grid in the image for long."""

    def init(key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32) -> jax.Array:
        return jnp.tile(_PLAIN(key, (shape[0], shape[1] // n_pixels), dtype), (1, n_pixels))

    return init


def to_pixels(x: jax.Array, factor: int) -> jax.Array:
    """Channels to places: `[n, h, w, factor^2 c]` to `[n, factor h, factor w, c]`, rows of pixels first."""
    n, height, width, channels = x.shape
    x = x.reshape(n, height, width, factor, factor, channels // factor**2)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(n, height * factor, width * factor, -1)
