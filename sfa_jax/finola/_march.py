"""Steps of norm+linear in several directions at once.

A lane is a set of rows that take the same steps: z <- z + A zhat. What costs time is the products of rows and matrices;
what is built around them is ruled by memory:

- A zhat = gain (A - mean over its columns) z, so that zhat itself is never stored.
- The derivative is written by hand (`custom_jvp`, so that forward, reverse and higher derivatives all work). Its
  steps are linear; what they take from dA is one product over the rows of several steps, and its transpose, the
  gradient of A, too. Left to itself, reverse mode adds to a whole matrix at every step.
- Paths are summed in the step, so that only what is asked for leaves it.
- Each lane has its own arrays. Stacked, the products would be one batched product, which XLA on CPU computes no faster,
  and what it reads and writes would be copied to and fro.
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


Lanes = tuple[jax.Array, ...]  # one array a lane


class State(NamedTuple):
    """What the derivative of a step needs: the rows before it, their means, and 1 / their standard deviations."""

    z: jax.Array
    mean: jax.Array
    gain: jax.Array


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
            take = _rematerialised if how.rematerialise else _steps
            end, before = take(tuple(lanes[k].matrix for k in going), tuple(rows[k] for k in going), n_steps, how)
            for k, rows[k], steps in zip(going, end, before, strict=True):
                seen[k].append(steps)
                left[k] -= n_steps
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


def _rematerialised(matrices: Lanes, rows: Lanes, n_steps: int, how: How) -> tuple[Lanes, Lanes]:
    """`_steps` in stretches of about sqrt(n_steps) whose inside is not kept for the derivative."""
    length = max(1, math.isqrt(n_steps))
    whole, rest = divmod(n_steps, length)

    def stretch(rows: Lanes, n_steps: int) -> tuple[Lanes, Lanes]:
        return jax.checkpoint(lambda matrices, rows: _steps(matrices, rows, n_steps, how))(matrices, rows)

    rows, before = jax.lax.scan(lambda rows, _: stretch(rows, length), rows, None, length=whole)
    before = tuple(x.reshape(whole * length, *x.shape[2:]) for x in before)
    if not rest:
        return rows, before
    rows, more = stretch(rows, rest)
    return rows, tuple(jnp.concatenate(parts) for parts in zip(before, more, strict=True))


@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def _steps(matrices: Lanes, rows: Lanes, n_steps: int, how: How) -> tuple[Lanes, Lanes]:
    """Takes steps.

    Args:
      matrices: `[channels, channels]` of each lane.
      rows: `[n_rows, channels]` of each lane.
      n_steps: how many, at least 1.
      how: options.

    Returns:
      The rows after the last step, and before each one, paths summed: `[n_steps, n_rows / n_paths, channels]`.
    """
    return _take_steps(matrices, rows, n_steps, how, for_derivative=False)[:2]


@_steps.defjvp
def _steps_jvp(
    n_steps: int, how: How, primals: tuple[Lanes, Lanes], tangents: tuple[Lanes, Lanes]
) -> tuple[tuple[Lanes, Lanes], tuple[Lanes, Lanes]]:
    (matrices, rows), (dmatrices, drows) = primals, tangents
    end, before, states = _take_steps(matrices, rows, n_steps, how, for_derivative=True)
    centred, dcentred = ([_centred(matrix, how) for matrix in lanes] for lanes in (matrices, dmatrices))

    def move(dz: jax.Array, now: State, forced: jax.Array, centred: jax.Array) -> jax.Array:
        zhat = (now.z - now.mean) * now.gain
        along = jnp.mean(zhat * dz, axis=-1, keepdims=True) if how.normalized else jnp.zeros_like(now.gain)
        return dz + now.gain * (_times(dz - zhat * along, centred) + forced)

    # Checkpointed, or jax would compute zhat for all steps beforehand and keep it.
    @functools.partial(jax.checkpoint, prevent_cse=False)
    def step(dz: Lanes, now: tuple[tuple[State, ...], Lanes]) -> tuple[Lanes, Lanes]:
        moved = tuple(move(*lane) for lane in zip(dz, *now, centred, strict=True))
        return moved, tuple(sum_paths(x, how.n_paths) for x in dz)

    def force(states: tuple[State, ...]) -> Lanes:
        return tuple(_times(now.z, matrix) for now, matrix in zip(states, dcentred, strict=True))

    def stretch(dz: Lanes, now: tuple[State, ...]) -> tuple[Lanes, Lanes]:
        return jax.lax.scan(step, dz, (now, force(now)))

    length = _stretch_length(n_steps, rows[0].shape[0])
    if length == n_steps:
        dend, dbefore = stretch(drows, states)
    elif length == 1:
        dend, dbefore = jax.lax.scan(lambda dz, now: step(dz, (now, force(now))), drows, states)
    else:
        split = jax.tree.map(lambda x: x.reshape(n_steps // length, length, *x.shape[1:]), states)
        dend, dbefore = jax.lax.scan(stretch, drows, split)
        dbefore = tuple(x.reshape(n_steps, *x.shape[2:]) for x in dbefore)
    return (end, before), (dend, dbefore)


def _take_steps(
    matrices: Lanes, rows: Lanes, n_steps: int, how: How, *, for_derivative: bool
) -> tuple[Lanes, Lanes, tuple[State, ...]]:
    """The rows after the last step; before each, with paths summed; and before each, what the derivative needs."""
    centred = [_centred(matrix, how) for matrix in matrices]

    def move(z: jax.Array, matrix: jax.Array) -> tuple[jax.Array, State]:
        if how.normalized:
            mean, gain = statistics(z, how.epsilon)
        else:
            mean, gain = jnp.zeros_like(z[..., :1]), jnp.ones_like(z[..., :1])
        return z + gain * _times(z, matrix), State(z, mean, gain)

    def step(z: Lanes, _: None) -> tuple[Lanes, tuple[Lanes, tuple[State, ...]]]:
        moved, states = zip(*map(move, z, centred), strict=True)
        # With one path the states hold all that is asked for.
        summed = () if for_derivative and how.n_paths == 1 else tuple(sum_paths(x, how.n_paths) for x in z)
        return moved, (summed, states if for_derivative else ())

    end, (summed, states) = jax.lax.scan(step, rows, None, length=n_steps)
    return end, summed or tuple(state.z for state in states), states


def _centred(matrix: jax.Array, how: How) -> jax.Array:
    """The matrix that does to z, up to the gain, what `matrix` does to zhat."""
    return matrix - jnp.mean(matrix, axis=-1, keepdims=True) if how.normalized else matrix


def _times(rows: jax.Array, matrix: jax.Array) -> jax.Array:
    """The matrix times each row. Written without a transposition, which XLA would repeat in every step."""
    return jnp.einsum("...c,dc->...d", rows, matrix)


def _stretch_length(n_steps: int, n_rows: int) -> int:
    """How many steps share one product for the gradient: the divisor of their number nearest to `_ROWS` rows."""
    wanted = max(1.0, _ROWS / max(n_rows, 1))
    return min((n for n in range(1, n_steps + 1) if n_steps % n == 0), key=lambda n: abs(math.log(n / wanted)))
