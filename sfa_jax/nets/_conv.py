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
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from sfa_jax._errors import InputError

# Patches of one chunk: about what the cache holds besides the kernel and the chunk's output, and enough rows
# (1,000 or more in the layers of the encoder) for a threaded matrix product to pay.
_CHUNK_BYTES = 2_400_000

# What turns a raw convolution into the next layer's input: relu(x * gain + offset); None takes x as it is.
Affine = tuple[jax.Array, jax.Array] | None


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
    return _conv(stride, x, kernel)


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


def _check(x, kernel):
    if kernel.ndim != 4 or kernel.shape[0] != kernel.shape[1] or kernel.shape[0] % 2 == 0:
        raise InputError(f"kernel must be [k, k, c_in, c_out] with one odd k, not {kernel.shape}.")
    if x.ndim != 4 or x.shape[3] != kernel.shape[2] or x.shape[0] == 0:
        raise InputError(
            f"x must be [n, height, width, {kernel.shape[2]}] with n >= 1, to fit the kernel {kernel.shape}, "
            f"not {x.shape}. Fold time into the batch axis first."
        )


def _fold(scale, bias, mean, var, epsilon):
    gain = scale * lax.rsqrt(var + epsilon)
    return gain, bias - mean * gain


def _activate(x, affine: Affine, dtype):
    """The input of a convolution: an image as float, or the ReLU of an affine map of what the last layer left."""
    if jnp.issubdtype(x.dtype, jnp.integer):
        return x.astype(dtype) * jnp.asarray(1 / 255, dtype)
    if affine is None:
        return x.astype(dtype)
    gain, offset = affine
    return jax.nn.relu(x * gain + offset)


