"""Strided convolution, batch normalisation and ReLU in few passes over memory.

On GPU and TPU these are `lax.conv_general_dilated` and elementwise operations, which XLA does well there. On CPU that
form runs at half the speed of PyTorch, and fifty times slower still inside a `lax.scan` over training steps, where XLA
convolves on one thread. The CPU form here writes the convolution as a product of patches with the kernel, and is ruled
by memory rather than arithmetic:

- Frames go through in chunks whose patches fit in the cache; the backward pass builds the patches again.
- The normalisation and ReLU of one layer happen while the next one reads its input, so no layer stores more than its
  raw convolution. `conv_moments` is that unit: (previous affine map, ReLU) -> convolution -> moments of the result.
- Chunks interleave: the frames `i, i + m, i + 2m, ...` form chunk `i` of `m`. The batch axis keeps its place outermost,
  so frames sharded over devices stay where they are, and only sums cross between devices.

Images are NHWC. Integer images hold 0..255 and are divided by 255; every other input is taken as it is.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from sfa_jax._errors import InputError

# Patches of one chunk: about what the cache holds besides the kernel and the chunk's output, and enough rows
# (1,000 or more in the layers of the encoder) for a threaded matrix product to pay.
_CHUNK_BYTES = 2_400_000

# What turns a raw convolution into the next layer's input: relu(x * gain + offset); None takes x as it is.
Affine = tuple[jax.Array, jax.Array] | None

Moments = tuple[jax.Array, jax.Array, jax.Array]


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
    _check(x, kernel)
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
    _check(x, kernel)
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
        affine = _fold(scale, bias, mean, var, epsilon)
        moments.append((lax.stop_gradient(mean), lax.stop_gradient(var)))
    return _activate(x, affine, x.dtype), moments


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
    return _activate(conv2d(x, kernel), _fold(scale, bias, mean, var, epsilon), kernel.dtype)


def _check(x: jax.Array, kernel: jax.Array) -> None:
    if kernel.ndim != 4 or kernel.shape[0] != kernel.shape[1] or kernel.shape[0] % 2 == 0:
        raise InputError(f"kernel must be [k, k, c_in, c_out] with one odd k, not {kernel.shape}.")
    if x.ndim != 4 or x.shape[3] != kernel.shape[2] or x.shape[0] == 0:
        raise InputError(
            f"x must be [n, height, width, {kernel.shape[2]}] with n >= 1, to fit the kernel {kernel.shape}, "
            f"not {x.shape}. Fold time into the batch axis first."
        )


def _fold(
    scale: jax.Array, bias: jax.Array, mean: jax.Array, var: jax.Array, epsilon: float
) -> tuple[jax.Array, jax.Array]:
    gain = scale * lax.rsqrt(var + epsilon)
    return gain, bias - mean * gain


def _activate(x: jax.Array, affine: Affine, dtype: jnp.dtype) -> jax.Array:
    """The input of a convolution: the ReLU of an affine map of what the last layer left; integer images as they are."""
    if jnp.issubdtype(x.dtype, jnp.integer):
        return x
    if affine is None:
        return x.astype(dtype)
    gain, offset = affine
    return jax.nn.relu(x * _channels(gain) + _channels(offset))


def _to_unit(x: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """Integers 0..255 as float in [0, 1]; floats as they are."""
    return x.astype(dtype) * jnp.asarray(1 / 255, dtype) if jnp.issubdtype(x.dtype, jnp.integer) else x


def _activate_backward(x: jax.Array, affine: Affine, y: jax.Array, dy: jax.Array) -> tuple[jax.Array | None, Affine]:
    """Gradients of `_activate` in x and affine, given its output y; none for integer images."""
    if jnp.issubdtype(x.dtype, jnp.integer):
        return None, jax.tree.map(jnp.zeros_like, affine)
    if affine is None:
        return dy.astype(x.dtype), None
    du = jnp.where(y > 0, dy, 0)
    return du * _channels(affine[0]), ((du * x).sum((0, 1, 2)), du.sum((0, 1, 2)))


def _channels(vector: jax.Array) -> jax.Array:
    """`[c]` -> `[1, 1, 1, c]`."""
    return vector.reshape(1, 1, 1, -1)


def _plain_conv(stride: int, y: jax.Array, kernel: jax.Array) -> jax.Array:
    pad = kernel.shape[0] // 2
    return lax.conv_general_dilated(
        y, kernel, (stride, stride), ((pad, pad), (pad, pad)), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _patches(stride: int, k: int, y: jax.Array) -> jax.Array:
    """`[n, H, W, C]` -> `[n, h, w, k k C]`.

    Seen in groups of `stride`, columns that lie side by side in the kernel lie side by side in memory, so a row of the
    kernel is copied in ceil(k / stride) pieces instead of k.
    """
    n, height, width, channels = y.shape
    h, w, n_groups = -(-height // stride), -(-width // stride), -(-k // stride)
    grouped = (w - 1 + n_groups) * stride
    zero = jnp.zeros((), y.dtype)
    y = lax.pad(y, zero, ((0, 0, 0), (k // 2, k // 2, 0), (k // 2, grouped - width - k // 2, 0), (0, 0, 0)))
    y = y.reshape(n, -1, w - 1 + n_groups, stride * channels)
    pieces = [
        lax.slice(
            y,
            (0, r, g, 0),
            (n, r + (h - 1) * stride + 1, g + w, min(stride, k - g * stride) * channels),
            (1, stride, 1, 1),
        )
        for r in range(k)
        for g in range(n_groups)
    ]
    return jnp.concatenate(pieces, axis=-1)


# --- Chunks -----------------------------------------------------------------------------------------------------------


def _n_chunks(stride: int, x: jax.Array, kernel: jax.Array) -> int:
    """Least number of equal chunks that keeps a chunk's patches within `_CHUNK_BYTES`."""
    n, height, width, _ = x.shape
    k, _, c_in, _ = kernel.shape
    frame_bytes = -(-height // stride) * -(-width // stride) * k * k * c_in * kernel.dtype.itemsize
    fits = [m for m in range(1, n + 1) if n % m == 0 and n // m * frame_bytes <= _CHUNK_BYTES]
    return fits[0] if fits else n


def _split(arrays: Any, n_chunks: int) -> Any:
    """`[n, ...]` -> `[n / n_chunks, n_chunks, ...]`: axis 1 counts chunks, axis 0 keeps a sharding over frames."""
    return jax.tree.map(lambda x: x.reshape(-1, n_chunks, *x.shape[1:]), arrays)


def _merge(arrays: Any) -> Any:
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), arrays)


