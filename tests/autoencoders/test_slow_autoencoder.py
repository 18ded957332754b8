"""Slow codes that are drawn: what reaches the slow network, and what the drawing depends on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sfa_jax.autoencoders import FinolaDecoder, SlowAutoencoder
from sfa_jax.nets import SlowNetwork

SHAPE = (16, 16, 3)
NETWORK = SlowNetwork(dim=3, channels=(4,), pool="mean", hidden=8, recurrence="none")
DECODER = FinolaDecoder(channels=16, map_size=4, hidden=4, hidden_pixels=3, start="random")


@pytest.fixture(scope="module")
def frames():
    return jnp.asarray(np.random.default_rng(0).integers(0, 256, (2, 3, *SHAPE), dtype=np.uint8))


@pytest.mark.parametrize(("detach", "n_free"), [(True, 2), (False, 0)])
def test_gradient_of_the_drawing(detach, n_free, frames):
    model = SlowAutoencoder(NETWORK, DECODER, n_free=n_free, between=8, detach=detach)
    variables = jax.jit(lambda: model.init(jax.random.key(0), SHAPE))()
    carry = NETWORK.init_carry(2)

    @jax.jit
    @jax.grad
    def gradient(params):
        y, free, _, _ = model.apply({"params": params, "batch_stats": variables["batch_stats"]}, frames, carry)
        drawn = model.decode(params, y[:, -1], free[:, -1], SHAPE)
        return jnp.sum(jnp.square(drawn - frames[:, -1] / 255))

    found = gradient(variables["params"])
    size = {name: sum(float(jnp.abs(x).sum()) for x in jax.tree.leaves(part)) for name, part in found.items()}
    assert (size["head"] == 0) is detach
    assert (size["encoder"] == 0) is detach
    assert size["to_vectors"] > 0
    assert size["generator"] > 0
    assert ("free_head" in size) is bool(n_free)
    assert size.get("free_head", 1) > 0


def test_slow_code_is_that_of_the_network(frames):
    model = SlowAutoencoder(NETWORK, DECODER, n_free=2, between=8)
    variables = jax.jit(lambda: model.init(jax.random.key(0), SHAPE))()
    carry = NETWORK.init_carry(2)
    y, free, y_last, _ = jax.jit(model.apply)(variables, frames, carry)
    expected, expected_last, _ = jax.jit(NETWORK.apply)(variables, frames, carry)
    np.testing.assert_allclose(y, expected, atol=1e-6)
    np.testing.assert_allclose(y_last, expected_last, atol=1e-6)
    np.testing.assert_allclose(free[0], jax.jit(model.free)(variables, frames[0]), atol=1e-6)
    assert model.code_size == 5
