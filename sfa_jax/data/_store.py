"""Frames of some runs under one numbering, in memory or on disk."""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from sfa_jax._errors import InputError
from sfa_jax.data._runs import Run


def evenly_spaced(parts: Sequence[Any], most: int) -> np.ndarray:
    """At most so many frames of some runs, every k-th of all of them; no others are read.

    Args:
      parts: frames `[time, ...]` of each run.
      most: how many.

    Returns:
      `numpy.concatenate(parts)[::k]`, k the least that leaves no more.
    """
    if not parts or most < 1:
        raise ValueError(f"parts, most: expected some frames and at least 1, got {len(parts)} parts and {most}")
    ends = np.cumsum([len(part) for part in parts])
    step = max(1, -(-int(ends[-1]) // most))
    starts = [-(int(end) - len(part)) % step for end, part in zip(ends, parts, strict=True)]
    return np.concatenate([np.asarray(part[start::step]) for start, part in zip(starts, parts, strict=True)])


class FrameStore:
    """All frames of some runs under one numbering, wherever they lie.

    Attributes:
      parts: frames of each run.
      lengths: how many they are.
      shape: `(height, width, channel)` of a frame.
      name: of the first run, and how many follow.

    Raises:
      InputError: there is no run, or frames are not uint8 of one shape.
    """

    def __init__(self, runs: Sequence[Run]):
        if not runs:
            raise InputError("runs: expected at least one run of frames, got none")
        self.shape = runs[0].frames.shape[1:]
        for run in runs:
            if run.frames.dtype != np.uint8 or run.frames.ndim != 4:
                raise InputError(
                    f"{run.name}: expected frames uint8 [time, height, width, channel], got {run.frames.dtype} of "
                    f"shape {run.frames.shape}; scale them to [0, 255] and round them"
                )
            if run.frames.shape[1:] != self.shape:
                raise InputError(
                    f"{run.name}: frames of {run.frames.shape[1:]}, but {runs[0].name} has {self.shape}; set "
                                 "data.image_size to bring them to one size")  # fmt: skip
        self.name = runs[0].name + (f" and {len(runs) - 1} more" if len(runs) > 1 else "")
        self.parts = [run.frames for run in runs]
        self.lengths = np.array([len(run) for run in runs])
        self._ends = np.cumsum(self.lengths)

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def frame_bytes(self) -> int:
        return int(np.prod(self.shape))

    @property
    def nbytes(self) -> int:
        return len(self) * self.frame_bytes

    @property
    def in_memory(self) -> bool:
        """Whether no part is mapped or read from a file."""
        return all(isinstance(part, np.ndarray) and not _is_mapped(part) for part in self.parts)

    def __getstate__(self) -> dict[str, Any]:
        """For another process: of a file that is mapped, its place and not its contents."""
        parts = [_Mapped.of(part) if _is_mapped(part) else part for part in self.parts]
        return self.__dict__ | {"parts": parts}

    def __setstate__(self, state: dict[str, Any]) -> None:
        parts = [part.array() if isinstance(part, _Mapped) else part for part in state["parts"]]
        self.__dict__ |= state | {"parts": parts}

    def all(self) -> np.ndarray:
        """Every frame in one array `[n, height, width, channel]`: a copy where there are several runs."""
        return self.parts[0] if len(self.parts) == 1 else np.concatenate(self.parts)

    def gather(self, numbers: np.ndarray) -> np.ndarray:
        """Frames `[..., height, width, channel]` of numbers `[...]`."""
        flat = np.asarray(numbers).reshape(-1)
        run = np.searchsorted(self._ends, flat, side="right")
        frames = np.empty((len(flat), *self.shape), np.uint8)
        for which in np.unique(run):
            mine = run == which
            frames[mine] = self.parts[which][flat[mine] - (self._ends[which] - self.lengths[which])]
        return frames.reshape(*np.shape(numbers), *self.shape)


class _Mapped(NamedTuple):
    """Where an array lies in a file that is mapped."""

    path: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @classmethod
    def of(cls, array: np.ndarray) -> "_Mapped":
        root = _root(array)
        offset = array.__array_interface__["data"][0] - root.__array_interface__["data"][0] + root.offset
        return cls(os.fspath(root.filename), offset, array.shape, array.strides)

    def array(self) -> np.ndarray:
        file = np.memmap(self.path, np.uint8, "r")
        return np.ndarray(self.shape, np.uint8, file, self.offset, self.strides)


def _root(array: np.ndarray) -> Any:
    """The map of the file that an array is a view of, or None."""
    found = None
    while isinstance(array, np.ndarray):
        found = array if isinstance(array, np.memmap) else found
        array = array.base  # type: ignore[assignment]
    return found


def _is_mapped(array: np.ndarray) -> bool:
    return _root(array) is not None
