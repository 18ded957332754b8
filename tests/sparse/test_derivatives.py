"""Derivatives of codes: of the solution for lasso codes, of the fit on the picked atoms for pursuit."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from sfa_jax.sparse import convolutional_fista, fista, ista, omp


@pytest.fixture
def problem(rng):
    """A dictionary, signals and alpha in float64, away from kinks; the last signal is coded by nothing."""
    with jax.enable_x64(True):
        signals = rng.normal(size=(3, 4)) * np.array([[1.0], [2.0], [0.01]])
        return jnp.asarray(rng.normal(size=(6, 4))), jnp.asarray(signals), jnp.asarray(0.5)


@pytest.mark.parametrize(("solver", "positive"), [(fista, False), (fista, True), (ista, False)])
def test_lasso_codes_against_finite_differences(problem, solver, positive):
    with jax.enable_x64(True):
        codes = jax.jit(lambda *args: solver(*args, positive=positive, tol=1e-18, max_iter=20_000).codes)
        found = codes(*problem)
        assert (found[:2] != 0).any()
        assert (found[2] == 0).all()
        check_grads(codes, problem, 1, modes=["fwd", "rev"], eps=1e-6)


def test_second_derivatives_of_codes(problem):
    """Of a Hessian-vector product, against differences of the gradient."""
    with jax.enable_x64(True):
        atoms, signals, alpha = problem

        @jax.jit
        def gradient(atoms):
            return jax.grad(lambda atoms: jnp.sum(fista(atoms, signals, alpha, tol=1e-18).codes ** 2))(atoms)

        move = jnp.asarray(np.random.default_rng(1).normal(size=atoms.shape))
        product = jax.jit(lambda atoms, move: jax.jvp(gradient, (atoms,), (move,))[1])(atoms, move)
        differences = (gradient(atoms + 1e-5 * move) - gradient(atoms - 1e-5 * move)) / 2e-5
    np.testing.assert_allclose(product, differences, rtol=1e-5, atol=1e-5)


def test_codes_under_vmap_and_in_blocks(problem):
    """Each signal's gradient by itself is its part of that of all, however they are coded."""
    atoms, signals, alpha = (jnp.asarray(x, jnp.float32) for x in problem)

    def loss(signals, **options):
        return jnp.sum(jnp.sin(fista(atoms, signals, alpha, tol=1e-6, **options).codes))

    whole = jax.jit(jax.grad(loss))(signals)
    np.testing.assert_allclose(jax.jit(jax.vmap(jax.grad(loss)))(signals), whole, atol=1e-4)
    np.testing.assert_allclose(jax.jit(jax.grad(functools.partial(loss, block_size=2)))(signals), whole, atol=1e-4)


def test_maps_of_filters_against_finite_differences(rng):
    with jax.enable_x64(True):
        filters, image = jnp.asarray(rng.normal(size=(2, 2, 2, 1))), jnp.asarray(rng.normal(size=(3, 4, 1)))
        codes = jax.jit(lambda *args: convolutional_fista(*args, tol=1e-18, max_iter=20_000).codes)
        check_grads(codes, (filters, image, jnp.asarray(0.3)), 1, modes=["fwd", "rev"], eps=1e-6)


def test_what_has_no_code_spoils_no_gradient(problem):
    """A signal that is nan has a code of nan; one that a pursuit explains has nothing left, whose root has no slope."""
    atoms, signals, alpha = (jnp.asarray(x, jnp.float32) for x in problem)
    spoiled = signals.at[1].set(jnp.nan)
    explained = signals.at[0].set(2 * atoms[0]).at[1].set(jnp.inf)
    for encode, x in (
        (lambda d, x: fista(d, x, alpha).codes, spoiled),
        (lambda d, x: omp(d, x, n_nonzero_coefs=2).codes, explained),
    ):
        loss = lambda d, x, encode=encode: jnp.sum(jnp.where(jnp.isfinite(x[:, :1]), encode(d, x), 0) ** 2)  # noqa: E731
        for gradient in jax.jit(jax.grad(loss, (0, 1)))(atoms, x):
            assert np.isfinite(gradient).all()


def test_pursuit_holds_its_atoms(problem):
    """Codes and what is left: derivatives of the least squares fit on the picked atoms."""
    with jax.enable_x64(True):
        atoms, signals, _ = problem

        def pursue(atoms, signals):
            found = omp(atoms, signals, n_nonzero_coefs=2)
            return found.codes, found.path

        check_grads(jax.jit(pursue), (atoms, signals), 1, modes=["fwd", "rev"], eps=1e-6)
