"""Masked FINOLA: the sources of masked cells, and what is predicted from them."""

import itertools

import jax
import numpy as np
import pytest

from sfa_jax import finola


@pytest.mark.parametrize(("height", "width"), [(16, 16), (4, 6)])
def test_every_masked_cell_has_one_source_wherever_the_block_is(height, width):
    for corner in itertools.product(range(height // 2 + 1), range(width // 2 + 1)):
        found = finola.block_sources(height, width, corner)
        assert (~found.masked).sum() == height * width // 4
        assert not found.masked[found.row, found.column].any()
        uses = np.zeros((height, width), int)
        np.add.at(uses, (found.row[found.masked], found.column[found.masked]), 1)
        assert (uses[~found.masked] == 3).all()
        np.testing.assert_array_equal(found.row + found.rows, np.indices((height, width))[0])
        np.testing.assert_array_equal(found.column + found.columns, np.indices((height, width))[1])
        elements = finola.element_sources(height, width, corner)
        np.testing.assert_array_equal(elements.masked, found.masked)
        assert len(np.unique(elements.row[elements.masked] * width + elements.column[elements.masked])) == 1


def test_the_example_of_the_paper():
    found = finola.block_sources(16, 16, (0, 0))
    for cell in ((11, 2), (3, 10), (11, 10)):
        assert (found.row[cell], found.column[cell]) == (3, 2)


def test_prediction_equals_a_loop():
    params = finola.init_params(jax.random.key(0), 5)
    right, left, down, up = (np.asarray(matrix, np.float64) for matrix in finola.matrices(params))
    z = np.asarray(jax.random.normal(jax.random.key(1), (2, 2, 3, 5)))
    corner = (1, 2)
    found = finola.block_sources(4, 6, corner)
    whole = finola.predict_from_block(params, z, found)

    def step(cell, matrix):
        return cell + matrix @ ((cell - cell.mean()) / np.sqrt(cell.var() + 1e-6))

    for r, c in np.ndindex(4, 6):
        source = z[1, found.row[r, c] - corner[0], found.column[r, c] - corner[1]].astype(np.float64)
        x = (right if found.columns[r, c] > 0 else left) if found.columns[r, c] else None
        y = (down if found.rows[r, c] > 0 else up) if found.rows[r, c] else None
        expected = source
        if x is not None and y is not None:
            expected = (step(step(source, x), y) + step(step(source, y), x)) / 2
        elif x is not None or y is not None:
            expected = step(source, y if x is None else x)
        np.testing.assert_allclose(whole[1, r, c], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((5, 4, (0, 0)), "height: expected an even"),
        ((4, 4.0, (0, 0)), "width: expected an even"),
        ((4, 4, (3, 0)), "corner: expected a row from 0 to 2"),
        ((4, 4, (1.5, 0)), "corner: expected a row and a column, two whole numbers"),
    ],
)
def test_bad_blocks(arguments, message):
    for sources in (finola.block_sources, finola.element_sources):
        with pytest.raises(ValueError, match=message):
            sources(*arguments)
