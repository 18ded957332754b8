"""Two controls that tell slowness found in the input from slowness made by memory, for each output."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from sfa_jax.slowness._batch import as_samples
from sfa_jax.slowness._measures import delta, in_own_units


def shuffle_control_delta(
    embed: Callable[[jax.Array], jax.Array], x: ArrayLike, key: jax.Array, *, n_shuffles: int = 1
) -> jax.Array:
    """Statistic of the sequence: the Delta value of each output of a model shown the frames in random order.

    A feature that is an instantaneous function of the frame becomes white noise and gives about 2. One that is
    carried from frame to frame stays slow though nothing in its input is, and gives near 0. A model that averages only
    while frames agree passes this control: compare `delta` of its outputs with and without memory as well.

    Args:
      embed: frames or their encodings `[time, ...]` in order to outputs `[time, dim]`, the state carried as usual.
      x: what `embed` takes, `[time, ...]`.
      key: random key of the orders.
      n_shuffles: how many orders to average over; a sequence of T frames has an error of about 2 / sqrt(T) an order.

    Returns:
      `[dim]`, the mean over orders; nan where an output is constant in each.

    Raises:
      ValueError: `n_shuffles` is below 1, or as `delta`.
    """
    if n_shuffles < 1:
        raise ValueError(f"n_shuffles: expected at least 1, got {n_shuffles}")
    x = jnp.asarray(x)
    deltas = [delta(embed(x[jax.random.permutation(k, x.shape[0])])) for k in jax.random.split(key, n_shuffles)]
    return jnp.nanmean(jnp.stack(deltas), axis=0)


def memory_reliance(y: ArrayLike, y_ablated: ArrayLike) -> jax.Array:
    """Statistic of the sequence: the share of each output's variance that is lost when its memory is taken away.

    1 - corr(y_k, y'_k)^2, where y' is computed with y_{t-1} replaced by its training mean at every frame. 0: the memory
    is not used; near 1: the output is memory. It says how alike the two are, not how slow: memory that smooths an
    output changes it little and slows it much. Compare `delta(y)` and `delta(y_ablated)`, output by output, as well.

    Args:
      y: outputs in true order, `[time, dim]`.
      y_ablated: outputs of the same frames without memory, `[time, dim]`.

    Returns:
      `[dim]`, in [0, 1]; nan where `y` is constant.

    Raises:
      ValueError: the shapes differ, or are not `[time, dim]`.
    """
    y, y_ablated = as_samples(y, "y"), as_samples(y_ablated, "y_ablated")
    if y.shape != y_ablated.shape or y.ndim != 2:
        raise ValueError(f"y and y_ablated: expected equal shapes [time, dim], got {y.shape} and {y_ablated.shape}")
    y, y_ablated = (in_own_units(value, axis=0) for value in (y, y_ablated))
    y, y_ablated = (value - jnp.mean(value, axis=0, keepdims=True) for value in (y, y_ablated))
    variance, variance_ablated = jnp.mean(y**2, axis=0), jnp.mean(y_ablated**2, axis=0)
    product = variance * variance_ablated
    corr2 = jnp.where(product > 0, jnp.mean(y * y_ablated, axis=0) ** 2 / jnp.where(product > 0, product, 1), 0)
    return jnp.where(variance > 0, 1 - jnp.minimum(corr2, 1), jnp.nan)
