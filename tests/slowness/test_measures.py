"""Delta, eta, effective rank and the two controls on signals whose values are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sfa_jax import slowness

# One program each instead of one for every operation in it.
delta, eta = jax.jit(slowness.delta, static_argnames="lag"), jax.jit(slowness.eta)
effective_rank, memory_reliance = jax.jit(slowness.effective_rank), jax.jit(slowness.memory_reliance)


def test_delta_and_eta_of_a_sine():
    t = np.arange(1000) / 1000
    y = jnp.asarray(np.stack([np.sin(2 * np.pi * t), np.sin(2 * np.pi * 5 * t)], axis=1), jnp.float32)
    np.testing.assert_allclose(eta(y), [1.0, 5.0], rtol=0.01)
    np.testing.assert_allclose(delta(y), (2 * np.pi * np.array([1, 5]) / 1000) ** 2, rtol=0.01)


def test_delta_of_ar1(rng):
    """Delta at lag L of an AR(1) process is 2 (1 - rho^L)."""
    y = np.zeros((200_000, 1))
    noise = rng.normal(size=len(y)) * np.sqrt(1 - 0.9**2)
    for t in range(1, len(y)):
        y[t] = 0.9 * y[t - 1] + noise[t]
    for lag in (1, 3):
        found = delta(jnp.asarray(y, jnp.float32), lag=lag)
        assert float(found[0]) == pytest.approx(2 * (1 - 0.9**lag), rel=0.03)


def test_delta_ignores_scale_and_offset(rng):
    y = jnp.asarray(rng.normal(size=(300, 3)), jnp.float32)
    np.testing.assert_allclose(delta(5 * y - 3), delta(y), rtol=1e-4)
    assert np.isnan(delta(jnp.ones((5, 1)))[0])


def test_effective_rank(rng):
    white = rng.normal(size=(4000, 8))
    assert float(effective_rank(jnp.asarray(white, jnp.float32))) == pytest.approx(8, abs=0.05)
    low = white[:, :2] @ rng.normal(size=(2, 8)) + 100
    assert float(effective_rank(jnp.asarray(low, jnp.float32))) <= 2.01
    assert np.isnan(effective_rank(jnp.asarray(white, jnp.float32).at[3, 2].set(jnp.nan)))
    for constant in (0.0, 0.1, -1234.567):
        assert float(effective_rank(jnp.full((500, 8), constant))) == 0.0


@pytest.mark.parametrize("scale", [1e-25, 1e-10, 1e25])
def test_no_scale_matters_in_float32(rng, scale):
    y = jnp.asarray(rng.normal(size=(200, 3)), jnp.float32)
    scaled = y * jnp.float32(scale)
    measures = jax.jit(lambda y: (slowness.delta(y), slowness.effective_rank(y), slowness.memory_reliance(y, y)))
    for found, expected in zip(measures(scaled), measures(y), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_half_precision_is_computed_in_float32(rng):
    y = jnp.asarray(rng.normal(size=(2, 200, 3)), jnp.bfloat16)
    for function in (
        lambda a, b: slowness.effective_rank(a),
        lambda a, b: slowness.whitened_slowness_loss(a, b),
        lambda a, b: slowness.sfa_loss(a, b).total,
    ):
        found = jax.jit(function)(*y)
        assert found.dtype == jnp.float32
        np.testing.assert_allclose(found, jax.jit(function)(*y.astype(jnp.float32)), rtol=1e-6)


def test_shuffle_control(rng):
    x = jnp.asarray(np.cumsum(rng.normal(size=(2000, 3)), axis=0), jnp.float32)

    def leaky(x):
        return jax.lax.scan(lambda y, x_t: (0.99 * y + x_t, 0.99 * y + x_t), jnp.zeros(3), x)[1]

    key = jax.random.key(0)
    both = slowness.shuffle_control_delta(lambda x: jnp.concatenate([x**2, leaky(x)], 1), x, key, n_shuffles=3)
    np.testing.assert_allclose(both[:3], 2, atol=0.1)
    assert (both[3:] < 0.1).all()


def test_memory_reliance(rng):
    y, other = (jnp.asarray(rng.normal(size=(1000, 2)), jnp.float32) for _ in range(2))
    np.testing.assert_allclose(memory_reliance(y, 3 * y + 1), 0, atol=1e-5)
    np.testing.assert_allclose(memory_reliance(y, other), 1, atol=0.02)
    np.testing.assert_allclose(memory_reliance(y, y.at[:, 1].set(1.0)), [0, 1], atol=1e-5)
    mixed = jnp.concatenate([y[:, :1], (y + other)[:, 1:]], axis=1)
    np.testing.assert_allclose(memory_reliance(y, mixed), [0, 0.5], atol=0.05)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: slowness.delta(jnp.ones((3, 2)), lag=3), "more than lag = 3 frames"),
        (lambda: slowness.delta(jnp.ones((3, 2)), lag=0), "lag: expected at least 1"),
        (lambda: slowness.memory_reliance(jnp.ones((3, 2)), jnp.ones((3, 1))), "equal shapes"),
        (lambda: slowness.effective_rank(jnp.ones(3)), "at least 2 axes"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
