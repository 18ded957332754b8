"""Codes of whole images: the drawing against a loop, the adjoint, and the lasso of the dictionary written out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sfa_jax import sparse


def written_out(filters, rows, columns):
    """Every filter at every place as the atoms of a dictionary, `[places * n_filters, rows * columns * channel]`."""
    k, height, width, channel = filters.shape
    shape = rows + height - 1, columns + width - 1
    atoms = np.zeros((*shape, k, rows, columns, channel))
    for y in range(shape[0]):
        for x in range(shape[1]):
            for a in range(height):
                for b in range(width):
                    i, j = y + a - height + 1, x + b - width + 1
                    if 0 <= i < rows and 0 <= j < columns:
                        atoms[y, x, :, i, j] = filters[:, a, b]
    return atoms.reshape(shape[0] * shape[1] * k, -1)


@pytest.mark.parametrize("channel", [1, 3])
def test_maps_are_the_dictionary_written_out(channel, rng):
    filters = rng.standard_normal((3, 2, 3, channel))
    images = rng.standard_normal((2, 5, 6, channel))
    atoms = written_out(filters, 5, 6)
    codes = rng.standard_normal((2, 6, 8, 3))
    with jax.enable_x64(True):
        drawn = sparse.draw_maps(filters, codes)
        np.testing.assert_allclose(drawn.reshape(2, -1), codes.reshape(2, -1) @ atoms, atol=1e-12)
        for positive in (False, True):
            options = {"positive": positive, "tol": 1e-8, "max_iter": 20_000}
            found = jax.jit(lambda d, x, o=options: sparse.convolutional_fista(d, x, 0.3, **o))(filters, images)
            same = sparse.fista(atoms, images.reshape(2, -1), 0.3, **options)
            assert found.converged.all()
            value = [
                0.5 * np.sum((images.reshape(2, -1) - z @ atoms) ** 2, 1) + 0.3 * np.abs(z).sum(1)
                for z in (np.asarray(found.codes).reshape(2, -1), np.asarray(same.codes))
            ]
            np.testing.assert_allclose(value[0], value[1], rtol=1e-7)


def test_blocks_single_precision_and_broken_images(rng):
    filters = rng.standard_normal((4, 3, 3, 1)).astype(np.float32)
    images = rng.standard_normal((5, 8, 8, 1)).astype(np.float32)
    images[2, 3, 3] = np.nan
    found = sparse.convolutional_fista(filters, images, 0.5, block_size=2)
    assert np.isnan(found.codes[2]).all()
    assert np.isfinite(np.delete(found.codes, 2, axis=0)).all()
    assert np.delete(found.converged, 2).all()
    assert not found.converged[2]
    whole = sparse.convolutional_fista(filters, images[:2], 0.5)
    np.testing.assert_allclose(found.codes[:2], whole.codes, atol=1e-4)
    assert (sparse.convolutional_fista(0 * filters, images[:1], 0.5).codes == 0).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d, x: sparse.convolutional_fista(d[0], x, 1.0), "filters, images: expected"),
        (lambda d, x: sparse.convolutional_fista(d, x[..., :0], 1.0), "filters, images: expected"),
        (lambda d, x: sparse.convolutional_fista(d, x, -1.0), "alpha: expected"),
        (lambda d, x: sparse.convolutional_fista(d, x, 1.0, block_size=0), "block_size: expected"),
        (lambda d, x: sparse.draw_maps(d, x), "filters, codes: expected"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call(jnp.ones((2, 3, 3, 1)), jnp.ones((2, 6, 6, 1)))


def test_one_image_is_coded_without_an_axis_of_images(rng):
    filters, images = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in ((2, 2, 2, 1), (2, 4, 5, 1)))
    one, many = (sparse.convolutional_fista(filters, x, 0.5, max_iter=50) for x in (images[0], images))
    np.testing.assert_allclose(one.codes, many.codes[0], atol=1e-4)
    np.testing.assert_allclose(
        sparse.draw_maps(filters, one.codes), sparse.draw_maps(filters, many.codes)[0], atol=1e-3
    )
