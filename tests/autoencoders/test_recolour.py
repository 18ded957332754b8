"""Images in other colours."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sfa_jax.autoencoders import recolour

recoloured = jax.jit(recolour, static_argnames="strength")


def test_without_strength_channels_are_exchanged(rng):
    images = rng.uniform(0.1, 1, (60, 3, 4, 3)).astype(np.float32)
    found = np.asarray(recoloured(jax.random.key(0), images, strength=0.0))
    seen = set()
    for image, other in zip(images, found, strict=True):
        fits = [o for o in itertools.permutations(range(3)) if np.allclose(image[..., o], other, atol=1e-5)]
        assert len(fits) == 1
        seen.add(fits[0])
    assert len(seen) == 6


def test_images_differ_and_stay_images(rng):
    images = rng.uniform(0, 1, (50, 6, 6, 1)).astype(np.float32)
    found = np.asarray(recoloured(jax.random.key(0), images, strength=0.5))
    assert found.min() >= 0
    assert found.max() <= 1
    changes = np.abs(found - images).mean(axis=(1, 2, 3))
    assert np.ptp(changes) > 0.1
    # The order of grey values within an image stays what it is, where nothing is clipped.
    for image, other in zip(images.reshape(50, -1), found.reshape(50, -1), strict=True):
        inside = (other > 0) & (other < 1)
        assert (np.argsort(image[inside]) == np.argsort(other[inside])).mean() > 0.9


def test_gradient_is_finite_at_black():
    total = jax.grad(lambda x: recolour(jax.random.key(0), x).sum())(jnp.zeros((2, 3, 3, 3)))
    assert np.isfinite(total).all()


def test_bytes_are_refused():
    with pytest.raises(TypeError, match="images: expected floating point"):
        recolour(jax.random.key(0), np.zeros((1, 2, 2, 3), np.uint8))
