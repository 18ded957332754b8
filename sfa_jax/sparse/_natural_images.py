"""From photographs to the signals of sparse coding: log intensity, whitening, patches."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from sfa_jax.sparse._checks import Size, check_precision, pair, single

_CHANNELS = 4  # of an image at most: a longer last axis is a width


def log_intensity(images: ArrayLike, *, offset: float = 1 / 255) -> jax.Array:
    """Light as the eye's receptors tell it: equal ratios become equal differences.

    log(x + offset)

    Args:
      images: any shape, floating point in [0, 1]; half precision is computed, and given back, in float32.
      offset: above 0, in units of the images; a step of 8 bits by default.

    Returns:
      Of the shape of the images.

    Raises:
      TypeError: the images are not floating point.
      ValueError: the offset is not above 0.

    References:
      van Hateren & van der Schaaf, Proc. R. Soc. B 1998.

    >>> log_intensity(jnp.array([0.5, 1.5]), offset=0.5).round(4).tolist()[0]
    0.0
    """
    x = single("images", images)
    if not offset > 0:
        raise ValueError(f"offset: expected above 0, got {offset}")
    return jnp.log(x + offset)


def whitening_filter(height: int, width: int, *, cutoff: float = 0.4) -> np.ndarray:
    """What an image's Fourier transform is multiplied by to be white: amplitudes of natural images fall as 1 / f.

    R(f) = f exp(-(f / f0)^4),  f = sqrt(f_x^2 + f_y^2)

    Args:
      height, width: pixels, at least 1.
      cutoff: f0, above 0, in cycles a pixel; 0.5 is the finest grating along an axis. The paper's 200 cycles
        a picture of 512 pixels are 0.4.

    Returns:
      float64 `[height, width // 2 + 1]`, as `rfft2` orders frequencies.

    Raises:
      ValueError: a size or the cut-off is out of its range.

    References:
      Olshausen & Field, Vision Research 1997, equation 15; Atick & Redlich, Neural Computation 1992.

    >>> whitening_filter(4, 4).round(3)[0].tolist()
    [0.0, 0.215, 0.044]
    """
    if height < 1 or width < 1:
        raise ValueError(f"height, width: expected at least 1, got {height} and {width}")
    if not cutoff > 0:
        raise ValueError(f"cutoff: expected above 0, in cycles a pixel, got {cutoff}")
    f = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    return f * np.exp(-((f / cutoff) ** 4))


def whiten_images(images: ArrayLike, *, cutoff: float = 0.4) -> jax.Array:
    """Images of about equal power at all frequencies below a cut-off, of mean 0 and variance 1 each.

    `whitening_filter` of each channel, of the image and its mirror images beside it, so that opposite ends do not meet.

    Args:
      images: `[..., height, width, channel]`, float32 or float64, of `log_intensity` as a rule; at most 4 channels, as
        images `[n, height, width]` would be taken for one. More channels, each whitened by itself anyway, are given
        as images of one.
      cutoff: as in `whitening_filter`.

    Returns:
      Of the shape of the images; 0 where all pixels of a channel are equal, nan where one is.

    Raises:
      TypeError: the images are not float32 or float64.
      ValueError: there are fewer than three axes or more than 4 channels, or the cut-off is out of its range.

    References:
      As `whitening_filter`.

    >>> whiten_images(jnp.eye(8)[..., None]).std().round(3).item()
    1.0
    """
    x = _check_images(images)
    height, width = x.shape[-3:-1]
    smallest = jnp.max(jnp.abs(x), axis=(-3, -2), keepdims=True) * 16 * jnp.finfo(x.dtype).eps  # rounding of x
    x = jnp.moveaxis(x - jnp.mean(x, axis=(-3, -2), keepdims=True), -1, -3)
    filtered = jnp.asarray(whitening_filter(2 * height, 2 * width, cutoff=cutoff), x.dtype)
    mirrored = jnp.pad(x, [(0, 0)] * (x.ndim - 2) + [(0, height), (0, width)], mode="symmetric")
    spectrum = jnp.fft.rfft2(mirrored)
    power = spectrum * jnp.broadcast_to(filtered.astype(spectrum.dtype), spectrum.shape)
    white = jnp.fft.irfft2(power, s=(2 * height, 2 * width))[..., :height, :width]
    white = jnp.moveaxis(white - jnp.mean(white, axis=(-2, -1), keepdims=True), -3, -1)
    deviation = jnp.sqrt(jnp.mean(jnp.square(white), axis=(-3, -2), keepdims=True))
    told = ~(deviation <= smallest)  # nan stays nan
    return jnp.where(told, white / jnp.where(told, deviation, 1), 0)


def random_patches(key: jax.Array, images: ArrayLike, n_patches: int, *, size: Size) -> jax.Array:
    """Patches cut anywhere, of images drawn with replacement.

    Args:
      key: of the draw.
      images: `[n, height, width, channel]`.
      n_patches: at least 1.
      size: side, or `(height, width)`, in pixels, of a patch that fits.

    Returns:
      `[n_patches, height, width, channel]`.

    Raises:
      ValueError: the images have another shape or there are none, or the patch does not fit.

    >>> random_patches(jax.random.key(0), jnp.zeros((2, 8, 8, 1)), 5, size=3).shape
    (5, 3, 3, 1)
    """
    x = jnp.asarray(images)
    if x.ndim != 4 or not x.size:
        raise ValueError(f"images: expected shape [n, height, width, channel], none 0, got {x.shape}")
    rows, columns = _patch_size(size, x)
    if n_patches < 1:
        raise ValueError(f"n_patches: expected at least 1, got {n_patches}")
    which, top, left = jax.random.split(key, 3)
    ends = len(x), x.shape[1] - rows + 1, x.shape[2] - columns + 1
    places = [jax.random.randint(k, (n_patches,), 0, end) for k, end in zip((which, top, left), ends, strict=True)]
    return jax.vmap(lambda i, y, x0: jax.lax.dynamic_slice(x, (i, y, x0, 0), (1, rows, columns, x.shape[3]))[0])(
        *places
    )


def tile_patches(images: ArrayLike, *, size: Size) -> jax.Array:
    """All patches that stand side by side, from the first corner on; what is left at the other ends is dropped.

    Args:
      images: `[n, height, width, channel]`.
      size: as in `random_patches`.

    Returns:
      `[n, n_patches, height, width, channel]`, row by row.

    Raises:
      ValueError: as `random_patches`.

    >>> tile_patches(jnp.zeros((2, 8, 8, 1)), size=3).shape
    (2, 4, 3, 3, 1)
    """
    x = jnp.asarray(images)
    if x.ndim != 4:
        raise ValueError(f"images: expected shape [n, height, width, channel], got {x.shape}")
    rows, columns = _patch_size(size, x)
    down, across = x.shape[1] // rows, x.shape[2] // columns
    x = x[:, : down * rows, : across * columns].reshape(len(x), down, rows, across, columns, x.shape[3])
    return jnp.moveaxis(x, 3, 2).reshape(len(x), math.prod((down, across)), rows, columns, x.shape[-1])


def _check_images(images: ArrayLike) -> jax.Array:
    x = jnp.asarray(images)
    check_precision("images", x)
    if x.ndim < 3 or not x.size:
        raise ValueError(f"images: expected shape [..., height, width, channel], none 0, got {x.shape}")
    if x.shape[-1] > _CHANNELS:
        raise ValueError(
            f"images: expected a last axis of 1 to {_CHANNELS} channels, got shape {x.shape}; give gray images as "
            "images[..., None]"
        )
    return x


def _patch_size(size: Size, x: jax.Array) -> tuple[int, int]:
    """Height and width of a patch that fits into images `[n, height, width, channel]`."""
    rows, columns = pair(size)
    if not (1 <= rows <= x.shape[1] and 1 <= columns <= x.shape[2]):
        raise ValueError(f"size: expected 1 to the images' {x.shape[1]} x {x.shape[2]} pixels, got {rows} x {columns}")
    return rows, columns
