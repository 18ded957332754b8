"""FINOLA as an autoencoder: an image to one vector or several, and drawn from them."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from sfa_jax.autoencoders._finola_decoder import FinolaDecoder, check_choices
from sfa_jax.nets import AttentionPool, ConvEncoder, without_nan

POOLINGS = ("attention", "reshape", "flatten")
Variables = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class FinolaAutoencoder(FinolaDecoder):
    """Images to codes and back; holds sizes only, the parameters are passed in.

    The code of an image is M vectors of C channels, each normalised (`finola.normalize`) and then as long as its path's
    learned gain: the gain sets how fast the path's waves turn. A map grows from them, and is drawn.

    Attributes:
      encoder_channels: of the encoder's blocks, each of which halves the image.
      pooling: "attention": M queries; "reshape": one query of all numbers of the code; "flatten": a dense layer of
        the encoder's whole map.
      others: of `FinolaDecoder`. Beginning as waves, the encoder has, beside its network, a linear map from pixels to
        the code: a weight for every pixel and number, for small images only.
    """

    encoder_channels: Sequence[int] = (32, 64, 128)
    pooling: Literal["attention", "reshape", "flatten"] = "flatten"

    def __post_init__(self) -> None:
        object.__setattr__(self, "encoder_channels", tuple(self.encoder_channels))  # hashable, whatever was given
        super().__post_init__()
        check_choices(self, {"pooling": POOLINGS})
        if not self.encoder_channels:
            raise ValueError("encoder_channels: expected at least one block, got none")

    @property
    def encoder(self) -> ConvEncoder:
        return ConvEncoder(channels=self.encoder_channels, pool=None)

    def init(self, key: jax.Array, frame_shape: Sequence[int], images: np.ndarray | None = None) -> Variables:
        """`{"params": {...}, "batch_stats"}` for images of shape `(height, width, channel)`.

        Args:
          key: random key.
          frame_shape: of the images.
          images: uint8 `[n, height, width, channel]`, that waves are fitted to; not used by other starts.

        Raises:
          ValueError: the map's size does not divide the image's, or waves are to be fitted to no images.
        """
        encoder_key, pool_key, decoder_key = jax.random.split(key, 3)
        params, projection = self.init_decoder(decoder_key, frame_shape, images)
        features, encoder = self.encoder.init_with_output(encoder_key, jnp.zeros((1, *frame_shape)))
        pool = self._init_pool(pool_key, features)
        if projection is not None:  # the rest begins at nothing
            pool |= {name: jnp.zeros_like(value) for name, value in pool.items() if name in ("kernel", "output")}
            params["projection"] = projection
        return {"params": params | {"encoder": encoder["params"], "pool": pool}, "batch_stats": encoder["batch_stats"]}

    def encode(
        self, variables: Variables, images: jax.Array, weight: jax.Array | None = None, *, train: bool = False
    ) -> tuple[jax.Array, Variables]:
        """The codes of images, and the (new) batch statistics of the encoder.

        Args:
          variables: from `init`.
          images: `[n, height, width, channel]`, uint8 or in [0, 1].
          weight: `[n]`, 0 where an image does not count in the batch's statistics, and may hold NaN, which is taken as
            0.
          train: use and update the statistics of the batch.

        Returns:
          `(q [n, n_paths, channels], batch_stats)`.
        """
        params, images = variables["params"], without_nan(images, weight)
        collections = {"params": params["encoder"], "batch_stats": variables["batch_stats"]}
        batch_stats = variables["batch_stats"]
        if train:
            x, updated = self.encoder.apply(collections, images, weight, train=True, mutable=["batch_stats"])
            batch_stats = updated["batch_stats"]
        else:
            x = self.encoder.apply(collections, images, weight)
        pool = params["pool"]
        if self.pooling == "flatten":
            q = jnp.matmul(x.reshape(len(x), -1), pool["kernel"]) + pool["bias"]
        else:
            q = self._attention.apply({"params": pool}, x)
        q = q.reshape(len(x), self.code_size)
        if "projection" in params:
            flat = as_float(images).reshape(len(images), -1) - 0.5
            q = q + jnp.matmul(flat, params["projection"]["kernel"]) + params["projection"]["bias"]
        return self.lengthen(params, q.reshape(-1, self.n_paths, self.channels)), batch_stats

    @property
    def _attention(self) -> AttentionPool:
        if self.pooling == "attention":
            return AttentionPool(self.n_paths, self.channels)
        return AttentionPool(1, self.code_size)

    def _init_pool(self, key: jax.Array, features: jax.Array) -> dict[str, jax.Array]:
        if self.pooling != "flatten":
            return self._attention.init(key, features)["params"]
        kernel = jax.nn.initializers.lecun_normal()(key, (features[0].size, self.code_size))
        return {"kernel": kernel, "bias": jnp.zeros(self.code_size)}


def as_float(images: jax.Array) -> jax.Array:
    """Images in [0, 1], of uint8 from 0 to 255; those that are floating point as they are.

    Raises:
      TypeError: they are neither.
    """
    if jnp.issubdtype(images.dtype, jnp.floating):
        return images
    if images.dtype != jnp.uint8:
        raise TypeError(f"images: expected uint8, or floating point in [0, 1], got {images.dtype}")
    return images.astype(jnp.float32) / 255
