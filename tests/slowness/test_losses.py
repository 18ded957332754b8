"""The soft objective against hand-computed values, an independent NumPy computation, and its known optima."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.test_util import check_grads

from sfa_jax import slowness

# One program each instead of one for every operation in it; test_transformations compares the two.
sfa_loss, slowness_loss = jax.jit(slowness.sfa_loss), jax.jit(slowness.slowness_loss)
variance_loss, correlation_loss = jax.jit(slowness.variance_loss), jax.jit(slowness.correlation_loss)
two_batch_penalties = jax.jit(slowness.two_batch_penalties)


@pytest.fixture
def pairs(rng):
    y_tm1 = rng.normal(size=(50, 6)) @ rng.normal(size=(6, 6)) + 3.0
    return y_tm1 + 0.3 * rng.normal(size=(50, 6)), y_tm1


def numpy_losses(y_t, y_tm1):
    """The formula of noskill/sfa-gen's README, term by term."""
    c = np.cov(y_t, rowvar=False, bias=True)
    off = c[~np.eye(len(c), dtype=bool)]
    slow = np.mean(np.sum((y_t - y_tm1) ** 2, axis=1))
    return slow, np.mean((np.diag(c) - 1) ** 2), np.sum(off**2) / c.size


def test_hand_computed():
    y_t, y_tm1 = jnp.array([[2.0, 1.0], [0.0, 1.0]]), jnp.array([[1.0, 1.0], [1.0, 3.0]])
    # Changes (1, 0) and (-1, -2): mean of 1 and 5. C = diag(1, 0): mean of 0 and 1. No correlation.
    assert [float(term) for term in sfa_loss(y_t, y_tm1)] == [3.5, 3.0, 0.5, 0.0]


def test_equals_numpy_in_float64(pairs):
    with jax.enable_x64(True):
        found = sfa_loss(*pairs, slowness_weight=0.5, variance_weight=2.0, correlation_weight=3.0)
        slow, var, corr = numpy_losses(*pairs)
        np.testing.assert_allclose(found, (0.5 * slow + 2 * var + 3 * corr, slow, var, corr), rtol=1e-12)
        np.testing.assert_allclose(variance_loss(pairs[0]), var, rtol=1e-12)
        np.testing.assert_allclose(correlation_loss(pairs[0]), corr, rtol=1e-12)
        np.testing.assert_allclose(slowness_loss(*pairs), slow, rtol=1e-12)


def test_equals_numpy_in_float32(pairs):
    found = sfa_loss(*(y.astype(np.float32) for y in pairs))
    slow, var, corr = numpy_losses(*pairs)
    np.testing.assert_allclose(found, (slow + var + corr, slow, var, corr), rtol=2e-5)


def test_mask_is_leaving_out(pairs):
    y_t, y_tm1 = (jnp.asarray(y, jnp.float32) for y in pairs)
    mask = jnp.arange(50) % 3 > 0
    broken = jnp.where(mask[:, None], y_t, jnp.nan)
    found = sfa_loss(broken, y_tm1, mask=mask)
    np.testing.assert_allclose(found, sfa_loss(y_t[mask], y_tm1[mask]), rtol=1e-5)
    gradient = jax.jit(jax.grad(lambda y: sfa_loss(y, y_tm1, mask=mask).total))(broken)
    assert np.isfinite(gradient).all()
    assert np.all(np.asarray(gradient)[~np.asarray(mask)] == 0)


def test_masks_count_as_non_zero(pairs):
    y_t, y_tm1 = (jnp.asarray(y, jnp.float32) for y in pairs)
    mask = jnp.arange(50) % 3 > 0
    found = sfa_loss(y_t, y_tm1, mask=mask.astype(jnp.uint8) * 255)
    np.testing.assert_array_equal(found, sfa_loss(y_t, y_tm1, mask=mask))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(
    "loss",
    [
        lambda a, b, m: slowness.slowness_loss(a, b, mask=m),
        lambda a, b, m: slowness.variance_loss(a, mask=m) + slowness.variance_loss(b, mask=m),
        lambda a, b, m: slowness.correlation_loss(a, mask=m) + slowness.correlation_loss(b, mask=m),
        lambda a, b, m: slowness.sfa_loss(a, b, mask=m).total,
        lambda a, b, m: slowness.whitened_slowness_loss(a, b, mask=m),
        lambda a, b, m: slowness.vamp2_loss(a, b, mask=m),
        lambda a, b, m: slowness.log_variance_penalty(a, mask=m) + slowness.log_variance_penalty(b, mask=m),
        lambda a, b, m: sum(slowness.two_batch_penalties(a, b, mask_a=m, mask_b=m)),
    ],
    ids=["slowness", "variance", "correlation", "sfa", "whitened", "vamp2", "log_variance", "two_batch"],
)
def test_what_a_mask_hides_leaves_nothing(loss, value, pairs):
    """NaN or infinity under mask 0: the same value, the same gradient, and 0 where the mask is."""
    y_t, y_tm1 = (jnp.asarray(y, jnp.float32) for y in pairs)
    mask = jnp.arange(50) % 3 > 0
    broken = [jnp.where(mask[:, None], y, value) for y in (y_t, y_tm1)]
    run = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
    expected, right = run(y_t, y_tm1, mask)
    for a, b in [broken, (broken[0], y_tm1), (y_t, broken[1])]:
        found, gradients = run(a, b, mask)
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        for gradient, wanted in zip(gradients, right, strict=True):
            np.testing.assert_allclose(gradient, wanted, rtol=1e-5, atol=1e-6)
            np.testing.assert_array_equal(np.asarray(gradient)[~np.asarray(mask)], 0)


