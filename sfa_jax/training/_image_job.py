"""What jobs of autoencoders of single images share, and a finished run as functions from images to codes and back."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax

from sfa_jax import evaluation
from sfa_jax.autoencoders import as_float
from sfa_jax.data import Batch, evenly_spaced
from sfa_jax.evaluation import Picture
from sfa_jax.training._chunks import check_frames, check_rows, in_chunks
from sfa_jax.training._finished import Finished
from sfa_jax.training._inputs import Inputs
from sfa_jax.training._steps import Metrics, TrainState, make_gradient_step, new_state

_CHUNK = 64  # images coded at once
FIT_IMAGES = 20_000  # training images that waves and baselines are fitted to
_MEASURED_BYTES = 256 << 20  # held-out images that are measured; as floats, and drawn, they are eight times as much
_STATISTICS_IMAGES = 2000  # training images whose codes' moments are taken

Readout = dict[str, np.ndarray]
_log = logging.getLogger("sfa_jax")


class ImageNetwork(Protocol):
    """What a job asks of an autoencoder of images, which holds sizes only.

    Attributes:
      code_size: numbers of a code.
      code_shape: of a code, as `decode` takes it.
    """

    @property
    def code_size(self) -> int: ...
    @property
    def code_shape(self) -> tuple[int, ...]: ...
    def init(self, key: jax.Array, frame_shape: Sequence[int], images: np.ndarray | None = None) -> Any: ...
    def encode(
        self, variables: Any, images: jax.Array, weight: jax.Array | None = None, *, train: bool = False
    ) -> tuple[jax.Array, Any]: ...
    def decode(self, params: Any, code: jax.Array, frame_shape: Sequence[int]) -> jax.Array: ...


class ImageJob:
    """`init`, `update`, `evaluate` and `finish` of a network that draws images from codes.

    What differs is in `_loss_of_images`, which training lowers, and `_own_measures`.

    Args:
      config: the resolved config.
      inputs: the data; every frame is an image of its own.
      network: the sizes; they fit the images.
      optimizer: of the parameters.
      n_steps: of training.
    """

    fixed: tuple[str, ...] = ()
    shared_axis = 1  # devices share the images of a batch
    baselines: tuple[str, ...] = ("pca", "dct", "dct_best")

    def __init__(
        self,
        config: Any,
        inputs: Inputs,
        network: ImageNetwork,
        optimizer: optax.GradientTransformation,
        n_steps: int,
    ):
        self._config, self._runs, self._store = config, inputs.runs, inputs.store
        self._frame_shape = inputs.store.shape
        self._image_network, self._optimizer, self.n_steps = network, optimizer, n_steps
        parts = list(zip(inputs.runs, inputs.splits, strict=True))
        held_out = [run.frames[split.held_out_start :] for run, split in parts]
        self._is_held_out = [np.arange(len(run)) >= split.held_out_start for run, split in parts]
        self._n_held_out = sum(map(len, held_out))
        self._held_out = self._measured_images([frames for frames in held_out if len(frames)])
        self.update = make_gradient_step(self._loss, optimizer)

    def init(self) -> TrainState:
        init_key, step_key = jax.random.split(jax.random.key(self._config.seed))
        variables = self._image_network.init(init_key, self._frame_shape, self._images_to_begin_at())
        readout = jax.tree.map(jnp.asarray, self._blank_readout())
        return new_state(step_key, variables, self._optimizer, readout)

    def evaluate(self, state: TrainState, *, final: bool) -> tuple[Readout, Any, dict[str, float]]:
        """The loss and the PSNR of held-out images, and the moments of the codes of training images.

        Raises:
          FloatingPointError: a code is not finite.
        """
        del final
        model = self._model(state)
        codes = np.concatenate([model(part) for part in self._training(_STATISTICS_IMAGES)])
        if not np.isfinite(codes).all():
            raise FloatingPointError("the codes of the training images are not finite: lower train.learning_rate")
        readout = self._readout(codes)
        drawn, true = model.reconstruct(self._held_out), self._held_out / np.float32(255)
        loss = self._held_out_loss(state, drawn)
        return readout, None, {"loss": loss, "psnr": float(evaluation.psnr(drawn, true).mean())}

    def finish(
        self,
        state: TrainState,
        measured: Any,
        records: Sequence[Mapping[str, Any]],
        poll: Callable[[], None],
    ) -> Finished:
        """Measures the run; `poll` is called between the parts, where it may end the run."""
        del measured
        model = self._model(state)
        size = self._image_network.code_size
        summary = evaluation.image_measures(model.reconstruct, self._held_out)
        summary |= {"held_out_images": float(self._n_held_out and len(self._held_out)), "code_size": float(size)}
        summary["parameters"] = float(sum(x.size for x in jax.tree.leaves(state.params)))
        poll()
        drawn: dict[str, Callable[[np.ndarray], np.ndarray]] = {self._name: model.reconstruct}
        train = np.concatenate(self._training(FIT_IMAGES))
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
        own, pictures = self._own_measures(state, model, codes, poll)
        pictures = [
            Picture("reconstructions.png", lambda f: evaluation.plot_reconstructions(f, self._held_out, drawn)),
            *evaluation.loss_pictures(records, self._loss_name),
            *pictures,
        ]
        return Finished(summary | own, codes, self._is_held_out, pictures)

    def _blank_readout(self) -> Readout:
        """Of the shapes of `_readout`, before there is anything to be kept."""
        size = self._image_network.code_size
        return {"mean": np.zeros(size, np.float32), "deviation": np.ones(size, np.float32)}

    def _readout(self, codes: np.ndarray) -> Readout:
        """What a finished run keeps of the codes `[n, code_size]` of training images."""
        return {"mean": codes.mean(axis=0), "deviation": codes.std(axis=0)}

    @property
    def _loss_name(self) -> str:
        """Of the loss, in pictures."""
        return "mean squared error"

    @property
    def _name(self) -> str:
        """Of what is learned, in pictures."""
        raise NotImplementedError

    def _images_to_begin_at(self) -> np.ndarray | None:
        return None

    @staticmethod
    def restore(config: Any, state: Mapping[str, Any], frame_shape: tuple[int, ...]) -> Any:
        """What a run has learned, from the state that its checkpoint holds."""
        raise NotImplementedError

    def _model(self, state: TrainState) -> Any:
        """What the state has learned so far: what a checkpoint of it would be restored as."""
        return self.restore(self._config, state._asdict(), self._frame_shape)

    def _held_out_loss(self, state: TrainState, drawn: np.ndarray) -> float:
        raise NotImplementedError

    def _own_measures(
        self, state: TrainState, model: Any, codes: Sequence[np.ndarray], poll: Callable[[], None]
    ) -> tuple[dict[str, float], list[Picture]]:
        """Measures what other jobs have not, and lists the pictures of it."""
        raise NotImplementedError

    def _loss_of_images(
        self, params: Any, state: TrainState, key: jax.Array, images: jax.Array, weight: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array], Any]:
        """Of images in [0, 1]: `(loss [n], its terms [n] by name, batch_stats)`."""
        raise NotImplementedError

    def _loss(self, params: Any, state: TrainState, batch: Batch) -> tuple[jax.Array, tuple[Metrics, jax.Array, Any]]:
        images = as_float(batch.frames.reshape(-1, *self._frame_shape))
        weight = batch.valid.reshape(-1).astype(jnp.float32)
        key = jax.random.fold_in(jax.random.wrap_key_data(state.rng), state.step)
        losses, terms, batch_stats = self._loss_of_images(params, state, key, images, weight)

        def mean(values: jax.Array) -> jax.Array:
            return jnp.sum(weight * values) / jnp.maximum(jnp.sum(weight), 1)

        return mean(losses), (jax.tree.map(mean, terms), state.carry, batch_stats)

    def _measured_images(self, held_out: Sequence[np.ndarray]) -> np.ndarray:
        """The held-out images that are measured: all, or evenly spaced ones of very many."""
        if not held_out:
            return np.concatenate(self._training(1000))
        most = max(1, _MEASURED_BYTES // self._store.frame_bytes)
        images = evenly_spaced(held_out, most)
        if len(images) < self._n_held_out:
            _log.info("%d of %d held-out images are measured, evenly spaced", len(images), self._n_held_out)
        return images

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

    def __init__(self, network: Any, variables: Any, readout: dict[str, Any], frame_shape: tuple[int, ...]):
        self.network, self.readout, self.frame_shape = network, readout, tuple(frame_shape)
        self.variables = jax.device_put(variables, jax.local_devices()[0])
        self._encode = jax.jit(lambda variables, x: network.encode(variables, x)[0].reshape(len(x), -1))
        self._decode = jax.jit(
            lambda params, z: network.decode(params, z.reshape(len(z), *network.code_shape), self.frame_shape)
        )

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
