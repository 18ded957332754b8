"""The closed-form solution on the field's public cases, and streaming against one shot."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sfa_jax import slowness


@pytest.fixture(scope="module")
def quadratic():
    """Wiskott & Sejnowski's example: all quadratic monomials of (sin t + cos(11 t)^2, cos 11 t)."""
    t = np.arange(0, 2 * np.pi, 0.011)
    a, b = np.sin(t) + np.cos(11 * t) ** 2, np.cos(11 * t)
    return t, np.stack([a, b, a * a, a * b, b * b], axis=1)


def transform64(model, x):
    with jax.enable_x64(True):
        return np.asarray(jax.jit(slowness.transform)(model, x))


def test_wiskott_sejnowski(quadratic):
    t, x = quadratic
    y = transform64(slowness.fit(x), x)
    assert abs(np.corrcoef(y[:, 0], np.sin(t))[0, 1]) >= 0.9999
    assert float(slowness.eta(jnp.asarray(y[:, :1], jnp.float32))[0]) == pytest.approx(1.0, abs=0.01)


def test_ramp():
    """Differences are not centred: a ramp has Delta (pi / T)^2 once mixed with the half cosine, not 0."""
    t = np.arange(1000)
    model = slowness.fit(np.stack([t, np.sqrt(2) * np.cos(np.pi * (t + 0.5) / 1000)], axis=1))
    np.testing.assert_allclose(model.delta, [(np.pi / 1000) ** 2, 1.565e-4], rtol=0.005)


def in_float32(x, n_components=None):
    """The pure functions on float32 frames: `(model, y)`."""
    x = jnp.asarray(x, jnp.float32)

    @jax.jit
    def solved(x):
        model = slowness.solve(slowness.update_moments(slowness.init_moments(x.shape[1]), x), n_components)
        return model, slowness.transform(model, x)

    return jax.tree.map(np.asarray, solved(x))


def test_public_cases_in_float32(quadratic):
    t, x = quadratic
    model, y = in_float32(x)
    assert model.delta.dtype == np.float32
    assert abs(np.corrcoef(y[:, 0], np.sin(t))[0, 1]) >= 0.9999
    assert float(slowness.eta(y[:, :1])[0]) == pytest.approx(1.0, abs=0.01)
    t = np.arange(1000)
    ramp, _ = in_float32(np.stack([t, np.sqrt(2) * np.cos(np.pi * (t + 0.5) / 1000)], axis=1))
    np.testing.assert_allclose(ramp.delta, [(np.pi / 1000) ** 2, 1.565e-4], rtol=0.005)
    wide = np.concatenate([x, x[:, :2], np.full((len(x), 1), 7.3)], axis=1)
    deficient, again = in_float32(wide)
    assert int(deficient.rank) == 5
    np.testing.assert_allclose(np.abs(again[:, :5]), np.abs(y), atol=2e-3)
    np.testing.assert_array_equal(again[:, 5:], 0)
    rng, rho = np.random.default_rng(0), 0.95
    signal = pytest.importorskip("scipy.signal")
    noise = signal.lfilter([np.sqrt(1 - rho**2)], [1, -rho], rng.normal(size=400_000))[:, None]
    with jax.enable_x64(False):
        expanded = jax.jit(slowness.polynomial_expansion, static_argnums=1)(jnp.asarray(noise, jnp.float32), 4)
    np.testing.assert_allclose(in_float32(expanded, 3)[0].delta, 2 * (1 - rho ** np.arange(1, 4)), rtol=0.1)


def test_output_is_white_ordered_and_slow(rng):
    x = np.cumsum(rng.normal(size=(3000, 6)), axis=0) @ rng.normal(size=(6, 6)) + rng.normal(size=(3000, 6))
    model = slowness.fit(x)
    y = transform64(model, x)
    np.testing.assert_allclose(np.cov(y, rowvar=False, bias=True), np.eye(6), atol=1e-8)
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-9)
    with jax.enable_x64(True):
        np.testing.assert_allclose(slowness.delta(y), model.delta, rtol=1e-8)
    assert np.all(np.diff(model.delta) >= 0)


