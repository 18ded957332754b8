"""Masked FINOLA: what is seen, what is predicted, and what counts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sfa_jax import finola
from sfa_jax.autoencoders import VARIANTS, MaskedFinola, Prediction, masked_loss

SHAPE = (16, 24, 3)
SMALL = {"features": 8, "encoder_channels": (4, 4), "blocks": 1}


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (5, *SHAPE), dtype=np.uint8)


@pytest.fixture(scope="module")
def corners():
    return jnp.array([[0, 0], [2, 3], [1, 2], [2, 0], [0, 1]])


def start_of(variant):
    network = MaskedFinola(variant=variant, **SMALL)
    variables = jax.jit(lambda: network.init(jax.random.key(0), SHAPE))()
    return network, variables, jax.jit(lambda images, corners: network.predict(variables, images, corners)[0])


@pytest.mark.parametrize("variant", VARIANTS)
def test_nothing_but_the_block_is_seen(variant, images, corners):
    network, _, predict = start_of(variant)
    found = predict(images, corners)
    assert found.images.shape == images.shape
    assert network.grid(SHAPE) == (4, 6)
    hidden = np.repeat(np.repeat(found.masked, 4, axis=1), 4, axis=2)[..., None]
    assert (hidden.reshape(5, -1).mean(axis=1) == 0.75).all()
    np.testing.assert_array_equal(found.images, predict(np.where(hidden, 77, images).astype(np.uint8), corners).images)
    other = predict(np.where(hidden, images, 77).astype(np.uint8), corners).images
    assert (np.abs(other - found.images).reshape(5, -1).max(axis=1) > 1e-3).all()


@pytest.mark.parametrize("variant", VARIANTS)
def test_masked_cells_are_those_of_the_maps(variant, images, corners):
    network, variables, predict = start_of(variant)
    found, params = predict(images, corners), variables["params"]
    matrices = finola.FinolaParams(**params["generator"])
    for n in (1, 2):
        row, column = map(int, corners[n])
        seen = images[n : n + 1, 4 * row : 4 * row + 8, 4 * column : 4 * column + 12]
        z, _ = jax.jit(network.encode)(variables, jnp.asarray(seen))
        sources = finola.block_sources(4, 6, (row, column))
        np.testing.assert_array_equal(found.masked[n], sources.masked)
        if variant == "block":
            whole = jax.jit(finola.predict_from_block)(matrices, z, jax.tree.map(jnp.asarray, sources))
        else:
            q = jax.jit(lambda z: network._pool.apply({"params": params["pool"]}, z))(z)
            start = (row + 1, column + 1)
            whole = jax.jit(lambda q, start=start: finola.autoregress(matrices, q[:, 0], 4, 6, start=start))(q)
        patches = jnp.matmul(whole[0], params["patch"]["kernel"]) + params["patch"]["bias"] + 0.5
        drawn = patches.reshape(4, 6, 4, 4, 3).transpose(0, 2, 1, 3, 4).reshape(SHAPE)
        np.testing.assert_allclose(found.images[n], drawn, atol=1e-4)


def test_corners_are_anywhere():
    corners = np.asarray(MaskedFinola(**SMALL).random_corners(jax.random.key(0), 500, SHAPE))
    assert set(map(tuple, corners)) == {(row, column) for row in range(3) for column in range(4)}


@pytest.mark.parametrize("shape", [SHAPE, (16, 16, 3), (64, 64, 1)])
def test_spread_corners_visit_every_position_alike(shape):
    network = MaskedFinola(**SMALL)
    rows, columns = (side // 2 + 1 for side in network.grid(shape))
    corners = network.spread_corners(2 * rows * columns, shape)
    found, counts = np.unique(corners, axis=0, return_counts=True)
    assert len(found) == rows * columns
    assert (counts == 2).all()
    assert (np.ptp(corners[: rows * columns // 3], axis=0) >= np.array([rows, columns]) - 2).all()


def test_features_of_whole_images(images):
    network, variables, _ = start_of("block")
    z, _ = jax.jit(network.encode)(variables, images)
    np.testing.assert_allclose(jax.jit(network.pooled)(variables, images), z.mean(axis=(1, 2)), atol=1e-5)
    halves = MaskedFinola(pooled_cells=2, **SMALL)
    assert halves.dim == 32
    np.testing.assert_allclose(
        jax.jit(halves.pooled)(variables, images)[:, 8:16], z[:, :2, 3:].mean(axis=(1, 2)), atol=1e-5
    )


def test_loss_is_of_masked_cells_alone():
    masked = np.array([[[True, False], [True, True]]])
    true = np.zeros((1, 4, 6, 1), np.float32)
    drawn = true.copy()
    drawn[0, :2, 3:] = 9  # seen: does not count
    drawn[0, 2:, :3] = 3
    assert masked_loss(Prediction(drawn, masked), true).tolist() == [3.0]
    true[0, :2, 3:] = np.nan
    loss, gradient = jax.value_and_grad(lambda x: masked_loss(Prediction(x, masked), true)[0])(jnp.asarray(drawn))
    assert loss == 3.0
    assert np.isfinite(gradient).all()
    with pytest.raises(ValueError, match=r"prediction.masked: expected \[2, rows, columns\], got \(1, 2, 2\)"):
        masked_loss(Prediction(np.concatenate([drawn] * 2), masked), np.concatenate([true] * 2))
    with pytest.raises(ValueError, match="images: expected the shape"):
        masked_loss(Prediction(drawn, masked), true[:, :2])
    with pytest.raises(TypeError, match="images: expected uint8, or floating point"):
        masked_loss(Prediction(drawn, masked), np.zeros(true.shape, np.int32))


@pytest.mark.parametrize(
    ("options", "shape", "message"),
    [
        ({}, (20, 16, 3), "encoder_channels: expected blocks that leave an even number"),
        ({}, (18, 16, 3), "encoder_channels: expected blocks that leave an even number"),
        ({"pooled_cells": 3}, (16, 16, 3), "pooled_cells: expected a divisor of 4 and 4"),
    ],
)
def test_sizes_that_do_not_fit(options, shape, message):
    with pytest.raises(ValueError, match=message):
        MaskedFinola(**SMALL | options).grid(shape)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "whole"}, "variant: expected one of"),
        ({"pooled_cells": 0}, "pooled_cells: expected at least 1, got 0"),
        ({"encoder_channels": ()}, "encoder_channels: expected at least one block"),
    ],
)
def test_bad_choices(options, message):
    with pytest.raises(ValueError, match=message):
        MaskedFinola(**SMALL | options)
