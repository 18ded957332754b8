"""Polynomial and hierarchical slow feature analysis, and the streamed principal components below them."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sfa_jax import slowness
from sfa_jax.slowness._hierarchy import fields
from sfa_jax.slowness._pca import fit_pca

T = np.arange(0, 2 * np.pi, 0.011)
WISKOTT = np.stack([np.sin(T) + np.cos(11 * T) ** 2, np.cos(11 * T)], axis=1)  # Wiskott & Sejnowski 2002, section 4.1


def transform64(model, x):
    with jax.enable_x64(True):
        return np.asarray(jax.jit(slowness.transform)(model, x))


@pytest.mark.parametrize("degree", [1, 2, 3, 4])
def test_expansion_equals_loops(rng, degree):
    x = rng.normal(size=(5, 3))
    expected = [
        np.prod(x[:, list(factors)], axis=1)
        for d in range(1, degree + 1)
        for factors in itertools.combinations_with_replacement(range(3), d)
    ]
    with jax.enable_x64(True):
        found = jax.jit(slowness.polynomial_expansion, static_argnums=1)(x, degree)
    np.testing.assert_allclose(found, np.stack(expected, axis=1), rtol=1e-12)
    assert found.shape[1] == slowness.n_monomials(3, degree)


def test_expansion_under_vmap_and_grad(rng):
    x = jnp.asarray(rng.normal(size=(4, 3)), jnp.float32)
    np.testing.assert_allclose(
        jax.jit(jax.vmap(slowness.polynomial_expansion))(x), jax.jit(slowness.polynomial_expansion)(x), rtol=1e-6
    )
    gradient = jax.grad(lambda x: jnp.sum(slowness.polynomial_expansion(x)))(jnp.array([2.0, 3.0]))
    np.testing.assert_allclose(gradient, [1 + 4 + 3, 1 + 2 + 6])


def test_ar1_monomials():
    """Monomials to degree 4 of an AR(1) process: Delta_k = 2 (1 - rho^k), its Hermite polynomials (notes, table)."""
    rng, rho, n = np.random.default_rng(0), 0.95, 2_000_000
    signal = pytest.importorskip("scipy.signal")
    x = signal.lfilter([np.sqrt(1 - rho**2)], [1, -rho], rng.normal(size=n))[:, None]
    model = slowness.fit_polynomial(x, 3, degree=4)
    np.testing.assert_allclose(model.slow.delta, 2 * (1 - rho ** np.arange(1, 4)), rtol=0.05)


@pytest.mark.parametrize("reduction", ["pca", "sfa"])
def test_wiskott_sejnowski(reduction):
    model = slowness.fit_polynomial(WISKOTT, 2, reduction=reduction)
    y = transform64(model, WISKOTT)
    assert abs(np.corrcoef(y[:, 0], np.sin(T))[0, 1]) >= 0.9999
    assert slowness.fit(y).delta[0] == pytest.approx(model.slow.delta[0], rel=1e-6)


def test_smooth_series_with_many_lags():
    """19 delays of a smooth series and their products: 209 features of far lower rank. No NaN, no false slowness."""
    t = np.arange(4000) * 0.01
    series = np.sin(t) + 0.5 * np.sin(np.sqrt(2) * t)
    x = np.stack([series[k : len(series) - 19 + k] for k in range(19)], axis=1)
    with jax.enable_x64(True):
        expanded = np.asarray(slowness.polynomial_expansion(x))
    model = slowness.fit(expanded)
    rank = int(model.rank)
    standard = (expanded - expanded.mean(0)) / expanded.std(0)
    singular = np.linalg.svd(standard, compute_uv=False)
    assert rank == pytest.approx(np.sum(singular**2 > 209 * np.finfo(float).eps * singular[0] ** 2), abs=2)
    assert np.isfinite(model.components).all()
    y = transform64(model, expanded)
    # a reference that never squares the data: whitened by the SVD, slowest by the SVD of its differences
    u = np.linalg.svd(standard, full_matrices=False)[0]
    white = u[:, :rank] * np.sqrt(len(u))
    _, _, vt = np.linalg.svd(np.diff(white, axis=0), full_matrices=False)
    slowest = white @ vt[::-1][:3].T
    for k in range(3):
        assert abs(np.corrcoef(y[:, k], slowest[:, k])[0, 1]) >= 0.999, (k, rank)


def test_pca_equals_numpy(rng):
    x = rng.normal(size=(400, 30)) * 0.8 ** np.arange(30) + 100
    _, singular, axes = np.linalg.svd(x - x.mean(0), full_matrices=False)
    for n_components, tolerance in [(3, 1e-2), (30, 1e-8)]:  # a sketch of 22 directions; all of them
        model = fit_pca([x[:150], x[150:]], n_components)
        np.testing.assert_allclose(model.variance, singular[:n_components] ** 2 / 400, rtol=1e-6)
        np.testing.assert_allclose(np.abs(np.sum(model.components * axes[:n_components], axis=1)), 1, atol=tolerance)
        np.testing.assert_allclose(model.mean, x.mean(0), rtol=1e-12)


def test_images_are_scaled_and_flattened(rng):
    frames = rng.integers(0, 256, (60, 4, 5, 3), dtype=np.uint8)
    found = slowness.fit_polynomial(frames, 4, n_inputs=6)
    expected = slowness.fit_polynomial(frames.reshape(60, -1) / 255.0, 4, n_inputs=6)
    np.testing.assert_allclose(found.slow.delta, expected.slow.delta, rtol=1e-9)
    np.testing.assert_allclose(found.reduction.mean, frames.reshape(60, -1).mean(0) / 255)


def test_chunks_do_not_matter(rng, monkeypatch):
    x = np.cumsum(rng.normal(size=(90, 4)), axis=0)
    runs = [x[:40], x[40:42], x[42:]]
    whole = slowness.fit_polynomial(runs, 5)
    monkeypatch.setattr("sfa_jax.slowness._runs._CHUNKS", (7,))
    for found, expected in zip(jax.tree.leaves(slowness.fit_polynomial(runs, 5)), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-9)


def test_lag_and_rcond_of_polynomials(rng):
    """The pipeline is the expansion of the reduced runs, solved at the same lag and with the same cut-off."""
    x = np.cumsum(rng.normal(size=(120, 3)), axis=0) + 2 * rng.normal(size=(120, 3))
    runs = [x[:50], x[50:52], x[52:]]
    ranks = []
    for reduction, options in (("sfa", {"lag": 3}), ("pca", {"rcond": 0.4})):
        model = slowness.fit_polynomial(runs, n_inputs=2, reduction=reduction, **options)
        expected = slowness.fit([expanded(model, run) for run in runs], **options)
        assert model.slow.rank == expected.rank
        ranks.append(int(expected.rank))
        np.testing.assert_allclose(model.slow.delta, expected.delta, rtol=1e-7)
        if reduction == "sfa":
            np.testing.assert_allclose(model.reduction.components, slowness.fit(runs, 2, lag=3).components, rtol=1e-7)
    assert ranks[0] == 5 > min(ranks)


def expanded(model, x):
    a, b = ((x - model.reduction.mean) @ model.reduction.components.T).T
    return np.stack([a, b, a * a, a * b, b * b], axis=1)


def test_pca_of_few_frames_on_an_offset(rng):
    x = rng.normal(size=(4, 8)) + 1e8
    model = fit_pca([x], 6)
    axes = np.linalg.svd(x - x.mean(0), full_matrices=False)[2]
    np.testing.assert_allclose(np.abs(np.sum(model.components[:3] * axes[:3], axis=1)), 1, rtol=1e-6)
    np.testing.assert_array_equal(model.components[3:], 0)
    np.testing.assert_array_equal(model.variance[3:], 0)


def test_fields():
    x = jnp.arange(5 * 6 * 2).reshape(5, 6, 2)
    found = fields(x, 2, 3)
    assert found.shape == (2, 2, 8)
    np.testing.assert_array_equal(found[1, 1], x[3:5, 3:5].reshape(-1))


@pytest.fixture(scope="module")
def bar():
    """A bright bar that wanders slowly over noise: `[600, 8, 8, 1]` and its position."""
    rng = np.random.default_rng(0)
    position = 3.5 + 3 * np.sin(np.arange(600) / 25)
    columns = np.exp(-0.5 * (np.arange(8) - position[:, None]) ** 2)
    frames = columns[:, None, :] + 0.1 * rng.random((600, 8, 8))
    return np.clip(frames[..., None] * 200, 0, 255).astype(np.uint8), position


@pytest.fixture(scope="module")
def of_all_pixels(bar):
    return slowness.fit_polynomial(bar[0], 3, n_inputs=4)


@pytest.fixture(scope="module")
def of_fields(bar):
    return slowness.fit_hierarchical(bar[0], [slowness.Layer(4, 4, 5, 3)])


def test_uint8_frames_are_transformed_as_they_were_fitted(bar, of_all_pixels, of_fields):
    frames, _ = bar
    for model in (of_all_pixels, of_fields):
        y = transform64(model, frames)
        np.testing.assert_allclose(np.mean(np.square(y)), 1, rtol=0.05)
        np.testing.assert_allclose(transform64(model, frames[7]), y[7], atol=1e-9)


def test_hierarchy_finds_the_slow_position(bar):
    frames, position = bar
    layers = [slowness.Layer(field=4, stride=2, n_inputs=6, n_components=4), slowness.Layer(0, 1, 8, 3)]
    model = slowness.fit_hierarchical([frames[:300], frames[300:]], layers)
    y = transform64(model, frames / 255.0)
    assert y.shape == (600, 3)
    assert abs(np.corrcoef(y[:, 0], position)[0, 1]) > 0.9
    layer = model.layers[0]
    assert layer.reduction.components.shape == (6, 16)
    assert layer.slow.components.shape == (4, 27)


def test_one_field_is_polynomial_sfa(bar):
    """A single layer that sees everything is the reduction, expansion and slowness of the whole image."""
    frames, _ = bar
    model = slowness.fit_hierarchical(frames[:, 2:4], [slowness.Layer(0, 1, 5, 4)])
    flat = slowness.fit_polynomial(frames[:, 2:4], 4, n_inputs=5, reduction="sfa")
    np.testing.assert_allclose(model.layers[0].slow.delta, flat.slow.delta, rtol=1e-6)


def test_positions_are_pooled(bar, of_fields):
    """Shared functions over positions: the moments of the runs of all fields together."""
    frames, model = bar[0], of_fields
    x = frames / 255.0
    runs = [x[:, r : r + 4, c : c + 4].reshape(600, -1) for r in (0, 4) for c in (0, 4)]
    expected = slowness.fit_polynomial(runs, 3, n_inputs=5, reduction="sfa")
    np.testing.assert_allclose(model.layers[0].slow.delta, expected.slow.delta, rtol=1e-7)
    y = transform64(model, np.where(np.arange(600)[:, None, None, None] == 300, 255 - frames, frames))
    assert np.abs(y).max() == 4  # what is unlike anything that was fitted to is clipped


def test_lag_and_runs_of_a_hierarchy(bar):
    frames, _ = bar
    layer = slowness.Layer(4, 4, 5, 3)
    model = slowness.fit_hierarchical([frames[:250], frames[250:]], [layer], lag=3)
    x = frames / 255.0
    runs = [
        part[:, r : r + 4, c : c + 4].reshape(len(part), -1)
        for part in (x[:250], x[250:])
        for r in (0, 4)
        for c in (0, 4)
    ]
    expected = slowness.fit_polynomial(runs, 3, n_inputs=5, reduction="sfa", lag=3)
    np.testing.assert_allclose(model.layers[0].slow.delta, expected.slow.delta, rtol=1e-7)


def test_errors(rng, bar, of_all_pixels, of_fields):
    x, (frames, _) = rng.normal(size=(30, 3)), bar
    layer = slowness.Layer(4, 2, 4, 3)
    for call, message in [
        (lambda: slowness.polynomial_expansion(x, 0), "degree: expected an integer of at least 1, got 0"),
        (lambda: slowness.fit_polynomial(x, 10), "n_components: expected 1 to 9, the monomials of 3 inputs"),
        (lambda: slowness.fit_polynomial(x, n_inputs=4), "n_inputs: expected 1 to 3"),
        (
            lambda: slowness.fit_polynomial(x, degree=99),
            "expected at most 40000 monomials, .* got 1.717e.05 of 3 inputs",
        ),
        (lambda: slowness.transform(of_all_pixels, frames[:, :3]), "64 values in all"),
        (
            lambda: slowness.transform(of_fields, frames[..., :3, :, :] / 255.0),
            r"frames of the size that the model was fitted to, got \(3, 8, 1\)",
        ),
        (lambda: slowness.fit_polynomial(x, reduction="ica"), "reduction: expected 'pca' or 'sfa', got 'ica'"),
        (lambda: slowness.fit_polynomial(np.ones((9, 2))), "every feature is constant"),
        (lambda: slowness.fit_polynomial(x * np.nan), "expected finite values"),
        (lambda: slowness.fit_hierarchical(frames, []), "layers: expected at least one Layer"),
        (lambda: slowness.fit_hierarchical(frames, [layer._replace(field=9)]), r"layers\[0\].field: expected 0 to 8"),
        (lambda: slowness.fit_hierarchical(frames, [layer, layer]), r"layers\[1\].field: expected 0 to 3"),
        (lambda: slowness.fit_hierarchical(frames, [layer._replace(stride=0)]), r"stride: expected at least 1"),
        (lambda: slowness.fit_hierarchical(frames, [layer._replace(n_inputs=17)]), "n_inputs: expected 1 to 16"),
        (
            lambda: slowness.fit_hierarchical(frames, [layer._replace(n_components=15)]),
            "n_components: expected 1 to 14",
        ),
        (lambda: slowness.fit_hierarchical(frames[..., 0], [layer]), r"runs\[0\]: expected shape \[time, height"),
        (lambda: slowness.fit_hierarchical(np.zeros_like(frames), [layer]), r"what layers\[0\] sees is constant"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(TypeError, match=r"runs\[1\]: expected uint8, as runs\[0\] has"):
        slowness.fit_polynomial([frames, frames / 255.0], n_inputs=2)
