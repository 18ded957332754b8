"""The CPU form of a convolution and its gradients: products of patches, in chunks of frames that fit in the cache.

Chunks interleave: the frames `i, i + m, i + 2m, ...` form chunk `i` of `m`. The batch axis keeps its place outermost,
so frames sharded over devices stay where they are, and only sums cross between devices.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from sfa_jax.nets._normalise import (
    Affine,
    Moments,
    activate,
    activate_backward,
    frame_moments,
    is_image,
    pool_moments,
    through_moments,
    to_unit,
)
from sfa_jax.nets._patches import convolve_rows, patches

# Patches of one chunk: about what the cache holds besides the kernel and the chunk's output, and enough rows
# (1,000 or more in the layers of the encoder) for a threaded matrix product to pay.
_CHUNK_BYTES = 2_400_000


def forward_chunked(
    stride: int, x: jax.Array, affine: Affine, kernel: jax.Array, weight: jax.Array | None
) -> tuple[jax.Array, ...]:
    n_chunks = _n_chunks(stride, x, kernel)
    xs, weights = split((x, weight), n_chunks)

    def convolve(z: jax.Array, i: jax.Array) -> tuple[jax.Array, Moments]:
        y_i = activate(take(xs, i), affine, kernel.dtype)
        if is_image(x):  # too few channels for products row by row, and bytes are cheaper to copy about
            rows = to_unit(patches(stride, kernel.shape[0], y_i), kernel.dtype)
            z_i = (_rows(rows) @ _rows(kernel)).reshape(*rows.shape[:3], -1)
        else:
            z_i = convolve_rows(stride, y_i, kernel)
        return put(z, z_i, i), frame_moments(z_i, take(weights, i))

    _, height, width, _ = x.shape
    z = jnp.zeros((*xs.shape[:2], -(-height // stride), -(-width // stride), kernel.shape[-1]), kernel.dtype)
    z, chunk_moments = lax.scan(convolve, z, jnp.arange(n_chunks))
    return merge(z), *pool_moments(*chunk_moments)


def backward_chunked(
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
    xs, zs, dzs, weights = split((x, z, dz, weight), n_chunks)
    build = functools.partial(patches, stride, kernel.shape[0])

    def accumulate(carry: tuple, i: jax.Array) -> tuple[tuple, Affine]:
        dx, dkernel = carry
        x_i = take(xs, i)
        y_i = activate(x_i, affine, kernel.dtype)
        if is_image(x):
            patches_i, scatter = to_unit(build(y_i), kernel.dtype), None
        else:
            patches_i, scatter = jax.vjp(build, y_i)
        dz_i = _rows(through_moments(take(dzs, i), take(zs, i), take(weights, i), *moments))
        dkernel = dkernel + dz_i.T @ _rows(patches_i)
        if scatter is None:
            return (dx, dkernel), None
        (dy_i,) = scatter((dz_i @ _rows(kernel).T).reshape(patches_i.shape))
        dx_i, daffine_i = activate_backward(x_i, affine, y_i, dy_i)
        return (put(dx, dx_i, i), dkernel), daffine_i

    dx = None if is_image(x) else jnp.zeros_like(xs)
    dkernel = jnp.zeros(_rows(kernel).shape[::-1], kernel.dtype)
    (dx, dkernel), daffines = lax.scan(accumulate, (dx, dkernel), jnp.arange(n_chunks))
    if is_image(x):
        daffine = jax.tree.map(jnp.zeros_like, affine)
    else:
        daffine = jax.tree.map(lambda frames: frames.sum((0, 1)), daffines)
    return merge(dx), daffine, dkernel.T.reshape(kernel.shape)


def _n_chunks(stride: int, x: jax.Array, kernel: jax.Array) -> int:
    """Least number of equal chunks that keeps a chunk's patches within `_CHUNK_BYTES`."""
    n, height, width, _ = x.shape
    k, _, c_in, _ = kernel.shape
    frame_bytes = -(-height // stride) * -(-width // stride) * k * k * c_in * kernel.dtype.itemsize
    return fewest_chunks(n, max(_CHUNK_BYTES // frame_bytes, 1))


def fewest_chunks(n: int, most: int) -> int:
    """The least number of equal chunks of n, with at most `most` (at least 1) in each."""
    return next(m for m in range(1, n + 1) if n % m == 0 and n // m <= most)


def split(arrays: Any, n_chunks: int) -> Any:
    """`[n, ...]` -> `[n / n_chunks, n_chunks, ...]`: axis 1 counts chunks, axis 0 keeps a sharding over frames."""
    return jax.tree.map(lambda x: x.reshape(-1, n_chunks, *x.shape[1:]), arrays)


def merge(arrays: Any) -> Any:
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), arrays)


def take(arrays: Any, i: jax.Array) -> Any:
    return jax.tree.map(lambda x: lax.dynamic_index_in_dim(x, i, axis=1, keepdims=False), arrays)


def put(x: jax.Array, value: Any, i: jax.Array) -> jax.Array:
    return lax.dynamic_update_index_in_dim(x, value, i, axis=1)


def _rows(x: jax.Array) -> jax.Array:
    return x.reshape(-1, x.shape[-1])
