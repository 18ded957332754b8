"""Sampled and interpolated codes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sfa_jax import autoencoders as ae

KEY = jax.random.key(0)


def test_samples_have_the_marginals_and_the_correlations(rng):
    """Of a sparse code: zeros as often, values as large, and numbers that are active together stay together."""
    hidden = rng.standard_normal((5000, 2)) @ np.linalg.cholesky([[1, 0.8], [0.8, 1]]).T
    codes = np.concatenate([np.maximum(hidden - 0.5, 0) ** 2, rng.exponential(size=(5000, 1))], axis=1)
    codes = codes.astype(np.float32)
    found = np.asarray(ae.sample_codes(KEY, ae.fit_code_distribution(codes), 20_000))
    np.testing.assert_allclose((found > 0).mean(axis=0), (codes > 0).mean(axis=0), atol=0.02)
    for level in (0.5, 0.8, 0.95):
        np.testing.assert_allclose(
            np.quantile(found, level, axis=0), np.quantile(codes, level, axis=0), rtol=0.1, atol=0.03
        )
    both = lambda z: np.mean((z[:, 0] > 0) & (z[:, 1] > 0))  # noqa: E731
    np.testing.assert_allclose(both(found), both(codes), atol=0.015)
    np.testing.assert_allclose(np.corrcoef(found[:, :2].T), np.corrcoef(codes[:, :2].T), atol=0.04)
    assert abs(np.corrcoef(found[:, 0], found[:, 2])[0, 1]) < 0.05
    assert found.min() >= codes.min()
    assert found.max() <= codes.max()


@pytest.mark.parametrize("threshold", [0.5, 1.3, 2.0])
def test_rare_numbers_stay_rare_and_together(threshold, rng):
    """Active on 31 %, 10 % and 2 % of the images."""
    hidden = rng.standard_normal((8000, 2)) @ np.linalg.cholesky([[1, 0.8], [0.8, 1]]).T
    codes = np.maximum(hidden - threshold, 0).astype(np.float32)
    fitted = ae.fit_code_distribution(codes)
    found = np.asarray(ae.sample_codes(KEY, fitted, 200_000))
    np.testing.assert_allclose((found > 0).mean(axis=0), (codes > 0).mean(axis=0), rtol=0.03)
    np.testing.assert_allclose(found.mean(axis=0), codes.mean(axis=0), rtol=0.08)
    active = [np.mean((z > 0).all(axis=1)) for z in (found, codes)]
    np.testing.assert_allclose(active[0], active[1], rtol=0.15)
    np.testing.assert_allclose((fitted.cholesky @ fitted.cholesky.T)[0, 1], 0.8, atol=0.06)


def test_correlations_that_no_normal_variables_have(rng):
    """Of three numbers that exclude each other: R is raised to a matrix of correlations, and samples stay finite."""
    codes = np.eye(3, dtype=np.float32)[rng.integers(0, 3, 300)]
    fitted = ae.fit_code_distribution(codes)
    r = np.asarray(fitted.cholesky @ fitted.cholesky.T)
    np.testing.assert_allclose(np.diag(r), 1, rtol=1e-5)
    assert np.linalg.eigvalsh(r).min() > 0
    found = np.asarray(ae.sample_codes(KEY, fitted, 1000))
    assert np.isfinite(found).all()
    assert np.corrcoef(found.T)[0, 1] < -0.2


def test_numbers_that_never_change():
    codes = jnp.stack([jnp.arange(10.0), jnp.full(10, 3.0)], axis=1)
    found = ae.sample_codes(KEY, ae.fit_code_distribution(codes), 50)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[:, 1], 3, rtol=1e-6)


def test_interpolation():
    a, b = jnp.array([[2.0, 0.0], [1.0, 1.0]]), jnp.array([[0.0, 2.0], [3.0, 3.0]])
    straight = ae.interpolate(a, b, 5)
    assert straight.shape == (2, 5, 2)
    np.testing.assert_allclose(straight[0, 2], [1, 1])
    turned = np.asarray(ae.interpolate(a, b, 5, path="spherical"))
    np.testing.assert_allclose(np.linalg.norm(turned[0], axis=-1), 2, rtol=1e-5)
    np.testing.assert_allclose(turned[0, 2], [2**0.5, 2**0.5], rtol=1e-5)
    np.testing.assert_allclose(turned[1], straight[1], atol=1e-5)  # one direction: no angle to turn by
    np.testing.assert_allclose(turned[:, [0, -1]], np.stack([a, b], axis=1), atol=1e-6)


@pytest.mark.parametrize("path", ["linear", "spherical"])
def test_gradient_of_interpolation(path):
    """Also where there is no arc: equal codes, parallel ones, opposite ones, and 0."""
    b = jnp.array([1.0, 0.0])
    for a in ([0.3, 2.0], [1.0, 0.0], [3.0, 0.0], [-1.0, 0.0], [0.0, 0.0]):
        gradient = jax.grad(lambda a: ae.interpolate(a, b, 3, path=path).sum())(jnp.array(a))
        assert np.isfinite(gradient).all()
    np.testing.assert_allclose(ae.interpolate(jnp.zeros(2), b, 3, path=path)[1], [0.5, 0], atol=1e-6)


def test_types_of_codes():
    for first, last in ((jnp.zeros(2, int), jnp.ones(2, int)), (jnp.zeros(2), jnp.ones(2, int))):
        with pytest.raises(TypeError, match="first, last: expected one floating point type"):
            ae.interpolate(first, last, 3)
    with pytest.raises(TypeError, match="codes: expected floating point"):
        ae.fit_code_distribution(jnp.ones((5, 3), int))


def test_prior():
    z = np.asarray(ae.sample_prior(KEY, 5000, 4))
    np.testing.assert_allclose([z.mean(), z.std()], [0, 1], atol=0.02)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ae.fit_code_distribution(jnp.ones((1, 3))), "codes: expected shape"),
        (lambda: ae.fit_code_distribution(jnp.ones((5, 3)), floor=0.0), "floor: expected above 0"),
        (lambda: ae.interpolate(jnp.ones(3), jnp.ones(2), 3), "last: expected the shape"),
        (lambda: ae.interpolate(jnp.ones(3), jnp.ones(3), 1), "n_steps: expected at least 2"),
        (lambda: ae.interpolate(jnp.ones(3), jnp.ones(3), 3, path="arc"), "path: expected"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
