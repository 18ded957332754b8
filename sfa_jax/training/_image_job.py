"""The job of image autoencoders: what is trained, how held-out images are measured, and what is written."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sfa_jax import evaluation, finola
from sfa_jax._errors import InputError
from sfa_jax.autoencoders import FinolaAutoencoder, as_float, recolour, reconstruction_loss
from sfa_jax.data import Batch
from sfa_jax.training._chunks import check_frames, check_rows, in_chunks
from sfa_jax.training._embeddings import write_embeddings
from sfa_jax.training._inputs import Inputs
from sfa_jax.training._measured_job import check_baselines
from sfa_jax.training._options import check_images
from sfa_jax.training._steps import (
    Metrics,
    TrainState,
    make_gradient_step,
    make_optimizer,
    make_wave_optimizer,
    new_state,
)

_CHUNK = 64  # images coded at once
_FIT_IMAGES = 20_000  # training images that waves and baselines are fitted to
_STATISTICS_IMAGES = 2000  # training images whose codes' moments are taken

Readout = dict[str, np.ndarray]


class ImageAutoencoderJob:
    """`init`, `update`, `evaluate` and `finish` of a network that draws images from codes.

    Args:
      config: the resolved config.
      inputs: the data; every frame is an image of its own.

    Raises:
      InputError: a size does not fit the images.
    """

    fixed: tuple[str, ...] = tuple(
        f"network.{name}" for name in ("generator", "order", "directions", "speeds", "start", "pooling", "n_paths")
    )
    shared_axis = 1  # devices share the images of a batch
    baselines: tuple[str, ...] = ("pca", "dct", "dct_best")

    def __init__(self, config: Any, inputs: Inputs):
        self._config, self._runs, self._store = config, inputs.runs, inputs.store
        self._frame_shape = inputs.store.shape
        self.n_steps = config.train.steps or max(1, round(config.train.epochs * inputs.sampler.steps_per_epoch))
        self._network = make_autoencoder(config.network)
        try:
            self._network.grid(self._frame_shape)
        except ValueError as error:
            raise InputError(f"network.{error}") from None
        parts = list(zip(inputs.runs, inputs.splits, strict=True))
        held_out = [run.frames[split.held_out_start :] for run, split in parts]
        self._is_held_out = [np.arange(len(run)) >= split.held_out_start for run, split in parts]
        self._n_held_out = sum(map(len, held_out))
        self._held_out = np.concatenate([frames for frames in held_out if len(frames)] or self._training(1000))
        self._optimizer = make_wave_optimizer(config.train, self.n_steps, start=self._network.start)
        self.update = make_gradient_step(self._loss, self._optimizer)

    @staticmethod
    def check(config: Any) -> None:
        """Raises what the constructor would of the config alone, before any data are read.

        Raises:
          InputError: an option is out of its range, or a choice has an unknown name.
        """
        check_images(config)
        check_baselines(config, ImageAutoencoderJob.baselines)
        make_autoencoder(config.network)
        make_optimizer(config.train, n_steps=1)

    def init(self) -> TrainState:
        key = jax.random.key(self._config.seed)
        init_key, step_key = jax.random.split(key)
        images = np.concatenate(self._training(_FIT_IMAGES)) if self._network.start == "fitted_waves" else None
        variables = self._network.init(init_key, self._frame_shape, images)
        size = self._network.code_size
        readout = {"mean": jnp.zeros(size), "deviation": jnp.ones(size)}
        return new_state(step_key, variables, self._optimizer, readout)

    def evaluate(self, state: TrainState, *, final: bool) -> tuple[Readout, Any, dict[str, float]]:
        """The mean squared error of held-out images, and the moments of the codes of training images.

        Raises:
          FloatingPointError: a code is not finite.
        """
        del final
        model = self._model(state)
        codes = np.concatenate([model(part) for part in self._training(_STATISTICS_IMAGES)])
        if not np.isfinite(codes).all():
            raise FloatingPointError("the codes of the training images are not finite: lower train.learning_rate")
        readout = {"mean": codes.mean(axis=0), "deviation": codes.std(axis=0)}
        drawn, true = model.reconstruct(self._held_out), self._held_out / np.float32(255)
        errors = np.asarray(reconstruction_loss(drawn, true))
        return readout, None, {"loss": float(errors.mean()), "psnr": float(evaluation.psnr(drawn, true).mean())}

    def finish(
        self,
        state: TrainState,
        measured: Any,
        workdir: Path,
        records: Sequence[Mapping[str, Any]],
        poll: Callable[[], None],
    ) -> dict[str, float]:
        """Writes `embeddings.npz` (the codes) and the plots; returns the measures of the summary."""
        del measured
        model = self._model(state)
        size = self._network.code_size
        summary = evaluation.image_measures(model.reconstruct, self._held_out)
        summary |= {"held_out_images": float(self._n_held_out), "code_size": float(size)}
        summary["parameters"] = float(sum(x.size for x in jax.tree.leaves(state.params)))
        poll()
        drawn: dict[str, Callable[[np.ndarray], np.ndarray]]
        drawn = {"FINOLA" if self._network.generator == "finola" else self._network.generator: model.reconstruct}
        train = np.concatenate(self._training(_FIT_IMAGES))
        for name in self._config.evaluation.baselines:
            drawn[name] = {
                "pca": lambda: evaluation.pca_images(train, size),
                "dct": lambda: evaluation.dct_images(train, size),
                "dct_best": lambda: evaluation.dct_best_images(size),
            }[name]()
            found = evaluation.image_measures(drawn[name], self._held_out)
            summary |= {f"baseline/{name}/{measure}": value for measure, value in found.items()}
            poll()
        codes = [model(run.frames) for run in self._runs]
        write_embeddings(workdir / "embeddings.npz", codes, self._runs, self._is_held_out)
        if self._config.evaluation.plots:
            evaluation.plot_images(workdir / "plots", self._held_out, drawn, records)
        if self._network.generator == "finola":
            params, grow = model.waves(self._held_out[:: max(1, len(self._held_out) // 16)])
            for order in ("x_first", "average"):
                residual = evaluation.median_residual(grow(order), params)
                summary[f"wave_residual/{order}"] = residual
            if self._config.evaluation.plots:
                evaluation.plot_waves(workdir / "plots", params, grow(self._network.order))
        return summary

    def _model(self, state: TrainState) -> "ImageModel":
        variables = {"params": state.params, "batch_stats": state.batch_stats}
        return ImageModel(self._network, variables, state.readout, self._frame_shape)

    def _loss(self, params: Any, state: TrainState, batch: Batch) -> tuple[jax.Array, tuple[Metrics, jax.Array, Any]]:
        images = batch.frames.reshape(-1, *self._frame_shape)
        if self._config.train.recolour:
            key = jax.random.fold_in(jax.random.wrap_key_data(state.rng), state.step)
            images = recolour(key, as_float(images), strength=self._config.train.recolour)
        weight = batch.valid.reshape(-1).astype(jnp.float32)
        variables = {"params": params, "batch_stats": state.batch_stats}
        q, batch_stats = self._network.encode(variables, images, weight, train=True)
        drawn = self._network.decode(params, q, self._frame_shape)
        errors = reconstruction_loss(drawn, as_float(images))
        loss = jnp.sum(weight * errors) / jnp.maximum(jnp.sum(weight), 1)
        return loss, ({}, state.carry, batch_stats)

    def _training(self, most: int) -> list[np.ndarray]:
        """Evenly spaced training images, in chunks."""
        step = max(1, -(-len(self._store) // most))
        numbers = np.arange(0, len(self._store), step)
        return [self._store.gather(part) for part in np.array_split(numbers, -(-len(numbers) // 512))]


class ImageModel:
    """A finished run: images to codes and back.

    Attributes:
      network: the sizes.
      variables: `{"params", "batch_stats"}`.
      readout: `mean` and `deviation [code_size]` of the codes of training images.
      frame_shape: `(height, width, channel)` of the images it takes.
    """

    def __init__(
        self, network: FinolaAutoencoder, variables: Any, readout: dict[str, Any], frame_shape: tuple[int, ...]
    ):
        self.network, self.readout, self.frame_shape = network, readout, tuple(frame_shape)
        self.variables = jax.device_put(variables, jax.local_devices()[0])
        self._encode = jax.jit(lambda variables, x: network.encode(variables, x)[0].reshape(len(x), -1))
        self._decode = jax.jit(lambda params, q: network.decode(params, self._paths(q), self.frame_shape))

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """The codes `[n, code_size]` of images `[n, height, width, channel]`, uint8 or in [0, 1]."""
        check_frames(frames, self.frame_shape)
        return in_chunks(lambda part: self._encode(self.variables, part), frames, _CHUNK)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Images `[n, height, width, channel]`, about in [0, 1], of codes `[n, code_size]`.

        Raises:
          ValueError: the codes have another shape.
        """
        check_rows("codes", codes, self.network.code_size)
        return in_chunks(lambda part: self._decode(self.variables["params"], part), codes, _CHUNK)

    def reconstruct(self, frames: np.ndarray) -> np.ndarray:
        """Images drawn from their own codes."""
        return self.decode(self(frames))

    def waves(self, frames: np.ndarray) -> tuple[finola.FinolaParams, Callable[[str], np.ndarray]]:
        """The parameters of the autoregression, and the maps of images as a function of the order."""
        q = self._paths(self(frames))[:, :1]  # one path: the sum of several obeys no equation of theirs
        params = jax.tree.map(np.asarray, self.network.matrices(self.variables["params"]))
        rows, columns = self.network.grid(self.frame_shape)
        return params, lambda order: np.asarray(finola.multipath(params, q, rows, columns, order=order))

    def _paths(self, q: Any) -> Any:
        return q.reshape(len(q), self.network.n_paths, self.network.channels)


def make_autoencoder(config: Any) -> FinolaAutoencoder:
    """The autoencoder that `config.network` describes.

    Raises:
      InputError: an unknown choice, or choices that do not go together.
    """
    try:
        return FinolaAutoencoder(**config.to_dict())
    except ValueError as error:
        raise InputError(f"network.{error}") from None
