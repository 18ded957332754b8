"""FINOLA as an autoencoder: what its parts do, and what its start from plane waves promises."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sfa_jax import finola
from sfa_jax.autoencoders import GENERATORS, FinolaAutoencoder, as_float, reconstruction_loss

SHAPE = (16, 16, 3)
SMALL = {
    "channels": 16,
    "map_size": 8,
    "encoder_channels": (4, 8),
    "hidden": 4,
    "hidden_pixels": 3,
    "dense_channels": 4,
}


@pytest.fixture(scope="module")
def images():
    """Smooth pictures, `[8, 16, 16, 3]` uint8."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:16, :16] / 16
    turns = [rng.uniform(0.1, 0.8, (8, 3)) * place[..., None, None] + rng.random((8, 3)) for place in (x, y)]
    waves = [np.sin(2 * np.pi * turn) for turn in turns]
    return np.clip(127 + 60 * np.moveaxis(waves[0] + waves[1], 2, 0), 0, 255).astype(np.uint8)


def start_of(**options):
    network = FinolaAutoencoder(**SMALL | options)
    return network, jax.jit(lambda: network.init(jax.random.key(0), SHAPE))()


@pytest.mark.parametrize(
    "options",
    [
        *({"generator": name, "start": "random"} for name in GENERATORS),
        {"n_paths": 3, "pooling": "attention"},
        {"n_paths": 2, "pooling": "reshape", "start": "random", "speeds": "real", "directions": "negated"},
    ],
)
def test_images_to_codes_and_back(options, images):
    network, variables = start_of(**options)

    @jax.jit
    def run(variables, x):
        q, batch_stats = network.encode(variables, x, train=True)
        return q, network.decode(variables["params"], q, SHAPE), batch_stats

    q, drawn, batch_stats = run(variables, images)
    assert q.shape == (8, network.n_paths, 16)
    assert drawn.shape == (8, *SHAPE)
    assert np.isfinite(drawn).all()
    assert jax.tree.structure(batch_stats) == jax.tree.structure(variables["batch_stats"])
    gain = np.asarray(variables["params"]["gain"])
    np.testing.assert_allclose(np.asarray(q).std(axis=-1), np.broadcast_to(gain, q.shape[:2]), rtol=1e-3)
    np.testing.assert_allclose(np.asarray(q).mean(axis=-1), 0, atol=1e-5)


def test_bytes_are_their_255th(images):
    network, variables = start_of()
    encode = jax.jit(lambda variables, x: network.encode(variables, x)[0])
    np.testing.assert_allclose(encode(variables, images), encode(variables, images / np.float32(255)), atol=1e-4)


def test_start_from_waves_is_the_least_squares_fit(images):
    network, variables = start_of(channels=32)
    params = variables["params"]
    encode = jax.jit(lambda images: network.encode(variables, images)[0])
    drawn = np.asarray(jax.jit(lambda q: network.decode(params, q, SHAPE))(encode(images)))
    # All that the decoder can draw about the code of grey is a plane of images; the nearest one is drawn.
    grey = encode(np.full((8, *SHAPE), 127.5 / 255, np.float32))[0]
    draw = jax.jit(lambda q: network.decode(params, finola.normalize(q)[None], SHAPE)[0].reshape(-1))
    slopes = np.stack([draw(grey + 0.05 * unit[None]) - draw(grey - 0.05 * unit[None]) for unit in np.eye(32)], 1) / 0.1
    target = (images / 255).reshape(8, -1).T - np.asarray(draw(grey))[:, None]
    best = slopes @ np.linalg.lstsq(slopes, target, rcond=1e-4)[0]
    error = np.mean((drawn.reshape(8, -1).T - np.asarray(draw(grey))[:, None] - target) ** 2)
    assert error < 1.1 * np.mean((best - target) ** 2) + 1e-5


def test_maps_at_the_start_are_plane_waves(images):
    network, variables = start_of(channels=32)
    q = jax.jit(lambda images: network.encode(variables, images)[0])(images)
    z = np.asarray(jax.jit(lambda q: network.grow(variables["params"], q, SHAPE))(q))
    np.testing.assert_allclose(np.linalg.norm(z, axis=-1), np.sqrt(32), rtol=1e-3)  # turned, never stretched
    params = network.matrices(variables["params"])
    first = jax.jit(lambda q: finola.autoregress(params, q, 8, 8, order="x_first"))(q[:, 0])
    np.testing.assert_allclose(z, first, atol=2e-3)  # turns commute


