"""How good images drawn from a code are, and what the same number of numbers gives without learning a network."""

from collections.abc import Callable

import dm_pix
import jax
import numpy as np
import scipy.fft

from sfa_jax._errors import InputError
from sfa_jax.finola import FinolaParams, wave_residual
from sfa_jax.slowness import fit_pca

_CHUNK = 64  # images measured at once

# The mean of the colours, and two differences, orthonormal: what a DCT of colour images needs to be a fair baseline.
_COLOURS = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])


def psnr(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio of each image: -10 log10 of the mean squared error, in dB.

    Args:
      images, others: `[n, height, width, channel]`, of one shape, uint8 (divided by 255) or floating point in [0, 1];
        what lies outside is clipped, in one of the two.

    Returns:
      float64 `[n]`, at most 100; nan of images that hold one.

    Raises:
      InputError: the shapes differ, or neither lies in [0, 1]: then nothing says what the peak is.
      TypeError: another type.

    >>> psnr(np.zeros((1, 2, 2, 1)), np.full((1, 2, 2, 1), 0.1)).round(6).tolist()
    [20.0]
    """
    images, others = _pair("images, others", images, others)
    error = images - others
    return -10 * np.log10(np.maximum(np.mean(error**2, axis=(1, 2, 3)), 1e-10))


def ssim(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Structural similarity of each image (Wang et al. 2004; `dm_pix.ssim`, windows of 11 pixels): `[n]`, at most 1.

    Args:
      images, others: as in `psnr`, at least 11 pixels a side.

    Raises:
      InputError, TypeError: as `psnr`.
    """
    images, others = (x.astype(np.float32) for x in _pair("images, others", images, others))
    if min(images.shape[1:3]) < 11:
        raise InputError(f"images, others: expected at least 11 pixels a side, got {images.shape}")
    with jax.numpy_dtype_promotion("standard"):  # whatever the caller has set
        return np.asarray(_ssim(images, others), np.float64)


_ssim = jax.jit(dm_pix.ssim)


def _pair(names: str, *pair: np.ndarray) -> tuple[np.ndarray, ...]:
    """Two arrays of images as float64 in [0, 1]."""
    arrays = [np.asarray(x) for x in pair]
    if arrays[0].shape != arrays[1].shape or arrays[0].ndim != 4:
        raise InputError(
            f"{names}: expected one shape [n, height, width, channel], got {arrays[0].shape} and {arrays[1].shape}"
        )
    for x in arrays:
        if x.dtype != np.uint8 and not np.issubdtype(x.dtype, np.floating):
            raise TypeError(f"{names}: expected uint8, or floating point in [0, 1], got {x.dtype}")
    found = [x / 255 if x.dtype == np.uint8 else x.astype(np.float64) for x in arrays]
    if all(map(_is_outside, found)):
        largest = [float(np.nanmax(x)) for x in found]
        raise InputError(
            f"{names}: expected at least one of the two in [0, 1], got values up to {largest[0]:.4g} and "
            f"{largest[1]:.4g}; divide images in 0..255 by 255"
        )
    return tuple(np.clip(x, 0, 1) for x in found)


def _is_outside(x: np.ndarray) -> bool:
    known = x[~np.isnan(x)]
    return known.size > 0 and bool(known.min() < -1e-3 or known.max() > 1 + 1e-3)


def image_measures(draw: Callable[[np.ndarray], np.ndarray], images: np.ndarray) -> dict[str, float]:
    """PSNR, SSIM and squared error of reconstructions, means over the images.

    Args:
      draw: images `[n, height, width, channel]` uint8 to their reconstructions in [0, 1].
      images: the held-out ones.

    Returns:
      `psnr` in dB, `psnr_worst_tenth` (its lowest decile), `squared_error` (the mean over pixels), and `ssim` where the
      images have 11 pixels a side.
    """
    values: dict[str, list[np.ndarray]] = {"psnr": [], "squared_error": [], "ssim": []}
    for start in range(0, len(images), _CHUNK):
        part = images[start : start + _CHUNK]
        true, drawn = part / np.float32(255), draw(part)
        values["psnr"].append(psnr(drawn, true))
        squared = (np.clip(drawn, 0, 1) - true) ** 2
        values["squared_error"].append(np.asarray(np.mean(squared, axis=(1, 2, 3), dtype=np.float64)))
        if min(part.shape[1:3]) >= 11:
            values["ssim"].append(ssim(drawn, true))
    every = {name: np.concatenate(parts) for name, parts in values.items() if parts}
    measures = {name: float(found.mean()) for name, found in every.items()}
    return measures | {"psnr_worst_tenth": float(np.quantile(every["psnr"], 0.1))}


def pca_images(train: np.ndarray, n_numbers: int) -> Callable[[np.ndarray], np.ndarray]:
    """Reconstruction from the first principal components of training images.

    Args:
      train: `[n, height, width, channel]` uint8.
      n_numbers: how many components; fewer where there are not as many images or pixels.

    Returns:
      The function from images to reconstructions.
    """
    mean, components = principal_components(train.reshape(len(train), -1), n_numbers)

    def draw(images: np.ndarray) -> np.ndarray:
        x = images.reshape(len(images), -1).astype(np.float32) / 255 - mean
        return (x @ components.T @ components + mean).reshape(images.shape)

    return draw


def principal_components(rows: np.ndarray, n_components: int) -> tuple[np.ndarray, np.ndarray]:
    """The mean and the first principal components of rows; fewer where there are not so many.

    Args:
      rows: `[n, n_features]`, floating point or uint8, which is divided by 255.
      n_components: how many.

    Returns:
      `[n_features]` and `[n_components, n_features]`, float32.
    """
    found = fit_pca([rows], min(n_components, *rows.shape))
    return np.asarray(found.mean, np.float32), np.asarray(found.components, np.float32)


def dct_images(train: np.ndarray, n_numbers: int) -> Callable[[np.ndarray], np.ndarray]:
    """Reconstruction from the coefficients of a cosine transform that are largest on training images.

    Args:
      train: `[n, height, width, channel]` uint8.
      n_numbers: how many coefficients, the same ones for every image.

    Returns:
      The function from images to reconstructions.
    """
    power = np.mean([np.mean(_dct(part) ** 2, axis=0) for part in np.array_split(train, -(-len(train) // 512))], axis=0)
    kept = np.zeros(power.size, bool)
    kept[np.argsort(-power, axis=None)[:n_numbers]] = True
    kept = kept.reshape(power.shape)
    return lambda images: _inverse_dct(_dct(images) * kept)


def dct_best_images(n_numbers: int) -> Callable[[np.ndarray], np.ndarray]:
    """Reconstruction from the largest coefficients of each image's own cosine transform.

    Which ones they are is not counted among the numbers, though it would have to be stored as well: a bound for what a
    cosine transform can do rather than a code of this size.
    """

    def draw(images: np.ndarray) -> np.ndarray:
        coefficients = _dct(images)
        flat = coefficients.reshape(len(images), -1)
        left_out = np.argsort(-np.abs(flat), axis=1)[:, n_numbers:]
        np.put_along_axis(flat, left_out, 0, axis=1)
        return _inverse_dct(flat.reshape(coefficients.shape))

    return draw


def median_residual(z: np.ndarray, params: FinolaParams) -> float:
    """The median of `finola.wave_residual` over quadrants and waves."""
    return float(np.nanmedian(wave_residual(z, params)))


def _dct(images: np.ndarray) -> np.ndarray:
    x = images.astype(np.float32) / 255
    x = x @ _COLOURS.T.astype(np.float32) if x.shape[-1] == 3 else x
    return scipy.fft.dctn(x, axes=(1, 2), norm="ortho")


def _inverse_dct(coefficients: np.ndarray) -> np.ndarray:
    x = scipy.fft.idctn(coefficients, axes=(1, 2), norm="ortho")
    return x @ _COLOURS.astype(np.float32) if x.shape[-1] == 3 else x
