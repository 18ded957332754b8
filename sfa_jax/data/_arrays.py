"""Frames in `.npy`, `.npz` and HDF5 files.

An array is `[time, height, width, channel]` or `[time, height, width]`: uint8 in [0, 255], bool, floating point in
[0, 1], or other numbers by the white level of the whole array (see `_levels`).
"""

import itertools
import logging
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from PIL import Image

from sfa_jax._errors import DamagedError, InputError
from sfa_jax.data._hdf5 import MAGIC, StoredDataset, find_datasets, may_be_frames
from sfa_jax.data._levels import ENOUGH, ValueRange, as_bytes, first_not_finite, told
from sfa_jax.data._limits import check_frame_pixels
from sfa_jax.data._numpy_files import StoredArray, find_arrays
from sfa_jax.data._runs import Run
from sfa_jax.data._source import Estimate, Note, Options, Picture, luma, resize_picture

logger = logging.getLogger("sfa_jax")

_HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf", ".he5")
_CHUNK_BYTES = 1 << 24
_SAMPLE = 16  # frames of uint8 that are looked at for black and white alone
Stored = StoredArray | StoredDataset


class ArrayFile:
    """The frames of one array file.

    Args:
      path: of the file.
      frames: the dataset of an HDF5 file that holds them, found if empty.
    """

    def __init__(self, path: str, frames: str = "") -> None:
        self.name = path
        arrays, key = _find(path, frames)
        self._frames = arrays[key]
        self.shape, self.dtype = self._frames.shape, self._frames.dtype
        _check_frames(self._frames.name, self.shape, self.dtype)
        self._labels = _find_labels(arrays, self.shape[0])
        read = {key, *self._labels}
        _tell_unread(path, {other: array for other, array in arrays.items() if other not in read}, self.shape[0])

    @property
    def channels(self) -> int:
        return self.shape[3] if len(self.shape) == 4 else 1

    def signature(self) -> list[list[object]]:
        stat = os.stat(self.name)
        return [[os.path.abspath(self.name), stat.st_size, stat.st_mtime_ns, self._frames.key]]

    def is_ready(self, options: Options) -> bool:
        """Whether the file can be memory-mapped as it is."""
        sides = (options.height, options.width)
        return (
            not self._frames.key
            and self.dtype == np.uint8
            and sides in ((0, 0), self.shape[1:3])
            and not (options.greyscale and self.channels == 3)
        )

    def memory_map(self) -> np.ndarray:
        """The frames `[time, height, width, channel]`, read-only."""
        with self._frames.open() as frames:
            for note in _binary_note(self.name, frames):
                logger.warning("%s", note.text)
            return frames if frames.ndim == 4 else frames[..., np.newaxis]

    def estimate(self, options: Options) -> Estimate:
        height, width = options.height or self.shape[1], options.width or self.shape[2]
        channels = 1 if options.greyscale else self.channels
        return Estimate(-(-self.shape[0] // options.stride), height * width * channels, exact=True)

    def white(self) -> float:
        """Finds the value of white of integers of more than 8 bits; 0 of others."""
        if self.dtype.kind not in "iu" or self.dtype == np.uint8:
            return 0
        with self._frames.open() as frames:
            return _range(self._frames.name, self._chunks(frames)).white(self._frames.name)

    def pictures(self, options: Options) -> Iterator[Picture | DamagedError | Note]:
        number, name = 0, self._frames.name
        with self._frames.open() as frames:
            if self.dtype == np.uint8:
                yield from _binary_note(name, frames)
            white = 255.0
            if self.dtype.kind != "b" and self.dtype != np.uint8:
                seen = _range(name, self._chunks(frames))
                white = seen.white(name, options.white)
                yield told(name, seen, white)
            for chunk in self._chunks(frames):
                for frame in eight_bits(chunk, white, name):
                    image = sized(frame, options) if number % options.stride == 0 else None
                    yield Picture(number, image, None)
                    number += 1

    def runs(self, frames: np.ndarray, stride: int) -> list[Run]:
        """Cuts `frames`, which the stride has left, where `run_id` changes; sequences of one frame are left out."""
        numbers = np.arange(0, self.shape[0], stride, dtype=np.int64)
        labels = {key: _label(key, array) for key, array in self._labels.items()}
        run_id = labels.pop("run_id", None)
        truth = {key.removeprefix("truth/"): values for key, values in labels.items()}
        edges = np.flatnonzero(run_id[1:] != run_id[:-1]) + 1 if run_id is not None else np.zeros(0, np.int64)
        if len(edges) and len(edges) == self.shape[0] - 1:
            raise InputError(
                f"{self.name} [run_id] changes at every frame, and so no two frames follow each other; expected one "
                "value for all frames of a sequence"
            )
        # An edge between two kept frames belongs to the later one; an id that comes back is a new run.
        bounds = np.unique([0, *np.searchsorted(numbers, edges), len(numbers)]).tolist()
        runs = []
        for start, stop in itertools.pairwise(bounds):
            rows = numbers[start:stop]
            name = self.name if run_id is None else f"{self.name} (run_id {run_id[rows[0]]})"
            if len(rows) > 1:
                runs.append(Run(frames[start:stop], name, rows, {key: values[rows] for key, values in truth.items()}))
        n_single = len(bounds) - 1 - len(runs)
        if n_single:
            logger.warning("%s: %d sequences of one frame are left out; slowness needs two", self.name, n_single)
        return runs

    def _chunks(self, frames: Any) -> Iterator[np.ndarray]:
        step = max(1, _CHUNK_BYTES // (math.prod(self.shape[1:]) * self.dtype.itemsize))
        return (frames[start : start + step] for start in range(0, self.shape[0], step))


def _find(path: str, frames: str) -> tuple[Mapping[str, Stored], str]:
    """The arrays of a file, and the key of the frames."""
    try:
        with open(path, "rb") as file:
            head = file.read(128)
    except OSError as error:
        raise DamagedError(f"{path} cannot be read ({error.strerror})", "give another file", None) from error
    suffix = os.path.splitext(path)[1].lower()
    if head.startswith((MAGIC, b"MATLAB 7.3")) or suffix in _HDF5_SUFFIXES:
        return find_datasets(path, frames)
    if suffix == ".mat":
        raise InputError(
            f"{path} is no file of MATLAB 7.3, which is HDF5: save it by save(..., '-v7.3'), or load it by "
            "scipy.io.loadmat and save the frames [time, height, width, channel] by numpy.save"
        )
    if frames:
        raise InputError(f"{path}: expected an HDF5 file before ?frames=, got another; leave out ?frames={frames}")
    arrays = find_arrays(path)
    return arrays, _find_frames(path, arrays)


def _find_frames(path: str, arrays: Mapping[str, Stored]) -> str:
    """The key of the frames."""
    likely = [key for key, array in arrays.items() if may_be_frames(array.shape)]
    if "" in arrays or "frames" in arrays:
        return "" if "" in arrays else "frames"
    if len(likely) != 1:
        described = ", ".join(f"{key} {array.shape}" for key, array in list(arrays.items())[:20]) or "nothing"
        raise InputError(
            f"{path} has no array called frames, nor just one with three or four axes; it holds {described}. Save the "
            f"frames [time, height, width, channel] under the name frames"
        )
    return likely[0]


def _find_labels(arrays: Mapping[str, Stored], n_frames: int) -> dict[str, Stored]:
    """`run_id` and the latent variables `truth/<name>`, of which only the headers have been read."""
    labels = {key: array for key, array in arrays.items() if key == "run_id" or key.startswith("truth/")}
    for key, array in labels.items():
        if array.shape != (n_frames,):
            raise InputError(f"{array.name} has shape {array.shape}; one value a frame, ({n_frames},), is expected")
        if array.dtype.kind not in ("fiubUS" if key == "run_id" else "fiub"):
            raise InputError(f"{array.name} has dtype {array.dtype}; numbers are expected: save those only")
    return labels


def _tell_unread(path: str, unread: Mapping[str, Stored], n_frames: int) -> None:
    """Names the arrays that are not read; those of one value a frame may be meant to be."""
    known = [key for key, array in unread.items() if array.shape[:1] == (n_frames,)]
    others = [key for key in unread if key not in known]
    if known:
        logger.warning(
            "%s: not read are %s, of one row a frame; what is known of each frame is read as truth/NAME, one number a "
            "frame, such as truth/%s, and where sequences end as run_id",
            path, ", ".join(known[:20]), os.path.basename(known[0]),
        )  # fmt: skip
    if others:
        logger.info("%s: not read are %s", path, ", ".join(others[:20]) + ", ..." * (len(others) > 20))


def _label(key: str, array: Stored) -> np.ndarray:
    """`run_id` as it is, latent variables as float32."""
    with array.open() as rows:
        values = np.asarray(rows[:])
    if key == "run_id":
        if values.dtype.kind == "f" and not (np.isfinite(values) & (values == np.round(values))).all():
            bad = int(np.argmin(np.isfinite(values) & (values == np.round(values))))
            raise InputError(
                f"{array.name} is {values[bad]} at frame {bad}; expected whole numbers, one a frame: give frames "
                "between sequences an id of their own, or leave them out"
            )
        return values.astype(np.int64) if values.dtype.kind == "f" else values
    with np.errstate(over="ignore", invalid="ignore"):
        values = values.astype(np.float32)
    if not np.isfinite(values).all():
        raise InputError(
            f"{array.name} has NaN or infinite values, first at frame {int(np.argmin(np.isfinite(values)))}: repair or "
            f"leave out such frames"
        )
    return values


def _check_frames(name: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
    expected = "frames [time, height, width, channel] or [time, height, width] with 1 or 3 channels are expected"
    if len(shape) == 2:
        raise InputError(f"{name} has shape {shape}: vectors in time, not images; {expected}")
    if len(shape) == 5:
        raise InputError(
            f"{name} has shape {shape}; {expected}: of clips [clip, time, height, width, channel] save in an .npz "
            "frames.reshape(-1, *frames.shape[2:]) as frames and numpy.repeat(numpy.arange(clips), time) as run_id"
        )
    if len(shape) not in (3, 4):
        raise InputError(f"{name} has shape {shape}; {expected}")
    if min(shape) < 1:
        raise InputError(f"{name} has shape {shape} and so no pixels; {expected}")
    if not may_be_frames(shape):
        raise InputError(
            f"{name} has shape {shape}: one picture [height, width, channel], or points in time; {expected}: save all "
            "pictures in one array by numpy.stack; if frames so narrow are meant, save frames[..., None]"
        )
    check_frame_pixels(name, shape[1], shape[2])
    if len(shape) == 4 and shape[3] not in (1, 3):
        hint = ""
        if shape[1] in (1, 3):
            hint = "; its channels seem to come second: save numpy.moveaxis(frames, 1, -1)"
        elif shape[3] in (2, 4):
            hint = "; leave the alpha channel out: save frames[..., :-1]"
        raise InputError(f"{name} has shape {shape}; {expected}{hint}")
    if dtype.kind not in "fbiu":
        hint = "; save its absolute value, or the part that is meant" if dtype.kind == "c" else ""
        raise InputError(f"{name} has dtype {dtype}; integers, bool or floating point are expected{hint}")


def _binary_note(name: str, frames: Any) -> list[Note]:
    """Tells where frames of uint8 have no other values than 0 and 1, which are nearly black both."""
    step = -(-len(frames) // _SAMPLE)
    highest = max(int(np.max(frames[start : start + 1])) for start in range(0, len(frames), step))
    said = f"{name} has uint8 values of 0 and 1 alone, of which both are nearly black: save a mask as bool"
    return [Note(said)] if highest == 1 else []


def _range(name: str, chunks: Iterator[np.ndarray]) -> ValueRange:
    """The range of values in all frames.

    Raises:
      InputError: some are not finite.
    """
    seen, number = ValueRange(), 0
    for chunk in chunks:
        bad = first_not_finite(chunk)
        if bad is not None:
            raise InputError(
                f"{name} has NaN or infinite values, first in frame {number + bad}: repair or leave out such frames"
            )
        axes = tuple(range(1, chunk.ndim))
        for extreme, place in ((chunk.min(axis=axes), np.argmin), (chunk.max(axis=axes), np.argmax)):
            at = int(place(extreme))
            seen.update(extreme[at : at + 1], f"frame {number + at}")
        number += len(chunk)
        if chunk.dtype.kind == "u" and seen.high >= ENOUGH:
            break
    return seen


def eight_bits(frames: np.ndarray, white: float, name: str) -> np.ndarray:
    """Frames as uint8 `[time, height, width, channel]`, by the value of white."""
    frames = frames if frames.ndim == 4 else frames[..., np.newaxis]
    if frames.dtype == np.uint8:
        return frames
    if frames.dtype == np.bool_:
        if frames.view(np.uint8).max() > 1:
            raise InputError(f"{name} has dtype bool, but other bytes than 0 and 1: it is damaged; save it again")
        return frames.astype(np.uint8) * np.uint8(255)
    return as_bytes(frames, white)


def tensor_bytes(frame: np.ndarray, name: str) -> np.ndarray:
    """One frame `[height, width, channel]` of a set as uint8; floating point must be in [0, 1].

    Raises:
      InputError: it is not.
    """
    white = 1.0
    if frame.dtype.kind == "f":
        seen = _range(name, iter([frame[np.newaxis]]))
        white = seen.white(name)
        if white != 1:
            raise InputError(
                f"{name} has floating-point values up to {seen.high:g}, expected in [0, 1]: divide them by {white:g} "
                "and write the set again"
            )
    return eight_bits(frame[np.newaxis], white, name)[0]


def sized(frame: np.ndarray, options: Options) -> np.ndarray:
    if options.height and frame.shape[:2] != (options.height, options.width):
        picture = Image.fromarray(frame if frame.shape[2] == 3 else frame[..., 0])
        frame = np.asarray(resize_picture(picture, options.height, options.width))
        frame = frame if frame.ndim == 3 else frame[..., np.newaxis]
    return luma(frame) if options.greyscale and frame.shape[2] == 3 else frame
