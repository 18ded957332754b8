"""Steps of norm+linear in several directions at once: one batched product a step.

A lane is a set of rows that take the same steps: z <- z + A zhat. What costs time is the products of rows and matrices;
what is built around them is ruled by memory:

- A zhat = gain (A - mean over its columns) z, so that zhat itself is never stored.
- The derivative is written by hand (`custom_jvp`, so that forward, reverse and higher derivatives all work). Its
  steps are linear; what they take from dA is one product over the rows of several steps, and its transpose, the
  gradient of A, too. Left to itself, reverse mode adds to a whole matrix at every step.
- Paths are summed in the step, so that only what is asked for leaves it.
"""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from sfa_jax.finola._norm import statistics

_ROWS = 1024  # rows of all steps that go into one product for the gradient of the matrices: enough to run at full rate


class Lane(NamedTuple):
    """Rows that take the same steps.

    Attributes:
      matrix: `[channels, channels]`.
      rows: where they start, `[n_rows, channels]`.
      n_steps: how many they take.
    """

    matrix: jax.Array
    rows: jax.Array
    n_steps: int


class How(NamedTuple):
    """The static options of a march.

    Attributes:
      n_paths: neighbouring rows that are summed in what is returned.
      normalized: whether the vector is normalised before the product.
      epsilon: of the norm.
      rematerialise: keep few steps for the derivative and take the others again.
    """

    n_paths: int
    normalized: bool
    epsilon: float
    rematerialise: bool


def march(lanes: Sequence[Lane], how: How) -> list[jax.Array]:
    """Every step of every lane, `[n_steps + 1, n_rows / n_paths, channels]` each, the start first.

    Lanes with as many rows advance together. Where their numbers of steps differ by one, the shorter goes one step too
    far, which is left out.
    """
    seen: list[list[jax.Array]] = [[] for _ in lanes]
    rows = [lane.rows for lane in lanes]
    left = [lane.n_steps for lane in lanes]
    for n_rows in dict.fromkeys(lane.rows.shape[0] for lane in lanes):
        group = [k for k, lane in enumerate(lanes) if lane.rows.shape[0] == n_rows]
        while going := [k for k in group if left[k] > 0]:
            fewest = min(left[k] for k in going)
            n_steps = max(left[k] for k in going if left[k] <= fewest + 1)
            matrix, start = jnp.stack([lanes[k].matrix for k in going]), jnp.stack([rows[k] for k in going])
            end, before = (
                _rematerialised(matrix, start, n_steps, how)
                if how.rematerialise
                else _steps(matrix, start, n_steps, how)
            )
            for place, k in enumerate(going):
                seen[k].append(before[:, place])
                rows[k], left[k] = end[place], left[k] - n_steps
    for k in range(len(lanes)):
        if left[k] == 0:
            seen[k].append(sum_paths(rows[k], how.n_paths)[None])
    return [parts[0] if len(parts) == 1 else jnp.concatenate(parts) for parts in seen]


