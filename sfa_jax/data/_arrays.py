"""Frames in `.npy` and `.npz` files.

An array is `[time, height, width, channel]` or `[time, height, width]`: uint8 in [0, 255], bool, or floating point in
[0, 1].
"""

import itertools
import logging
import math
import os
from collections.abc import Iterator, Mapping

import numpy as np
from PIL import Image

from sfa_jax._errors import DamagedError, InputError
from sfa_jax.data._limits import check_frame_pixels
from sfa_jax.data._numpy_files import (
    Stored,
    check_memory,
    check_unpacked,
    find_arrays,
    map_array,
    read_array,
    stream_array,
)
from sfa_jax.data._runs import Run
from sfa_jax.data._source import Estimate, Note, Options, Picture, luma, resize_picture

logger = logging.getLogger("sfa_jax")

ARRAY_SUFFIXES = frozenset({".npy", ".npz"})
_CHUNK_BYTES = 1 << 24


class ArrayFile:
    """The frames of one array file."""

    def __init__(self, path: str) -> None:
        self.name = path
        arrays = find_arrays(path)
        self._frames = arrays[_find_frames(path, arrays)]
        self.shape, self.dtype = self._frames.shape, self._frames.dtype
        _check_frames(self._frames.name, self.shape, self.dtype)
        check_unpacked(self._frames)
        self._labels = _find_labels(arrays, self.shape[0]) if self._frames.key else {}

    @property
    def channels(self) -> int:
        return self.shape[3] if len(self.shape) == 4 else 1

    def signature(self) -> list[list[object]]:
        stat = os.stat(self.name)
        return [[os.path.abspath(self.name), stat.st_size, stat.st_mtime_ns]]

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
        frames = map_array(self._frames)
        return frames if frames.ndim == 4 else frames[..., np.newaxis]

    def estimate(self, options: Options) -> Estimate:
        height, width = options.height or self.shape[1], options.width or self.shape[2]
        channels = 1 if options.greyscale else self.channels
        return Estimate(-(-self.shape[0] // options.stride), height * width * channels, exact=True)

    def pictures(self, options: Options) -> Iterator[Picture | DamagedError | Note]:
        number = 0
        for chunk in self._chunks():
            frames = eight_bits(chunk, number, self._frames.name)
            for frame in frames:
                image = sized(frame, options) if number % options.stride == 0 else None
                yield Picture(number, image, None)
                number += 1

    def runs(self, frames: np.ndarray, stride: int) -> list[Run]:
        """`frames`, which the stride has left, cut where `run_id` changes; runs of one frame are dropped."""
        numbers = np.arange(0, self.shape[0], stride, dtype=np.int64)
        labels = {key: _label(array) for key, array in self._labels.items()}
        run_id = labels.pop("run_id", None)
        truth = {key.removeprefix("truth/"): values for key, values in labels.items()}
        edges = np.flatnonzero(np.diff(run_id)) + 1 if run_id is not None else np.zeros(0, np.int64)
        # An edge between two kept frames belongs to the later one; an id that comes back is a new run.
        bounds = np.unique([0, *np.searchsorted(numbers, edges), len(numbers)]).tolist()
        runs = []
        for start, stop in itertools.pairwise(bounds):
            rows = numbers[start:stop]
            name = self.name if run_id is None else f"{self.name} (run_id {run_id[rows[0]]})"
            if len(rows) < 2:
                logger.info("dropped %s, frame %d: a run of 1 frame, and slowness needs two", name, rows[0])
                continue
            runs.append(Run(frames[start:stop], name, rows, {key: values[rows] for key, values in truth.items()}))
        return runs

    def _chunks(self) -> Iterator[np.ndarray]:
        frame_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize
        step = max(1, _CHUNK_BYTES // frame_bytes)
        check_memory(self._frames, min(step, self.shape[0]))
        if self._frames.key and not self._frames.fortran:
            # An .npz cannot be memory-mapped; its member is unpacked a few frames at a time.
            yield from stream_array(self._frames, step)
            return
        frames = read_array(self._frames) if self._frames.key else map_array(self._frames)
        for start in range(0, len(frames), step):
            yield frames[start : start + step]


def _find_frames(path: str, arrays: Mapping[str, Stored]) -> str:
    """The key of the frames."""
    likely = [key for key, array in arrays.items() if len(array.shape) in (3, 4)]
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
        if key == "run_id" and array.dtype.kind not in "iub":
            raise InputError(f"{array.name} has dtype {array.dtype}; whole numbers, one a frame, are expected")
        if array.dtype.kind not in "fiub":
            raise InputError(f"{array.name} has dtype {array.dtype}; numbers are expected: save those only")
        check_unpacked(array)
    return labels


def _label(array: Stored) -> np.ndarray:
    """`run_id` as it is, latent variables as float32."""
    values = read_array(array)
    if array.key == "run_id":
        return values
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
    if len(shape) not in (3, 4):
        raise InputError(f"{name} has shape {shape}; {expected}")
    if min(shape) < 1:
        raise InputError(f"{name} has shape {shape} and so no pixels; {expected}")
    check_frame_pixels(name, shape[1], shape[2])
    if len(shape) == 4 and shape[3] not in (1, 3):
        hint = ""
        if shape[1] in (1, 3):
            hint = "; its channels seem to come second: save numpy.moveaxis(frames, 1, -1)"
        elif shape[3] in (2, 4):
            hint = "; leave the alpha channel out: save frames[..., :-1]"
        raise InputError(f"{name} has shape {shape}; {expected}{hint}")
    if dtype.kind not in "fb" and dtype != np.uint8:
        hint = "frames // 257 as uint8" if dtype == np.uint16 else "frames.astype(numpy.uint8) if they are in [0, 255]"
        raise InputError(f"{name} has dtype {dtype}; uint8, or floating point in [0, 1], is expected: save {hint}")


def eight_bits(frames: np.ndarray, first: int, name: str) -> np.ndarray:
    """A chunk of frames as uint8 `[time, height, width, channel]`; `first` is its first frame's number."""
    frames = frames if frames.ndim == 4 else frames[..., np.newaxis]
    if frames.dtype == np.uint8:
        return frames
    if frames.dtype == np.bool_:
        if frames.view(np.uint8).max() > 1:
            raise InputError(f"{name} has dtype bool, but other bytes than 0 and 1: it is damaged; save it again")
        return frames.astype(np.uint8) * np.uint8(255)
    with np.errstate(over="ignore", invalid="ignore"):  # what is wrong with them is told below
        values = frames.astype(np.float32)
    low, high = values.min(axis=(1, 2, 3)), values.max(axis=(1, 2, 3))
    finite = np.isfinite(low) & np.isfinite(high)
    if not finite.all():
        raise InputError(
            f"{name} has NaN or infinite values, first in frame {first + int(np.argmin(finite))}: "
            f"repair or leave out such frames"
        )
    outside = (low < -1e-3) | (high > 1 + 1e-3)  # rounding errors are forgiven
    if outside.any():
        bad = int(np.argmax(outside))
        hint = "clip them to [0, 1], or scale the array"
        if low[bad] >= 0 and high[bad] > 2:
            hint = "divide the array by 255, or save it as uint8"
        elif low[bad] >= -1.001 and high[bad] <= 1.001:
            hint = "if the range is [-1, 1], save (frames + 1) / 2"
        raise InputError(
            f"{name} has values from {low[bad]:g} to {high[bad]:g} in frame {first + bad}; floating-point frames are "
            f"expected in [0, 1]: {hint}"
        )
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)


def sized(frame: np.ndarray, options: Options) -> np.ndarray:
    if options.height and frame.shape[:2] != (options.height, options.width):
        picture = Image.fromarray(frame if frame.shape[2] == 3 else frame[..., 0])
        frame = np.asarray(resize_picture(picture, options.height, options.width))
        frame = frame if frame.ndim == 3 else frame[..., np.newaxis]
    return luma(frame) if options.greyscale and frame.shape[2] == 3 else frame
