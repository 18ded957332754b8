"""Proximal gradient steps for an l1 penalty on many codes at once, each with a bound on how far from the best it is."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from sfa_jax.sparse._thresholds import soft_threshold

_CHECK_EVERY = 10  # steps between two looks at the gap


class Lasso(NamedTuple):
    """Sparse codes, and how good they are.

    Attributes:
      codes: `[n_samples, n_atoms]`, signals ~ codes @ dictionary; of `convolutional_fista` maps, see there.
      gap: `[n_samples]`, at least the objective of a code minus the lowest there is, but for rounding.
      n_iterations: int32 `[n_samples]`, steps taken.
      converged: bool `[n_samples]`, whether the gap is at most `tol` times half the squared norm of the signal.
    """

    codes: jax.Array
    gap: jax.Array
    n_iterations: jax.Array
    converged: jax.Array


class _State(NamedTuple):
    codes: jax.Array  # [n, ...]
    gap: jax.Array  # [n]
    n_iterations: jax.Array  # [n]
    active: jax.Array  # [n]
    moving: tuple[jax.Array, jax.Array, jax.Array]  # codes, where the gradient is taken [n, ...], momentum [n]


def minimize(
    draw: Callable[[jax.Array], jax.Array],
    correlate: Callable[[jax.Array], jax.Array],
    gradient: Callable[[jax.Array], jax.Array],
    x: jax.Array,
    begin: jax.Array,
    *,
    rate: jax.Array,
    alpha: jax.Array,
    positive: bool,
    tol: float,
    max_iter: int,
    accelerated: bool,
) -> Lasso:
    """Lowers 1/2 ||x - draw(z)||^2 + alpha |z|_1 until the duality gap of each signal is small.

    Args:
      draw: codes `[n, ...]` to signals, linear.
      correlate: its adjoint.
      gradient: codes to correlate(draw(codes) - x).
      x: signals `[n, ...]`.
      begin: codes `[n, ...]`.
      rate: one over a bound of the norm of the Hessian.
      alpha, positive, tol, max_iter: as in `fista`.
      accelerated: with momentum that starts anew where it points uphill.

    Returns:
      `Lasso`; codes of signals that are not finite are nan.
    """
    axes, signal_axes = tuple(range(1, begin.ndim)), tuple(range(1, x.ndim))
    scale = 0.5 * jnp.sum(jnp.square(x), axis=signal_axes)

    def over_codes(per_sample: jax.Array) -> jax.Array:
        return per_sample.reshape(-1, *[1] * len(axes))

    def look(codes: jax.Array) -> jax.Array:
        rest = x - draw(codes)
        found = correlate(rest)
        largest = jnp.max(found if positive else jnp.abs(found), axis=axes)
        feasible = jnp.where(largest > alpha, alpha / jnp.where(largest > 0, largest, 1), 1)
        square = jnp.sum(jnp.square(rest), axis=signal_axes)
        dual = feasible * jnp.sum(x * rest, axis=signal_axes) - 0.5 * feasible**2 * square
        return 0.5 * square + alpha * jnp.sum(jnp.abs(codes), axis=axes) - dual

    def step(_: jax.Array, moving: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        before, ahead, momentum = moving
        codes = soft_threshold(ahead - rate * gradient(ahead), rate * alpha, positive=positive)
        if not accelerated:
            return codes, codes, momentum
        change = codes - before
        uphill = jnp.sum((ahead - codes) * change, axis=axes) > 0
        momentum = jnp.where(uphill, 1, momentum)
        following = 0.5 * (1 + jnp.sqrt(1 + 4 * momentum**2))
        return codes, codes + over_codes((momentum - 1) / following) * change, following

    def steps(state: _State) -> _State:
        left = jnp.minimum(_CHECK_EVERY, max_iter - jnp.max(state.n_iterations, initial=0))
        # Signals that have ended move on with the others, and what they come to is dropped: a mask in each step costs
        # more than it saves.
        moving = jax.lax.fori_loop(0, left, step, state.moving)
        active = state.active
        codes = jnp.where(over_codes(active), moving[0], state.codes)
        gap = jnp.where(active, look(codes), state.gap)
        n_iterations = state.n_iterations + jnp.where(active, left, 0)
        return _State(codes, gap, n_iterations, active & (gap > tol * scale) & (n_iterations < max_iter), moving)

    gap = look(begin)
    state = _State(
        codes=begin,
        gap=gap,
        n_iterations=jnp.zeros(len(x), jnp.int32),
        active=gap > tol * scale,
        moving=(begin, begin, jnp.ones_like(scale)),
    )
    end = jax.lax.while_loop(lambda state: jnp.any(state.active), steps, state)
    codes = jnp.where(over_codes(jnp.isfinite(scale)), end.codes, jnp.nan)
    return Lasso(codes, end.gap, end.n_iterations, end.gap <= tol * scale)