def sum_paths(rows: jax.Array, n_paths: int) -> jax.Array:
    """Sums of `n_paths` neighbouring rows: `[..., n_rows, channels]` -> `[..., n_rows / n_paths, channels]`."""
    if n_paths == 1:
        return rows
    *leading, n_rows, channels = rows.shape
    return jnp.sum(rows.reshape(*leading, n_rows // n_paths, n_paths, channels), axis=-2)


def advance(matrix: jax.Array, rows: jax.Array, how: How) -> jax.Array:
    """One step, z + A zhat, of rows `[lanes, n_rows, channels]`, written as the equation is."""
    if not how.normalized:
        return rows + jnp.einsum("krc,kdc->krd", rows, matrix)
    mean, gain = statistics(rows, how.epsilon)
    return rows + jnp.einsum("krc,kdc->krd", (rows - mean) * gain, matrix)


def _rematerialised(matrix: jax.Array, rows: jax.Array, n_steps: int, how: How) -> tuple[jax.Array, jax.Array]:
    """`_steps` in stretches of about sqrt(n_steps) whose inside is not kept for the derivative."""
    length = max(1, math.isqrt(n_steps))
    whole, rest = divmod(n_steps, length)

    def stretch(rows: jax.Array, n_steps: int) -> tuple[jax.Array, jax.Array]:
        return jax.checkpoint(lambda matrix, rows: _steps(matrix, rows, n_steps, how))(matrix, rows)

    rows, before = jax.lax.scan(lambda rows, _: stretch(rows, length), rows, None, length=whole)
    before = before.reshape(whole * length, *before.shape[2:])
    if not rest:
        return rows, before
    rows, more = stretch(rows, rest)
    return rows, jnp.concatenate([before, more])


@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def _steps(matrix: jax.Array, rows: jax.Array, n_steps: int, how: How) -> tuple[jax.Array, jax.Array]:
    """Takes steps.

    Args:
      matrix: `[lanes, channels, channels]`.
      rows: `[lanes, n_rows, channels]`.
      n_steps: how many, at least 1.
      how: options.

    Returns:
      The rows after the last step, and before each one, paths summed: `[n_steps, lanes, n_rows / n_paths, channels]`.
    """
    end, kept = _take_steps(matrix, rows, n_steps, how, for_derivative=False)
    return end, kept[0]


@_steps.defjvp
def _steps_jvp(
    n_steps: int, how: How, primals: tuple[jax.Array, jax.Array], tangents: tuple[jax.Array, jax.Array]
) -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
    (matrix, rows), (dmatrix, drows) = primals, tangents
    end, kept = _take_steps(matrix, rows, n_steps, how, for_derivative=True)
    before, *states = kept[0], *kept[-3:]
    centred, dcentred = _centred(matrix, how), _centred(dmatrix, how)

    # Checkpointed, or jax would compute zhat for all steps beforehand and keep it.
    @functools.partial(jax.checkpoint, prevent_cse=False)
    def step(dz: jax.Array, now: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        z, mean, gain, forced = now
        zhat = (z - mean) * gain
        along = jnp.mean(zhat * dz, axis=-1, keepdims=True) if how.normalized else jnp.zeros_like(gain)
        moved = jnp.einsum("krc,kdc->krd", dz - zhat * along, centred)
        return dz + gain * (moved + forced), sum_paths(dz, how.n_paths)

    def stretch(dz: jax.Array, now: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        return jax.lax.scan(step, dz, (*now, jnp.einsum("tkrc,kdc->tkrd", now[0], dcentred)))

    def one(dz: jax.Array, now: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        return step(dz, (*now, jnp.einsum("krc,kdc->krd", now[0], dcentred)))

    length = _stretch_length(n_steps, rows.shape[1])
    if length == n_steps:
        dend, dbefore = stretch(drows, tuple(states))
    elif length == 1:
        dend, dbefore = jax.lax.scan(one, drows, tuple(states))
    else:
        split = [x.reshape(n_steps // length, length, *x.shape[1:]) for x in states]
        dend, dbefore = jax.lax.scan(stretch, drows, tuple(split))
        dbefore = dbefore.reshape(n_steps, *dbefore.shape[2:])
    return (end, before), (dend, dbefore)


def _take_steps(
    matrix: jax.Array, rows: jax.Array, n_steps: int, how: How, *, for_derivative: bool
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    """The rows after the last step; before each, with paths summed, and for the derivative z, mean and gain."""
    transposed = jnp.swapaxes(_centred(matrix, how), 1, 2)

    def step(z: jax.Array, _: None) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        if how.normalized:
            mean, gain = statistics(z, how.epsilon)
        else:
            mean, gain = jnp.zeros_like(z[..., :1]), jnp.ones_like(z[..., :1])
        moved = z + gain * jnp.einsum("krc,kcd->krd", z, transposed)
        summed = (sum_paths(z, how.n_paths),) if how.n_paths > 1 or not for_derivative else ()
        return moved, (*summed, *((z, mean, gain) if for_derivative else ()))

    return jax.lax.scan(step, rows, None, length=n_steps)


def _centred(matrix: jax.Array, how: How) -> jax.Array:
    """The matrix that does to z, up to the gain, what `matrix` does to zhat."""
    return matrix - jnp.mean(matrix, axis=-1, keepdims=True) if how.normalized else matrix


def _stretch_length(n_steps: int, n_rows: int) -> int:
    """How many steps share one product for the gradient: the divisor of their number nearest to `_ROWS` rows."""
    wanted = max(1.0, _ROWS / n_rows)
    return min((n for n in range(1, n_steps + 1) if n_steps % n == 0), key=lambda n: abs(math.log(n / wanted)))
