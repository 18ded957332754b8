"""One entry for every source of frames."""

import importlib
import logging
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sfa_jax._errors import DamagedError, InputError
from sfa_jax.data._arrays import ArrayFile
from sfa_jax.data._cache import (
    Entry,
    available_memory,
    cache_root,
    check_length,
    entry_frames,
    entry_runs,
    find_entries,
    size_text,
    store,
)
from sfa_jax.data._checks import check_image_size, check_whole
from sfa_jax.data._paths import WORLDS, PathLike, find_sources
from sfa_jax.data._record_frames import RecordFrames
from sfa_jax.data._runs import Run
from sfa_jax.data._source import Options, Source
from sfa_jax.data._tfds import TfdsSplit, tfds_splits
from sfa_jax.data._tfds_open import PREFIX, TfdsOptions, is_set

logger = logging.getLogger("sfa_jax")

_GREY = "digits", "digit_film"  # whatever is asked for
SOURCES = "auto", "tfds"
ON_CORRUPT = "skip", "raise"
_OTHER_SHAPE = 1.1  # width over height of frames, over that of what is shown: below, nobody sees it


class Plan(NamedTuple):
    """What is to be read, before anything is decoded.

    Attributes:
      sources: files, folders and splits; empty for what is drawn.
      drawn: the runs of what is drawn, which takes no decoding.
      options: size, stride and colour.
      root: of the cache.
      limit: bytes of frames in memory, at most.
      asked: the path, for messages.
      on_corrupt: as of `load`.
    """

    sources: list[Source]
    drawn: list[Run]
    options: Options
    root: pathlib.Path
    limit: int
    asked: Any
    on_corrupt: str


