"""Corruptions do what their docstrings say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sfa_jax import autoencoders as ae

KEY = jax.random.key(0)


def test_gaussian_noise():
    noise = np.asarray(ae.gaussian_noise(KEY, jnp.full((50, 20, 20, 3), 0.5), sigma=0.1)) - 0.5
    np.testing.assert_allclose([noise.mean(), noise.std()], [0, 0.1], atol=2e-3)
    assert abs(np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1]) < 0.02
    clipped = np.asarray(ae.gaussian_noise(KEY, jnp.zeros((50, 20, 20, 1)), sigma=0.3))
    assert clipped.min() == 0
    np.testing.assert_allclose((clipped == 0).mean(), 0.5, atol=0.02)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_masking_noise(share):
    found = np.asarray(ae.masking_noise(KEY, jnp.full((40, 20, 20, 3), 0.6), share=share))
    assert set(np.unique(found)) <= {0, np.float32(0.6)}
    assert (found[..., 0] == found[..., 2]).all()
    np.testing.assert_allclose((found == 0).mean(), share, atol=0.02)
    assert share in (0, 1) or (found[0] != found[1]).any()


def test_salt_and_pepper():
    found = np.asarray(ae.salt_and_pepper(KEY, jnp.full((40, 20, 20, 3), 0.6), share=0.5))
    for value, share in ((0, 0.25), (1, 0.25), (np.float32(0.6), 0.5)):
        np.testing.assert_allclose((found == value).mean(), share, atol=0.02)
    assert (found[..., 0] == found[..., 2]).all()


def test_random_erase():
    found = np.asarray(ae.random_erase(KEY, jnp.ones((4000, 5, 6, 1)), size=(2, 4), value=0.25))
    erased = found[..., 0] == 0.25
    assert (erased.sum(axis=(1, 2)) == 8).all()
    first = np.stack([erased.any(axis=2).argmax(axis=1), erased.any(axis=1).argmax(axis=1)], axis=1)
    corners, counts = np.unique(first, axis=0, return_counts=True)
    assert len(corners) == 4 * 3
    np.testing.assert_allclose(counts / 4000, 1 / 12, atol=0.02)
    np.testing.assert_array_equal(ae.random_hole(KEY, (4000, 5, 6, 1), size=(2, 4))[..., 0], erased)
    whole = ae.random_erase(KEY, jnp.ones((1, 5, 5, 1)), size=5)
    assert float(whole.sum()) == 0


def test_downsample():
    x = np.random.default_rng(0).random((2, 6, 9, 3)).astype(np.float32)
    found = np.asarray(ae.downsample(x, factor=3))
    for i in range(2):
        for j in range(3):
            part = (slice(None), slice(3 * i, 3 * i + 3), slice(3 * j, 3 * j + 3))
            np.testing.assert_allclose(found[part], x[part].mean(axis=(1, 2), keepdims=True) + 0 * x[part], rtol=1e-5)


def test_one_of():
    x = jnp.full((6000, 1, 1, 1), 0.5)
    made = [lambda key, x: x, lambda key, x: 0 * x, lambda key, x: ae.gaussian_noise(key, x, sigma=1e-3)]
    found = np.asarray(ae.one_of(KEY, x, corruptions=made)).ravel()
    np.testing.assert_allclose([(found == 0.5).mean(), (found == 0).mean()], 1 / 3, atol=0.02)
    noisy = found[(found != 0.5) & (found != 0)]
    assert len(np.unique(noisy)) > 1000
    alone = ae.one_of(KEY, x, corruptions=made[2:])
    np.testing.assert_array_equal(alone, ae.gaussian_noise(KEY, x, sigma=1e-3))
    with pytest.raises(ValueError, match="corruptions: expected one or more"):
        ae.one_of(KEY, x, corruptions=[])


def test_under_jit():
    x = jnp.full((2, 4, 4, 1), 0.5)
    for corrupt in (
        ae.gaussian_noise,
        ae.masking_noise,
        ae.salt_and_pepper,
        lambda k, x: ae.random_erase(k, x, size=2),
    ):
        np.testing.assert_allclose(jax.jit(corrupt)(KEY, x), corrupt(KEY, x), rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: ae.gaussian_noise(KEY, x, sigma=-1.0), ValueError, "sigma: expected at least 0, got -1"),
        (
            lambda x: ae.gaussian_noise(KEY, x, sigma=jnp.ones(len(x))),
            ValueError,
            "sigma: expected one number, got shape",
        ),
        (
            lambda x: ae.recolour(KEY, jnp.ones((1, 3, 8, 8))),
            ValueError,
            "images: expected a last axis of 1 to 4 channels",
        ),
        (lambda x: ae.masking_noise(KEY, x, share=1.5), ValueError, "share: expected 0 to 1, got 1.5"),
        (lambda x: ae.salt_and_pepper(KEY, x, share=-0.5), ValueError, "share: expected 0 to 1"),
        (lambda x: ae.random_erase(KEY, x, size=5), ValueError, "size: expected 1 to 4 x 4 pixels.* got 5 x 5"),
        (lambda x: ae.random_erase(KEY, x, size=2, value=2.0), ValueError, "value: expected 0 to 1"),
        (lambda x: ae.downsample(x, factor=3), ValueError, "factor: expected a divisor"),
        (lambda x: ae.downsample(x[0]), ValueError, r"images: expected shape \[n, height, width, channel\]"),
        (lambda x: ae.downsample(x.astype(int)), TypeError, "images: expected floating point"),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call(jnp.ones((2, 4, 4, 1)))
