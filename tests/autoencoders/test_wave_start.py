"""Waves to start from: drawn as the decoder draws them, and fitted to images."""

import jax
import numpy as np
import pytest

from sfa_jax import finola
from sfa_jax.autoencoders import FinolaAutoencoder
from sfa_jax.autoencoders import _wave_start as start

SIZES = start.layout(2, (4, 6), (8, 12, 3))


def psnr_of_fits(waves, images, sizes):
    """Mean PSNR of the least squares fits of images by all that the waves draw."""
    atoms = np.asarray(jax.jit(start.drawn_waves, static_argnums=1)(waves, sizes), np.float64)
    x = images.reshape(len(images), -1) / 255 - 0.5
    error = x - x @ np.linalg.pinv(atoms, rcond=1e-4) @ atoms
    return -10 * np.log10((error**2).mean(axis=1)).mean()


def test_drawn_waves_are_plane_waves_of_each_path():
    waves = start.lattice(3, SIZES)
    atoms = np.asarray(start.drawn_waves(waves, SIZES)).reshape(2, 3, 2, 8, 12, 3)
    rows, columns = np.mgrid[:8, :12]
    # Pixels lie a quarter of a cell to either side of its middle; the middle cell does not turn.
    y, x = (rows // 2 - 2, rows % 2 / 2 - 0.25), (columns // 2 - 3, columns % 2 / 2 - 0.25)
    for path, gain in enumerate(SIZES.gains):
        for k, (angles, colour) in enumerate(zip(*map(np.asarray, waves), strict=True)):
            wave = gain
            for angle, (cell, inside) in zip(angles, (x, y), strict=True):
                turn = 1 + (np.exp(1j * angle) - 1) / gain
                wave = wave * np.where(cell >= 0, turn, np.conj(turn)) ** np.abs(cell) * np.exp(1j * angle * inside)
            np.testing.assert_allclose(atoms[path, k, 0], wave.real[..., None] * colour, atol=1e-5)
            np.testing.assert_allclose(atoms[path, k, 1], -wave.imag[..., None] * colour, atol=1e-5)


def test_fitted_waves_fit_images_better():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:8, :8] / 8
    phase = rng.uniform(0, 6, (200, 1, 1, 1))
    grey = np.sin(9 * x[..., None] - 4 * y[..., None] + phase)  # of no frequency of the lattice
    images = (127 + 80 * np.repeat(grey, 3, axis=-1)).astype(np.uint8)
    sizes = start.layout(1, (4, 4), (8, 8, 3))
    waves = start.lattice(3, sizes)
    fitted = start.fit_waves(waves, images[:150], sizes)
    assert psnr_of_fits(fitted, images[150:], sizes) > psnr_of_fits(waves, images[150:], sizes) + 1
    np.testing.assert_allclose(np.linalg.norm(fitted.colours, axis=1), 1, rtol=1e-5)


def test_fitted_waves_need_images():
    network = FinolaAutoencoder(channels=16, map_size=4, start="fitted_waves")
    with pytest.raises(ValueError, match="images: start 'fitted_waves'"):
        network.init(jax.random.key(0), (8, 8, 3))


def test_lattice_has_no_wave_that_stands_still():
    waves = start.lattice(5, SIZES)
    assert (np.abs(waves.angles).max(axis=1) > 0).all()
    expected, _ = finola.lowest_waves(5, (1, 1), (1.0, 0.1, 0.05))
    assert (np.abs(np.asarray(waves.angles)) <= 0.02).all(axis=1).sum() == (expected == 0).all(axis=1).sum()
