"""The elementwise ends of a convolution: affine map and ReLU before it, moments of its output after it, and gradients.

Moments are taken frame by frame and pooled over frames at the end. That is safe in float32, as each frame is centred on
its own mean, leaves the weights of frames to a few numbers at the end, and is faster than one reduction over a chunk.
"""

import jax
import jax.numpy as jnp

from sfa_jax.nets._devices import on_every_device, total

# What turns a raw convolution into the next layer's input: relu(x * gain + offset); None takes x as it is.
Affine = tuple[jax.Array, jax.Array] | None

Moments = tuple[jax.Array, jax.Array, jax.Array]


def activate(x: jax.Array, affine: Affine, dtype: jnp.dtype) -> jax.Array:
    """The input of a convolution: the ReLU of an affine map of what the last layer left; integer images as they are."""
    if is_image(x):
        return x
    if affine is None:
        return x.astype(dtype)
    gain, offset = affine
    return jax.nn.relu(x * channels(gain) + channels(offset))


def is_image(x: jax.Array) -> bool:
    """Whether x holds integers 0..255, which are data without a gradient."""
    return jnp.issubdtype(x.dtype, jnp.integer)


def to_unit(x: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """Integers 0..255 as float in [0, 1]; floats as they are."""
    return x.astype(dtype) * jnp.asarray(1 / 255, dtype) if is_image(x) else x


def activate_backward(x: jax.Array, affine: Affine, y: jax.Array, dy: jax.Array) -> tuple[jax.Array | None, Affine]:
    """Gradients of `activate` in x and, frame by frame `[n, c]`, in affine, given its output y; none for images.

    Frame by frame because the caller sums over frames once, after its last chunk, which is faster than in each chunk.
    """
    if is_image(x):
        return None, None
    if affine is None:
        return dy.astype(x.dtype), None
    du = jnp.where(y > 0, dy, 0)
    return du * channels(affine[0]), ((du * x).sum((1, 2)), du.sum((1, 2)))


def channels(vector: jax.Array) -> jax.Array:
    """`[c]` -> `[1, 1, 1, c]`."""
    return vector.reshape(1, 1, 1, -1)


def frame_moments(z: jax.Array, weight: jax.Array | None) -> Moments:
    """Count `[n]`, sum and centred sum of squares `[n, c]` of each frame of z `[n, h, w, c]`, weighted."""
    weight = jnp.ones(z.shape[0], z.dtype) if weight is None else weight.astype(z.dtype)
    mean = z.mean((1, 2))
    squares = jnp.square(z - mean[:, None, None]).sum((1, 2))
    size = z.shape[1] * z.shape[2]
    return weight * size, weight[:, None] * mean * size, weight[:, None] * squares


def pool_moments(counts: jax.Array, sums: jax.Array, squares: jax.Array) -> Moments:
    """Count, mean and variance of all frames, from each one's own count `[n]`, sum and centred squares `[n, c]`.

    No difference of large squares is taken, so it is safe in float32.
    """
    return on_every_device(_pool_moments)(counts[:, None], sums, squares)


def _pool_moments(counts: jax.Array, sums: jax.Array, squares: jax.Array) -> Moments:
    count = jnp.maximum(counts.sum(), 1)  # no valid frame at all: zeros, not NaN
    mean = total(sums) / count
    apart = jnp.square(sums / jnp.maximum(counts, 1) - mean[None])
    return count, mean, total(squares + counts * apart) / count


def through_moments(
    dz: jax.Array, z: jax.Array, weight: jax.Array | None, mean: jax.Array, from_mean: jax.Array, from_var: jax.Array
) -> jax.Array:
    """Gradient in z, with z's part in the moments: d mean / dz = w / N, d var / dz = 2 w (z - mean) / N."""
    part = channels(from_mean) + (z - channels(mean)) * channels(from_var)
    return dz + (part if weight is None else part * weight.astype(z.dtype)[:, None, None, None])
