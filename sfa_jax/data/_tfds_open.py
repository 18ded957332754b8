"""Finding and opening a data set that TFDS has prepared, and what is trained on of it."""

import contextlib
import glob
import importlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sfa_jax._errors import InputError, is_mistake
from sfa_jax.data._tfds_features import Wanted
from sfa_jax.data._tfds_records import sentence

PREFIX = "tfds:"
PREPARE = (
    "prepare it where TensorFlow is installed with `tfds build NAME --file_format=array_record`, or convert it with "
    "`tfds convert_format --dataset_version_dir=DIRECTORY --out_file_format=array_record`"
)
_HELD_OUT = "validation", "valid", "val", "dev", "test"
_FEATURES = "tensorflow_datasets.core.features"


class TfdsOptions(NamedTuple):
    """What to read of a data set; what is left empty is guessed.

    Attributes:
      data_dir: where a set that is given by its name lies; TFDS's own folder by default.
      split: name or slice of what is trained on; "train" by default.
      held_out: of what is held out; by default "validation", else "test", else of single images the last tenth of
        `split`, and of video the last part of each run (`split_run`). "none" holds nothing out.
      frames, label, run, frame_index: features that hold the frames, the class, the run that a frame is of, and the
        number of a frame in its run. "none" for none.
      truth: features whose numbers become truth; ("none",) for none.
    """

    data_dir: str = ""
    split: str = ""
    held_out: str = ""
    frames: str = ""
    label: str = ""
    run: str = ""
    frame_index: str = ""
    truth: tuple[str, ...] = ()

    def wanted(self) -> Wanted:
        return Wanted(self.frames, self.label, self.run, self.frame_index, tuple(self.truth))


def parse(path: str, options: TfdsOptions) -> tuple[str, TfdsOptions]:
    """The name or directory in a path, and the options with those that the path gives.

    Raises:
      InputError: the path has an unknown option, or no name.
    """
    whole = path.removeprefix(PREFIX)
    name, _, query = (whole, "", "") if is_set(whole) else whole.partition("?")
    # Not urllib's parser: the % and + of TFDS's splits stand for themselves.
    pairs = [item.partition("=") for item in query.split("&") if item]
    given: dict[str, Any] = {}
    for key, equals, value in pairs:
        key = "frames" if key == "image" else key
        if key not in TfdsOptions._fields or not equals:
            raise InputError(
                f"{path}: expected options among {', '.join(f'{option}=...' for option in TfdsOptions._fields)}, got "
                f"{key!r}"
            )
        given[key] = tuple(filter(None, value.split(","))) if key == "truth" else value
        if key == "held_out" and not value:
            given[key] = "none"
    if not name:
        raise InputError(f"{path}: expected the name of a data set or the directory of a prepared one after {PREFIX}")
    return name, options._replace(**given)


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


def open_set(name: str, data_dir: str) -> tuple[Any, list[str]]:
    """The builder of a prepared data set, and the names of features that cannot be read here.

    Args:
      name: of the set, with its config and version where several are there, or its directory.
      data_dir: where sets lie.

    Raises:
      InputError: there is none, or it is not prepared as array_record.
    """
    tfds = import_tfds()
    folder = os.path.expanduser(name)
    if not is_set(folder) and name[0] in "/.~":
        # Of a data set's configs and versions, or of all data sets.
        patterns = [os.path.join(glob.escape(folder), *["*"] * depth, "dataset_info.json") for depth in (1, 2, 3)]
        inside = [os.path.dirname(path) for pattern in patterns for path in sorted(glob.glob(pattern))]
        hint = f" (did you mean {PREFIX}{inside[0]}?)" if inside else ""
        raise InputError(
            f"{PREFIX}{name}: the directory has no dataset_info.json, as a prepared data set has{hint}; give the "
            f"directory of one version, such as ~/tensorflow_datasets/mnist/3.0.1"
        )
    where = data_dir or os.environ.get("TFDS_DATA_DIR") or os.path.join("~", "tensorflow_datasets")
    found = folder if is_set(folder) else _find(name, os.path.expanduser(where))
    unreadable: list[str] = []
    if found:
        with opening(f"{PREFIX}{name}"):
            builder, unreadable = _from_directory(found)
    else:
        try:  # not a plain name; or TFDS is made to answer for a set that is nowhere, as in tests
            builder = tfds.core.read_only_builder.builder_from_files(
                name, data_dir=os.path.expanduser(data_dir) if data_dir else None
            )
        except Exception as error:  # what it raises on odd names and damaged files is not documented
            if is_mistake(error):
                raise
            raise InputError(
                f"{PREFIX}{name}: no prepared data set of that name in {where} ({sentence(error)}); give its place by "
                f"?data_dir=... or data.tfds.data_dir, or {PREPARE}"
            ) from error
    formats = {file_format.value for file_format in builder.info.available_file_formats()}
    if "array_record" not in formats:
        raise InputError(
            f"{PREFIX}{builder.info.full_name} is prepared as {', '.join(sorted(formats))}; expected array_record, "
            f"which is read without TensorFlow: {PREPARE}"
        )
    return builder, unreadable


def is_set(path: str | os.PathLike[str]) -> bool:
    """Whether a path is the directory of a prepared data set, which no other source has."""
    return os.path.isfile(os.path.join(os.path.expanduser(path), "dataset_info.json"))