def test_all_masked_is_finite(pairs):
    found = sfa_loss(*(jnp.asarray(y, jnp.float32) for y in pairs), mask=jnp.zeros(50))
    np.testing.assert_allclose(found, (1.0, 0.0, 1.0, 0.0))


def test_leading_axes_are_samples(pairs):
    y_t, y_tm1 = (jnp.asarray(y, jnp.float32) for y in pairs)
    clips = sfa_loss(y_t.reshape(5, 10, 6), y_tm1.reshape(5, 10, 6))
    np.testing.assert_allclose(clips, sfa_loss(y_t, y_tm1), rtol=1e-6)


def test_invariances(pairs, rng):
    y_t, y_tm1 = pairs
    rotation, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    with jax.enable_x64(True):
        loss = sfa_loss(y_t, y_tm1)
        np.testing.assert_allclose(sfa_loss(y_t + 5, y_tm1 + 5), loss, rtol=1e-10)
        turned = sfa_loss(y_t @ rotation, y_tm1 @ rotation)
        np.testing.assert_allclose(turned.slowness, loss.slowness, rtol=1e-10)
        # Rotation keeps ||C - I||_F, of which both penalties are parts with the "equal" scaling.
        whole = [6 * (a.variance + 6 * a.correlation) for a in (loss, turned)]
        np.testing.assert_allclose(whole[0], whole[1], rtol=1e-10)
        np.testing.assert_allclose(slowness_loss(y_tm1, y_t), loss.slowness, rtol=1e-12)


@pytest.mark.parametrize(
    "loss",
    [
        lambda a, b: slowness.slowness_loss(a, b),
        lambda a, b: slowness.variance_loss(a),
        lambda a, b: slowness.correlation_loss(a),
        lambda a, b: slowness.sfa_loss(a, b).total,
        lambda a, b: slowness.whitened_slowness_loss(a, b, epsilon=1e-2),
        lambda a, b: slowness.vamp2_loss(a, b, epsilon=1e-2),
        lambda a, b: slowness.log_variance_penalty(a),
        lambda a, b: sum(slowness.two_batch_penalties(a, b)),
    ],
    ids=["slowness", "variance", "correlation", "sfa", "whitened", "vamp2", "log_variance", "two_batch"],
)
def test_transformations(loss, pairs):
    with jax.enable_x64(True):
        a, b = jnp.asarray(pairs[0]), jnp.asarray(pairs[1])
        jitted = jax.jit(loss)
        np.testing.assert_allclose(jitted(a, b), loss(a, b), rtol=1e-10)
        stacked = jax.jit(jax.vmap(loss))(jnp.stack([a, b]), jnp.stack([b, a]))
        np.testing.assert_allclose(stacked, [jitted(a, b), jitted(b, a)], rtol=1e-10)
        check_grads(jitted, (a, b), order=1, modes=["rev"])


def test_two_batches_are_unbiased(rng):
    """White data: one batch of N gives 2/N and (1 - 1/D)/N, two give 0 on average."""
    n, dim, trials = 20, 4, 4000
    y = jnp.asarray(rng.normal(size=(trials, 2, n, dim)), jnp.float32)
    variance, correlation = jax.jit(jax.vmap(lambda y: two_batch_penalties(y[0], y[1])))(y)
    biased = jax.jit(jax.vmap(lambda y: variance_loss(y[0])))(y)
    assert abs(float(variance.mean())) < 4 * float(variance.std()) / np.sqrt(trials)
    assert abs(float(correlation.mean())) < 4 * float(correlation.std()) / np.sqrt(trials)
    assert float(biased.mean()) == pytest.approx(2 / n, rel=0.1)


def test_two_batches_equal_numpy(rng):
    a, b = rng.normal(size=(11, 3)), rng.normal(size=(7, 3))
    product = (np.cov(a, rowvar=False) - np.eye(3)) * (np.cov(b, rowvar=False) - np.eye(3))
    with jax.enable_x64(True):
        variance, correlation = two_batch_penalties(a, b)
    np.testing.assert_allclose(variance, np.trace(product) / 3, rtol=1e-12)
    np.testing.assert_allclose(correlation, (product.sum() - np.trace(product)) / 9, rtol=1e-12)


