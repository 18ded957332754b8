"""The job of dictionary learning: batches of signals, an update each, and sparse codes of what was held out."""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sfa_jax import evaluation, sparse
from sfa_jax._errors import InputError
from sfa_jax.data import Batch, ClipSampler, FrameStore
from sfa_jax.evaluation import Picture
from sfa_jax.training._chunks import check_frames, check_rows, in_chunks
from sfa_jax.training._finished import Finished
from sfa_jax.training._inputs import Inputs
from sfa_jax.training._measured_job import check_baselines
from sfa_jax.training._options import check_sparse
from sfa_jax.training._sparse_signals import Signals
from sfa_jax.training._steps import Metrics, TrainState, steps_of

_SAMPLE = 20_000  # training signals that the first atoms and principal components are of
_MEASURED = 5000  # held-out signals, the same for every seed
_CHUNK = 32  # frames coded at once
_MOST_PICKED = 40  # atoms of the curve of what is left
_IMAGES = 64  # whose kurtosis is measured
_SERIES = 1000  # frames of a series that sinusoids are fitted to, at most
_SERIES_FRAMES = 20_000  # of the longest run

Readout = dict[str, np.ndarray]


class SparseCodingJob:
    """`init`, `update`, `evaluate` and `finish` of a dictionary of patches, frames, or pixels over time.

    Args:
      config: the resolved config.
      inputs: the data.

    Raises:
      InputError: the frames do not fit the signals that are asked for.
    """

    fixed: tuple[str, ...] = (
        "signals.", "dictionary.n_atoms", "dictionary.positive",
        "data.image_size", "data.greyscale", "data.clip_length",
    )  # fmt: skip
    shared_axis = 1  # devices share the clips of a batch
    baselines: tuple[str, ...] = ("pca",)

    def __init__(self, config: Any, inputs: Inputs):
        self._config, self._runs, self._inputs = config, inputs.runs, inputs
        self._frame_shape = inputs.store.shape
        self._signals = Signals(config.signals, self._frame_shape, config.data.clip_length)
        self._options = config.dictionary.to_dict()
        self._n_atoms, self._alpha = self._options.pop("n_atoms"), self._options.pop("alpha")
        self.n_steps = steps_of(config.train, inputs.sampler)
        self._replaces_until = self._options.pop("replace_steps")
        parts = list(zip(inputs.runs, inputs.splits, strict=True))
        self._is_held_out = [np.arange(len(run)) >= split.held_out_start for run, split in parts]
        self._held_out = [run.part(s.held_out_start, len(run)) for run, s in parts if s.held_out_start < len(run)]
        self._measured = self._draw_held_out()

    @staticmethod
    def check(config: Any) -> None:
        """Raises what is wrong with the config alone, before any data are read.

        Raises:
          InputError: an option is out of its range.
        """
        check_sparse(config)
        check_baselines(config, SparseCodingJob.baselines)

    @staticmethod
    def restore(config: Any, state: Mapping[str, Any], frame_shape: tuple[int, ...]) -> "SparseModel":
        """What a run has learned, from the state that its checkpoint holds."""
        signals = Signals(config.signals, tuple(frame_shape), config.data.clip_length)
        options = config.dictionary
        return SparseModel(signals, state["params"]["dictionary"], options.alpha, options.positive, frame_shape)

    def init(self) -> TrainState:
        begin, step_key = jax.random.split(jax.random.key(self._config.seed))
        learned = jax.jit(sparse.init_dictionary, static_argnums=2)(begin, self._sample, self._n_atoms)
        moments = learned._asdict()
        state = TrainState(
            step=jnp.zeros((), jnp.int32),
            params={"dictionary": moments.pop("dictionary")},
            batch_stats={},
            readout={"mean": jnp.zeros(self._n_atoms), "deviation": jnp.ones(self._n_atoms)},
            opt_state=moments,
            carry=jnp.zeros(1),  # none; a checkpoint holds no empty arrays
            rng=jax.random.key_data(step_key),
        )
        return jax.tree.map(jnp.array, state)  # every array has memory of its own, to be donated

    def update(self, state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        """One `sparse.update_dictionary` of the signals of a batch."""
        key = jax.random.fold_in(jax.random.wrap_key_data(state.rng), state.step)
        x, weight = self._signals.draw(key, batch.frames, batch.valid)
        learned = sparse.DictionaryState(dictionary=state.params["dictionary"], **state.opt_state)
        replace = state.step < self._replaces_until
        options = {"weight": weight, "replace": replace, **self._options}
        learned, found = sparse.update_dictionary(learned, x, self._alpha, **options)
        moments = learned._asdict()
        state = state._replace(step=state.step + 1, params={"dictionary": moments.pop("dictionary")}, opt_state=moments)
        seen = {"n_nonzero": found.n_nonzero, "gap": found.gap, "n_replaced": found.n_replaced}
        return state, {"loss": found.objective, **seen}

    def evaluate(self, state: TrainState, *, final: bool) -> tuple[Readout, Any, dict[str, float]]:
        """The objective of held-out signals, and the moments of the codes of training signals.

        Raises:
          FloatingPointError: an atom is not finite.
        """
        del final
        dictionary = np.asarray(state.params["dictionary"])
        if not np.isfinite(dictionary).all():
            raise FloatingPointError("an atom of the dictionary is not finite")
        codes = self._model(state).codes(self._sample[: 4 * _CHUNK**2])
        found = self._code(dictionary)
        readout = {"mean": codes.mean(axis=0), "deviation": codes.std(axis=0)}
        names = {"objective": "loss", "left": "left", "n_nonzero": "n_nonzero"}
        return readout, found, {shown: found[name] for name, shown in names.items() if name in found}

    def finish(
        self,
        state: TrainState,
        measured: dict[str, float],
        records: Sequence[Mapping[str, Any]],
        poll: Callable[[], None],
    ) -> Finished:
        """Measures the run; `poll` is called between the parts, where it may end the run."""
        model = self._model(state)
        n_held_out = float(sum(map(len, self._held_out)))
        summary = {"held_out_frames": n_held_out, "signals": float(len(self._measured)), "dim": float(self._n_atoms)}
        held_out_codes = model.codes(self._measured)
        order = np.argsort(-np.abs(held_out_codes).mean(axis=0))  # atoms by use
        scores = {"learned": held_out_codes}
        dictionaries: dict[str, tuple[np.ndarray, np.ndarray | None]] = {"learned": (model.dictionary[order], None)}
        if "pca" in self._config.evaluation.baselines:
            middle, components = evaluation.principal_components(self._sample, self._n_atoms)
            dictionaries["pca"] = components, middle  # which costs it nothing
            scores["PCA"] = (self._measured - middle) @ components.T
        pursuits, marks = {}, {}
        for name, (atoms, mean) in dictionaries.items():
            start = "" if name == "learned" else f"baseline/{name}/"
            found = dict(measured) if name == "learned" else self._code(atoms, mean)
            most = min(_MOST_PICKED, self._signals.size // 2)
            pursuits[name] = evaluation.pursuit(atoms, self._measured, most, mean)
            found |= _left_after(pursuits[name])
            poll()
            if self._signals.kind == "patches":
                marks[name], fitted = _like_simple_cells(atoms, self._signals.shape)
                found |= fitted
                poll()
            summary |= {f"{start}{measure}": value for measure, value in found.items()}
        embedded = [model(run.frames) for run in self._runs]
        poll()
        world, pictures = self._world()
        summary |= world
        poll()
        names = {"learned": "learned", "pca": "PCA"}
        atoms_of = {names[name]: atoms for name, (atoms, _) in dictionaries.items()}
        marked = {names[n]: m for n, m in marks.items()}
        left = {names[n]: p for n, p in pursuits.items()}
        run = int(np.argmax([held.sum() for held in self._is_held_out]))
        kept = self._is_held_out[run] if self._held_out else slice(None)
        shown = embedded[run][kept][:, order]
        what = "image" if self._signals.kind == "patches" else "frame"
        number = "code" if self._signals.kind == "frames" else f"mean absolute code of {self._signals.kind}"
        title = "What is left of held-out signals by orthogonal matching pursuit"
        losses = [{k: record[k] for k in ("step", "split", "loss") if k in record} for record in records]
        pictures += [
            Picture("atoms.png", lambda f: evaluation.plot_atoms(f, atoms_of, self._signals.shape, marked)),
            Picture("codes.png", lambda f: evaluation.plot_sparse_codes(f, shown, scores, what=what, number=number)),
            Picture("pursuit.png", lambda f: evaluation.plot_pursuit(f, left, "pursuit", title)),
            *evaluation.loss_pictures(losses, "objective of a signal"),
        ]
        return Finished(summary, embedded, self._is_held_out, pictures)

    def _world(self) -> tuple[dict[str, float], list[Picture]]:
        """How sparse the frames are after thresholds and differences; of video also how few sinusoids they need."""
        if self._signals.kind == "patches":
            images = FrameStore(self._held_out or self._runs)
            spread = np.linspace(0, len(images) - 1, min(_IMAGES, len(images))).astype(int)
            curves = evaluation.space_curves(images.gather(spread))
            what = "image"
        else:
            longest = max(self._runs, key=len)
            series = evaluation.pixel_series(np.asarray(longest.frames[:_SERIES_FRAMES]))
            curves = evaluation.time_curves(series)
            what = "pixel's series"
        summary = {"world/kurtosis": float(np.nanmedian(curves.before))}
        for name, (strengths, values) in curves.after.items():
            for place in {0, len(strengths) // 2, len(strengths) - 1}:
                if np.isfinite(values[place]).mean() >= 0.5:  # of fewer it would be of others than before
                    summary[f"world/kurtosis/{name}/{strengths[place]:g}"] = float(np.nanmedian(values[place]))
        pictures = [Picture("kurtosis.png", lambda folder: evaluation.plot_kurtosis(folder, curves, what))]
        if self._signals.kind != "patches":
            series = series[:_SERIES]
            found = evaluation.series_pursuit(series)
            summary |= {f"sinusoids/{name}": value for name, value in _left_after(found).items()}
            left, title = {"100 sinusoids": found}, "What is left of pixels' series, by sinusoids"

            def plot_series(folder: Path) -> None:
                drawn = evaluation.drawn_by_sinusoids(series, found.elbow)
                evaluation.plot_series(folder, series, drawn, found.elbow)

            pictures += [
                Picture("sinusoids_left.png", lambda f: evaluation.plot_pursuit(f, left, "sinusoids_left", title)),
                Picture("sinusoids.png", plot_series),
            ]
        return summary, pictures

    def _code(self, dictionary: np.ndarray, mean: np.ndarray | None = None) -> dict[str, float]:
        """Of principal components, whose sign is arbitrary, codes have both."""
        positive = self._options["positive"] and mean is None
        return evaluation.coding_measures(dictionary, self._measured, self._alpha, positive=positive, mean=mean)

    def _model(self, state: TrainState) -> "SparseModel":
        """What the state has learned so far: what a checkpoint of it would be restored as."""
        return self.restore(self._config, state._asdict(), self._frame_shape)

    @functools.cached_property
    def _sample(self) -> np.ndarray:
        """Training signals `[n, size]`, the same for every seed but for the order of the clips."""
        return self._draw(self._inputs.store, self._inputs.sampler, _SAMPLE)

    def _draw_held_out(self) -> np.ndarray:
        runs = self._held_out
        if not runs:  # said at the start
            return self._draw(self._inputs.store, self._inputs.sampler, _MEASURED)
        store, data = FrameStore(runs), self._config.data
        if max(store.lengths) < data.clip_length:
            raise InputError(
                f"data.clip_length: expected at most the longest held-out part, {max(store.lengths)} frames, got "
                f"{data.clip_length}; lower it, raise evaluation.holdout or give longer video"
            )
        size = min(data.batch_size, max(1, len(store) // data.clip_length))
        sampler = ClipSampler(store.lengths, clip_length=data.clip_length, batch_size=size, seed=0)
        return self._draw(store, sampler, _MEASURED)

    def _draw(self, store: FrameStore, sampler: ClipSampler, most: int) -> np.ndarray:
        """Signals `[at most n, size]` of batch after batch; of whole frames, of one epoch at most."""
        draw = jax.jit(self._signals.draw)
        found: list[np.ndarray] = []
        for step in range(1000):
            batch = sampler.at(step)
            x, weight = draw(jax.random.fold_in(jax.random.key(0), step), store.gather(batch.frames), batch.valid)
            found.append(np.asarray(x)[np.asarray(weight) > 0])
            if sum(map(len, found)) >= most:
                break
            if step + 1 >= sampler.steps_per_epoch and self._signals.kind == "frames":
                break  # all there are
        return np.concatenate(found)[:most]


class SparseModel:
    """A finished run: the function from frames to sparse codes.

    Attributes:
      dictionary: `[n_atoms, size]`.
      signals: what of a frame is one signal.
      alpha, positive: of the codes.
      frame_shape: `(height, width, channel)` of the frames it takes.
    """

    def __init__(self, signals: Signals, dictionary: Any, alpha: float, positive: bool, frame_shape: tuple[int, ...]):
        self.signals, self.alpha, self.positive = signals, alpha, positive
        self.dictionary, self.frame_shape = np.asarray(dictionary), tuple(frame_shape)

        def code(dictionary: jax.Array, x: jax.Array) -> jax.Array:
            # So near the best that a code is the same whichever other signals share its block.
            return sparse.fista(dictionary, x, alpha, positive=positive, tol=1e-5, max_iter=3000).codes

        def embed(dictionary: jax.Array, frames: jax.Array) -> jax.Array:
            x = signals.of_frames(frames)
            codes = code(dictionary, x.reshape(-1, signals.size)).reshape(*x.shape[:2], -1)
            return codes[:, 0] if signals.kind == "frames" else jnp.mean(jnp.abs(codes), axis=1)

        self._code, self._embed = jax.jit(code), jax.jit(embed)

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """One code `[time, n_atoms]` of each frame `[time, height, width, channel]` of a run, uint8 or in [0, 1].

        Of whole frames the sparse code. Of patches the mean absolute code of those that tile the frame. Of windows that
        of pixels spread over the frame, of the windows that end at it; before the first frame it stands still.
        """
        check_frames(frames, self.frame_shape)
        if self.signals.kind != "windows":
            return in_chunks(lambda part: self._embed(self.dictionary, part), frames, _CHUNK)
        before = self.signals.size - 1
        whole = np.concatenate([np.repeat(frames[:1], before, axis=0), frames])
        context = np.arange(before + _CHUNK)
        parts = []
        for start in range(0, len(frames), _CHUNK):
            part = whole[np.minimum(start + context, len(whole) - 1)]
            parts.append(np.asarray(self._embed(self.dictionary, part))[: len(frames) - start])
        return np.concatenate(parts) if parts else np.zeros((0, len(self.dictionary)), np.float32)

    def codes(self, signals: np.ndarray) -> np.ndarray:
        """Sparse codes `[n, n_atoms]` of signals `[n, size]`.

        Raises:
          ValueError: the signals have another shape.
        """
        check_rows("signals", signals, self.signals.size)
        return in_chunks(lambda part: self._code(self.dictionary, part), signals, _CHUNK**2)


def _left_after(found: evaluation.Pursuit) -> dict[str, float]:
    """The share of power that is left after 1, 2, 4, ... atoms, median, and the elbow."""
    if not np.isfinite(found.left).any():
        return {"omp/elbow": float(found.elbow)}
    middle = np.nanmedian(found.left, axis=0)
    numbers = [2**k for k in range(10) if 2**k <= len(middle)]
    return {f"omp/left/{k}": float(middle[k - 1]) for k in numbers} | {"omp/elbow": float(found.elbow)}


def _like_simple_cells(atoms: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, dict[str, float]]:
    """Which atoms are localised and oriented, and the medians of what was fitted to them; colours are averaged."""
    images = atoms.reshape(-1, *shape).mean(axis=-1)
    fitted = jax.tree.map(np.asarray, jax.jit(sparse.fit_gabor)(images))
    like = np.asarray(sparse.is_simple_cell_like(fitted, (shape[0], shape[1])))
    measures = {
        "r2": fitted.r2,
        "sigma_along": fitted.sigma_along,
        "sigma_across": fitted.sigma_across,
        "frequency": fitted.frequency,
    }
    told = np.isfinite(fitted.r2)
    found = {f"gabor/{name}": float(np.median(value[told])) for name, value in measures.items() if told.any()}
    if like.any():
        found["gabor/orientation_bandwidth"] = float(np.median(np.asarray(fitted.orientation_bandwidth)[like]))
        found["gabor/frequency_bandwidth"] = float(np.median(np.asarray(fitted.frequency_bandwidth)[like]))
    return like, found | {"gabor/share": float(like.mean())}
