"""Whitened slowness: equality with its definition, and what it must not depend on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sfa_jax import slowness

loss = jax.jit(slowness.whitened_slowness_loss)
value_and_gradients = jax.jit(jax.value_and_grad(slowness.whitened_slowness_loss, argnums=(0, 1)))


@pytest.fixture
def pairs(rng):
    y_tm1 = rng.normal(size=(60, 5)) @ rng.normal(size=(5, 5)) + 2.0
    return y_tm1 + 0.3 * rng.normal(size=(60, 5)), y_tm1


def numpy_loss(y_t, y_tm1, epsilon):
    both = np.concatenate([y_t, y_tm1])
    c = np.cov(both, rowvar=False, bias=True)
    dim = len(c)
    noise = epsilon * np.trace(c) / dim * np.eye(dim)
    change = (y_t - y_tm1).T @ (y_t - y_tm1) / len(y_t)
    return np.trace(np.linalg.solve(c + noise, change + 2 * noise)) / dim


def test_equals_numpy(pairs):
    with jax.enable_x64(True):
        for epsilon in (1e-6, 1e-3, 0.1):
            found = loss(*pairs, epsilon=epsilon)
            np.testing.assert_allclose(found, numpy_loss(*pairs, epsilon), rtol=1e-10)
    found = loss(*(y.astype(np.float32) for y in pairs), epsilon=1e-3)
    np.testing.assert_allclose(found, numpy_loss(*pairs, 1e-3), rtol=1e-4)


def test_invariant_to_linear_maps(pairs, rng):
    y_t, y_tm1 = pairs
    mixing = rng.normal(size=(5, 5))
    with jax.enable_x64(True):
        expected = loss(y_t, y_tm1, epsilon=1e-12)
        mixed = loss(y_t @ mixing - 7, y_tm1 @ mixing - 7, epsilon=1e-12)
        np.testing.assert_allclose(mixed, expected, rtol=1e-6)
        scaled = loss(100 * y_t, 100 * y_tm1, epsilon=0.1)
        np.testing.assert_allclose(scaled, loss(y_t, y_tm1, epsilon=0.1), rtol=1e-10)
        reversed_time = loss(y_tm1, y_t, epsilon=0.1)
        np.testing.assert_allclose(reversed_time, loss(y_t, y_tm1, epsilon=0.1), rtol=1e-10)


@pytest.mark.parametrize("exponent", [-30, -18, -15, -10, -5, 0, 5, 10, 15, 18, 30])
def test_no_scale_matters_in_float32(pairs, exponent):
    y_t, y_tm1 = (jnp.asarray(y, jnp.float32) for y in pairs)
    scale = jnp.float32(10.0**exponent)
    expected, right = value_and_gradients(y_t, y_tm1)
    found, gradients = value_and_gradients(scale * y_t, scale * y_tm1)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    for gradient, wanted in zip(gradients, right, strict=True):
        np.testing.assert_allclose(scale * gradient, wanted, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("value", [0.0, 1e-38, 1e-30, 0.1, -7.0, 1e15, 1e30])
def test_a_constant_embedding_costs_as_much_as_noise(value):
    y = jnp.full((7, 3), value, jnp.float32)
    loss, gradients = value_and_gradients(y, y)
    assert float(loss) == pytest.approx(2.0, rel=1e-6)
    np.testing.assert_array_equal(gradients, 0)


def test_one_constant_dimension_is_finite(pairs):
    y_t, y_tm1 = (jnp.asarray(y, jnp.float32).at[:, 2].set(4.0) for y in pairs)
    loss, gradients = value_and_gradients(y_t, y_tm1)
    assert np.isfinite(loss)
    assert np.isfinite(gradients).all()


def test_white_noise_gives_two(rng):
    y = jnp.asarray(rng.normal(size=(2, 20_000, 4)), jnp.float32)
    assert float(loss(y[0], y[1])) == pytest.approx(2.0, abs=0.05)


def test_mask_is_leaving_out(pairs):
    y_t, y_tm1 = (jnp.asarray(y, jnp.float32) for y in pairs)
    mask = jnp.arange(60) % 4 > 0
    broken = jnp.where(mask[:, None], y_tm1, jnp.inf)
    found = loss(y_t, broken, mask=mask)
    np.testing.assert_allclose(found, loss(y_t[mask], y_tm1[mask]), rtol=1e-5)


def test_a_collapsed_direction_costs_as_much_as_noise(pairs):
    """A copy of a dimension adds a direction without variance. It costs 2, so that slow copies are worse than noise."""
    y_t, y_tm1 = (jnp.asarray(y[:, :4], jnp.float32) for y in pairs)
    for y, others in [((y_t, y_tm1), 4), ((y_t[:, :1], y_tm1[:, :1]), 1)]:
        copied = [jnp.concatenate([part, part[:, :1]], axis=1) for part in y]
        found, gradients = value_and_gradients(*copied, epsilon=1e-4)
        expected = (others * loss(*y, epsilon=1e-4) + 2) / (others + 1)
        np.testing.assert_allclose(found, expected, rtol=1e-2)
        assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_log_variance_penalty_is_two_sided():
    y = jnp.array([[1.0], [-1.0]])
    assert float(slowness.log_variance_penalty(y)) == 0.0
    up, down = slowness.log_variance_penalty(2 * y), slowness.log_variance_penalty(y / 2)
    assert float(up) == pytest.approx(float(down), rel=1e-6)
    assert float(up) == pytest.approx(np.log(4.0) ** 2, rel=1e-6)