def surviving(deltas, factor):
    """c_k = max(0, m + D (1 - m) - D factor_k), m = mean(c), by bisection on m."""
    dim = len(deltas)
    low, high = 0.0, 1.0
    for _ in range(200):
        m = (low + high) / 2
        c = np.maximum(0, m + dim * (1 - m) - dim * factor * deltas / 2)
        low, high = (m, high) if c.mean() > m else (low, m)
    return c


@pytest.mark.parametrize("scaling", ["readme", "author", "equal"])
def test_optimum_of_a_linear_head(scaling):
    """On sources of known Delta, gradient descent on a linear map ends at the covariance that theory gives."""
    dim = 8
    deltas = np.geomspace(0.02, 1.9, dim)
    expected = {
        "equal": np.maximum(0, 1 - deltas / 2),
        "author": surviving(deltas, 1.0),
        "readme": surviving(deltas, dim),
    }[scaling]
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):  # optax promotes its step counter
        # 2 * dim pairs with exactly white y_t and exactly these Delta: +-sqrt(dim) e_k, changed by a scaled copy.
        sources = np.sqrt(dim) * np.concatenate([np.eye(dim), -np.eye(dim)])
        change = sources * np.sqrt(deltas)
        y_t, y_tm1 = jnp.asarray(sources), jnp.asarray(sources - change)
        weights = slowness.sfa_weights(scaling, dim)
        head = jnp.asarray(np.eye(dim) + 0.1 * np.random.default_rng(1).normal(size=(dim, dim)))
        optimizer = optax.adam(optax.cosine_decay_schedule(0.02, 3000))

        def step(carry, _):
            head, state = carry
            gradient = jax.grad(lambda w: sfa_loss(y_t @ w, y_tm1 @ w, **weights).total)(head)
            updates, state = optimizer.update(gradient, state)
            return (head + updates, state), None

        (head, _), _ = jax.jit(lambda c: jax.lax.scan(step, c, length=3000))((head, optimizer.init(head)))
        eigenvalues = np.sort(np.linalg.eigvalsh(np.asarray(head.T @ head)))[::-1]
    np.testing.assert_allclose(eigenvalues, expected, atol=2e-3)


def test_scalings_of_the_notes():
    """D = 32, Delta geometric from 0.005 to 0.5: 8 dimensions survive as published, 22 in the author's code."""
    deltas = np.geomspace(0.005, 0.5, 32)
    assert np.sum(surviving(deltas, 32.0) > 0) == 8
    assert np.sum(surviving(deltas, 1.0) > 0) == 22


def test_iid_frames_cost_one(rng):
    """On white noise no instantaneous code beats total loss 1: with unit scaling slowness alone costs 2 dim."""
    y = jnp.asarray(rng.normal(size=(2, 20_000, 4)), jnp.float32)
    scaled = [float(sfa_loss(s * y[0], s * y[1]).total) for s in (0.0, 0.05, 0.5, 1.0)]
    assert scaled[0] == 1.0
    assert min(scaled) == scaled[0]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: slowness.sfa_loss(jnp.ones((4, 2)), jnp.ones((4, 3))), ValueError, r"\(4, 2\) and \(4, 3\)"),
        (lambda: slowness.slowness_loss(jnp.ones((4, 1)), jnp.ones(4)), ValueError, "y_tm1: expected shape"),
        (lambda: slowness.variance_loss(jnp.ones(4)), ValueError, "at least 2 axes"),
        (lambda: slowness.correlation_loss(jnp.ones((4, 2), int)), TypeError, "y: expected floating-point"),
        (lambda: slowness.variance_loss(jnp.ones((4, 2), complex)), TypeError, "y: .*real and imaginary parts"),
        (lambda: slowness.delta(jnp.ones((4, 2), bool)), TypeError, "y: expected floating-point values, got bool"),
        (lambda: slowness.sfa_loss(jnp.ones((4, 2)), jnp.ones((4, 2)), mask=jnp.ones((4, 1))), ValueError, "mask"),
        (lambda: slowness.sfa_weights("readme", 0), ValueError, "dim: expected at least 1"),
        (lambda: slowness.sfa_weights("other", 3), ValueError, "scaling: expected one of"),
        (lambda: slowness.two_batch_penalties(jnp.ones((4, 2)), jnp.ones((4, 3))), ValueError, "equal last axes"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("value", [0.0, 1e-20, 1e8])
def test_extreme_input_stays_finite(value):
    y = jnp.full((6, 3), value)
    others = jax.jit(
        lambda y: (
            slowness.whitened_slowness_loss(y, y),
            slowness.vamp2_loss(y, y),
            slowness.log_variance_penalty(y),
        )
    )
    for found in (*sfa_loss(y, y), *others(y)):
        assert np.isfinite(found)
