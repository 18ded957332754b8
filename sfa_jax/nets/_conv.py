"""Strided convolution, batch normalisation and ReLU in few passes over memory.

On GPU and TPU these are `lax.conv_general_dilated` and elementwise operations, which XLA does well there. On CPU that
form runs at half the speed of PyTorch, and fifty times slower still inside a `lax.scan` over training steps, where XLA
convolves on one thread. The CPU form here writes the convolution as a product of patches with the kernel, and is ruled
by memory rather than arithmetic:

- Frames go through in chunks whose patches fit in the cache; the backward pass builds the patches again.
- The normalisation and ReLU of one layer happen while the next one reads its input, so no layer stores more than its
  raw convolution. `conv_moments` is that unit: (previous affine map, ReLU) -> convolution -> moments of the result.

The geometry is in `_patches`, the chunks in `_chunked`, the elementwise ends in `_normalise`.

Images are NHWC. Integer images hold 0..255 and are divided by 255; every other input is taken as it is.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from sfa_jax._errors import InputError
from sfa_jax.nets._chunked import backward_chunked, forward_chunked
from sfa_jax.nets._devices import on_every_device, on_own_samples, total
from sfa_jax.nets._normalise import (
    Affine,
    activate,
    activate_backward,
    frame_moments,
    is_image,
    pool_moments,
    through_moments,
    to_unit,
)


class ConvBlock(NamedTuple):
    """Parameters of one convolution, normalisation, ReLU block.

    kernel: `[k, k, c_in, c_out]`, k odd.
    scale, bias: `[c_out]`, applied after the normalisation.
    """

    kernel: jax.Array
    scale: jax.Array
    bias: jax.Array


def conv2d(x: jax.Array, kernel: jax.Array, *, stride: int = 2) -> jax.Array:
    """Strided convolution with zero padding `k // 2`, fast on CPU.

    z[n, i, j] = sum_{r, s} x[n, stride i + r - k//2, stride j + s - k//2] @ kernel[r, s]

    Args:
      x: frames, `[n, height, width, c_in]`; float, or integer in 0..255 (divided by 255).
      kernel: `[k, k, c_in, c_out]`, k odd.
      stride: step between output positions, in pixels.

    Returns:
      `[n, ceil(height / stride), ceil(width / stride), c_out]`, in the kernel's dtype.

    Raises:
      InputError: for shapes that do not fit each other.
    """
    check(x, kernel)
    return _conv_moments(stride, x, None, kernel, None)[0]  # XLA drops the moments nobody reads


def conv_moments(
    x: jax.Array,
    kernel: jax.Array,
    *,
    affine: Affine = None,
    weight: jax.Array | None = None,
    stride: int = 2,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Convolution of relu(x * gain + offset), with the moments of its output over the batch and the image.

    z = conv2d(relu(x * gain + offset), kernel);  mean = sum_n w_n z_n / N;  var = sum_n w_n (z_n - mean)^2 / N

    Args:
      x: frames or the previous layer's raw convolution, `[n, height, width, c_in]`.
      kernel: `[k, k, c_in, c_out]`, k odd.
      affine: `(gain, offset)`, each `[c_in]`, or None to convolve x itself.
      weight: `[n]` in {0, 1}; frames of weight 0 are left out of the moments. None counts all. Has no gradient.
      stride: step between output positions, in pixels.

    Returns:
      z `[n, height', width', c_out]`, mean `[c_out]` and biased variance `[c_out]`. All three carry gradients.

    Raises:
      InputError: for shapes that do not fit each other.
    """
    check(x, kernel)
    if weight is not None and weight.shape != x.shape[:1]:
        raise InputError(f"weight must be one number a frame, shape {x.shape[:1]}, not {weight.shape}.")
    return _conv_moments(stride, x, affine, kernel, weight)


def conv_norm_relu_stack(
    x: jax.Array,
    blocks: Sequence[ConvBlock],
    *,
    weight: jax.Array | None = None,
    epsilon: float = 1e-5,
) -> tuple[jax.Array, list[tuple[jax.Array, jax.Array]]]:
    """Blocks of stride-2 convolution, batch normalisation and ReLU, normalised by the moments of this batch.

    y = relu((z - mean) / sqrt(var + epsilon) * scale + bias),  z = conv2d(y of the previous block)

    Args:
      x: frames, `[n, height, width, c_in]`; float, or integer in 0..255 (divided by 255).
      blocks: parameters, first block first.
      weight: `[n]` in {0, 1}; frames of weight 0 are left out of the moments. None counts all.
      epsilon: added to the variance.

    Returns:
      y of the last block `[n, height', width', c_out]`, and `(mean, var)` of each block, `[c_out]` each, for running
      averages (variance biased; without gradient).

    Raises:
      InputError: for shapes that do not fit each other.
    """
    if not blocks:
        raise InputError("blocks is empty: give at least one ConvBlock.")
    affine, moments = None, []
    for kernel, scale, bias in blocks:
        x, mean, var = conv_moments(x, kernel, affine=affine, weight=weight)
        affine = fold(scale, bias, mean, var, epsilon)
        moments.append((lax.stop_gradient(mean), lax.stop_gradient(var)))
    return _activate(x, affine), moments


@jax.custom_vjp
def _activate(x: jax.Array, affine: Affine) -> jax.Array:
    return activate(x, affine, x.dtype)


def _activate_fwd(x: jax.Array, affine: Affine) -> tuple[jax.Array, tuple]:
    y = _activate(x, affine)
    return y, (x, affine, y)


def _activate_bwd(residuals: tuple, dy: jax.Array) -> tuple:
    x, affine, y = residuals
    own = on_own_samples(lambda samples, affine: activate_backward(samples[0], affine, *samples[1:]), len(x))
    dx, daffines = own((x, y, dy), affine)
    return dx, jax.tree.map(on_every_device(total), daffines)


_activate.defvjp(_activate_fwd, _activate_bwd)


def conv_norm_relu(
    x: jax.Array,
    kernel: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    *,
    weight: jax.Array | None = None,
    epsilon: float = 1e-5,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """One block of `conv_norm_relu_stack`: y, mean and var."""
    block = ConvBlock(kernel, scale, bias)
    y, [(mean, var)] = conv_norm_relu_stack(x, [block], weight=weight, epsilon=epsilon)
    return y, mean, var


def conv_affine_relu(
    x: jax.Array,
    kernel: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    mean: jax.Array,
    var: jax.Array,
    *,
    epsilon: float = 1e-5,
) -> jax.Array:
    """One block with given moments, as evaluation uses it.

    y = relu((conv2d(x) - mean) / sqrt(var + epsilon) * scale + bias)

    Args:
      x: frames, `[n, height, width, c_in]`; float, or integer in 0..255 (divided by 255).
      kernel: `[k, k, c_in, c_out]`, k odd.
      scale, bias, mean, var: `[c_out]`.
      epsilon: added to the variance.

    Returns:
      `[n, ceil(height / 2), ceil(width / 2), c_out]`.

    Raises:
      InputError: for shapes that do not fit each other.
    """
    return activate(conv2d(x, kernel), fold(scale, bias, mean, var, epsilon), kernel.dtype)


def check(x: jax.Array, kernel: jax.Array) -> None:
    if kernel.ndim != 4 or kernel.shape[0] != kernel.shape[1] or kernel.shape[0] % 2 == 0:
        raise InputError(f"kernel must be [k, k, c_in, c_out] with one odd k, not {kernel.shape}.")
    if x.ndim != 4 or x.shape[3] != kernel.shape[2] or x.shape[0] == 0:
        raise InputError(
            f"x must be [n, height, width, {kernel.shape[2]}] with n >= 1, to fit the kernel {kernel.shape}, "
            f"not {x.shape}. Fold time into the batch axis first."
        )


def fold(
    scale: jax.Array, bias: jax.Array, mean: jax.Array, var: jax.Array, epsilon: float
) -> tuple[jax.Array, jax.Array]:
    """The affine map that a normalisation by given moments is."""
    gain = scale * lax.rsqrt(var + epsilon)
    return gain, bias - mean * gain


def _plain_conv(stride: int, y: jax.Array, kernel: jax.Array) -> jax.Array:
    pad = kernel.shape[0] // 2
    return lax.conv_general_dilated(
        y, kernel, (stride, stride), ((pad, pad), (pad, pad)), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _conv_moments(
    stride: int, x: jax.Array, affine: Affine, kernel: jax.Array, weight: jax.Array | None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    return _conv_moments_fwd(stride, x, affine, kernel, weight)[0]


def _conv_moments_fwd(
    stride: int, x: jax.Array, affine: Affine, kernel: jax.Array, weight: jax.Array | None
) -> tuple[tuple[jax.Array, jax.Array, jax.Array], tuple]:
    z, count, mean, var = forward(stride, x, affine, kernel, weight)
    return (z, mean, var), (x, affine, kernel, weight, z, mean, count)


def _conv_moments_bwd(stride: int, residuals: tuple, cotangents: tuple[jax.Array, jax.Array, jax.Array]) -> tuple:
    x, affine, kernel, weight, z, mean, count = residuals
    dz, dmean, dvar = cotangents
    moments = mean, dmean / count, 2 * dvar / count
    gradients = backward(stride, x, affine, kernel, weight, z, dz, moments)
    return *gradients, None if weight is None else jnp.zeros_like(weight)


_conv_moments.defvjp(_conv_moments_fwd, _conv_moments_bwd)


def forward(
    stride: int, x: jax.Array, affine: Affine, kernel: jax.Array, weight: jax.Array | None
) -> tuple[jax.Array, ...]:
    """z, and its count, mean and variance, in the form that suits the platform; without derivatives of its own."""
    forms = {"cpu": functools.partial(forward_chunked, stride), "default": functools.partial(_forward_plain, stride)}
    return lax.platform_dependent(x, affine, kernel, weight, **forms)


def backward(
    stride: int,
    x: jax.Array,
    affine: Affine,
    kernel: jax.Array,
    weight: jax.Array | None,
    z: jax.Array,
    dz: jax.Array,
    moments: tuple[jax.Array, jax.Array, jax.Array],
) -> tuple:
    """Gradients in x, affine and kernel, given that in z and what `through_moments` adds to it."""
    forms = {"cpu": functools.partial(backward_chunked, stride), "default": functools.partial(_backward_plain, stride)}
    return lax.platform_dependent(x, affine, kernel, weight, z, dz, moments, **forms)


def _forward_plain(
    stride: int, x: jax.Array, affine: Affine, kernel: jax.Array, weight: jax.Array | None
) -> tuple[jax.Array, ...]:
    y = to_unit(activate(x, affine, kernel.dtype), kernel.dtype)
    z = _plain_conv(stride, y, kernel)
    return z, *pool_moments(*frame_moments(z, weight))


def _backward_plain(
    stride: int,
    x: jax.Array,
    affine: Affine,
    kernel: jax.Array,
    weight: jax.Array | None,
    z: jax.Array,
    dz: jax.Array,
    moments: tuple[jax.Array, jax.Array, jax.Array],
) -> tuple:
    y = to_unit(activate(x, affine, kernel.dtype), kernel.dtype)
    dz = through_moments(dz, z, weight, *moments)
    dy, dkernel = jax.vjp(functools.partial(_plain_conv, stride), y, kernel)[1](dz)
    dx, daffines = activate_backward(x, affine, y, dy)
    if is_image(x):
        return dx, jax.tree.map(jnp.zeros_like, affine), dkernel
    return dx, jax.tree.map(lambda frames: frames.sum(0), daffines), dkernel