def test_equals_scipy(rng):
    linalg = pytest.importorskip("scipy.linalg")
    x = np.cumsum(rng.normal(size=(500, 5)), axis=0) + rng.normal(size=(500, 5))
    change = np.diff(x, axis=0)
    values, vectors = linalg.eigh(change.T @ change / len(change), np.cov(x, rowvar=False, bias=True))
    model = slowness.fit(x)
    np.testing.assert_allclose(model.delta, values, rtol=1e-8)
    signs = np.sign(np.sum(model.components * vectors.T, axis=1))
    np.testing.assert_allclose(model.components * signs[:, None], vectors.T, rtol=1e-6, atol=1e-9)


def test_rank_deficient(quadratic):
    _, x = quadratic
    y = transform64(slowness.fit(x), x)
    wide = np.concatenate([x, x[:, :2], np.full((len(x), 1), 7.3), 2 * x[:, 1:2] - x[:, :1]], axis=1)
    model = slowness.fit(wide)
    assert int(model.rank) == 5
    found = transform64(model, wide)
    np.testing.assert_allclose(np.abs(found[:, :5]), np.abs(y), atol=1e-5)
    np.testing.assert_array_equal(found[:, 5:], 0)
    assert np.isnan(model.delta[5:]).all()


@jax.jit
def rank_in_float32(x):
    return slowness.solve(slowness.update_moments(slowness.init_moments(3), x)).rank


def test_constant_columns_have_no_slowness(rng):
    """A mean that is a rounded sum would leave them a variance, and the smallest change of all."""
    walk = np.cumsum(rng.normal(size=1000))
    for constant in (7.3, -31.27, 88.13, 0.1, 99.99):
        columns = np.full(1000, constant), np.full(1000, -constant)
        x = np.stack([walk, *columns], axis=1)
        assert int(slowness.fit(x).rank) == int(rank_in_float32(x.astype(np.float32))) == 1
        with pytest.raises(ValueError, match="every feature is constant"):
            slowness.fit(np.stack([columns[0], *columns], axis=1))


def test_dependence_of_few_columns_is_found(rng):
    """The rounding of long sums does not get less with fewer features, so neither does the default cut-off."""
    for seed in range(5):
        state = np.cumsum(np.random.default_rng(seed).random(1000) < 0.1) % 3
        one_hot = np.eye(3)[state]
        assert int(slowness.fit(one_hot).rank) == int(rank_in_float32(one_hot.astype(np.float32))) == 2
    walk = np.cumsum(rng.normal(size=1000))
    for factor in (3, 0.1, 1 / 3, 1e-4):
        assert int(slowness.fit(np.stack([walk, factor * walk, -walk], axis=1)).rank) == 1


def test_units_of_the_columns_do_not_matter(rng):
    x = np.cumsum(rng.normal(size=(1000, 3)), axis=0) + rng.normal(size=(1000, 3))
    units = np.array([1e-9, 1.0, 1e9])
    model, scaled = slowness.fit(x), slowness.fit(x * units)
    assert int(scaled.rank) == 3
    np.testing.assert_allclose(scaled.delta, model.delta, rtol=1e-8)
    np.testing.assert_allclose(scaled.components * units, model.components, rtol=1e-6, atol=1e-9)


def test_rcond_is_relative_to_the_largest(rng):
    x = np.cumsum(rng.normal(size=(1000, 1)), axis=0) + 0.3 * rng.normal(size=(1000, 3))
    values = np.linalg.eigvalsh(np.corrcoef(x, rowvar=False))
    smallest = values[0] / values[-1]
    assert values[-1] > 2  # so that a cut-off which is not relative would be another one
    for solve in (slowness.fit, slowness.tica, slowness.vamp):
        assert int(solve(x, rcond=0.7 * smallest).rank) == 3, solve
        assert int(solve(x, rcond=np.float32(1.3 * smallest)).rank) < 3, solve


