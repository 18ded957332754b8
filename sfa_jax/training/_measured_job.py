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
from sfa_jax.evaluation import Picture
from sfa_jax.slowness import LinearSFA
from sfa_jax.training._finished import Finished
from sfa_jax.training._inputs import Inputs
from sfa_jax.training._parts import Part, n_frames_of, thin
from sfa_jax.training._steps import TrainState, new_state

_log = logging.getLogger("sfa_jax")

HELD_OUT_FRAMES = 50_000  # measured at most, in evenly spaced stretches
READ_FRAMES = 100_000  # training frames that readouts and baselines are fitted on at most, in evenly spaced stretches
QUICK_FRAMES = 20_000  # training frames of a measure taken during training
_LINEAR_INPUTS, _QUADRATIC_INPUTS = 128, 32  # principal components that closed-form slow features are made of

Codes = Sequence[np.ndarray]
Readout = dict[str, np.ndarray]


class Model(Protocol):
    """The function from frames to the code that a state holds."""

    def __call__(self, frames: np.ndarray) -> np.ndarray: ...
    def read_out(self, y: np.ndarray) -> np.ndarray: ...
    def embed_without_memory(self, frames: np.ndarray, y_before: np.ndarray) -> np.ndarray: ...


class Measured(NamedTuple):
    """Embeddings `[time, dim]` of each part that is measured, and the readout solved on all training frames."""

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
    closed_form = False
    baselines: tuple[str, ...] = ("pca", "linear_sfa", "quadratic_sfa")

    def __init__(self, config: Any, inputs: Inputs, dim: int):
        self._config, self._runs, self._dim, self._frame_shape = config, inputs.runs, dim, inputs.store.shape
        splits = list(enumerate(inputs.splits))
        self._train = [Part(i, *frames) for i, split in splits for frames in split.train]
        self._kept_from_training = [Part(i, *frames) for i, split in splits for frames in split.held_out]
        self._read = _thinned(self._train, READ_FRAMES, "training frames", "readouts and baselines are fitted on")
        held_out = _thinned(self._kept_from_training, HELD_OUT_FRAMES, "held-out frames", "measures are taken on")
        self._n_held_out = n_frames_of(held_out)
        self._held_out = held_out or self._read  # nothing to hold out: said at the start, and counted as 0

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
            every, train, held_out = (
                [whole[p.run][p.start : p.stop] for p in parts] for parts in (self._train, self._read, self._held_out)
            )
        else:
            whole = []
            train, held_out = (
                [model.embed(frames) for frames in self._frames(parts)]
                for parts in (thin(self._train, QUICK_FRAMES), self._held_out)
            )
            every = train
        if not all(np.isfinite(y).all() for y in every):
            raise FloatingPointError(
                "the embedding of the training frames is not finite: the parameters have grown out of range, or the "
                "recurrence runs away over a long run"
            )
        return Measured(train, held_out, whole, evaluation.solve_readout(every))

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
        summary = self._measures_of(measured.train, measured.held_out, measured.readout)
        summary |= evaluation.truth_range_measures(self._truth(self._train), held_truth)
        poll()
        summary |= self._controls(model, measured)
        poll()
        summary |= self._baselines()
        poll()
        summary |= {"held_out_frames": float(self._n_held_out), "dim": float(self._dim)}
        summary |= {"closed_form": 1.0} if self.closed_form else {}
        code = [self._code(model, y) for y in measured.whole]
        pictures = [
            *self._code_pictures(model, measured),
            *evaluation.delta_pictures(summary),
            *self._filter_pictures(state),
            *evaluation.loss_pictures(records, self.loss_name),
        ]
        return Finished(summary, code, self._is_held_out(), pictures)

    def _code_pictures(self, model: Model, measured: Measured) -> list[Picture]:
        """List the pictures of the code of the held-out frames, in standard deviations of the training frames."""
        rank = int(measured.readout.rank)
        if not rank:
            return []
        held_out, train = (
            [self._code(model, y)[:, :rank] for y in part] for part in (measured.held_out, measured.train)
        )
        code, parts = evaluation.in_training_deviations(held_out, train), self._held_out

        def image_of(part: int, frame: int) -> np.ndarray:
            at = parts[part].start + frame
            return self._frames([parts[part]._replace(start=at, stop=at + 1)])[0][0]

        def place_of(part: int, frame: int) -> str:
            at = parts[part]
            return (f"sequence {at.run}, " if len(self._runs) > 1 else "") + f"frame {at.start + frame}"

        extremes = evaluation.find_extremes(code)
        return [
            *evaluation.code_pictures(code, self._truth(parts)),
            *evaluation.extreme_pictures(extremes, image_of, place_of),
        ]

    def _filter_pictures(self, state: TrainState) -> list[Picture]:
        """List the picture of the filters that see the pixels, where there are any."""
        raise NotImplementedError

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

    def _measures_of(self, train: Codes, held_out: Codes, readout: LinearSFA | None = None) -> dict[str, float]:
        """The measures of a code of the frames of `_read` and `_held_out`."""
        return evaluation.code_measures(
            train,
            held_out,
            self._truth(self._read),
            self._truth(self._held_out),
            readout=readout,
            sequences=([part.run for part in self._read], [part.run for part in self._held_out]),
        )

    def _controls(self, model: Model, measured: Measured) -> dict[str, float]:
        """The controls of each feature on the held-out frames."""
        rank = int(measured.readout.rank)
        if rank == 0:
            return {}
        y_before = np.concatenate(measured.train).mean(axis=0)
        return evaluation.control_measures(
            lambda frames: model(frames)[:, :rank],
            lambda frames: model.read_out(model.embed_without_memory(frames, y_before))[:, :rank],
            self._frames(self._held_out),
            [self._code(model, y)[:, :rank] for y in measured.held_out],
            key=jax.random.key(self._config.seed),
        )

    def _baselines(self) -> dict[str, float]:
        """The measures, on the same frames, of what needs no training or has a closed form, of the same size.

        PCA of the pixels; the slowest linear features of many principal components; the slowest quadratic ones of few;
        the untrained model.
        """
        frames = self._frames(self._read), self._frames(self._held_out)
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
            found = self._measures_of(y_train, y_held_out)
            measures |= {f"baseline/{name}/{measure}": value for measure, value in found.items()}
        return measures


def _thinned(parts: Sequence[Part], most: int, frames: str, what: str) -> list[Part]:
    """Evenly spaced stretches of parts with very many frames; says how many are taken."""
    taken, total = thin(parts, most), n_frames_of(parts)
    if (count := n_frames_of(taken)) < total:
        _log.info("%s %d of %d %s, in evenly spaced stretches", what, count, total, frames)
    return taken