def _take(arrays: Any, i: jax.Array) -> Any:
    return jax.tree.map(lambda x: lax.dynamic_index_in_dim(x, i, axis=1, keepdims=False), arrays)


def _put(x: jax.Array, value: Any, i: jax.Array) -> jax.Array:
    return lax.dynamic_update_index_in_dim(x, value, i, axis=1)


def _rows(x: jax.Array) -> jax.Array:
    return x.reshape(-1, x.shape[-1])


def _moments(z: jax.Array, weight: jax.Array | None) -> Moments:
    """Count, mean and centred sum of squares of z `[n, h, w, c]` over all axes but the last, frames weighted."""
    per_frame = z[0, ..., 0].size
    if weight is None:
        count = jnp.asarray(z.shape[0] * per_frame, z.dtype)
        mean = z.mean((0, 1, 2))
        return count, mean, jnp.square(z - _channels(mean)).sum((0, 1, 2))
    weight = weight.astype(z.dtype)
    count = weight.sum() * per_frame
    weight = weight[:, None, None, None]
    mean = (z * weight).sum((0, 1, 2)) / jnp.maximum(count, 1)
    return count, mean, (jnp.square(z - _channels(mean)) * weight).sum((0, 1, 2))


def _pool_moments(counts: jax.Array, means: jax.Array, squares: jax.Array) -> Moments:
    """Count, mean and variance of all chunks, from each one's own moments.

    No difference of large squares is taken, so it is safe in float32.
    """
    counts = counts[:, None]
    count = jnp.maximum(counts.sum(), 1)  # no valid frame at all: zeros, not NaN
    mean = (counts * means).sum(0) / count
    return count, mean, (squares + counts * jnp.square(means - mean[None])).sum(0) / count


def _through_moments(
    dz: jax.Array, z: jax.Array, weight: jax.Array | None, mean: jax.Array, from_mean: jax.Array, from_var: jax.Array
) -> jax.Array:
    """Gradient in z, with z's part in the moments: d mean / dz = w / N, d var / dz = 2 w (z - mean) / N."""
    part = _channels(from_mean) + (z - _channels(mean)) * _channels(from_var)
    return dz + (part if weight is None else part * weight.astype(z.dtype)[:, None, None, None])


