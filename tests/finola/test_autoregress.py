"""Norm+linear autoregression against loops written from its equations."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from sfa_jax import finola
from sfa_jax.finola import _march

STATIC = ("order", "start", "normalized", "rematerialise")
autoregress = jax.jit(finola.autoregress, static_argnums=(2, 3), static_argnames=STATIC)
multipath = jax.jit(finola.multipath, static_argnums=(2, 3), static_argnames=STATIC)
MAPS = [(5, 5, "center"), (6, 4, "center"), (4, 7, (0, 5)), (1, 5, "center"), (3, 1, (2, 0)), (1, 1, "center")]


def loop(params, q, height, width, order, start, *, normalized=True):
    """z of one q, a cell at a time, in float64."""
    right, left, down, up = (np.asarray(matrix, np.float64) for matrix in finola.matrices(params))
    row, column = (height // 2, width // 2) if start == "center" else start

    def step(z, matrix):
        return z + matrix @ ((z - z.mean()) / np.sqrt(z.var() + 1e-6) if normalized else z)

    def along(z, cells, matrix):
        for now, then in itertools.pairwise(cells):
            z[then] = step(z[now], matrix)

    def along_row(z, r):
        along(z, [(r, c) for c in range(column, width)], right)
        along(z, [(r, c) for c in range(column, -1, -1)], left)

    def along_column(z, c):
        along(z, [(r, c) for r in range(row, height)], down)
        along(z, [(r, c) for r in range(row, -1, -1)], up)

    def lines(name):
        z = np.full((height, width, len(q)), np.nan)
        z[row, column] = q
        if name == "x_first":
            along_row(z, row)
            for c in range(width):
                along_column(z, c)
        else:
            along_column(z, column)
            for r in range(height):
                along_row(z, r)
        return z

    if order != "neighbours":
        names = ("x_first", "y_first") if order == "average" else (order,)
        return np.mean([lines(name) for name in names], axis=0)
    z = np.zeros((height, width, len(q)))
    z[row, column] = q
    cells = sorted(np.ndindex(height, width), key=lambda cell: abs(cell[0] - row) + abs(cell[1] - column))
    for r, c in cells[1:]:
        sides = [step(z[r, c - 1], right)] if c > column else [step(z[r, c + 1], left)] if c < column else []
        ends = [step(z[r - 1, c], down)] if r > row else [step(z[r + 1, c], up)] if r < row else []
        z[r, c] = np.mean(sides + ends, axis=0)
    return z


@pytest.mark.parametrize("order", finola.ORDERS)
@pytest.mark.parametrize(("height", "width", "start"), MAPS)
def test_equals_a_loop_over_cells(height, width, start, order):
    params = finola.init_params(jax.random.key(1), 6, scale=0.5)
    q = jax.random.normal(jax.random.key(2), (2, 3, 6))
    z = multipath(params, q, height, width, order=order, start=start)
    expected = sum(loop(params, np.asarray(path, np.float64), height, width, order, start) for path in q[1])
    assert z.shape == (2, height, width, 6)
    np.testing.assert_allclose(z[1], expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("speeds", finola.SPEEDS)
@pytest.mark.parametrize("directions", finola.DIRECTIONS)
def test_every_parametrisation(directions, speeds):
    params = finola.init_params(jax.random.key(1), 6, directions=directions, speeds=speeds, scale=0.5)
    q = jax.random.normal(jax.random.key(2), (6,))
    for normalized in (True, False):
        z = autoregress(params, q, 5, 5, normalized=normalized)
        expected = loop(params, np.asarray(q, np.float64), 5, 5, "average", "center", normalized=normalized)
        np.testing.assert_allclose(z, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_paths_are_summed_and_axes_are_shared():
    params = finola.init_params(jax.random.key(1), 8)
    q = jax.random.normal(jax.random.key(2), (3, 8))
    single = autoregress(params, q, 6, 7)
    np.testing.assert_allclose(multipath(params, q, 6, 7), single.sum(0), rtol=1e-5, atol=1e-5)
    steps, z = finola.matrices(params), single[0]
    for order in finola.ORDERS:
        z = autoregress(params, q[0], 6, 7, order=order)
        on_row, on_column = z[3, 3:], z[3:, 3]
        moved = on_row[:-1] + jnp.matmul(finola.normalize(on_row[:-1]), steps.right.T)
        np.testing.assert_allclose(on_row[1:], moved, atol=3e-6)
        moved = on_column[:-1] + jnp.matmul(finola.normalize(on_column[:-1]), steps.down.T)
        np.testing.assert_allclose(on_column[1:], moved, atol=3e-6)
    np.testing.assert_allclose(jnp.sum(finola.normalize(z), axis=-1), 0, atol=1e-5)


@pytest.mark.parametrize("scale", [0.2, 1.0])
def test_stays_finite_for_256_steps(scale):
    params = finola.init_params(jax.random.key(1), 16, scale=scale)
    z = autoregress(params, jnp.arange(16.0), 3, 257, start=(1, 0))
    assert np.isfinite(z).all()
    assert np.linalg.norm(z[1, -1]) <= np.linalg.norm(z[1, 0]) + 256 * 4 * np.linalg.norm(params.a, 2)
    for q in (jnp.zeros(16), jnp.full(16, 3.0), 1e6 * z[0, 0], 1e-12 * z[0, 0]):
        assert np.isfinite(autoregress(params, q, 4, 4)).all()


@pytest.mark.parametrize("order", ["average", "neighbours"])
def test_gradients(order):
    with jax.enable_x64(True):
        q = jax.random.normal(jax.random.key(2), (2, 2, 8))
        for speeds, again in (("free", True), ("real", False)):
            params = finola.init_params(jax.random.key(1), 8, speeds=speeds)

            def run(params, q, again=again):
                return finola.multipath(params, q, 3, 4, order=order, rematerialise=again)

            check_grads(jax.jit(run), (params, q), order=1)


@pytest.mark.parametrize(("n_steps", "rows"), [(1, 1024), (5, 1), (4, 12), (5, 1024)])
@pytest.mark.parametrize("normalized", [True, False])
def test_derivative_by_hand_is_that_of_the_plain_loop(normalized, n_steps, rows, monkeypatch):
    monkeypatch.setattr(_march, "_ROWS", rows)
    how = _march.How(2, normalized, 1e-6, False)
    with jax.enable_x64(True):
        matrix, z = (jax.random.normal(jax.random.key(k), s) for k, s in ((0, (2, 8, 8)), (1, (2, 6, 8))))

        def ours(matrix, z):
            return _march._steps(tuple(0.1 * matrix), tuple(z), n_steps, how)

        def plain(matrix, z):
            before = []
            for _ in range(n_steps):
                before.append(_march.sum_paths(z, 2))
                z = _march.advance(0.1 * matrix, z, how)
            return tuple(z), tuple(jnp.stack(before, axis=1))

        for transform in (lambda f: jax.jit(jax.jacfwd(f, 1)), lambda f: jax.jit(jax.jacrev(f, (0, 1)))):
            found, expected = (jax.tree.leaves(transform(f)(matrix, z)) for f in (ours, plain))
            for a, b in zip(found, expected, strict=True):
                np.testing.assert_allclose(a, b, atol=1e-11)


def test_second_derivatives():
    with jax.enable_x64(True):
        params = finola.init_params(jax.random.key(1), 6)
        q = jax.random.normal(jax.random.key(2), (1, 6))
        check_grads(jax.jit(lambda q: finola.autoregress(params, q, 1, 3)), (q,), order=2)


@pytest.mark.parametrize("order", ["average", "neighbours"])
def test_no_images_and_constant_ones(order):
    params = finola.init_params(jax.random.key(1), 6)
    assert autoregress(params, jnp.zeros((0, 6)), 3, 4, order=order).shape == (0, 3, 4, 6)
    q = jnp.arange(6.0)
    total = jax.jit(lambda params: finola.autoregress(params, q, 3, 4, order=order, epsilon=0.0).sum())
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(jax.grad(total)(params)))


def test_half_precision_keeps_its_range():
    z = jnp.array([1000.0, -1000.0], jnp.float16)
    assert finola.normalize(z).tolist() == [1, -1]
    assert np.isfinite(finola.normalize(jnp.ones(4, jnp.float16), epsilon=1e-8)).all()


def test_ensembles_by_vmap():
    keys = jax.random.split(jax.random.key(0), 3)
    params = jax.vmap(lambda key: finola.init_params(key, 6))(keys)
    q = jax.random.normal(jax.random.key(1), (6,))
    z = jax.jit(jax.vmap(lambda params: finola.autoregress(params, q, 4, 4)))(params)
    for k, key in enumerate(keys):
        np.testing.assert_allclose(z[k], autoregress(finola.init_params(key, 6), q, 4, 4), atol=1e-5)


def test_as_many_weights_as_the_paper_says():
    """A latent of 16,384: 268 M weights a matrix by one path, 1.05 M by 16."""
    for n_paths, expected in ((1, 268_435_456), (16, 1_048_576)):
        channels = 16_384 // n_paths
        params = jax.eval_shape(lambda channels=channels: finola.init_params(jax.random.key(0), channels))
        assert params.a.size == params.b_minus.size == expected


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda p, q: finola.autoregress(p, q, 4, 4, order="x"), ValueError, "order: expected one of"),
        (lambda p, q: finola.autoregress(p, q, 0, 4), ValueError, "height: expected a whole number of cells"),
        (lambda p, q: finola.autoregress(p, q, 4, 4.0), ValueError, "width: expected a whole number of cells"),
        (lambda p, q: finola.autoregress(p, q, 4, 4, start=(2.7, 1)), ValueError, "start: .* two whole numbers, got"),
        (lambda p, q: finola.autoregress(p, q, 4, 4, start=(1, 2, 3)), ValueError, "start: .* two whole numbers, got"),
        (lambda p, q: finola.autoregress(p, q, 4, 4, epsilon=-1.0), ValueError, "epsilon: expected at least 0"),
        (lambda p, q: finola.autoregress(p, q, 4, 4, start=(4, 0)), ValueError, "start: expected a cell"),
        (lambda p, q: finola.autoregress(p, q, 4, 4, start="corner"), ValueError, "start: expected 'center'"),
        (lambda p, q: finola.autoregress(p, q[None, :5], 4, 4), ValueError, r"q: .* axis of 6 .* got \(1, 5\)"),
        (lambda p, q: finola.multipath(p, jnp.ones((2, 0, 6)), 4, 4), ValueError, "q: expected shape"),
        (lambda p, q: finola.repeat(q, 4, 4), ValueError, "q: expected shape"),
        (lambda p, q: finola.repeat(q[None], 4, 0), ValueError, "width: expected a whole number"),
        (lambda p, q: finola.autoregress(p, jnp.arange(6), 4, 4), TypeError, "q: expected floating point"),
        (lambda p, q: finola.multipath(p, q, 4, 4), ValueError, "q: expected shape"),
        (lambda p, q: finola.init_params(jax.random.key(0), 1), ValueError, "channels: expected at least 2"),
        (lambda p, q: finola.init_params(jax.random.key(0), 4, speeds="x"), ValueError, "speeds: expected one of"),
        (
            lambda p, q: finola.matrices(finola.FinolaParams(p.a, p.b)),
            ValueError,
            "params.a_minus: expected a value",
        ),
    ],
)
def test_bad_arguments(call, error, message):
    params = finola.init_params(jax.random.key(1), 6)
    with pytest.raises(error, match=message):
        call(params, jnp.ones(6))