def _plain_conv(stride, y, kernel):
    pad = kernel.shape[0] // 2
    return lax.conv_general_dilated(
        y, kernel, (stride, stride), ((pad, pad), (pad, pad)), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _patches(stride, k, y):
    """`[n, H, W, C]` -> `[n, h, w, k k C]`, one strided slice for each place in the kernel."""
    n, height, width, channels = y.shape
    last_i, last_j = (height - 1) // stride * stride, (width - 1) // stride * stride
    y = jnp.pad(y, ((0, 0), (k // 2, k // 2), (k // 2, k // 2), (0, 0)))
    places = [
        lax.slice(y, (0, r, s, 0), (n, r + last_i + 1, s + last_j + 1, channels), (1, stride, stride, 1))
        for r in range(k)
        for s in range(k)
    ]
    return jnp.concatenate(places, axis=-1)


# --- Chunks -----------------------------------------------------------------------------------------------------------


def _n_chunks(stride, x, kernel):
    """Least number of equal chunks that keeps a chunk's patches within `_CHUNK_BYTES`."""
    n, height, width, _ = x.shape
    k, _, c_in, _ = kernel.shape
    frame_bytes = -(-height // stride) * -(-width // stride) * k * k * c_in * kernel.dtype.itemsize
    fits = [m for m in range(1, n + 1) if n % m == 0 and n // m * frame_bytes <= _CHUNK_BYTES]
    return fits[0] if fits else n


def _split(x, n_chunks):
    """`[n, ...]` -> `[n / n_chunks, n_chunks, ...]`: axis 1 counts chunks, axis 0 keeps a sharding over frames."""
    return x.reshape(-1, n_chunks, *x.shape[1:])


def _merge(x):
    return x.reshape(-1, *x.shape[2:])


def _take(x, i):
    return lax.dynamic_index_in_dim(x, i, axis=1, keepdims=False)


def _put(x, value, i):
    return lax.dynamic_update_index_in_dim(x, value, i, axis=1)


def _rows(x):
    return x.reshape(-1, x.shape[-1])


def _chunk_conv(stride, kernel, y):
    patches = _patches(stride, kernel.shape[0], y)
    return (_rows(patches) @ kernel.reshape(-1, kernel.shape[-1])).reshape(*patches.shape[:3], -1)


def _chunk_conv_vjp(stride, kernel, y, dz, need_dy):
    """Gradients of a chunk's convolution: kernel as `[c_out, k k c_in]`, and y (None where nobody needs it)."""
    patches, scatter = jax.vjp(functools.partial(_patches, stride, kernel.shape[0]), y)
    dkernel = _rows(dz).T @ _rows(patches)
    if not need_dy:
        return dkernel, None
    dpatches = _rows(dz) @ kernel.reshape(-1, kernel.shape[-1]).T
    return dkernel, scatter(dpatches.reshape(patches.shape))[0]


def _out_buffer(stride, x, kernel, n_chunks):
    n, height, width, _ = x.shape
    shape = (n // n_chunks, n_chunks, -(-height // stride), -(-width // stride), kernel.shape[-1])
    return jnp.zeros(shape, kernel.dtype)


def _kernel_gradient(dkernel, kernel):
    return dkernel.T.reshape(kernel.shape)


# --- Convolution alone ------------------------------------------------------------------------------------------------


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _conv(stride, x, kernel):
    def chunked(x, kernel):
        m = _n_chunks(stride, x, kernel)
        xs = _split(x, m)

        def body(z, i):
            z_i = _chunk_conv(stride, kernel, _activate(_take(xs, i), None, kernel.dtype))
            return _put(z, z_i, i), None

        return _merge(lax.scan(body, _out_buffer(stride, x, kernel, m), jnp.arange(m))[0])

    def plain(x, kernel):
        return _plain_conv(stride, _activate(x, None, kernel.dtype), kernel)

    return lax.platform_dependent(x, kernel, cpu=chunked, default=plain)


def _conv_fwd(stride, x, kernel):
    return _conv(stride, x, kernel), (x, kernel)


def _conv_bwd(stride, residuals, dz):
    x, kernel = residuals
    is_image = jnp.issubdtype(x.dtype, jnp.integer)

    def chunked(x, kernel, dz):
        m = _n_chunks(stride, x, kernel)
        xs, dzs = _split(x, m), _split(dz, m)

        def body(carry, i):
            dx, dkernel = carry
            y_i = _activate(_take(xs, i), None, kernel.dtype)
            dkernel_i, dy_i = _chunk_conv_vjp(stride, kernel, y_i, _take(dzs, i), not is_image)
            return (None if is_image else _put(dx, dy_i.astype(x.dtype), i), dkernel + dkernel_i), None

        dkernel = jnp.zeros((kernel.shape[-1], kernel[..., 0].size), kernel.dtype)
        (dx, dkernel), _ = lax.scan(body, (None if is_image else jnp.zeros_like(xs), dkernel), jnp.arange(m))
        return None if is_image else _merge(dx), _kernel_gradient(dkernel, kernel)

    def plain(x, kernel, dz):
        def from_kernel(kernel):
            return _plain_conv(stride, _activate(x, None, kernel.dtype), kernel)

        if is_image:
            return None, jax.vjp(from_kernel, kernel)[1](dz)[0]
        return jax.vjp(lambda x, kernel: _plain_conv(stride, x.astype(kernel.dtype), kernel), x, kernel)[1](dz)

    return lax.platform_dependent(x, kernel, dz, cpu=chunked, default=plain)


_conv.defvjp(_conv_fwd, _conv_bwd)


# --- Convolution with moments -----------------------------------------------------------------------------------------


def _moments(z, weight):
    """Count, mean and centred sum of squares of z `[..., c]` over all axes but the last, frames weighted."""
    per_frame = z[0, ..., 0].size
    if weight is None:
        count = jnp.asarray(z.shape[0] * per_frame, z.dtype)
        mean = z.mean((0, 1, 2))
        return count, mean, jnp.square(z - mean).sum((0, 1, 2))
    weight = weight.astype(z.dtype)
    count = weight.sum() * per_frame
    weight = weight[:, None, None, None]
    mean = (z * weight).sum((0, 1, 2)) / jnp.maximum(count, 1)
    return count, mean, (jnp.square(z - mean) * weight).sum((0, 1, 2))


def _pool_moments(counts, means, squares):
    """Moments of the union of chunks from each chunk's own: no difference of large squares, so safe in float32."""
    count = jnp.maximum(counts.sum(), 1)
    mean = (counts[:, None] * means).sum(0) / count
    return count, mean, (squares + counts[:, None] * jnp.square(means - mean)).sum(0) / count


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _conv_moments(stride, x, affine, kernel, weight):
    return _conv_moments_fwd(stride, x, affine, kernel, weight)[0]


def _conv_moments_fwd(stride, x, affine, kernel, weight):
    def chunked(x, affine, kernel, weight):
        m = _n_chunks(stride, x, kernel)
        xs = _split(x, m)
        weights = None if weight is None else _split(weight, m)

        def body(z, i):
            z_i = _chunk_conv(stride, kernel, _activate(_take(xs, i), affine, kernel.dtype))
            return _put(z, z_i, i), _moments(z_i, None if weights is None else _take(weights, i))

        z, chunk_moments = lax.scan(body, _out_buffer(stride, x, kernel, m), jnp.arange(m))
        return _merge(z), *_pool_moments(*chunk_moments)

    def plain(x, affine, kernel, weight):
        z = _plain_conv(stride, _activate(x, affine, kernel.dtype), kernel)
        count, mean, squares = _moments(z, weight)
        count = jnp.maximum(count, 1)
        return z, count, mean, squares / count

    z, count, mean, var = lax.platform_dependent(x, affine, kernel, weight, cpu=chunked, default=plain)
    return (z, mean, var), (x, affine, kernel, weight, z, mean, count)


def _conv_moments_bwd(stride, residuals, cotangents):
    x, affine, kernel, weight, z, mean, count = residuals
    dz, dmean, dvar = cotangents
    is_image = jnp.issubdtype(x.dtype, jnp.integer)
    # A frame's share in the moments: d mean / dz = w / N, d var / dz = 2 w (z - mean) / N.
    from_mean, from_var = dmean / count, 2 * dvar / count

    def through_moments(dz, z, weight):
        share = from_mean + (z - mean) * from_var
        return dz + (share if weight is None else share * weight.astype(z.dtype)[:, None, None, None])

    def chunked(x, affine, kernel, weight, z, dz):
        m = _n_chunks(stride, x, kernel)
        xs, zs, dzs = _split(x, m), _split(z, m), _split(dz, m)
        weights = None if weight is None else _split(weight, m)

        def body(carry, i):
            dx, daffine, dkernel = carry
            dz_i = through_moments(_take(dzs, i), _take(zs, i), None if weights is None else _take(weights, i))
            x_i = _take(xs, i)
            y_i, activate_vjp = _activate_vjp(x_i, affine, kernel.dtype)
            dkernel_i, dy_i = _chunk_conv_vjp(stride, kernel, y_i, dz_i, not is_image)
            dkernel = dkernel + dkernel_i
            if is_image:
                return (None, daffine, dkernel), None
            dx_i, daffine_i = activate_vjp(dy_i)
            return (_put(dx, dx_i, i), jax.tree.map(jnp.add, daffine, daffine_i), dkernel), None

        dkernel = jnp.zeros((kernel.shape[-1], kernel[..., 0].size), kernel.dtype)
        init = None if is_image else jnp.zeros_like(xs), jax.tree.map(jnp.zeros_like, affine), dkernel
        (dx, daffine, dkernel), _ = lax.scan(body, init, jnp.arange(m))
        return None if is_image else _merge(dx), daffine, _kernel_gradient(dkernel, kernel)

    def plain(x, affine, kernel, weight, z, dz):
        y, activate_vjp = _activate_vjp(x, affine, kernel.dtype)
        conv_vjp = jax.vjp(functools.partial(_plain_conv, stride), y, kernel)[1]
        dy, dkernel = conv_vjp(through_moments(dz, z, weight))
        dx, daffine = (None, jax.tree.map(jnp.zeros_like, affine)) if is_image else activate_vjp(dy)
        return dx, daffine, dkernel

    gradients = lax.platform_dependent(x, affine, kernel, weight, z, dz, cpu=chunked, default=plain)
    return *gradients, None if weight is None else jnp.zeros_like(weight)


def _activate_vjp(x, affine, dtype):
    """`_activate` and its gradient in x and affine (not for integer images)."""
    y = _activate(x, affine, dtype)

    def vjp(dy):
        if affine is None:
            return dy.astype(x.dtype), None
        du = jnp.where(y > 0, dy, 0)
        return du * affine[0], ((du * x).sum((0, 1, 2)), du.sum((0, 1, 2)))

    return y, vjp


_conv_moments.defvjp(_conv_moments_fwd, _conv_moments_bwd)
