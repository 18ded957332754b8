"""Data sets that TensorFlow Datasets has prepared as array_record, read without TensorFlow."""

import concurrent.futures
import functools
import logging
import math
import os
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from sfa_jax._errors import DamagedError, InputError
from sfa_jax.data._cache import left_out_note, refused
from sfa_jax.data._levels import ENOUGH
from sfa_jax.data._pictures import pillow_warnings
from sfa_jax.data._record_frames import RecordFrames
from sfa_jax.data._record_index import Stretches, find_stretches
from sfa_jax.data._runs import Run
from sfa_jax.data._source import Estimate, Note, Options, Picture
from sfa_jax.data._tfds_features import Layout, describe, find_layout, find_leaves, frame_shape, is_image, listed
from sfa_jax.data._tfds_open import (
    PREFIX,
    PREPARE,
    TfdsOptions,
    check_apart,
    check_shards,
    choose_splits,
    import_tfds,
    open_set,
    opening,
    parse,
)
from sfa_jax.data._tfds_records import Records, sentence

_log = logging.getLogger("sfa_jax")
_CHUNK = 256  # records read at once, and decoded by threads


class TfdsSplit:
    """The frames of one split; classes, and what else is known of frames, become truth.

    An example is a single image, one frame of a run, or a run. Single images come in the order of the records, and each
    is cut to the largest centred part of the frame's shape and resized: of ImageNet at 64, the shorter side becomes 64
    pixels and the middle of the longer one is kept, its usual crop for evaluation. Frames of video are not cut.

    Args:
      builder: of a prepared data set.
      split: name or slice of a split, such as `train[:90%]`.
      held_out: whether its runs are held out, as in `Run`.
      layout: which feature holds what.
      on_corrupt: as of `load`.
      root: of the cache, where the places of frames are kept.

    Raises:
      InputError: there is no such split, or it has no two images.
    """

    def __init__(
        self, builder: Any, split: str, held_out: bool | None, layout: Layout, on_corrupt: str, root: pathlib.Path
    ) -> None:
        tfds = import_tfds()
        self.name = f"{PREFIX}{builder.info.full_name} {split}"
        self.held_out = held_out
        self._split, self._layout, self._on_corrupt, self._root = split, layout, on_corrupt, root
        try:
            n_examples = builder.info.splits[split].num_examples
        except (ValueError, KeyError) as error:
            raise InputError(
                f"{self.name}: no such split ({sentence(error)}); give one of {', '.join(builder.info.splits)}, or a "
                f"part such as {next(iter(builder.info.splits))}[:90%]"
            ) from error
        if n_examples < (1 if layout.clip else 2):
            what = "example(s); expected at least 1" if layout.clip else "image(s); expected at least 2"
            raise InputError(f"{self.name} has {n_examples} {what}: take a larger part")
        with opening(self.name):
            raw = tfds.decode.DeserializeMethod.RAW_BYTES
            source = builder.as_data_source(split, deserialize_method=raw, file_format="array_record")
            self.files = builder.info.splits[split].file_instructions  # now those of array_record
        check_shards(self.name, self.files)
        self._records = Records(self.name, source, layout, [(os.fspath(x.filename), x.take) for x in self.files])
        self._stretches: Stretches | None = None

    def signature(self) -> list[list[object]]:
        paths = sorted({os.fspath(file.filename) for file in self.files})
        try:
            stats = [os.stat(path) for path in paths]
        except OSError as error:
            raise InputError(f"{self.name}: {error.filename} cannot be read ({error.strerror}); {PREPARE}") from error
        truth = [[name, leaf.name, place] for name, (leaf, place) in self._layout.truth.items()]
        order = [leaf and leaf.name for leaf in (self._layout.run, self._layout.frame_index)]
        what: list[object] = [self._split, len(self._records), self._layout.frames.name, order, truth]
        return [what, *([path, stat.st_size, stat.st_mtime_ns] for path, stat in zip(paths, stats, strict=True))]

    def estimate(self, options: Options) -> Estimate:
        height, width = self._frame_size(options)
        channels = 1 if options.greyscale else frame_shape(self._layout.frames)[2]
        n_frames = len(self._records)
        if self._layout.clip:
            ((_, record),) = self._records.readable([0])
            if not isinstance(record, DamagedError):
                n_frames *= len(self._records.frames(0, self._records.parse(0, record)))
        return Estimate(-(-n_frames // options.stride), height * width * channels, exact=not self._layout.clip)

    def is_ready(self, options: Options) -> bool:
        """Whether frames can be taken from the records as they are: tensors of the size and colour asked for."""
        leaf = self._layout.frames
        height, width, channels = frame_shape(leaf)
        return (
            not self._layout.clip
            and not is_image(leaf)
            and np.dtype(leaf.feature.np_dtype) == np.uint8
            and None not in (height, width)
            and (options.height, options.width) in ((0, 0), (height, width))
            and not (options.greyscale and channels == 3)
        )

    def record_frames(self) -> RecordFrames:
        """All frames in the order of the runs, none of them read yet; `runs` tells where each run ends."""
        height, width, channels = frame_shape(self._layout.frames)
        found = self._find_stretches()
        if found.wrong:
            _log.warning("%s", left_out_note(self.name, found.wrong, len(self._records) - len(found.wrong)))
        numbers = [stretch.numbers for stretch in found.good]
        every = np.concatenate(numbers) if numbers else np.zeros(0, np.int64)
        return RecordFrames(self._records, every, (height or 0, width or 0, channels))

    def runs(self, frames: Any, stride: int) -> list[Run]:
        """The runs of `record_frames`, those frames whose index is a multiple of the stride."""
        runs, first, n_dropped = [], 0, 0
        for stretch in self._find_stretches().good:
            whole = Run(
                frames[first : first + len(stretch.numbers)],
                f"{self.name} (run {stretch.name})" if stretch.name else self.name,
                stretch.frame_index,
                stretch.truth,
                self.held_out,
            )
            first += len(whole)
            rows = _every(stretch.frame_index, stride)
            if len(rows) < 2:
                n_dropped += 1
            else:
                runs.append(whole.part(rows.start, rows.stop, rows.step))
        if n_dropped:
            _log.warning("%s: %d runs of fewer than two frames are dropped", self.name, n_dropped)
        return runs

    def run_names(self) -> set[str]:
        """The runs that its examples name; none where they are runs, or single images, themselves."""
        return {stretch.name for stretch in self._find_stretches().good} if self._layout.run else set()

    def pictures(self, options: Options) -> Iterator[Picture | DamagedError | Note]:
        """The frames, decoded."""
        jobs = self._clips(options) if self._layout.clip else self._images(options)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            for part in jobs:
                with pillow_warnings():
                    frames = list(pool.map(functools.partial(self._frame, options), part))
                yield from frames
        deep = self._records.deep
        if deep.dtype.kind == "u" and 0 < deep.high < ENOUGH:
            yield Note(
                f"{self.name}: its 16-bit images have no value above {deep.high:g}, and are nearly black as 65535 is "
                "white: scale them and write the set again"
            )

    def _images(self, options: Options) -> Iterator[list["_Job | DamagedError"]]:
        """What is to be decoded of examples that are one frame each."""
        frames = [self._layout.frames.name]
        if self._layout.run is not None:
            stretches = self._find_stretches()
            yield [*stretches.wrong]
            for stretch in stretches.good:
                rows = _every(stretch.frame_index, options.stride)
                for start in range(0, len(rows), _CHUNK):
                    part = rows[start : start + _CHUNK]
                    records = self._records.read(stretch.numbers[part.start : part.stop : part.step])
                    jobs: list[_Job | DamagedError] = []
                    for row, record in zip(part, records, strict=True):
                        number, index = int(stretch.numbers[row]), int(stretch.frame_index[row])
                        (value,) = self._records.frames(number, self._records.parse(number, record, frames))
                        truth = {name: float(known[row]) for name, known in stretch.truth.items()}
                        jobs.append(_Job(number, index, value, truth, row == rows.start))
                    yield jobs
            return
        numbers = range(0, len(self._records), options.stride)
        for start in range(0, len(numbers), _CHUNK):
            jobs = []
            for number, content in self._records.readable(numbers[start : start + _CHUNK]):
                if isinstance(content, DamagedError):
                    jobs.append(content)
                    continue
                try:
                    values = self._records.parse(number, content)
                    (value,) = self._records.frames(number, values)
                    truth = {name: float(known[0]) for name, known in self._records.truth(number, values, 1).items()}
                except DamagedError as error:
                    jobs.append(error)
                else:
                    jobs.append(_Job(number, number, value, truth, False))
            yield jobs

    def _clips(self, options: Options) -> Iterator[list["_Job | DamagedError"]]:
        """What is to be decoded of examples that are a run each."""
        for number in range(len(self._records)):
            try:
                (record,) = self._records.read([number])
                values = self._records.parse(number, record)
                frames = self._records.frames(number, values)
                truth = self._records.truth(number, values, len(frames))
            except DamagedError as error:
                yield [DamagedError(error.said, error.repair, n_frames=None)]
                continue
            rows = range(0, len(frames), options.stride)
            for start in range(0, len(rows), _CHUNK):
                yield [
                    _Job(number, row, frames[row], {name: float(x[row]) for name, x in truth.items()}, row == 0)
                    for row in rows[start : start + _CHUNK]
                ]

    def _frame(self, options: Options, job: "_Job | DamagedError") -> Picture | DamagedError:
        if isinstance(job, DamagedError):
            return job
        try:
            frame = self._records.picture(job.record, job.value, options)
        except DamagedError as error:
            return error
        return Picture(job.number, frame, None, job.truth, job.begins)

    def _find_stretches(self) -> Stretches:
        if self._stretches is None:
            self._stretches = find_stretches(self._records, self.signature(), self._root)
        if self._stretches.wrong and self._on_corrupt == "raise":
            raise refused(self._stretches.wrong[0])
        return self._stretches

    def _frame_size(self, options: Options) -> tuple[int, int]:
        if options.height:
            return options.height, options.width
        height, width, _ = frame_shape(self._layout.frames)
        if height is None or width is None:
            raise InputError(
                f"image_size: the images of {self.name} are of many sizes; set image_size, for instance 64"
            )
        return height, width


class _Job(NamedTuple):
    """A frame to be decoded: its record, its place in its run, what the record holds of it, and what is known of it."""

    record: int
    number: int
    value: Any
    truth: dict[str, float]
    begins: bool


def tfds_splits(path: str, options: TfdsOptions, *, on_corrupt: str, root: pathlib.Path) -> list[TfdsSplit]:
    """The split that is trained on, and the one that is held out.

    Args:
      path: `NAME` or `DIRECTORY`, perhaps after `tfds:`, then perhaps `?` and options joined by `&`, which go before
        those of `options`.
      options: names and splits.
      on_corrupt: as of `load`.
      root: of the cache.

    Returns:
      One or two splits without an example in common.

    Raises:
      InputError: the data set is not prepared as array_record, an option does not fit it, or the splits overlap.
    """
    name, options = parse(path, options)
    builder, unreadable = open_set(name, options.data_dir)
    about = f"{PREFIX}{builder.info.full_name}"
    leaves = find_leaves(builder.info.features)
    layout = find_layout(leaves, options.wanted(), about)
    if layout.run and not layout.frame_index and not builder.info.disable_shuffling:
        raise InputError(
            f"{about}: expected a feature with the number of each frame in its run beside {layout.run.name}, as the "
            f"examples are shuffled: name it by data.tfds.frame_index, or take single images by data.tfds.run=none; "
            f"{listed(leaves)}"
        )
    unread = f"; not readable without TensorFlow or the code of the set: {', '.join(unreadable)}" if unreadable else ""
    _log.info("%s: %s%s", about, describe(layout, leaves), unread)
    videos = layout.clip or layout.run is not None
    split, held_out = choose_splits(list(builder.info.splits), options, about, videos=videos)
    if held_out is None:
        return [TfdsSplit(builder, split, None, layout, on_corrupt, root)]
    found = [TfdsSplit(builder, split, False, layout, on_corrupt, root)]
    if held_out:
        found.append(TfdsSplit(builder, held_out, True, layout, on_corrupt, root))
        check_apart(*found)
        shared = found[0].run_names() & found[1].run_names()
        if shared:
            raise InputError(
                f"held_out: expected runs that are not trained on, but {len(shared)} of {found[0].name}, such as "
                f"{min(shared)}, are in {found[1].name} too; leave held_out empty to hold out the last part of each run"
            )
    return found


def _every(frame_index: np.ndarray, stride: int) -> range:
    """The places of frames whose index is a multiple of the stride; indices are evenly spaced."""
    step = int(frame_index[1] - frame_index[0]) if len(frame_index) > 1 else 1
    fits = np.flatnonzero(frame_index % stride == 0)
    first = int(fits[0]) if len(fits) else len(frame_index)
    return range(first, len(frame_index), stride // math.gcd(stride, step))
