"""Slow features that can be drawn: the slow code of a frame, and a small free one beside it, decoded by FINOLA."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sfa_jax.autoencoders._finola_decoder import FinolaDecoder
from sfa_jax.nets import SlowNetwork, apply_head, init_head

Variables = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class SlowAutoencoder:
    """Frames to slow code and back; holds sizes only, the parameters are passed in.

    y is the output of the slow network; f, the free code, is another head of its encoder, whatever changes fast. A
    small multilayer perceptron makes of both the vectors that FINOLA starts from.

    Attributes:
      network: the slow network.
      decoder: from vectors to frames.
      n_free: size of the free code; 0 for none.
      between: units of the layer between the codes and the decoder's vectors.
      detach: the slow network learns from slowness alone; what is drawn takes its outputs as they are.
    """

    network: SlowNetwork
    decoder: FinolaDecoder
    n_free: int = 0
    between: int = 256
    detach: bool = True

    @property
    def code_size(self) -> int:
        """Numbers that a frame is drawn from."""
        return self.network.dim + self.n_free

    def init(self, key: jax.Array, frame_shape: Sequence[int], images: np.ndarray | None = None) -> Variables:
        """`{"params": {...}, "batch_stats"}` for frames of shape `(height, width, channel)`.

        Args:
          key: random key.
          frame_shape: of the frames.
          images: as `FinolaDecoder.init_decoder` takes them.

        Raises:
          ValueError: the map's size does not divide the frame's, or waves are to be fitted to no images.
        """
        keys = jax.random.split(key, 4)
        variables = self.network.init(keys[0], frame_shape)
        n_features = variables["params"]["head"]["hidden"]["kernel"].shape[0]
        drawing, projection = self.decoder.init_decoder(keys[1], frame_shape, images)
        params = variables["params"] | drawing
        params["to_vectors"] = init_head(
            keys[2], self.code_size, self.decoder.code_size, hidden=self.between, memory=False
        )
        if projection is not None:  # from no waves at all
            output = params["to_vectors"]["output"]
            params["to_vectors"]["output"] = {"kernel": 0.1 * output["kernel"], "bias": projection["bias"]}
        if self.n_free:
            params["free_head"] = init_head(keys[3], n_features, self.n_free, hidden=self.network.hidden, memory=False)
        return {"params": params, "batch_stats": variables["batch_stats"]}

    def apply(
        self,
        variables: Variables,
        frames: jax.Array,
        y_init: jax.Array,
        *,
        valid: jax.Array | None = None,
        reset: jax.Array | None = None,
        train: bool = False,
    ) -> tuple[jax.Array, jax.Array, jax.Array, Variables]:
        """Codes of clips.

        Args:
          variables: from `init`.
          frames: `[batch, time, height, width, channel]`, uint8, or floating in [0, 1].
          y_init, valid, reset, train: as in `SlowNetwork.apply`.

        Returns:
          `(y [batch, time, dim], free [batch, time, n_free], y_last [batch, dim], batch_stats)`.
        """
        params = variables["params"]
        h, batch_stats = self.network.encode(variables, frames, valid, train=train)
        y, y_last = self.network.embed(params["head"], h, y_init, reset=reset)
        return y, self._free(params, h), y_last, batch_stats

    def free(self, variables: Variables, frames: jax.Array) -> jax.Array:
        """The free codes `[n, n_free]` of frames `[n, height, width, channel]`; they have no memory."""
        h, _ = self.network.encode(variables, frames)
        return self._free(variables["params"], h)

    def decode(self, params: Any, y: jax.Array, free: jax.Array, frame_shape: Sequence[int]) -> jax.Array:
        """Frames `[n, height, width, channel]`, about in [0, 1], of the codes `[n, dim]` and `[n, n_free]`."""
        y = jax.lax.stop_gradient(y) if self.detach else y
        code = jnp.concatenate([y, free], axis=-1)
        q = apply_head(params["to_vectors"], code)
        q = self.decoder.lengthen(params, q.reshape(-1, self.decoder.n_paths, self.decoder.channels))
        return self.decoder.decode(params, q, frame_shape)

    def _free(self, params: Any, h: jax.Array) -> jax.Array:
        if not self.n_free:
            return jnp.zeros((*h.shape[:-1], 0), h.dtype)
        return apply_head(params["free_head"], jax.lax.stop_gradient(h) if self.detach else h)
