"""The objectives: which pairs count, and that they are the losses of `slowness` on them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import sfa
from sfa_jax import slowness
from sfa_jax._errors import InputError
from sfa_jax.training import make_objective
from sfa_jax.training._objectives import pair_mask


@pytest.fixture
def options():
    return sfa.get_config().objective


@pytest.fixture
def y(rng):
    return jnp.asarray(rng.normal(size=(6, 5, 3)).cumsum(axis=1), jnp.float32)


def test_no_pair_spans_a_reset_or_padding():
    valid = jnp.array([[1, 1, 1, 1, 1, 0]], bool)
    reset = jnp.array([[1, 0, 0, 1, 0, 0]], bool)
    assert pair_mask(valid, reset, 1).tolist() == [[True, True, False, True, False]]
    assert pair_mask(valid, reset, 2).tolist() == [[True, False, False, False]]
    assert pair_mask(valid, reset, 8).tolist() == [[]]


@pytest.mark.parametrize("lag", [1, 2])
def test_objectives_are_the_losses_of_their_pairs(options, y, lag):
    valid, reset = np.ones((6, 5), bool), np.zeros((6, 5), bool)
    reset[:, 0] = True
    options.lag = lag
    now, past = y[:, lag:], y[:, :-lag]

    @jax.jit  # one program, not one for each operation
    def expected(y, now, past):
        return (
            slowness.whitened_slowness_loss(now, past, epsilon=1e-3),
            slowness.log_variance_penalty(y),
            slowness.vamp2_loss(now, past, epsilon=1e-3),
            slowness.sfa_loss(now, past, **slowness.sfa_weights("equal", 3)).total,
        )

    slow, scale, vamp2, equal = expected(y, now, past)
    total, terms = jax.jit(make_objective(options, 3))(y, valid, reset)
    np.testing.assert_allclose(terms["slowness"], slow, rtol=1e-6)
    np.testing.assert_allclose(total, slow + 0.01 * scale, rtol=1e-6)
    np.testing.assert_allclose(terms["log_variance"], 0.01 * scale, rtol=1e-6)  # weighted: terms add up to the loss
    options.name = "vamp2"
    _, terms = jax.jit(make_objective(options, 3))(y, valid, reset)
    np.testing.assert_allclose(terms["vamp2"], vamp2, rtol=1e-6)
    options.name, options.sfa.scaling = "sfa", "equal"
    total, terms = jax.jit(make_objective(options, 3))(y, valid, reset)
    np.testing.assert_allclose(total, equal, rtol=1e-6)
    np.testing.assert_allclose(total, sum(terms.values()), rtol=1e-6)


def test_two_batch_penalties_come_from_two_halves_of_the_pairs(options, y):
    options.name, options.sfa.two_batch = "sfa", True
    objective = jax.jit(make_objective(options, 3))
    y_t = y[:, 1:].reshape(-1, 3)
    variance, correlation = slowness.two_batch_penalties(y_t[:12], y_t[12:])
    valid, reset = jnp.ones((6, 5), bool), jnp.zeros((6, 5), bool)
    total, terms = objective(y, valid, reset)
    np.testing.assert_allclose(total, terms["slowness"] + variance + correlation, rtol=1e-6)
    # A held-out run is one long clip: it has two halves as well.
    long = y.reshape(1, -1, 3)
    total, terms = objective(long, jnp.ones((1, 30), bool), jnp.zeros((1, 30), bool))
    variance, correlation = slowness.two_batch_penalties(long[0, 1:15], long[0, 15:])
    np.testing.assert_allclose(total, terms["slowness"] + variance + correlation, rtol=1e-6)


def test_a_lag_below_one_is_refused(options):
    options.lag = 0
    with pytest.raises(InputError, match=r"objective.lag: expected at least 1 frame, got 0"):
        make_objective(options, 3)
