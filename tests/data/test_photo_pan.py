"""The pan over photographs, and that its truth is true."""

import time

import numpy as np
import pytest
from PIL import Image

from sfa_jax._errors import InputError
from sfa_jax.data._load import load
from sfa_jax.data._photo_pan import photo_pan

pytest.importorskip("sklearn")


@pytest.fixture
def ramp(tmp_path):
    """A photograph whose red and green give the place, 0 to 1 from left to right and top to bottom."""
    rows, columns = np.mgrid[:400, :500]
    red, green = (columns + 0.5) / 500, (rows + 0.5) / 400
    Image.fromarray((np.stack([red, green, 0.5 * np.ones_like(red)], 2) * 255).round().astype(np.uint8)).save(
        tmp_path / "ramp.png"
    )
    return str(tmp_path / "ramp.png")


def test_shapes_and_truth():
    runs = photo_pan(n_frames=5, n_runs=3, image_size=(12, 20))
    assert [run.frames.shape for run in runs] == [(5, 12, 20, 3)] * 3
    assert [run.name for run in runs] == [
        f"photo_pan {i} ({n}.jpg)" for i, n in enumerate(("china", "flower", "china"))
    ]
    for run in runs:
        assert sorted(run.truth) == ["cos_angle", "sin_angle", "x", "y", "zoom"]
        assert all(values.shape == (5,) and values.dtype == np.float32 for values in run.truth.values())
        np.testing.assert_array_equal(run.frame_index, np.arange(5))
    assert photo_pan(n_frames=2, greyscale=True)[0].frames.shape == (2, 64, 64, 1)


def test_pixels_are_where_the_truth_says(ramp):
    (run,) = photo_pan(photographs=[ramp], n_frames=300, image_size=33, translation_speed=0.1, rotation_speed=0.2)
    places = run.frames[:, :, :, :2] / 255
    truth = {name: values.astype(float) for name, values in run.truth.items()}
    np.testing.assert_allclose(places[:, 16, 16, 0], truth["x"], atol=0.005)
    np.testing.assert_allclose(places[:, 16, 16, 1], truth["y"], atol=0.005)
    # From the middle to the right edge: half the view's side, turned clockwise (y points down) by the angle.
    half = 0.6 * 400 / np.sqrt(2) / truth["zoom"] / 33 * 16
    np.testing.assert_allclose(places[:, 16, 32, 0] - truth["x"], truth["cos_angle"] * half / 500, atol=0.006)
    np.testing.assert_allclose(places[:, 16, 32, 1] - truth["y"], truth["sin_angle"] * half / 400, atol=0.006)


def test_never_leaves_the_photograph(ramp):
    (run,) = photo_pan(photographs=[ramp], n_frames=2000, image_size=16, translation_speed=0.3, view=0.9)
    diagonal = 0.9 * 400 / run.truth["zoom"]
    for name, side in (("x", 500), ("y", 400)):
        place = run.truth[name] * side
        assert (place - diagonal / 2).min() >= 0
        assert (place + diagonal / 2).max() <= side
        # Both ends of the free range are reached.
        assert (place - diagonal / 2).min() < 0.1 * side
        assert (place + diagonal / 2).max() > 0.9 * side
    assert run.truth["zoom"].min() >= 1
    assert run.truth["zoom"].max() <= 1.5


def test_repeats_by_seed():
    first, again, other = (photo_pan(n_frames=20, image_size=16, seed=seed)[0] for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.frames, again.frames)
    assert np.abs(first.frames.astype(int) - other.frames).mean() > 5


