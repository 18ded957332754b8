"""FINOLA as an autoencoder: an image to one vector or several, and drawn from them."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp

from sfa_jax import finola
from sfa_jax.autoencoders._wave_start import wave_start
from sfa_jax.nets import AttentionPool, ConvEncoder, UpsamplingDecoder

Generator = Literal["finola", "linear", "repeat", "dense"]
GENERATORS = ("finola", "linear", "repeat", "dense")
POOLINGS = ("attention", "reshape", "flatten")
STARTS = ("waves", "random")
Variables = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class FinolaAutoencoder:
    """Images to codes and back; holds sizes only, the parameters are passed in.

    The code of an image is M vectors of C channels, each normalised (`finola.normalize`) and then as long as its path's
    learned gain: the gain sets how fast the path's waves turn. A map grows from them, and is drawn.

    Attributes:
      n_paths, channels: M and C; the code has M C numbers.
      map_size: cells along each side of the map; a divisor of the image's sides.
      generator: "finola"; or for comparison "linear" (no norm, z + A z), "repeat" (the code at every place, beside a
        learned vector of each place), "dense" (a dense layer to a map of a quarter of the cells, convolved up: a plain
        convolutional autoencoder). `dense_channels` sets its size.
      order, directions, speeds: of `finola.autoregress` and `finola.init_params`.
      scale: of the first matrices, where they are random.
      start: "waves": the matrices begin as plane waves, and encoder and decoder as the linear maps onto them (small
        images only: the encoder has a weight for every pixel and number of the code); "random".
      encoder_channels: of the encoder's blocks, each of which halves the image.
      pooling: "attention": M queries; "reshape": one query of all numbers of the code; "flatten": a dense layer of
        the encoder's whole map.
      hidden, blocks, hidden_pixels: of the `UpsamplingDecoder`.
      rematerialise: as in `finola.autoregress`.
    """

    n_paths: int = 1
    channels: int = 256
    map_size: int = 16
    generator: Generator = "finola"
    order: finola.Order = "average"
    directions: finola.Directions = "separate"
    speeds: finola.Speeds = "free"
    scale: float = 0.2
    start: Literal["waves", "random"] = "waves"
    encoder_channels: Sequence[int] = (32, 64, 128)
    pooling: Literal["attention", "reshape", "flatten"] = "flatten"
    hidden: int = 64
    blocks: int = 1
    hidden_pixels: int = 12
    dense_channels: int = 64
    rematerialise: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "encoder_channels", tuple(self.encoder_channels))  # hashable, whatever was given
        for name, allowed in (("generator", GENERATORS), ("pooling", POOLINGS), ("start", STARTS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}: expected one of {allowed}, got {getattr(self, name)!r}")
        for name, allowed in (("order", finola.ORDERS), ("directions", finola.DIRECTIONS), ("speeds", finola.SPEEDS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}: expected one of {allowed}, got {getattr(self, name)!r}")
        if self.start == "waves" and (self.generator not in ("finola", "linear") or self.speeds != "free"):
            raise ValueError(
                "start: 'waves' is the start of free matrices with the generator 'finola' or 'linear'; take 'random'"
            )
        if self.start == "waves" and self.directions == "shared":
            raise ValueError("start: plane waves turn back in the backward directions; take directions 'separate'")

    @property
    def encoder(self) -> ConvEncoder:
        return ConvEncoder(channels=self.encoder_channels, pool=None)

    @property
    def code_size(self) -> int:
        """Numbers of the code."""
        return self.n_paths * self.channels

    def init(self, key: jax.Array, frame_shape: Sequence[int]) -> Variables:
        """`{"params": {...}, "batch_stats"}` for images of shape `(height, width, channel)`.

        Raises:
          ValueError: the map's size does not divide the image's.
        """
        keys = jax.random.split(key, 4)
        grid = self.grid(frame_shape)
        features, encoder = self.encoder.init_with_output(keys[0], jnp.zeros((1, *frame_shape)))
        params: dict[str, Any] = {"encoder": encoder["params"], "gain": jnp.ones(self.n_paths)}
        params["pool"] = self._init_pool(keys[1], features)
        params["generator"] = self._init_generator(keys[2], grid)
        q = jnp.zeros((1, self.n_paths, self.channels))
        z = jax.eval_shape(lambda q: self.grow(params, q, frame_shape), q)
        params["decoder"] = self._decoder(frame_shape).init(keys[3], jnp.zeros(z.shape))["params"]
        if self.start == "waves":
            params = wave_start(params, self.n_paths, self.channels, grid, tuple(frame_shape))
        return {"params": params, "batch_stats": encoder["batch_stats"]}

    def encode(
        self, variables: Variables, images: jax.Array, weight: jax.Array | None = None, *, train: bool = False
    ) -> tuple[jax.Array, Variables]:
        """The codes of images, and the (new) batch statistics of the encoder.

        Args:
          variables: from `init`.
          images: `[n, height, width, channel]`, uint8 or in [0, 1].
          weight: `[n]`, 0 where an image does not count in the batch's statistics.
          train: use and update the statistics of the batch.

        Returns:
          `(q [n, n_paths, channels], batch_stats)`.
        """
        params = variables["params"]
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
        q = finola.normalize(q.reshape(-1, self.n_paths, self.channels))
        return q * params["gain"][None, :, None], batch_stats

    def grow(self, params: Any, q: jax.Array, frame_shape: Sequence[int]) -> jax.Array:
        """The maps `[n, height, width, channels]` that the codes `[n, n_paths, channels]` grow into, paths summed."""
        generator, (height, width) = params["generator"], self.grid(frame_shape)
        if self.generator in ("finola", "linear"):
            return finola.multipath(
                self.matrices(params),
                q,
                height,
                width,
                order=self.order,
                normalized=self.generator == "finola",
                rematerialise=self.rematerialise,
            )
        if self.generator == "repeat":
            q = q + jnp.matmul(jax.nn.relu(jnp.matmul(q, generator["in"])), generator["out"])
            return finola.repeat(q, height, width) + generator["place"][None]
        z = jnp.matmul(q.reshape(len(q), -1), generator["kernel"]) + generator["bias"][None]
        return z.reshape(len(q), -(-height // 2), -(-width // 2), -1)

    def draw(self, params: Any, z: jax.Array, frame_shape: Sequence[int]) -> jax.Array:
        """The images of maps, about in [0, 1]."""
        image: Any = self._decoder(frame_shape).apply({"params": params["decoder"]}, z)
        image = image + 0.5
        return image[:, : frame_shape[0], : frame_shape[1]]

    def decode(self, params: Any, q: jax.Array, frame_shape: Sequence[int]) -> jax.Array:
        """Images `[n, height, width, channel]`, about in [0, 1], of the codes `[n, n_paths, channels]`."""
        return self.draw(params, self.grow(params, q, frame_shape), frame_shape)

    def matrices(self, params: Any) -> finola.FinolaParams:
        """The parameters of the autoregression, as `sfa_jax.finola` takes them."""
        return finola.FinolaParams(**params["generator"], directions=self.directions)

    def grid(self, frame_shape: Sequence[int]) -> tuple[int, int]:
        """Rows and columns of the map.

        Raises:
          ValueError: the map's size does not divide the image's.
        """
        height, width = frame_shape[:2]
        factor = min(height, width) // self.map_size
        if factor < 1 or height % factor or width % factor or min(height, width) % self.map_size:
            raise ValueError(
                f"map_size: expected a divisor of the image's sides, {height} x {width} pixels, got {self.map_size}"
            )
        return height // factor, width // factor

    @property
    def _attention(self) -> AttentionPool:
        if self.pooling == "attention":
            return AttentionPool(self.n_paths, self.channels)
        return AttentionPool(1, self.code_size)

    def _decoder(self, frame_shape: Sequence[int]) -> UpsamplingDecoder:
        factor = frame_shape[0] // self.grid(frame_shape)[0]
        return UpsamplingDecoder(
            factor=2 * factor if self.generator == "dense" else factor,
            image_channels=frame_shape[2],
            hidden=self.hidden,
            blocks=self.blocks,
            hidden_pixels=self.hidden_pixels,
        )

    def _init_pool(self, key: jax.Array, features: jax.Array) -> dict[str, jax.Array]:
        if self.pooling != "flatten":
            return self._attention.init(key, features)["params"]
        kernel = jax.nn.initializers.lecun_normal()(key, (features[0].size, self.code_size))
        return {"kernel": kernel, "bias": jnp.zeros(self.code_size)}

    def _init_generator(self, key: jax.Array, grid: tuple[int, int]) -> dict[str, jax.Array]:
        init = jax.nn.initializers.lecun_normal()
        if self.generator in ("finola", "linear"):
            drawn = finola.init_params(
                key, self.channels, directions=self.directions, speeds=self.speeds, scale=self.scale
            )
            named = {name: getattr(drawn, name) for name in ("a", "b", "a_minus", "b_minus", "basis")}
            return {name: value for name, value in named.items() if value is not None}
        if self.generator == "repeat":
            # As many weights as four matrices have.
            place_key, in_key, out_key = jax.random.split(key, 3)
            hidden = max(1, 2 * self.channels - grid[0] * grid[1] // 2)
            return {
                "place": jax.random.normal(place_key, (*grid, self.channels)),
                "in": init(in_key, (self.channels, hidden)),
                "out": init(out_key, (hidden, self.channels)),
            }
        cells = -(-grid[0] // 2) * -(-grid[1] // 2)
        kernel = init(key, (self.code_size, cells * self.dense_channels))
        return {"kernel": kernel, "bias": jnp.zeros(cells * self.dense_channels)}


def as_float(images: jax.Array) -> jax.Array:
    """Images in [0, 1], of uint8 or such."""
    return images.astype(jnp.float32) / 255 if images.dtype == jnp.uint8 else images
