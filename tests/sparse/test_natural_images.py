"""Log intensity, whitening and patches against NumPy; Gabor functions that are known, noise, what counts as a cell."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sfa_jax import sparse
from sfa_jax.sparse import Gabor

KEY = jax.random.key(0)


fit = jax.jit(sparse.fit_gabor)  # of 40 atoms of 12 x 12 pixels, so that it is compiled once


def random_gabors(rng, n, size):
    low_high = [(2, size - 3), (2, size - 3), (0, np.pi), (0.1, 0.4), (1.2, 3), (1.2, 3), (-np.pi, np.pi)]
    parts = [rng.uniform(*ends, n).astype(np.float32) for ends in low_high]
    return Gabor(*parts, np.full(n, 2.0, np.float32), np.ones(n, np.float32))


def test_whitening_is_the_filter_of_the_mirrored_image(rng):
    image = rng.random((7, 10, 2))
    with jax.enable_x64(True):
        found = np.asarray(jax.jit(sparse.whiten_images)(image))
    for c in range(2):
        mirrored = np.pad(image[..., c] - image[..., c].mean(), ((0, 7), (0, 10)), mode="symmetric")
        f = np.hypot(np.fft.fftfreq(14)[:, None], np.fft.fftfreq(20)[None])
        white = np.fft.ifft2(np.fft.fft2(mirrored) * f * np.exp(-((f / 0.4) ** 4))).real[:7, :10]
        white -= white.mean()
        np.testing.assert_allclose(found[..., c], white / white.std(), atol=1e-12)


def test_whitening_makes_natural_spectra_flat(rng):
    """An image of amplitudes 1 / f has about equal power in all bands below the cut-off."""
    f = np.hypot(np.fft.fftfreq(128)[:, None], np.fft.fftfreq(128)[None])
    image = np.fft.ifft2(np.fft.fft2(rng.standard_normal((128, 128))) / np.maximum(f, 1 / 128)).real
    white = np.asarray(sparse.whiten_images(image[..., None].astype(np.float32)))[..., 0]
    power = np.abs(np.fft.fft2(white)) ** 2
    bands = [power[(f >= low) & (f < low + 0.05)].mean() for low in (0.02, 0.07, 0.12, 0.17)]
    assert max(bands) < 1.5 * min(bands)
    assert (sparse.whiten_images(np.full((2, 9, 9, 1), 0.3, np.float32)) == 0).all()
    np.testing.assert_allclose(sparse.log_intensity(np.float32([0, 1])), np.log([1 / 255, 256 / 255]), atol=1e-6)


def test_patches_are_parts_of_images(rng):
    images = rng.random((3, 9, 11, 2)).astype(np.float32)
    patches = np.asarray(jax.jit(lambda x: sparse.random_patches(KEY, x, 40, size=(4, 3)))(images))
    every = np.lib.stride_tricks.sliding_window_view(images, (4, 3), axis=(1, 2)).transpose(0, 1, 2, 4, 5, 3)
    every = every.reshape(-1, 4, 3, 2)
    assert all((every == patch).all(axis=(1, 2, 3)).any() for patch in patches)
    assert len({patch.tobytes() for patch in patches}) > 30
    tiles = np.asarray(sparse.tile_patches(images, size=4))
    assert tiles.shape == (3, 4, 4, 4, 2)
    np.testing.assert_array_equal(tiles[1, 3], images[1, 4:8, 4:8])


def test_known_gabors_are_found_again(rng):
    known = random_gabors(rng, 40, 12)
    found = fit(sparse.draw_gabor(known, 12))
    assert (found.r2 > 0.999).mean() >= 0.95
    good = np.asarray(found.r2 > 0.9999)
    assert good.mean() >= 0.9
    for name in ("centre_x", "centre_y", "frequency", "sigma_along", "sigma_across", "amplitude"):
        error = np.abs(np.asarray(getattr(found, name)) - getattr(known, name))[good]
        assert np.quantile(error, 0.9) < 0.05, name
    turn = np.abs(np.asarray(found.angle) - known.angle)[good]
    assert np.quantile(np.minimum(turn, np.pi - turn), 0.9) < 0.01
    np.testing.assert_allclose(sparse.draw_gabor(found, 12)[good], sparse.draw_gabor(known, 12)[good], atol=0.05)
    assert ((found.angle >= 0) & (found.angle < np.pi)).all()
    assert (np.abs(found.phase) <= np.pi + 1e-5).all()


def test_r2_is_of_what_is_drawn_also_with_noise(rng):
    atoms = np.asarray(sparse.draw_gabor(random_gabors(rng, 40, 12), 12))
    atoms = atoms + 0.2 * rng.standard_normal(atoms.shape).astype(np.float32)
    atoms[20:] = rng.standard_normal((20, 12, 12))
    atoms[37], atoms[38], atoms[39] = 0, np.nan, 1
    found = fit(atoms)
    rest = np.sum((atoms - sparse.draw_gabor(found, 12)) ** 2, axis=(1, 2))
    np.testing.assert_allclose(found.r2[:37], (1 - rest / np.sum(atoms**2, axis=(1, 2)))[:37], atol=1e-4)
    assert found.r2[20:37].max() < 0.5
    assert np.isnan(found.r2[37:39]).all()
    assert not sparse.is_simple_cell_like(found, 12)[20:].any()


def test_sides_may_differ(rng):
    known = random_gabors(rng, 2, 8)
    found = sparse.fit_gabor(sparse.draw_gabor(known, (8, 12)))
    np.testing.assert_allclose(found.r2, 1, atol=1e-3)


def test_what_counts_as_a_cell():
    cell = Gabor(*map(jnp.float32, (5.0, 6.0, 0.5, 0.2, 2.0, 2.5, 0.0, 1.0, 0.9)))
    assert sparse.is_simple_cell_like(cell, 12)
    for change in ({"r2": 0.6}, {"sigma_across": 3.1}, {"sigma_along": 3.1}, {"frequency": 0.1, "phase": 0.3}):
        assert not sparse.is_simple_cell_like(cell._replace(**change), 12), change
    assert sparse.is_simple_cell_like(cell._replace(frequency=jnp.float32(0.1), phase=jnp.float32(-1.5)), 12)
    # Half height of the Fourier transform of a Gaussian envelope, sampled finely.
    f = np.linspace(0, 1, 200_001)
    tuning = np.exp(-2 * (np.pi * 2.0 * (f - 0.2)) ** 2)
    passed = f[tuning >= 0.5]
    np.testing.assert_allclose(cell.frequency_bandwidth, np.log2(passed[-1] / passed[0]), rtol=1e-3)
    turn = np.linspace(-1, 1, 200_001)
    passed = turn[np.exp(-2 * (np.pi * 2.5 * 0.2 * np.tan(turn)) ** 2) >= 0.5]
    np.testing.assert_allclose(cell.orientation_bandwidth, passed[-1] - passed[0], rtol=1e-3)
    assert np.isinf(cell._replace(frequency=jnp.float32(0.01)).frequency_bandwidth)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: sparse.log_intensity(x, offset=0.0), "offset: expected above 0"),
        (lambda x: sparse.whiten_images(x, cutoff=0.0), "cutoff: expected above 0"),
        (lambda x: sparse.whiten_images(x[0, 0]), "images: expected shape"),
        (lambda x: sparse.whiten_images(x[..., 0]), "a last axis of 1 to 4 channels.* give gray images as images"),
        (
            lambda x: sparse.draw_gabor(Gabor(x[:, 0, 0, 0], x[0, :, 0, 0], *[1.0] * 7), 5),
            "gabor: expected arrays of one",
        ),
        (lambda x: sparse.whitening_filter(0, 3), "height, width: expected at least 1"),
        (lambda x: sparse.random_patches(KEY, x, 3, size=9), "size: expected 1 to the images' 6 x 6"),
        (lambda x: sparse.random_patches(KEY, x, 0, size=2), "n_patches: expected at least 1"),
        (lambda x: sparse.random_patches(KEY, x[0], 3, size=2), "images: expected shape"),
        (lambda x: sparse.tile_patches(x, size=0), "size: expected 1 to"),
        (lambda x: sparse.fit_gabor(x), "atoms: expected shape"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call(jnp.ones((2, 6, 6, 1)))


def test_whole_numbers_are_no_light():
    for call in (sparse.log_intensity, sparse.whiten_images, sparse.fit_gabor):
        with pytest.raises(TypeError, match=r"expected floating point|expected float32 or float64"):
            call(jnp.ones((2, 6, 6), jnp.int32))
    with pytest.raises(TypeError, match="images: expected float32 or float64, got float16"):
        sparse.whiten_images(jnp.ones((6, 6, 1), jnp.float16))


def test_blobs_and_lone_pixels_are_no_cells(rng):
    """Round and even, whatever phase was fitted to them: the share of odd power tells."""
    y, x = np.mgrid[:12, :12]
    centres = rng.uniform(2, 9, (40, 2))
    blobs = np.stack([np.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * 1.5**2)) for a, b in centres])
    blobs = blobs + 0.05 * rng.standard_normal(blobs.shape) * np.sqrt(np.mean(blobs**2))
    blobs[30:] = 0
    blobs[30:, 4, 6] = 1
    found = fit(blobs.astype(np.float32))
    assert np.asarray(sparse.is_simple_cell_like(found, 12)).mean() < 0.1
    huge = fit((1e30 * blobs).astype(np.float32))
    np.testing.assert_allclose(huge.r2, found.r2, atol=1e-3)


def test_the_odd_share_is_that_of_what_is_drawn():
    for frequency, phase in ((0.01, 1.4), (0.1, 0.8), (0.25, -2.0), (0.2, 0.0)):
        cell = Gabor(*map(jnp.float32, (20.0, 20.0, 0.0, frequency, 2.0, 2.5, phase, 1.0, 1.0)))
        drawn = np.asarray(sparse.draw_gabor(cell, 41))
        odd = (drawn - drawn[:, ::-1]) / 2
        np.testing.assert_allclose(cell.odd_share, np.sum(odd**2) / np.sum(drawn**2), atol=1e-3)


def test_broken_pixels_stay_broken(rng):
    images = rng.random((2, 9, 9, 1)).astype(np.float32)
    images[1, 3, 3] = np.nan
    white = sparse.whiten_images(images)
    assert np.isfinite(white[0]).all()
    assert np.isnan(white[1]).all()
