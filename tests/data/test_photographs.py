"""Crops of photographs: where they lie, what decides them, and that no held-out photograph is trained on."""

import numpy as np
import pytest
from PIL import Image

from configs import sfa
from sfa_jax._errors import InputError
from sfa_jax.data import load, photographs
from sfa_jax.data._packaged import PACKAGED, find_photograph
from sfa_jax.training._inputs import load_inputs

pytest.importorskip("skimage")
NAMES = ("grace_hopper.jpg", "rocket.jpg", "chelsea.png", "flower.jpg")
SMALL = {"photographs": NAMES, "held_out": ["chelsea.png"], "n_crops": 6, "n_held_out_crops": 5, "image_size": 16}


@pytest.fixture
def ramp(tmp_path):
    """A photograph whose red and green give the place, 0 to 1 from left to right and top to bottom."""
    rows, columns = np.mgrid[:240, :300]
    red, green = (columns + 0.5) / 300, (rows + 0.5) / 240
    Image.fromarray((np.stack([red, green, 0.5 * np.ones_like(red)], 2) * 255).round().astype(np.uint8)).save(
        tmp_path / "ramp.png"
    )
    return str(tmp_path / "ramp.png")


@pytest.fixture
def plain(tmp_path):
    """`plain(level)`: a photograph of one grey level."""

    def make(level, name=None, folder=""):
        (tmp_path / folder).mkdir(exist_ok=True)
        path = tmp_path / folder / (name or f"level{level}.png")
        Image.fromarray(np.full((40, 50, 3), level, np.uint8)).save(path)
        return str(path)

    return make


def test_default():
    runs = photographs(n_crops=2, n_held_out_crops=3)
    names = [run.name.removeprefix("photograph ") for run in runs if run.held_out]
    assert names == ["chelsea.png", "china.jpg", "coffee.png"]
    assert [len(run) for run in runs] == [3 if run.held_out else 2 for run in runs]
    assert sum(run.held_out is False for run in runs) == 8
    for run in runs:
        assert run.frames.shape[1:] == (64, 64, 3)
        assert run.frames.dtype == np.uint8
        assert not run.truth
        np.testing.assert_array_equal(run.frame_index, np.arange(len(run)))


def test_shapes():
    runs = photographs(**{**SMALL, "image_size": (12, 20), "rotation": 1.0})
    assert [run.frames.shape for run in runs] == [(6, 12, 20, 3), (6, 12, 20, 3), (5, 12, 20, 3), (6, 12, 20, 3)]
    assert photographs(**SMALL, greyscale=True)[0].frames.shape == (6, 16, 16, 1)
    assert photographs(photographs=["brick.png", "flower.jpg"], held_out=1, n_crops=2)[0].frames.shape == (2, 64, 64, 3)


def test_all_packaged_photographs_are_there():
    assert all(find_photograph("photographs", name).endswith(name) for name in PACKAGED)


def test_repeats_by_seed():
    first, again, other = (photographs(**SMALL, seed=seed) for seed in (3, 3, 4))
    for run, same, different in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(run.frames, same.frames)
        # What is held out is the same for all seeds.
        assert np.array_equal(run.frames, different.frames) == run.held_out


def test_options_leave_other_crops_alone():
    held_out, trained = (photographs(**{**SMALL, "held_out": which}) for which in (["chelsea.png"], ["rocket.jpg"]))
    np.testing.assert_array_equal(held_out[0].frames, trained[0].frames)
    np.testing.assert_array_equal(held_out[3].frames, trained[3].frames)
    unflipped = photographs(**SMALL, flip=False)[0].frames
    flips = [not np.array_equal(a, b) for a, b in zip(unflipped, held_out[0].frames, strict=True)]
    assert 0 < sum(flips) < len(flips)
    np.testing.assert_array_equal(unflipped[flips][:, :, ::-1], held_out[0].frames[flips])


def test_fewer_held_out_crops_are_the_first_of_more():
    few, many = (photographs(**{**SMALL, "n_held_out_crops": n})[2].frames for n in (4, 9))
    np.testing.assert_array_equal(few, many[:4])


def test_no_crop_of_a_held_out_photograph_is_trained_on(plain, tmp_path):
    levels = [20, 60, 100, 140, 180]
    paths = [plain(level, folder="mine") for level in levels]
    config = sfa.get_config()
    config.data.path, config.data.image_size, config.data.cache_dir = "photographs", 8, str(tmp_path)
    config.data.clip_length, config.data.batch_size = 2, 4
    with config.unlocked():
        config.data.photographs = {"photographs": str(tmp_path / "mine"), "held_out": 2, "n_crops": 7}
        config.data.photographs.n_held_out_crops = 3
    inputs = load_inputs(config)
    assert [run.held_out for run in inputs.runs] == [False, True, False, True, False]
    assert [run.name for run in inputs.runs] == [f"photograph {path}" for path in sorted(paths, key=len)]
    assert np.unique(inputs.store.all()).tolist() == [20, 100, 180]
    assert len(inputs.store) == 21
    assert {int(run.frames.min()) for run in inputs.runs if run.held_out} == {60, 140}


