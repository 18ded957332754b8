"""The grid encoder: an image to a map of vectors, each of which has seen the whole of it."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from sfa_jax.nets._conv import conv2d
from sfa_jax.nets._encoder import ConvEncoder


class GridEncoder(nn.Module):
    """A `ConvEncoder` without pooling, then residual blocks in which cells see their neighbours and the mean of all.

    x <- x + conv3x3(relu(x)) + W mean over cells of relu(x)

    An image of any size gives a map of cells of 2^len(channels) pixels a side, so that it can be trained on parts of
    images and be applied to whole ones.

    Attributes:
      channels: output channels of the convolutional blocks, each of which halves the image.
      features: channels of the map.
      blocks: residual blocks.
      momentum: share of the old value in the running statistics.
    """

    channels: Sequence[int] = (32, 64)
    features: int = 128
    blocks: int = 3
    momentum: float = 0.9

    @nn.compact
    def __call__(self, images: jax.Array, weight: jax.Array | None = None, *, train: bool = False) -> jax.Array:
        """Encodes images.

        Args:
          images: `[n, height, width, channel]`, uint8, or floating in [0, 1].
          weight: `[n]`, 0 where an image does not count in the batch statistics; all count if None.
          train: as in `ConvEncoder`.

        Returns:
          `[n, height', width', features]`.
        """
        cells = ConvEncoder(channels=self.channels, pool=None, momentum=self.momentum, name="cells")
        x = cells(images, weight, train=train)
        x = self._mix("first", x, nn.initializers.he_normal())
        for k in range(self.blocks):
            # Small at first, so that the sum of many blocks is not much larger than one.
            x = x + self._mix(f"block_{k}", jax.nn.relu(x), nn.initializers.normal(0.1 / self.features**0.5))
        return x

    def _mix(self, name: str, x: jax.Array, init: nn.initializers.Initializer) -> jax.Array:
        near = self.param(f"{name}_kernel", init, (3, 3, x.shape[-1], self.features))
        far = self.param(f"{name}_mean_kernel", nn.initializers.zeros, (x.shape[-1], self.features))
        bias = self.param(f"{name}_bias", nn.initializers.zeros, (self.features,))
        mean = jnp.matmul(jnp.mean(x, axis=(1, 2)), far) + bias[None]
        return conv2d(x, near, stride=1) + mean[:, None, None]
