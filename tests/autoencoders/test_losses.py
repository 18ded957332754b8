"""Losses of autoencoders against numerical integrals, Monte Carlo, and SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy import integrate, stats

from sfa_jax import autoencoders as ae


@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1.0), (1.5, 0.3), (-0.4, 2.0)])
def test_kl_is_the_integral(mean, deviation):
    q, p = stats.norm(mean, deviation), stats.norm()
    expected, _ = integrate.quad(lambda z: q.pdf(z) * (q.logpdf(z) - p.logpdf(z)), -25, 25, limit=200)
    found = ae.kl_to_standard_normal(jnp.array([[mean, 0.0]]), jnp.array([[2 * np.log(deviation), 0.0]]))
    np.testing.assert_allclose(found, [expected], atol=1e-5)


def test_kl_near_zero_is_not_lost_to_rounding():
    found = ae.kl_to_standard_normal(jnp.zeros((1, 1)), jnp.full((1, 1), 1e-3))
    np.testing.assert_allclose(found, [0.25e-6], rtol=1e-2)


def test_elbo_is_below_the_evidence_and_tight_at_the_posterior():
    """z standard normal, x = z + noise of deviation s: evidence and posterior are known."""
    s, x = 0.5, 0.7
    evidence = stats.norm(0, np.sqrt(1 + s**2)).logpdf(x)

    def mean_elbo(mean, variance):
        means, log_variances = jnp.full((200_000, 1), mean), jnp.full((200_000, 1), jnp.log(variance))
        z = ae.draw_gaussian(jax.random.key(0), means, log_variances)
        likelihood = ae.gaussian_log_likelihood(z, jnp.full_like(z, x), sigma=s)
        return float(ae.elbo(likelihood, ae.kl_to_standard_normal(means, log_variances)).mean())

    np.testing.assert_allclose(mean_elbo(x / (1 + s**2), s**2 / (1 + s**2)), evidence, atol=5e-3)
    assert mean_elbo(0.2, 0.4) < evidence - 0.05


def test_bernoulli_is_scipys():
    rng = np.random.default_rng(0)
    logits, x = rng.normal(0, 3, (4, 6)).astype(np.float32), rng.integers(0, 2, (4, 6)).astype(np.float32)
    expected = stats.bernoulli(1 / (1 + np.exp(-logits.astype(float)))).logpmf(x).sum(axis=1)
    np.testing.assert_allclose(ae.bernoulli_log_likelihood(logits, x), expected, rtol=1e-5)
    assert np.isfinite(ae.bernoulli_log_likelihood(jnp.array([[500.0, -500.0]]), jnp.array([[0.0, 1.0]]))).all()


def test_confident_pixels_are_not_lost_to_rounding():
    logits = jnp.array([[10.0], [16.0], [-12.0]])
    expected = [np.log1p(-1 / (1 + np.exp(10.0))), np.log1p(-1 / (1 + np.exp(16.0))), np.log1p(-1 / (1 + np.exp(12.0)))]
    found = ae.bernoulli_log_likelihood(logits, jnp.array([[1.0], [1.0], [0.0]]))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_deviation_may_be_learned():
    x = jnp.full((1, 4), 0.2)
    gradient = jax.grad(lambda sigma: ae.gaussian_log_likelihood(jnp.zeros((1, 4)), x, sigma=sigma)[0])(0.2)
    np.testing.assert_allclose(gradient, 0, atol=1e-4)  # the deviation of what is left is the likeliest


def test_gaussian_is_scipys():
    rng = np.random.default_rng(0)
    drawn, x = rng.random((2, 3, 5)).astype(np.float32)
    expected = stats.norm(drawn, 0.3).logpdf(x).sum(axis=1)
    np.testing.assert_allclose(ae.gaussian_log_likelihood(drawn, x, sigma=0.3), expected, rtol=1e-5)


def test_drawn_codes_have_the_moments():
    z = ae.draw_gaussian(jax.random.key(0), jnp.full((100_000, 1), 2.0), jnp.full((100_000, 1), np.log(0.25)))
    np.testing.assert_allclose([z.mean(), z.std()], [2, 0.5], atol=0.01)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    """Sums over an image of 100 x 100 pixels have more digits than it has, or leave its range."""
    a, b = (jnp.asarray(np.random.default_rng(k).random((1, 10_000)) * 9, dtype) for k in range(2))
    for loss in (
        ae.reconstruction_loss,
        ae.kl_to_standard_normal,
        ae.bernoulli_log_likelihood,
        lambda a, _: ae.l1_penalty(a),
        lambda a, b: ae.gaussian_log_likelihood(a, b, sigma=0.1),
    ):
        found = loss(a, b)
        assert found.dtype == jnp.float32
        np.testing.assert_array_equal(found, loss(a.astype(jnp.float32), b.astype(jnp.float32)))
    assert ae.draw_gaussian(jax.random.key(0), a, -b).dtype == dtype


def test_gradients():
    with jax.enable_x64(True):
        a, b = (jax.random.normal(jax.random.key(k), (2, 3)) for k in range(2))
        x = jax.random.uniform(jax.random.key(2), (2, 3))
        check_grads(ae.kl_to_standard_normal, (a, b), order=2)
        check_grads(lambda a: ae.bernoulli_log_likelihood(a, x), (a,), order=2)
        check_grads(lambda a, b: ae.draw_gaussian(jax.random.key(3), a, b), (a, b), order=1)
        check_grads(ae.l1_penalty, (a,), order=1)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ae.l1_penalty(jnp.ones((1, 3), int)), TypeError, "codes: expected floating point"),
        (lambda: ae.kl_to_standard_normal(jnp.ones((2, 3)), jnp.ones((2, 1))), ValueError, r"log_variance: .*\(2, 3\)"),
        (
            lambda: ae.bernoulli_log_likelihood(jnp.ones((2, 3)), jnp.ones((1, 3))),
            ValueError,
            "logits: expected the shape",
        ),
        (lambda: ae.elbo(jnp.ones(2), jnp.ones((2, 1))), ValueError, "kl: expected the shape"),
        (
            lambda: ae.elbo(jnp.ones(2), jnp.ones(2), beta=jnp.ones(2)),
            ValueError,
            "beta: expected one number, got shape",
        ),
        (lambda: ae.draw_gaussian(jax.random.key(0), jnp.ones(2), jnp.ones(2)), ValueError, "mean: expected shape"),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
