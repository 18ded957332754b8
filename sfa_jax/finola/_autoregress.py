"""FINOLA: a feature map that grows from one vector by first-order norm+linear autoregression."""

import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from sfa_jax.finola._march import How, Lane, march
from sfa_jax.finola._neighbours import grow_from_neighbours
from sfa_jax.finola._norm import EPSILON, as_vectors, check_epsilon
from sfa_jax.finola._params import FinolaParams, Matrices, channels_of, is_whole, matrices

Order = Literal["average", "x_first", "y_first", "neighbours"]
ORDERS = ("average", "x_first", "y_first", "neighbours")
Start = Literal["center"] | tuple[int, int]


def autoregress(
    params: FinolaParams,
    q: ArrayLike,
    height: int,
    width: int,
    *,
    order: Order = "average",
    start: Start = "center",
    normalized: bool = True,
    epsilon: float = EPSILON,
    rematerialise: bool = False,
) -> jax.Array:
    """The map that grows from q by steps of norm+linear.

    z(y, x+1) = z(y, x) + A zhat(y, x),  z(y+1, x) = z(y, x) + B zhat(y, x),  zhat of `normalize`,

    to the left and upwards with matrices of their own (`FinolaParams`). x is the column, y the row. The two recurrences
    do not commute, so the order matters off the row and the column of the start:

    - "x_first": the row through the start, then from it all columns at once; "y_first": the other way round.
    - "average": the mean of these two maps, the default.
    - "neighbours": z(y, x) is the mean of the steps from its two neighbours nearer to the start, taken recursively.
      Sequential along the diagonals and slow: a reference, for those who read the paper in this way.

    The first three advance in lock step, both orders and all directions in one scan; a map takes about as many
    sequential steps as half its height and half its width. Gradients are exact, forward and reverse.

    Args:
      params: from `init_params`.
      q: `[..., channels]`, floating point.
      height, width: of the map, in cells, at least 1.
      order: as above.
      start: the cell of q as (row, column), or "center": (height // 2, width // 2).
      normalized: False leaves the norm out, z + A z, for ablations.
      epsilon: of the norm.
      rematerialise: keep every sqrt(steps)-th step for the gradient and take the others again: memory for about a third
        more work. For large maps of many paths.

    Returns:
      z, `[..., height, width, channels]`.

    Raises:
      TypeError: q is not floating point.
      ValueError: an argument is out of its range, or the shapes do not fit each other.

    References:
      Chen et al., "Exploring Invariance in Images through One-way Wave Equations", arXiv 2310.12976, section 3. The
      start on an even grid, the backward matrices and the reading of the average are choices of this library.

    >>> from sfa_jax.finola import init_params
    >>> params = init_params(jax.random.key(0), 8)
    >>> autoregress(params, jnp.ones((2, 8)), 5, 7).shape
    (2, 5, 7, 8)
    """
    q = as_vectors(q, "q")
    check_channels(params, q)
    options = How(1, normalized, epsilon, rematerialise)
    return _grow(params, q[..., None, :], height, width, order, start, options)


def multipath(
    params: FinolaParams,
    q: ArrayLike,
    height: int,
    width: int,
    *,
    order: Order = "average",
    start: Start = "center",
    normalized: bool = True,
    epsilon: float = EPSILON,
    rematerialise: bool = False,
) -> jax.Array:
    """The sum of the maps that grow from several vectors with the same matrices.

    z = sum_m autoregress(params, q_m)

    The latent has `n_paths * channels` numbers, and the matrices only `channels^2` weights each: at 16,384 numbers one
    path needs 268 million weights a matrix, 16 paths 1.05 million.

    Args:
      params: from `init_params`.
      q: `[..., n_paths, channels]`, floating point.
      height, width, order, start, normalized, epsilon, rematerialise: as in `autoregress`.

    Returns:
      z, `[..., height, width, channels]`.

    Raises:
      TypeError, ValueError: as `autoregress`.

    References:
      Chen et al., arXiv 2310.12976, section 4 (multi-path FINOLA).

    >>> from sfa_jax.finola import init_params
    >>> multipath(init_params(jax.random.key(0), 8), jnp.ones((2, 4, 8)), 5, 7).shape
    (2, 5, 7, 8)
    """
    q = as_vectors(q, "q")
    if q.ndim < 2 or not q.shape[-2]:
        raise ValueError(f"q: expected shape [..., n_paths, channels], got {q.shape}; one path is `autoregress`")
    check_channels(params, q)
    return _grow(params, q, height, width, order, start, How(q.shape[-2], normalized, epsilon, rematerialise))


