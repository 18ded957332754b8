"""Strided convolution, batch normalisation and ReLU in few passes over memory.

On GPU and TPU these are `lax.conv_general_dilated` and elementwise operations, which XLA does well there. On CPU that
form runs at half the speed of PyTorch, and fifty times slower still inside a `lax.scan` over training steps, where XLA
convolves on one thread. The CPU form here writes the convolution as a product of patches with the kernel, and is ruled
by memory rather than arithmetic:

- Frames go through in chunks whose patches fit in the cache; the backward pass builds the patches again.
- The normalization and ReLU of one layer happen while the next one reads its input, so no layer stores more than its
  raw convolution. `conv_moments` is that unit: (previous affine map, ReLU) -> convolution -> moments of the result.
- Derivatives are one rule, forward (`custom_jvp`): its map of tangents is linear and rematerialized, so that what JAX
  makes of it by transposition is the backward pass, and derivatives of all kinds and orders follow.

The geometry is in `_patches`, the chunks in `_chunked`, the elementwise ends in `_normalise`.

Images are NHWC: uint8 in 0..255, which is divided by 255, or floating point, which is taken as it is. Products have the
precision that is JAX's default for the device (on GPUs TF32): these are layers in training, not results.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero

from sfa_jax._errors import InputError
from sfa_jax.nets._chunked import forward_chunked, tangents_chunked
from sfa_jax.nets._normalise import (
    Affine,
    activate,
    activate_tangent,
    frame_moments,
    moment_tangents,
    pool_moments,
    to_unit,
    without_nan,
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
      x: frames, `[n, height, width, c_in]`; floating point, or uint8 (divided by 255).
      kernel: `[k, k, c_in, c_out]`, k odd.
      stride: step between output positions, in pixels.

    Returns:
      `[n, ceil(height / stride), ceil(width / stride), c_out]`, in the kernel's dtype.

    Raises:
      InputError: for shapes that do not fit each other, or x of another type.
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
      weight: `[n]` in {0, 1}; frames of weight 0 are left out of the moments. None counts all. Has no derivative.
      stride: step between output positions, in pixels.

    Returns:
      z `[n, height', width', c_out]`, mean `[c_out]` and biased variance `[c_out]`. All three have derivatives.

    Raises:
      InputError: for shapes that do not fit each other.
    """
    check(x, kernel)
    if weight is not None and weight.shape != x.shape[:1]:
        raise InputError(f"weight must be one number a frame, shape {x.shape[:1]}, not {weight.shape}.")
    z, _, mean, var = _conv_moments(stride, x, affine, kernel, weight)
    return z, mean, var


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
      x: frames, `[n, height, width, c_in]`; floating point, or uint8 (divided by 255).
      blocks: parameters, first block first.
      weight: `[n]` in {0, 1}; frames of weight 0 are left out of the moments, and what is not finite in them is taken
        as 0. None counts all. Has no derivative.
      epsilon: added to the variance.

    Returns:
      y of the last block `[n, height', width', c_out]`, and `(mean, var)` of each block, `[c_out]` each, for running
      averages (variance biased; without derivatives).

    Raises:
      InputError: for shapes that do not fit each other.
    """
    if not blocks:
        raise InputError("blocks is empty: give at least one ConvBlock.")
    x = without_nan(x, weight)
    affine, moments = None, []
    for kernel, scale, bias in blocks:
        x, mean, var = conv_moments(x, kernel, affine=affine, weight=weight)
        affine = fold(scale, bias, mean, var, epsilon)
        moments.append((lax.stop_gradient(mean), lax.stop_gradient(var)))
    return activate(x, affine, x.dtype), moments


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
      x: frames, `[n, height, width, c_in]`; floating point, or uint8 (divided by 255).
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
    if x.dtype != jnp.uint8 and not jnp.issubdtype(x.dtype, jnp.floating):
        raise InputError(
            f"x must be uint8 in 0..255, which is divided by 255, or floating point, not {x.dtype}. Convert it: other "
            "integers say nothing of their range."
        )
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


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _conv_moments(
    stride: int, x: jax.Array, affine: Affine, kernel: jax.Array, weight: jax.Array | None
) -> tuple[jax.Array, ...]:
    """z, and its count, mean and variance, in the form that suits the platform."""
    forms = {"cpu": functools.partial(forward_chunked, stride), "default": functools.partial(_forward_plain, stride)}
    return lax.platform_dependent(x, affine, kernel, weight, **forms)


@functools.partial(_conv_moments.defjvp, symbolic_zeros=True)
def _conv_moments_jvp(stride: int, primals: tuple, tangents: tuple) -> tuple[tuple, tuple]:
    x, affine, kernel, weight = primals
    z, count, mean, var = _conv_moments(stride, *primals)
    forms = {"cpu": functools.partial(tangents_chunked, stride), "default": functools.partial(_tangents_plain, stride)}
    points = x, affine, kernel, weight, z, mean
    dz, dsum, dsquares = lax.platform_dependent(points, tuple(map(moving, tangents[:3])), **forms)
    return (z, count, mean, var), (dz, jnp.zeros_like(count), dsum / count, 2 * dsquares / count)


def moving(tangent: Any) -> Any:
    """A tangent with arrays for its zeros, or None where it is 0 as a whole (of integers, always)."""
    leaves = jax.tree.leaves(tangent)
    if all(isinstance(leaf, SymbolicZero) or leaf.dtype == jax.dtypes.float0 for leaf in leaves):
        return None
    return jax.tree.map(lambda leaf: jnp.zeros_like(leaf) if isinstance(leaf, SymbolicZero) else leaf, tangent)


def _forward_plain(
    stride: int, x: jax.Array, affine: Affine, kernel: jax.Array, weight: jax.Array | None
) -> tuple[jax.Array, ...]:
    y = to_unit(activate(x, affine, kernel.dtype), kernel.dtype)
    z = _plain_conv(stride, y, kernel)
    return z, *pool_moments(*frame_moments(z, weight))


@functools.partial(jax.checkpoint, static_argnums=0)
def _tangents_plain(stride: int, points: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Tangent of z, and the sums in those of mean and variance (`moment_tangents`).

    Args:
      stride: of the convolution.
      points: x, affine, kernel, weight, z, mean.
      tangents: of x, affine and kernel, each None where it is 0; what is returned is linear in them.
    """
    x, affine, kernel, weight, z, mean = points
    dx, daffine, dkernel = tangents
    y = to_unit(activate(x, affine, kernel.dtype), kernel.dtype)
    dy = activate_tangent(x, affine, y, dx, daffine)
    dz = jnp.zeros_like(z)
    if dy is not None:
        dz = dz + _plain_conv(stride, dy, kernel)
    if dkernel is not None:
        dz = dz + _plain_conv(stride, y, dkernel)
    return dz, *moment_tangents(dz, z, weight, mean)
