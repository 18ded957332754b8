"""Frames that are read from records whenever they are asked for: an array that need not fit in memory."""

from typing import Any

import numpy as np

from sfa_jax._errors import InputError
from sfa_jax.data._tfds_records import Records

_CHUNK = 256  # records read at once


class RecordFrames:
    """Frames uint8 `[time, height, width, channel]`, one a record; a slice of them reads nothing yet.

    It is used as the array that `numpy.asarray` makes of it: indexed by a number, a slice, or an array of numbers.

    Args:
      records: of frames that are tensors of one shape.
      numbers: int64 `[time]`, of the record that holds each frame.
      shape: (height, width, channel) of a frame.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, records: Records, numbers: np.ndarray, shape: tuple[int, int, int]) -> None:
        self._records, self._numbers, self._frame_shape = records, numbers, shape

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return len(self._numbers), *self._frame_shape

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    nbytes = size

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, key: Any) -> Any:
        """A frame for a number, `RecordFrames` for a slice, and an array of frames for numbers or a mask."""
        if isinstance(key, slice):
            return RecordFrames(self._records, self._numbers[key], self._frame_shape)
        numbers = self._numbers[key]
        if np.ndim(numbers) > 1:
            raise IndexError(f"frames: expected a number, a slice or a list of numbers as the index, got {key!r}")
        found = self._read(np.atleast_1d(numbers))
        return found[0] if np.ndim(numbers) == 0 else found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("frames of records are read from disk: an array of them is always a copy")
        frames = self._read(self._numbers)
        return frames if dtype is None else frames.astype(dtype, copy=False)

    def _read(self, numbers: np.ndarray) -> np.ndarray:
        frames = np.empty((len(numbers), *self._frame_shape), np.uint8)
        leaf = self._records.layout.frames.name
        for start in range(0, len(numbers), _CHUNK):
            chunk = numbers[start : start + _CHUNK]
            for row, (number, record) in enumerate(zip(chunk, self._records.read(chunk), strict=True), start):
                (frame,) = self._records.frames(number, self._records.parse(number, record, [leaf]))
                if np.size(frame) != frames[row].size:
                    raise InputError(
                        f"{self._records.where(number)} holds a frame of shape {np.shape(frame)}, expected "
                        f"{self._frame_shape}; write the set again"
                    )
                frames[row] = np.reshape(frame, self._frame_shape)
        return frames
