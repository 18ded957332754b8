"""The job of slow feature analysis in closed form: passes over the video that add up moments, and a solution."""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sfa_jax import evaluation
from sfa_jax._errors import InputError
from sfa_jax.data import Batch
from sfa_jax.evaluation import Picture
from sfa_jax.slowness import (
    PCA,
    LinearSFA,
    Moments,
    init_moments,
    n_monomials,
    polynomial_expansion,
    solve,
    transform,
    update_moments,
)
from sfa_jax.slowness import _pca as pca
from sfa_jax.slowness._batch import mean_of
from sfa_jax.training._chunks import check_frames, in_chunks
from sfa_jax.training._inputs import Inputs
from sfa_jax.training._measured_job import Measured, MeasuredJob, Readout, check_baselines
from sfa_jax.training._options import check_closed_form
from sfa_jax.training._steps import Metrics, TrainState

_CHUNK = 512  # frames that a model is applied to at once
_matmul = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)  # results, not layers of a network


class ClosedFormJob(MeasuredJob):
    """`init`, `update` and `evaluate` of slow features of the monomials of principal components.

    The frames are passed over in order. The first passes find the principal components by subspace iteration, the last
    one adds up the moments of their monomials; each step adds one chunk. The state holds what is summed so far, so that
    a run is resumed like any other.

    Args:
      config: the resolved config.
      inputs: the data.

    Raises:
      InputError: more components are asked for than there are.
    """

    fixed: tuple[str, ...] = (
        "data.",
        "sfa.",
        "objective.",
        "evaluation.holdout",
        "evaluation.gap",
        "evaluation.n_blocks",
    )
    closed_form = True
    loss_name = "share of the variance that the components leave out"
    shared_axis = 2  # devices share the frames of a chunk; the lags across their borders are the compiler's to fetch

    def __init__(self, config: Any, inputs: Inputs):
        self._options = config.sfa
        super().__init__(config, inputs, config.sfa.n_components)
        self._n_pixels = math.prod(self._frame_shape)
        self._n_inputs = min(config.sfa.n_inputs, self._n_pixels)
        self._n_expanded = n_monomials(self._n_inputs, config.sfa.degree)
        if config.sfa.n_components > self._n_expanded:
            raise InputError(
                f"sfa.n_components: expected at most {self._n_expanded}, the monomials of {self._n_inputs} inputs up "
                f"to degree {config.sfa.degree}, got {config.sfa.n_components}; raise sfa.n_inputs or sfa.degree"
            )
        self._steps_a_pass = inputs.sampler.steps_per_epoch
        self._sketches = pca.n_passes(self._n_pixels, self._n_inputs)
        self.n_steps = (self._sketches + 1) * self._steps_a_pass

    @staticmethod
    def check(config: Any) -> None:
        """Raises what is wrong with the config alone, before any data are read.

        Raises:
          InputError: an option is out of its range.
        """
        check_closed_form(config)
        check_baselines(config, ClosedFormJob.baselines)

    @staticmethod
    def restore(config: Any, state: Mapping[str, Any], frame_shape: tuple[int, ...]) -> "ClosedFormModel":
        """What a run has learned, from the state that its checkpoint holds."""
        return ClosedFormModel(state["params"], config.sfa.degree, state["readout"], frame_shape)

    def init(self) -> TrainState:
        return jax.jit(self._empty)()  # jitted, every array has memory of its own, to be donated

    def _empty(self) -> TrainState:
        zeros, size = jnp.zeros, pca.sketch_size(self._n_pixels, self._n_inputs)
        return TrainState(
            step=zeros((), jnp.int32),
            params={"mean": zeros(self._n_pixels), "components": zeros((self._n_inputs, self._n_pixels))},
            batch_stats={},
            readout={"mean": zeros(self._n_expanded), "matrix": jnp.eye(self._n_expanded, self._dim)},
            opt_state={
                "shift": zeros(self._n_pixels),  # mean of the first chunk: float32 shall square what is left without it
                "basis": pca.random_basis(self._n_pixels, size).astype(jnp.float32),
                "sketch": pca.init_sketch(self._n_pixels, size)._asdict(),
                "moments": _as_dict(init_moments(self._n_expanded, lag=self._config.objective.lag)),
            },
            carry=zeros(1),  # none; a checkpoint holds no empty arrays
            rng=jax.random.key_data(jax.random.key(self._config.seed)),
        )

    def update(self, state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        """Adds a chunk: to the sketch of the covariance, or in the last pass to the moments."""
        number, first = state.step // self._steps_a_pass, state.step % self._steps_a_pass == 0
        state = jax.lax.cond(first & (number > 0), self._turn, lambda state, _: state, state, number)
        frames, valid = batch.frames[0], batch.valid[0]
        x = frames.reshape(len(frames), -1).astype(jnp.float32) / 255
        sums = state.opt_state
        shift = jnp.where(state.step == 0, mean_of(x, valid.astype(x.dtype))[0], sums["shift"])
        state = state._replace(opt_state=sums | {"shift": shift})
        state, left_out = jax.lax.cond(
            number < self._sketches, self._add_to_sketch, self._add_to_moments, state, x, valid, batch.reset[0, 0]
        )
        return state._replace(step=state.step + 1), {"loss": left_out}

    def _turn(self, state: TrainState, number: jax.Array) -> TrainState:
        """What one pass found becomes what the next one starts from."""
        sums, sketch = state.opt_state, pca.Sketch(**state.opt_state["sketch"])
        empty = jax.tree.map(jnp.zeros_like, sums["sketch"])

        def iterate() -> TrainState:
            return state._replace(opt_state=sums | {"basis": pca.next_basis(sketch, sums["basis"]), "sketch": empty})

        def reduce() -> TrainState:
            found = pca.principal_axes(sketch, sums["basis"], sums["shift"], self._n_inputs)
            return state._replace(params={"mean": found.mean, "components": found.components})

        return jax.lax.cond(number < self._sketches, iterate, reduce)

    def _add_to_sketch(
        self, state: TrainState, x: jax.Array, valid: jax.Array, new_run: jax.Array
    ) -> tuple[TrainState, jax.Array]:
        del new_run
        sums, basis = state.opt_state, state.opt_state["basis"]
        weights = valid.astype(x.dtype)
        sketch = pca.update_sketch(pca.Sketch(**sums["sketch"]), x, basis, sums["shift"], weights)
        mean = sums["shift"] + sketch.total / jnp.maximum(sketch.n_frames, 1)
        return state._replace(opt_state=sums | {"sketch": sketch._asdict()}), _left_out(x - mean[None], basis.T, valid)

    def _add_to_moments(
        self, state: TrainState, x: jax.Array, valid: jax.Array, new_run: jax.Array
    ) -> tuple[TrainState, jax.Array]:
        sums, components = state.opt_state, state.params["components"]
        centred = x - state.params["mean"][None]
        y = polynomial_expansion(_matmul(centred, components.T), self._options.degree)
        moments = update_moments(Moments(**sums["moments"]), y, new_run=new_run, mask=valid)
        return state._replace(opt_state=sums | {"moments": _as_dict(moments)}), _left_out(centred, components, valid)

    def evaluate(self, state: TrainState, *, final: bool) -> tuple[Readout, Any, dict[str, float]]:
        """Solves at the end; before it there is nothing to measure."""
        if not final:
            return jax.tree.map(np.asarray, state.readout), None, {}
        with jax.enable_x64(True):
            sums: Any = jax.tree.map(lambda value: np.asarray(value, np.float64), state.opt_state["moments"])
            # The moments are those of float32 numbers: what is below their rounding is not there.
            rounding = float(jnp.finfo(jnp.float32).eps)
            solve_jitted = jax.jit(solve, static_argnames="n_components")
            solved = solve_jitted(Moments(**sums), self._dim, rcond=self._n_expanded * rounding, rounding=rounding)
            solved = jax.tree.map(np.asarray, solved)
        readout = {"mean": solved.mean.astype(np.float32), "matrix": solved.components.T.astype(np.float32)}
        model = self._model(state._replace(readout=readout))
        whole = [model(run.frames) for run in self._runs]
        train, held_out = ([whole[p.run][p.start : p.stop] for p in part] for part in (self._read, self._held_out))
        rank = np.minimum(solved.rank, self._dim)
        parts: Any = np.zeros(self._dim), np.eye(self._dim), solved.delta, rank
        metrics = {"effective_rank": evaluation.effective_rank_of(np.concatenate(held_out))}
        return readout, Measured(train, held_out, whole, LinearSFA(*parts)), metrics

    def _filter_pictures(self, state: TrainState) -> list[Picture]:
        weights, name = np.asarray(state.params["components"]).T, "Principal components that the features are made of"
        if self._options.degree == 1:
            weights, name = weights @ np.asarray(state.readout["matrix"]), "Weights of the features on the pixels"
        return evaluation.filter_pictures(weights.reshape(*self._frame_shape, -1), name)

    def _code(self, model: Any, y: np.ndarray) -> np.ndarray:
        return y  # `evaluate` keeps codes: the monomials of a whole video need not fit in memory


class ClosedFormModel:
    """A finished run: the function from frames to code.

    Attributes:
      params: `mean [n_pixels]` and `components [n_inputs, n_pixels]`, of frames in [0, 1].
      degree: of the monomials.
      readout: `mean [n_monomials]` and `matrix [n_monomials, dim]`: (y - mean) @ matrix is the code.
      frame_shape: `(height, width, channel)`.
    """

    def __init__(self, params: Any, degree: int, readout: Any, frame_shape: tuple[int, ...]):
        self.params, self.degree = jax.device_put(params, jax.local_devices()[0]), degree
        self.readout = jax.device_put(readout, jax.local_devices()[0])
        self.frame_shape = tuple(frame_shape)

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """The code `[time, dim]` of the frames `[time, height, width, channel]` of one run, uint8 or in [0, 1]."""
        return self._in_chunks(functools.partial(_apply, self.degree, self.params, self.readout), frames)

    def read_out(self, y: np.ndarray) -> np.ndarray:
        """The code of monomials `[time, n_monomials]`."""
        return (y - np.asarray(self.readout["mean"])) @ np.asarray(self.readout["matrix"])

    def embed(self, frames: np.ndarray) -> np.ndarray:
        """The monomials y `[time, n_monomials]`."""
        return self._in_chunks(functools.partial(_expand, self.degree, self.params), frames)

    def embed_without_memory(self, frames: np.ndarray, y_before: np.ndarray) -> np.ndarray:
        """As `embed`: there is no memory to take away."""
        del y_before
        return self.embed(frames)

    def _in_chunks(self, function: Callable[[Any], jax.Array], frames: np.ndarray) -> np.ndarray:
        check_frames(frames, self.frame_shape)
        return in_chunks(function, frames, _CHUNK)


@functools.partial(jax.jit, static_argnums=0)
def _expand(degree: int, params: Any, frames: jax.Array) -> jax.Array:
    x = frames.reshape(len(frames), -1).astype(jnp.float32)
    x = x / 255 if frames.dtype == jnp.uint8 else x
    inputs = transform(PCA(params["mean"], params["components"], jnp.zeros(0)), x)
    return polynomial_expansion(inputs, degree)


@functools.partial(jax.jit, static_argnums=0)
def _apply(degree: int, params: Any, readout: Any, frames: jax.Array) -> jax.Array:
    return _matmul(_expand(degree, params, frames) - readout["mean"][None], readout["matrix"])


def _as_dict(moments: Moments) -> dict[str, jax.Array]:
    return {name: value for name, value in moments._asdict().items() if value is not None}


def _left_out(centred: jax.Array, components: jax.Array, valid: jax.Array) -> jax.Array:
    """The share of the variance of a chunk that orthonormal components do not hold."""
    weights = valid.astype(centred.dtype)[:, None]
    total = jnp.sum(weights * jnp.square(centred))
    held = jnp.sum(weights * jnp.square(_matmul(centred, components.T)))
    return 1 - held / jnp.where(total > 0, total, 1)
