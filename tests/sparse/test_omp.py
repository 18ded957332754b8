"""Orthogonal matching pursuit against scikit-learn's, and at the edges."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import orthogonal_mp

from sfa_jax import sparse


def problems(rng, n, n_features=64, n_atoms=256):
    atoms = rng.standard_normal((n_atoms, n_features))
    return atoms / np.linalg.norm(atoms, axis=1, keepdims=True), rng.standard_normal((n, n_features))


def test_a_thousand_problems_are_scikit_learns(rng):
    atoms, signals = problems(rng, 1008)
    for k in range(1, 17):
        part = signals[(k - 1) * 63 : k * 63]
        expected = orthogonal_mp(atoms.T, part.T, n_nonzero_coefs=k).T
        with jax.enable_x64(True):
            found = sparse.omp(atoms, part, n_nonzero_coefs=k)
            np.testing.assert_array_equal(np.asarray(found.codes) != 0, expected != 0)
            np.testing.assert_allclose(found.codes, expected, atol=1e-5)
            np.testing.assert_allclose(found.residual, np.sum((part - expected @ atoms) ** 2, axis=1), atol=1e-8)
            np.testing.assert_array_equal(found.n_nonzero, k)


def test_single_precision_finds_the_same_atoms(rng):
    atoms, signals = problems(rng, 1000)
    expected = orthogonal_mp(atoms.T, signals.T, n_nonzero_coefs=16).T
    found = sparse.omp(atoms.astype(np.float32), signals.astype(np.float32), n_nonzero_coefs=16)
    same = ((np.asarray(found.codes) != 0) == (expected != 0)).all(axis=1)
    assert same.mean() >= 0.99
    np.testing.assert_allclose(np.asarray(found.codes)[same], expected[same], atol=1e-4)


def test_blocks_are_the_whole(rng):
    atoms, signals = (a.astype(np.float32) for a in problems(rng, 23, 8, 20))
    whole = sparse.omp(atoms, signals, n_nonzero_coefs=3)
    parts = sparse.omp(atoms, signals, n_nonzero_coefs=3, block_size=5)
    for a, b in zip(whole, parts, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("tol", [2.0, 20.0])
def test_ends_at_a_residual(tol, rng):
    atoms, signals = problems(rng, 20)
    expected = orthogonal_mp(atoms.T, signals.T, tol=tol).T
    with jax.enable_x64(True):
        found = jax.jit(lambda d, x: sparse.omp(d, x, tol=tol, n_nonzero_coefs=40))(atoms, signals)
        np.testing.assert_allclose(found.codes, expected, atol=1e-6)
        assert (np.asarray(found.residual) <= tol).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_copies_zeros_and_more_than_the_rank(dtype, rng):
    """Five directions in ten: each signal that has them ends at five atoms, no copy and no zero among them."""
    base = rng.standard_normal((5, 10))
    atoms = np.concatenate([base, base[:2], np.zeros((2, 10)), base[:1] + base[1:2], -base[2:3]]).astype(dtype)
    signals = np.concatenate([rng.standard_normal((4, 5)) @ base, np.zeros((1, 10)), rng.standard_normal((3, 10))])
    with jax.enable_x64(dtype == np.float64), warnings.catch_warnings():
        found = sparse.omp(atoms, signals.astype(dtype), n_nonzero_coefs=9)
        codes, support = np.asarray(found.codes), np.asarray(found.support)
    assert np.isfinite(codes).all()
    assert (found.n_nonzero[:4] <= 5).all()
    np.testing.assert_allclose(codes[:4] @ atoms, signals[:4], atol=1e-4)
    assert found.n_nonzero[4] == 0
    assert (codes[4] == 0).all()
    assert not np.isin(support, [7, 8]).any()
    best = signals[5:] @ np.linalg.pinv(base) @ base
    np.testing.assert_allclose(codes[5:] @ atoms, best, atol=1e-3)
    assert ((support >= 0).sum(axis=1) == found.n_nonzero).all()


def test_orthonormal_atoms_and_a_signal_that_is_no_number(rng):
    q = np.linalg.qr(rng.standard_normal((6, 6)))[0].astype(np.float32)
    x = rng.standard_normal((2, 6)).astype(np.float32)
    coefficients = x @ q.T
    found = sparse.omp(q, x, n_nonzero_coefs=2)
    largest = np.argsort(-np.abs(coefficients), axis=1)[:, :2]
    np.testing.assert_array_equal(found.support, largest)
    np.testing.assert_allclose(
        np.take_along_axis(np.asarray(found.codes), largest, 1), np.take_along_axis(coefficients, largest, 1), atol=1e-5
    )
    x[1, 3] = np.nan
    codes = np.asarray(sparse.omp(q, x, n_nonzero_coefs=2).codes)
    assert np.isfinite(codes[0]).all()
    assert np.isnan(codes[1]).all()
    assert sparse.omp(q, x[:0], n_nonzero_coefs=2).codes.shape == (0, 6)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda d, x: sparse.omp(d, x[:, :3]), ValueError, "dictionary, signals: expected"),
        (lambda d, x: sparse.omp(d, x, n_nonzero_coefs=5), ValueError, "n_nonzero_coefs: expected 1 to 4"),
        (lambda d, x: sparse.omp(d, x, block_size=0), ValueError, "block_size: expected at least 1"),
        (lambda d, x: sparse.omp(d, x, tol=-1.0), ValueError, "tol: expected at least 0"),
        (lambda d, x: sparse.omp(d, x.astype(int)), TypeError, "expected float32 or float64, the same of both"),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call(jnp.ones((7, 4)), jnp.ones((2, 4)))


def test_one_signal_without_a_batch(rng):
    dictionary, signals = rng.normal(size=(6, 4)).astype(np.float32), rng.normal(size=(3, 4)).astype(np.float32)
    for solve, tolerance in (
        (lambda x: sparse.omp(dictionary, x, n_nonzero_coefs=2), 1e-5),
        (lambda x: sparse.fista(dictionary, x, 0.1), 1e-4),
        (lambda x: sparse.ista(dictionary, x, 0.1), 1e-4),
    ):
        one, every = jax.jit(lambda x, solve=solve: (solve(x[1]), solve(x)))(signals)
        for found, expected in zip(one, every, strict=True):
            np.testing.assert_allclose(found, expected[1], rtol=tolerance, atol=tolerance)
    with pytest.raises(ValueError, match=r"expected \[n_atoms, n_features\]"):
        sparse.omp(dictionary, signals[0, :3], n_nonzero_coefs=2)
