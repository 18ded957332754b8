"""The family of plain autoencoders: gradients derived by hand, codes, and what the losses are made of."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sfa_jax import autoencoders as ae

SHAPE = (8, 8, 1)
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (5, *SHAPE), dtype=np.uint8)


def start_of(**options):
    network = ae.Autoencoder(**{"code_size": 3, "hidden": (6,), "channels": (4, 4)} | options)
    return network, jax.jit(lambda: network.init(KEY, SHAPE))()


def test_gradient_is_the_one_derived_by_hand():
    """z = s(W1 x + b1), x^ = s(W2 z + b2); of half the squared error, delta2 = (x^ - x) s', delta1 = W2' delta2 s'."""
    with jax.enable_x64(True):
        network = ae.Autoencoder(code_size=3, hidden=(), activation="sigmoid", code="sigmoid")
        params = jax.tree.map(lambda x: x.astype(jnp.float64), network.init(KEY, (2, 2, 1))["params"])
        x = jax.random.uniform(jax.random.key(1), (1, 2, 2, 1), jnp.float64)
        found = jax.grad(lambda params: 0.5 * network.loss(params, KEY, x, x)[0].sum())(params)
        flat = np.asarray(x).reshape(-1)
        w1, b1 = (np.asarray(params["encoder"]["code"][name]) for name in ("kernel", "bias"))
        w2, b2 = (np.asarray(params["decoder"]["pixels"][name]) for name in ("kernel", "bias"))
        z = 1 / (1 + np.exp(-(w1.T @ flat + b1)))
        drawn = 1 / (1 + np.exp(-(w2.T @ z + b2)))
        delta2 = (drawn - flat) * drawn * (1 - drawn)
        delta1 = (w2 @ delta2) * z * (1 - z)
        for part, name, expected in (
            ("decoder", "kernel", np.outer(z, delta2)),
            ("decoder", "bias", delta2),
            ("encoder", "kernel", np.outer(flat, delta1)),
            ("encoder", "bias", delta1),
        ):
            layer = {"encoder": "code", "decoder": "pixels"}[part]
            np.testing.assert_allclose(found[part][layer][name], expected, atol=1e-6)


@pytest.mark.parametrize("body", ae.BODIES)
@pytest.mark.parametrize(
    ("code", "likelihood"), [("free", "squared"), ("sparse", "squared"), ("gaussian", "bernoulli")]
)
def test_loss_is_the_sum_of_its_terms(body, code, likelihood, images):
    network, variables = start_of(body=body, code=code, likelihood=likelihood)
    target = images / np.float32(255)
    loss, terms = jax.jit(lambda params: network.loss(params, KEY, images, target, l1_weight=0.5, beta=2.0))(
        variables["params"]
    )
    assert loss.shape == (5,)
    weights = {"reconstruction": 1, "l1": 0.5, "kl": 2}
    assert set(terms) == {"reconstruction"} | {"sparse": {"l1"}, "gaussian": {"kl"}}.get(code, set())
    np.testing.assert_allclose(loss, sum(weights[name] * term for name, term in terms.items()), rtol=1e-6)
    z, _ = network.encode(variables, images)
    assert z.shape == (5, 3)
    assert code != "sparse" or (z >= 0).all()
    drawn = np.asarray(network.decode(variables["params"], z, SHAPE))
    assert drawn.shape == images.shape
    if code != "gaussian":
        np.testing.assert_allclose(terms["reconstruction"], ((drawn - target) ** 2).sum(axis=(1, 2, 3)), rtol=1e-4)


def test_what_is_sampled():
    posterior = ae.Posterior(jnp.full((4000, 3), 2.0), jnp.full((4000, 3), np.log(0.25)))
    z = ae.Autoencoder(code_size=3, code="gaussian").sample(KEY, posterior)
    np.testing.assert_allclose([z.mean(), z.std()], [2, 0.5], atol=0.02)
    dropped = np.asarray(ae.Autoencoder(code_size=3, dropout=0.25).sample(KEY, posterior._replace(log_variance=None)))
    np.testing.assert_allclose((dropped == 0).mean(), 0.25, atol=0.02)
    np.testing.assert_allclose(dropped[dropped > 0], 2 / 0.75, rtol=1e-6)


@pytest.mark.parametrize("body", ae.BODIES)
def test_a_sparse_code_cannot_hide_in_large_weights(body, images):
    network, variables = start_of(body=body, code="sparse", hidden=())
    name = "pixels" if body == "dense" else "map"
    kernel = variables["params"]["decoder"][name]["kernel"]
    variables["params"]["decoder"][name]["kernel"] = 7.0 * kernel
    z, _ = network.encode(variables, images)
    larger = network.decode(variables["params"], z, SHAPE)
    variables["params"]["decoder"][name]["kernel"] = kernel / np.linalg.norm(kernel, axis=1, keepdims=True)
    np.testing.assert_allclose(larger, network.decode(variables["params"], z, SHAPE), atol=1e-6)


def test_every_parameter_matters(images):
    network, variables = start_of(body="convolutional", code="sparse", hidden=())
    target = images / np.float32(255)
    gradient = jax.jit(jax.grad(lambda params: network.loss(params, KEY, images, target)[0].sum()))(variables["params"])
    assert all(np.abs(x).max() > 0 for x in jax.tree.leaves(gradient))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"code": "x"}, "code: expected one of"),
        ({"body": "x"}, "body: expected one of"),
        ({"pool": "min"}, "pool: expected one of"),
        ({"code_size": 0}, "code_size: expected at least 1"),
        ({"dropout": 1.0}, "dropout: expected at least 0 and below 1"),
        ({"hidden": (3, 0)}, "hidden, channels: expected sizes of at least 1"),
        ({"body": "convolutional", "channels": ()}, "channels: expected at least one block"),
    ],
)
def test_bad_choices(options, message):
    with pytest.raises(ValueError, match=message):
        ae.Autoencoder(**options)


def test_images_that_do_not_fit():
    with pytest.raises(ValueError, match="channels: 3 blocks halve the image as often, but 12 x 8 pixels"):
        ae.Autoencoder(body="convolutional", channels=(4, 4, 4)).init(KEY, (12, 8, 1))
    with pytest.raises(ValueError, match="frame_shape: expected"):
        ae.Autoencoder().init(KEY, (12, 8))
