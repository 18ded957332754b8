"""Images of data sets that TensorFlow Datasets has prepared as array_record, read without TensorFlow."""

import concurrent.futures
import contextlib
import functools
import glob
import importlib
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from sfa_jax._errors import InputError
from sfa_jax.data._files import decode_picture, pillow_warnings
from sfa_jax.data._source import REDUCING_GAP, Estimate, Options, Picture, crop_picture, luma

PREFIX = "tfds:"
_OPTIONS = ("data_dir", "split", "held_out", "image")
_CHUNK = 256  # records read at once, and decoded by threads
_PREPARE = (
    "prepare it where TensorFlow is installed with `tfds build NAME --file_format=array_record`, or convert it with "
    "`tfds convert_format --dataset_version_dir=DIRECTORY --out_file_format=array_record`"
)


class TfdsSplit:
    """The images of one split, in the order of the records; labels become truth.

    Each image is cut to the largest centred part of the frame's shape and resized: of ImageNet at 64, the shorter side
    becomes 64 pixels and the middle of the longer one is kept, its usual crop for evaluation.

    Args:
      builder: of a prepared data set.
      split: name or slice of a split, such as `train[:90%]`.
      held_out: whether its images are held out.
      image: name of the feature that holds the image.
      label: name of the feature that holds the class, or None.

    Raises:
      InputError: there is no such split, or it has no two images.
    """

    def __init__(self, builder: Any, split: str, held_out: bool, image: str, label: str | None) -> None:
        tfds = import_tfds()
        self.name = f"{PREFIX}{builder.info.full_name} {split}"
        self.held_out = held_out
        self._split, self._image, self._label = split, image, label
        try:
            n_images = builder.info.splits[split].num_examples
        except (ValueError, KeyError) as error:
            raise InputError(
                f"{self.name}: no such split ({_sentence(error)}); give one of {', '.join(builder.info.splits)}, or a "
                f"part such as {next(iter(builder.info.splits))}[:90%]"
            ) from error
        if n_images < 2:
            raise InputError(f"{self.name} has {n_images} image(s); expected at least 2: take a larger part")
        with _reading(self.name):
            raw = tfds.decode.DeserializeMethod.RAW_BYTES
            self._records = builder.as_data_source(split, deserialize_method=raw, file_format="array_record")
            self.files = builder.info.splits[split].file_instructions  # now those of array_record
        # Only what is asked for is parsed: other features may need TensorFlow.
        features = builder.info.features
        self._features = tfds.features.FeaturesDict({name: features[name] for name in (image, label) if name})
        self._decoders = {image: tfds.decode.SkipDecoding()}  # the bytes of a file
        *sides, channels = features[image].shape
        self._size = tuple(sides)
        self._channels = 1 if channels == 1 else 3

    def signature(self) -> list[list[object]]:
        paths = sorted({os.fspath(file.filename) for file in self.files})
        try:
            stats = [os.stat(path) for path in paths]
        except OSError as error:
            raise InputError(f"{self.name}: {error.filename} cannot be read ({error.strerror}); {_PREPARE}") from error
        what: list[list[object]] = [["centre crop", self._split, self._image, self._label]]
        return what + [[path, stat.st_size, stat.st_mtime_ns] for path, stat in zip(paths, stats, strict=True)]

    def estimate(self, options: Options) -> Estimate:
        height, width = self._frame_size(options)
        channels = 1 if options.greyscale else self._channels
        return Estimate(-(-len(self._records) // options.stride), height * width * channels, exact=True)

    def pictures(self, options: Options) -> Iterator[Picture]:
        numbers = range(0, len(self._records), options.stride)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            for start in range(0, len(numbers), _CHUNK):
                chunk = list(numbers[start : start + _CHUNK])
                with _reading(self.name):
                    records = self._records.__getitems__(chunk)
                with pillow_warnings():
                    pictures = list(pool.map(functools.partial(self._picture, options), chunk, records))
                yield from pictures

    def _picture(self, options: Options, number: int, record: bytes) -> Picture:
        name = f"{self.name}, image {number}"
        with _reading(name):
            example = self._features.deserialize_example_np(record, decoders=self._decoders)
        height, width = self._frame_size(options)
        # A JPEG is decoded at a fraction of its size where that is still twice what is needed.
        smallest = round(REDUCING_GAP * height), round(REDUCING_GAP * width)
        picture = decode_picture(io.BytesIO(example[self._image]), name, smallest, f"remove it, or {_PREPARE}")[0]
        picture = _centre(picture.convert("L" if self._channels == 1 else "RGB"), height, width)
        frame = np.asarray(picture).reshape(height, width, self._channels)
        truth = {"label": float(example[self._label])} if self._label else None
        return Picture(number, luma(frame) if options.greyscale and self._channels == 3 else frame, None, truth)

    def _frame_size(self, options: Options) -> tuple[int, int]:
        if options.height:
            return options.height, options.width
        if None in self._size:
            raise InputError(
                f"image_size: the images of {self.name} are of many sizes; set image_size, for instance 64"
            )
        height, width = self._size
        return height, width


def tfds_splits(path: str) -> list[TfdsSplit]:
    """The split that is trained on, and the one that is held out.

    Args:
      path: `tfds:NAME` or `tfds:DIRECTORY`, then perhaps `?` and options joined by `&`: `data_dir` (where `NAME` lies;
        by default TFDS's own), `split` (by default `train`), `held_out` (by default `validation`, else `test`, else the
        last tenth of `split`; empty for none) and `image` (the feature that holds the image, where there are several).

    Returns:
      One or two splits without an image in common.

    Raises:
      InputError: the data set is not prepared as array_record, an option does not fit it, or the splits overlap.
    """
    name, options = _parse(path)
    builder = _open(name, options.get("data_dir"))
    about = f"{PREFIX}{builder.info.full_name}"
    formats = {file_format.value for file_format in builder.info.available_file_formats()}
    if "array_record" not in formats:
        raise InputError(
            f"{about} is prepared as {', '.join(sorted(formats))}; expected array_record, which is read without "
            f"TensorFlow: {_PREPARE}"
        )
    image, label = _find_features(builder.info.features, options.get("image"), about)
    split, held_out = _choose_splits(list(builder.info.splits), options, about)
    found = [TfdsSplit(builder, split, False, image, label)]
    if held_out:
        found.append(TfdsSplit(builder, held_out, True, image, label))
        _check_apart(*found)
    return found


def import_tfds() -> Any:
    """TensorFlow Datasets, imported only when it is used: that takes half a second.

    Raises:
      InputError: it, or what it needs to read array_record, is not installed.
    """
    try:
        importlib.import_module("array_record.python.array_record_data_source")
        return importlib.import_module("tensorflow_datasets")
    except ImportError as error:
        raise InputError(
            f"{PREFIX} needs TensorFlow Datasets and array_record ({error}): install them with `pip install "
            f"tensorflow-datasets array_record importlib_resources`; array_record has no wheels for Windows"
        ) from error


@contextlib.contextmanager
def _reading(name: str) -> Iterator[None]:
    """Turns what TFDS and array_record raise into one error that names what was read."""
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as error:  # array_record knows RuntimeError alone, TFDS a dozen kinds
        raise InputError(f"{name} cannot be read ({_sentence(error)}); {_PREPARE}") from error


def _sentence(error: Exception) -> str:
    """The first sentence of a message, which may have a page."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0].rstrip(".")


def _parse(path: str) -> tuple[str, dict[str, str]]:
    name, _, query = path.removeprefix(PREFIX).partition("?")
    # Not urllib's parser: the % and + of TFDS's splits stand for themselves.
    pairs = [item.partition("=") for item in query.split("&") if item]
    for key, equals, _ in pairs:
        if key not in _OPTIONS or not equals:
            raise InputError(
                f"{path}: expected options among {', '.join(f'{option}=...' for option in _OPTIONS)}, got {key!r}"
            )
    if not name:
        raise InputError(f"{path}: expected the name of a data set or the directory of a prepared one after {PREFIX}")
    return name, {key: value for key, _, value in pairs}


def _open(name: str, data_dir: str | None) -> Any:
    tfds = import_tfds()
    folder = os.path.expanduser(name)
    if os.path.isfile(os.path.join(folder, "dataset_info.json")):
        with _reading(f"{PREFIX}{name}"):
            return tfds.builder_from_directory(folder)
    if name[0] in "/.~":
        # Of a data set's configs and versions, or of all data sets.
        patterns = [os.path.join(glob.escape(folder), *["*"] * depth, "dataset_info.json") for depth in (1, 2, 3)]
        inside = [os.path.dirname(path) for pattern in patterns for path in sorted(glob.glob(pattern))]
        hint = f" (did you mean {PREFIX}{inside[0]}?)" if inside else ""
        raise InputError(
            f"{PREFIX}{name}: the directory has no dataset_info.json, as a prepared data set has{hint}; give the "
            f"directory of one version, such as ~/tensorflow_datasets/mnist/3.0.1"
        )
    try:
        return tfds.core.read_only_builder.builder_from_files(name, data_dir=data_dir and os.path.expanduser(data_dir))
    except Exception as error:  # what it raises on odd names and damaged files is not documented
        where = data_dir or os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")
        raise InputError(
            f"{PREFIX}{name}: no prepared data set of that name in {where} ({_sentence(error)}); give its place by "
            f"?data_dir=..., or {_PREPARE}"
        ) from error


def _find_features(features: Any, image: str | None, about: str) -> tuple[str, str | None]:
    """The names of the features that hold the image and the class."""
    tfds = import_tfds()
    known = dict(sorted(features.items())) if isinstance(features, tfds.features.FeaturesDict) else {}
    images = [
        name
        for name, feature in known.items()
        if isinstance(feature, tfds.features.Image)
        and not isinstance(feature, tfds.features.LabeledImage)  # a mask
        and len(feature.shape) == 3
        and np.dtype(feature.np_dtype).kind == "u"
    ]
    if image is not None and image not in images:
        raise InputError(f"{about}: expected image={_or(images)}, a feature of images, got {image!r}; {_listed(known)}")
    if image is None and len(images) != 1:
        raise InputError(
            f"{about}: expected one feature of images, found {', '.join(images) or 'none'}; {_listed(known)}"
            + (f"; choose one by ?image={images[0]}" if images else "")
        )
    labels = [name for name, feature in known.items() if isinstance(feature, tfds.features.ClassLabel)]
    label = "label" if "label" in labels else labels[0] if len(labels) == 1 else None
    return image or images[0], label


def _choose_splits(known: Sequence[str], options: Mapping[str, str], about: str) -> tuple[str, str]:
    """What is trained on and what is held out, the latter perhaps empty."""
    split = options.get("split") or ("train" if "train" in known else known[0] if len(known) == 1 else "")
    if not split:
        raise InputError(f"{about}: has no split train; choose one by ?split=..., of {', '.join(known)}")
    if "held_out" in options:
        return split, options["held_out"]
    others = [name for name in ("validation", "test") if name in known and name not in split]
    if others:
        return split, others[0]
    if split not in known:
        raise InputError(
            f"{about}: expected held_out=... beside split={split}, as there is neither validation nor test; for "
            f"instance ?split={known[0]}[:90%]&held_out={known[0]}[90%:]"
        )
    return f"{split}[:90%]", f"{split}[90%:]"


def _check_apart(trained: TfdsSplit, held_out: TfdsSplit) -> None:
    for one in trained.files:
        for other in held_out.files:
            shared = min(one.skip + one.take, other.skip + other.take) - max(one.skip, other.skip)
            if one.filename == other.filename and shared > 0:
                raise InputError(
                    f"held_out: expected images that are not trained on, but {held_out.name} and {trained.name} have "
                    f"some in common; choose splits without any, such as train[:90%] and train[90%:]"
                )


def _centre(picture: Image.Image, height: int, width: int) -> Image.Image:
    """The largest centred part of the shape, resized."""
    if picture.size == (width, height):
        return picture
    reach = min(picture.width / width, picture.height / height)
    across, down = reach * width, reach * height
    box = [(picture.width - across) / 2, (picture.height - down) / 2, across, down]
    return crop_picture(picture, box, height, width)


def _or(names: Sequence[str]) -> str:
    return " or ".join(names) or "..."


def _listed(features: Mapping[str, Any]) -> str:
    return "it has " + (
        ", ".join(f"{name} ({type(kind).__name__})" for name, kind in features.items()) or "no features"
    )
