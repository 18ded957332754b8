"""The job of masked FINOLA: what is trained, and how the features it gives are measured."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sfa_jax import evaluation
from sfa_jax._errors import InputError
from sfa_jax.autoencoders import MaskedFinola, Prediction, masked_loss
from sfa_jax.data import Batch, evenly_spaced
from sfa_jax.evaluation import Picture
from sfa_jax.training._chunks import check_frames, in_chunks
from sfa_jax.training._finished import Finished
from sfa_jax.training._inputs import Inputs
from sfa_jax.training._measured_job import Codes, Measured, MeasuredJob, Readout, check_baselines
from sfa_jax.training._options import check_masked
from sfa_jax.training._steps import Metrics, TrainState, make_gradient_step, make_optimizer, steps_of

_CHUNK = 64  # images encoded at once
_MEASURED = 512  # held-out images whose masked cells are predicted
_CALIBRATION_IMAGES = 256  # that give the untrained encoder its batch statistics


class MaskedFinolaJob(MeasuredJob):
    """`init`, `update`, `evaluate` and `finish` of an encoder trained to predict masked images.

    Its features, linearly probed, are measured as every other code.

    Args:
      config: the resolved config.
      inputs: the data; every frame is an image of its own.

    Raises:
      InputError: a size does not fit the images.
    """

    shared_axis = 1  # devices share the images of a batch
    loss_name = "masked squared error"
    baselines = (*MeasuredJob.baselines, "untrained")
    fixed: tuple[str, ...] = ("network.variant", "network.directions")

    def __init__(self, config: Any, inputs: Inputs):
        self._network = make_masked(config.network)
        super().__init__(config, inputs, self._network.dim)
        self.n_steps = steps_of(config.train, inputs.sampler)
        try:
            self._network.grid(self._frame_shape)
        except ValueError as error:
            raise InputError(f"network.{error}") from None
        self._optimizer = make_optimizer(config.train, self.n_steps)
        self.update = make_gradient_step(self._loss, self._optimizer)

    @staticmethod
    def check(config: Any) -> None:
        """Raises what the constructor would of the config alone, before any data are read.

        Raises:
          InputError: an option is out of its range, or a choice has an unknown name.
        """
        check_masked(config)
        check_baselines(config, MaskedFinolaJob.baselines)
        make_masked(config.network)
        make_optimizer(config.train, n_steps=1)

    @staticmethod
    def restore(config: Any, state: Mapping[str, Any], frame_shape: tuple[int, ...]) -> "MaskedModel":
        """What a run has learned, from the state that its checkpoint holds."""
        variables = {"params": state["params"], "batch_stats": state["batch_stats"]}
        return MaskedModel(make_masked(config.network), variables, state["readout"], frame_shape)

    def init(self) -> TrainState:
        return self._begin(self._network, self._optimizer)

    def evaluate(self, state: TrainState, *, final: bool) -> tuple[Readout, Measured, dict[str, float]]:
        """Solves the readout on the training frames, and measures the loss on the held-out ones.

        Raises:
          FloatingPointError: the features of the training frames are not finite.
        """
        model = self._model(state)
        measured = self._measure(model, final)
        images = self._held_out_images(_MEASURED)
        errors = np.asarray(masked_loss(model.predict(images), images))
        metrics = {"loss": float(errors.mean()), "effective_rank": evaluation.effective_rank_of(measured.held_out[0])}
        return self._readout(measured), measured, metrics

    def finish(
        self,
        state: TrainState,
        measured: Measured,
        records: Sequence[Mapping[str, Any]],
        poll: Callable[[], None],
    ) -> Finished:
        """Measures the run, and what it predicts; `poll` is called as in `MeasuredJob.finish`."""
        found = super().finish(state, measured, records, poll)
        summary = found.summary
        images = self._held_out_images(_MEASURED)
        prediction = self._model(state).predict(images)
        mean = np.mean(evenly_spaced(self._frames(self._train), _MEASURED) / np.float32(255), axis=0)
        plain = prediction._replace(images=np.broadcast_to(mean, images.shape))
        summary["masked_psnr"] = _decibels(prediction, images)
        summary["masked_psnr_of_mean_image"] = _decibels(plain, images)
        shown = images, prediction.images, np.asarray(prediction.masked)
        masked = Picture("masked.png", lambda folder: evaluation.plot_masked(folder, *shown))
        return found._replace(summary=summary, pictures=[*found.pictures, masked])

    def _held_out_images(self, most: int) -> np.ndarray:
        return evenly_spaced(self._frames(self._held_out), most)

    def _untrained_codes(self, train: list[np.ndarray], held_out: list[np.ndarray]) -> tuple[Codes, Codes]:
        state = self.init()
        every = -(-sum(len(part) for part in train) // _CALIBRATION_IMAGES)
        images = np.concatenate([part[::every] for part in train])
        encoder = self._network.encoder.clone(momentum=0.0)
        collections = {"params": state.params["encoder"], "batch_stats": state.batch_stats}
        calibrate = jax.jit(lambda x: encoder.apply(collections, x, train=True, mutable=["batch_stats"])[1])
        variables = {"params": state.params, **calibrate(images)}
        model = MaskedModel(self._network, variables, state.readout, self._frame_shape)
        return [model.embed(part) for part in train], [model.embed(part) for part in held_out]

    def _loss(self, params: Any, state: TrainState, batch: Batch) -> tuple[jax.Array, tuple[Metrics, jax.Array, Any]]:
        images = batch.frames.reshape(-1, *self._frame_shape)
        weight = batch.valid.reshape(-1).astype(jnp.float32)
        key = jax.random.fold_in(jax.random.wrap_key_data(state.rng), state.step)
        corners = self._network.random_corners(key, len(images), self._frame_shape)
        variables = {"params": params, "batch_stats": state.batch_stats}
        prediction, batch_stats = self._network.predict(variables, images, corners, weight, train=True)
        loss = jnp.sum(weight * masked_loss(prediction, images)) / jnp.maximum(jnp.sum(weight), 1)
        return loss, ({}, state.carry, batch_stats)


class MaskedModel:
    """A finished run: images to features.

    Attributes:
      network: the sizes.
      variables: `{"params", "batch_stats"}`.
      readout: `mean [dim]` and `matrix [dim, dim]`.
      frame_shape: `(height, width, channel)` of the images it was trained on, and takes.
    """

    def __init__(self, network: MaskedFinola, variables: Any, readout: dict[str, Any], frame_shape: tuple[int, ...]):
        self.network, self.readout, self.frame_shape = network, readout, tuple(frame_shape)
        self.variables = jax.device_put(variables, jax.local_devices()[0])
        self._embed = jax.jit(network.pooled)
        self._predict = jax.jit(lambda *args: network.predict(*args)[0])

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """The features `[time, dim]` of frames `[time, height, width, channel]`, white, those that change least first.

        What changes least is a matter of videos; of single images the order has no meaning.
        """
        return self.read_out(self.embed(frames))

    def read_out(self, y: np.ndarray) -> np.ndarray:
        """The ordered, white form of features `[time, dim]`."""
        return (y - np.asarray(self.readout["mean"])) @ np.asarray(self.readout["matrix"])

    def embed(self, frames: np.ndarray) -> np.ndarray:
        """The features `[time, dim]` as the encoder gives them."""
        check_frames(frames, self.frame_shape)
        return in_chunks(lambda part: self._embed(self.variables, part), frames, _CHUNK)

    def embed_without_memory(self, frames: np.ndarray, y_before: np.ndarray) -> np.ndarray:
        """As `embed`: there is no memory to take away."""
        del y_before
        return self.embed(frames)

    def predict(self, frames: np.ndarray, corners: np.ndarray | None = None) -> Prediction:
        """Images drawn from one block of each, by default at evenly spread places.

        Args:
          frames: `[n, height, width, channel]`, uint8 or in [0, 1].
          corners: `[n, 2]`, row and column of the upper left cell of each block; by default all positions in turn.

        Returns:
          `images [n, height, width, channel]` and `masked [n, rows, columns]`, in the host's memory.

        Raises:
          ValueError: there are no frames, they have another shape, or a block does not lie on the map.
          TypeError: the frames are neither uint8 nor floating point.
        """
        check_frames(frames, self.frame_shape)
        if not len(frames):
            raise ValueError("frames: expected at least one, got none")
        if corners is None:
            corners = self.network.spread_corners(len(frames), self.frame_shape)
        most = np.array(self.network.grid(self.frame_shape)) // 2
        if np.shape(corners) != (len(frames), 2) or not np.issubdtype(np.asarray(corners).dtype, np.integer):
            raise ValueError(f"corners: expected whole numbers [{len(frames)}, 2], two for each frame, got {corners!r}")
        if np.min(corners) < 0 or (np.max(corners, axis=0) > most).any():
            raise ValueError(
                f"corners: expected rows from 0 to {most[0]} and columns from 0 to {most[1]}, got {corners}"
            )
        images, masked = [], []
        for start in range(0, len(frames), _CHUNK):
            part, where = frames[start : start + _CHUNK], np.asarray(corners[start : start + _CHUNK], np.int32)
            missing = _CHUNK - len(part)
            part, where = (np.concatenate([x, np.repeat(x[-1:], missing, axis=0)]) for x in (part, where))
            found = self._predict(self.variables, part, where)
            images.append(np.asarray(found.images)[: _CHUNK - missing])
            masked.append(np.asarray(found.masked)[: _CHUNK - missing])
        return Prediction(np.concatenate(images), np.concatenate(masked))


def _decibels(prediction: Prediction, images: np.ndarray) -> float:
    errors = np.asarray(jax.jit(masked_loss)(prediction, images))
    return float(np.mean(-10 * np.log10(np.maximum(errors, 1e-10))))


def make_masked(config: Any) -> MaskedFinola:
    """The network that `config.network` describes.

    Raises:
      InputError: an unknown choice.
    """
    try:
        return MaskedFinola(**config.to_dict())
    except ValueError as error:
        raise InputError(f"network.{error}") from None
