"""The elementwise ends of a convolution: affine map and ReLU before it, moments of its output after it, and tangents.

Moments are taken frame by frame and pooled over frames at the end. That is safe in float32, as each frame is centred on
its own mean, leaves the weights of frames to a few numbers at the end, and is faster than one reduction over a chunk.
"""

import jax
import jax.numpy as jnp

from sfa_jax._errors import InputError

# What turns a raw convolution into the next layer's input: relu(x * gain + offset); None takes x as it is.
Affine = tuple[jax.Array, jax.Array] | None

Moments = tuple[jax.Array, jax.Array, jax.Array]


def activate(x: jax.Array, affine: Affine, dtype: jnp.dtype) -> jax.Array:
    """The input of a convolution: the ReLU of an affine map of what the last layer left; bytes as they are."""
    if is_image(x):
        return x
    if affine is None:
        return x.astype(dtype)
    gain, offset = affine
    return jax.nn.relu(x * channels(gain) + channels(offset))


def is_image(x: jax.Array) -> bool:
    """Whether x holds bytes 0..255, which are data without derivatives."""
    return x.dtype == jnp.uint8


def without_nan(x: jax.Array, weight: jax.Array | None) -> jax.Array:
    """Frames `[n, h, w, c]`, those of weight 0 with zeros for what is not finite: NaN times 0 would be NaN."""
    if weight is None or is_image(x):
        return x
    if weight.shape != x.shape[:1]:
        raise InputError(f"weight must be one number a frame, shape {x.shape[:1]}, not {weight.shape}.")
    return jnp.where((weight.reshape(-1, 1, 1, 1) > 0) | jnp.isfinite(x), x, 0)


def to_unit(x: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """Bytes 0..255 as float in [0, 1]; floats as they are."""
    return x.astype(dtype) * jnp.asarray(1 / 255, dtype) if is_image(x) else x


def activate_tangent(
    x: jax.Array, affine: Affine, y: jax.Array, dx: jax.Array | None, daffine: Affine
) -> jax.Array | None:
    """Tangent of `activate`, given its output y; None where nothing moves."""
    if affine is None:
        return None if dx is None else dx.astype(y.dtype)
    parts = [] if dx is None else [dx * channels(affine[0])]
    if daffine is not None:
        parts += [x * channels(daffine[0]) + channels(daffine[1])]
    return jnp.where(y > 0, sum(parts[1:], start=parts[0]), 0) if parts else None


def channels(vector: jax.Array) -> jax.Array:
    """`[c]` -> `[1, 1, 1, c]`."""
    return vector.reshape(1, 1, 1, -1)


def frame_moments(z: jax.Array, weight: jax.Array | None) -> Moments:
    """Count `[n]`, sum and centered sum of squares `[n, c]` of each frame of z `[n, h, w, c]`; 0 of weight 0."""
    counts = jnp.ones(z.shape[0], bool) if weight is None else weight > 0
    mean = z.mean((1, 2))
    squares = jnp.square(z - mean[:, None, None]).sum((1, 2))
    size = z.shape[1] * z.shape[2]
    sums, squares = (jnp.where(counts[:, None], x, 0) for x in (mean * size, squares))
    return counts.astype(z.dtype) * size, sums, squares


def pool_moments(counts: jax.Array, sums: jax.Array, squares: jax.Array) -> Moments:
    """Count, mean and variance of all frames, from each one's own count `[...]`, sum and centered squares `[..., c]`.

    No difference of large squares is taken, so it is safe in float32.
    """
    axes = tuple(range(counts.ndim))
    count = jnp.maximum(counts.sum(), 1)  # no valid frame at all: zeros, not NaN
    mean = sums.sum(axes) / count
    apart = jnp.square(sums / jnp.maximum(counts, 1)[..., None] - jnp.expand_dims(mean, axes))
    return count, mean, (squares + counts[..., None] * apart).sum(axes) / count


def moment_tangents(
    dz: jax.Array, z: jax.Array, weight: jax.Array | None, mean: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Sums of w dz and of w (z - mean) dz over frames and image, `[c]` each: N d mean, and half of N d var."""
    counted = dz if weight is None else dz * (weight > 0).astype(z.dtype).reshape(-1, 1, 1, 1)
    return counted.sum((0, 1, 2)), ((z - channels(mean)) * counted).sum((0, 1, 2))
