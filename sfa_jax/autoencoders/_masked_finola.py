"""Masked FINOLA: features of a visible block that predict the rest of the image."""

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from sfa_jax import finola
from sfa_jax.autoencoders._finola_decoder import check_choices, check_sizes
from sfa_jax.autoencoders._image_autoencoder import as_float
from sfa_jax.nets import AttentionPool, GridEncoder

VARIANTS = ("block", "element")
Variables = dict[str, Any]


class Prediction(NamedTuple):
    """What is drawn of images from a block of each.

    Attributes:
      images: `[n, height, width, channel]`, about in [0, 1]; in the visible block the features drawn as they are.
      masked: bool `[n, rows, columns]`, the cells that were not seen.
    """

    images: Any
    masked: Any


@dataclasses.dataclass(frozen=True)
class MaskedFinola:
    """Images to features, trained to predict masked images; holds sizes only, the parameters are passed in.

    The encoder sees a block of half the image's height and width, wherever it lies, as a map of cells. FINOLA predicts
    all other cells, and a linear layer draws the square of pixels of each.

    Attributes:
      variant: "block": every visible cell predicts three masked ones (`finola.predict_from_block`); "element": the
        block is pooled to one vector, from which the whole map grows (`finola.autoregress`).
      features: channels of the map, and of what it is predicted by.
      encoder_channels: of the encoder's blocks, each of which halves the image: a cell has 2^len of them pixels a side.
      blocks: residual blocks of the `GridEncoder`.
      directions, scale: of `finola.init_params`.
      pooled_cells: cells a side that the map is averaged to where features are asked for: 1 is its mean.

    References:
      Chen et al., arXiv 2310.12976 (masked FINOLA). The networks are choices of this library.
    """

    variant: Literal["block", "element"] = "block"
    features: int = 128
    encoder_channels: Sequence[int] = (32, 64)
    blocks: int = 3
    directions: finola.Directions = "separate"
    scale: float = 0.2
    pooled_cells: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "encoder_channels", tuple(self.encoder_channels))  # hashable, whatever was given
        check_choices(self, {"variant": VARIANTS, "directions": finola.DIRECTIONS})
        check_sizes(self, {"features": 2, "blocks": 0, "pooled_cells": 1})
        if not self.encoder_channels:
            raise ValueError("encoder_channels: expected at least one block, got none")

    @property
    def encoder(self) -> GridEncoder:
        return GridEncoder(channels=self.encoder_channels, features=self.features, blocks=self.blocks)

    @property
    def dim(self) -> int:
        """How many features an image has."""
        return self.features * self.pooled_cells**2

    def grid(self, frame_shape: Sequence[int]) -> tuple[int, int]:
        """Rows and columns of the map.

        Raises:
          ValueError: the image is no even number of cells.
        """
        pixels = 2 ** len(self.encoder_channels)
        rows, columns = (side // pixels for side in frame_shape[:2])
        if rows % 2 or columns % 2 or (rows * pixels, columns * pixels) != tuple(frame_shape[:2]) or not rows * columns:
            raise ValueError(
                f"encoder_channels: expected blocks that leave an even number of cells, but {frame_shape[0]} x "
                f"{frame_shape[1]} pixels are no even number of cells of {pixels} x {pixels}"
            )
        if rows % self.pooled_cells or columns % self.pooled_cells:
            raise ValueError(
                f"pooled_cells: expected a divisor of {rows} and {columns}, the cells of a map, got {self.pooled_cells}"
            )
        return rows, columns

    def init(self, key: jax.Array, frame_shape: Sequence[int]) -> Variables:
        """`{"params": {...}, "batch_stats"}` for images of shape `(height, width, channel)`.

        Raises:
          ValueError: the image is no even number of cells.
        """
        keys = jax.random.split(key, 4)
        rows, columns = self.grid(frame_shape)
        height, width, image_channels = frame_shape
        block = jnp.zeros((1, height // 2, width // 2, image_channels))
        features, encoder = self.encoder.init_with_output(keys[0], block)
        drawn = finola.init_params(keys[1], self.features, directions=self.directions, scale=self.scale)
        named = {name: getattr(drawn, name) for name in ("a", "b", "a_minus", "b_minus")}
        pixels = height // rows * (width // columns) * image_channels
        faint = jax.nn.initializers.variance_scaling(0.01, "fan_in", "normal")  # not from an image of noise
        kernel = faint(keys[2], (self.features, pixels))
        params: dict[str, Any] = {
            "encoder": encoder["params"],
            "generator": {name: value for name, value in named.items() if value is not None},
            "patch": {"kernel": kernel, "bias": jnp.zeros(pixels)},
        }
        if self.variant == "element":
            params["pool"] = self._pool.init(keys[3], features)["params"]
        return {"params": params, "batch_stats": encoder["batch_stats"]}

    def encode(
        self, variables: Variables, images: jax.Array, weight: jax.Array | None = None, *, train: bool = False
    ) -> tuple[jax.Array, Variables]:
        """The map `[n, rows, columns, features]` of whole images or blocks of them, and the (new) batch statistics."""
        collections = {"params": variables["params"]["encoder"], "batch_stats": variables["batch_stats"]}
        x: Any
        if not train:
            x = self.encoder.apply(collections, images, weight)
            return x, variables["batch_stats"]
        x, updated = self.encoder.apply(collections, images, weight, train=True, mutable=["batch_stats"])
        return x, updated["batch_stats"]

    def pooled(self, variables: Variables, images: jax.Array) -> jax.Array:
        """The features `[n, dim]` of whole images: the map of each, averaged to `pooled_cells` a side."""
        x, _ = self.encode(variables, images)
        n, rows, columns, features = x.shape
        cells = self.pooled_cells
        x = x.reshape(n, cells, rows // cells, cells, columns // cells, features)
        return jnp.mean(x, axis=(2, 4)).reshape(n, -1)

    def random_corners(self, key: jax.Array, n: int, frame_shape: Sequence[int]) -> jax.Array:
        """Upper left cells of visible blocks, anywhere: int32 `[n, 2]`, row and column."""
        most = jnp.array(self.grid(frame_shape)) // 2 + 1
        return jax.random.randint(key, (n, 2), 0, most)

    def spread_corners(self, n: int, frame_shape: Sequence[int]) -> np.ndarray:
        """Upper left cells of visible blocks, every position as often as any other: int32 `[n, 2]`, row and column."""
        rows, columns = (side // 2 + 1 for side in self.grid(frame_shape))
        stride = round(0.618 * rows * columns)  # far from the one before, and by no common factor back to it
        while math.gcd(stride, rows * columns) > 1:
            stride += 1
        return np.stack(np.divmod(np.arange(n) * stride % (rows * columns), columns), axis=1).astype(np.int32)

    def predict(
        self,
        variables: Variables,
        images: jax.Array,
        corners: jax.Array,
        weight: jax.Array | None = None,
        *,
        train: bool = False,
    ) -> tuple[Prediction, Variables]:
        """Images drawn from one visible block of each.

        Args:
          variables: from `init`.
          images: `[n, height, width, channel]`, uint8 or in [0, 1].
          corners: `[n, 2]`, row and column of the block's upper left cell, from 0 to half the map's sides.
          weight: `[n]`, 0 where an image does not count in the batch's statistics.
          train: use and update the statistics of the batch.

        Returns:
          `(Prediction, batch_stats)`.
        """
        frame_shape, params = images.shape[1:], variables["params"]
        rows, columns = self.grid(frame_shape)
        height, width = frame_shape[0] // rows, frame_shape[1] // columns
        block = (frame_shape[0] // 2, frame_shape[1] // 2, frame_shape[2])

        def cut(image: jax.Array, corner: jax.Array) -> jax.Array:
            return jax.lax.dynamic_slice(image, (corner[0] * height, corner[1] * width, 0), block)

        visible, batch_stats = self.encode(variables, jax.vmap(cut)(images, corners), weight, train=train)
        which = corners[:, 0] * (columns // 2 + 1) + corners[:, 1]
        sources: Any = jax.tree.map(lambda field: jnp.asarray(field)[which], _tables(rows, columns))
        matrices = finola.FinolaParams(**params["generator"], directions=self.directions)
        if self.variant == "block":
            z = jax.vmap(lambda z, found: finola.predict_from_block(matrices, z, found))(visible, sources)
        else:
            z = self._grow(matrices, params["pool"], visible, corners, rows, columns)
        patches = jnp.matmul(z, params["patch"]["kernel"]) + params["patch"]["bias"]
        patches = patches.reshape(len(images), rows, columns, height, width, frame_shape[2])
        drawn = patches.transpose(0, 1, 3, 2, 4, 5).reshape(images.shape) + 0.5
        return Prediction(drawn, sources.masked), batch_stats

    @property
    def _pool(self) -> AttentionPool:
        return AttentionPool(1, self.features)

    def _grow(
        self,
        matrices: finola.FinolaParams,
        pool: Any,
        visible: jax.Array,
        corners: jax.Array,
        rows: int,
        columns: int,
    ) -> jax.Array:
        """The map of each image, grown from the middle of its block: a part of one that is large enough for all."""
        q: Any = self._pool.apply({"params": pool}, visible)
        whole = finola.autoregress(matrices, q[:, 0], 3 * rows // 2, 3 * columns // 2)
        middle = jnp.array([rows // 4, columns // 4])
        start = jnp.array([3 * rows // 2 // 2, 3 * columns // 2 // 2])

        def cut(z: jax.Array, corner: jax.Array) -> jax.Array:
            row, column = start - corner - middle
            return jax.lax.dynamic_slice(z, (row, column, 0), (rows, columns, self.features))

        return jax.vmap(cut)(whole, corners)


def masked_loss(prediction: Prediction, images: ArrayLike) -> jax.Array:
    """The mean squared error of the masked cells of each image.

    Args:
      prediction: from `MaskedFinola.predict`.
      images: `[n, height, width, channel]`, uint8 or in [0, 1].

    Returns:
      `[n]`, in squared units of the image's range.

    Raises:
      ValueError: the shapes differ.
      TypeError: the images are neither uint8 nor floating point.
    """
    drawn, true = jnp.asarray(prediction.images), as_float(jnp.asarray(images))
    if drawn.shape != true.shape:
        raise ValueError(f"images: expected the shape {drawn.shape} of the prediction, got {true.shape}")
    if jnp.ndim(prediction.masked) != 3 or len(prediction.masked) != len(drawn):
        raise ValueError(
            f"prediction.masked: expected [{len(drawn)}, rows, columns], got {jnp.shape(prediction.masked)}"
        )
    n, rows, columns = prediction.masked.shape
    cells = (drawn - true).reshape(n, rows, true.shape[1] // rows, columns, true.shape[2] // columns, -1)
    masked = jnp.asarray(prediction.masked).astype(bool)
    # Not times 0: what is seen may be nan.
    error = jnp.square(jnp.where(masked[:, :, None, :, None, None], cells, 0)).mean((2, 4, 5))
    return jnp.sum(error, axis=(1, 2)) / jnp.sum(masked, axis=(1, 2)).astype(error.dtype)


def _tables(rows: int, columns: int) -> finola.MaskedSources:
    """The index maps of every position of the block, `[n_positions, rows, columns]`."""
    corners = itertools.product(range(rows // 2 + 1), range(columns // 2 + 1))
    found = [finola.block_sources(rows, columns, corner) for corner in corners]
    return finola.MaskedSources(*(np.stack(field) for field in zip(*found, strict=True)))
