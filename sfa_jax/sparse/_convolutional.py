"""Lasso codes of whole images: a map of where each filter is, instead of patches that know nothing of each other."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from sfa_jax.sparse._blocks import in_blocks
from sfa_jax.sparse._checks import check_lasso, check_precision
from sfa_jax.sparse._implicit import Linear, at_solution
from sfa_jax.sparse._products import einsum
from sfa_jax.sparse._proximal import Lasso, minimize


def draw_maps(filters: ArrayLike, codes: ArrayLike) -> jax.Array:
    """Images that maps of filters draw.

    x[i, j, c] = sum over k, a, b of filters[k, a, b, c] codes[i + height - 1 - a, j + width - 1 - b, k]

    Args:
      filters: `[n_filters, height, width, channel]`.
      codes: `[n, rows + height - 1, columns + width - 1, n_filters]`, or of one image without the first axis: a filter
        at the first place shows its last pixel alone, in the first corner, so that each pixel of the image is reached
        by all pixels of all filters.

    Returns:
      `[n, rows, columns, channel]`, or without the first axis.

    Raises:
      TypeError: they are not both float32, or both float64.
      ValueError: the shapes do not fit.

    References:
      Zeiler et al., "Deconvolutional networks", CVPR 2010.

    >>> draw_maps(jnp.ones((1, 2, 2, 1)), jnp.zeros((1, 4, 4, 1)).at[0, 1, 1, 0].set(1.0))[0, :, :, 0].tolist()
    [[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    """
    d, z = jnp.asarray(filters), jnp.asarray(codes)
    check_precision("filters, codes", d, z)
    if z.ndim == 3:
        return draw_maps(d, z[None])[0]
    if d.ndim != 4 or z.ndim != 4 or z.shape[3] != d.shape[0] or z.shape[1] < d.shape[1] or z.shape[2] < d.shape[2]:
        raise ValueError(
            "filters, codes: expected [n_filters, height, width, channel] and [n, rows + height - 1, columns + width - "
            f"1, n_filters], got {d.shape} and {z.shape}"
        )
    return _Maps(d, z.shape[1], z.shape[2]).draw(jnp.moveaxis(z, 3, 1))


def convolutional_fista(
    filters: ArrayLike,
    images: ArrayLike,
    alpha: float | jax.Array,
    *,
    positive: bool = False,
    tol: float = 1e-3,
    max_iter: int = 500,
    block_size: int = 4,
) -> Lasso:
    """`fista` of the dictionary that holds every filter at every place: a sparse code of a whole image.

    min over z of 1/2 ||x - draw_maps(filters, z)||^2 + alpha |z|_1

    Convolutions are products of Fourier transforms, and the largest of these says how long a step may be; the gap, the
    stop, the restart and the derivatives are those of `fista`, of each image.

    Args:
      filters: `[n_filters, height, width, channel]`, float32 or float64.
      images: `[n, rows, columns, channel]`, of the same type, of any size, or one without the first axis.
      alpha, positive, tol, max_iter: as in `fista`.
      block_size: images that are coded at once, which bounds the memory: about ten times their maps.

    Returns:
      `Lasso` with codes `[n, rows + height - 1, columns + width - 1, n_filters]`; of one image, arrays without the
      first axis.

    Raises:
      TypeError: they are not both float32, or both float64.
      ValueError: the shapes do not fit, or an option is out of its range.

    References:
      Beck & Teboulle, SIAM J. Imaging Sciences 2009; Wohlberg, "Efficient algorithms for convolutional sparse
      representations", IEEE Trans. Image Processing 2016.

    >>> found = convolutional_fista(jnp.ones((1, 1, 1, 1)), jnp.array([[3.0, -0.5]])[None, ..., None], 1.0)
    >>> found.codes[0, :, :, 0].round(4).tolist()
    [[2.0, 0.0]]
    """
    d, x = jnp.asarray(filters), jnp.asarray(images)
    check_precision("filters, images", d, x)
    options: dict[str, Any] = {"positive": positive, "tol": tol, "max_iter": max_iter}
    if x.ndim == 3:
        found = convolutional_fista(d, x[None], alpha, **options, block_size=block_size)
        return Lasso(*(values[0] for values in found))
    if d.ndim != 4 or x.ndim != 4 or x.shape[3] != d.shape[3] or not d.size or not x.shape[1] * x.shape[2]:
        raise ValueError(
            "filters, images: expected [n_filters, height, width, channel] and [n, rows, columns, channel], none 0, "
            f"got {d.shape} and {x.shape}"
        )
    check_lasso(alpha, tol, max_iter)
    weight = jnp.asarray(alpha, x.dtype)
    make = functools.partial(_Maps, rows=x.shape[1] + d.shape[1] - 1, columns=x.shape[2] + d.shape[2] - 1)
    # The derivatives of codes are those of the solution alone.
    fixed, fixed_weight = jax.lax.stop_gradient((d, weight))
    maps = make(fixed)
    norm = maps.norm()

    def both(filters: jax.Array) -> tuple[Linear, Linear]:
        maps = make(filters)
        return maps.draw, maps.correlate

    def block(images: jax.Array) -> Lasso:
        x = jax.lax.stop_gradient(images)
        found = minimize(
            maps.draw,
            maps.correlate,
            lambda codes: maps.correlate(maps.draw(codes) - x),
            x,
            jnp.zeros((len(x), *maps.shape), x.dtype),
            rate=1 / jnp.where(norm > 0, norm, 1),
            alpha=fixed_weight,
            accelerated=True,
            **options,
        )
        return found._replace(codes=at_solution(both, max_iter, found.codes, d, images, weight))

    found = in_blocks(block, x, block_size)
    return found._replace(codes=jnp.moveaxis(found.codes, 1, 3))


class _Maps:
    """The linear function from maps to images, and its adjoint; maps are `[n, n_filters, rows, columns]` here.

    On a torus of at least the size of the maps; what wraps round falls on the first `height - 1` rows and `width - 1`
    columns of it, or after the last of the maps, which are no part of the image.

    Args:
      filters: `[n_filters, height, width, channel]`.
      rows, columns: of the maps.
    """

    def __init__(self, filters: jax.Array, rows: int, columns: int):
        self.shape = len(filters), rows, columns
        self._border = filters.shape[1] - 1, filters.shape[2] - 1
        self._torus = _fast_size(rows), _fast_size(columns)
        self._spectra = jnp.fft.rfft2(jnp.moveaxis(filters, 3, 1), s=self._torus)  # [k, c, row, column]

    def draw(self, codes: jax.Array) -> jax.Array:
        power = einsum("kcrs,nkrs->ncrs", self._spectra, jnp.fft.rfft2(codes, s=self._torus))
        whole = jnp.fft.irfft2(power, s=self._torus)
        _, rows, columns = self.shape
        return jnp.moveaxis(whole[:, :, self._border[0] : rows, self._border[1] : columns], 1, 3)

    def correlate(self, rest: jax.Array) -> jax.Array:
        borders = (0, 0), (0, 0), (self._border[0], 0), (self._border[1], 0)
        whole = jnp.pad(jnp.moveaxis(rest, 3, 1), borders)
        power = einsum("kcrs,ncrs->nkrs", jnp.conj(self._spectra), jnp.fft.rfft2(whole, s=self._torus))
        _, rows, columns = self.shape
        return jnp.fft.irfft2(power, s=self._torus)[:, :, :rows, :columns]

    def norm(self) -> jax.Array:
        """At least that of the function squared: exact on the torus, of which maps and image are parts."""
        gram = einsum("kcrs,kdrs->rscd", self._spectra, jnp.conj(self._spectra))
        return jnp.max(jnp.linalg.eigvalsh(gram)) * (1 + 64 * jnp.finfo(gram.real.dtype).eps)


def _fast_size(n: int) -> int:
    """The next number without a prime factor above 7, of which Fourier transforms are fast."""
    while True:
        rest = n
        for factor in (2, 3, 5, 7):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return n
        n += 1
