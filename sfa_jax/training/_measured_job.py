"""What the jobs that learn a slow code share: the parts of the data, the final measures, and the pictures."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax

from sfa_jax import evaluation
from sfa_jax._errors import InputError
from sfa_jax.slowness import LinearSFA, memory_reliance, shuffle_control_delta
from sfa_jax.training._finished import Finished
from sfa_jax.training._inputs import Inputs
from sfa_jax.training._steps import TrainState, new_state

_log = logging.getLogger("sfa_jax")

HELD_OUT_FRAMES = 50_000  # that are measured, at most: quadratic features of more would not fit in memory
QUICK_FRAMES = 20_000  # training frames of a measure taken during training, and of the baselines
_CONTROL_FRAMES = 4_000  # frames that the shuffle control runs on, counted over all orders
_LINEAR_INPUTS, _QUADRATIC_INPUTS = 128, 32  # principal components that closed-form slow features are made of

Codes = Sequence[np.ndarray]
Readout = dict[str, np.ndarray]


class Model(Protocol):
    """The function from frames to the code that a state holds."""

    def __call__(self, frames: np.ndarray) -> np.ndarray: ...
    def read_out(self, y: np.ndarray) -> np.ndarray: ...
    def embed_without_memory(self, frames: np.ndarray, y_before: np.ndarray) -> np.ndarray: ...


class Part(NamedTuple):
    """Frames `[start, stop)` of one run."""

    run: int
    start: int
    stop: int


class Measured(NamedTuple):
    """What `evaluate` found: embeddings `[time, dim]` of each part, and the readout solved on the training ones."""

    train: list[np.ndarray]
    held_out: list[np.ndarray]
    whole: list[np.ndarray]  # every frame of each run; empty for a quick measure
    readout: LinearSFA


def check_baselines(config: Any, known: Sequence[str]) -> None:
    """Raises on a baseline that a job does not know.

    Raises:
      InputError: names it.
    """
    for name in config.evaluation.baselines:
        if name not in known:
            raise InputError(f"evaluation.baselines: expected some of {tuple(known)}, got {name!r}")


class MeasuredJob:
    """The parts of the data, and `finish`; a job adds how it learns, and the model that its state holds.

    Args:
      config: the resolved config.
      inputs: the data.
      dim: size of the code.
    """

    fixed: tuple[str, ...] = ()
    loss_name = "loss"
    baselines: tuple[str, ...] = ("pca", "linear_sfa", "quadratic_sfa")

    def __init__(self, config: Any, inputs: Inputs, dim: int):
        self._config, self._runs, self._dim, self._frame_shape = config, inputs.runs, dim, inputs.store.shape
        parts = [
            (Part(i, 0, s.train_stop), Part(i, s.held_out_start, len(inputs.runs[i])))
            for i, s in enumerate(inputs.splits)
        ]
        self._train = [train for train, _ in parts if train.start < train.stop]
        self._held_out = [held_out for _, held_out in parts if held_out.start < held_out.stop]
        self._kept_from_training = self._held_out
        n_held_out = sum(part.stop - part.start for part in self._held_out)
        self._held_out = _fewer(self._held_out, HELD_OUT_FRAMES)
        self._n_held_out = sum(part.stop - part.start for part in self._held_out)
        if self._n_held_out < n_held_out:
            _log.info("%d of %d held-out frames are measured, the first of each run", self._n_held_out, n_held_out)
        self._held_out = self._held_out or self._train  # nothing to hold out: said at the start, and counted as 0

    def _begin(self, network: Any, optimizer: optax.GradientTransformation) -> TrainState:
        """The state before the first step of a network without a carry."""
        init_key, step_key = jax.random.split(jax.random.key(self._config.seed))
        variables = network.init(init_key, self._frame_shape)
        readout = {"mean": jnp.zeros(self._dim), "matrix": jnp.eye(self._dim)}
        return new_state(step_key, variables, optimizer, readout)

    @staticmethod
    def _readout(measured: "Measured") -> Readout:
        """What a finished run keeps: its code is (y - mean) @ matrix."""
        return {"mean": np.asarray(measured.readout.mean), "matrix": np.asarray(measured.readout.components).T}

    @staticmethod
    def restore(config: Any, state: Mapping[str, Any], frame_shape: tuple[int, ...]) -> Any:
        """What a run has learned, from the state that its checkpoint holds."""
        raise NotImplementedError

    def _model(self, state: TrainState) -> Any:
        """What the state has learned so far: what a checkpoint of it would be restored as."""
        return self.restore(self._config, state._asdict(), self._frame_shape)

    def _measure(self, model: Any, final: bool) -> Measured:
        """Embeddings of all frames, or during training of the first training frames and the held-out ones.

        Raises:
          FloatingPointError: an embedding of a training frame is not finite.
        """
        if final:
            whole = [model.embed(run.frames) for run in self._runs]
            train, held_out = (
                [whole[p.run][p.start : p.stop] for p in parts] for parts in (self._train, self._held_out)
            )
        else:
            whole = []
            train, held_out = (
                [model.embed(frames) for frames in self._frames(shorten(parts, QUICK_FRAMES))]
                for parts in (self._train, self._held_out)
            )
        if not all(np.isfinite(y).all() for y in train):
            raise FloatingPointError(
                "the embedding of the training frames is not finite: the parameters have grown out of range, or the "
                "recurrence runs away over a long run"
            )
        return Measured(train, held_out, whole, evaluation.solve_readout(train))

    def _code(self, model: Model, y: np.ndarray) -> np.ndarray:
        """The code of the embeddings that `evaluate` gives."""
        return model.read_out(y)

    def _untrained_codes(self, train: list[np.ndarray], held_out: list[np.ndarray]) -> tuple[Codes, Codes]:
        """Codes of the frames of each part by the same model before it has learned anything."""
        raise NotImplementedError

    def finish(
        self,
        state: TrainState,
        measured: Measured,
        records: Sequence[Mapping[str, Any]],
        poll: Callable[[], None],
    ) -> Finished:
        """Measures the run; `poll` is called between the parts, where it may end the run."""
        model = self._model(state)
        held_truth = self._truth(self._held_out)
        summary = evaluation.code_measures(
            measured.train, measured.held_out, self._truth(self._train), held_truth, readout=measured.readout
        )
        poll()
        summary |= self._controls(model, measured)
        poll()
        summary |= self._baselines()
        poll()
        summary |= {"held_out_frames": float(self._n_held_out), "dim": float(self._dim)}
        code = [self._code(model, y) for y in measured.whole]
        shown = [self._code(model, y)[:, : int(measured.readout.rank)] for y in measured.held_out]
        pictures = evaluation.code_pictures(shown, held_truth) + evaluation.loss_pictures(records, self.loss_name)
        return Finished(summary, code, self._is_held_out(), pictures)

    def _is_held_out(self) -> list[np.ndarray]:
        held_out = [np.zeros(len(run), bool) for run in self._runs]
        for part in self._kept_from_training:
            held_out[part.run][part.start : part.stop] = True
        return held_out

    def _frames(self, parts: Sequence[Part]) -> list[np.ndarray]:
        return [self._runs[part.run].frames[part.start : part.stop] for part in parts]

    def _truth(self, parts: Sequence[Part]) -> list[dict[str, np.ndarray]]:
        names = set.intersection(*(set(run.truth) for run in self._runs))
        ordered = [name for name in self._runs[0].truth if name in names]
        return [{name: self._runs[p.run].truth[name][p.start : p.stop] for name in ordered} for p in parts]

    def _controls(self, model: Model, measured: Measured) -> dict[str, float]:
        """The two controls, on the longest held-out part."""
        part = max(self._held_out, key=lambda part: part.stop - part.start)
        frames = self._frames([part._replace(stop=min(part.stop, part.start + _CONTROL_FRAMES))])[0]
        rank = int(measured.readout.rank)
        if rank == 0:
            return {}

        def code(x: jax.Array | np.ndarray) -> jax.Array:
            return jnp.asarray(model(np.asarray(x))[:, :rank])

        key = jax.random.key(self._config.seed)
        n_shuffles = min(_CONTROL_FRAMES // len(frames), 20) or 1
        shuffled = shuffle_control_delta(code, frames, key, n_shuffles=n_shuffles)
        ablated = model.embed_without_memory(frames, np.concatenate(measured.train).mean(axis=0))
        reliance = jax.jit(memory_reliance)(code(frames), jnp.asarray(model.read_out(ablated)[:, :rank]))
        found = {"shuffle_control_delta": float(shuffled), "memory_reliance": float(reliance)}
        return {name: value for name, value in found.items() if np.isfinite(value)}

    def _baselines(self) -> dict[str, float]:
        """The measures, on the same frames, of what needs no training or has a closed form, of the same size.

        PCA of the pixels; the slowest linear features of many principal components; the slowest quadratic ones of few;
        the untrained model.
        """
        train, held_out = shorten(self._train, QUICK_FRAMES), self._held_out
        frames = self._frames(train), self._frames(held_out)
        wanted = self._config.evaluation.baselines
        n_scores = _LINEAR_INPUTS if "linear_sfa" in wanted else _QUADRATIC_INPUTS
        scores = evaluation.pca_codes(*frames, max(self._dim, n_scores))
        first, few = ([[y[:, :n] for y in part] for part in scores] for n in (self._dim, _QUADRATIC_INPUTS))
        codes: dict[str, Callable[[], tuple[Codes, Codes]]] = {
            "pca": lambda: (first[0], first[1]),
            "linear_sfa": lambda: evaluation.sfa_codes(scores[0], scores[1], self._dim, degree=1),
            "quadratic_sfa": lambda: evaluation.sfa_codes(few[0], few[1], self._dim, degree=2),
            "untrained": lambda: self._untrained_codes(*frames),
        }
        measures: dict[str, float] = {}
        for name in wanted:
            try:
                y_train, y_held_out = codes[name]()
            except ValueError as error:  # a run is not lost because its first frames are all the same
                _log.warning("the baseline %r is left out: %s", name, error)
                continue
            found = evaluation.code_measures(y_train, y_held_out, self._truth(train), self._truth(held_out))
            measures |= {f"baseline/{name}/{measure}": value for measure, value in found.items()}
        return measures


def _fewer(parts: Sequence[Part], n_frames: int) -> list[Part]:
    """The first frames of each part, the same share of all, so many in all."""
    total = sum(part.stop - part.start for part in parts)
    if total <= n_frames:
        return list(parts)
    share = n_frames / total
    return [part._replace(stop=part.start + max(2, int(share * (part.stop - part.start)))) for part in parts]


def shorten(parts: Sequence[Part], n_frames: int) -> list[Part]:
    """The first parts, up to a number of frames in all."""
    short, left = [], n_frames
    for part in parts:
        if left >= 2:
            short.append(part._replace(stop=min(part.stop, part.start + left)))
            left -= short[-1].stop - short[-1].start
    return short
