"""Recurrent cells against their equations in NumPy, frame by frame."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from sfa_jax import nets


def logistic(x):
    return 1 / (1 + np.exp(-x))


def loop(params, x, kind, reset):
    w, u, b = (np.asarray(params[name], np.float64) for name in ("kernel", "recurrent", "bias"))
    size = len(u)
    h = c = np.zeros((len(x), size))
    seen = []
    for t in range(x.shape[1]):
        h, c = (np.where(reset[:, t, None], 0, part) for part in (h, c))
        total = x[:, t] @ w + h @ u + b
        if kind == "plain":
            h = logistic(total)
        else:
            i, f, g, o = (total[:, k * size : (k + 1) * size] for k in range(4))
            c = logistic(f) * c + logistic(i) * np.tanh(g)
            h = logistic(o) * np.tanh(c)
        seen.append(h)
    return np.stack(seen, axis=1)


@pytest.mark.parametrize("kind", nets.CELLS)
def test_scan_is_the_loop(kind, rng):
    params = nets.init_cell(jax.random.key(0), 5, 3, kind=kind)
    x = rng.standard_normal((2, 6, 5)).astype(np.float32)
    reset = np.zeros((2, 6), bool)
    reset[0, 3] = True
    carry = nets.init_cell_carry(params, 2, kind=kind)
    last, h = jax.jit(nets.cell_scan, static_argnames="kind")(params, carry, x, kind=kind, reset=reset)
    np.testing.assert_allclose(h, loop(params, x, kind, reset), atol=1e-5)
    # Two clips, one after the other, are one.
    half, first = nets.cell_scan(params, carry, x[:, :2], kind=kind)
    _, second = nets.cell_scan(params, half, x[:, 2:], kind=kind, reset=reset[:, 2:])
    np.testing.assert_allclose(jnp.concatenate([first, second], axis=1), h, atol=1e-6)
    stepped, h_0 = nets.cell_step(params, carry, x[:, 0], kind=kind)
    np.testing.assert_allclose(h_0, h[:, 0], atol=1e-6)
    assert stepped.shape == last.shape == carry.shape


@pytest.mark.parametrize("kind", nets.CELLS)
def test_gradients(kind):
    with jax.enable_x64(True):
        params = jax.tree.map(lambda x: x.astype(jnp.float64), nets.init_cell(jax.random.key(0), 2, 2, kind=kind))
        x = jax.random.normal(jax.random.key(1), (1, 3, 2), jnp.float64)
        carry = nets.init_cell_carry(params, 1, kind=kind)
        check_grads(jax.jit(lambda p, x: nets.cell_scan(p, carry, x, kind=kind)[1]), (params, x), order=1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p, c: nets.init_cell(jax.random.key(0), 2, 2, kind="gru"), "kind: expected one of"),
        (lambda p, c: nets.cell_step(p, c, jnp.ones((2, 4))), "x: expected 5 numbers a frame"),
        (lambda p, c: nets.cell_step(p, c[:1], jnp.ones((2, 5))), r"carry: expected shape \(2, 3\)"),
        (lambda p, c: nets.cell_step(p, c, jnp.ones((2, 5)), kind="lstm"), "params: expected those of a lstm cell"),
        (lambda p, c: nets.cell_scan(p, c, jnp.ones((2, 5))), "x: expected shape"),
        (lambda p, c: nets.cell_scan(p, c, jnp.ones((2, 4, 5)), reset=jnp.ones((2, 3))), "reset: expected shape"),
    ],
)
def test_bad_arguments(call, message):
    params = nets.init_cell(jax.random.key(0), 5, 3)
    with pytest.raises(ValueError, match=message):
        call(params, nets.init_cell_carry(params, 2))
