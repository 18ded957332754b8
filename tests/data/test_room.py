"""The embedded world: its geometry, its statistics, its errors."""

import numpy as np
import pytest

from sfa_jax._errors import InputError
from sfa_jax.data import room


def deltas(truth):
    return {name: np.mean(np.diff(values) ** 2) / np.var(values) for name, values in truth.items()}


def test_a_run():
    (run,) = room(n_frames=50, image_size=(16, 24))
    assert run.frames.shape == (50, 16, 24, 3)
    assert run.frames.dtype == np.uint8
    np.testing.assert_array_equal(run.frame_index, np.arange(50))
    np.testing.assert_allclose(run.truth["cos_heading"] ** 2 + run.truth["sin_heading"] ** 2, 1, rtol=1e-5)
    (again,) = room(n_frames=50, image_size=(16, 24))
    np.testing.assert_array_equal(run.frames, again.frames)
    (other,) = room(n_frames=50, image_size=(16, 24), seed=1)
    assert np.any(run.frames != other.frames)


def test_movement_statistics_decide_what_is_slow():
    place = deltas(room(n_frames=4000, image_size=4, preset="place")[0].truth)
    heading = deltas(room(n_frames=4000, image_size=4, preset="head_direction")[0].truth)
    assert max(place["x"], place["z"]) < min(place["cos_heading"], place["sin_heading"]) / 3
    assert min(heading["x"], heading["z"]) > max(heading["cos_heading"], heading["sin_heading"]) * 3


def test_the_default_walk_covers_the_floor():
    (run,) = room(image_size=4)
    assert len(run) >= 12_000
    visits, _, _ = np.histogram2d(run.truth["x"], run.truth["z"], bins=10, range=[(0.05, 1.15), (0.05, 0.95)])
    assert visits.min() > 20


def test_walls_are_where_they_should_be():
    """Facing a wall at distance d, the wall's foot is seen below the horizon at the slope camera height / d."""
    (run,) = room(n_frames=400, image_size=(64, 64), field_of_view=60)
    height, camera = 64, 0.3
    slope = np.tan(np.deg2rad(30)) * (1 - 2 * (np.arange(height) + 0.5) / height)
    checked = 0
    for t in range(len(run)):
        if run.truth["cos_heading"][t] < 0.999:
            continue
        distance = 1.2 - run.truth["x"][t]
        middle = run.frames[t, :, 32].astype(int)
        floor_rows = np.all(middle == (95, 80, 65), axis=1)
        np.testing.assert_array_equal(floor_rows, slope * distance + camera < 0)
        checked += 1
    assert checked > 2


def test_greyscale_and_runs():
    runs = room(n_frames=9, n_runs=3, image_size=8, greyscale=True)
    assert [run.frames.shape for run in runs] == [(9, 8, 8, 1)] * 3
    colour = room(n_frames=9, n_runs=3, image_size=8)[1].frames @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(runs[1].frames[..., 0], colour, atol=0.51)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "running"}, "room.preset: expected one of"),
        ({"n_frames": 1}, "room.n_frames: expected at least 2, got 1"),
        ({"n_runs": 0}, "room.n_runs"),
        ({"field_of_view": 400}, "room.field_of_view"),
        ({"size": (0.1, 1.0)}, "room.size"),
        ({"speed": 5.0}, "room.speed"),
        ({"turning": -1.0}, "room.turning"),
        ({"smoothness": 1.0}, "room.smoothness"),
        ({"image_size": 2}, "image_size"),
    ],
)
def test_errors(options, message):
    with pytest.raises(InputError, match=message):
        room(**options)
