"""FINOLA as a decoder: a map grows from the vectors of a code, and becomes the pixels of an image."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from sfa_jax import finola
from sfa_jax.autoencoders._wave_start import fit_waves, lattice, layout, wave_start
from sfa_jax.nets import UpsamplingDecoder

Generator = Literal["finola", "linear", "repeat", "dense"]
GENERATORS = ("finola", "linear", "repeat", "dense")
Start = Literal["fitted_waves", "waves", "random"]
STARTS = ("fitted_waves", "waves", "random")
Params = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class FinolaDecoder:
    """Codes to images; holds sizes only, the parameters are passed in.

    Attributes:
      n_paths, channels: M and C; the code has M C numbers.
      map_size: cells along the shorter side of the map; cells are squares of pixels, which must fill the image.
      generator: "finola"; or for comparison "linear" (no norm, z + A z), "repeat" (the code at every place, beside a
        learned vector of each place), "dense" (a dense layer to a map of a quarter of the cells, convolved up: a plain
        convolutional decoder). `dense_channels` sets its size.
      order, directions, speeds: of `finola.autoregress` and `finola.init_params`.
      scale: of the first matrices, where they are random.
      hidden, blocks, hidden_pixels: of the `UpsamplingDecoder`.
      rematerialise: as in `finola.autoregress`.
      start: "waves": the matrices begin as plane waves of the lowest frequencies, and the linear part of the decoder as
        what draws them; "fitted_waves": the same of waves that are first fitted to images; "random".
    """

    n_paths: int = 1
    channels: int = 256
    map_size: int = 16
    generator: Generator = "finola"
    order: finola.Order = "average"
    directions: finola.Directions = "separate"
    speeds: finola.Speeds = "free"
    scale: float = 0.2
    hidden: int = 64
    blocks: int = 1
    hidden_pixels: int = 12
    dense_channels: int = 64
    rematerialise: bool = False
    start: Start = "waves"

    def __post_init__(self) -> None:
        choices = {
            "generator": GENERATORS,
            "order": finola.ORDERS,
            "directions": finola.DIRECTIONS,
            "speeds": finola.SPEEDS,
            "start": STARTS,
        }
        check_choices(self, choices)
        least = 2 if self.start == "random" else 4
        ones = dict.fromkeys(("n_paths", "map_size", "hidden", "hidden_pixels", "dense_channels"), 1)
        check_sizes(self, ones | {"channels": least, "blocks": 0})
        if self.start == "random":
            return
        if self.generator not in ("finola", "linear") or self.speeds != "free":
            raise ValueError(
                f"start: {self.start!r} is for free matrices with the generator 'finola' or 'linear'; take 'random'"
            )
        if self.directions != "separate":
            raise ValueError("start: plane waves turn back in the backward directions; take directions 'separate'")
        if self.generator == "linear" and self.n_paths > 1:
            raise ValueError(
                "start: without the norm all paths would have the same plane waves; take one path, or 'random'"
            )

    @property
    def code_size(self) -> int:
        """Numbers of the code."""
        return self.n_paths * self.channels

    @property
    def code_shape(self) -> tuple[int, int]:
        """Of a code, as `decode` takes it."""
        return self.n_paths, self.channels

    def init_decoder(
        self, key: jax.Array, frame_shape: Sequence[int], images: np.ndarray | None = None
    ) -> tuple[Params, dict[str, jax.Array] | None]:
        """Parameters for images of shape `(height, width, channel)`.

        Args:
          key: random key.
          frame_shape: of the images.
          images: uint8 `[n, height, width, channel]`, that waves are fitted to; not used by other starts.

        Returns:
          `{"generator", "decoder", "gain"}`, and where these begin as waves, the linear map onto them: `kernel
          [n_pixels, code_size]` and `bias [code_size]`, from pixels about grey to codes before they are normalised.

        Raises:
          ValueError: cells do not fill the image, waves are to be fitted to no images, or start in other colours than
            grey or red, green and blue.
        """
        if self.start == "fitted_waves" and images is None:
            raise ValueError("images: start 'fitted_waves' fits waves to images; give some, or take the start 'waves'")
        generator_key, decoder_key = jax.random.split(key)
        generator = self._init_generator(generator_key, self.grid(frame_shape))
        q = jnp.zeros((1, self.n_paths, self.channels))
        z = jax.eval_shape(lambda q: self.grow({"generator": generator}, q, frame_shape), q)
        decoder = self._to_pixels(frame_shape).init(decoder_key, jnp.zeros(z.shape))["params"]
        params = {"generator": generator, "decoder": decoder, "gain": jnp.ones(self.n_paths)}
        if self.start == "random":
            return params, None
        sizes = layout(self.n_paths, self.grid(frame_shape), tuple(frame_shape))
        with jax.ensure_compile_time_eval():  # numbers, also where a caller jits this
            waves = lattice((self.channels - 2) // 2, sizes)
            if self.start == "fitted_waves" and images is not None:
                waves = fit_waves(waves, images, sizes)
            begin = wave_start(waves, self.channels, sizes, images if self.start == "fitted_waves" else None)
        params["generator"] = {name: begin.decoder["generator"][name] for name in generator}
        params["decoder"] = decoder | {"linear_kernel": begin.decoder["linear_kernel"]}
        return params | {"gain": begin.decoder["gain"]}, begin.projection

    def lengthen(self, params: Params, q: jax.Array) -> jax.Array:
        """Vectors `[n, n_paths, channels]` normalised, and then as long as the learned gains of their paths."""
        return finola.normalize(q) * params["gain"][None, :, None]

    def grow(self, params: Params, q: jax.Array, frame_shape: Sequence[int]) -> jax.Array:
        """The maps `[n, height, width, channels]` that the codes `[n, n_paths, channels]` grow into, paths summed.

        Raises:
          ValueError: the codes have another shape, or cells do not fill the image.
        """
        if q.ndim != 3 or q.shape[1:] != (self.n_paths, self.channels):
            raise ValueError(f"q: expected shape [n, {self.n_paths}, {self.channels}], got {q.shape}")
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

    def draw(self, params: Params, z: jax.Array, frame_shape: Sequence[int]) -> jax.Array:
        """The images of maps, about in [0, 1]."""
        image: Any = self._to_pixels(frame_shape).apply({"params": params["decoder"]}, z)
        image = image + 0.5
        return image[:, : frame_shape[0], : frame_shape[1]]

    def decode(self, params: Params, q: jax.Array, frame_shape: Sequence[int]) -> jax.Array:
        """Images `[n, height, width, channel]`, about in [0, 1], of the codes `[n, n_paths, channels]`."""
        return self.draw(params, self.grow(params, q, frame_shape), frame_shape)

    def matrices(self, params: Params) -> finola.FinolaParams:
        """The parameters of the autoregression, as `sfa_jax.finola` takes them."""
        return finola.FinolaParams(**params["generator"], directions=self.directions)

    def grid(self, frame_shape: Sequence[int]) -> tuple[int, int]:
        """Rows and columns of the map.

        Raises:
          ValueError: cells do not fill the image, or its shape is no image's.
        """
        if len(frame_shape) != 3:
            raise ValueError(f"frame_shape: expected (height, width, channel), got {tuple(frame_shape)}")
        height, width, _ = frame_shape
        shorter = min(height, width)
        fitting = [shorter // pixels for pixels in range(shorter, 0, -1) if height % pixels == width % pixels == 0]
        if self.map_size not in fitting:
            raise ValueError(
                f"map_size: expected a number of square cells that fill {height} x {width} pixels, which are "
                f"{', '.join(map(str, fitting))} along the shorter side, got {self.map_size}"
            )
        pixels = shorter // self.map_size
        return height // pixels, width // pixels

    def _to_pixels(self, frame_shape: Sequence[int]) -> UpsamplingDecoder:
        factor = frame_shape[0] // self.grid(frame_shape)[0]
        return UpsamplingDecoder(
            factor=2 * factor if self.generator == "dense" else factor,
            image_channels=frame_shape[2],
            hidden=self.hidden,
            blocks=self.blocks,
            hidden_pixels=self.hidden_pixels,
        )

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


def check_sizes(config: Any, least: Mapping[str, int]) -> None:
    """Raises on the first field that is below the least it may be.

    Raises:
      ValueError: names the field, what was expected and what came.
    """
    for name, value in least.items():
        if getattr(config, name) < value:
            raise ValueError(f"{name}: expected at least {value}, got {getattr(config, name)}")


def check_choices(config: Any, choices: Mapping[str, Sequence[str]]) -> None:
    """Raises on the first field whose value is none of its choices.

    Raises:
      ValueError: names the field, its choices and what came.
    """
    for name, allowed in choices.items():
        if getattr(config, name) not in allowed:
            raise ValueError(f"{name}: expected one of {allowed}, got {getattr(config, name)!r}")
