"""Measures against SciPy and NumPy; thresholds and filters against their definitions in a plain loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy import stats

from sfa_jax import sparse


@pytest.fixture
def x(rng):
    return (rng.standard_normal((5, 7, 4)) * (rng.random((5, 7, 4)) < 0.5)).astype(np.float32)


@pytest.mark.parametrize("axis", [0, 1, -1, None, (0, 2)])
def test_norms_and_kurtosis_are_numpys_and_scipys(axis, x):
    np.testing.assert_array_equal(sparse.l0_norm(x, axis=axis), np.count_nonzero(x, axis=axis))
    np.testing.assert_allclose(sparse.l1_norm(x, axis=axis), np.abs(x).sum(axis=axis), rtol=1e-5)
    if isinstance(axis, tuple):
        expected = stats.kurtosis(np.moveaxis(x, 1, -1).reshape(-1, 7), axis=0, fisher=False)
    else:
        expected = stats.kurtosis(x.astype(np.float64), axis=axis, fisher=False)
    np.testing.assert_allclose(sparse.kurtosis(x, axis=axis), expected, rtol=1e-4)


def test_extreme_numbers_and_constants():
    for scale in (1e-30, 1e30):
        large = scale * jnp.array([0.0, 1.0, 2.0, 5.0])
        np.testing.assert_allclose(sparse.kurtosis(large), stats.kurtosis([0, 1, 2, 5], fisher=False), rtol=1e-5)
        np.testing.assert_allclose(sparse.hoyer_sparseness(large), (2 - 8 / 30**0.5) / 1, rtol=1e-5)
    for measure in (sparse.hoyer_sparseness, sparse.population_sparseness, sparse.kurtosis):
        assert np.isnan(measure(jnp.zeros(4)))
    assert sparse.l0_norm(jnp.array([1e-9, 1.0, -1e-9]), tolerance=1e-6) == 1


def test_cardinality_counts_features_that_are_used(rng):
    codes = np.zeros((3, 6, 5), np.float32)
    codes[0, 2, 1], codes[0, 4, 1], codes[1, 0, 0], codes[1, 0, 3] = 1, 2, -1, 1e-9
    np.testing.assert_array_equal(sparse.cardinality(codes), [1, 2, 0])
    np.testing.assert_array_equal(sparse.cardinality(codes, tolerance=1e-6), [1, 1, 0])


def test_sparseness_of_treves_and_rolls(rng):
    rates = rng.exponential(size=(6, 9)).astype(np.float32)

    def by_hand(r):
        return (1 - r.mean() ** 2 / (r**2).mean()) / (1 - 1 / len(r))

    np.testing.assert_allclose(sparse.population_sparseness(rates), [by_hand(r) for r in rates], rtol=1e-4)
    np.testing.assert_allclose(sparse.lifetime_sparseness(rates), [by_hand(r) for r in rates.T], rtol=1e-4)
    np.testing.assert_allclose(sparse.population_sparseness(-3 * rates), sparse.population_sparseness(rates), rtol=1e-5)
    one = np.eye(5, dtype=np.float32)
    np.testing.assert_allclose(sparse.hoyer_sparseness(one), 1, rtol=1e-6)
    np.testing.assert_allclose(sparse.population_sparseness(one), 1, rtol=1e-6)


@pytest.mark.parametrize("theta", [-0.5, 0.0, 0.7])
def test_thresholds_are_their_definitions(theta, x):
    flat = x.ravel()
    for function, expected in (
        (sparse.relu_threshold, [v - np.float32(theta) if v >= theta else 0 for v in flat]),
        (sparse.hard_threshold, [v if v >= theta else 0 for v in flat]),
    ):
        np.testing.assert_allclose(function(flat, theta), expected, rtol=1e-6)
    alpha = abs(theta)
    expected = [np.sign(v) * max(abs(v) - np.float32(alpha), 0) for v in flat]
    np.testing.assert_allclose(sparse.soft_threshold(flat, alpha), expected, atol=1e-6)
    np.testing.assert_allclose(sparse.soft_threshold(flat, alpha, positive=True), np.maximum(expected, 0), atol=1e-6)


def test_hard_threshold_keeps_what_reaches_it():
    assert sparse.hard_threshold(jnp.array([2.0]), 2.0) == 2
    assert sparse.relu_threshold(jnp.array([2.0]), 2.0) == 0


@pytest.mark.parametrize("lag", [1, 3, 6])
def test_temporal_difference(lag, x):
    expected = np.abs(np.stack([x[:, t] - x[:, t - lag] for t in range(lag, 7)], axis=1))
    np.testing.assert_array_equal(sparse.temporal_difference(x, lag=lag, axis=1), expected)


def test_spatial_difference(x):
    for axis in (-1, 0):
        np.testing.assert_array_equal(sparse.spatial_difference(x, axis=axis), np.diff(x, axis=axis))


@pytest.mark.parametrize("kind", sparse.BOX_KINDS)
@pytest.mark.parametrize("window", [1, 3, 12])
def test_box_difference_is_the_documents_kernel_without_delay(kind, window, rng):
    """+1 and -1, scaled to length 1, then the positive part so that the sum is 0; the ends go on."""
    kernel = np.concatenate([[1.0], np.full(window, -1.0)])
    if kind == "spatial":
        kernel = np.concatenate([np.full(window, -1.0), kernel])
    kernel /= np.sum(kernel**2) ** 0.5
    kernel[kernel > 0] *= -kernel[kernel < 0].sum() / kernel[kernel > 0].sum()
    np.testing.assert_allclose(sparse.box_filter(window, kind=kind), kernel, rtol=1e-12)
    x = rng.standard_normal((3, 10)).astype(np.float32)
    expected = np.zeros((3, 10))
    for i in range(10):
        for k, weight in enumerate(kernel):
            at = i - k if kind == "temporal" else i + k - window
            expected[:, i] += weight * x[:, min(max(at, 0), 9)]
    found = jax.jit(lambda x: sparse.box_difference(x, window, kind=kind, axis=1))(x)
    np.testing.assert_allclose(found, expected, atol=2e-5)
    each = jax.vmap(lambda row: sparse.box_difference(row, window, kind=kind))(x)
    np.testing.assert_allclose(each, found, atol=1e-5)
    assert (np.asarray(sparse.box_difference(jnp.full((2, 30), 0.1), window, kind=kind, axis=1)) == 0).all()


def test_gradients():
    with jax.enable_x64(True):
        x = jax.random.normal(jax.random.key(0), (6, 4))
        for function in (
            sparse.kurtosis,
            sparse.hoyer_sparseness,
            sparse.population_sparseness,
            lambda x: sparse.box_difference(x, 3),
            lambda x: sparse.soft_threshold(x, 0.3),
        ):
            check_grads(function, (x,), order=1, modes=["rev"])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: sparse.kurtosis(jnp.arange(4)), TypeError, "x: expected floating point"),
        (
            lambda: sparse.hoyer_sparseness(jnp.ones((3, 1))),
            ValueError,
            "x: expected at least two numbers",
        ),
        (lambda: sparse.l0_norm(jnp.ones(3), tolerance=-1.0), ValueError, "tolerance: expected at least 0"),
        (lambda: sparse.cardinality(jnp.ones(3)), ValueError, "codes: expected shape"),
        (lambda: sparse.temporal_difference(jnp.ones(3), lag=3), ValueError, "lag: expected 1 to 2"),
        (lambda: sparse.spatial_difference(jnp.ones((3, 1))), ValueError, "x: expected at least two pixels"),
        (lambda: sparse.box_filter(0), ValueError, "window: expected at least 1"),
        (lambda: sparse.box_difference(jnp.ones(3), 2, kind="x"), ValueError, "kind: expected one of"),
        (lambda: sparse.box_difference(jnp.arange(3), 2), TypeError, "x: expected floating point"),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_equal_numbers_have_no_kurtosis_however_they_round():
    for value in (0.1, 0.3, 7.7, 1e-30, 100 / 255):
        x = jnp.full((1000, 3), value, jnp.float32)
        assert np.isnan(sparse.kurtosis(x))
        assert np.isnan(sparse.kurtosis(x, axis=0)).all()
        assert np.isnan(sparse.kurtosis(x, axis=-2)).all()


@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.int32])
def test_whole_numbers_would_wrap_round(dtype):
    x = jnp.array([1, 4, 2], dtype)
    calls = sparse.relu_threshold, sparse.hard_threshold, sparse.temporal_difference, sparse.spatial_difference
    for call in (*calls, lambda x: sparse.soft_threshold(x, 0.5)):
        with pytest.raises(TypeError, match="x: expected floating point"):
            call(x)


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.uint8, bool])
def test_norms_of_whole_numbers(dtype):
    """The smallest of a signed type has no absolute value in it."""
    x = np.array([0, np.iinfo(dtype).min if dtype is not bool else 1, 1], dtype)
    expected = np.abs(x.astype(np.float64))
    assert sparse.l0_norm(x) == np.count_nonzero(x)
    np.testing.assert_allclose(sparse.l1_norm(x), expected.sum())
    assert sparse.l0_norm(x, tolerance=0.5) == np.count_nonzero(x)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_is_computed_in_float32(dtype, rng):
    """Sums of it would leave its range, and its squares have few digits."""
    x = jnp.asarray(rng.normal(size=(50, 40)) * 2000, dtype)
    functions = [
        sparse.l1_norm,
        sparse.kurtosis,
        sparse.hoyer_sparseness,
        sparse.population_sparseness,
        sparse.lifetime_sparseness,
        sparse.temporal_difference,
        sparse.spatial_difference,
        lambda x: sparse.box_difference(x, 30),
        lambda x: sparse.log_intensity(jnp.abs(x)),
    ]
    for function in functions:
        found, expected = jax.jit(lambda x, function=function: (function(x), function(x.astype(jnp.float32))))(x)
        assert found.dtype == jnp.float32
        np.testing.assert_array_equal(found, expected)
    for threshold in (sparse.relu_threshold, sparse.hard_threshold, sparse.soft_threshold):
        assert threshold(x, 1.0).dtype == dtype  # those a layer may have


@pytest.mark.parametrize("threshold", [sparse.relu_threshold, sparse.hard_threshold, sparse.soft_threshold])
@jax.numpy_rank_promotion("allow")
def test_thresholds_make_nothing_larger(threshold):
    x = jnp.ones(3)
    assert threshold(jnp.ones((2, 3)), jnp.ones(3)).shape == (2, 3)
    for theta in (jnp.ones((3, 1)), jnp.ones(2)):
        with pytest.raises(ValueError, match=r"(theta|alpha): expected a number, or a shape .* of x, \(3,\)"):
            threshold(x, theta)


def test_gradient_of_a_vector_of_zeros():
    for measure in (sparse.hoyer_sparseness, sparse.population_sparseness, sparse.kurtosis, sparse.l1_norm):
        gradient = jax.jit(jax.grad(lambda x, measure=measure: jnp.nansum(measure(x))))
        assert np.isfinite(gradient(jnp.zeros(4))).all()