def load(
    path: PathLike | Sequence[PathLike],
    *,
    source: str = "auto",
    image_size: int | tuple[int, int] | None = 64,
    stride: int = 1,
    greyscale: bool = False,
    split_cuts: bool = True,
    on_corrupt: str = "skip",
    cache_dir: PathLike | None = None,
    memory_limit_bytes: int | None = None,
    tfds: Mapping[str, Any] | None = None,
    room: Mapping[str, Any] | None = None,
    photo_pan: Mapping[str, Any] | None = None,
    photographs: Mapping[str, Any] | None = None,
    digits: Mapping[str, Any] | None = None,
    digit_film: Mapping[str, Any] | None = None,
) -> list[Run]:
    """Reads frames from a synthetic world, folders, videos, arrays or TFDS, as sequences of uint8 images.

    Files are decoded and resized once and kept in a cache (`python -m sfa_jax.data` shows it). Folders and videos give
    three channels, or one with `greyscale`; arrays and data sets of TFDS keep their own one or three. Pictures and
    videos are brought to one form: 8-bit sRGB, upright, alpha over black. What cannot be read is left out and told;
    frames of more than 89,478,485 pixels are not read, and no pickle.

    Times that a video or an animation has are kept in `Run.time`. A warning tells where they are far from even, and
    where `image_size` makes frames wider or narrower than a player shows them.

    Whole numbers of more than 8 bits, of arrays and of pictures, have their white at the smallest of 1, 255, 1023,
    4095, 16383 and 65535 that no value of all sources exceeds, as cameras write 10 to 14 bits into 16; so has floating
    point above 1, source by source. A choice other than the type's own range is told. Frames of a folder come in the
    order of the numbers and times in their names; what is doubtful about it is told.

    Args:
      path: `"room"`, `"photo_pan"`, `"photographs"`, `"digits"` or `"digit_film"` (a folder of that name is
        `"./room"`); a folder of frames, whose sub-folders are sequences of their own; a video (`"bikes.mp4"` and
        `"carphone_pristine.mp4"` are found in a package where there is no such file); a GIF, animated PNG or WebP; a
        TIFF stack; an array `.npy`, `.npz` or in an HDF5 file, also MATLAB's `.mat` of version 7.3 (`"file.h5"`, or
        `"file.h5?frames=/DATASET"` where there are several; `run_id` and `truth/NAME` beside the frames say where
        sequences end and what is known of each frame); a folder of such files; several paths as a list, a pattern with
        `*`, or text with commas; or, alone, `"tfds:NAME"` or `"tfds:DIRECTORY"`, what TensorFlow Datasets or
        `python -m sfa_jax.prepare` has written as
        array_record, with options such as `?split=train&held_out=validation&frames=FEATURE` (see `tfds`). Of single
        images each is cut to the largest centred part of the frame's shape before it is resized.
      source: "tfds" where `path` is the `NAME` of such a set, without the prefix; "auto" knows the directory of one.
      image_size: pixels a side, or (height, width); both sides are resized to it. 0 or None keeps the source's size
        (what is drawn needs one).
      stride: keep the frames whose number in the file is a multiple of it.
      greyscale: one channel, the ITU-R 601 luma.
      split_cuts: end a run at each hard cut of a video or folder, found at full frame rate. Arrays and sets of TFDS are
        never cut by content: they say where runs end.
      on_corrupt: "skip" leaves out frames, files and records that cannot be read, warns and counts them, and ends
        sequences there; a source of which nothing can be read is an error if it is the only one. "raise" raises at the
        first that cannot be read.
      cache_dir: where the cache is; by default `$SFA_JAX_CACHE`, `$XDG_CACHE_HOME/sfa_jax` or `~/.cache/sfa_jax`.
      memory_limit_bytes: frames above it in total stay on disk; by default half of the memory available.
      tfds: what to read of a set of TFDS: `data_dir`, `split`, `held_out`, and the names of the features that hold
        `frames`, `label`, `run`, `frame_index` and (several) `truth`; what is left out is guessed and told. The white
        of 16-bit images is 65535.
      room: options of the room, used when `path` is `"room"`.
      photo_pan: options of the pan, used when `path` is `"photo_pan"`.
      photographs: options of the crops, used when `path` is `"photographs"`.
      digits: options of the digits, used when `path` is `"digits"`.
      digit_film: options of the film of digits, used when `path` is `"digit_film"`.

    Returns:
      Runs of at least two frames, uint8 `[time, height, width, channel]`, all of one channel count. Frames that stay on
      disk are no array but what `Run` says: take a slice, then `numpy.asarray`.

    Raises:
      InputError: something cannot be read or used; the message names it and says what to do.
    """
    return read(
        plan(
            path,
            source=source,
            image_size=image_size,
            stride=stride,
            greyscale=greyscale,
            split_cuts=split_cuts,
            on_corrupt=on_corrupt,
            cache_dir=cache_dir,
            memory_limit_bytes=memory_limit_bytes,
            tfds=tfds,
            room=room,
            photo_pan=photo_pan,
            photographs=photographs,
            digits=digits,
            digit_film=digit_film,
        )
    )


def plan(
    path: PathLike | Sequence[PathLike],
    *,
    source: str,
    image_size: int | tuple[int, int] | None,
    stride: int,
    greyscale: bool,
    split_cuts: bool,
    on_corrupt: str,
    cache_dir: PathLike | None,
    memory_limit_bytes: int | None,
    tfds: Mapping[str, Any] | None,
    **worlds: Mapping[str, Any] | None,
) -> Plan:
    """Checks what `load` is given and finds what it stands for.

    Raises:
      InputError: as `load`, but for what only decoding shows.
    """
    for name, value, known in (("source", source, SOURCES), ("on_corrupt", on_corrupt, ON_CORRUPT)):
        if value not in known:
            raise InputError(f"{name}: expected one of {known}, got {value!r}")
    height, width = check_image_size(image_size)
    if isinstance(stride, bool) or not isinstance(stride, (int, np.integer)) or stride < 1:
        raise InputError(f"stride must be a whole number of frames, at least 1; got {stride!r}")
    options = Options(height, width, int(stride), bool(greyscale), bool(split_cuts))
    if memory_limit_bytes is not None:
        check_whole("memory_limit_bytes", memory_limit_bytes, 0)
    limit = available_memory() // 2 if memory_limit_bytes is None else memory_limit_bytes
    root = cache_root(cache_dir)
    one = os.fspath(path) if isinstance(path, (str, os.PathLike)) else None
    from_tfds = source == "tfds" or (one is not None and (one.startswith(PREFIX) or is_set(one)))
    if not from_tfds and isinstance(path, str) and path in WORLDS:
        drawn = _every(stride, _synthetic(path, worlds[path] or {}, image_size, greyscale))
        return Plan([], drawn, options, root, limit, path, on_corrupt)
    sources: list[Source]
    if from_tfds:
        if one is None:
            raise InputError(f"path: expected the name or directory of one data set with source=tfds, got {path!r}")
        splits = tfds_splits(one, _tfds_options(tfds or {}), on_corrupt=on_corrupt, root=root)
        sources, options = [*splits], options._replace(split_cuts=False)
    else:
        sources = find_sources(path, on_corrupt)
    return Plan(sources, [], options, root, limit, path, on_corrupt)


