"""The recursive reading of the average: every cell from the mean of the steps of its neighbours."""

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from sfa_jax.finola._march import How, advance, sum_paths

if TYPE_CHECKING:
    from sfa_jax.finola._params import Matrices


def grow_from_neighbours(
    steps: "Matrices", q: jax.Array, shape: tuple[int, int], start: tuple[int, int], order: str, how: How
) -> jax.Array:
    """The map of q `[batch, n_paths, channels]`, a diagonal of all four quadrants at a time.

    A quadrant's cell (i, j), i rows and j columns away from the start, lies on the diagonal i + j; its neighbours
    (i - 1, j) and (i, j - 1) on the one before it. On the axes there is only one.
    """
    del order
    batch, n_paths, channels = q.shape
    (height, width), (row, column) = shape, start
    n_rows, n_columns = max(row, height - 1 - row) + 1, max(column, width - 1 - column) + 1
    vertical = jnp.stack([steps.down, steps.down, steps.up, steps.up])
    horizontal = jnp.stack([steps.right, steps.left, steps.right, steps.left])
    i = jnp.arange(n_rows)

    def next_diagonal(z: jax.Array, d: jax.Array) -> tuple[jax.Array, jax.Array]:
        """From `[4, n_rows, batch * n_paths, channels]`, row i of it the cell (i, d - 1 - i), to diagonal d."""
        place = i[None, :, None, None]
        # Where the last diagonal has no cell, the start stands in: of zeros the norm may have no finite gradient.
        flat = jnp.where((place < d) & (d - place <= n_columns), z, first[:, :1])
        flat = flat.reshape(4, n_rows * batch * n_paths, channels)
        from_side = advance(horizontal, flat, how).reshape(z.shape)
        from_above = advance(vertical, flat, how).reshape(z.shape)
        from_above = jnp.concatenate([jnp.zeros_like(from_above[:, :1]), from_above[:, :-1]], axis=1)
        mean = jnp.where(place == 0, from_side, jnp.where(place == d, from_above, 0.5 * (from_side + from_above)))
        z = jnp.where((place <= d) & (d - place < n_columns), mean, 0)
        return z, sum_paths(z, how.n_paths)

    first = jnp.zeros((4, n_rows, batch * n_paths, channels), q.dtype).at[:, 0].set(q.reshape(1, -1, channels))
    body = jax.checkpoint(next_diagonal) if how.rematerialise else next_diagonal
    _, rest = jax.lax.scan(body, first, jnp.arange(1, n_rows + n_columns - 1))
    diagonals = jnp.concatenate([sum_paths(first, n_paths)[None], rest])  # [n_diagonals, 4, n_rows, batch, channels]
    rows, columns = jnp.arange(n_rows)[:, None], jnp.arange(n_columns)[None]
    right_down, left_down, right_up, left_up = (diagonals[rows + columns, k, rows] for k in range(4))
    upper = jnp.concatenate([left_up[row:0:-1, column:0:-1], right_up[row:0:-1, : width - column]], axis=1)
    lower = jnp.concatenate(
        [left_down[: height - row, column:0:-1], right_down[: height - row, : width - column]], axis=1
    )
    return jnp.moveaxis(jnp.concatenate([upper, lower]), 2, 0)