def test_repeat_has_as_many_weights_as_four_matrices():
    counts = {}
    for generator in ("finola", "repeat"):
        network = FinolaAutoencoder(channels=256, generator=generator, start="random")
        shapes = jax.eval_shape(lambda network=network: network.init(jax.random.key(0), (64, 64, 3)))
        counts[generator] = sum(x.size for x in jax.tree.leaves(shapes["params"]["generator"]))
    assert counts["finola"] == counts["repeat"] == 4 * 256**2


def test_loss_and_what_counts(images):
    x = as_float(jnp.asarray(images))
    np.testing.assert_allclose(reconstruction_loss(x + 0.1, x), 0.01, rtol=1e-4)
    with pytest.raises(ValueError, match="reconstruction: expected the shape"):
        reconstruction_loss(x[:, :8], x)
    with pytest.raises(TypeError, match="images: expected floating point"):
        reconstruction_loss(images, images)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"generator": "x"}, "generator: expected one of"),
        ({"pooling": "x"}, "pooling: expected one of"),
        ({"order": "x"}, "order: expected one of"),
        ({"speeds": "real"}, "start: 'waves' is for free matrices"),
        ({"directions": "shared"}, "start: plane waves turn back"),
        ({"directions": "negated"}, "start: plane waves turn back"),
        ({"generator": "linear", "n_paths": 2}, "start: without the norm all paths"),
        ({"channels": 3}, "channels: expected at least 4, got 3"),
        ({"n_paths": 0}, "n_paths: expected at least 1"),
        ({"map_size": 0}, "map_size: expected at least 1"),
        ({"encoder_channels": ()}, "encoder_channels: expected at least one block"),
    ],
)
def test_bad_choices(options, message):
    with pytest.raises(ValueError, match=message):
        FinolaAutoencoder(**SMALL | options)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((16, 16, 3), r"map_size: .* fill 16 x 16 pixels, which are 1, 2, 4, 8, 16 along the shorter side, got 5"),
        ((20, 12, 3), r"map_size: .* fill 20 x 12 pixels, which are 3, 6, 12 along"),  # 4 divides both sides
        ((16, 16), r"frame_shape: expected \(height, width, channel\)"),
    ],
)
def test_cells_must_fill_the_image(shape, message):
    with pytest.raises(ValueError, match=message):
        FinolaAutoencoder(**SMALL | {"map_size": 5}).grid(shape)
    with pytest.raises(ValueError, match="start: expected images of 1 or 3 channels"):
        FinolaAutoencoder(**SMALL).init(jax.random.key(0), (16, 16, 2))


def test_codes_of_another_shape(images):
    network, variables = start_of(n_paths=2)
    for q in (jnp.ones((1, 3, 16)), jnp.ones((2, 16))):
        with pytest.raises(ValueError, match=r"q: expected shape \[n, 2, 16\]"):
            network.decode(variables["params"], q, SHAPE)


def test_images_that_do_not_count_may_be_nan(rng):
    """Not in the statistics, nor in a gradient, nor in that of the linear map from pixels."""
    network = FinolaAutoencoder(channels=8, map_size=4, encoder_channels=(4,), start="waves")
    variables = network.init(jax.random.key(0), (8, 8, 1))
    assert "projection" in variables["params"]
    images, weight = jnp.asarray(rng.random((3, 8, 8, 1)), jnp.float32), jnp.array([1.0, 0, 1])

    @jax.jit
    def trained(params, images):
        def loss(params):
            q, batch_stats = network.encode(variables | {"params": params}, images, weight, train=True)
            return jnp.sum(jnp.where(weight[:, None, None] > 0, q, 0) ** 3), batch_stats

        return jax.value_and_grad(loss, has_aux=True)(params)

    found, expected = trained(variables["params"], images.at[1].set(jnp.nan)), trained(variables["params"], images)
    for leaf, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(leaf, other, rtol=1e-4, atol=1e-4)
