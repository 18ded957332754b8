"""What is done to images before they are encoded; the clean ones are to be reconstructed.

All take images `[n, height, width, channel]`, floating point in [0, 1], and give images of the same shape in [0, 1]
(values are not checked). Every image has a corruption of its own. Strengths may be traced, sizes not.
"""

import operator
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from sfa_jax.autoencoders._losses import Scalar, check_scalar, is_known


def gaussian_noise(key: jax.Array, images: ArrayLike, *, sigma: Scalar = 0.3) -> jax.Array:
    """Normal noise on every number of each image, clipped to [0, 1].

    x + sigma e,  e standard normal

    Args:
      key: random key.
      images: as this module says.
      sigma: standard deviation before clipping, in units of the image's range, at least 0.

    Returns:
      As this module says.

    Raises:
      TypeError: the images are not floating point.
      ValueError: they are not `[n, height, width, channel]`, or sigma is out of its range.

    References:
      Vincent et al., JMLR 2010, section 3.3.

    >>> gaussian_noise(jax.random.key(0), jnp.full((1, 1, 1, 2), 0.5), sigma=0.0).tolist()
    [[[[0.5, 0.5]]]]
    """
    x = _checked(images)
    check_scalar("sigma", sigma)
    if is_known(sigma) and not np.asarray(sigma) >= 0:
        raise ValueError(f"sigma: expected at least 0, got {sigma}")
    return jnp.clip(x + jnp.asarray(sigma, x.dtype) * jax.random.normal(key, x.shape, x.dtype), 0, 1)


def masking_noise(key: jax.Array, images: ArrayLike, *, share: Scalar = 0.5) -> jax.Array:
    """Pixels set to 0, each with the same probability, all channels of it.

    Args:
      key: random key.
      images: as this module says.
      share: probability, 0 to 1.

    Returns:
      As this module says.

    Raises:
      TypeError: the images are not floating point.
      ValueError: they are not `[n, height, width, channel]`, or the share is out of its range.

    References:
      Vincent et al., JMLR 2010, section 3.3.

    >>> masking_noise(jax.random.key(0), jnp.ones((1, 1, 2, 1)), share=1.0).tolist()
    [[[[0.0], [0.0]]]]
    """
    x = _checked(images)
    kept = jax.random.bernoulli(key, 1 - _probability("share", share), (*x.shape[:3], 1))
    return jnp.where(kept, x, 0)


def salt_and_pepper(key: jax.Array, images: ArrayLike, *, share: Scalar = 0.5) -> jax.Array:
    """Pixels set to 0 or 1, half to each, all channels of it alike.

    Args:
      key: random key.
      images: as this module says.
      share: probability of a pixel to be set, 0 to 1.

    Returns:
      As this module says.

    Raises:
      TypeError: the images are not floating point.
      ValueError: they are not `[n, height, width, channel]`, or the share is out of its range.

    References:
      Vincent et al., JMLR 2010, section 3.3.

    >>> salt_and_pepper(jax.random.key(0), jnp.full((1, 1, 2, 1), 0.5), share=0.0).tolist()
    [[[[0.5], [0.5]]]]
    """
    x = _checked(images)
    drawn = jax.random.uniform(key, (*x.shape[:3], 1), jnp.float32)  # half precision has too few levels
    share = jnp.asarray(_probability("share", share), jnp.float32)
    return jnp.where(drawn < share / 2, 0, jnp.where(drawn < share, 1, x))


def random_erase(
    key: jax.Array, images: ArrayLike, *, size: int | Sequence[int] = 10, value: Scalar = 0.0
) -> jax.Array:
    """One rectangle of each image set to one value, anywhere within it with equal probability.

    Args:
      key: random key.
      images: as this module says.
      size: pixels a side, or (height, width), of the rectangle.
      value: what it is set to, 0 to 1.

    Returns:
      As this module says.

    Raises:
      TypeError: the images are not floating point.
      ValueError: they are not `[n, height, width, channel]`, the rectangle does not fit, or the value is out of range.

    References:
      Zhong et al., "Random erasing data augmentation", AAAI 2020; here of fixed size, the hole of inpainting.

    >>> random_erase(jax.random.key(0), jnp.ones((1, 3, 3, 1)), size=2).sum().item()
    5.0
    """
    x = _checked(images)
    value = jnp.asarray(_probability("value", value), x.dtype)
    return jnp.where(random_hole(key, x.shape, size=size), value, x)


