"""What rounding leaves of slowness: bounds in place of 0, offsets, the precision given, and finite gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from sfa_jax import slowness


@pytest.fixture
def barely_moving(rng):
    """Two runs that differ, and wiggle by 1e-11 within; beside it noise, and both mixed."""
    where = np.concatenate([np.full(300, -1.0), np.full(300, 1.0)]) + 1e-11 * rng.normal(size=600)
    both = np.stack([where, rng.normal(size=600)], axis=1) @ np.array([[1.0, 0.5], [-0.7, 1.0]])
    return np.split(both, 2)


def slowest_delta(runs, component):
    """Of the output itself, in extended precision."""
    y = [run.astype(np.longdouble) @ component.astype(np.longdouble) for run in runs]
    change = np.concatenate([np.diff(part) for part in y])
    return float(np.mean(change**2) / np.var(np.concatenate(y)))


def fits(runs):
    """What each closed form says of the slowest feature's Delta."""
    slow = slowness.fit(runs)
    moments = slowness.init_moments(2)
    for run in runs:
        moments = slowness.update_moments(moments, jnp.asarray(run, jnp.float32), new_run=True)
    images = [run.reshape(-1, 1, 2, 1) for run in runs]
    layers = slowness.fit_hierarchical(images, slowness.Layer(0, 1, 2, 2, 1))
    return {
        "fit": slow.delta[0],
        "solve in float32": slowness.solve(moments).delta[0],
        "fit_polynomial": slowness.fit_polynomial(runs, degree=1).slow.delta[0],
        "fit_hierarchical": layers.layers[0].slow.delta[0],
        "tica": 2 * (1 - slowness.tica(runs).eigenvalues.max()),
    }


def test_a_delta_that_rounding_ate_is_a_bound(barely_moving):
    true = slowest_delta(barely_moving, slowness.fit(barely_moving).components[0])
    assert 0 < true < 1e-20
    for name, found in fits(barely_moving).items():
        assert true < found < (1e-4 if "float32" in name else 1e-12), name


def test_the_bound_holds_and_is_not_far_off(rng):
    """Signals of all speeds, mixed until float32 can hardly tell them apart."""
    t = np.arange(2000) / 2000
    for spread in (0, 2, 3):
        sources = np.stack([np.sin(2 * np.pi * k * t + k) for k in (0.5, 1, 3, 40)] + [rng.normal(size=2000)], axis=1)
        x = (sources * 10.0 ** -np.linspace(0, spread, 5)) @ rng.normal(size=(5, 5)) + 10
        x = x.astype(np.float32)
        moments = slowness.update_moments(slowness.init_moments(5), jnp.asarray(x))
        model = jax.tree.map(np.asarray, slowness.solve(moments))
        for k in range(int(model.rank)):
            true = slowest_delta([x], model.components[k])
            assert model.delta[k] > 0
            assert abs(model.delta[k] - true) < max(0.02 * true, 2 * model.delta[k])
            assert model.delta[k] > 0.98 * true or spread == 3


def test_nothing_that_moves_is_0(rng):
    """Features that hold still within their runs have Delta 0, and that is no bound."""
    still = [np.full((50, 1), value) for value in (1.0, 2.0)]
    assert slowness.fit(still).delta[0] == 0
    assert slowness.delta(jnp.asarray(still, jnp.float32))[0] == 0


def test_float32_sums_converted_to_float64_keep_their_rounding(barely_moving):
    moments = slowness.init_moments(2)
    for run in barely_moving:
        moments = slowness.update_moments(moments, jnp.asarray(run, jnp.float32), new_run=True)
    with jax.enable_x64(True):
        converted = jax.tree.map(lambda x: np.asarray(x, np.float64), moments)
        delta = np.asarray(slowness.solve(converted, rounding=float(np.finfo(np.float32).eps)).delta)
    assert 1e-8 < delta[0] < 1e-4