def test_the_largest_entry_is_positive(rng):
    x = np.cumsum(rng.normal(size=(1000, 3)), axis=0) @ rng.normal(size=(3, 3))
    weights = slowness.fit(x).components * x.std(axis=0)
    largest = np.take_along_axis(weights, np.argmax(np.abs(weights), axis=1)[:, None], axis=1)
    assert (largest > 0).all()
    assert (weights[:, 0] < 0).any()


def test_without_pairs_there_is_no_rank(rng):
    x = rng.normal(size=(30, 2)).astype(np.float32)
    model = jax.jit(lambda x: slowness.solve(slowness.update_moments(slowness.init_moments(2, lag=50), x)))(x)
    assert int(model.rank) == 0
    assert np.isnan(model.delta).all()
    np.testing.assert_array_equal(model.components, 0)


def test_blocks_equal_one_shot(rng, monkeypatch):
    """On a CPU long input is added block by block; 107 frames are six blocks of 16 and a rest."""
    x = np.cumsum(rng.normal(size=(107, 3)), axis=0)
    mask = rng.random(107) > 0.1
    with jax.enable_x64(True):
        begun = jax.jit(slowness.update_moments)(slowness.init_moments(3, lag=3, pairs=True), x[:5])
        whole = jax.jit(slowness.update_moments)(begun, x, mask=mask)
        monkeypatch.setattr("sfa_jax.slowness._moments._BLOCK", 16)
        blocks = jax.jit(lambda begun, x, mask: slowness.update_moments(begun, x, mask=mask))(begun, x, mask)
    for (name, found), expected in zip(jax.tree.leaves_with_path(blocks), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-9, err_msg=str(name))


def test_wide_products_are_whole(rng):
    """From 64 features on, a product of a matrix with itself is put together from parts."""
    x = np.cumsum(rng.normal(size=(200, 131)), axis=0)
    with jax.enable_x64(True):
        moments = jax.jit(slowness.update_moments)(slowness.init_moments(131), x)
    np.testing.assert_allclose(moments.scatter, (x - x.mean(0)).T @ (x - x.mean(0)), rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(moments.change_scatter, np.diff(x, axis=0).T @ np.diff(x, axis=0), rtol=1e-9, atol=1e-9)


def test_large_offsets_in_float32(rng):
    x = (rng.normal(size=(1000, 3)) + 1e6).astype(np.float32)
    moments = jax.jit(slowness.update_moments)(slowness.init_moments(3), x)
    centred = x.astype(float) - x.astype(float).mean(0)
    np.testing.assert_allclose(moments.scatter, centred.T @ centred, atol=2e-3 * len(x))


def test_signs_are_fixed(rng):
    x = np.cumsum(rng.normal(size=(400, 4)), axis=0)
    model, again = slowness.fit(x), slowness.fit(x[::-1].copy())
    np.testing.assert_allclose(again.components, model.components, atol=1e-6)


@pytest.mark.parametrize(("x64", "noise"), [(True, 1e-12), (True, -1e-12), (False, 1e-6), (False, -1e-6), (True, 0.0)])
def test_rounding_does_not_choose_a_sign(x64, noise):
    """Entries of 1 / sqrt(2) and its negative, equal but for the noise: the first one is positive."""
    with jax.enable_x64(x64):
        scatter = jnp.array([[1.0, 0.5], [0.5, 1.0]])
        change = jnp.array([[1.0 + noise, 0.9], [0.9, 1.0 - noise]])
        one, zero = jnp.ones(()), jnp.zeros(2)
        model = jax.jit(slowness.solve)(slowness.Moments(one, zero, scatter, one, change, zero[None], zero[:1]))
        first, second = np.asarray(model.components[0])
    assert abs(abs(first / second) - 1) < 2e-5
    assert first > 0 > second


@pytest.mark.parametrize("lag", [1, 3])
def test_chunks_equal_one_shot(rng, lag):
    x = np.cumsum(rng.normal(size=(40, 3)), axis=0) + 1000.0
    mask = rng.random(40) > 0.1
    with jax.enable_x64(True):
        update = jax.jit(slowness.update_moments)
        whole = update(slowness.init_moments(3, lag=lag, pairs=True), x, mask=mask)
        for cuts in ([1, 2, 3, 4, 20], [7, 8], [39], list(range(1, 40))):
            moments = slowness.init_moments(3, lag=lag, pairs=True)
            for a, b in itertools.pairwise([0, *cuts, 40]):
                moments = update(moments, x[a:b], mask=mask[a:b])
            for (name, found), expected in zip(jax.tree.leaves_with_path(moments), jax.tree.leaves(whole), strict=True):
                np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-9, err_msg=str(name))
        pairs = [(t, t + lag) for t in range(40 - lag) if mask[t] and mask[t + lag]]
        change = np.stack([x[b] - x[a] for a, b in pairs])
        assert int(whole.n_pairs) == len(pairs)
        np.testing.assert_allclose(whole.change_scatter, change.T @ change, rtol=1e-10)
        past, now = (x[list(frames)] - x[list(frames)].mean(axis=0) for frames in zip(*pairs, strict=True))
        np.testing.assert_allclose(whole.pairs.sum_scatter, (past + now).T @ (past + now), rtol=1e-10)
        np.testing.assert_allclose(whole.pairs.sum_change, (past + now).T @ (now - past), rtol=1e-9, atol=1e-9)


