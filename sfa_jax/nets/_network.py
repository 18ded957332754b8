"""The network of neural slow feature analysis: the encoder on all frames at once, then the head along time."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp

from sfa_jax.nets._dense import Dense
from sfa_jax.nets._encoder import ConvEncoder, Pool
from sfa_jax.nets._recurrent import HeadParams, driven_scan, init_head, recurrent_scan

Recurrence = Literal["full", "detached", "none"]
RECURRENCES = ("full", "detached", "none")
Variables = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class SlowNetwork:
    """Clips to embeddings; holds sizes only, the parameters are passed in.

    Attributes:
      dim: size of the embedding y.
      channels, pool: of the `ConvEncoder`.
      hidden: units of the head's hidden layer.
      recurrence: "full" feeds y_{t-1} back and trains through it, "detached" cuts its gradient, "none" leaves it out.
      remat_frames: in training, frames (of all clips together) taken at once, whose activations are taken again for the
        gradient instead of kept: for long clips. The same result from less memory in more time; frames have no
        gradient. Best a divisor of the frames of a batch, and on several devices a multiple of their number, so that
        frames stay where they are. 0 takes all at once and keeps them.
    """

    dim: int = 32
    channels: Sequence[int] = (32, 64, 128)
    pool: Pool = "mean"
    hidden: int = 256
    recurrence: Recurrence = "full"
    remat_frames: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))  # hashable, whatever was given
        if self.recurrence not in RECURRENCES:
            raise ValueError(f"recurrence: expected one of {RECURRENCES}, got {self.recurrence!r}")
        if self.remat_frames < 0:
            raise ValueError(f"remat_frames: expected at least 0 frames, got {self.remat_frames}")

    @property
    def encoder(self) -> ConvEncoder:
        return ConvEncoder(channels=self.channels, pool=self.pool, remat_frames=self.remat_frames)

    def init(self, key: jax.Array, frame_shape: Sequence[int]) -> Variables:
        """`{"params": {"encoder", "head"}, "batch_stats"}` for frames of shape `(height, width, channel)`."""
        encoder_key, head_key = jax.random.split(key)
        h, encoder = self.encoder.init_with_output(encoder_key, jnp.zeros((1, *frame_shape)))
        head = init_head(head_key, h.shape[-1], self.dim, hidden=self.hidden, memory=self.recurrence != "none")
        return {"params": {"encoder": encoder["params"], "head": head}, "batch_stats": encoder["batch_stats"]}

    def init_carry(self, batch: int) -> jax.Array:
        """y before the first frame of a run, `[batch, dim]`."""
        return jnp.zeros((batch, self.dim))

    def encode(
        self,
        variables: Variables,
        frames: jax.Array,
        valid: jax.Array | None = None,
        *,
        project: Dense | None = None,
        train: bool = False,
    ) -> tuple[jax.Array, Variables]:
        """h `[..., n_features]` of frames `[..., height, width, channel]`, and the (new) batch statistics.

        Frames with `valid` `[...]` 0 do not count in the statistics of the batch, and may hold NaN. A dense layer
        `project` is applied to h as `ConvEncoder` does.
        """
        leading = frames.shape[:-3]
        flat = frames.reshape(-1, *frames.shape[-3:])
        weight = None if valid is None else valid.reshape(-1).astype(bool).astype(jnp.float32)
        collections = {"params": variables["params"]["encoder"], "batch_stats": variables["batch_stats"]}
        if not train:
            h: Any = self.encoder.apply(collections, flat, weight, project)
            return h.reshape(*leading, -1), variables["batch_stats"]
        h, updated = self.encoder.apply(collections, flat, weight, project, train=True, mutable=["batch_stats"])
        return h.reshape(*leading, -1), updated["batch_stats"]

    def apply(
        self,
        variables: Variables,
        frames: jax.Array,
        y_init: jax.Array,
        *,
        valid: jax.Array | None = None,
        reset: jax.Array | None = None,
        train: bool = False,
    ) -> tuple[jax.Array, jax.Array, Variables]:
        """Embeds clips.

        Args:
          variables: from `init`.
          frames: `[batch, time, height, width, channel]`, uint8, or floating in [0, 1].
          y_init: `[batch, dim]`, from `init_carry` or the clips before.
          valid: `[batch, time]`, 0 where a frame is padding.
          reset: `[batch, time]`, non-zero where a frame starts a run.
          train: use and update the statistics of the batch.

        Returns:
          `(y [batch, time, dim], y_last [batch, dim], batch_stats)`.
        """
        if train and self.remat_frames:
            head = variables["params"]["head"]
            drive, batch_stats = self.encode(variables, frames, valid, project=head["hidden"], train=True)
            detach = self.recurrence == "detached"
            y, y_last = driven_scan(head, y_init, drive, reset=reset, detach=detach, remat_frames=self.remat_frames)
            return y, y_last, batch_stats
        h, batch_stats = self.encode(variables, frames, valid, train=train)
        return *self.embed(variables["params"]["head"], h, y_init, reset=reset), batch_stats

    def embed(
        self, head: HeadParams, h: jax.Array, y_init: jax.Array, *, reset: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """`(y [batch, time, dim], y_last [batch, dim])` of encodings `[batch, time, n_features]`."""
        return recurrent_scan(head, y_init, h, reset=reset, detach=self.recurrence == "detached")
