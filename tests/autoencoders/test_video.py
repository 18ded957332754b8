"""The recurrent video autoencoder against a Python loop over frames."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sfa_jax.autoencoders import VideoAutoencoder

SHAPE = (8, 8, 1)
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def frames():
    return np.random.default_rng(0).random((2, 5, *SHAPE)).astype(np.float32)


def start_of(**options):
    network = VideoAutoencoder(**{"code_size": 3, "channels": (2, 2), "hidden": 6} | options)
    return network, jax.jit(lambda: network.init(KEY, SHAPE))()["params"]


def logistic(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("forced", [False, True])
def test_plain_dense_scan_is_the_loop(forced, frames):
    """h_t = s(W1 x_t + U1 h_{t-1} + b1), x^_t = s(W2 h_t + U2 x^_{t-1} + b2)."""
    network, params = start_of(cell="plain", body="dense")
    carry = network.init_carry(params, 2, SHAPE)
    reset = np.zeros((2, 5), bool)
    reset[1, 3] = True
    h, _ = jax.jit(network.encode)(params, frames, carry, reset=reset)
    drawn, last = jax.jit(network.decode)(params, h, carry, teacher=frames if forced else None, reset=reset)
    (w1, u1, b1), (w2, u2, b2) = (
        [np.asarray(params[part][name], np.float64) for name in ("kernel", "recurrent", "bias")]
        for part in ("encoder", "decoder")
    )
    code, before = np.zeros((2, 3)), np.zeros((2, 64))
    for t in range(5):
        code, before = (np.where(reset[:, t, None], 0, part) for part in (code, before))
        code = logistic(frames[:, t].reshape(2, -1) @ w1 + code @ u1 + b1)
        now = logistic(code @ w2 + before @ u2 + b2)
        np.testing.assert_allclose(h[:, t], code, atol=1e-5)
        np.testing.assert_allclose(drawn[:, t].reshape(2, -1), now, atol=1e-5)
        before = frames[:, t].reshape(2, -1) if forced else now
    np.testing.assert_allclose(last.drawn.reshape(2, -1), before, atol=1e-5)


@pytest.mark.parametrize(("cell", "body"), [("lstm", "convolutional"), ("lstm", "dense"), ("plain", "convolutional")])
def test_frame_by_frame_is_the_clip(cell, body, frames):
    network, params = start_of(cell=cell, body=body)

    @jax.jit
    def run(params, frames, carry):
        h, carry = network.encode(params, frames, carry)
        drawn, carry = network.decode(params, h, carry)
        return drawn, carry

    carry = network.init_carry(params, 2, SHAPE)
    whole, last = run(params, frames, carry)
    parts = []
    for t in range(5):
        drawn, carry = run(params, frames[:, t : t + 1], carry)
        parts.append(drawn)
    np.testing.assert_allclose(jnp.concatenate(parts, axis=1), whole, atol=1e-5)
    for found, expected in zip(carry, last, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert whole.shape == frames.shape
    assert (whole >= 0).all()
    assert (whole <= 1).all()


def test_clips_go_on_from_codes_alone(frames):
    network, params = start_of()
    params["advance"]["output"]["kernel"] = jax.random.normal(KEY, (6, 3))
    found = jax.jit(network.go_on, static_argnums=2)(params, frames, 4)
    assert found.shape == (2, 4, *SHAPE)
    h, carry = network.encode(params, jnp.asarray(frames), network.init_carry(params, 2, SHAPE))
    _, carry = network.decode(params, h, carry)
    before, now = np.asarray(h[:, -2]), np.asarray(h[:, -1])
    layers = jax.tree.map(np.asarray, params["advance"])
    for t in range(4):
        hidden = np.concatenate([now, now - before], axis=1) @ layers["hidden"]["kernel"]
        before, now = now, now + np.maximum(hidden, 0) @ layers["output"]["kernel"]
        drawn, carry = network.decode(params, jnp.asarray(now, jnp.float32)[:, None], carry)
        np.testing.assert_allclose(found[:, t], drawn[:, 0], atol=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: VideoAutoencoder(cell="gru"), "cell: expected one of"),
        (lambda: VideoAutoencoder(body="x"), "body: expected one of"),
        (lambda: VideoAutoencoder(channels=()), "channels: expected one or more"),
        (lambda: VideoAutoencoder(code_size=0), "code_size: expected at least 1"),
        (lambda: VideoAutoencoder().init(KEY, (12, 8, 1)), "channels: expected frames of multiples of 8 pixels"),
        (lambda: VideoAutoencoder().init(KEY, (8, 8)), "frame_shape: expected"),
        (lambda: start_of()[0].go_on(None, jnp.zeros((1, 1, *SHAPE)), 2), "frames: expected"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
