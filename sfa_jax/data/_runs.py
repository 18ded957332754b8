"""What every source gives: runs of uint8 frames."""

import dataclasses
from collections.abc import Mapping

import numpy as np


@dataclasses.dataclass(frozen=True)
class Run:
    """One unbroken stretch of frames; no clip and no pair ever crosses its ends.

    Attributes:
      frames: uint8 `[time, height, width, channel]`, channel 1 or 3; may be a read-only memory map.
      name: where it came from (a file, a folder, a world), for messages.
      frame_index: int64 `[time]`, the number of each frame in its file or folder, counted from 0 before any stride.
      truth: known latent variables of the scene, name -> float32 `[time]`; empty where nothing is known.
    """

    frames: np.ndarray
    name: str
    frame_index: np.ndarray
    truth: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.frames)

    def part(self, start: int, stop: int) -> "Run":
        """The frames from `start` up to `stop` as a run of their own (views, nothing is copied)."""
        truth = {name: value[start:stop] for name, value in self.truth.items()}
        return Run(self.frames[start:stop], self.name, self.frame_index[start:stop], truth)
