"""The job of neural slow feature analysis: what is trained, and what is measured and written of it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sfa_jax import evaluation
from sfa_jax.slowness import LinearSFA, memory_reliance, shuffle_control_delta
from sfa_jax.training._embeddings import write_embeddings
from sfa_jax.training._inputs import Inputs
from sfa_jax.training._model import SlowModel, make_network
from sfa_jax.training._objectives import make_objective
from sfa_jax.training._steps import TrainState, init_state, make_optimizer, make_train_step

_QUICK_FRAMES = 20_000  # training frames of a measure taken during training, and of the baselines
_CONTROL_FRAMES = 4_000  # frames that the shuffle control runs on, counted over all orders
_LINEAR_INPUTS, _QUADRATIC_INPUTS = 128, 32  # principal components that closed-form slow features are made of
_CALIBRATION_FRAMES = 512  # frames that give the untrained encoder its batch statistics


class Part(NamedTuple):
    """Frames `[start, stop)` of one run."""

    run: int
    start: int
    stop: int


class Measured(NamedTuple):
    """What `evaluate` found: raw embeddings `[time, dim]` of each part, and the readout solved on the training ones."""

    train: list[np.ndarray]
    held_out: list[np.ndarray]
    whole: list[np.ndarray]  # every frame of each run; empty for a quick measure
    readout: LinearSFA


class SlowNetworkJob:
    """`init`, `update`, `evaluate` and `finish` of a network trained for slowness.

    Args:
      config: the resolved config.
      inputs: the data.
      n_steps: length of the whole training.

    Raises:
      InputError: a choice has an unknown name.
    """

    def __init__(self, config: Any, inputs: Inputs, n_steps: int):
        self._config, self._runs, self._batch_size = config, inputs.runs, inputs.sampler.batch_size
        self._frame_shape = inputs.store.shape
        self._network = make_network(config.network)
        self._objective = make_objective(config.objective, config.network.dim)
        self._optimizer = make_optimizer(config.train, n_steps)
        self.update = make_train_step(self._network, self._objective, self._optimizer)
        self._loss = jax.jit(self._objective)
        self._init = jax.jit(  # compiled once for the run and for its untrained baseline
            lambda key: init_state(key, self._network, self._optimizer, self._frame_shape, self._batch_size)
        )
        parts = [
            (Part(i, 0, s.train_stop), Part(i, s.held_out_start, len(inputs.runs[i])))
            for i, s in enumerate(inputs.splits)
        ]
        self._train = [train for train, _ in parts]
        self._held_out = [held_out for _, held_out in parts if held_out.start < held_out.stop]
        self._n_held_out = sum(part.stop - part.start for part in self._held_out)
        self._held_out = self._held_out or self._train  # nothing to hold out: said at the start, and counted as 0

    @staticmethod
    def check(config: Any) -> None:
        """Raises what the constructor would of the config alone, before any data are read.

        Raises:
          InputError: a choice has an unknown name.
        """
        make_network(config.network)
        make_objective(config.objective, config.network.dim)
        make_optimizer(config.train, n_steps=1)

    def init(self) -> TrainState:
        return self._init(jax.random.key(self._config.seed))

    def evaluate(self, state: TrainState, *, final: bool) -> tuple[TrainState, Measured, dict[str, float]]:
        """Solves the readout on the training frames and measures the loss on the held-out ones.

        During training (`final` false) only the first training frames are looked at where there are very many; the
        held-out ones always all, so that losses can be compared.

        Raises:
          FloatingPointError: the embedding of the training frames is not finite, so that nothing can be solved.
        """
        measured = self._measure(self._model(state), final)
        y = np.concatenate(measured.held_out)[None]
        reset = np.zeros(y.shape[:2], bool)
        reset[0, np.cumsum([0, *(len(part) for part in measured.held_out[:-1])])] = True
        loss, _ = self._loss(y, np.ones_like(reset), reset)
        found = {"mean": measured.readout.mean, "matrix": np.asarray(measured.readout.components).T}
        place = state.readout["mean"].sharding
        solved = {name: jax.device_put(np.asarray(value, np.float32), place) for name, value in found.items()}
        metrics = {"loss": float(loss), "effective_rank": evaluation.effective_rank_of(y[0])}
        return state._replace(readout=solved), measured, metrics

    def finish(
        self,
        state: TrainState,
        measured: Measured,
        workdir: Path,
        records: Sequence[Mapping[str, Any]],
        poll: Callable[[], None],
    ) -> dict[str, float]:
        """Writes `embeddings.npz` and the plots; returns the measures of the summary.

        `poll` is called between the parts, where it may end the run.
        """
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
        summary["held_out_frames"] = float(self._n_held_out)
        code = [model.read_out(y) for y in measured.whole]
        write_embeddings(workdir / "embeddings.npz", code, self._runs, self._is_held_out())
        if self._config.evaluation.plots:
            shown = [model.read_out(y)[:, : int(measured.readout.rank)] for y in measured.held_out]
            evaluation.plot_run(workdir / "plots", shown, held_truth, records)
        return summary

    def _is_held_out(self) -> list[np.ndarray]:
        held_out = [np.zeros(len(run), bool) for run in self._runs]
        for part in self._held_out if self._n_held_out else []:
            held_out[part.run][part.start : part.stop] = True
        return held_out

    def _model(self, state: TrainState) -> SlowModel:
        variables = {"params": state.params, "batch_stats": state.batch_stats}
        return SlowModel(self._network, variables, state.readout, self._frame_shape)

    def _measure(self, model: SlowModel, final: bool) -> Measured:
        if final:
            whole = [model.embed(run.frames) for run in self._runs]
            train, held_out = (
                [whole[p.run][p.start : p.stop] for p in parts] for parts in (self._train, self._held_out)
            )
        else:
            whole = []
            train, held_out = (
                [model.embed(frames) for frames in self._frames(_shorten(parts, _QUICK_FRAMES))]
                for parts in (self._train, self._held_out)
            )
        if not all(np.isfinite(y).all() for y in train):
            raise FloatingPointError(
                "the embedding of the training frames is not finite: the parameters have grown out of range, or the "
                "recurrence runs away over a long run"
            )
        return Measured(train, held_out, whole, evaluation.solve_readout(train))

    def _frames(self, parts: Sequence[Part]) -> list[np.ndarray]:
        return [self._runs[part.run].frames[part.start : part.stop] for part in parts]

    def _truth(self, parts: Sequence[Part]) -> list[dict[str, np.ndarray]]:
        names = set.intersection(*(set(run.truth) for run in self._runs))
        ordered = [name for name in self._runs[0].truth if name in names]
        return [{name: self._runs[p.run].truth[name][p.start : p.stop] for name in ordered} for p in parts]

    def _controls(self, model: SlowModel, measured: Measured) -> dict[str, float]:
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
        the untrained network.
        """
        train, held_out = _shorten(self._train, _QUICK_FRAMES), self._held_out
        frames = self._frames(train), self._frames(held_out)
        every = -(-sum(len(part) for part in frames[0]) // _CALIBRATION_FRAMES)
        untrained = self._untrained(np.concatenate([part[::every] for part in frames[0]]))
        dim = self._network.dim
        scores = evaluation.pca_codes(*frames, max(dim, _LINEAR_INPUTS))
        first, few = ([[y[:, :n] for y in part] for part in scores] for n in (dim, _QUADRATIC_INPUTS))
        embedded = {
            "pca": first,
            "linear_sfa": evaluation.sfa_codes(scores[0], scores[1], dim, degree=1),
            "quadratic_sfa": evaluation.sfa_codes(few[0], few[1], dim, degree=2),
            "untrained": ([untrained.embed(part) for part in frames[0]], [untrained.embed(part) for part in frames[1]]),
        }
        measures: dict[str, float] = {}
        for name, (y_train, y_held_out) in embedded.items():
            found = evaluation.code_measures(y_train, y_held_out, self._truth(train), self._truth(held_out))
            measures |= {f"baseline/{name}/{measure}": value for measure, value in found.items()}
        return measures

    def _untrained(self, frames: np.ndarray) -> SlowModel:
        """The network as initialised, its batch statistics taken from `frames` as a trained one's would be."""
        state = self.init()
        encoder = self._network.encoder.clone(momentum=0.0)
        collections = {"params": state.params["encoder"], "batch_stats": state.batch_stats}
        calibrate = jax.jit(lambda x: encoder.apply(collections, x, train=True, mutable=["batch_stats"])[1])
        variables = {"params": state.params, **calibrate(frames)}
        return SlowModel(self._network, variables, state.readout, self._frame_shape)


def _shorten(parts: Sequence[Part], n_frames: int) -> list[Part]:
    """The first parts, up to a number of frames in all."""
    short, left = [], n_frames
    for part in parts:
        if left >= 2:
            short.append(part._replace(stop=min(part.stop, part.start + left)))
            left -= short[-1].stop - short[-1].start
    return short
