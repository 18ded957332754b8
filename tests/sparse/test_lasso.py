"""Lasso codes against scikit-learn's two solvers, and their duality gap as a bound."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.decomposition import sparse_encode

from sfa_jax import sparse


def problem(rng, n=30, n_features=16, n_atoms=40):
    atoms = rng.standard_normal((n_atoms, n_features))
    return atoms / np.linalg.norm(atoms, axis=1, keepdims=True), rng.standard_normal((n, n_features))


def objective(codes, atoms, signals, alpha):
    return 0.5 * np.sum((signals - codes @ atoms) ** 2, axis=1) + alpha * np.abs(codes).sum(axis=1)


@pytest.mark.parametrize("alpha", [0.05, 0.5])
@pytest.mark.parametrize("positive", [False, True])
def test_objective_is_scikit_learns(alpha, positive, rng):
    atoms, signals = problem(rng)
    options = {"alpha": alpha, "positive": positive}
    with jax.enable_x64(True):
        found = jax.jit(lambda d, x: sparse.fista(d, x, alpha, positive=positive, tol=1e-9, max_iter=20_000))(
            atoms, signals
        )
        assert found.converged.all()
        ours = objective(np.asarray(found.codes), atoms, signals, alpha)
    assert not positive or (np.asarray(found.codes) >= 0).all()
    for algorithm, more in (("lasso_cd", {"max_iter": 100_000}), ("lasso_lars", {"max_iter": 1000})):
        codes = sparse_encode(signals, atoms, algorithm=algorithm, **options, **more)
        theirs = objective(codes, atoms, signals, alpha)
        assert (ours <= theirs * (1 + 1e-6) + 1e-12).all()
        if algorithm == "lasso_lars" and not positive:
            np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize("solve", [sparse.ista, sparse.fista])
def test_the_gap_is_a_bound_whenever_it_stops(solve, rng):
    atoms, signals = problem(rng)
    with jax.enable_x64(True):
        best = objective(
            np.asarray(sparse.fista(atoms, signals, 0.1, tol=1e-10, max_iter=20_000).codes), atoms, signals, 0.1
        )
        for max_iter in (1, 7, 25, 100):
            found = solve(atoms, signals, 0.1, tol=0.0, max_iter=max_iter)
            above = objective(np.asarray(found.codes), atoms, signals, 0.1) - best
            assert (above <= np.asarray(found.gap) + 1e-9).all()
            np.testing.assert_array_equal(found.n_iterations, max_iter)
        loose = solve(atoms, signals, 0.1, tol=1e-2)
    scale = 0.5 * np.sum(signals**2, axis=1)
    assert loose.converged.all()
    assert (np.asarray(loose.gap) <= 1e-2 * scale).all()


def test_orthonormal_atoms_are_a_soft_threshold(rng):
    q = np.linalg.qr(rng.standard_normal((8, 8)))[0].astype(np.float32)
    x = rng.standard_normal((5, 8)).astype(np.float32)
    found = sparse.fista(q, x, 0.4)
    np.testing.assert_allclose(found.codes, sparse.soft_threshold(x @ q.T, 0.4), atol=1e-4)


def test_zeros_large_penalties_and_single_precision(rng):
    atoms, signals = (a.astype(np.float32) for a in problem(rng))
    none = sparse.fista(atoms, signals, 1e3)
    assert (np.asarray(none.codes) == 0).all()
    assert none.converged.all()
    assert (none.n_iterations == 0).all()
    assert (np.asarray(sparse.fista(atoms, 0 * signals, 0.1).codes) == 0).all()
    assert np.isfinite(sparse.fista(0 * atoms, signals, 0.1).codes).all()
    broken = sparse.fista(atoms, np.where(np.arange(30)[:, None] == 3, np.nan, signals), 0.1)
    assert np.isnan(broken.codes[3]).all()
    assert not broken.converged[3]
    assert np.isfinite(np.delete(broken.codes, 3, axis=0)).all()
    reached = sparse.fista(atoms, signals, 0.1, tol=3e-6, max_iter=3000)
    assert reached.converged.all()
    parts = sparse.fista(atoms, signals, 0.1, block_size=7)
    np.testing.assert_allclose(parts.codes, sparse.fista(atoms, signals, 0.1).codes, atol=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d, x: sparse.fista(d, x, -1.0), "alpha: expected a number of at least 0"),
        (lambda d, x: sparse.ista(d, x, jnp.ones(2)), "alpha: expected a number"),
        (lambda d, x: sparse.fista(d, x, 1.0, tol=-1.0), "tol: expected at least 0"),
        (lambda d, x: sparse.fista(d, x, 1.0, max_iter=0), "max_iter: expected at least 1"),
        (lambda d, x: sparse.fista(d, x[:, :2], 1.0), "dictionary, signals: expected"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call(jnp.ones((7, 4)), jnp.ones((2, 4)))


def test_a_broken_atom_is_told():
    atoms = jnp.eye(3).at[1, 2].set(jnp.nan)
    found = sparse.fista(atoms, jnp.ones((2, 3)), 0.1)
    assert np.isnan(found.codes).all()
    assert not found.converged.any()
    assert np.isnan(sparse.omp(atoms, jnp.ones((2, 3))).codes).all()