@pytest.mark.parametrize("rotation", [0.0, 0.7, np.pi])
@pytest.mark.parametrize("held_out", [False, True])
def test_crops_lie_within_the_photograph(ramp, plain, rotation, held_out):
    runs = photographs(
        photographs=[ramp, plain(9)],
        held_out=["ramp.png" if held_out else "level9.png"],
        n_crops=300,
        n_held_out_crops=300,
        rotation=rotation,
        view=(0.3, 1.0),
        image_size=16,
    )
    frames = runs[0].frames.astype(float)
    assert np.abs(frames[..., 2] - 128).max() <= 1  # nothing from outside, which would be black
    # Corner pixels, and from them the corners themselves.
    top, bottom = frames[:, 0][:, [0, -1], :2] / 255, frames[:, -1][:, [0, -1], :2] / 255
    x, y = (np.concatenate([top[..., axis], bottom[..., axis]], axis=1) for axis in (0, 1))
    pixels = x * 300, y * 240
    side = np.hypot(*(places[:, 1] - places[:, 0] for places in pixels)) * 16 / 15
    turn = np.arctan2(*(places[:, 1] - places[:, 0] for places in reversed(pixels)))
    assert np.abs(np.hypot(*(places[:, 2] - places[:, 0] for places in pixels)) * 16 / 15 - side).max() < 4  # square
    bound = (abs(np.cos(turn)) + abs(np.sin(turn))) * side
    middle = [places.mean(axis=1) for places in pixels]
    for place, extent in zip(middle, (300, 240), strict=True):
        assert (place - bound / 2).min() > -2
        assert (place + bound / 2).max() < extent + 2
        # And all of the photograph is reached.
        assert (place - bound / 2).min() < 0.05 * extent
        assert (place + bound / 2).max() > 0.95 * extent
    share = bound / 240
    assert 0.28 < share.min() < 0.34
    assert 0.95 < share.max() < 1.02
    largest = 0.0 if held_out else rotation
    flipped = np.abs(turn) > np.pi / 2 if rotation < np.pi / 2 else np.zeros(300, bool)
    angle = np.abs(np.where(flipped, np.pi - np.abs(turn), turn))
    assert angle.max() <= largest + 0.05
    assert angle.max() >= 0.95 * largest


def test_crops_are_not_aliased(tmp_path, plain):
    """Stripes a pixel wide average to grey at any reduction."""
    stripes = np.zeros((400, 400, 3), np.uint8)
    stripes[:, ::2] = 255
    Image.fromarray(stripes).save(tmp_path / "stripes.png")
    runs = photographs(
        photographs=[str(tmp_path / "stripes.png"), plain(9)], held_out=1, n_crops=20, image_size=16, view=(0.2, 1.0)
    )
    assert np.abs(runs[0].frames.astype(int) - 127).max() < 26


def test_enlarged_crops_are_said(plain, caplog):
    photographs(photographs=[plain(1), plain(2)], held_out=1, n_crops=2, image_size=64)
    assert "the smallest crops of " in caplog.text
    assert "are enlarged to 64; lower image_size" in caplog.text


