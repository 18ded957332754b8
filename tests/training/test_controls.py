"""What the controls must say: noise has no slowness, a recurrent head can fake it, a collapse is seen."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import sfa_gen
from sfa_jax import training
from sfa_jax.data import Batch
from sfa_jax.evaluation import code_measures, control_measures, verdicts
from sfa_jax.nets import SlowNetwork
from sfa_jax.slowness import sfa_loss, sfa_weights

DIM, PAIRS, SHAPE = 8, 256, (16, 16, 1)


@functools.cache
def train_on_noise(recurrence, scaling, n_steps):
    """The seed's objective on frames that are fresh white noise at every step: (network, variables)."""
    config = sfa_gen.get_config()
    network = SlowNetwork(dim=DIM, channels=(8, 8), hidden=128, pool="flatten", recurrence=recurrence)
    config.objective.sfa.scaling = scaling
    optimizer = training.make_optimizer(config.train, n_steps)
    objective = training.make_objective(config.objective, DIM)
    step = training.make_train_step(network, objective, optimizer)
    valid = jnp.ones((PAIRS, 2), bool)
    reset = jnp.tile(jnp.array([True, False]), (PAIRS, 1))

    def body(state, key):
        frames = jax.random.uniform(key, (PAIRS, 2, *SHAPE))
        return step(state, Batch(frames, valid, reset, jnp.zeros(PAIRS, jnp.int32)))

    @functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 1})  # see conftest
    def train(init_key, noise_key):
        state = training.init_state(init_key, network, optimizer, SHAPE, PAIRS)
        return jax.lax.scan(body, state, jax.random.split(noise_key, n_steps))[0]

    state = train(jax.random.key(0), jax.random.key(1))
    return network, {"params": state.params, "batch_stats": state.batch_stats}


def total_loss_on_fresh_noise(network, variables, n_pairs=10_000, **weights):
    """The seed's loss with a batch so large that its bias, 3 / n_pairs, does not show."""

    @jax.jit
    def embed(key):
        frames = jax.random.uniform(key, (n_pairs // 5, 2, *SHAPE))
        return network.apply(variables, frames, network.init_carry(len(frames)))[0]

    y = np.concatenate([embed(key) for key in jax.random.split(jax.random.key(2), 5)])
    return float(jax.jit(functools.partial(sfa_loss, **weights))(y[:, 1], y[:, 0]).total)


def control(network, variables):
    frames = np.random.default_rng(3).random((1500, *SHAPE)).astype(np.float32)
    readout = {"mean": np.zeros(DIM), "matrix": np.eye(DIM)}
    model = training.SlowModel(network, variables, readout, SHAPE)
    y = model.embed(frames)
    measures = code_measures([y[:1000]], [y[1000:]], [{}], [{}])
    before = y.mean(axis=0)
    return measures | control_measures(
        model, lambda x: model.embed_without_memory(x, before), [frames], [y], key=jax.random.key(4)
    )


def test_noise_costs_a_memoryless_network_one():
    network, variables = train_on_noise("none", "readme", 250)
    assert total_loss_on_fresh_noise(network, variables) == pytest.approx(1.0, abs=0.02)
    measures = control(network, variables)
    assert measures["shuffle_control_delta"] == pytest.approx(2.0, abs=0.2)
    assert measures["memory_reliance"] == pytest.approx(0.0, abs=1e-4)
    assert not any("MEMORY" in sentence for sentence in verdicts(measures, DIM))


def test_a_recurrent_head_fakes_slowness_and_is_flagged():
    """In the scaling of the author's code; as published, the penalty on change is so large that noise is given up."""
    network, variables = train_on_noise("full", "author", 400)
    weights = sfa_weights("author", DIM)
    assert total_loss_on_fresh_noise(network, variables, **weights) < 0.7
    measures = control(network, variables)
    assert measures["shuffle_control_delta"] < 1.0
    (said,) = [sentence for sentence in verdicts(measures, DIM) if "MEMORY" in sentence]
    assert "not from the frames" in said


def test_collapse_is_flagged(rng):
    white = rng.normal(size=(3000, 16)).astype(np.float32)
    low_rank = white[:, :2] @ rng.normal(size=(2, 16)).astype(np.float32)
    for y, flagged in [(white, False), (low_rank, True), (np.full_like(white, 3.7), True)]:
        measures = code_measures([y[:2000]], [y[2000:]], [{}], [{}])
        assert any("COLLAPSED" in sentence for sentence in verdicts(measures, 16)) == flagged
    assert measures["rank"] == measures["effective_rank"] == 0
