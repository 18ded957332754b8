"""The CPU form of a convolution and its gradients: products of patches, in chunks of frames that fit in the cache.

Each device convolves its own frames. A chunk is frames that follow each other; the chunks are the same however many
devices there are, and so are the sums over them (`_devices`).
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from sfa_jax.nets._devices import (
    has_mesh,
    inner_parts,
    least_parts,
    on_every_device,
    on_own_samples,
    sharers,
    total,
    total_of_parts,
)
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
    groups, n_chunks = _groups(len(x), _n_chunks(stride, x, kernel))

    def own(samples: tuple, shared: tuple) -> tuple[jax.Array, Moments]:
        return _forward(stride, groups, n_chunks, *samples, *shared)

    z, moments = on_own_samples(own, len(x))((x, weight), (affine, kernel))
    return z, *pool_moments(*moments)


def _forward(
    stride: int,
    groups: int,
    n_chunks: int,
    x: jax.Array,
    weight: jax.Array | None,
    affine: Affine,
    kernel: jax.Array,
) -> tuple[jax.Array, Moments]:
    """The convolution of one device's frames, and the moments of each."""
    xs, weights = split((x, weight), groups)
    size = xs.shape[1] // n_chunks

    def convolve(z: jax.Array, i: jax.Array) -> tuple[jax.Array, Moments]:
        y_i = activate(take(xs, i, size), affine, kernel.dtype)
        if is_image(x):  # too few channels for products row by row, and bytes are cheaper to copy about
            rows = to_unit(patches(stride, kernel.shape[0], y_i), kernel.dtype)
            z_i = (_rows(rows) @ _rows(kernel)).reshape(*rows.shape[:3], -1)
        else:
            z_i = convolve_rows(stride, y_i, kernel)
        return put(z, z_i, i), frame_moments(z_i, take(weights, i, size))

    _, height, width, _ = x.shape
    z = jnp.zeros((*xs.shape[:2], -(-height // stride), -(-width // stride), kernel.shape[-1]), kernel.dtype)
    z, moments = lax.scan(convolve, z, jnp.arange(n_chunks))
    return merge(z), jax.tree.map(lambda values: _in_order(values, groups), moments)


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
    groups, n_chunks = _groups(len(x), _n_chunks(stride, x, kernel))
    parts = least_parts(len(x)) // sharers(len(x))

    def own(samples: tuple, shared: tuple) -> tuple:
        return _backward(stride, groups, n_chunks, parts, *samples, *shared)

    dx, daffines, dkernels = on_own_samples(own, len(x))((x, weight, z, dz), (affine, kernel, moments))
    daffine = jax.tree.map(jnp.zeros_like, affine) if is_image(x) else jax.tree.map(on_every_device(total), daffines)
    return dx, daffine, total_of_parts(dkernels).T.reshape(kernel.shape)


def _backward(
    stride: int,
    groups: int,
    n_chunks: int,
    parts: int,
    x: jax.Array,
    weight: jax.Array | None,
    z: jax.Array,
    dz: jax.Array,
    affine: Affine,
    kernel: jax.Array,
    moments: tuple[jax.Array, jax.Array, jax.Array],
) -> tuple:
    """Gradients of one device's frames: in each frame, of the affine map frame by frame, of the kernel in few parts."""
    xs, zs, dzs, weights = split((x, z, dz, weight), groups)
    size = xs.shape[1] // n_chunks
    build = functools.partial(patches, stride, kernel.shape[0])

    def through_chunk(
        sums: tuple[jax.Array | None, jax.Array], i: jax.Array
    ) -> tuple[tuple[jax.Array | None, jax.Array], Affine]:
        dx, dkernels = sums
        x_i = take(xs, i, size)
        y_i = activate(x_i, affine, kernel.dtype)
        if is_image(x):
            patches_i, scatter = to_unit(build(y_i), kernel.dtype), None
        else:
            patches_i, scatter = jax.vjp(build, y_i)
        dz_i, z_i, weight_i = take((dzs, zs, weights), i, size)
        dz_i = _rows(through_moments(dz_i, z_i, weight_i, *moments))
        dkernel_i = inner_parts(dz_i, _rows(patches_i))
        dkernels = dkernels.at[i // (n_chunks // parts)].add(dkernel_i)
        if scatter is None:
            return (dx, dkernels), None
        (dy_i,) = scatter((dz_i @ _rows(kernel).T).reshape(patches_i.shape))
        dx_i, daffine_i = activate_backward(x_i, affine, y_i, dy_i)
        return (put(dx, dx_i, i), dkernels), daffine_i

    dx = None if is_image(x) else jnp.zeros_like(xs)
    dkernels = jnp.zeros((parts, *_rows(kernel).shape[::-1]), kernel.dtype)
    (dx, dkernels), daffines = lax.scan(through_chunk, (dx, dkernels), jnp.arange(n_chunks))
    daffines = jax.tree.map(lambda frames: _in_order(frames, groups), daffines)
    return merge(dx), daffines, dkernels


def _n_chunks(stride: int, x: jax.Array, kernel: jax.Array) -> int:
    """Least number of equal chunks that keeps a chunk's patches within `_CHUNK_BYTES`, and that devices can share."""
    n, height, width, _ = x.shape
    k, _, c_in, _ = kernel.shape
    frame_bytes = -(-height // stride) * -(-width // stride) * k * k * c_in * kernel.dtype.itemsize
    return fewest_chunks(n, max(_CHUNK_BYTES // frame_bytes, 1), least=least_parts(n))


def fewest_chunks(n: int, most: int, *, least: int = 1) -> int:
    """The least number of equal chunks of n, a multiple of `least`, with at most `most` (at least 1) in each."""
    return next((m for m in range(least, n + 1, least) if n % m == 0 and n // m <= most), n)


def _groups(n: int, n_chunks: int) -> tuple[int, int]:
    """In how many groups the n frames of a call lie, and how many chunks those of a group make.

    With a mesh a call is for one device, whose frames are one group. Without one nothing is known of where the frames
    lie: each group is so small that it gives one frame to a chunk, and frames that devices share stay where they are.
    """
    return (1, n_chunks // sharers(n)) if has_mesh() else (n // n_chunks, n_chunks)


def split(arrays: Any, groups: int) -> Any:
    """`[n, ...]` -> `[groups, n / groups, ...]`: a sharding over frames is one over axis 0."""
    return jax.tree.map(lambda x: x.reshape(groups, -1, *x.shape[1:]), arrays)


def merge(arrays: Any) -> Any:
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), arrays)


def take(arrays: Any, i: jax.Array, size: int = 1) -> Any:
    """Chunk i, `[frames, ...]`: `size` frames of each group."""

    def chunk(x: jax.Array) -> jax.Array:
        return lax.dynamic_slice_in_dim(x, i * size, size, axis=1).reshape(-1, *x.shape[2:])

    return jax.tree.map(chunk, arrays)


def put(x: Any, value: Any, i: jax.Array) -> jax.Array:
    """The groups x with chunk i in its place, as `take` gives it."""
    value = value.reshape(x.shape[0], -1, *x.shape[2:])
    return lax.dynamic_update_slice_in_dim(x, value, i * value.shape[1], axis=1)


def _in_order(values: jax.Array, groups: int) -> jax.Array:
    """What a scan over chunks gave of each frame, `[n_chunks, frames, ...]` -> `[n, ...]` in their order."""
    values = values.reshape(values.shape[0], groups, -1, *values.shape[2:])
    return jnp.moveaxis(values, 0, 1).reshape(-1, *values.shape[3:])


def _rows(x: jax.Array) -> jax.Array:
    return x.reshape(-1, x.shape[-1])
