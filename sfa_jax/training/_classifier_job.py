"""The job of fine-tuning: the encoder of a finished autoencoder learns classes from few labels."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sfa_jax import evaluation
from sfa_jax._errors import InputError
from sfa_jax.autoencoders import Classifier, as_float
from sfa_jax.data import Batch, evenly_spaced
from sfa_jax.training._autoencoder_job import make_plain_autoencoder
from sfa_jax.training._chunks import check_frames, in_chunks
from sfa_jax.training._finished import Finished
from sfa_jax.training._inputs import Inputs
from sfa_jax.training._measured_job import check_baselines
from sfa_jax.training._options import check_classifier
from sfa_jax.training._pretrained import read_pretrained
from sfa_jax.training._steps import Metrics, TrainState, make_gradient_step, make_optimizer, new_state, steps_of

_CHUNK = 64  # images classified at once
_MEASURED = 20_000  # held-out images, at most
_SHARPNESS = 10.0  # from the scores of a regression on 0 and 1 to logits
STARTS = ("pretrained", "random")

Readout = dict[str, np.ndarray]
_log = logging.getLogger("sfa_jax")


class ClassifierJob:
    """`init`, `update`, `evaluate` and `finish` of a `Classifier` on few labelled images.

    The classes are the runs (`training._labels.by_class`), so that a batch's `run_id` is the label. The head begins as
    the linear probe of the encoder's codes: beginning anywhere else, it would spoil the encoder before it knows
    anything itself (Kumar et al., "Fine-tuning can distort pretrained features", ICLR 2022).

    Args:
      config: the resolved config, its `network` that of the pretrained run.
      inputs: the labelled images, one run a class, and the held-out ones.

    Raises:
      InputError: the images are not of the shape that the pretrained run takes.
    """

    fixed: tuple[str, ...] = ("network.", "labels.", "pretrained", "start", "seed")
    shared_axis = 1  # devices share the images of a batch
    baselines: tuple[str, ...] = ("probe", "untrained_probe", "pixel_probe")

    def __init__(self, config: Any, inputs: Inputs):
        self._config, self._runs, self._frame_shape = config, inputs.runs, inputs.store.shape
        pretrained = read_pretrained(config.pretrained)
        if self._frame_shape != pretrained.frame_shape:
            raise InputError(
                f"data.image_size: expected images of {pretrained.frame_shape} (height, width, channel) as "
                f"{config.pretrained} was trained on, got {self._frame_shape}"
            )
        self._pretrained = pretrained.params
        self._train = [run for run in inputs.runs if not run.held_out]
        held_out = [run for run in inputs.runs if run.held_out]
        measured = held_out or self._train
        self._images = evenly_spaced([run.frames for run in measured], _MEASURED)
        self._n_held_out = len(self._images) if held_out else 0
        if self._n_held_out < sum(map(len, held_out)):
            _log.info("%d of %d held-out images are measured", self._n_held_out, sum(map(len, held_out)))
        self._classes = np.array([run.truth[config.labels.name][0] for run in self._train])
        truth = evenly_spaced([run.truth[config.labels.name] for run in measured], _MEASURED)
        self._labels = np.searchsorted(self._classes, truth)
        self._network = Classifier(make_plain_autoencoder(config.network), len(self._classes))
        self.n_steps = steps_of(config.train, inputs.sampler)
        self._optimizer = make_optimizer(config.train, self.n_steps)
        self.update = make_gradient_step(self._loss, self._optimizer)

    @staticmethod
    def check(config: Any) -> None:
        """Raises what the constructor would of the config alone, before any data are read.

        Raises:
          InputError: an option is out of its range, or a choice has an unknown name.
        """
        check_classifier(config)
        check_baselines(config, ClassifierJob.baselines)
        if config.start not in STARTS:
            raise InputError(f"start: expected one of {STARTS}, got {config.start!r}")
        make_plain_autoencoder(config.network)
        make_optimizer(config.train, n_steps=1)

    @staticmethod
    def restore(config: Any, state: Mapping[str, Any], frame_shape: tuple[int, ...]) -> "ClassifierModel":
        """What a run has learned, from the state that its checkpoint holds."""
        variables = {"params": state["params"], "batch_stats": state["batch_stats"]}
        return ClassifierModel(make_plain_autoencoder(config.network), variables, state["readout"], frame_shape)

    def init(self) -> TrainState:
        init_key, step_key = jax.random.split(jax.random.key(self._config.seed))
        variables = self._with_probe(self._pretrained if self._config.start == "pretrained" else None, init_key)
        return new_state(step_key, variables, self._optimizer, {"classes": jnp.asarray(self._classes, jnp.float32)})

    def evaluate(self, state: TrainState, *, final: bool) -> tuple[Readout, Any, dict[str, float]]:
        """Cross-entropy in nats and accuracy on the held-out images."""
        del final
        p = self._model(state).probabilities(self._images)
        if not np.isfinite(p).all():
            raise FloatingPointError("the probabilities of the classes are not finite: lower train.learning_rate")
        metrics = {"loss": _cross_entropy(p, self._labels), "accuracy": _accuracy(p, self._labels)}
        return {"classes": self._classes.astype(np.float32)}, p, metrics

    def finish(
        self,
        state: TrainState,
        measured: np.ndarray,
        records: Sequence[Mapping[str, Any]],
        poll: Callable[[], None],
    ) -> Finished:
        """Measures the run; `poll` is called between the parts, where it may end the run."""
        model = self._model(state)
        summary = {
            "accuracy": _accuracy(measured, self._labels),
            "cross_entropy": _cross_entropy(measured, self._labels),
            "held_out_images": float(self._n_held_out),
            "labelled_images": float(sum(map(len, self._train))),
            "classes": float(len(self._classes)),
        }
        key = jax.random.split(jax.random.key(self._config.seed))[0]
        for name in self._config.evaluation.baselines:
            poll()
            if name == "pixel_probe":
                pixels = [x.reshape(len(x), -1) / 255 for x in (self._labelled()[0], self._images)]
                found = self._probe(pixels[0])(pixels[1])
                summary[f"baseline/{name}/accuracy"] = float(np.mean(found == self._classes[self._labels]))
                continue
            encoder = self._pretrained if name == "probe" else None
            probe = ClassifierModel(
                self._network.autoencoder, self._with_probe(encoder, key), model.readout, self._frame_shape
            )
            summary[f"baseline/{name}/accuracy"] = _accuracy(probe.probabilities(self._images), self._labels)
        poll()
        held_out = [np.full(len(run), bool(run.held_out)) for run in self._runs]
        pictures = evaluation.class_pictures(self._images, measured, self._labels, self._classes)
        pictures += evaluation.loss_pictures(records, "cross-entropy, nats")
        return Finished(summary, [model(run.frames) for run in self._runs], held_out, pictures)

    def _labelled(self) -> tuple[np.ndarray, np.ndarray]:
        frames = np.concatenate([run.frames for run in self._train])
        return frames, np.repeat(self._classes, [len(run) for run in self._train])

    def _probe(self, codes: np.ndarray) -> evaluation.Probe:
        return evaluation.fit_probe(codes, self._labelled()[1])

    def _with_probe(self, encoder: Any, key: jax.Array) -> Any:
        """Variables whose head is the linear probe of an encoder's codes; of a random encoder if None."""
        variables = self._network.init(key, self._frame_shape)
        if encoder is not None:
            variables["params"]["encoder"] = encoder
        encode = jax.jit(self._network.encode)
        codes = in_chunks(lambda x: encode(variables, x), self._labelled()[0], _CHUNK)
        probe = self._probe(codes)
        head = {"kernel": _SHARPNESS * probe.weights, "bias": _SHARPNESS * probe.offset}
        variables["params"]["head"] = {name: jnp.asarray(x, jnp.float32) for name, x in head.items()}
        scale = np.where(np.isfinite(probe.scale), probe.scale, np.finfo(np.float32).max)  # what never changes
        variables["batch_stats"] = {
            "mean": jnp.asarray(probe.mean, jnp.float32),
            "scale": jnp.asarray(scale, jnp.float32),
        }
        return variables

    def _model(self, state: TrainState) -> "ClassifierModel":
        return self.restore(self._config, state._asdict(), self._frame_shape)

    def _loss(self, params: Any, state: TrainState, batch: Batch) -> tuple[jax.Array, tuple[Metrics, jax.Array, Any]]:
        images = as_float(batch.frames.reshape(-1, *self._frame_shape))
        variables = {"params": params, "batch_stats": state.batch_stats}
        loss = jnp.mean(self._network.loss(variables, images, batch.run_id))
        return loss, ({}, state.carry, state.batch_stats)