def read(found: Plan) -> list[Run]:
    """The runs of a plan.

    Raises:
      InputError: as `load`.
    """
    runs = found.drawn or read_some(found, alone=len(found.sources) == 1)
    if not runs:
        raise InputError(
            f"{found.asked} gives no run of at least two consecutive frames at stride {found.options.stride}: give "
            f"longer sequences or a smaller stride; of a video or folder with many cuts, split_cuts=False makes one run"
        )
    check_alike(runs)
    return runs


def _tfds_options(given: Mapping[str, Any]) -> TfdsOptions:
    if not isinstance(given, Mapping):
        raise InputError(f"tfds options: expected names and values, got {given!r}")
    for name, value in given.items():
        if name not in TfdsOptions._fields:
            raise InputError(f"tfds options: expected some of {', '.join(TfdsOptions._fields)}, got {name!r}")
        names = isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(x, str) for x in value)
        if name == "truth" and not names:
            raise InputError(f"tfds.truth: expected names of features such as ('pose',), got {value!r}")
        if name != "truth" and not isinstance(value, str):
            raise InputError(f"tfds.{name}: expected text, got {value!r}")
    chosen: dict[str, Any] = {name: tuple(value) if name == "truth" else value for name, value in given.items()}
    return TfdsOptions(**chosen)


def check_alike(runs: Sequence[Run]) -> None:
    """Raises unless frames of all runs have one shape, so that clips of any of them can be batched."""
    first = runs[0]
    for run in runs:
        (height, width, channels), (first_height, first_width, first_channels) = (
            run.frames.shape[1:],
            first.frames.shape[1:],
        )
        if channels != first_channels:
            raise InputError(
                f"{run.name} has {channels} channel(s), {first.name} has {first_channels}: set greyscale=True, "
                f"or load one kind"
            )
        if (height, width) != (first_height, first_width):
            raise InputError(
                f"{run.name} has frames of {width}x{height} pixels, {first.name} of {first_width}x{first_height}; all "
                f"must be alike: set image_size"
            )


def read_some(found: Plan, *, alone: bool) -> list[Run]:
    """The runs of the sources in order, perhaps none; the memory limit is for all of them together.

    Args:
      found: what to read.
      alone: whether nothing else is read: then a source that is too short is an error.

    Raises:
      InputError: as `load`.
    """
    sources, options, root, limit = found.sources, found.options, found.root, found.limit
    had = len(find_entries(root))
    stored: list[tuple[Source, Entry | np.ndarray | RecordFrames]] = []
    wrong: list[DamagedError] = []
    for source in sources:
        try:
            stored.append((source, _store(source, found)))
        except DamagedError as error:
            if alone or found.on_corrupt == "raise" or isinstance(source, TfdsSplit):
                raise
            logger.warning("%s is left out: %s", source.name, error.said)
            wrong.append(error)
    if wrong and not stored:
        raise wrong[0]
    stored = _with_one_white(stored, found)
    for _, entry in stored:
        for note in entry.notes if isinstance(entry, Entry) else ():
            logger.warning("%s", note)
    if alone:  # of several, those too short are left out
        check_length(sources[0].name, stored[0][1].shape[0], options.stride)
    entries = find_entries(root)
    if len(entries) > had:
        logger.info("the cache %s now holds %s", root, size_text(sum(entry.n_bytes for entry in entries)))
    _tell_changed_shape([entry for _, entry in stored if isinstance(entry, Entry)])
    total = sum(entry.n_bytes if isinstance(entry, Entry) else entry.nbytes for _, entry in stored)
    in_memory = total <= limit
    if limit and not in_memory:
        logger.info(
            "%s of frames are above the memory limit of %s: they stay on disk",
            size_text(total),
            size_text(limit),
        )
    runs: list[Run] = []
    for source, entry in stored:
        if isinstance(source, ArrayFile) or (isinstance(source, TfdsSplit) and not isinstance(entry, Entry)):
            frames: Any = entry_frames(entry, in_memory) if isinstance(entry, Entry) else entry
            runs.extend(source.runs(np.array(frames) if in_memory else frames, options.stride))
        elif isinstance(entry, Entry):
            of_set = (source.held_out, "run") if isinstance(source, TfdsSplit) else ()
            runs.extend(entry_runs(entry, in_memory, *of_set))
    return runs


