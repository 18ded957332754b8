"""The job of FINOLA as an autoencoder of images."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from sfa_jax import evaluation, finola
from sfa_jax._errors import InputError
from sfa_jax.autoencoders import FinolaAutoencoder, recolour, reconstruction_loss
from sfa_jax.evaluation import Picture
from sfa_jax.training._image_job import FIT_IMAGES, ImageJob, ImageModel
from sfa_jax.training._inputs import Inputs
from sfa_jax.training._measured_job import check_baselines
from sfa_jax.training._options import check_images
from sfa_jax.training._steps import TrainState, make_optimizer, make_wave_optimizer, steps_of

_SHOWN = 16  # held-out images whose waves are measured


class FinolaJob(ImageJob):
    """`init`, `update`, `evaluate` and `finish` of a `FinolaAutoencoder`.

    Args:
      config: the resolved config.
      inputs: the data; every frame is an image of its own.

    Raises:
      InputError: a size does not fit the images.
    """

    fixed: tuple[str, ...] = tuple(
        f"network.{name}" for name in ("generator", "order", "directions", "speeds", "start", "pooling", "n_paths")
    )

    def __init__(self, config: Any, inputs: Inputs):
        self._network = make_autoencoder(config.network)
        try:
            self._network.grid(inputs.store.shape)
        except ValueError as error:
            raise InputError(f"network.{error}") from None
        n_steps = steps_of(config.train, inputs.sampler)
        optimizer = make_wave_optimizer(config.train, n_steps, start=self._network.start)
        super().__init__(config, inputs, self._network, optimizer, n_steps)

    @staticmethod
    def check(config: Any) -> None:
        """Raises what the constructor would of the config alone, before any data are read.

        Raises:
          InputError: an option is out of its range, or a choice has an unknown name.
        """
        check_images(config)
        check_baselines(config, FinolaJob.baselines)
        make_autoencoder(config.network)
        make_optimizer(config.train, n_steps=1)

    @staticmethod
    def restore(config: Any, state: Mapping[str, Any], frame_shape: tuple[int, ...]) -> "FinolaModel":
        """What a run has learned, from the state that its checkpoint holds."""
        variables = {"params": state["params"], "batch_stats": state["batch_stats"]}
        return FinolaModel(make_autoencoder(config.network), variables, state["readout"], frame_shape)

    @property
    def _name(self) -> str:
        return "FINOLA" if self._network.generator == "finola" else self._network.generator

    def _images_to_begin_at(self) -> np.ndarray | None:
        return np.concatenate(self._training(FIT_IMAGES)) if self._network.start == "fitted_waves" else None

    def _held_out_loss(self, state: TrainState, drawn: np.ndarray) -> float:
        del state
        return float(np.asarray(reconstruction_loss(drawn, self._held_out / np.float32(255))).mean())

    def _own_measures(
        self, state: TrainState, model: Any, codes: Sequence[np.ndarray], poll: Callable[[], None]
    ) -> tuple[dict[str, float], list[Picture]]:
        del state, codes, poll
        if self._network.generator != "finola":
            return {}, []
        params, grow = model.waves(self._held_out[:: max(1, len(self._held_out) // _SHOWN)])
        grown = {order: grow(order) for order in {"x_first", "average", self._network.order}}
        measures = {
            f"wave_residual/{order}": evaluation.median_residual(grown[order], params)
            for order in ("x_first", "average")
        }
        return measures, evaluation.wave_pictures(params, grown[self._network.order])

    def _loss_of_images(
        self, params: Any, state: TrainState, key: jax.Array, images: jax.Array, weight: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array], Any]:
        if self._config.train.recolour:
            images = recolour(key, images, strength=self._config.train.recolour)
        variables = {"params": params, "batch_stats": state.batch_stats}
        q, batch_stats = self._network.encode(variables, images, weight, train=True)
        drawn = self._network.decode(params, q, self._frame_shape)
        return reconstruction_loss(drawn, images), {}, batch_stats


class FinolaModel(ImageModel):
    """A finished run of FINOLA: images to codes and back, and the waves between.

    Attributes:
      network, variables, readout, frame_shape: as in `ImageModel`.
    """

    def waves(self, frames: np.ndarray) -> tuple[finola.FinolaParams, Callable[[str], np.ndarray]]:
        """The parameters of the autoregression, and the maps of images as a function of the order."""
        q = self(frames).reshape(len(frames), *self.network.code_shape)
        q = q[:, :1]  # one path: the sum of several obeys no equation of theirs
        params = jax.tree.map(np.asarray, self.network.matrices(self.variables["params"]))
        rows, columns = self.network.grid(self.frame_shape)
        return params, lambda order: np.asarray(finola.multipath(params, q, rows, columns, order=order))


def make_autoencoder(config: Any) -> FinolaAutoencoder:
    """The autoencoder that `config.network` describes.

    Raises:
      InputError: an unknown choice, or choices that do not go together.
    """
    try:
        return FinolaAutoencoder(**config.to_dict())
    except ValueError as error:
        raise InputError(f"network.{error}") from None
