"""The training state and the step that advances it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from sfa_jax._errors import InputError
from sfa_jax.autoencoders import is_wave_part
from sfa_jax.data import Batch, ClipSampler
from sfa_jax.nets import SlowNetwork
from sfa_jax.training._objectives import Objective

Metrics = dict[str, jax.Array]


class TrainState(NamedTuple):
    """Everything a run needs to go on; what a checkpoint's item `state` holds.

    Attributes:
      step: finished steps.
      params, batch_stats: of the network.
      readout: `mean [dim]` and `matrix [dim, dim]`: (y - mean) @ matrix is the ordered, white code; the identity until
        first solved. Of an image autoencoder `mean` and `deviation [dim]` of the codes.
      opt_state: of the optimiser.
      carry: y_{t-1} of each reader, `[batch, dim]`; `[1]` where nothing is carried.
      rng: random key data, for steps that draw.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    readout: dict[str, jax.Array]
    opt_state: Any
    carry: jax.Array
    rng: jax.Array


def make_optimizer(config: Any, n_steps: int) -> optax.GradientTransformation:
    """Adam(W) with warm-up, a constant or cosine schedule, and clipping of the global gradient norm.

    Args:
      config: `learning_rate`, `schedule`, `warmup_steps`, `gradient_clip` (0 for none), `weight_decay`.
      n_steps: length of the whole training, for the schedule.

    Raises:
      InputError: an unknown schedule.
    """
    decay_steps = max(n_steps - config.warmup_steps, 1)
    if config.schedule == "cosine":
        schedule = optax.cosine_decay_schedule(config.learning_rate, decay_steps)
    elif config.schedule == "constant":
        schedule = optax.constant_schedule(config.learning_rate)
    else:
        raise InputError(f"train.schedule: expected 'cosine' or 'constant', got {config.schedule!r}")
    if config.warmup_steps:
        warmup = optax.linear_schedule(0.0, config.learning_rate, config.warmup_steps)
        schedule = optax.join_schedules([warmup, schedule], [config.warmup_steps])
    clip = [optax.clip_by_global_norm(config.gradient_clip)] if config.gradient_clip else []
    adam = optax.adamw(schedule, weight_decay=config.weight_decay) if config.weight_decay else optax.adam(schedule)
    return optax.chain(*clip, adam)


def steps_of(config: Any, sampler: ClipSampler) -> int:
    """How many steps a run takes, by `config.train.steps` or by its epochs."""
    return config.steps or max(1, round(config.epochs * sampler.steps_per_epoch))


def make_wave_optimizer(config: Any, n_steps: int, *, start: str) -> optax.GradientTransformation:
    """`make_optimizer`, and of what begins as plane waves `wave_learning_rate` times its steps.

    Args:
      config: `config.train`.
      n_steps: of the run.
      start: of the `FinolaDecoder`; of a "random" one nothing begins as waves.
    """
    if start == "random":
        return make_optimizer(config, n_steps)

    def slower(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        del params
        rate = config.wave_learning_rate
        scaled = jax.tree_util.tree_map_with_path(lambda path, x: x * (rate if is_wave_part(path) else 1), updates)
        return scaled, state

    slow_down = optax.GradientTransformation(lambda params: optax.EmptyState(), slower)
    return optax.chain(make_optimizer(config, n_steps), slow_down)


def init_state(
    key: jax.Array,
    network: SlowNetwork,
    optimizer: optax.GradientTransformation,
    frame_shape: tuple[int, ...],
    batch: int,
) -> TrainState:
    """The state before the first step."""
    init_key, step_key = jax.random.split(key)
    variables = network.init(init_key, frame_shape)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=variables["params"],
        batch_stats=variables["batch_stats"],
        readout={"mean": jnp.zeros(network.dim), "matrix": jnp.eye(network.dim)},
        opt_state=optimizer.init(variables["params"]),
        carry=network.init_carry(batch),
        rng=jax.random.key_data(step_key),
    )


def new_state(
    key: jax.Array, variables: Any, optimizer: optax.GradientTransformation, readout: dict[str, Any], carry: Any = None
) -> TrainState:
    """The state before the first step of any network; every array has memory of its own, to be donated.

    Args:
      key: of steps that draw.
      variables: `{"params", "batch_stats"}`.
      optimizer: of the parameters.
      readout: before the first measure.
      carry: of a recurrent network; none if None.
    """
    state = TrainState(
        step=jnp.zeros((), jnp.int32),
        params=variables["params"],
        batch_stats=variables["batch_stats"],
        readout=readout,
        opt_state=jax.jit(optimizer.init)(variables["params"]),
        carry=jnp.zeros(1) if carry is None else carry,  # a checkpoint holds no empty arrays
        rng=jax.random.key_data(key),
    )
    return jax.tree.map(jnp.array, state)


def make_train_step(
    network: SlowNetwork, objective: Objective, optimizer: optax.GradientTransformation
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """One gradient step on one `Batch` of frames; pure, to be jitted or scanned."""

    def loss_fn(params: Any, state: TrainState, batch: Batch) -> tuple[jax.Array, tuple[Metrics, jax.Array, Any]]:
        variables = {"params": params, "batch_stats": state.batch_stats}
        y, y_last, batch_stats = network.apply(
            variables, batch.frames, state.carry, valid=batch.valid, reset=batch.reset, train=True
        )
        loss, terms = objective(y, batch.valid, batch.reset)
        return loss, (terms, jax.lax.stop_gradient(y_last), batch_stats)

    return make_gradient_step(loss_fn, optimizer)


def make_gradient_step(
    loss_fn: Callable[[Any, TrainState, Batch], tuple[jax.Array, tuple[Metrics, jax.Array, Any]]],
    optimizer: optax.GradientTransformation,
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """One gradient step of any loss `(params, state, batch) -> (loss, (terms, carry, batch_stats))`; pure."""

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        gradient = jax.value_and_grad(loss_fn, has_aux=True)
        (loss, (terms, carry, batch_stats)), grads = gradient(state.params, state, batch)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        metrics = {"loss": loss, **terms, "gradient_norm": optax.tree.norm(grads)}
        return state._replace(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            batch_stats=batch_stats,
            opt_state=opt_state,
            carry=carry,
        ), metrics

    return train_step


def make_update(
    train_step: Callable[[TrainState, Batch], tuple[TrainState, Metrics]],
) -> Callable[[TrainState, jax.Array | None, Batch], tuple[TrainState, Metrics]]:
    """Several steps in one dispatch: a scan over stacked batches `[steps, ...]`, metrics `[steps]` out.

    With `frames` (all training frames, on the device) the batches hold numbers of frames and are filled in the step;
    with None they hold the frames.
    """

    def update(state: TrainState, frames: jax.Array | None, batches: Batch) -> tuple[TrainState, Metrics]:
        def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
            if frames is not None:
                batch = batch._replace(frames=jnp.take(frames, batch.frames, axis=0))
            return train_step(state, batch)

        return jax.lax.scan(step, state, batches)

    return update
