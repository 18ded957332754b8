"""Masked FINOLA: from a visible block of a map to everything around it.

A quarter of the map, half of each side, is visible wherever it lies. Element-wise: the block is pooled to one vector
that stands at its middle, and FINOLA grows the whole map. Block-wise: every visible cell predicts three masked cells,
those that lie half the map's side away from it, in x, in y and in both.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from sfa_jax.finola._norm import EPSILON, as_vectors, check_epsilon, normalize
from sfa_jax.finola._params import FinolaParams, is_whole, matrices


class MaskedSources(NamedTuple):
    """Where each cell of a map is predicted from, `[height, width]` each.

    Attributes:
      masked: bool, true where a cell is to be predicted.
      row, column: int32, of the visible cell that it is predicted from (a visible cell's own).
      rows, columns: int32, how far away from it that is, in cells, negative upwards and to the left.
    """

    masked: np.ndarray
    row: np.ndarray
    column: np.ndarray
    rows: np.ndarray
    columns: np.ndarray


def block_sources(height: int, width: int, corner: tuple[int, int]) -> MaskedSources:
    """Block-wise: every masked cell has one source in the visible block, half a side away.

    A visible cell (r, c) predicts ((r + height / 2) mod height, c), (r, (c + width / 2) mod width) and both together.

    Args:
      height, width: of the map, in cells, even.
      corner: row and column of the upper left cell of the visible block of height / 2 x width / 2 cells, anywhere.

    Returns:
      `MaskedSources`.

    Raises:
      ValueError: a side is odd, or the block does not fit.

    References:
      Chen et al., arXiv 2310.12976 (masked FINOLA): visible (3, 2) predicts (11, 2), (3, 10) and (11, 10). That a
      block may lie anywhere is this library's.

    >>> found = block_sources(16, 16, (0, 0))
    >>> found.row[11, 10].item(), found.column[11, 10].item(), found.rows[11, 10].item()
    (3, 2, 8)
    """
    _check_block(height, width, corner)
    row, rows = _axis_sources(height, corner[0])
    column, columns = _axis_sources(width, corner[1])
    grid = np.meshgrid(row, column, indexing="ij"), np.meshgrid(rows, columns, indexing="ij")
    (row, column), (rows, columns) = grid
    return MaskedSources((rows != 0) | (columns != 0), row, column, rows, columns)


def element_sources(height: int, width: int, corner: tuple[int, int]) -> MaskedSources:
    """Element-wise: the source of every masked cell is the middle of the visible block, where the pooled vector stands.

    Args:
      height, width, corner: as in `block_sources`; the middle is the cell (height // 4, width // 4) of the block.

    Returns:
      `MaskedSources`; `autoregress` from the source as its `start` gives the prediction of all of them.

    Raises:
      ValueError: as `block_sources`.

    >>> found = element_sources(16, 16, (0, 0))
    >>> found.row[15, 0].item(), found.rows[15, 0].item(), found.columns[15, 0].item()
    (4, 11, -4)
    """
    _check_block(height, width, corner)
    middle = corner[0] + height // 4, corner[1] + width // 4
    row, column = np.mgrid[:height, :width].astype(np.int32)
    inside_rows = (row >= corner[0]) & (row < corner[0] + height // 2)
    masked = ~(inside_rows & (column >= corner[1]) & (column < corner[1] + width // 2))
    source_row, source_column = np.where(masked, middle[0], row), np.where(masked, middle[1], column)
    return MaskedSources(masked, source_row, source_column, row - source_row, column - source_column)


def predict_from_block(
    params: FinolaParams, z: ArrayLike, sources: MaskedSources, *, epsilon: float = EPSILON
) -> jax.Array:
    """Block-wise masked FINOLA: the whole map from its visible block, every masked cell in one long step or two.

    In x: z + A zhat, in y: z + B zhat, in both: the mean of the two orders. A step to the left or upwards takes the
    backward matrix.

    Args:
      params: from `init_params`; one step here goes half a side.
      z: the visible cells, `[..., height / 2, width / 2, channels]`, floating point.
      sources: from `block_sources`.
      epsilon: of the norm.

    Returns:
      `[..., height, width, channels]`, the visible cells as they are.

    Raises:
      TypeError: z is not floating point.
      ValueError: the shapes do not fit each other.

    References:
      Chen et al., arXiv 2310.12976 (masked FINOLA); that both steps are the mean of two orders is this library's.
    """
    z = as_vectors(z, "z")
    check_epsilon(epsilon)
    dtype = jnp.result_type(z, params.a)
    steps = jax.tree.map(lambda matrix: matrix.astype(dtype), matrices(params))
    z = z.astype(dtype)
    height, width = sources.masked.shape
    expected = (height // 2, width // 2, steps.right.shape[0])
    if z.ndim < 3 or z.shape[-3:] != expected:
        raise ValueError(f"z: expected shape [..., {', '.join(map(str, expected))}], got {z.shape}")

    def step(cells: jax.Array, forward: jax.Array, backward: jax.Array, ahead: np.ndarray) -> jax.Array:
        zhat = normalize(cells, epsilon=epsilon)
        return cells + jnp.where(ahead[..., None], jnp.matmul(zhat, forward.T), jnp.matmul(zhat, backward.T))

    # Over the whole map: each cell's source, and in which direction it lies from there.
    corner = sources.row.min(), sources.column.min()
    source = z[..., sources.row - corner[0], sources.column - corner[1], :]
    right, down = sources.columns > 0, sources.rows > 0

    def along_x(cells: jax.Array) -> jax.Array:
        return step(cells, steps.right, steps.left, right)

    def along_y(cells: jax.Array) -> jax.Array:
        return step(cells, steps.down, steps.up, down)

    in_x, in_y = along_x(source), along_y(source)
    both = 0.5 * (along_y(in_x) + along_x(in_y))
    moved_x, moved_y = (sources.columns != 0)[..., None], (sources.rows != 0)[..., None]
    return jnp.where(moved_x & moved_y, both, jnp.where(moved_x, in_x, jnp.where(moved_y, in_y, source)))


def _axis_sources(side: int, first: int) -> tuple[np.ndarray, np.ndarray]:
    """Along one axis: the visible place each place is predicted from, and the signed distance."""
    place = np.arange(side)
    visible = (place >= first) & (place < first + side // 2)
    source = np.where(visible, place, (place + side // 2) % side)
    return source.astype(np.int32), (place - source).astype(np.int32)


def _check_block(height: int, width: int, corner: tuple[int, int]) -> None:
    for name, side in (("height", height), ("width", width)):
        if not is_whole(side) or side < 2 or side % 2:
            raise ValueError(
                f"{name}: expected an even number of cells, so that half of them can be visible, got {side!r}"
            )
    if np.shape(corner) != (2,) or not all(map(is_whole, corner)):
        raise ValueError(f"corner: expected a row and a column, two whole numbers, got {corner!r}")
    row, column = corner
    if not (0 <= row <= height // 2 and 0 <= column <= width // 2):
        raise ValueError(
            f"corner: expected a row from 0 to {height // 2} and a column from 0 to {width // 2}, so that the block of "
            f"{height // 2} x {width // 2} cells lies on the map, got {tuple(corner)}"
        )