def test_through_load(plain):
    options = {key: value for key, value in SMALL.items() if key != "image_size"}
    runs = load("photographs", image_size=8, stride=2, photographs=options)
    assert [(run.frames.shape, run.held_out) for run in runs] == [
        ((3, 8, 8, 3), False),
        ((3, 8, 8, 3), False),
        ((3, 8, 8, 3), True),
        ((3, 8, 8, 3), False),
    ]
    (run, held_out) = load("photographs", photographs={"photographs": (plain(1), plain(2)), "held_out": "level2.png"})
    assert (run.held_out, held_out.held_out) == (False, True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": None}, r"image_size: photographs .*got None; give for instance 64"),
        ({"n_crops": 1}, r"photographs.n_crops: expected a whole number of at least 2, got 1"),
        (
            {"n_crops": 10**10},
            r"photographs.n_crops: the crops of 4 photographs need \d+\.\d GB of memory, and .* free",
        ),
        ({"n_held_out_crops": 2.5}, r"photographs.n_held_out_crops: .*got 2.5"),
        ({"seed": -1}, r"photographs.seed: expected a whole number of at least 0, got -1"),
        ({"rotation": 4}, r"photographs.rotation: expected a number in \[0, 3.14.*\], in radians, got 4"),
        ({"rotation": np.nan}, r"photographs.rotation: .*got nan"),
        ({"flip": "yes"}, r"photographs.flip: expected True or False, got 'yes'"),
        ({"view": 0.5}, r"photographs.view: expected the smallest and the largest share, such as \(0.4, 1\), got 0.5"),
        ({"view": (0.5, 0.7, 1)}, r"photographs.view: .*got \(0.5, 0.7, 1\)"),
        ({"view": (0, 1)}, r"photographs.view: expected a number in \(0, 1\], a share .*, got 0"),
        ({"view": (0.5, 1.5)}, r"photographs.view: .*got 1.5"),
        ({"view": (0.8, 0.5)}, r"photographs.view: expected the smallest share first, got \(0.8, 0.5\); exchange"),
        (
            {"held_out": ["coffee.png"]},
            r"photographs.held_out: expected names of .*, got 'coffee.png'; they are grace_ho",
        ),
        ({"held_out": [3]}, r"photographs.held_out: expected names of photographs, or how many of them, got \[3\]"),
        ({"held_out": True}, r"photographs.held_out: .*got True"),
        ({"held_out": -1}, r"photographs.held_out: expected a whole number of at least 0, got -1"),
        (
            {"held_out": NAMES},
            r"photographs.held_out: expected at least one photograph to train on, but all 4 are held",
        ),
        ({"held_out": 9}, r"photographs.held_out: expected at least one photograph to train on"),
        ({"photographs": []}, r"photographs.photographs: expected file names or a folder of images, got \[\]"),
        ({"photographs": [3]}, r"photographs.photographs: .*got \[3\]"),
        ({"photographs": 3}, r"photographs.photographs: .*got 3"),
        ({"photographs": "nowhere.jpg"}, r"photographs: the photograph 'nowhere.jpg' does not exist; .* one of china"),
        ({"photographs": "configs"}, r"photographs.photographs: the folder .*configs holds no images"),
    ],
)
def test_bad_options(options, message, request, monkeypatch):
    monkeypatch.chdir(request.config.rootpath)
    with pytest.raises(InputError, match=message):
        photographs(**{**SMALL, **options})


def test_not_an_image(tmp_path):
    (tmp_path / "note.png").write_text("not a picture")
    with pytest.raises(InputError, match=r"note.png cannot be read as an image"):
        photographs(photographs=[str(tmp_path / "note.png"), "rocket.jpg"], held_out=1, n_crops=2)


def test_two_of_a_name_or_of_a_content(plain):
    one, two = plain(5, "a.png", "one"), plain(6, "a.png", "two")
    with pytest.raises(InputError, match=r"photographs.held_out: 'a.png' may be '.*one/a.png' or '.*two/a.png'; give"):
        photographs(photographs=[one, two], held_out=["a.png"], n_crops=2)
    assert [run.held_out for run in photographs(photographs=[one, two], held_out=[two], n_crops=2)] == [False, True]
    copy = plain(5, "copy of a.png")
    with pytest.raises(
        InputError, match=r"one/a.png and photograph .*copy of a.png are the same picture, and only one"
    ):
        photographs(photographs=[one, copy], held_out=[copy], n_crops=2)


def test_a_file_with_a_packaged_name(plain, tmp_path, monkeypatch):
    plain(7, "rocket.jpg")
    monkeypatch.chdir(tmp_path)
    packaged, mine = photographs(photographs=["rocket.jpg", "./rocket.jpg"], held_out=["rocket.jpg"], n_crops=2)
    assert packaged.held_out
    assert not mine.held_out
    assert np.abs(mine.frames.astype(int) - 7).max() <= 1
    assert packaged.frames.std() > 5


@pytest.mark.parametrize("name", ["china.jpg", "coffee.png"])
def test_missing_package(name, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=rf"photographs: {name} .*pip install 'sfa_jax\[images\]'"):
        photographs(photographs=[name])


def test_what_a_folder_holds_besides_is_told(tmp_path, caplog):
    for number in range(3):
        Image.fromarray(np.random.default_rng(number).integers(0, 255, (20, 20, 3), np.uint8)).save(
            tmp_path / f"{number}.{'jfif' if number else 'png'}", "JPEG"
        )
    (tmp_path / "3.png").write_text("no picture")
    (tmp_path / "4.xyz").write_text("no picture")
    runs = photographs(photographs=str(tmp_path), held_out=1, n_crops=2, n_held_out_crops=2, image_size=8)
    assert len(runs) == 3
    assert "left out are 1 file(s) of no known kind (1 .xyz)" in caplog.text
    assert f"photographs: 1 of 4 are left out (the first: {tmp_path}/3.png cannot be read as an image" in caplog.text
    with pytest.raises(InputError, match=r"3.png cannot be read as an image"):
        photographs(photographs=[str(tmp_path / "0.png"), str(tmp_path / "3.png")], held_out=0, image_size=8)
