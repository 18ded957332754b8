"""Measures of drawn images, and the codes they are compared with."""

import numpy as np
import pytest

from sfa_jax.evaluation import dct_best_images, dct_images, image_measures, image_table, pca_images, psnr, ssim


@pytest.fixture
def images(rng):
    y, x = np.mgrid[:12, :16] / 16
    phase = rng.uniform(0, 6, (40, 1, 1, 3))
    waves = np.sin(5 * x[None, :, :, None] + phase) + np.sin(4 * y[None, :, :, None] * phase / 3)
    return (127 + 60 * waves).astype(np.uint8)


def test_psnr_is_by_image_and_clips():
    a = np.stack([np.full((4, 4, 1), value) for value in (0.5, 1.0, 2.0)])
    b = np.stack([np.full((4, 4, 1), value) for value in (0.6, 0.0, 1.0)])
    np.testing.assert_allclose(psnr(a, b), [20, 0, 100])


def test_psnr_of_bytes_is_that_of_shares(images):
    other = images[::-1].copy()
    expected = psnr(images / 255, other / 255)
    assert (expected < 50).all()
    for pair in ((images, other), (images, other / 255), (images / np.float32(255), other)):
        np.testing.assert_allclose(psnr(*pair), expected, rtol=1e-5)
        np.testing.assert_allclose(ssim(*pair), ssim(images / 255, other / 255), atol=1e-5)


@pytest.mark.parametrize("measure", [psnr, ssim])
def test_pairs_that_do_not_fit(images, measure):
    x = images / 255
    with pytest.raises(ValueError, match=r"at least one of the two in \[0, 1\], got values up to"):
        measure(2 + x * 253, 2 + x * 253)
    with pytest.raises(TypeError, match=r"expected uint8, or floating point in .* got uint16"):
        measure(images.astype(np.uint16), x)
    for other in (x[:1], x[..., :1], x[0], x[None]):
        with pytest.raises(ValueError, match=r"expected one shape \[n, height, width, channel\]"):
            measure(x, other)


def test_ssim_of_the_same_and_of_the_opposite(images):
    x = images / np.float32(255)
    np.testing.assert_allclose(ssim(x, x), 1, atol=1e-5)
    assert (ssim(x, 1 - x) < 0.5).all()


def test_every_number_is_every_pixel(images):
    every = images[0].size
    for draw in (dct_images(images, every), dct_best_images(every)):
        np.testing.assert_allclose(draw(images), images / 255, atol=1e-5)
    np.testing.assert_allclose(pca_images(images, 40)(images), images / 255, atol=2e-3)


def test_own_coefficients_are_the_best_and_more_are_better(images):
    def mean(draw):
        return psnr(draw(images), images / 255).mean()

    by_size = [mean(dct_images(images[:20], n)) for n in (3, 10, 30)]
    assert by_size == sorted(by_size)
    assert mean(dct_best_images(10)) > by_size[1]


def test_principal_components_are_those_of_an_svd(images):
    x = images.reshape(40, -1) / 255
    centred = x - x.mean(axis=0)
    _, _, rows = np.linalg.svd(centred, full_matrices=False)
    expected = centred @ rows[:3].T @ rows[:3] + x.mean(axis=0)
    np.testing.assert_allclose(pca_images(images, 3)(images).reshape(40, -1), expected, atol=1e-4)
    small = images[:, :2, :2]  # more images than pixels
    x = small.reshape(40, -1) / 255
    rows = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)[2][:3]
    np.testing.assert_allclose(
        pca_images(small, 3)(small).reshape(40, -1), (x - x.mean(axis=0)) @ rows.T @ rows + x.mean(axis=0), atol=1e-4
    )


def test_measures_and_their_table(images):
    found = image_measures(dct_images(images, 5), images)
    assert found["psnr_worst_tenth"] < found["psnr"]
    assert 0 < found["ssim"] < 1
    summary = found | {"held_out_images": 40.0, "code_size": 5.0, "baseline/pca/psnr": 21.5}
    assert "held-out images, 5 numbers each" in image_table(summary)
    assert "21.50" in image_table(summary)
    assert "ssim" not in image_measures(dct_images(images[:, :8, :8], 5), images[:, :8, :8])
