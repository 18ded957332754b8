"""The CPU form of a convolution and its tangents: products of patches, in chunks of frames that fit in the cache.

A chunk has one frame of every group of neighbors, so that frames that devices share stay where they are.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from sfa_jax.nets._normalise import (
    Affine,
    Moments,
    activate,
    activate_tangent,
    frame_moments,
    is_image,
    moment_tangents,
    pool_moments,
    to_unit,
)
from sfa_jax.nets._patches import convolve_rows, patches

# Patches of one chunk: about what the cache holds besides the kernel and the chunk's output, and enough rows
# (1,000 or more in the layers of the encoder) for a threaded matrix product to pay.
_CHUNK_BYTES = 2_400_000


def forward_chunked(
    stride: int, x: jax.Array, affine: Affine, kernel: jax.Array, weight: jax.Array | None
) -> tuple[jax.Array, ...]:
    """z, its count, mean and variance; without derivatives of its own."""
    n_chunks = _n_chunks(stride, x, kernel)
    xs, weights = split((x, weight), n_chunks)

    def convolve(z: jax.Array, i: jax.Array) -> tuple[jax.Array, Moments]:
        y_i = activate(take(xs, i), affine, kernel.dtype)
        if is_image(x):  # too few channels for products row by row, and bytes are cheaper to copy about
            rows = to_unit(patches(stride, kernel.shape[0], y_i), kernel.dtype)
            z_i = (_rows(rows) @ _rows(kernel)).reshape(*rows.shape[:3], -1)
        else:
            z_i = convolve_rows(stride, y_i, kernel)
        z = lax.dynamic_update_index_in_dim(z, z_i, i, axis=1)
        return z, frame_moments(z_i, take(weights, i))

    _, height, width, _ = x.shape
    z = jnp.zeros((*xs.shape[:2], -(-height // stride), -(-width // stride), kernel.shape[-1]), kernel.dtype)
    z, moments = lax.scan(convolve, z, jnp.arange(n_chunks))
    return merge(z), *pool_moments(*moments)


@functools.partial(jax.checkpoint, static_argnums=0, prevent_cse=False)  # or the zeros below would be kept
def tangents_chunked(stride: int, points: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array, jax.Array]:
    """As `_conv._tangents_plain`; patches are taken again, chunk by chunk, where this is transposed."""
    x, affine, kernel, weight, z, mean = points
    dx, daffine, dkernel = tangents
    n_chunks = _n_chunks(stride, x, kernel)
    xs, zs, weights, dxs = split((x, z, weight, dx), n_chunks)
    build = functools.partial(patches, stride, kernel.shape[0])
    turned = None if dkernel is None else _rows(dkernel).T  # so turned, its gradient is summed faster

    @functools.partial(jax.checkpoint, prevent_cse=False)
    def of_chunk(points: Any, i: jax.Array, dx_i: Any, daffine: Any, turned: Any) -> Any:
        x_i, z_i, weight_i = take(points, i)
        y_i = activate(x_i, affine, kernel.dtype)
        dy_i = activate_tangent(x_i, affine, y_i, dx_i, daffine)
        dz_i = jnp.zeros_like(z_i).reshape(-1, z_i.shape[-1])
        if turned is not None:
            rows = _rows(to_unit(build(y_i), kernel.dtype))
            dz_i = dz_i + lax.dot_general(rows, turned, (((1,), (1,)), ((), ())))
        if dy_i is not None:
            dz_i = dz_i + _rows(build(dy_i)) @ _rows(kernel)
        dz_i = dz_i.reshape(z_i.shape)
        return dz_i, *moment_tangents(dz_i, z_i, weight_i, mean)

    def step(dz: jax.Array, i: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        dz_i, *sums = of_chunk((xs, zs, weights), i, take(dxs, i), daffine, turned)
        return put(dz, dz_i, i), tuple(sums)

    dz, (dsum, dsquares) = lax.scan(step, jnp.zeros_like(zs), jnp.arange(n_chunks))
    return merge(dz), dsum.sum(0), dsquares.sum(0)


def _n_chunks(stride: int, x: jax.Array, kernel: jax.Array) -> int:
    """Least number of equal chunks that keeps a chunk's patches within `_CHUNK_BYTES`, and that devices can share."""
    n, height, width, _ = x.shape
    k, _, c_in, _ = kernel.shape
    frame_bytes = -(-height // stride) * -(-width // stride) * k * k * c_in * kernel.dtype.itemsize
    return fewest_chunks(n, max(_CHUNK_BYTES // frame_bytes, 1))


def fewest_chunks(n: int, most: int) -> int:
    """The least number of equal chunks of n with at most `most` (at least 1) in each.

    With a mesh in the context a chunk has as many as there are devices, if n is a multiple of that: none is idle.
    """
    each = math.gcd(n, max(jax.sharding.get_abstract_mesh().size, 1))
    n, most = n // each, max(most // each, 1)
    return next(m for m in range(1, n + 1) if n % m == 0 and n // m <= most)


def split(arrays: Any, n_chunks: int) -> Any:
    """`[n, ...]` -> `[n / n_chunks, n_chunks, ...]`: a sharding over frames is one over axis 0."""
    return jax.tree.map(lambda x: x.reshape(-1, n_chunks, *x.shape[1:]), arrays)


def merge(arrays: Any) -> Any:
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), arrays)


def take(arrays: Any, i: jax.Array) -> Any:
    """Chunk i, `[frames, ...]`."""
    return jax.tree.map(lambda x: lax.dynamic_index_in_dim(x, i, axis=1, keepdims=False), arrays)


def put(x: jax.Array, value: jax.Array, i: jax.Array) -> jax.Array:
    """x, 0 in chunk i, with a value there, as `take` gives it; for what is differentiated.

    Added, not written: a loop of this, transposed, reads the gradient in x and does not write to it.
    """
    return x.at[:, i].add(value, mode="promise_in_bounds", unique_indices=True, wrap_negative_indices=False)


def _rows(x: jax.Array) -> jax.Array:
    return x.reshape(-1, x.shape[-1])
