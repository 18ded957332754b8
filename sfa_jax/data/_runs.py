"""What every source gives: runs of uint8 frames."""

import dataclasses
from collections.abc import Mapping

import numpy as np


@dataclasses.dataclass(frozen=True)
class Run:
    """One unbroken stretch of frames, or images of one kind; no clip and no pair ever crosses its ends.

    Attributes:
      frames: uint8 `[time, height, width, channel]`, channel 1 or 3; where it does not fit in memory a read-only
        map of a file, or `RecordFrames`, which are read when they are asked for: take a slice, then `numpy.asarray`.
      name: where it came from (a file, a folder, a world), for messages.
      frame_index: int64 `[time]`, the number of each frame in its file or folder, counted from 0 before any stride.
      truth: known latent variables of the scene, name -> float32 `[time]`; empty where nothing is known.
      time: float64 `[time]`, seconds of each frame from the start of its file, strictly increasing; None where the file
        has no times, or none in order.
      held_out: True or False where the source says which images are held out: the whole run is, or is trained on. None:
        the last part of each run is, see `split_run`.
    """

    frames: np.ndarray
    name: str
    frame_index: np.ndarray
    truth: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    held_out: bool | None = None
    time: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.frames)

    def part(self, start: int, stop: int, stride: int = 1) -> "Run":
        """Every stride-th frame from `start` up to `stop` as a run of their own (views, nothing is copied)."""
        rows = slice(start, stop, stride)
        truth = {name: value[rows] for name, value in self.truth.items()}
        time = None if self.time is None else self.time[rows]
        return dataclasses.replace(
            self, frames=self.frames[rows], frame_index=self.frame_index[rows], truth=truth, time=time
        )
