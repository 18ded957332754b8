"""What is made of corrupted images, and its measures, by hand."""

import numpy as np
import pytest

from sfa_jax import evaluation


@pytest.fixture
def images(rng):
    return rng.random((3, 4, 6, 1)).astype(np.float32)


def by_hand(found, true):
    return np.mean([-10 * np.log10(np.mean((a - b) ** 2)) for a, b in zip(found, true, strict=True)])


def test_inpainting_keeps_what_is_known_and_sees_its_last_filling(images, rng):
    hole = rng.random((3, 4, 6, 1)) < 0.3
    seen = []

    def halved(x):
        seen.append(x)
        return 0.5 * x

    images = np.where(hole, np.float32(0.8), images)
    found = evaluation.inpaint(halved, images, hole, n_steps=3)
    np.testing.assert_array_equal(found[~hole], images[~hole])
    np.testing.assert_allclose(found[hole], 0.1, rtol=1e-6)
    for x, filling in zip(seen, (0.8, 0.4, 0.2), strict=True):
        np.testing.assert_allclose(x[hole], filling, rtol=1e-6)


def test_measures(images):
    hole = np.zeros((3, 4, 6, 1), bool)
    hole[:, 1:3, 2:4] = True
    small = images.reshape(3, 2, 2, 3, 2, 1).mean(axis=(2, 4), keepdims=True)
    corrupted = {
        "masking_noise": images * (images > 0.5),
        "random_erase": np.where(hole, 0, images).astype(np.float32),
        "downsample": np.broadcast_to(small, (3, 2, 2, 3, 2, 1)).reshape(images.shape),
    }
    mean = np.full((4, 6, 1), 0.5, np.float32)
    restored = evaluation.restore(lambda x: 0.9 * x, corrupted, hole)
    found = evaluation.restoration_measures(restored, corrupted, images, hole, mean, 2)
    for name, given in corrupted.items():
        np.testing.assert_allclose(found[f"{name}/corrupted_psnr"], by_hand(given, images), rtol=1e-5)
    np.testing.assert_allclose(
        found["masking_noise/psnr"], by_hand(0.9 * corrupted["masking_noise"], images), rtol=1e-5
    )
    filled = np.where(hole, 0.5, images)
    np.testing.assert_allclose(found["random_erase/mean_filled_psnr"], by_hand(filled, images), rtol=1e-5)
    filled = np.where(hole, 0, images)  # nothing, nine tenths of it, and so on
    np.testing.assert_allclose(found["random_erase/psnr"], by_hand(filled, images), rtol=1e-5)
    bicubic = evaluation.resize_bicubic(small.reshape(3, 2, 3, 1), (4, 6))
    np.testing.assert_allclose(found["downsample/bicubic_psnr"], by_hand(bicubic, images), rtol=1e-5)
    assert "mean_filled_psnr" not in str(evaluation.restoration_measures({}, {}, images, None, mean, 2))


def test_bicubic_is_exact_where_cubics_are():
    """Of a straight ramp, away from the border, at pixels' centres."""
    ramp = np.broadcast_to(np.linspace(0.1, 0.8, 8, dtype=np.float32)[None, None, :, None], (1, 6, 8, 1))
    found = evaluation.resize_bicubic(ramp, (12, 16))[0, 6, 4:12, 0]
    np.testing.assert_allclose(found, 0.1 + 0.1 * (np.arange(4, 12) / 2 - 0.25), atol=1e-5)