# --- The differentiable unit: CPU in chunks, elsewhere plain ----------------------------------------------------------


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _conv_moments(
    stride: int, x: jax.Array, affine: Affine, kernel: jax.Array, weight: jax.Array | None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    return _conv_moments_fwd(stride, x, affine, kernel, weight)[0]


def _conv_moments_fwd(
    stride: int, x: jax.Array, affine: Affine, kernel: jax.Array, weight: jax.Array | None
) -> tuple[tuple[jax.Array, jax.Array, jax.Array], tuple]:
    forms = {"cpu": functools.partial(_forward_chunked, stride), "default": functools.partial(_forward_plain, stride)}
    z, count, mean, var = lax.platform_dependent(x, affine, kernel, weight, **forms)
    return (z, mean, var), (x, affine, kernel, weight, z, mean, count)


def _conv_moments_bwd(stride: int, residuals: tuple, cotangents: tuple[jax.Array, jax.Array, jax.Array]) -> tuple:
    x, affine, kernel, weight, z, mean, count = residuals
    dz, dmean, dvar = cotangents
    moments = mean, dmean / count, 2 * dvar / count
    forms = {"cpu": functools.partial(_backward_chunked, stride), "default": functools.partial(_backward_plain, stride)}
    gradients = lax.platform_dependent(x, affine, kernel, weight, z, dz, moments, **forms)
    return *gradients, None if weight is None else jnp.zeros_like(weight)


_conv_moments.defvjp(_conv_moments_fwd, _conv_moments_bwd)


def _forward_plain(
    stride: int, x: jax.Array, affine: Affine, kernel: jax.Array, weight: jax.Array | None
) -> tuple[jax.Array, ...]:
    y = _to_unit(_activate(x, affine, kernel.dtype), kernel.dtype)
    z = _plain_conv(stride, y, kernel)
    return z, *_pool_moments(*(moment[None] for moment in _moments(z, weight)))


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
    y = _to_unit(_activate(x, affine, kernel.dtype), kernel.dtype)
    dz = _through_moments(dz, z, weight, *moments)
    dy, dkernel = jax.vjp(functools.partial(_plain_conv, stride), y, kernel)[1](dz)
    return *_activate_backward(x, affine, y, dy), dkernel


def _forward_chunked(
    stride: int, x: jax.Array, affine: Affine, kernel: jax.Array, weight: jax.Array | None
) -> tuple[jax.Array, ...]:
    n_chunks = _n_chunks(stride, x, kernel)
    xs, weights = _split((x, weight), n_chunks)

    def convolve(z: jax.Array, i: jax.Array) -> tuple[jax.Array, Moments]:
        patches = _patches(stride, kernel.shape[0], _activate(_take(xs, i), affine, kernel.dtype))
        patches = _to_unit(patches, kernel.dtype)  # bytes are cheaper to copy about
        z_i = (_rows(patches) @ _rows(kernel)).reshape(*patches.shape[:3], -1)
        return _put(z, z_i, i), _moments(z_i, _take(weights, i))

    _, height, width, _ = x.shape
    z = jnp.zeros((*xs.shape[:2], -(-height // stride), -(-width // stride), kernel.shape[-1]), kernel.dtype)
    z, chunk_moments = lax.scan(convolve, z, jnp.arange(n_chunks))
    return _merge(z), *_pool_moments(*chunk_moments)


def _backward_chunked(
    stride: int,
    x: jax.Array,
    affine: Affine,
    kernel: jax.Array,
    weight: jax.Array | None,
    z: jax.Array,
    dz: jax.Array,
    moments: tuple[jax.Array, jax.Array, jax.Array],
) -> tuple:
    n_chunks = _n_chunks(stride, x, kernel)
    xs, zs, dzs, weights = _split((x, z, dz, weight), n_chunks)
    is_image = jnp.issubdtype(x.dtype, jnp.integer)
    build = functools.partial(_patches, stride, kernel.shape[0])

    def accumulate(carry: tuple, i: jax.Array) -> tuple[tuple, None]:
        dx, daffine, dkernel = carry
        x_i = _take(xs, i)
        y_i = _activate(x_i, affine, kernel.dtype)
        if is_image:
            patches, scatter = _to_unit(build(y_i), kernel.dtype), None
        else:
            patches, scatter = jax.vjp(build, y_i)
        dz_i = _rows(_through_moments(_take(dzs, i), _take(zs, i), _take(weights, i), *moments))
        dkernel = dkernel + dz_i.T @ _rows(patches)
        if scatter:
            (dy_i,) = scatter((dz_i @ _rows(kernel).T).reshape(patches.shape))
            dx_i, daffine_i = _activate_backward(x_i, affine, y_i, dy_i)
            dx, daffine = _put(dx, dx_i, i), jax.tree.map(jnp.add, daffine, daffine_i)
        return (dx, daffine, dkernel), None

    dx = None if is_image else jnp.zeros_like(xs)
    dkernel = jnp.zeros(_rows(kernel).shape[::-1], kernel.dtype)
    init = dx, jax.tree.map(jnp.zeros_like, affine), dkernel
    (dx, daffine, dkernel), _ = lax.scan(accumulate, init, jnp.arange(n_chunks))
    return _merge(dx), daffine, dkernel.T.reshape(kernel.shape)