def test_runs_do_not_touch(rng):
    runs = [rng.normal(size=(n, 3)) for n in (30, 2, 17)]
    with jax.enable_x64(True):
        update, merge = jax.jit(slowness.update_moments), jax.jit(slowness.merge_moments)
        one_by_one = slowness.init_moments(3)
        parts = []
        for run in runs:
            one_by_one = update(one_by_one, run, new_run=True)
            parts.append(update(slowness.init_moments(3), run))
        assert int(one_by_one.n_pairs) == sum(len(run) - 1 for run in runs)
        for order in itertools.permutations(parts):
            merged = merge(merge(order[0], order[1]), order[2])
            np.testing.assert_allclose(merged.scatter, one_by_one.scatter, rtol=1e-10, atol=1e-12)
            np.testing.assert_allclose(merged.change_scatter, one_by_one.change_scatter, rtol=1e-10, atol=1e-12)
            assert not merged.tail_valid.any()


def test_under_jit_and_vmap(rng):
    x = jnp.asarray(np.cumsum(rng.normal(size=(2, 200, 3)), axis=1), jnp.float32)

    def deltas(x):
        return slowness.solve(slowness.update_moments(slowness.init_moments(3), x), 2).delta

    both = jax.jit(jax.vmap(deltas))(x)
    expected = [slowness.fit(run, 2).delta for run in np.asarray(x)]
    np.testing.assert_allclose(both, expected, rtol=2e-3)


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        (np.ones((1, 3)), "more than lag = 1 frames, the longest has 1"),
        (np.full((9, 2), np.nan), r"runs\[0\]: expected finite values, got nan at frame 0, feature 0"),
        ([np.ones((9, 2)), np.ones((9, 3))], r"runs\[1\]: expected shape \[time, 2\]"),
        (np.ones((9, 2)), "every feature is constant"),
        (np.ones(9), r"runs\[0\]: expected shape \[time, n_features\], got \(9,\)"),
        (3.0, r"runs\[0\]: expected shape \[time, n_features\], got \(\)"),
        ([], "more than lag = 1 frames, the longest has 0"),
    ],
)
def test_errors(runs, message):
    with pytest.raises(ValueError, match=message):
        slowness.fit(runs)


@pytest.mark.parametrize("rcond", [np.nan, -1e-9, 1.0, np.inf])
def test_rcond_out_of_range(rng, rcond):
    with pytest.raises(ValueError, match=rf"rcond: expected a share of the largest eigenvalue, .*got {rcond}"):
        slowness.fit(rng.normal(size=(20, 2)), rcond=rcond)


