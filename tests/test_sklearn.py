"""The scikit-learn estimator: scikit-learn's own checks, streams, runs, pipelines, and what it says of bad input."""

import contextlib
import importlib
import multiprocessing
import os
import pickle
import sys
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from sfa_jax import slowness
from sfa_jax.sklearn import SFA
from sfa_jax.training import restore_model

FITTED = ("components_", "mean_", "delta_values_", "rank_")


@pytest.fixture
def walk(rng):
    """Three features that wander at different speeds, far from 0."""
    return np.cumsum(rng.normal(size=(60, 3)), axis=0) @ rng.normal(size=(3, 3)) + rng.normal(size=(60, 3)) + 100.0


def assert_equal_fits(found, expected):
    for name in FITTED:
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-10, atol=1e-12, err_msg=name)


def test_check_estimator():
    results = check_estimator(SFA(), on_skip=None)
    assert {result["check_name"] for result in results if result["status"] != "passed"} <= {
        "check_array_api_input"  # wants SCIPY_ARRAY_API=1 set before scipy is imported; passes then
    }


def test_wiskott_sejnowski_in_a_pipeline():
    t = np.arange(0, 2 * np.pi, 0.011)
    x = np.stack([np.sin(t) + np.cos(11 * t) ** 2, np.cos(11 * t)], axis=1)
    pipeline = make_pipeline(StandardScaler(), PolynomialFeatures(2), SFA(2))
    y = pipeline.fit_transform(x)
    assert y.shape == (len(t), 2)
    assert abs(np.corrcoef(y[:, 0], np.sin(t))[0, 1]) >= 0.9999
    assert pipeline[-1].rank_ == 5  # of 6: the expansion holds a constant
    assert list(pipeline.get_feature_names_out()) == ["sfa0", "sfa1"]
    np.testing.assert_allclose(pipeline.transform(x[7:8]), y[7:8], atol=1e-9)


