"""The job of slow features that can be drawn: the slow network's, and a decoder of its code."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sfa_jax import evaluation
from sfa_jax._errors import InputError
from sfa_jax.autoencoders import FinolaDecoder, SlowAutoencoder, as_float, reconstruction_loss
from sfa_jax.data import Batch, evenly_spaced
from sfa_jax.evaluation import Picture
from sfa_jax.nets import SlowNetwork
from sfa_jax.training._chunks import check_frames, check_rows, in_chunks
from sfa_jax.training._finished import Finished
from sfa_jax.training._inputs import Inputs
from sfa_jax.training._measured_job import Measured, Readout
from sfa_jax.training._model import SlowModel, make_network
from sfa_jax.training._options import check_drawing
from sfa_jax.training._slow_network import SlowNetworkJob
from sfa_jax.training._steps import Metrics, TrainState, make_gradient_step, make_wave_optimizer, new_state

_CHUNK = 64  # frames drawn at once
_MEASURED = 512  # held-out frames that are drawn
_FIT_FRAMES = 6000  # training frames that the baseline is found on
_TRAVERSED = 4  # slowest features
_VALUES = np.linspace(-2, 2, 7)  # standard deviations


class SlowAutoencoderJob(SlowNetworkJob):
    """`init`, `update`, `evaluate` and `finish` of a slow network with a decoder of its code.

    Args:
      config: the resolved config.
      inputs: the data.

    Raises:
      InputError: a choice has an unknown name, or a size does not fit the frames.
    """

    fixed: tuple[str, ...] = tuple(
        f"decoder.{name}" for name in ("generator", "order", "directions", "speeds", "start", "n_paths")
    )

    def __init__(self, config: Any, inputs: Inputs):
        super().__init__(config, inputs)
        self._autoencoder = make_slow_autoencoder(config, self._network)
        try:
            self._autoencoder.decoder.grid(self._frame_shape)
        except ValueError as error:
            raise InputError(f"decoder.{error}") from None
        self._optimizer = make_wave_optimizer(config.train, self.n_steps, start=self._autoencoder.decoder.start)
        self.update = make_gradient_step(self._loss_of_batch, self._optimizer)

    @staticmethod
    def restore(config: Any, state: Mapping[str, Any], frame_shape: tuple[int, ...]) -> "SlowDrawer":
        """What a run has learned, from the state that its checkpoint holds."""
        variables = {"params": state["params"], "batch_stats": state["batch_stats"]}
        autoencoder = make_slow_autoencoder(config, make_network(config.network))
        return SlowDrawer(autoencoder, variables, state["readout"], frame_shape)

    def init(self) -> TrainState:
        init_key, step_key = jax.random.split(jax.random.key(self._config.seed))
        images = self._training_frames() if self._autoencoder.decoder.start == "fitted_waves" else None
        variables = self._autoencoder.init(init_key, self._frame_shape, images)
        readout = {"mean": jnp.zeros(self._dim), "matrix": jnp.eye(self._dim)}
        carry = self._network.init_carry(self._batch_size)
        return new_state(step_key, variables, self._optimizer, readout, carry)

    @staticmethod
    def check(config: Any) -> None:
        """Raises what the constructor would of the config alone, before any data are read.

        Raises:
          InputError: an option is out of its range, or a choice has an unknown name.
        """
        SlowNetworkJob.check(config)
        check_drawing(config)
        make_slow_autoencoder(config, make_network(config.network))

    def evaluate(self, state: TrainState, *, final: bool) -> tuple[Readout, Measured, dict[str, float]]:
        """As the slow network's; the loss is that of slowness and of drawn held-out frames, weighted as in training."""
        readout, measured, metrics = super().evaluate(state, final=final)
        frames = self._held_out_frames()
        drawn = self._model(state).reconstruct(frames)
        true = frames / np.float32(255)
        error = float(np.asarray(reconstruction_loss(drawn, true)).mean())
        metrics["loss"] += self._config.objective.reconstruction_weight * error
        return readout, measured, metrics | {"psnr": float(evaluation.psnr(drawn, true).mean())}

    def finish(
        self,
        state: TrainState,
        measured: Measured,
        records: Sequence[Mapping[str, Any]],
        poll: Callable[[], None],
    ) -> Finished:
        """Measures the run, and what is drawn from its code; `poll` is called as in `MeasuredJob.finish`."""
        found = super().finish(state, measured, records, poll)
        summary = found.summary
        poll()
        model, frames, size = self._model(state), self._held_out_frames(), self._autoencoder.code_size
        drawn = {"slow code": model.reconstruct, "pca": evaluation.pca_images(self._training_frames(), size)}
        summary |= {
            f"drawn/{name}": value for name, value in evaluation.image_measures(drawn["slow code"], frames).items()
        }
        summary |= {
            f"drawn/baseline/pca/{name}": value
            for name, value in evaluation.image_measures(drawn["pca"], frames).items()
        }
        summary["drawn/code_size"] = float(size)
        n_features = min(_TRAVERSED, int(measured.readout.rank))

        def plot_traversal(folder: Path) -> None:
            shown = frames[len(frames) // 2 : len(frames) // 2 + 1]
            moved = [model.traverse(shown, k, _VALUES) for k in range(n_features)]
            evaluation.plot_traversal(folder, shown[0], moved, _VALUES, model(shown)[0, :n_features])

        pictures = [
            Picture("reconstructions.png", lambda folder: evaluation.plot_reconstructions(folder, frames, drawn)),
            *([Picture("traversal.png", plot_traversal)] if n_features else []),
        ]
        return found._replace(summary=summary, pictures=[*found.pictures, *pictures])

    def _training_frames(self) -> np.ndarray:
        return evenly_spaced(self._frames(self._train), _FIT_FRAMES)

    def _held_out_frames(self) -> np.ndarray:
        return evenly_spaced(self._frames(self._held_out), _MEASURED)

    def _loss_of_batch(
        self, params: Any, state: TrainState, batch: Batch
    ) -> tuple[jax.Array, tuple[Metrics, jax.Array, Any]]:
        """Slowness of the clips, and the error of the last frame of each: its neighbours are near copies of it."""
        variables = {"params": params, "batch_stats": state.batch_stats}
        y, free, y_last, batch_stats = self._autoencoder.apply(
            variables, batch.frames, state.carry, valid=batch.valid, reset=batch.reset, train=True
        )
        loss, terms = self._objective(y, batch.valid, batch.reset)
        drawn = self._autoencoder.decode(params, y[:, -1], free[:, -1], self._frame_shape)
        weight = batch.valid[:, -1].astype(jnp.float32)
        errors = reconstruction_loss(drawn, as_float(batch.frames[:, -1]))
        error = jnp.sum(weight * errors) / jnp.maximum(jnp.sum(weight), 1)
        loss = loss + self._config.objective.reconstruction_weight * error
        return loss, (terms | {"reconstruction": error}, jax.lax.stop_gradient(y_last), batch_stats)


class SlowDrawer(SlowModel):
    """Frames of one run to their slow code, and frames drawn from slow codes.

    Attributes:
      autoencoder: the sizes.
      network, variables, readout, frame_shape: as in `SlowModel`.
    """

    def __init__(
        self, autoencoder: SlowAutoencoder, variables: Any, readout: dict[str, Any], frame_shape: tuple[int, ...]
    ):
        super().__init__(autoencoder.network, variables, readout, frame_shape)
        self.autoencoder = autoencoder
        self._free = jax.jit(lambda variables, frames: autoencoder.free(variables, frames))
        self._decode = jax.jit(lambda params, y, free: autoencoder.decode(params, y, free, self.frame_shape))

    def free(self, frames: np.ndarray) -> np.ndarray:
        """The free code `[time, n_free]` of frames `[time, height, width, channel]`."""
        check_frames(frames, self.frame_shape)
        if not self.autoencoder.n_free:
            return np.zeros((len(frames), 0), np.float32)
        return in_chunks(lambda part: self._free(self.variables, part), frames, _CHUNK)

    def decode(self, code: np.ndarray, free: np.ndarray) -> np.ndarray:
        """Frames, about in [0, 1], of slow codes `[n, dim]` (as a call gives them) and free codes `[n, n_free]`.

        Raises:
          ValueError: the codes have another shape.
        """
        check_rows("code", code, self.network.dim)
        check_rows("free", free, self.autoencoder.n_free)
        if len(code) != len(free):
            raise ValueError(f"free: expected as many as code has, {len(code)}, got {len(free)}")
        return self._draw(code @ self._inverse() + np.asarray(self.readout["mean"]), free)

    def reconstruct(self, frames: np.ndarray) -> np.ndarray:
        """Frames drawn from their own codes."""
        return self._draw(self.embed(frames), self.free(frames))

    def traverse(self, frame: np.ndarray, feature: int, values: np.ndarray) -> np.ndarray:
        """A frame drawn with one slow feature set to each of several values, all else held.

        Args:
          frame: `[1, height, width, channel]`.
          feature: which, 0 is the slowest.
          values: standard deviations of the feature.

        Returns:
          `[len(values), height, width, channel]`, about in [0, 1].

        Raises:
          ValueError: there is not one frame, or there is no such feature.
        """
        if len(frame) != 1:
            raise ValueError(f"frame: expected one, of shape [1, height, width, channel], got {np.shape(frame)}")
        if not 0 <= feature < self.network.dim:
            raise ValueError(f"feature: expected 0 to {self.network.dim - 1}, got {feature}")
        y, code = self.embed(frame), self(frame)
        moved = y + (np.asarray(values)[:, None] - code[:, feature]) * self._inverse()[feature]
        return self._draw(moved, np.repeat(self.free(frame), len(values), axis=0))

    def _inverse(self) -> np.ndarray:
        """From slow codes to raw embeddings, `[dim, dim]`."""
        return np.linalg.pinv(np.asarray(self.readout["matrix"], np.float64))

    def _draw(self, y: np.ndarray, free: np.ndarray) -> np.ndarray:
        rows = np.concatenate([y, free], axis=1).astype(np.float32)
        dim = self.network.dim
        return in_chunks(
            lambda part: self._decode(self.variables["params"], part[:, :dim], part[:, dim:]), rows, _CHUNK
        )


def make_slow_autoencoder(config: Any, network: SlowNetwork) -> SlowAutoencoder:
    """The autoencoder that `config.decoder` makes of a slow network.

    Raises:
      InputError: an unknown choice.
    """
    given = config.decoder.to_dict()
    own = {name: given.pop(name) for name in ("n_free", "between", "detach")}
    try:
        decoder = FinolaDecoder(**given)
    except ValueError as error:
        raise InputError(f"decoder.{error}") from None
    return SlowAutoencoder(network, decoder, own["n_free"], own["between"], own["detach"])