def choose_splits(known: Sequence[str], options: TfdsOptions, about: str, *, videos: bool) -> tuple[str, str | None]:
    """What is trained on and what is held out: "" for nothing, None for the last part of each run.

    Raises:
      InputError: they cannot be guessed.
    """
    split = options.split or ("train" if "train" in known else known[0] if len(known) == 1 else "")
    if not split:
        raise InputError(f"{about}: has no split train; choose one by ?split=..., of {', '.join(known)}")
    if options.held_out:
        return split, "" if options.held_out == "none" else options.held_out
    trained = {part.partition("[")[0].strip() for part in split.split("+")}
    others = [name for name in _HELD_OUT if name in known and name not in trained]
    if others:
        return split, others[0]
    if videos:
        return split, None
    if split not in known:
        raise InputError(
            f"{about}: expected held_out=... beside split={split}, as there is neither validation nor test; for "
            f"instance ?split={known[0]}[:90%]&held_out={known[0]}[90%:]"
        )
    return f"{split}[:90%]", f"{split}[90%:]"


def check_apart(trained: Any, held_out: Any) -> None:
    """Raises `InputError` if two splits have an example in common."""
    for one in trained.files:
        for other in held_out.files:
            shared = min(one.skip + one.take, other.skip + other.take) - max(one.skip, other.skip)
            if one.filename == other.filename and shared > 0:
                raise InputError(
                    f"held_out: expected images that are not trained on, but {held_out.name} and {trained.name} have "
                    f"some in common; choose splits without any, such as train[:90%] and train[90%:]"
                )


def check_shards(name: str, files: Sequence[Any]) -> None:
    """Raises `InputError` if a file has not as many records as the metadata say: frames would be missing."""
    module = importlib.import_module("array_record.python.array_record_module")
    for file in files:
        path = os.fspath(file.filename)
        try:
            reader = module.ArrayRecordReader(path)
            found = reader.num_records()
            reader.close()
        except Exception as error:  # what is wrong with it is told when it is read, or left out
            if is_mistake(error):
                raise
            continue
        if found != file.examples_in_shard:
            raise InputError(
                f"{name}: {path} has {found} records, dataset_info.json speaks of {file.examples_in_shard}; copy or "
                "write the set again"
            )


@contextlib.contextmanager
def opening(name: str) -> Iterator[None]:
    """Turns what TFDS and array_record raise into one error that names what is opened."""
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as error:  # array_record knows RuntimeError alone, TFDS a dozen kinds
        if is_mistake(error):
            raise
        raise InputError(f"{name} cannot be opened ({sentence(error)}); copy the set again, or {PREPARE}") from error


def _find(name: str, data_dir: str) -> str | None:
    """The directory of `name[/config][:version]`; of several versions the newest, of several configs none."""
    match = re.fullmatch(r"(\w+)(/[\w.-]+)?(?::([\d.]+))?", name)
    if not match:
        return None
    base, config, version = match.groups()
    folder = os.path.join(data_dir, base) + (config or "")
    depths = ["*"] if config else ["*", os.path.join("*", "*")]
    for depth in depths:
        paths = glob.glob(os.path.join(glob.escape(folder), depth, "dataset_info.json"))
        sets = {os.path.dirname(path) for path in paths if version in (None, os.path.basename(os.path.dirname(path)))}
        if sets and len({os.path.dirname(path) for path in sets}) == 1:
            return max(sets, key=lambda path: [int(part) for part in re.findall(r"\d+", os.path.basename(path))])
    return None


def _from_directory(folder: str) -> tuple[Any, list[str]]:
    """A builder whose features need no TensorFlow: video becomes the sequence of images that it is stored as."""
    from google.protobuf import json_format
    from tensorflow_datasets.core import dataset_info, read_only_builder
    from tensorflow_datasets.core.proto import feature_pb2

    with open(os.path.join(folder, "features.json")) as file:
        content = json.load(file)
    if "type" in content:  # as TFDS 4.0 to 4.3 wrote it, before there was a Video that needs TensorFlow
        return read_only_builder.builder_from_directory(folder), []
    features = json_format.ParseDict(content, feature_pb2.Feature(), ignore_unknown_fields=True)
    unreadable: list[str] = []
    _make_readable(features, "", unreadable)
    proto = dataset_info.read_proto_from_builder_dir(folder)
    proto.features.CopyFrom(features)
    return read_only_builder.builder_from_metadata(folder, proto), unreadable


def _make_readable(feature: Any, name: str, unreadable: list[str]) -> bool:
    """Changes a feature, or those in it, so that it can be read here; False where it cannot."""
    from tensorflow_datasets.core.features.feature import FeatureConnector

    kind = feature.WhichOneof("content")
    if kind == "video":
        video = feature.video
        video_shape, dtype, encoding = list(video.shape.dimensions), video.dtype, video.encoding_format
        feature.Clear()
        feature.python_class_name = f"{_FEATURES}.sequence_feature.Sequence"
        image = feature.sequence.feature
        image.python_class_name = f"{_FEATURES}.image_feature.Image"
        image.image.dtype, image.image.encoding_format = dtype or "uint8", encoding
        image.image.shape.dimensions.extend(video_shape[1:] or (-1, -1, 3))
        feature.sequence.length = video_shape[0] if video_shape else -1
        return True
    if kind == "sequence":
        return _make_readable(feature.sequence.feature, name, unreadable)
    if kind == "features_dict":
        children = feature.features_dict.features
        for child in sorted(children):
            if not _make_readable(children[child], f"{name}{child}/", unreadable):
                unreadable.append(f"{name}{child}")
                del children[child]
        return bool(children)
    try:
        FeatureConnector.from_proto(feature)
    except Exception:  # TensorFlow, or a module with the feature's code, is not there
        return False
    return True
