"""TICA and VAMP against deeptime, against each other, and against SFA."""

import jax
import numpy as np
import pytest

from sfa_jax import slowness


@pytest.fixture(scope="module")
def ellipsoids():
    datasets = pytest.importorskip("deeptime.data", reason="deeptime is not installed")
    return datasets.ellipsoids(seed=17).observations(n_steps=2000, n_dim=5, noise=True).astype(np.float64)


@pytest.fixture
def series(rng):
    """An irreversible three-dimensional process: a noisy rotation and a relaxation, mixed."""
    x, rotation = np.zeros((600, 3)), np.array([[0.9, -0.3, 0.0], [0.3, 0.9, 0.0], [0.0, 0.0, 0.7]])
    for t in range(1, 600):
        x[t] = rotation @ x[t - 1] + rng.normal(size=3)
    return x @ rng.normal(size=(3, 3)) + 7


@pytest.mark.parametrize("lag", [1, 5])
def test_equals_deeptime(ellipsoids, lag):
    decomposition = pytest.importorskip("deeptime.decomposition", reason="deeptime is not installed")
    transform = jax.jit(slowness.transform)
    theirs = decomposition.TICA(lagtime=lag, scaling=None).fit_fetch(ellipsoids)
    ours = slowness.tica(ellipsoids, lag)
    np.testing.assert_allclose(ours.eigenvalues, theirs.singular_values, atol=1e-6)
    with jax.enable_x64(True):
        y = np.asarray(transform(ours, ellipsoids))
    np.testing.assert_allclose(np.abs(y), np.abs(theirs.transform(ellipsoids)), atol=1e-3)  # they count n - 1 frames
    theirs = decomposition.VAMP(lagtime=lag).fit_fetch(ellipsoids)
    ours = slowness.vamp(ellipsoids, lag)
    np.testing.assert_allclose(ours.singular_values, theirs.singular_values, atol=1e-6)
    with jax.enable_x64(True):
        y = np.asarray(transform(ours, ellipsoids))
    np.testing.assert_allclose(np.abs(y), np.abs(theirs.transform(ellipsoids)), atol=1e-3)
    for r in (1, 2, "E"):
        assert float(slowness.vamp_score(ours, r=r)) == pytest.approx(theirs.score(r), abs=1e-5)


@pytest.mark.parametrize("lag", [1, 4])
def test_held_out_scores_equal_deeptime(ellipsoids, lag):
    decomposition = pytest.importorskip("deeptime.decomposition", reason="deeptime is not installed")
    train, held_out = ellipsoids[:1200], ellipsoids[1300:]
    theirs = decomposition.VAMP(lagtime=lag).fit_fetch(train)
    test = decomposition.VAMP(lagtime=lag).fit_fetch(held_out)
    ours = slowness.vamp(train, lag)
    with jax.enable_x64(True):
        moments = jax.jit(slowness.update_moments)(slowness.init_moments(5, lag=lag, pairs=True), held_out)
        score = jax.jit(lambda ours, moments: [slowness.vamp_score(ours, moments, r=r) for r in (1, 2, "E")])
        found = [float(value) for value in score(ours, moments)]
    assert found == pytest.approx([theirs.score(r, test_model=test) for r in (1, 2, "E")], abs=1e-6)


def test_vamp_equals_numpy(series):
    past, now = series[:-2] - series[:-2].mean(0), series[2:] - series[2:].mean(0)

    def root(c):
        values, vectors = np.linalg.eigh(c)
        return vectors @ np.diag(values**-0.5) @ vectors.T

    coherence = root(past.T @ past) @ (past.T @ now) @ root(now.T @ now)
    model = slowness.vamp(series, 2)
    np.testing.assert_allclose(model.singular_values, np.linalg.svd(coherence, compute_uv=False), rtol=1e-9)
    np.testing.assert_allclose(model.mean_tm1, series[:-2].mean(0), rtol=1e-12)
    np.testing.assert_allclose(model.mean_t, series[2:].mean(0), rtol=1e-12)
    left, right = past @ model.components_tm1.T, now @ model.components_t.T
    np.testing.assert_allclose(left.T @ left / len(left), np.eye(3), atol=1e-9)
    np.testing.assert_allclose(left.T @ right / len(left), np.diag(model.singular_values), atol=1e-9)


def test_tica_is_slow_feature_analysis_of_pairs(series):
    """Played forwards and backwards, all frames are both early and late: edges vanish, and so does irreversibility."""
    model, slow = slowness.tica([series, series[::-1].copy()], 1), slowness.fit(series)
    np.testing.assert_allclose(np.sort(model.eigenvalues), np.sort(1 - slow.delta / 2), atol=2e-3)
    both = slowness.vamp([series, series[::-1].copy()], 1)
    np.testing.assert_allclose(both.singular_values, np.abs(model.eigenvalues), atol=1e-9)


