"""Images that TensorFlow Datasets has prepared, read without TensorFlow."""

import io
import shutil
import sys
import warnings

import numpy as np
import pytest
from PIL import Image

from sfa_jax._errors import InputError
from sfa_jax.data import _tfds_records, load

tfds = pytest.importorskip("tensorflow_datasets")
pytest.importorskip("array_record")


def encode(pixels, kind="PNG"):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **({"quality": 95} if kind == "JPEG" else {}))
    return file.getvalue()


def photo(number):
    """The middle square has 8 times the number as its level, both sides are white."""
    pixels = np.full((30, 50, 3), 255, np.uint8)
    pixels[:, 10:40] = 8 * number
    return encode(pixels, "JPEG" if number % 2 else "PNG")


class Builder(tfds.core.GeneratorBasedBuilder):
    """Subclasses have `features`, `splits` and `example`."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(self.features))

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(numbers) for split, numbers in self.splits.items()}

    def _generate_examples(self, numbers):
        for number in numbers:
            yield number, self.example(number)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """The directory of all sets."""
    folder = tmp_path_factory.mktemp("tfds")
    tfds.disable_progress_bar()

    def prepare(name, features, splits, example):
        body = {"features": features, "splits": splits, "example": staticmethod(example), "__module__": __name__}
        type(name, (Builder,), body)(data_dir=folder, file_format="array_record").download_and_prepare()

    image, kinds = tfds.features.Image(), tfds.features.ClassLabel(num_classes=5)
    prepare(
        "Photos",
        {"image": image, "label": kinds, "file": tfds.features.Text()},
        {"train": range(20), "test": range(20, 25)},
        lambda number: {"image": photo(number), "label": number % 5, "file": f"file {number}"},
    )
    prepare(
        "Digits",
        {"image": tfds.features.Image(shape=(9, 7, 1)), "digit": kinds},
        {"train": range(20)},
        lambda number: {"image": encode(np.full((9, 7), 8 * number, np.uint8)), "digit": number % 5},
    )
    prepare(
        "Stereo",
        {"left": image, "right": image},
        {"one": range(4), "two": range(4, 8)},
        lambda number: {"left": photo(number), "right": photo(20 + number)},
    )
    prepare("Words", {"text": tfds.features.Text()}, {"train": range(3)}, lambda number: {"text": str(number)})
    prepare(
        "Damaged",
        {"image": image},
        {"train": range(20)},
        lambda number: {"image": b"no picture" if number == 7 else photo(number)},
    )
    prepare(
        "Shaped",
        {"image": tfds.features.Image(shape=(30, 50, 3))},
        {"train": range(20)},
        lambda number: {"image": encode(np.zeros((30, 40, 3), np.uint8)) if number == 7 else photo(number)},
    )
    return folder


def numbers(run):
    """What the middle of each image says it is."""
    height, width = run.frames.shape[1:3]
    return np.rint(run.frames[:, height // 2, width // 2, 0] / 8).astype(int)


def test_images_labels_and_splits(prepared):
    filters = list(warnings.filters)
    train, test = load(f"tfds:photos?data_dir={prepared}", image_size=10)
    assert (train.held_out, test.held_out) == (False, True)
    assert (train.name, test.name) == ("tfds:photos/1.0.0 train", "tfds:photos/1.0.0 test")
    for run, expected in ((train, range(20)), (test, range(20, 25))):
        assert run.frames.shape == (len(expected), 10, 10, 3)
        assert sorted(numbers(run)) == list(expected)
        assert list(run.truth) == ["label"]
        assert run.truth["label"].dtype == np.float32
        np.testing.assert_array_equal(run.truth["label"], numbers(run) % 5)
        np.testing.assert_array_equal(run.frame_index, np.arange(len(expected)))
        # Of the white sides, a fifth of the width each, nothing is left but the rounding of JPEG's blocks.
        assert np.abs(run.frames[:, :, 1:-1] - 8.0 * numbers(run)[:, None, None, None]).max() < 8
    assert "tensorflow" not in sys.modules
    assert warnings.filters == filters  # which threads could have left behind


def test_decoded_once(prepared, monkeypatch, cache_dir):
    path = f"tfds:photos?data_dir={prepared}"
    first = load(path, image_size=10)
    assert len([entry for entry in cache_dir.iterdir() if (entry / "known.npz").exists()]) == 2
    monkeypatch.setattr(_tfds_records, "decode_picture", None)
    again = load(path, image_size=10, memory_limit_bytes=0)
    for run, same in zip(first, again, strict=True):
        np.testing.assert_array_equal(run.frames, same.frames)
        np.testing.assert_array_equal(run.truth["label"], same.truth["label"])
        assert run.held_out == same.held_out
    (cache_dir / sorted(entry.name for entry in cache_dir.iterdir())[0] / "known.npz").unlink()
    with pytest.raises(TypeError, match="NoneType"):  # the entry is not whole any more
        load(path, image_size=10)


def test_directory_and_shape(prepared):
    path = f"tfds:{prepared}/photos/1.0.0"
    wide, _ = load(path, image_size=(6, 10), stride=3)  # the shape of the photograph
    assert wide.frames.shape == (7, 6, 10, 3)
    assert wide.frames[:, :, 0].min() > 240
    np.testing.assert_array_equal(wide.frame_index, np.arange(0, 20, 3))
    np.testing.assert_array_equal(wide.truth["label"], numbers(wide) % 5)
    grey, _ = load(path, image_size=8, greyscale=True)
    assert grey.frames.shape == (20, 8, 8, 1)
    assert sorted(numbers(grey)) == list(range(20))


def test_own_size_and_one_channel(prepared):
    train, held_out = load(f"tfds:digits?data_dir={prepared}", image_size=0)
    assert (train.frames.shape, held_out.frames.shape) == ((18, 9, 7, 1), (2, 9, 7, 1))  # the last tenth
    assert train.name.endswith("train[:90%]")
    assert sorted([*numbers(train), *numbers(held_out)]) == list(range(20))
    assert np.unique(train.frames.reshape(18, -1).std(axis=1)).tolist() == [0.0]
    np.testing.assert_array_equal(train.truth["label"], numbers(train) % 5)


def test_chosen_splits_and_image(prepared):
    path = f"tfds:stereo?data_dir={prepared}&split=two"
    (train,) = load(f"{path}&held_out=&image=left", image_size=8)
    assert train.held_out is False
    assert sorted(numbers(train)) == [4, 5, 6, 7]
    train, held_out = load(f"{path}[:50%]&held_out=one+two[50%:]&image=right", image_size=8)
    assert (len(train), len(held_out)) == (2, 6)
    assert sorted([*numbers(train), *numbers(held_out)]) == list(range(20, 28))
    assert not train.truth


def test_several_formats(prepared, tmp_path):
    """A set that was converted in place keeps its first format beside array_record."""
    shutil.copytree(prepared / "photos" / "1.0.0", tmp_path / "both")
    info = tmp_path / "both" / "dataset_info.json"
    text = info.read_text()
    both = '"fileFormat": "tfrecord", "alternativeFileFormats": ["array_record"]'
    info.write_text(text.replace('"fileFormat": "array_record"', both))
    assert [len(run) for run in load(f"tfds:{tmp_path}/both", image_size=4)] == [20, 5]
    info.write_text(text.replace('"fileFormat": "array_record"', '"fileFormat": "tfrecord"'))
    with pytest.raises(
        InputError, match=r"photos/1.0.0 is prepared as tfrecord; expected array_record.*convert_format"
    ):
        load(f"tfds:{tmp_path}/both")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", r"tfds:: expected the name of a data set or the directory of a prepared one"),
        (
            "photos?shuffle=1",
            r"expected options among data_dir=..., split=..., .*, truth=..., got 'shuffle'",
        ),
        ("photos?split", r"expected options among .*got 'split'"),
        ("mnist", r"tfds:mnist: no prepared data set of that name in .*data_dir=.*tfds build NAME --file_format=array"),
        ("photos:3.0.0", r"tfds:photos:3.0.0: no prepared data set of that name"),
        ("no name", r"tfds:no name: no prepared data set of that name in .*Parsing"),
        ("{}", r"the directory has no dataset_info.json, .*did you mean tfds:.*1.0.0\?"),
        ("{}/photos/9.0.0", r"9.0.0: the directory has no dataset_info.json, as a prepared data set has; give"),
        (
            "photos?split=tran",
            r"photos/1.0.0 tran: no such split \(Unknown split 'tran'\); give one of train, test, or",
        ),
        ("photos?split=train[:5", r"no such split .*; give one of train, test"),
        ("photos?split=train[:1]", r"photos/1.0.0 train\[:1\] has 1 image\(s\); expected at least 2"),
        ("photos?split=train[:0]", r"has 0 image\(s\)"),
        ("photos?held_out=train[90%:]", r"held_out: expected images that are not trained on, but .*train\[90%:\] and "),
        ("photos?split=train+test", r"held_out=... beside split=train\+test"),
        ("photos?split=train+test&held_out=test", r"held_out: expected images that are not trained on"),
        (
            "photos?image=label",
            r"expected frames=image, a feature of frames, got 'label'; it has .*label \(ClassLabel int64\)",
        ),
        (
            "stereo?split=one",
            r"expected one feature of frames, found left, right; .*choose one by .*=left, or \?frames=",
        ),
        ("stereo?image=left", r"stereo/1.0.0: has no split train; choose one by \?split=..., of one, two"),
        ("words", r"expected one feature of frames, found none; it has text \(Text object\)$"),
        (
            "damaged",
            r"damaged/1.0.0 train\[:90%\], record \d+ \(in damaged-train.*\) cannot be read as an image .*; copy or",
        ),
        ("shaped", r"record \d+ \(in .*\) is an image of 40x30, its feature is image \(Image 30x50x3 uint8\); copy or"),
    ],
)
def test_errors(prepared, path, message):
    path = path.format(prepared)
    if path and path[0] != "/":
        path += ("&" if "?" in path else "?") + f"data_dir={prepared}"
    with pytest.raises(InputError, match=message):
        load(f"tfds:{path}", image_size=8, on_corrupt="raise")


def test_images_of_many_sizes(prepared):
    with pytest.raises(InputError, match=r"image_size: the images of tfds:photos.* are of many sizes; set image_size"):
        load(f"tfds:photos?data_dir={prepared}", image_size=0)


def test_missing_and_truncated_records(prepared, tmp_path):
    shutil.copytree(prepared / "photos" / "1.0.0", tmp_path / "broken")
    (file,) = (tmp_path / "broken").glob("*-train.*")
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(
        InputError,
        match=r"tfds:photos/1.0.0 train, record 0 \(in photos-train.array_.*\) cannot be read \(.*\); copy or",
    ):
        load(f"tfds:{tmp_path}/broken", image_size=8)
    file.unlink()
    with pytest.raises(
        InputError, match=r"array_record-00000-of-00001 cannot be read \(No such file or directory\); prep"
    ):
        load(f"tfds:{tmp_path}/broken", image_size=8)


def test_without_tfds(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(
        InputError, match=r"needs TensorFlow Datasets and array_record .*pip install tensorflow-datasets"
    ):
        load("tfds:mnist")