def test_equals_scipy(walk):
    linalg = pytest.importorskip("scipy.linalg")
    change = walk[2:] - walk[:-2]
    values, vectors = linalg.eigh(change.T @ change / len(change), np.cov(walk, rowvar=False, bias=True))
    sfa = SFA(2, lag=2).fit(walk)
    np.testing.assert_allclose(sfa.delta_values_, values[:2], rtol=1e-8)
    y = sfa.transform(walk)
    np.testing.assert_allclose(np.abs(y), np.abs((walk - walk.mean(axis=0)) @ vectors[:, :2]), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(np.mean((y[2:] - y[:-2]) ** 2, axis=0), sfa.delta_values_, rtol=1e-8)


@pytest.mark.parametrize("lag", [1, 3])
@pytest.mark.parametrize("cuts", [[20], [1, 2, 3, 7, 40], [59]])
def test_partial_fit_equals_fit(walk, lag, cuts):
    sfa = SFA(lag=lag)
    for chunk in np.split(walk, cuts):
        sfa = pickle.loads(pickle.dumps(sfa.partial_fit(chunk)))
    expected = SFA(lag=lag).fit(walk)
    assert_equal_fits(sfa, expected)
    assert_equal_fits(expected.partial_fit(walk, new_run=True).fit(walk), sfa)  # fit forgets


def test_fit_may_be_followed_by_partial_fit(walk):
    assert_equal_fits(SFA(2).fit(walk[:30]).partial_fit(walk[30:]), SFA(2).fit(walk))


@pytest.mark.parametrize("names", [[0, 1, 2], [5, 0, 5], ["a", "b", "c"]])
def test_runs_do_not_touch(walk, names):
    lengths = [30, 2, 28]
    runs = np.split(walk, np.cumsum(lengths)[:-1])
    sfa = SFA(lag=2).fit(walk, run_id=np.repeat(names, lengths))
    streamed, row_by_row = SFA(lag=2), SFA(lag=2)
    for run in runs:
        streamed.partial_fit(run, new_run=True)
        for t in range(len(run)):
            row_by_row.partial_fit(run[t : t + 1], new_run=t == 0)
    model = slowness.fit(runs, lag=2)
    for found in (sfa, streamed, row_by_row):
        np.testing.assert_allclose(found.components_, model.components, rtol=1e-10)
        np.testing.assert_allclose(found.delta_values_, model.delta, rtol=1e-10)
    assert not np.allclose(SFA(lag=2).fit(walk).delta_values_, model.delta, rtol=1e-3)
    in_pipeline = make_pipeline(StandardScaler(), SFA(lag=2)).fit(walk, sfa__run_id=np.repeat(names, lengths))
    np.testing.assert_allclose(in_pipeline[-1].delta_values_, model.delta, rtol=1e-8)


@pytest.mark.parametrize("missing", [float("nan"), None, np.datetime64("NaT", "s"), "pandas.NA", "masked"])
def test_every_row_has_a_run(walk, missing):
    ids = np.repeat([0, 1], 30).astype("datetime64[ns]" if isinstance(missing, np.datetime64) else object)
    if missing == "masked":
        ids = np.ma.masked_array(np.repeat([0, 1], 30), np.arange(60) == 7)
    elif missing == "pandas.NA":
        ids[7:9] = pytest.importorskip("pandas").NA
    else:
        ids[7:9] = missing
    given = [ids] if missing == "masked" else [ids, list(ids)]
    if isinstance(missing, float):
        given.append(ids.astype(float))
    for run_id in given:
        with pytest.raises(ValueError, match=r"run_id: expected a run for every row, got .* give what was before"):
            SFA().fit(walk, run_id=run_id)


def test_names_and_numbers_do_not_mix(walk):
    with pytest.raises(ValueError, match=r"run_id: expected numbers or names, got both \(int, str\)"):
        SFA().fit(walk, run_id=[1] * 30 + ["1"] * 30)
    pandas = pytest.importorskip("pandas")
    expected = SFA().fit(walk, run_id=np.repeat([0, 1], 30))
    for values in (["a"] * 30 + ["b"] * 30, [1] * 30 + [2.5] * 30):
        for run_id in (values, np.array(values), pandas.Series(values), pandas.Categorical(values)):
            assert_equal_fits(SFA().fit(walk, run_id=run_id), expected)


def test_lists_of_runs_are_told_of_run_id(walk):
    for runs in ([walk[:20], walk[20:]], (walk[:30], walk[30:]), walk.reshape(2, 30, 3)):
        for call in (SFA().fit, SFA().partial_fit, SFA().fit(walk).transform, SFA().fit(walk).score):
            with pytest.raises(ValueError, match=r"X: expected one array .* run_id=np\.repeat\(np\.arange"):
                call(runs)


def test_inverse_transform(walk):
    """Exact where all dimensions are kept, also of deficient rank; else the regression of the rows on the features."""
    wide = np.concatenate([100 * walk, walk[:, :1] - walk[:, 1:2], np.full((60, 1), 3.0)], axis=1)
    sfa = SFA().fit(wide)
    np.testing.assert_allclose(sfa.inverse_transform(sfa.transform(wide)), wide, rtol=1e-6)
    few = SFA(2).partial_fit(wide[:40]).partial_fit(wide[40:])
    y = few.transform(wide)
    found = few.inverse_transform(y)
    np.testing.assert_allclose(few.transform(found), y, atol=1e-7)
    design = np.concatenate([y, np.ones((60, 1))], axis=1)
    np.testing.assert_allclose(found, design @ np.linalg.lstsq(design, wide, rcond=None)[0], rtol=1e-6)
    assert few.inverse_transform(y.astype(np.float32)).dtype == np.float32
    with pytest.raises(ValueError, match="X: expected 2 slow features a row, got 3"):
        few.inverse_transform(walk)
    with pytest.raises(NotFittedError):
        SFA().inverse_transform(y)


def test_score_is_minus_the_held_out_delta(walk):
    sfa = SFA(2, lag=2).fit(walk[:40])
    y = sfa.transform(walk[40:])
    change = y[2:] - y[:-2]
    assert sfa.score(walk[40:]) == pytest.approx(-np.mean((change**2).mean(axis=0) / y.var(axis=0)))
    assert SFA().fit(walk).score(walk) == pytest.approx(-SFA().fit(walk).delta_values_.mean())
    apart = np.concatenate([y[2:10] - y[:8], y[12:] - y[10:18]])
    scored = sfa.score(walk[40:], run_id=[0] * 10 + [1] * 10)
    assert scored == pytest.approx(-np.mean((apart**2).mean(axis=0) / y.var(axis=0)))
    with pytest.raises(ValueError, match="X: every slow feature is constant on these rows"):
        sfa.score(np.ones((5, 3)))
    with pytest.raises(ValueError, match="X: expected a run of more than lag = 2 samples"):
        sfa.score(walk[:2])


def test_grid_search_without_a_target(walk):
    """Of the estimator and of a pipeline; with runs where metadata routing hands them on."""
    for estimator, name in ((SFA(), "n_components"), (make_pipeline(StandardScaler(), SFA()), "sfa__n_components")):
        search = GridSearchCV(estimator, {name: [1, 2]}, cv=TimeSeriesSplit(3), error_score="raise").fit(walk)
        assert search.best_params_ == {name: 1}
        train, test = next(iter(TimeSeriesSplit(3).split(walk)))
        split = search.cv_results_["split0_test_score"][0]
        assert split == pytest.approx(clone(estimator).set_params(**{name: 1}).fit(walk[train]).score(walk[test]))
    ids = np.arange(60) // 5
    with config_context(enable_metadata_routing=True):
        asked = SFA(1).set_fit_request(run_id=True).set_score_request(run_id=True)
        search = GridSearchCV(asked, {"lag": [1, 2]}, cv=TimeSeriesSplit(3), error_score="raise")
        search.fit(walk, run_id=ids)
    fitted = SFA(1).fit(walk[train], run_id=ids[train])
    assert search.cv_results_["split0_test_score"][0] == pytest.approx(fitted.score(walk[test], run_id=ids[test]))


def test_types(walk):
    """float64 within whatever comes in; float32 goes out as it came; jax's default stays."""
    sfa = SFA(2).fit(walk.astype(np.float32))
    assert {getattr(sfa, name).dtype for name in FITTED[:3]} == {np.dtype(np.float64)}
    assert isinstance(sfa.rank_, int)
    assert sfa.transform(walk).dtype == np.float64
    assert sfa.transform(np.round(walk).astype(int)).dtype == np.float64
    assert sfa.transform(walk.astype(np.float32)).dtype == np.float32
    assert sfa.transform(jnp.asarray(walk, jnp.float32)).dtype == np.float32
    assert jnp.ones(()).dtype == jnp.float32
    assert not jax.config.jax_enable_x64


def test_more_rows_than_are_added_at_once(rng):
    x = np.cumsum(rng.normal(size=(5000, 3)), axis=0)
    sfa = SFA().partial_fit(x[:4500]).partial_fit(x[4500:])
    y = sfa.transform(x)
    np.testing.assert_allclose(y, (x - x.mean(axis=0)) @ sfa.components_.T, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(np.mean(np.diff(y, axis=0) ** 2, axis=0), sfa.delta_values_, rtol=1e-9)


def test_rank_deficient(walk):
    wide = np.concatenate([walk[:, :2], walk[:, :1] - walk[:, 1:2]], axis=1)
    sfa = SFA().fit(wide)
    assert sfa.rank_ == 2
    assert np.isfinite(sfa.delta_values_).tolist() == [True, True, False]
    np.testing.assert_array_equal(sfa.transform(wide)[:, 2], 0)


def test_clone_and_grid_search(walk):
    sfa = SFA(2, lag=3, rcond=1e-6).fit(walk)
    copy = clone(sfa)
    assert copy.get_params() == {"n_components": 2, "lag": 3, "rcond": 1e-6}
    assert not hasattr(copy, "components_")
    grid = {"sfa__n_components": np.arange(1, 3), "sfa__lag": np.arange(1, 3), "sfa__rcond": [np.float64(1e-9)]}
    search = GridSearchCV(make_pipeline(SFA(), Ridge()), grid, cv=TimeSeriesSplit(2), error_score="raise")
    search.fit(walk, walk[:, 0])
    assert set(search.best_params_) == set(grid)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_data_frames(walk):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(walk, columns=list("abc"), index=np.arange(60) * 10)
    sfa = SFA(2).set_output(transform="pandas")
    y = sfa.fit_transform(frame)
    assert list(y.columns) == ["sfa0", "sfa1"]
    assert y.index.equals(frame.index)
    assert list(sfa.feature_names_in_) == list("abc")
    with pytest.raises(ValueError, match="feature names"):
        sfa.partial_fit(frame[["b", "a", "c"]])


def test_partial_fit_with_too_little_is_not_fitted_yet(walk):
    sfa = SFA(2, lag=2)
    for rows in (np.ones((2, 3)), np.ones((5, 3))):  # no pair; pairs, but nothing varies
        sfa.partial_fit(rows)
        with pytest.raises(NotFittedError, match="SFA has no components yet: call 'fit', or 'partial_fit'"):
            sfa.transform(walk)
        with pytest.raises(NotFittedError):
            sfa.get_feature_names_out()
    assert_equal_fits(sfa.partial_fit(walk), SFA(2, lag=2).fit(np.concatenate([np.ones((7, 3)), walk])))


def test_a_bad_chunk_leaves_the_stream_as_it_was(walk):
    sfa = SFA(2).partial_fit(walk[:30])
    for bad, message in [
        (np.full((4, 3), np.nan), "contains NaN"),
        (walk[:, :2], "2 features, but SFA is expecting 3"),
    ]:
        with pytest.raises(ValueError, match=message):
            sfa.partial_fit(bad)
    with pytest.raises(ValueError, match="lag: expected 1, that of the rows before, got 2"):
        sfa.set_params(lag=2).partial_fit(walk[30:])
    assert_equal_fits(sfa.set_params(lag=1).partial_fit(walk[30:]), SFA(2).fit(walk))


@pytest.mark.parametrize(
    ("options", "change", "message"),
    [
        ({"n_components": 4}, {}, "n_components: expected 1 to 3, the number of features of X, got 4; ask for fewer"),
        ({"n_components": 0}, {}, "n_components: expected 1 to 3"),
        ({"lag": 0}, {}, "lag: expected at least 1 row, got 0"),
        ({"rcond": 1.0}, {}, "rcond: expected a share of the largest eigenvalue"),
        (
            {"lag": 60},
            {},
            "X: expected a run of more than lag = 60 samples, the longest has 60 samples; give more rows",
        ),
        ({}, {"X": np.ones((1, 3))}, "X: expected a run of more than lag = 1 samples, the longest has 1 sample;"),
        ({}, {"run_id": np.arange(60)}, "the longest has 1 sample; give more rows or a smaller lag"),
        ({}, {"run_id": np.zeros((60, 1))}, r"run_id: expected shape \(60,\), one entry a row of X, got \(60, 1\)"),
        ({}, {"run_id": [0, 1]}, r"run_id: expected shape \(60,\), one entry a row of X, got \(2,\)"),
        ({}, {"X": np.full((9, 3), 7.3)}, "X: every feature is constant, .* give input that varies"),
        ({}, {"X": np.full((9, 3), np.nan)}, "Input X contains NaN"),
        ({}, {"X": np.full((9, 3), np.inf)}, "Input X contains infinity"),
        ({}, {"X": np.ones(9)}, "Expected 2D array, got 1D array instead"),
    ],
)
def test_errors(walk, options, change, message):
    with pytest.raises(ValueError, match=message):
        SFA(**options).fit(**({"X": walk} | change))


@pytest.mark.parametrize("name", ["n_components", "lag"])
def test_only_whole_numbers(walk, name):
    with pytest.raises(TypeError, match=rf"{name}: expected a whole number, got 2\.0"):
        SFA(**{name: 2.0}).fit(walk)


def test_without_scikit_learn(monkeypatch):
    for name in ("sklearn", "sklearn.base", "sklearn.utils.validation"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "sfa_jax.sklearn")
    with pytest.raises(ImportError, match=r"pip install 'sfa_jax\[sklearn\]'"):
        importlib.import_module("sfa_jax.sklearn")


def test_in_a_forked_process(walk):
    """A fitted estimator is applied; what needs jax, which would wait there forever, says so at once."""
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("this system does not fork")
    sfa = SFA(2).fit(walk)
    slowness.fit(walk)
    with warnings.catch_warnings(), contextlib.ExitStack() as until_done:
        warnings.simplefilter("ignore")  # of jax, and of Python 3.12, which both advise against it
        pool = until_done.enter_context(multiprocessing.get_context("fork").Pool(1))
        np.testing.assert_array_equal(pool.apply_async(sfa.transform, [walk]).get(60), sfa.transform(walk))
        for function, argument in (
            (SFA(2).fit, walk), (SFA(2).partial_fit, walk), (slowness.fit, walk), (restore_model, "nowhere"),
        ):  # fmt: skip
            with pytest.raises(RuntimeError, match=rf"was forked from one that has used jax \({os.getpid()}\)"):
                pool.apply_async(function, [argument]).get(60)
