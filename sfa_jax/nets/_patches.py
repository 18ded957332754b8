"""A strided convolution as matrix products, in two forms.

`patches` copies all k x k inputs of an output side by side: one product with the kernel, and its transposes are the
gradients. `convolve_rows` copies the k inputs of one row only and combines rows after the product: every input row is
copied once instead of k / stride times. It is the faster way forward; backward it would gain nothing.
"""

import jax
import jax.numpy as jnp
from jax import lax


def patches(stride: int, k: int, y: jax.Array) -> jax.Array:
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


def convolve_rows(stride: int, y: jax.Array, kernel: jax.Array) -> jax.Array:
    """`[n, H, W, C]` -> `[n, h, w, c_out]`.

    Row r of the kernel meets the input rows stride (i + shift) + phase of one phase only, so one product of the rows of
    a phase serves all kernel rows of that phase, side by side; each part of the result then moves by its own shift.
    """
    n, height, width, channels = y.shape
    k, _, _, c_out = kernel.shape
    h, w = -(-height // stride), -(-width // stride)
    y = jnp.pad(y, ((0, 0), (0, h * stride - height), (0, 0), (0, 0))).reshape(n, h, stride, width, channels)
    z = jnp.zeros((), kernel.dtype)
    for phase in range(stride):
        kernel_rows = [r for r in range(k) if (r - k // 2 - phase) % stride == 0]
        if not kernel_rows:
            continue
        windows = _columns(stride, k, y[:, :, phase])
        side_by_side = jnp.concatenate([kernel[r].reshape(-1, c_out) for r in kernel_rows], axis=1)
        products = (windows.reshape(n * h * w, -1) @ side_by_side).reshape(n, h, w, -1)
        for part, r in enumerate(kernel_rows):
            shift = (r - k // 2 - phase) // stride
            z = z + _shift_rows(products[..., part * c_out : (part + 1) * c_out], shift)
    return z


def _columns(stride: int, k: int, y: jax.Array) -> jax.Array:
    """`[n, h, W, C]` -> `[n, h, w, k C]`: the k columns around every output column, within each row."""
    n, h, width, channels = y.shape
    w, n_groups = -(-width // stride), -(-k // stride)
    left, right = k // 2, (w - 1 + n_groups) * stride - width - k // 2
    y = lax.pad(y, jnp.zeros((), y.dtype), ((0, 0, 0), (0, 0, 0), (left, right, 0), (0, 0, 0)))
    y = y.reshape(n, h, w - 1 + n_groups, stride * channels)
    pieces = [y[:, :, g : g + w, : min(stride, k - g * stride) * channels] for g in range(n_groups)]
    return jnp.concatenate(pieces, axis=-1)


def _shift_rows(x: jax.Array, shift: int) -> jax.Array:
    """Row i becomes row i + shift of x; zero where x has no such row."""
    return lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), (-shift, shift, 0), (0, 0, 0), (0, 0, 0)))
