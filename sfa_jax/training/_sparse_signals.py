"""From frames to the signals that are sparsely coded: patches of images, whole frames, or pixels over time."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from sfa_jax import sparse
from sfa_jax._errors import InputError
from sfa_jax.autoencoders import as_float

KINDS = ("patches", "frames", "windows")
_PIXELS = 64  # of a frame, whose windows its code is made of


class Signals:
    """What of a frame, or of a clip, is one signal; all of it jax, of fixed shapes.

    Args:
      options: `config.signals`.
      frame_shape: `(height, width, channel)`.
      clip_length: frames of a clip, the length of a window.

    Attributes:
      shape: of a signal: `(height, width, channel)`, or `(time,)` of a window.
      size: numbers of a signal.
      kind: one of `KINDS`.

    Raises:
      InputError: the kind is unknown, a patch does not fit, or windows are of colours.
    """

    def __init__(self, options: Any, frame_shape: tuple[int, ...], clip_length: int):
        self._options, self._frame_shape, self._clip_length = options, tuple(frame_shape), clip_length
        self.kind = options.kind
        if self.kind not in KINDS:
            raise InputError(f"signals.kind: expected one of {KINDS}, got {self.kind!r}")
        height, width, channel = self._frame_shape
        if self.kind == "patches":
            if options.size < 4:
                raise InputError(f"signals.size: expected at least 4 pixels, for a Gabor function, got {options.size}")
            if options.size > min(height, width):
                raise InputError(
                    f"signals.size: expected at most the shorter side of a frame, {min(height, width)} pixels, got "
                    f"{options.size}; lower it or raise data.image_size"
                )
            self.shape: tuple[int, ...] = (options.size, options.size, channel)
        elif self.kind == "frames":
            self.shape = self._frame_shape
        else:
            if channel != 1:
                raise InputError(
                    f"signals.kind=windows: expected frames of one channel, got {channel}; set data.greyscale=True"
                )
            self.shape = (clip_length,)
        self.size = math.prod(self.shape)

    def draw(self, key: jax.Array, frames: jax.Array, valid: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Signals of a batch of clips, drawn at random where there are more than are asked for.

        Args:
          key: of the draw.
          frames: `[batch, time, height, width, channel]` uint8.
          valid: `[batch, time]` bool.

        Returns:
          Signals `[n, size]`, and what each counts `[n]`: 0 where a frame of it is padding.
        """
        batch, time = frames.shape[:2]
        images = self._prepare(frames.reshape(batch * time, *self._frame_shape))
        number = self._options.number
        if self.kind == "frames":
            return self._signals(images), valid.reshape(-1).astype(jnp.float32)
        if self.kind == "patches":
            keys = jax.random.split(key, batch * time)
            cut = jax.vmap(lambda key, image: sparse.random_patches(key, image[None], number, size=self._options.size))
            weight = jnp.repeat(valid.reshape(-1), number).astype(jnp.float32)
            return self._signals(cut(keys, images).reshape(-1, *self.shape)), weight
        n_pixels = self._frame_shape[0] * self._frame_shape[1]
        traces = images.reshape(batch, time, n_pixels)
        pixels = jax.random.randint(key, (batch, number), 0, n_pixels)
        chosen = jnp.take_along_axis(traces, pixels[:, None], axis=2)
        windows = jnp.moveaxis(chosen, 2, 1).reshape(batch * number, time)
        return self._signals(windows), jnp.repeat(valid.all(axis=1), number).astype(jnp.float32)

    def of_frames(self, frames: jax.Array) -> jax.Array:
        """All signals of each frame that its code is made of.

        Args:
          frames: of "patches" and "frames" `[n, height, width, channel]`, uint8 or in [0, 1]; of "windows" `[n + time -
            1, ...]`: those of the first frame begin with the first row.

        Returns:
          `[n, m, size]`: patches side by side, the frame itself (m = 1), or windows that end at the frame, of pixels
          spread evenly over it.
        """
        images = self._prepare(frames)
        if self.kind == "frames":
            return self._signals(images)[:, None]
        if self.kind == "patches":
            tiles = sparse.tile_patches(images, size=self._options.size)
            return self._signals(tiles.reshape(-1, *self.shape)).reshape(len(frames), -1, self.size)
        n = len(frames) - self._clip_length + 1
        traces = images.reshape(len(frames), -1)
        step = max(1, traces.shape[1] // _PIXELS)
        traces = traces[:, step // 2 :: step][:, :_PIXELS]
        rows = jnp.arange(n)[:, None] + jnp.arange(self._clip_length)[None]
        windows = jnp.moveaxis(traces[rows], 2, 1)
        return self._signals(windows.reshape(-1, self._clip_length)).reshape(n, -1, self._clip_length)

    def _prepare(self, frames: jax.Array) -> jax.Array:
        images = as_float(frames)
        if self._options.log_intensity:
            images = sparse.log_intensity(images)
        if self._options.whiten:
            images = sparse.whiten_images(images, cutoff=self._options.cutoff)
        return images

    def _signals(self, x: jax.Array) -> jax.Array:
        """Each flat, its mean taken away and its contrast evened out as the options say."""
        x = x.reshape(len(x), self.size)
        if self._options.centre:
            x = x - jnp.mean(x, axis=1, keepdims=True)
        floor = self._options.contrast_floor
        if floor:
            x = x / jnp.sqrt(jnp.mean(jnp.square(x), axis=1, keepdims=True) + floor**2)
        return x
