"""The convolutional encoder: frames to feature vectors, every frame by itself."""

from collections.abc import Sequence
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from sfa_jax.nets._conv import ConvBlock, conv_affine_relu, conv_norm_relu_stack
from sfa_jax.nets._dense import Dense, dense
from sfa_jax.nets._normalise import without_nan
from sfa_jax.nets._remat import rematerialised_stack

Pool = Literal["mean", "flatten", "spatial_softmax"]
POOLS = ("mean", "flatten", "spatial_softmax")


class ConvEncoder(nn.Module):
    """Blocks of [convolution 3x3, stride 2 -> batch normalisation -> ReLU], and a pooling to one vector.

    Attributes:
      channels: output channels of each block.
      pool: "mean" averages over all positions and forgets where things are (`channels[-1]` features); "flatten" keeps
        every position; "spatial_softmax" gives the expected row and column of each channel (`2 channels[-1]`); None
        gives the map as it is.
      momentum: share of the old value in the running statistics.
      epsilon: added to the variances.
      remat_frames: in training, frames encoded at once, whose activations are taken again for the gradient instead of
        kept; 0 encodes all at once and keeps them. The same result from less memory in more time; frames have no
        gradient.

    References:
      noskill/sfa-gen, README, "Encoder Architecture"; Levine et al., JMLR 2016 for the spatial softmax.
    """

    channels: Sequence[int] = (32, 64, 128)
    pool: Pool | None = "mean"
    momentum: float = 0.9
    epsilon: float = 1e-5
    remat_frames: int = 0

    @nn.compact
    def __call__(
        self,
        frames: jax.Array,
        weight: jax.Array | None = None,
        project: Dense | None = None,
        *,
        train: bool = False,
    ) -> jax.Array:
        """Encodes frames.

        Args:
          frames: `[n, height, width, channel]`, uint8, or floating in [0, 1].
          weight: `[n]`, 0 where a frame does not count in the batch statistics, and may hold NaN, which is taken as
            0; all count if None.
          project: a dense layer that h goes through, `{"kernel" [n_features, k], "bias" [k]}`: rematerialised with the
            rest, it spares h. None gives h.
          train: normalise with the statistics of the batch and update the running ones; else use the running ones.

        Returns:
          h, `[n, n_features]`, or without pooling `[n, height', width', channels[-1]]`; its projection `[..., k]`.
        """
        blocks, running = [], []
        c_in = frames.shape[-1]
        for number, features in enumerate(self.channels):
            block, moments = _BlockParameters(c_in, features, name=f"block_{number}")()
            blocks.append(block)
            running.append(moments)
            c_in = features
        x = without_nan(as_images(frames), weight)
        if not train:
            for block, (mean, var) in zip(blocks, running, strict=True):
                x = conv_affine_relu(x, *block, mean.value, var.value, epsilon=self.epsilon)
            return self._read(x, project)
        if self.remat_frames:
            h, found = rematerialised_stack(
                x, blocks, self._read, project, n_frames=self.remat_frames, weight=weight, epsilon=self.epsilon
            )
        else:
            x, found = conv_norm_relu_stack(x, blocks, weight=weight, epsilon=self.epsilon)
            h = self._read(x, project)
        for kept, new in zip(running, found, strict=True):
            for variable, value in zip(kept, new, strict=True):
                variable.value = self.momentum * variable.value + (1 - self.momentum) * value
        return h

    @nn.nowrap
    def _read(self, x: jax.Array, project: Dense | None) -> jax.Array:
        h = pool_features(x, self.pool)
        return h if project is None else dense(project, h)


class _BlockParameters(nn.Module):
    """Holds the parameters and running moments of one block; what is done with them spans blocks."""

    c_in: int
    features: int

    @nn.compact
    def __call__(self) -> tuple[ConvBlock, tuple[nn.Variable, nn.Variable]]:
        block = ConvBlock(
            kernel=self.param("kernel", nn.initializers.lecun_normal(), (3, 3, self.c_in, self.features)),
            scale=self.param("scale", nn.initializers.ones, (self.features,)),
            bias=self.param("bias", nn.initializers.zeros, (self.features,)),
        )
        mean = self.variable("batch_stats", "mean", jnp.zeros, (self.features,))
        var = self.variable("batch_stats", "var", jnp.ones, (self.features,))
        return block, (mean, var)


def as_images(frames: jax.Array) -> jax.Array:
    """Frames as the convolutions take them: uint8 (they divide it by 255), or floating point in [0, 1]."""
    if frames.dtype != jnp.uint8 and not jnp.issubdtype(frames.dtype, jnp.floating):
        raise TypeError(f"frames: expected uint8, or floating point in [0, 1], got {frames.dtype}")
    return frames


def pool_features(x: jax.Array, pool: Pool | None) -> jax.Array:
    """A feature map as one vector.

    Args:
      x: `[..., height, width, channel]`.
      pool: as in `ConvEncoder`; "spatial_softmax" returns all rows, then all columns, from -1 (top, left) to 1;
        None returns x.

    Returns:
      `[..., n_features]`.

    Raises:
      ValueError: an unknown pooling.
    """
    if pool is None:
        return x
    if pool == "mean":
        return jnp.mean(x, axis=(-3, -2))
    if pool == "flatten":
        return x.reshape(*x.shape[:-3], -1)
    if pool == "spatial_softmax":
        height, width, channel = x.shape[-3:]
        attention = jax.nn.softmax(x.reshape(*x.shape[:-3], height * width, channel), axis=-2).reshape(x.shape)
        rows, columns = jnp.linspace(-1, 1, height, dtype=x.dtype), jnp.linspace(-1, 1, width, dtype=x.dtype)
        highest = jax.lax.Precision.HIGHEST  # places, finer than the 10 bits of a GPU's default
        row = jnp.einsum("...hwc,h->...c", attention, rows, precision=highest)
        column = jnp.einsum("...hwc,w->...c", attention, columns, precision=highest)
        return jnp.concatenate([row, column], axis=-1)
    raise ValueError(f"pool: expected one of {POOLS}, got {pool!r}")
