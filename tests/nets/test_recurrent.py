"""The recurrent head: scan equals loop, resets, carried state, and where gradients flow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sfa_jax import nets

init_head = jax.jit(nets.init_head, static_argnums=(1, 2), static_argnames=("hidden", "memory"))
recurrent_scan = jax.jit(nets.recurrent_scan, static_argnames="detach")


@pytest.fixture(scope="module")
def head():
    return init_head(jax.random.key(0), 6, 3, hidden=8)


@pytest.fixture
def clips(rng):
    return jnp.asarray(rng.normal(size=(2, 9, 6)), jnp.float32), jnp.asarray(rng.normal(size=(2, 3)), jnp.float32)


def numpy_loop(params, y, h, reset=None):
    """The README's head, one frame after another, on the concatenated input."""
    hidden = np.concatenate([params["hidden"]["kernel"], params["memory"]["kernel"]])
    out = []
    for t in range(h.shape[1]):
        if reset is not None:
            y = np.where(np.asarray(reset)[:, t, None], 0, y)
        a = np.concatenate([h[:, t], y], axis=1) @ hidden + np.asarray(params["hidden"]["bias"])
        y = np.maximum(a, 0) @ np.asarray(params["output"]["kernel"]) + np.asarray(params["output"]["bias"])
        out.append(y)
    return np.stack(out, axis=1)


@pytest.mark.parametrize("with_reset", [False, True])
def test_scan_equals_loop(head, clips, rng, with_reset):
    h, y_init = clips
    reset = jnp.asarray(rng.random((2, 9)) < 0.3) if with_reset else None
    y, y_last = recurrent_scan(head, y_init, h, reset=reset)
    np.testing.assert_allclose(y, numpy_loop(head, y_init, h, reset), atol=1e-6)
    np.testing.assert_array_equal(y_last, y[:, -1])


def test_scan_is_step_after_step(head, clips):
    h, y_t = clips
    y, _ = recurrent_scan(head, y_t, h)
    step = jax.jit(nets.recurrent_step)
    for t in range(h.shape[1]):
        y_t = step(head, y_t, h[:, t])
        np.testing.assert_allclose(y[:, t], y_t, atol=1e-6)


def test_state_is_carried_from_clip_to_clip(head, clips):
    h, y_init = clips
    whole, _ = recurrent_scan(head, y_init, h)
    first, carry = recurrent_scan(head, y_init, h[:, :4])
    second, _ = recurrent_scan(head, carry, h[:, 4:])
    np.testing.assert_allclose(jnp.concatenate([first, second], axis=1), whole, atol=1e-6)


def test_a_reset_forgets_what_is_not_finite(head, clips):
    h, y_init = clips
    reset = jnp.zeros(h.shape[:-1], bool).at[..., 0].set(True)
    for value in (jnp.inf, jnp.nan):
        found, _ = recurrent_scan(head, jnp.full_like(y_init, value), h, reset=reset)
        np.testing.assert_array_equal(found, recurrent_scan(head, jnp.zeros_like(y_init), h)[0])


def test_without_memory_every_frame_stands_alone(clips):
    h, y_init = clips
    head = init_head(jax.random.key(1), 6, 3, memory=False)
    assert "memory" not in head
    y, _ = recurrent_scan(head, y_init, h)
    shuffled, _ = recurrent_scan(head, 7 * y_init, h[:, ::-1])
    np.testing.assert_allclose(shuffled[:, ::-1], y, atol=1e-6)


def test_detached_keeps_values_and_cuts_gradients(head, clips):
    h, y_init = clips
    full, _ = recurrent_scan(head, y_init, h)
    detached, _ = recurrent_scan(head, y_init, h, detach=True)
    np.testing.assert_array_equal(full, detached)

    def last_from_first(h_0, detach):
        y, _ = nets.recurrent_scan(head, y_init, h.at[:, 0].set(h_0), detach=detach)
        return jnp.sum(y[:, 1:])

    gradient = jax.jit(jax.grad(last_from_first), static_argnums=1)
    assert np.any(gradient(h[:, 0], False) != 0)
    np.testing.assert_array_equal(gradient(h[:, 0], True), 0)


def test_vmap_over_an_ensemble_of_heads(clips):
    h, y_init = clips
    heads = jax.jit(jax.vmap(lambda key: nets.init_head(key, 6, 3)))(jax.random.split(jax.random.key(2), 3))
    y, _ = jax.jit(jax.vmap(nets.recurrent_scan, in_axes=(0, None, None)))(heads, y_init, h)
    one, _ = recurrent_scan(jax.tree.map(lambda leaf: leaf[1], heads), y_init, h)
    np.testing.assert_allclose(y[1], one, atol=1e-6)


@pytest.mark.parametrize(
    ("y_init", "h", "reset", "message"),
    [
        (jnp.zeros((2, 3)), jnp.zeros((2, 9, 5)), None, "h: expected a last axis of 6"),
        (jnp.zeros((2, 4)), jnp.zeros((2, 9, 6)), None, "y: expected a last axis of 3"),
        (jnp.zeros((1, 3)), jnp.zeros((2, 9, 6)), None, "as y_init's"),
        (jnp.zeros((2, 3)), jnp.zeros((2, 9, 6)), jnp.zeros((9,)), "reset: expected shape"),
    ],
)
def test_errors(head, y_init, h, reset, message):
    with pytest.raises(ValueError, match=message):
        nets.recurrent_scan(head, y_init, h, reset=reset)
    if reset is None and h.shape[-1] == 6 and y_init.shape[-1] == 3:
        with pytest.raises(ValueError, match=r"h_t: expected the leading axes of y_tm1, \(1,\), got shape \(2, 6\)"):
            nets.recurrent_step(head, y_init, h[:, 0])