def test_delta_of_what_offsets_would_hide(rng):
    """Changes of one step of float32 far from 0, in a sequence that starts far away on the other side."""
    step = np.spacing(np.float32(1000.0))
    near = np.float32(1000.0) + step * rng.integers(0, 2, 200).astype(np.float32)
    y = np.stack([np.full(200, -1000.0, np.float32), near])[..., None]
    change = np.diff(near.astype(np.float64))
    expected = np.sum(change**2) / (2 * 199) / y.astype(np.float64).var()
    np.testing.assert_allclose(slowness.delta(jnp.asarray(y))[0], expected, rtol=1e-4)
    tiny = jnp.asarray(np.stack([np.zeros(4), [1.0, 1.0, 1.0, 1.0 + 2e-7]])[..., None] * [1e-30, 1], jnp.float32)
    assert (slowness.delta(tiny) > 0).all()


def test_numpy_arrays_are_measured_in_their_precision(rng):
    y = np.cumsum(rng.normal(size=(500, 3)), axis=0)
    for measure in (slowness.delta, slowness.eta, slowness.effective_rank):
        found = measure(y + 1e9)
        assert found.dtype == jnp.float32
        np.testing.assert_allclose(found, measure(y), rtol=1e-4)
    assert jnp.ones(()).dtype == jnp.float32


def test_models_transform_in_their_precision(rng):
    """As NumPy arrays, what a fit gives and what it takes; under jit in jax's default."""
    x = np.cumsum(rng.normal(size=(600, 2)), axis=0) + 1e6
    runs, images = np.split(x, 2), x.reshape(2, 300, 1, 2, 1)  # of the shapes of `fits`: they compile once
    vamp = slowness.vamp(runs)
    models = [
        (slowness.fit(runs), x),
        (slowness.tica(runs), x),
        (vamp, x),
        (slowness.fit_pca(runs, 2), x),
        (slowness.fit_polynomial(runs, degree=1), x),
        (slowness.fit_hierarchical(list(images), slowness.Layer(0, 1, 2, 2, 1)), images.reshape(600, 1, 2, 1)),
    ]
    for model, given in models:
        y = slowness.transform(model, given)
        assert isinstance(y, np.ndarray)
        assert y.dtype == np.float64
        if isinstance(model, (slowness.LinearSFA, slowness.PolynomialSFA)):
            np.testing.assert_allclose(y.std(axis=0), 1, rtol=1e-8)
    assert slowness.transform(models[0][0], jnp.asarray(x, jnp.float32)).dtype == jnp.float32
    assert vamp.singular_values.max() <= 1


@pytest.mark.parametrize("still", [slice(1, 2), slice(None)], ids=["one", "all"])
def test_gradients_where_dimensions_are_constant(rng, still):
    measures = {
        "delta": slowness.delta,
        "eta": slowness.eta,
        "effective_rank": slowness.effective_rank,
        "variance_loss": slowness.variance_loss,
        "correlation_loss": slowness.correlation_loss,
        "log_variance_penalty": slowness.log_variance_penalty,
        "whitened_slowness_loss": lambda y: slowness.whitened_slowness_loss(y[1:], y[:-1]),
        "vamp2_loss": lambda y: slowness.vamp2_loss(y[1:], y[:-1]),
    }
    y = jnp.asarray(rng.normal(size=(20, 3)), jnp.float32).at[:, still].set(0.1)

    @jax.jit
    def gradients(y):
        return {name: jax.grad(lambda y, f=f: jnp.nansum(f(y)))(y) for name, f in measures.items()}

    for name, gradient in gradients(y).items():
        assert np.isfinite(gradient).all(), name


def test_gradient_of_delta(rng):
    with jax.enable_x64(True):
        y = jnp.asarray(rng.normal(size=(2, 6, 3)))
        check_grads(jax.jit(slowness.delta), (y,), 1, modes=["fwd", "rev"])