def repeat(q: ArrayLike, height: int, width: int) -> jax.Array:
    """q at every position, or the sum of its paths: the ablation without any autoregression.

    Args:
      q: `[..., n_paths, channels]`.
      height, width: of the map, in cells.

    Returns:
      `[..., height, width, channels]`.

    Raises:
      TypeError, ValueError: as `multipath`.

    >>> repeat(jnp.ones((2, 3, 8)), 4, 4)[0, 0, 0, 0].item()
    3.0
    """
    q = as_vectors(q, "q")
    if q.ndim < 2:
        raise ValueError(f"q: expected shape [..., n_paths, channels], got {q.shape}")
    start_cell(height, width, "center")
    total = jnp.sum(q, axis=-2)
    return jnp.broadcast_to(total[..., None, None, :], (*total.shape[:-1], height, width, total.shape[-1]))


def start_cell(height: int, width: int, start: Start) -> tuple[int, int]:
    """The row and column of q.

    Raises:
      ValueError: the map is empty or the cell lies outside it.
    """
    for name, side in (("height", height), ("width", width)):
        if not is_whole(side) or side < 1:
            raise ValueError(f"{name}: expected a whole number of cells, at least 1, got {side!r}")
    if isinstance(start, str) and start == "center":
        return height // 2, width // 2
    if isinstance(start, str) or np.shape(start) != (2,) or not all(map(is_whole, start)):
        raise ValueError(f"start: expected 'center' or (row, column), two whole numbers, got {start!r}")
    row, column = start
    if not (0 <= row < height and 0 <= column < width):
        raise ValueError(f"start: expected a cell of the {height} x {width} map, got row {row}, column {column}")
    return int(row), int(column)


def check_channels(params: FinolaParams, q: jax.Array) -> None:
    """Raises where vectors do not fit the matrices.

    Raises:
      ValueError: they have another number of channels.
    """
    channels = channels_of(params)
    if q.shape[-1] != channels:
        raise ValueError(f"q: expected a last axis of {channels} channels as the parameters have, got {q.shape}")


def _grow(
    params: FinolaParams, q: jax.Array, height: int, width: int, order: Order, start: Start, how: How
) -> jax.Array:
    """The map of q `[..., n_paths, channels]`, paths summed."""
    if order not in ORDERS:
        raise ValueError(f"order: expected one of {ORDERS}, got {order!r}")
    cell = start_cell(height, width, start)
    check_epsilon(how.epsilon)
    steps, channels = matrices(params), q.shape[-1]
    dtype = jnp.result_type(q, steps.right)
    steps = Matrices(*(matrix.astype(dtype) for matrix in steps))
    leading = q.shape[:-2]
    flat = q.reshape(math.prod(leading), *q.shape[-2:]).astype(dtype)
    grow = grow_from_neighbours if order == "neighbours" else _grow_in_lines
    z = grow(steps, flat, (height, width), cell, order, how)
    return z.reshape(*leading, height, width, channels)


def _grow_in_lines(
    steps: Matrices, q: jax.Array, shape: tuple[int, int], start: tuple[int, int], order: Order, how: How
) -> jax.Array:
    """One line through the start, then all lines across it: `[batch, height, width, channels]`."""
    batch, n_paths, channels = q.shape
    (height, width), (row, column) = shape, start
    to_sides = ((steps.right, width - 1 - column), (steps.left, column))
    to_ends = ((steps.down, height - 1 - row), (steps.up, row))
    flat = q.reshape(batch * n_paths, channels)
    ways = {"x_first": (to_sides,), "y_first": (to_ends,)}.get(order, (to_sides, to_ends))
    found = march([Lane(matrix, flat, n) for way in ways for matrix, n in way], how._replace(n_paths=1))
    lanes = []
    for k, way in enumerate(ways):
        line = _join(*found[2 * k : 2 * k + 2])  # [length, batch * n_paths, channels]
        # The batch outermost, so that a batch that is shared over devices stays where it is.
        across = jnp.moveaxis(line.reshape(len(line), batch, n_paths, channels), 0, 1)
        across = across.reshape(len(line) * batch * n_paths, channels)
        lanes += [Lane(matrix, across, n) for matrix, n in (to_ends if way is to_sides else to_sides)]
    filled = march(lanes, how)
    maps = []
    for k, way in enumerate(ways):
        z = _join(*filled[2 * k : 2 * k + 2])  # [across, batch * along, channels]
        z = z.reshape(len(z), batch, width if way is to_sides else height, channels)
        maps.append(jnp.transpose(z, (1, 0, 2, 3) if way is to_sides else (1, 2, 0, 3)))
    return maps[0] if len(maps) == 1 else 0.5 * (maps[0] + maps[1])


def _join(forward: jax.Array, backward: jax.Array) -> jax.Array:
    """The cells before the start, the start, and those after it, from steps that both begin with the start."""
    return jnp.concatenate([backward[:0:-1], forward])
