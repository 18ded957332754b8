"""Checks and statistics that the losses share.

Input contract of this room: embeddings are floating `[..., dim]`; every leading axis counts as samples; a mask has
the shape of the leading axes. Half precision is computed, and given back, in float32. Nothing here raises on values,
only on shapes and types.
"""

import functools
import operator
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

_SPLIT = 64  # features from which a symmetric product is computed in parts
Measure = TypeVar("Measure", bound=Callable[..., Any])


def in_own_precision(measure: Measure) -> Measure:
    """Takes a measure of NumPy arrays of float64 in float64, and gives it in jax's default floating type.

    In float32 a signal that is small beside its offset would be lost before it is measured.
    """

    @functools.wraps(measure)
    def measured(*args: Any, **kwargs: Any) -> Any:
        given = jax.tree.leaves((args, kwargs))
        double = any(isinstance(x, np.ndarray) and x.dtype == np.float64 for x in given)
        if not double or jnp.result_type(float) == jnp.float64:
            return measure(*args, **kwargs)
        with jax.enable_x64(True):
            return jax.tree.map(lambda x: x.astype(np.float32), measure(*args, **kwargs))

    return measured  # type: ignore[return-value]


def check_floating(dtype: DTypeLike, name: str) -> None:
    if not jnp.issubdtype(dtype, jnp.floating):
        complex_ = jnp.issubdtype(dtype, jnp.complexfloating)
        hint = "give its real and imaginary parts as features" if complex_ else "convert it with .astype(float)"
        hint += ", images also / 255" if dtype == jnp.uint8 else ""
        raise TypeError(f"{name}: expected floating-point values, got {dtype}; {hint}")


def as_whole(value: Any, name: str) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: expected a whole number, got {value!r}") from None


def check_scalar(value: ArrayLike, name: str) -> None:
    """Raises on what is no single number, and would be broadcast."""
    if jnp.ndim(value):
        raise ValueError(f"{name}: expected one number, got shape {jnp.shape(value)}")


def as_samples(y: ArrayLike, name: str) -> jax.Array:
    """`y` as an array of at least float32, with at least one sample axis before its feature axis."""
    y = jnp.asarray(y)
    check_floating(y.dtype, name)
    if y.ndim < 2 or y.shape[-1] < 1:
        raise ValueError(f"{name}: expected shape [..., dim] with at least 2 axes and dim >= 1, got {y.shape}")
    return y.astype(jnp.float32) if y.dtype.itemsize < 4 else y


def as_pair(y_t: ArrayLike, y_tm1: ArrayLike) -> tuple[jax.Array, jax.Array]:
    y_t, y_tm1 = as_samples(y_t, "y_t"), as_samples(y_tm1, "y_tm1")
    if y_t.shape != y_tm1.shape:
        raise ValueError(f"y_t and y_tm1: expected equal shapes, got {y_t.shape} and {y_tm1.shape}")
    return y_t, y_tm1


def as_weights(mask: ArrayLike | None, y: jax.Array) -> jax.Array:
    """The mask as 0/1 weights of `y`'s type and sample shape; all ones for None."""
    if mask is None:
        return jnp.ones(y.shape[:-1], y.dtype)
    mask = jnp.asarray(mask)
    if mask.shape != y.shape[:-1]:
        raise ValueError(f"mask: expected shape {y.shape[:-1]}, one entry a sample, got {mask.shape}")
    return mask.astype(bool).astype(y.dtype)


def masked(y: jax.Array, weights: jax.Array) -> jax.Array:
    """`y` with zeros, not NaN times zero, where it does not count."""
    return jnp.where(weights[..., None] > 0, y, jnp.zeros((), y.dtype))


def outer_sum(y: jax.Array) -> jax.Array:
    """sum over samples of y y', in full precision also where the default product is bfloat16.

    Where it pays, the quarter of the matrix that is another one mirrored is not computed.
    """
    flat = y.reshape(-1, y.shape[-1])
    if flat.shape[1] < _SPLIT:
        return inner(flat, flat)
    left, right = jnp.split(flat, [flat.shape[1] // 2], axis=1)
    upper = inner(left, right)
    return jnp.block([[inner(left, left), upper], [upper.T, inner(right, right)]])


def inner(a: jax.Array, b: jax.Array) -> jax.Array:
    """a'b of two `[n, dim]` in full precision."""
    return jnp.matmul(a.T, b, precision=jax.lax.Precision.HIGHEST)


def mean_of(y: jax.Array, weights: jax.Array) -> jax.Array:
    """The mean of the valid samples, with an axis of 1 for each sample axis; 0 where there are none.

    A long sum rounds. The mean of what is left after the first one makes up for it, so that a constant leaves nothing.
    """
    count = jnp.maximum(jnp.sum(weights), 1)
    shape = (1,) * (y.ndim - 1) + y.shape[-1:]
    rough = (total_of(masked(y, weights)) / count).reshape(shape)
    return rough + (total_of(masked(y - rough, weights)) / count).reshape(shape)


def total_of(y: jax.Array) -> jax.Array:
    """sum over samples of y `[dim]`, as a product: on a CPU it is three times as fast."""
    flat = y.reshape(-1, y.shape[-1])
    return inner(jnp.ones((len(flat), 1), y.dtype), flat)[0]


def centred_scatter(y: jax.Array, weights: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(count, mean `[dim]`, sum over valid samples of (y - mean)(y - mean)' `[dim, dim]`)."""
    mean = mean_of(y, weights)
    return jnp.sum(weights), mean.reshape(-1), outer_sum(masked(y - mean, weights))


def covariance(y: jax.Array, weights: jax.Array) -> jax.Array:
    """C = (1/N) sum (y - mean)(y - mean)' over the valid samples; 0 where there are none."""
    count, _, scatter = centred_scatter(y, weights)
    return scatter / jnp.maximum(count, 1)