@pytest.mark.parametrize(
    ("dtype", "hint"),
    [(np.complex64, "real and imaginary parts"), (np.int32, r"astype\(float\)"), (np.bool_, r"astype\(float\)")],
)
def test_only_floating_point(rng, dtype, hint):
    x = np.cumsum(rng.normal(size=(20, 2)), axis=0)
    with np.errstate(all="ignore"):
        bad = x.astype(dtype)
    model, moments = slowness.LinearSFA(np.zeros(2), np.eye(2), np.zeros(2), 2), slowness.init_moments(2)
    for call, name in [
        (lambda: slowness.fit(bad), r"runs\[0\]"),
        (lambda: slowness.fit([x, bad]), r"runs\[1\]"),
        (lambda: slowness.transform(model, bad), "x"),
        (lambda: slowness.update_moments(moments, bad), "x"),
        (lambda: jax.jit(slowness.update_moments)(moments, bad), "x"),
        (lambda: slowness.init_moments(2, dtype=dtype), "dtype"),
    ]:
        with pytest.raises(
            TypeError, match=rf"{name}: expected floating-point values, got {np.dtype(dtype)}; .*{hint}"
        ):
            call()


def test_only_whole_numbers(rng):
    x = rng.normal(size=(20, 2))
    for call, name in [
        (lambda: slowness.fit(x, 2.0), "n_components: expected a whole number, got 2.0"),
        (lambda: slowness.fit(x, lag=1.5), "lag: expected a whole number, got 1.5"),
        (lambda: slowness.fit(x, rcond="small"), "rcond: expected a number or None, got 'small'"),
        (lambda: slowness.init_moments(2, dtype=jnp.bfloat16), "dtype: expected float32 or float64, got bfloat16"),
    ]:
        with pytest.raises(TypeError, match=name):
            call()
    assert slowness.fit(x, np.int64(1)).components.shape == (1, 2)


def test_other_floating_types(rng):
    x = np.cumsum(rng.normal(size=(200, 2)), axis=0)
    for found in (jnp.asarray(x, jnp.bfloat16), x.tolist()):
        model = slowness.fit([found])
        assert model.components.dtype == np.float64
        assert transform64(model, found).dtype == np.float64


def test_masked_frames_leave_nothing(rng):
    """A frame that is not valid may be NaN: not in the sums, not in the tail, not in a gradient."""
    x = jnp.asarray(rng.normal(size=(12, 2)), jnp.float32)
    mask = jnp.arange(12) % 4 != 3

    @jax.jit
    def moments(x):
        halves = slowness.update_moments(slowness.init_moments(2), x[:4], mask=mask[:4])
        return slowness.update_moments(halves, x[4:], mask=mask[4:])

    for value in (jnp.nan, jnp.inf):
        broken = jnp.where(mask[:, None], x, value)
        for found, expected in zip(jax.tree.leaves(moments(broken)), jax.tree.leaves(moments(x)), strict=True):
            np.testing.assert_array_equal(found, expected)
        gradient = jax.jit(jax.grad(lambda x: sum(jnp.sum(field) for field in jax.tree.leaves(moments(x)))))(broken)
        assert np.isfinite(gradient).all()
        np.testing.assert_array_equal(np.asarray(gradient)[~np.asarray(mask)], 0)


def test_errors_of_the_core():
    moments = slowness.init_moments(3)
    for call, message in [
        (lambda: slowness.init_moments(0), "n_features"),
        (lambda: slowness.init_moments(2, lag=0), "lag"),
        (lambda: slowness.update_moments(moments, jnp.ones((4, 2))), r"x: expected shape \[time, 3\]"),
        (
            lambda: slowness.update_moments(moments, jnp.ones((4, 3)), new_run=jnp.array([True])),
            "new_run: expected one",
        ),
        (lambda: slowness.merge_moments(moments, slowness.init_moments(2)), "a and b"),
        (lambda: slowness.solve(moments, 4), "n_components: expected 1 to 3"),
        (
            lambda: slowness.transform(jax.jit(slowness.solve)(moments), jnp.ones((4, 2))),
            r"x: expected shape \[..., 3\]",
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
