"""A trained network as one function, from frames to the slow code."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sfa_jax._errors import InputError
from sfa_jax.nets import POOLS, SlowNetwork, recurrent_step
from sfa_jax.training._chunks import check_frames

_CHUNK = 256  # frames encoded at once


class SlowModel:
    """Frames of one run in, slow code out: centred, white and ordered by slowness on the training frames.

    Attributes:
      network: the sizes.
      variables: `{"params", "batch_stats"}`.
      readout: `mean [dim]` and `matrix [dim, dim]`.
      frame_shape: `(height, width, channel)` of the frames it was trained on, and takes.
    """

    def __init__(self, network: SlowNetwork, variables: Any, readout: dict[str, Any], frame_shape: tuple[int, ...]):
        self.network, self.readout = network, readout
        # On one device whatever they were trained on (and the carry too): all models of a network share one program.
        self.variables = jax.device_put(variables, jax.local_devices()[0])
        self.frame_shape = tuple(frame_shape)

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """The code `[time, dim]` of the frames `[time, height, width, channel]` of one run, uint8 or in [0, 1]."""
        return self.read_out(self.embed(frames))

    def read_out(self, y: np.ndarray) -> np.ndarray:
        """The code of raw embeddings `[time, dim]`."""
        return (y - np.asarray(self.readout["mean"])) @ np.asarray(self.readout["matrix"])

    def embed(self, frames: np.ndarray) -> np.ndarray:
        """Raw embeddings y `[time, dim]`, the state carried from frame to frame."""
        return self._in_chunks(_carry_on(self.network), frames)

    def embed_without_memory(self, frames: np.ndarray, y_before: np.ndarray) -> np.ndarray:
        """Raw embeddings `[time, dim]` with y_{t-1} replaced by the constant `y_before [dim]` at every frame."""
        before = jnp.asarray(y_before, jnp.float32)
        return self._in_chunks(lambda *chunk: (_forget(self.network)(*chunk[:2], before), chunk[2]), frames)

    def _in_chunks(self, run: Callable[..., tuple[jax.Array, jax.Array]], frames: np.ndarray) -> np.ndarray:
        """Runs over chunks of one fixed shape, padded at the end, so that a run of any length compiles once."""
        check_frames(frames, self.frame_shape)
        y, carry = [], jax.device_put(self.network.init_carry(1), jax.local_devices()[0])
        for start in range(0, len(frames), _CHUNK):
            chunk = np.asarray(frames[start : start + _CHUNK])
            missing = _CHUNK - len(chunk)
            if missing:
                chunk = np.concatenate([chunk, np.repeat(chunk[-1:], missing, axis=0)])
            part, carry = run(self.variables, chunk[None], carry)
            y.append(np.asarray(part)[0, : _CHUNK - missing])
        return np.concatenate(y) if y else np.zeros((0, self.network.dim), np.float32)


@functools.lru_cache(maxsize=8)
def _carry_on(network: SlowNetwork) -> Callable[..., Any]:
    return jax.jit(lambda variables, frames, carry: network.apply(variables, frames, carry)[:2])


@functools.lru_cache(maxsize=8)
def _forget(network: SlowNetwork) -> Callable[..., Any]:
    def embed(variables: Any, frames: jax.Array, y_before: jax.Array) -> jax.Array:
        h, _ = network.encode(variables, frames)
        return recurrent_step(
            variables["params"]["head"], jnp.broadcast_to(y_before, (*h.shape[:-1], y_before.size)), h
        )

    return jax.jit(embed)


def make_network(config: Any) -> SlowNetwork:
    """The network that `config.network` describes.

    Raises:
      InputError: an unknown pooling or recurrence.
    """
    if config.pool not in POOLS:
        raise InputError(f"network.pool: expected one of {POOLS}, got {config.pool!r}")
    try:
        return SlowNetwork(
            config.dim,
            tuple(config.channels),
            config.pool,
            config.hidden,
            config.recurrence,
            config.get("remat_frames", 0),  # runs from before the option have none
        )
    except ValueError as error:
        raise InputError(f"network.{error}") from None