def test_rank_deficient(series):
    wide = np.concatenate([series, series[:, :1] - series[:, 1:2], np.full((len(series), 1), 3.3)], axis=1)
    for solve, values in ((slowness.tica, "eigenvalues"), (slowness.vamp, "singular_values")):
        model, expected = solve(wide, 1), solve(series, 1)
        assert int(model.rank) == 3
        np.testing.assert_allclose(getattr(model, values)[:3], getattr(expected, values), rtol=1e-9)
    assert np.isnan(slowness.tica(wide).eigenvalues[3:]).all()
    np.testing.assert_array_equal(slowness.vamp(wide).components_t[3:], 0)


def test_no_correlation_is_not_cut_off():
    """A feature that says nothing about later is a feature still, and does not mix with a constant one."""
    x = np.tile([1.0, 0.0, -1.0, 0.0], 100)
    model = slowness.vamp(np.stack([np.append(x, 1.0), np.zeros(401)], axis=1))
    assert int(model.rank) == 1
    np.testing.assert_allclose(np.abs(model.components_tm1), [[np.sqrt(2), 0], [0, 0]], atol=1e-12)
    np.testing.assert_allclose(model.singular_values, 0, atol=1e-12)


def test_rank_of_vamp_is_that_of_both_sides(series):
    """The third feature varies in the first frame alone, so in no later one."""
    x = series.copy()
    x[1:, 2] = 5
    assert int(slowness.vamp(x).rank) == 2
    assert int(slowness.vamp(x[::-1].copy()).rank) == 2


def test_reversible_moments_serve_tica(series):
    with jax.enable_x64(True):
        few, all_ = (
            jax.jit(slowness.update_moments)(slowness.init_moments(3, pairs=pairs), series)
            for pairs in ("reversible", True)
        )
        solve = jax.jit(lambda few, all_: [slowness.solve_tica(moments).eigenvalues for moments in (few, all_)])
        np.testing.assert_allclose(*solve(few, all_))
        with pytest.raises(ValueError, match="what solve_tica needs only"):
            slowness.solve_vamp(few)


def test_under_jit_and_vmap(series):
    with jax.enable_x64(True):
        runs = np.stack([series[:300], series[300:]])

        def values(x):
            moments = slowness.update_moments(slowness.init_moments(3, pairs=True), x)
            return slowness.solve_vamp(moments).singular_values, slowness.solve_tica(moments, 2).eigenvalues

        found = jax.jit(jax.vmap(values))(runs)
    for run, singular_values, eigenvalues in zip(runs, *found, strict=True):
        np.testing.assert_allclose(singular_values, slowness.vamp(run).singular_values, rtol=1e-9)
        np.testing.assert_allclose(eigenvalues, slowness.tica(run, 1, 2).eigenvalues, rtol=1e-9)


def test_vamp2_loss_is_minus_the_score(series):
    loss = jax.jit(slowness.vamp2_loss)
    with jax.enable_x64(True):
        found = loss(series[2:], series[:-2], epsilon=1e-12)
        np.testing.assert_allclose(found, -slowness.vamp_score(slowness.vamp(series, 2), r=2), rtol=1e-8)
        mixed = loss(series[2:] @ np.triu(np.ones((3, 3))), series[:-2] + 5, epsilon=1e-12)
        np.testing.assert_allclose(mixed, found, rtol=1e-8)
        mask = np.arange(598) % 3 > 0
        masked = loss(series[2:], series[:-2], mask=mask)
        np.testing.assert_allclose(masked, loss(series[2:][mask], series[:-2][mask]), rtol=1e-8)
        constant = np.full((1000, 3), 7.3)
        np.testing.assert_allclose(loss(constant, constant), -1)
        collapsed = np.repeat(series[:, :1], 3, axis=1)
        assert loss(collapsed[2:], collapsed[:-2]) > loss(series[2:], series[:-2])
        for scale in (1e-30, 1e30):
            np.testing.assert_allclose(loss(scale * series[2:], scale * series[:-2]), loss(series[2:], series[:-2]))


def test_errors(series):
    for call, message in [
        (lambda: slowness.solve_vamp(slowness.init_moments(3)), "init_moments.*pairs=True"),
        (lambda: slowness.solve_tica(slowness.init_moments(3)), "init_moments.*pairs=True"),
        (lambda: slowness.vamp(series, 600), "more than lag = 600 frames"),
        (lambda: slowness.tica(np.ones((9, 2))), "every feature is constant"),
        (lambda: slowness.vamp(series, 1, 4), "n_components: expected 1 to 3"),
        (lambda: slowness.vamp_score(slowness.vamp(series), r=3), "r: expected 1, 2 or 'E', got 3"),
        (lambda: slowness.merge_moments(slowness.init_moments(3), slowness.init_moments(3, pairs=True)), "a and b"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
