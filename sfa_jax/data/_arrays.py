"""Frames in `.npy` and `.npz` files.

An array is `[time, height, width, channel]` or `[time, height, width]`: uint8 in [0, 255], bool, or floating point in
[0, 1].
"""

import contextlib
import itertools
import logging
import os
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from sfa_jax._errors import InputError
from sfa_jax.data._runs import Run
from sfa_jax.data._source import Estimate, Options, Picture, luma, resize_picture

logger = logging.getLogger("sfa_jax")

ARRAY_SUFFIXES = frozenset({".npy", ".npz"})
_CHUNK_BYTES = 1 << 24


class ArrayFile:
    """The frames of one array file."""

    def __init__(self, path: str) -> None:
        self.name = path
        self._key, self.shape, self.dtype, self._fortran = _find_frames(path)
        _check_frames(f"{path}{self._key and f' [{self._key}]'}", self.shape, self.dtype)

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
            not self._key
            and self.dtype == np.uint8
            and sides in ((0, 0), self.shape[1:3])
            and not (options.greyscale and self.channels == 3)
        )

    def memory_map(self) -> np.ndarray:
        """The frames `[time, height, width, channel]`, read-only."""
        frames = self._mapped()
        return frames if frames.ndim == 4 else frames[..., np.newaxis]

    def estimate(self, options: Options) -> Estimate:
        height, width = options.height or self.shape[1], options.width or self.shape[2]
        channels = 1 if options.greyscale else self.channels
        return Estimate(-(-self.shape[0] // options.stride), height * width * channels, exact=True)

    def pictures(self, options: Options) -> Iterator[Picture]:
        number = 0
        for chunk in self._chunks():
            frames = _eight_bits(chunk, number, f"{self.name}{self._key and f' [{self._key}]'}")
            for frame in frames:
                image = _frame(frame, options) if number % options.stride == 0 else None
                yield Picture(number, image, None)
                number += 1

    def runs(self, frames: np.ndarray, stride: int) -> list[Run]:
        """`frames`, which the stride has left, cut where `run_id` changes; runs of one frame are dropped."""
        numbers = np.arange(0, self.shape[0], stride, dtype=np.int64)
        run_id, truth = self._labels()
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

    def _labels(self) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
        """`run_id` `[time]`, where given, and the latent variables `truth/<name>` `[time]`."""
        run_id: np.ndarray | None = None
        truth: dict[str, np.ndarray] = {}
        if not self._key:
            return run_id, truth
        with np.load(self.name, allow_pickle=False) as arrays:
            for key in arrays.files:
                if key != "run_id" and not key.startswith("truth/"):
                    continue
                values = _member(arrays, key, self.name)
                if values.shape != self.shape[:1]:
                    raise InputError(
                        f"{self.name} [{key}] has shape {values.shape}; one value a frame, ({self.shape[0]},), is "
                        f"expected"
                    )
                if key == "run_id":
                    run_id = _integers(values, self.name)
                else:
                    truth[key.removeprefix("truth/")] = _finite(values, f"{self.name} [{key}]")
        return run_id, truth

    def _chunks(self) -> Iterator[np.ndarray]:
        frame_bytes = max(1, int(np.prod(self.shape[1:])) * self.dtype.itemsize)
        step = max(1, _CHUNK_BYTES // frame_bytes)
        if not self._key:
            frames = self._mapped()
        elif self._fortran:
            with np.load(self.name, allow_pickle=False) as arrays:
                frames = _member(arrays, self._key, self.name)
        else:
            yield from self._streamed(step, frame_bytes)
            return
        for start in range(0, len(frames), step):
            yield frames[start : start + step]

    def _mapped(self) -> np.ndarray:
        with _reading(self.name):
            return np.load(self.name, mmap_mode="r", allow_pickle=False)

    def _streamed(self, step: int, frame_bytes: int) -> Iterator[np.ndarray]:
        # An .npz cannot be memory-mapped; its member is unpacked a few frames at a time.
        with (
            _reading(f"{self.name} [{self._key}]"),
            zipfile.ZipFile(self.name) as archive,
            archive.open(f"{self._key}.npy") as member,
        ):
            _read_header(member)
            for start in range(0, self.shape[0], step):
                count = min(step, self.shape[0] - start)
                data = member.read(count * frame_bytes)
                if len(data) < count * frame_bytes:
                    raise EOFError("the array ends early")
                yield np.frombuffer(data, self.dtype).reshape(count, *self.shape[1:])


def _find_frames(path: str) -> tuple[str, tuple[int, ...], np.dtype, bool]:
    """The key ("" in an .npy), shape, dtype and memory order of the frames."""
    headers = {}
    with _reading(path):
        if not zipfile.is_zipfile(path):
            with open(path, "rb") as file:
                return "", *_read_header(file)
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                key = name.removesuffix(".npy")
                with _reading(f"{path} [{key}]"), archive.open(name) as member:
                    headers[key] = _read_header(member)
    likely = [key for key, (shape, _, _) in headers.items() if len(shape) in (3, 4)]
    found = "frames" if "frames" in headers else likely[0] if len(likely) == 1 else None
    if found is None:
        described = ", ".join(f"{key} {shape}" for key, (shape, _, _) in headers.items()) or "nothing"
        raise InputError(
            f"{path} has no array called frames, nor just one with three or four axes; it holds {described}. Save the "
            f"frames [time, height, width, channel] under the name frames"
        )
    return found, *headers[found]


def _read_header(file: Any) -> tuple[tuple[int, ...], np.dtype, bool]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are not read; save plain numbers")
    return shape, dtype, fortran


@contextlib.contextmanager
def _reading(name: str) -> Iterator[None]:
    """Turns what a damaged file raises into one error that names it."""
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as error:  # zlib.error, LZMAError, TokenError of a header, NotImplementedError of zipfile...
        raise InputError(
            f"{name} cannot be read as a NumPy file ({str(error) or type(error).__name__}): save it again with "
            f"numpy.save or numpy.savez"
        ) from error


def _member(arrays: Any, key: str, path: str) -> np.ndarray:
    with _reading(f"{path} [{key}]"):
        return arrays[key]


def _check_frames(name: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
    expected = "frames [time, height, width, channel] or [time, height, width] with 1 or 3 channels are expected"
    if len(shape) == 2:
        raise InputError(f"{name} has shape {shape}: vectors in time, not images; {expected}")
    if len(shape) not in (3, 4):
        raise InputError(f"{name} has shape {shape}; {expected}")
    if min(shape) < 1:
        raise InputError(f"{name} has shape {shape} and so no pixels; {expected}")
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


def _eight_bits(frames: np.ndarray, first: int, name: str) -> np.ndarray:
    """A chunk of frames as uint8 `[time, height, width, channel]`; `first` is its first frame's number."""
    frames = frames if frames.ndim == 4 else frames[..., np.newaxis]
    if frames.dtype == np.uint8:
        return frames
    if frames.dtype == np.bool_:
        return frames.astype(np.uint8) * np.uint8(255)
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


def _frame(frame: np.ndarray, options: Options) -> np.ndarray:
    if options.height and frame.shape[:2] != (options.height, options.width):
        picture = Image.fromarray(frame if frame.shape[2] == 3 else frame[..., 0])
        frame = np.asarray(resize_picture(picture, options.height, options.width))
        frame = frame if frame.ndim == 3 else frame[..., np.newaxis]
    return luma(frame) if options.greyscale and frame.shape[2] == 3 else frame


def _integers(values: np.ndarray, path: str) -> np.ndarray:
    if values.dtype.kind not in "iub":
        raise InputError(f"{path} [run_id] has dtype {values.dtype}; whole numbers, one a frame, are expected")
    return values


def _finite(values: np.ndarray, name: str) -> np.ndarray:
    if values.dtype.kind not in "fiub":
        raise InputError(f"{name} has dtype {values.dtype}; numbers are expected")
    values = values.astype(np.float32)
    if not np.isfinite(values).all():
        raise InputError(f"{name} has NaN or infinite values, first at frame {int(np.argmin(np.isfinite(values)))}")
    return values