def _tell_changed_shape(entries: Sequence[Entry]) -> None:
    """Warns once where frames are wider or narrower than a player shows them."""
    changed = []
    for entry in entries:
        if entry.shown is not None:
            (height, width), (shown_height, shown_width) = entry.shape[1:3], entry.shown
            factor = width * shown_height / (height * shown_width)
            if max(factor, 1 / factor) > _OTHER_SHAPE:
                changed.append((entry, factor))
    if not changed:
        return
    (entry, factor), (height, width) = changed[0], changed[0][0].shape[1:3]
    kept = (round(height * factor), width) if factor < 1 else (height, round(width / factor))
    logger.warning(
        "%s: frames shown at %dx%d are read at %dx%d, %.2f times as %s; image_size=%s keeps their shape%s",
        entry.name,
        *entry.shown[::-1],  # type: ignore[index]
        width,
        height,
        max(factor, 1 / factor),
        "wide" if factor > 1 else "high",
        kept,
        f" (so are those of {len(changed) - 1} other files or folders)" if len(changed) > 1 else "",
    )


def _with_one_white(
    stored: list[tuple[Source, Entry | np.ndarray | RecordFrames]], found: Plan
) -> list[tuple[Source, Entry | np.ndarray | RecordFrames]]:
    """Sources of integers of more than 8 bits by the largest white of them, so that they are equally bright."""
    white = max((entry.white for _, entry in stored if isinstance(entry, Entry)), default=0.0)
    brighter = found._replace(options=found.options._replace(white=white))
    return [
        (source, _store(source, brighter) if isinstance(entry, Entry) and 0 < entry.white < white else entry)
        for source, entry in stored
    ]


def _store(source: Source, found: Plan) -> Entry | np.ndarray | RecordFrames:
    options = found.options
    if isinstance(source, TfdsSplit) and source.is_ready(options):
        records = source.record_frames()
        logger.info("%s: %d frames, %s", source.name, len(records), size_text(records.nbytes))
        return records
    if isinstance(source, ArrayFile) and source.is_ready(options):
        frames = source.memory_map()[:: options.stride]
        logger.info("%s: %d frames, %s", source.name, len(frames), size_text(frames.nbytes))
        return frames
    return store(source, options, found.root, found.on_corrupt)


def _synthetic(world: str, options: Mapping[str, Any], image_size: Any, greyscale: bool) -> list[Run]:
    # Imported by name only when it is used.
    module = importlib.import_module(f"sfa_jax.data._{world}")
    try:
        colours = {} if world in _GREY else {"greyscale": greyscale}
        return getattr(module, world)(**{"image_size": image_size, **colours, **options})
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        raise InputError(f"{world} options: {error}") from error


def _every(stride: int, runs: list[Run]) -> list[Run]:
    """Every stride-th frame of runs that were rendered whole."""
    for run in runs:
        check_length(run.name, len(range(0, len(run), stride)), stride)
    return [run.part(0, len(run), stride) for run in runs]
