"""The linear probe against scikit-learn's ridge classifier and leave-one-out by hand."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from sfa_jax import evaluation
from sfa_jax.evaluation import _probe


@pytest.fixture
def blobs(rng):
    labels = np.repeat([2, 5, 9], 30)
    centres = rng.normal(size=(3, 6)) * 1.5
    return np.repeat(centres, 30, axis=0) + rng.normal(size=(90, 6)), labels


def left_out_errors(z, y):
    """Of each penalty, relative to the mean variance of a direction."""
    unit = np.mean(np.linalg.svd(z - z.mean(0), compute_uv=False) ** 2)
    errors = []
    for penalty in _probe._PENALTIES:
        found = []
        for n in range(len(z)):
            rest = np.arange(len(z)) != n
            model = Ridge(alpha=penalty * unit).fit(z[rest], y[rest])
            found.append(model.predict(z[n : n + 1])[0] - y[n])
        errors.append(np.mean(np.square(found)))
    return errors, unit


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_is_ridge_with_the_penalty_and_the_scaling_of_leaving_one_out(noise, blobs, rng, monkeypatch):
    codes, labels = blobs
    if noise:  # small numbers that say nothing: made as large as the others, they would be in the way
        codes = np.concatenate([codes, noise * rng.normal(size=(90, 30))], axis=1)
    else:
        codes = codes * 10.0 ** np.arange(6)
    monkeypatch.setattr(_probe, "_PENALTIES", np.logspace(-3, 2, 6))
    probe = evaluation.fit_probe(codes, labels)
    deviation, y = codes.std(0), np.eye(3)[np.searchsorted([2, 5, 9], labels)]
    scales = [deviation, np.full(len(deviation), np.sqrt(np.mean(deviation**2)))]
    by_hand = [left_out_errors((codes - codes.mean(0)) / scale, y) for scale in scales]
    best = int(np.argmin([min(errors) for errors, _ in by_hand]))
    assert best == (1 if noise else 0)
    np.testing.assert_allclose(probe.scale, scales[best])
    errors, unit = by_hand[best]
    # By hand the mean is left out, too; the order of the penalties is the same.
    assert probe.penalty == _probe._PENALTIES[int(np.argmin(errors))]
    z = (codes - codes.mean(0)) / probe.scale
    expected = Ridge(alpha=probe.penalty * unit).fit(z, y)
    np.testing.assert_allclose(probe.weights, expected.coef_.T, atol=1e-8)
    np.testing.assert_allclose(probe.offset, expected.intercept_, atol=1e-8)


def test_accuracy_does_not_depend_on_scale_and_dead_numbers(blobs):
    codes, labels = blobs
    other = np.concatenate([codes * 10.0 ** np.arange(6), np.full((90, 2), 3.0)], axis=1)
    found = [evaluation.probe_accuracy(x[::2], labels[::2], x[1::2], labels[1::2]) for x in (codes, other)]
    assert found[0] == found[1] > 0.8
    few = evaluation.probe_accuracy(codes[::2], labels[::2], codes[1::2], labels[1::2], per_class=2)
    assert 0.4 < few <= found[0]


def test_bad_arguments(blobs):
    codes, labels = blobs
    with pytest.raises(ValueError, match="codes, labels: expected"):
        evaluation.fit_probe(codes, labels[:3])
    with pytest.raises(ValueError, match=r"codes: expected \[n, 6\], got \(6,\)"):
        evaluation.fit_probe(codes, labels)(codes[0])
    with pytest.raises(ValueError, match="labels: expected at least two classes, got 1"):
        evaluation.fit_probe(codes[:5], labels[:5])
    with pytest.raises(ValueError, match="per_class: expected at most 30"):
        evaluation.probe_accuracy(codes, labels, codes, labels, per_class=31)
