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


def test_numbers_of_numpy():
    options = {"n_frames": np.int64(3), "seed": np.int64(1), "speed": np.float32(0.02), "size": np.array([1.2, 1])}
    np.testing.assert_array_equal(
        room(image_size=[8, 8], **options)[0].frames,
        room(image_size=8, n_frames=3, seed=1, speed=float(np.float32(0.02)), size=(1.2, 1))[0].frames,
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "running"}, "room.preset: expected one of"),
        ({"preset": ["place"]}, "room.preset: expected one of"),
        ({"n_frames": 1}, "room.n_frames: expected a whole number of at least 2, got 1"),
        ({"n_frames": 100.0}, "room.n_frames: .*got 100.0"),
        ({"n_runs": 0}, "room.n_runs: expected a whole number of at least 1, got 0"),
        ({"n_runs": 1.5}, "room.n_runs: .*got 1.5"),
        ({"seed": -1}, "room.seed: expected a whole number of at least 0, got -1"),
        ({"seed": 0.0}, "room.seed: .*got 0.0"),
        ({"field_of_view": 400}, r"room.field_of_view: expected a number in \(0, 360\], in degrees, got 400"),
        ({"field_of_view": 0}, "room.field_of_view: .*got 0"),
        ({"field_of_view": np.nan}, "room.field_of_view: .*got nan"),
        ({"size": (0.1, 1.0)}, r"room.size: expected a number in \(0.2, inf\), in metres.*got 0.1"),
        ({"size": (1.0, -1.0)}, "room.size: .*got -1.0"),
        ({"size": (1.0, np.inf)}, "room.size: .*got inf"),
        ({"size": (1.0, "1")}, "room.size: .*got '1'"),
        ({"size": 1.2}, "room.size: expected two lengths in metres, .*got 1.2"),
        ({"size": (1.2,)}, r"room.size: expected two lengths in metres, .*got \(1.2,\)"),
        ({"size": (1.2, 1.0, 0.6)}, "room.size: expected two lengths"),
        ({"size": "12"}, "room.size: expected two lengths"),
        ({"speed": 5.0}, r"room.speed: expected a number in \[0, 0.5\), in metres a frame, .*got 5.0"),
        ({"speed": -0.1}, "room.speed: .*got -0.1"),
        ({"speed": np.nan}, "room.speed: .*got nan"),
        ({"turning": -1.0}, r"room.turning: expected a number in \[0, inf\), in radians a frame, got -1.0"),
        ({"turning": np.inf}, "room.turning: .*got inf"),
        ({"turning": np.nan}, "room.turning: .*got nan"),
        ({"smoothness": 1.0}, "room.smoothness: .*a correlation, got 1.0"),
        ({"smoothness": np.nan}, "room.smoothness: .*got nan"),
        ({"image_size": 2}, "image_size: the room .*expected at least 4 px a side, got 2"),
        ({"image_size": 0}, "image_size: the room .*none of its own; .*got 0; give for instance 64"),
        ({"image_size": None}, "image_size: the room .*got None"),
        ({"image_size": (64, 2)}, r"image_size: the room .*got \(64, 2\)"),
        ({"image_size": 64.0}, "image_size must be a whole number of pixels"),
    ],
)
def test_errors(options, message):
    with pytest.raises(InputError, match=message):
        room(**options)