@pytest.mark.parametrize("name", ["translation", "rotation", "zoom"])
def test_speeds(name):
    speeds = {f"{other}_speed": 0.0 for other in ("translation", "rotation", "zoom")}
    asked = {"translation": 0.01, "rotation": 0.05, "zoom": 0.004}[name]
    # A wide free range for the zoom, so that turning back at its ends matters little.
    run = photo_pan(n_frames=4000, image_size=2, zoom_range=8.0, **{**speeds, f"{name}_speed": asked})[0]
    angle = np.unwrap(np.arctan2(run.truth["sin_angle"], run.truth["cos_angle"]))
    moved = {
        "translation": np.diff(run.truth["x"] * 640) / (0.6 * 427),
        "rotation": np.diff(angle),
        "zoom": np.diff(np.log(run.truth["zoom"])),
    }
    for other, steps in moved.items():
        if other == name:
            assert 0.75 * asked < np.sqrt(np.mean(steps**2)) < 1.25 * asked
        elif (name, other) != ("zoom", "translation"):  # a closer view has more room, and its centre moves with it
            assert np.abs(steps).max() < 1e-4


def test_smoothness():
    def correlation(smoothness):
        run = photo_pan(n_frames=3000, image_size=2, rotation_smoothness=smoothness)[0]
        steps = np.diff(np.unwrap(np.arctan2(run.truth["sin_angle"], run.truth["cos_angle"])))
        return np.corrcoef(steps[:-1], steps[1:])[0, 1]

    assert abs(correlation(0)) < 0.1
    assert correlation(10) > 0.95


def test_through_load():
    (run,) = load("photo_pan", image_size=8, stride=4, photo_pan={"n_frames": 9})
    assert run.frames.shape == (3, 8, 8, 3)
    assert len(run.truth["x"]) == 3


def test_speed():
    photo_pan(n_frames=32)
    start = time.process_time()
    photo_pan(n_frames=500)
    assert 500 / (time.process_time() - start) > 500  # about 3,000 on a quiet machine


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 0}, r"image_size: photo_pan .*none of its own; expected at least 1 px a side, got 0"),
        ({"image_size": None}, r"image_size: photo_pan .*got None; give for instance 64"),
        ({"n_frames": 1}, r"photo_pan.n_frames: expected a whole number of at least 2, got 1"),
        ({"n_frames": 10.0}, r"photo_pan.n_frames: .*got 10.0"),
        ({"n_runs": 0}, r"photo_pan.n_runs: expected a whole number of at least 1, got 0"),
        ({"n_runs": True}, r"photo_pan.n_runs: .*got True"),
        ({"seed": -1}, r"photo_pan.seed: expected a whole number of at least 0, got -1"),
        ({"seed": 1.5}, r"photo_pan.seed: .*got 1.5"),
        ({"seed": None}, r"photo_pan.seed: .*got None"),
        ({"view": 1.0}, r"photo_pan.view: expected a number in \[0.001, 0.999\], a share of .*, got 1.0"),
        ({"view": "0.5"}, r"photo_pan.view: .*got '0.5'"),
        ({"zoom_range": 0.5}, r"photo_pan.zoom_range: expected a number in \[1, inf\), got 0.5"),
        ({"zoom_range": np.inf}, r"photo_pan.zoom_range: .*got inf"),
        ({"zoom_speed": np.nan}, r"photo_pan.zoom_speed: expected a number in \[0, inf\), a frame, got nan"),
        ({"translation_speed": -0.1}, r"photo_pan.translation_speed: .*got -0.1"),
        ({"rotation_speed": np.inf}, r"photo_pan.rotation_speed: .*got inf"),
        ({"rotation_smoothness": -1}, r"photo_pan.rotation_smoothness: .*in frames, got -1"),
        ({"zoom_smoothness": np.nan}, r"photo_pan.zoom_smoothness: .*got nan"),
        ({"photographs": ["nowhere.jpg"]}, r"the photograph 'nowhere.jpg' does not exist"),
        ({"photographs": "china.jpg"}, r"photo_pan.photographs: expected a list of file names, got 'china.jpg'"),
        ({"photographs": 3}, r"photo_pan.photographs: .*got 3"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(InputError, match=message):
        photo_pan(**options)


def test_missing_scikit_learn(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'sfa_jax\[images\]'"):
        photo_pan()