class ClassifierModel:
    """A finished run: images to classes.

    Attributes:
      network: the sizes.
      variables: `{"params", "batch_stats"}`.
      readout: `classes [n_classes]`, the labels.
      frame_shape: `(height, width, channel)` of the images it takes.
    """

    def __init__(self, autoencoder: Any, variables: Any, readout: Mapping[str, Any], frame_shape: tuple[int, ...]):
        self.readout, self.frame_shape = readout, tuple(frame_shape)
        self.network = Classifier(autoencoder, len(np.asarray(readout["classes"])))
        self.variables = jax.device_put(variables, jax.local_devices()[0])
        self._encode = jax.jit(self.network.encode)
        self._probabilities = jax.jit(lambda variables, x: jax.nn.softmax(self.network.logits(variables, x)))

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """The codes `[n, code_size]` of images `[n, height, width, channel]`, uint8 or in [0, 1]."""
        check_frames(frames, self.frame_shape)
        return in_chunks(lambda x: self._encode(self.variables, x), frames, _CHUNK)

    def probabilities(self, frames: np.ndarray) -> np.ndarray:
        """p(class given image), `[n, n_classes]`, in the order of `readout["classes"]`."""
        check_frames(frames, self.frame_shape)
        return in_chunks(lambda x: self._probabilities(self.variables, x), frames, _CHUNK)

    def classify(self, frames: np.ndarray) -> np.ndarray:
        """The likeliest label `[n]` of each image."""
        return np.asarray(self.readout["classes"])[np.argmax(self.probabilities(frames), axis=1)]


def _cross_entropy(p: np.ndarray, labels: np.ndarray) -> float:
    return float(-np.mean(np.log(np.maximum(p[np.arange(len(p)), labels], 1e-30))))


def _accuracy(p: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean(np.argmax(p, axis=1) == labels))