def random_hole(key: jax.Array, shape: Sequence[int], *, size: int | Sequence[int] = 10) -> jax.Array:
    """The pixels that `random_erase` erases, given the same key and size.

    Args:
      key: random key.
      shape: `(n, height, width, channel)` of the images.
      size: pixels a side, or (height, width), of the rectangle.

    Returns:
      bool `[n, height, width, 1]`.

    Raises:
      ValueError: the rectangle does not fit, or there are not four axes.
      TypeError: a side is no whole number.

    >>> random_hole(jax.random.key(0), (1, 3, 3, 1), size=2).sum().item()
    4
    """
    if len(shape) != 4:
        raise ValueError(f"shape: expected (n, height, width, channel), got {tuple(shape)}")
    n, height, width, _ = shape
    sides = tuple(size) if isinstance(size, Sequence) else (size, size)
    if len(sides) != 2:
        raise ValueError(f"size: expected pixels a side, or (height, width), got {size}")
    tall, wide = map(operator.index, sides)
    if not (1 <= tall <= height and 1 <= wide <= width):
        raise ValueError(f"size: expected 1 to {height} x {width} pixels, those of the images, got {tall} x {wide}")
    row_key, column_key = jax.random.split(key)

    def inside(key: jax.Array, length: int, side: int) -> jax.Array:
        first = jax.random.randint(key, (n, 1), 0, length - side + 1)
        places = jnp.arange(length)[None]
        return (places >= first) & (places < first + side)

    return (inside(row_key, height, tall)[:, :, None] & inside(column_key, width, wide)[:, None, :])[..., None]


def downsample(images: ArrayLike, *, factor: int = 2) -> jax.Array:
    """Every square of `factor` x `factor` pixels set to its mean: the input of super-resolution.

    Args:
      images: as this module says.
      factor: pixels a side of the squares, a divisor of height and width.

    Returns:
      As this module says.

    Raises:
      TypeError: the images are not floating point.
      ValueError: they are not `[n, height, width, channel]`, or the factor does not divide height and width.

    >>> downsample(jnp.array([0.0, 1.0, 1.0, 0.0]).reshape(1, 2, 2, 1))[0, 0, 0].item()
    0.5
    """
    x = _checked(images)
    n, height, width, channel = x.shape
    if factor < 1 or height % factor or width % factor:
        raise ValueError(f"factor: expected a divisor of height and width, {height} and {width}, got {factor}")
    squares = x.reshape(n, height // factor, factor, width // factor, factor, channel)
    means = jnp.mean(squares, axis=(2, 4), keepdims=True)
    return jnp.broadcast_to(means, squares.shape).reshape(x.shape)


def one_of(
    key: jax.Array, images: ArrayLike, *, corruptions: Sequence[Callable[[jax.Array, jax.Array], jax.Array]]
) -> jax.Array:
    """Each image in one of several corruptions, drawn with equal probability: one network learns to undo them all.

    Args:
      key: random key.
      images: as this module says.
      corruptions: each `(key, images) -> images`, one or more; a single one is given the key itself.

    Returns:
      As this module says.

    Raises:
      TypeError: the images are not floating point.
      ValueError: they are not `[n, height, width, channel]`, there is no corruption, or one changes their shape.

    >>> clear, black = (lambda key, x: x), (lambda key, x: 0 * x)
    >>> one_of(jax.random.key(0), jnp.ones((1000, 1, 1, 1)), corruptions=[clear, black]).mean().round(1).item()
    0.5
    """
    x = _checked(images)
    if not corruptions:
        raise ValueError("corruptions: expected one or more, got none")
    which_key, *keys = jax.random.split(key, 1 + len(corruptions))
    which = jax.random.randint(which_key, (len(x), 1, 1, 1), 0, len(corruptions))
    made = x
    for k, (one_key, corrupt) in enumerate(zip(keys if len(keys) > 1 else [key], corruptions, strict=True)):
        corrupted = corrupt(one_key, x)
        if corrupted.shape != x.shape:
            raise ValueError(f"corruptions: expected images of {x.shape} from each, number {k} gives {corrupted.shape}")
        made = jnp.where(which == k, corrupted, made)
    return made


def _checked(images: ArrayLike) -> jax.Array:
    x = jnp.asarray(images)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"images: expected floating point in [0, 1], got {x.dtype}; divide uint8 by 255 first")
    if x.ndim != 4:
        raise ValueError(f"images: expected shape [n, height, width, channel], got {x.shape}")
    return x


def _probability(name: str, value: Scalar) -> Scalar:
    check_scalar(name, value)
    if is_known(value) and not 0 <= np.asarray(value) <= 1:
        raise ValueError(f"{name}: expected 0 to 1, got {value}")
    return value
