"""Encoder and slow network: parameter count, pooling, masks and statistics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sfa_jax.nets import ConvEncoder, SlowNetwork, pool_features


def n_parameters(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.fixture(scope="module")
def small():
    network = SlowNetwork(dim=3, channels=(4, 5), hidden=8, pool="flatten")
    return network, jax.jit(lambda key: network.init(key, (8, 12, 3)))(jax.random.key(0))


def test_the_seeds_network_has_142912_parameters():
    network = SlowNetwork()
    variables = jax.eval_shape(lambda key: network.init(key, (64, 64, 3)), jax.random.key(0))
    assert n_parameters(variables["params"]) == 142_912


def test_uint8_and_float_frames_agree(small, rng):
    network, variables = small
    frames = rng.integers(0, 256, (2, 3, 8, 12, 3), dtype=np.uint8)
    apply = jax.jit(network.apply)
    y, _, _ = apply(variables, frames, network.init_carry(2))
    same, _, _ = apply(variables, jnp.asarray(frames, jnp.float32) / 255, network.init_carry(2))
    assert y.shape == (2, 3, 3)
    np.testing.assert_allclose(y, same, atol=1e-5)


def spoiled(frames, weight):
    """Frames, those of weight 0 with NaN in them, and infinite."""
    where = weight.reshape(*weight.shape, 1, 1, 1) > 0
    return jnp.where(where, frames, jnp.where(jnp.arange(frames.shape[-1]) > 0, jnp.nan, jnp.inf))


@pytest.mark.parametrize(("pool", "remat_frames"), [("mean", 0), ("spatial_softmax", 2)])
def test_frames_that_do_not_count_may_hold_anything(rng, pool, remat_frames):
    """Neither statistics, nor features, nor any gradient of the others see NaN under weight 0."""
    encoder = ConvEncoder(channels=(2, 3), pool=pool, remat_frames=remat_frames)
    frames, weight = jnp.asarray(rng.random((4, 6, 6, 2)), jnp.float32), jnp.array([1.0, 0, 1, 1])
    variables = jax.jit(encoder.init)(jax.random.key(0), frames)

    @jax.jit
    def trained(params, frames):
        def loss(params):
            h, updated = encoder.apply(
                variables | {"params": params}, frames, weight, train=True, mutable=["batch_stats"]
            )
            return jnp.sum(jnp.sin(jnp.where(weight[:, None] > 0, h, 0))), (h, updated)

        return jax.value_and_grad(loss, has_aux=True)(params)

    found, expected = (trained(variables["params"], x) for x in (spoiled(frames, weight), frames))
    (loss, (h, updated)), gradient = found
    assert np.isfinite(h).all()
    (other_loss, (other_h, other_updated)), other_gradient = expected
    np.testing.assert_allclose(h[weight > 0], other_h[weight > 0], rtol=1e-4, atol=1e-5)
    for leaf, other in zip(
        jax.tree.leaves((loss, updated, gradient)),
        jax.tree.leaves((other_loss, other_updated, other_gradient)),
        strict=True,
    ):
        np.testing.assert_allclose(leaf, other, rtol=1e-4, atol=1e-4)
    assert np.isfinite(encoder.apply(variables, spoiled(frames, weight), weight)).all()


def test_padding_does_not_change_what_is_learned(small, rng):
    """Invalid frames count neither in the batch statistics nor, through them, in any valid embedding."""
    network, variables = small
    frames = jnp.asarray(rng.random((2, 4, 8, 12, 3)), jnp.float32)
    valid = jnp.array([[True, True, True, True], [True, True, False, False]])
    apply = jax.jit(lambda frames: network.apply(variables, frames, network.init_carry(2), valid=valid, train=True))
    y, _, stats = apply(frames)
    for padding in (0.9, jnp.nan):
        other, _, other_stats = apply(jnp.where(valid[..., None, None, None], frames, padding))
        np.testing.assert_allclose(y[valid], other[valid], atol=1e-5)
        for a, b in zip(jax.tree.leaves(stats), jax.tree.leaves(other_stats), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)


def test_running_statistics_lead_evaluation_to_training(small, rng):
    network, variables = small
    frames = jnp.asarray(rng.random((4, 2, 8, 12, 3)), jnp.float32)
    carry = network.init_carry(4)
    train = jax.jit(lambda v: network.apply(v, frames, carry, train=True))
    for _ in range(150):
        y, _, variables["batch_stats"] = train(variables)
    evaluated, _, _ = jax.jit(network.apply)(variables, frames, carry)
    np.testing.assert_allclose(evaluated, y, atol=2e-3)


def test_pooling(rng):
    x = jnp.asarray(rng.normal(size=(2, 3, 4, 5)), jnp.float32)
    np.testing.assert_allclose(pool_features(x, "mean"), np.mean(x, axis=(1, 2)), rtol=1e-5, atol=1e-6)
    assert pool_features(x, "flatten").shape == (2, 60)
    peak = jnp.zeros((1, 3, 5, 2)).at[0, 2, 1, 0].set(100.0).at[0, 0, 4, 1].set(100.0)
    # Rows of both channels, then columns: (bottom, top), (second of five, last).
    np.testing.assert_allclose(pool_features(peak, "spatial_softmax"), [[1, -1, -0.5, 1]], atol=1e-5)
    with pytest.raises(ValueError, match="pool: expected one of"):
        pool_features(x, "max")


def test_spatial_softmax_encoder_has_two_features_a_channel(rng):
    encoder = ConvEncoder(channels=(4, 6), pool="spatial_softmax")
    frames = jnp.asarray(rng.random((2, 8, 8, 1)), jnp.float32)
    h, _ = jax.jit(encoder.init_with_output)(jax.random.key(0), frames)
    assert h.shape == (2, 12)


def test_errors(small):
    with pytest.raises(ValueError, match="recurrence: expected one of"):
        SlowNetwork(recurrence="some")
    network, variables = small
    with pytest.raises(TypeError, match="frames: expected uint8, or floating point"):
        network.apply(variables, jnp.zeros((1, 2, 8, 12, 3), jnp.int32), network.init_carry(1))
