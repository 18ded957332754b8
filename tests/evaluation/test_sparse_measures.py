"""How sparse codes and the world are measured, against loops."""

import numpy as np
import pytest
from scipy.stats import kurtosis

from sfa_jax import evaluation


def test_elbow():
    assert evaluation.elbow([10.0, 2.0, 1.0, 0.5, 0.0]) == 1
    assert evaluation.elbow([3.0, 2.0, 1.0, 0.0]) == 0  # a straight line bends nowhere
    assert evaluation.elbow([1.0]) == 0
    assert evaluation.elbow([2.0, 1.0]) == 1


def test_coding_measures_of_an_orthonormal_dictionary(rng):
    x = rng.standard_normal((40, 5)).astype(np.float32)
    found, codes = evaluation.coding_measures(np.eye(5, dtype=np.float32), x, 0.5, positive=False)
    z = np.sign(x) * np.maximum(np.abs(x) - 0.5, 0)
    expected = {
        "objective": np.mean(0.5 * np.sum((x - z) ** 2, axis=1) + 0.5 * np.abs(z).sum(axis=1)),
        "left": np.sum((x - z) ** 2) / np.sum(x**2),
        "n_nonzero": (z != 0).sum(axis=1).mean(),
        "used_atoms": 5,
        "kurtosis": kurtosis(z.ravel(), fisher=False),
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-3), name
    assert 0 <= found["objective_gap"] < 1e-3 * found["objective"]
    np.testing.assert_allclose(codes, z, atol=1e-3)


def test_pursuit_of_orthonormal_atoms_leaves_the_smallest(rng):
    x = rng.standard_normal((30, 6)).astype(np.float32)
    x[3] = 0
    found = evaluation.pursuit(np.eye(6, dtype=np.float32), x, 10)
    kept = np.delete(x, 3, axis=0)
    largest = np.sort(kept**2, axis=1)[:, ::-1]
    expected = 1 - np.cumsum(largest, axis=1) / np.sum(kept**2, axis=1, keepdims=True)
    np.testing.assert_allclose(np.delete(found.left, 3, axis=0), expected, atol=1e-5)
    assert np.isnan(found.left[3]).all()
    assert found.elbow == evaluation.elbow(np.nanmedian(found.left, axis=0)) + 1
    assert evaluation.pursuit(np.eye(6, dtype=np.float32), 0 * x, 2).elbow in (1, 2)


def test_series_are_sums_of_sinusoids():
    waves = evaluation.sinusoids(120)
    np.testing.assert_allclose(np.linalg.norm(waves, axis=1), 1, rtol=1e-5)
    series = (2 * waves[40] + waves[80])[:, None] + 0.5
    assert evaluation.series_pursuit(series.astype(np.float32)).left[0, 2] < 0.05
    drawn = evaluation.drawn_by_sinusoids(series.astype(np.float32), 3)
    assert np.sum((drawn - series) ** 2) < 0.05 * np.sum((series - series.mean()) ** 2)


def test_curves_are_scipys(rng):
    frames = rng.integers(0, 256, (30, 4, 5, 1), dtype=np.uint8)
    series = evaluation.pixel_series(frames)
    np.testing.assert_array_equal(series, frames.reshape(30, 20).astype(np.float32) / 255)
    curves = evaluation.time_curves(series)
    np.testing.assert_allclose(curves.before, kurtosis(series, fisher=False), rtol=1e-4)
    lags, values = curves.after["tau"]
    assert lags == (1, 11)
    for lag, found in zip(lags, values, strict=True):
        np.testing.assert_allclose(found, kurtosis(np.abs(series[lag:] - series[:-lag]), fisher=False), rtol=1e-3)
    lags, values = curves.after["window"]
    before = np.concatenate([np.repeat(series[:1], 11, axis=0), series])
    box = series - np.stack([before[t : t + 11].mean(axis=0) for t in range(30)])
    np.testing.assert_allclose(values[1], kurtosis(box, fisher=False), rtol=1e-3)
    thetas, values = curves.after["theta"]
    np.testing.assert_allclose(values[10], kurtosis(np.maximum(series - thetas[10], 0), fisher=False), rtol=1e-3)
    images = evaluation.space_curves(frames)
    x = frames[..., 0] / 255
    both = np.concatenate([np.diff(x, axis=1).reshape(30, -1), np.diff(x, axis=2).reshape(30, -1)], axis=1)
    np.testing.assert_allclose(images.after["spatial_window"][1][0], kurtosis(both, axis=1, fisher=False), rtol=1e-3)
    theta = images.after["hard_theta"][0][6]
    expected = kurtosis(np.where(x >= np.float32(theta), x, 0).reshape(30, -1), axis=1, fisher=False)
    np.testing.assert_allclose(images.after["hard_theta"][1][6], expected, rtol=1e-3)
