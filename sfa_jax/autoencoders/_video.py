"""A recurrent autoencoder of video: one code a frame, which remembers, and frames drawn one after the other."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sfa_jax.autoencoders._finola_decoder import check_choices, check_sizes
from sfa_jax.autoencoders._image_autoencoder import as_float
from sfa_jax.nets import (
    CELLS,
    cell_scan,
    cell_step,
    conv2d,
    conv_transpose2d,
    init_cell,
    init_cell_carry,
    pool2d,
    transposed_init,
)

_BODIES = ("dense", "convolutional")
_LOOK = 8  # pixels a side that the drawn frame is averaged to before a convolutional decoder sees it again

Variables = dict[str, Any]


class VideoCarry(NamedTuple):
    """What is carried from frame to frame.

    Attributes:
      encoder, decoder: of the cells, `[batch, ...]`.
      drawn: the last frame drawn, `[batch, height, width, channel]` in [0, 1]; zeros at the start.
    """

    encoder: jax.Array
    decoder: jax.Array
    drawn: jax.Array


@dataclasses.dataclass(frozen=True)
class VideoAutoencoder:
    """Clips to codes and back; holds sizes only, the parameters are passed in.

    h_t = f(x_t, h_{t-1}),  x^_t = g(h_t, x^_{t-1})

    With `cell="plain"` and `body="dense"` these are h_t = s(W_1 x_t + U_1 h_{t-1} + b_1) and
    x^_t = s(W_2 h_t + U_2 x^_{t-1} + b_2); U_2 has a weight for every two numbers of a frame, so frames must be small.
    Otherwise the decoder's cell sees h_t and the frame before, and the frame is drawn from its output beside h_t. With
    `body="convolutional"` f sees what convolutions make of the frame, and transposed convolutions draw. After the last
    frame codes go on by themselves, h_{t+1} = h_t + m(h_t, h_t - h_{t-1}), m a multilayer perceptron, and are drawn as
    before.

    Attributes:
      code_size: numbers of a code.
      cell: "plain" or "lstm", of encoder and decoder.
      body: "dense" or "convolutional".
      channels: of the convolutional blocks, each of which halves the frame; with them the decoder sees the frame before
        averaged to 8x8 pixels, so that frames are multiples of 8.
      hidden: units of the decoder's cell (not of the plain dense one, whose units are the frame's numbers), and of m.
    """

    code_size: int = 32
    cell: Literal["plain", "lstm"] = "lstm"
    body: Literal["dense", "convolutional"] = "convolutional"
    channels: Sequence[int] = (16, 32, 32)
    hidden: int = 256

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))
        check_choices(self, {"cell": CELLS, "body": _BODIES})
        check_sizes(self, {"code_size": 1, "hidden": 1})
        if not self.channels or min(self.channels) < 1:
            raise ValueError(f"channels: expected one or more sizes of at least 1, got {self.channels}")

    @property
    def _draws_itself(self) -> bool:
        """Whether the decoder's state is the frame."""
        return self.cell == "plain" and self.body == "dense"

    def check(self, frame_shape: Sequence[int]) -> None:
        """Raises on frames that the network does not take.

        Raises:
          ValueError: blocks cannot halve them.
        """
        if len(frame_shape) != 3:
            raise ValueError(f"frame_shape: expected (height, width, channel), got {tuple(frame_shape)}")
        factor = 2 ** len(self.channels)
        sides = frame_shape[:2]
        if self.body == "convolutional" and (
            any(side % factor for side in sides) or any(side % _LOOK for side in sides)
        ):
            raise ValueError(
                f"channels: expected frames of multiples of {max(factor, _LOOK)} pixels for {len(self.channels)} "
                f"blocks, got {sides[0]} x {sides[1]}; take fewer blocks or another image size"
            )

    def init(self, key: jax.Array, frame_shape: Sequence[int]) -> Variables:
        """`{"params": {...}, "batch_stats": {}}` for frames of shape `(height, width, channel)`.

        Raises:
          ValueError: blocks cannot halve the frames.
        """
        self.check(frame_shape)
        keys = iter(jax.random.split(key, 5 + 2 * len(self.channels)))
        height, width, image_channels = frame_shape
        n_pixels, n = int(np.prod(frame_shape)), len(self.channels)
        he, lecun = jax.nn.initializers.he_normal(), jax.nn.initializers.lecun_normal()
        params: dict[str, Any] = {}
        n_features, n_seen = n_pixels, n_pixels
        if self.body == "convolutional":
            widths = (image_channels, *self.channels)
            params["blocks"] = {f"{k}": _layer(he(next(keys), (3, 3, widths[k], widths[k + 1]))) for k in range(n)}
            factor = 2**n
            n_features = height // factor * (width // factor) * self.channels[-1]
            n_seen = _LOOK**2 * image_channels
            params["map"] = _layer(he(next(keys), (self.hidden + self.code_size, n_features)))
            outputs = (*reversed(self.channels), image_channels)
            params["ups"] = {
                f"{k}": _layer(transposed_init(relu=k + 1 < n)(next(keys), (4, 4, outputs[k], outputs[k + 1])))
                for k in range(n)
            }
        elif not self._draws_itself:
            params["pixels"] = _layer(lecun(next(keys), (self.hidden + self.code_size, n_pixels)))
        units = n_pixels if self._draws_itself else self.hidden
        params["encoder"] = init_cell(next(keys), n_features, self.code_size, kind=self.cell)
        inputs = self.code_size if self._draws_itself else self.code_size + n_seen
        params["decoder"] = init_cell(next(keys), inputs, units, kind=self.cell)
        params["advance"] = {
            "hidden": _layer(he(next(keys), (2 * self.code_size, self.hidden))),
            "output": _layer(jnp.zeros((self.hidden, self.code_size))),  # codes stay where they are, at first
        }
        return {"params": params, "batch_stats": {}}

    def init_carry(self, params: Any, batch: int, frame_shape: Sequence[int]) -> VideoCarry:
        """What is carried before the first frame."""
        encoder, decoder = (init_cell_carry(params[name], batch, kind=self.cell) for name in ("encoder", "decoder"))
        return VideoCarry(encoder, decoder, jnp.zeros((batch, *frame_shape), decoder.dtype))

    def encode(
        self, params: Any, frames: jax.Array, carry: VideoCarry, *, reset: jax.Array | None = None
    ) -> tuple[jax.Array, VideoCarry]:
        """Codes of clips.

        Args:
          params: from `init`.
          frames: `[batch, time, height, width, channel]`, uint8 or in [0, 1].
          carry: before the first frame.
          reset: `[batch, time]`, true where a frame starts a run.

        Returns:
          `(h [batch, time, code_size], carry)`.
        """
        x = as_float(frames)
        batch, time = x.shape[:2]
        features = self._features(params, x.reshape(batch * time, *x.shape[2:]))
        last, h = cell_scan(
            params["encoder"], carry.encoder, features.reshape(batch, time, -1), kind=self.cell, reset=reset
        )
        return h, carry._replace(encoder=last)

    def decode(
        self,
        params: Any,
        h: jax.Array,
        carry: VideoCarry,
        *,
        teacher: jax.Array | None = None,
        reset: jax.Array | None = None,
    ) -> tuple[jax.Array, VideoCarry]:
        """Frames of codes.

        Args:
          params: from `init`.
          h: `[batch, time, code_size]`.
          carry: before the first frame.
          teacher: true frames `[batch, time, height, width, channel]`, uint8 or in [0, 1]: each frame is drawn beside
            the true one before it (teacher forcing); None: beside the one drawn before it.
          reset: as in `encode`.

        Returns:
          `(frames [batch, time, height, width, channel] in [0, 1], carry)`.

        Raises:
          ValueError: `teacher` or `reset` is not of the batch and time of h.
        """
        batch, time = h.shape[:2]
        frame_shape = carry.drawn.shape[1:]
        if reset is not None and reset.shape != (batch, time):
            raise ValueError(f"reset: expected shape {(batch, time)}, one entry a frame, got {reset.shape}")
        if teacher is not None:
            if teacher.shape != (batch, time, *frame_shape):
                raise ValueError(f"teacher: expected shape {(batch, time, *frame_shape)}, got {teacher.shape}")
            teacher = as_float(teacher).astype(carry.drawn.dtype)
        keep = jnp.ones((batch, time), bool) if reset is None else ~reset.astype(bool)

        def step(state: tuple[jax.Array, jax.Array], now: tuple[Any, ...]) -> tuple[Any, jax.Array]:
            cell, drawn = (jnp.where(now[1].reshape(-1, *[1] * (x.ndim - 1)), x, 0) for x in state)
            if self._draws_itself:
                cell, flat = cell_step(params["decoder"], drawn.reshape(batch, -1), now[0], kind="plain")
                drawn = flat.reshape(drawn.shape)
            else:
                inputs = jnp.concatenate([now[0], self._look(drawn)], axis=1)
                cell, u = cell_step(params["decoder"], cell, inputs, kind=self.cell)
                drawn = self._draw(params, jnp.concatenate([u, now[0]], axis=1), drawn.shape[1:])
            return (cell, drawn if teacher is None else now[2]), drawn

        moved = [jnp.moveaxis(x, 1, 0) for x in (h, keep, *(() if teacher is None else (teacher,)))]
        (cell, drawn), frames = jax.lax.scan(step, (carry.decoder, carry.drawn), tuple(moved))
        return jnp.moveaxis(frames, 0, 1), carry._replace(decoder=cell, drawn=drawn)

    def advance(self, params: Any, h_tm1: jax.Array, h_t: jax.Array, n_steps: int) -> jax.Array:
        """Codes after the last one, `[batch, n_steps, code_size]`, of the last two, `[batch, code_size]` each."""
        layers = params["advance"]

        def step(codes: tuple[jax.Array, jax.Array], _: None) -> tuple[Any, jax.Array]:
            before, now = codes
            hidden = jax.nn.relu(_affine(layers["hidden"], jnp.concatenate([now, now - before], axis=1)))
            after = now + _affine(layers["output"], hidden)
            return (now, after), after

        _, h = jax.lax.scan(step, (h_tm1, h_t), None, length=n_steps)
        return jnp.moveaxis(h, 0, 1)

    def go_on(self, params: Any, frames: jax.Array, n_steps: int) -> jax.Array:
        """Continues clips after their last frames.

        Args:
          params: from `init`.
          frames: `[batch, time, height, width, channel]`, time at least 2, uint8 or in [0, 1].
          n_steps: frames to draw.

        Returns:
          `[batch, n_steps, height, width, channel]` in [0, 1].

        Raises:
          ValueError: there are fewer than two frames.
        """
        if frames.ndim != 5 or frames.shape[1] < 2:
            raise ValueError(f"frames: expected [batch, time, height, width, channel], time >= 2, got {frames.shape}")
        h, carry = self.encode(params, frames, self.init_carry(params, len(frames), frames.shape[2:]))
        _, carry = self.decode(params, h, carry)
        return self.decode(params, self.advance(params, h[:, -2], h[:, -1], n_steps), carry)[0]

    def _features(self, params: Any, x: jax.Array) -> jax.Array:
        if self.body == "convolutional":
            x = 2 * x - 1
            for k in range(len(self.channels)):
                block = params["blocks"][f"{k}"]
                x = pool2d(jax.nn.relu(conv2d(x, block["kernel"], stride=1) + block["bias"][None, None, None]))
        return x.reshape(len(x), -1)

    def _look(self, drawn: jax.Array) -> jax.Array:
        """What the decoder sees of the frame before."""
        if self.body == "convolutional":
            n, height, width, channel = drawn.shape
            squares = drawn.reshape(n, _LOOK, height // _LOOK, _LOOK, width // _LOOK, channel)
            drawn = jnp.mean(squares, axis=(2, 4))
        return drawn.reshape(len(drawn), -1) - 0.5

    def _draw(self, params: Any, u: jax.Array, frame_shape: Sequence[int]) -> jax.Array:
        if self.body == "dense":
            return jax.nn.sigmoid(_affine(params["pixels"], u)).reshape(-1, *frame_shape)
        factor = 2 ** len(self.channels)
        x = jax.nn.relu(_affine(params["map"], u))
        x = x.reshape(len(u), frame_shape[0] // factor, frame_shape[1] // factor, self.channels[-1])
        for k in range(len(self.channels)):
            layer = params["ups"][f"{k}"]
            x = conv_transpose2d(x, layer["kernel"]) + layer["bias"][None, None, None]
            x = jax.nn.relu(x) if k + 1 < len(self.channels) else jax.nn.sigmoid(x)
        return x


def _layer(kernel: jax.Array) -> dict[str, jax.Array]:
    return {"kernel": kernel, "bias": jnp.zeros(kernel.shape[-1])}


def _affine(layer: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    return jnp.matmul(x, layer["kernel"]) + layer["bias"][None]
