"""The file of slow codes that a run, and `python -m sfa_jax.embed`, writes."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sfa_jax.data import Run


def write_embeddings(
    path: Path, code: Sequence[np.ndarray], runs: Sequence[Run], held_out: Sequence[np.ndarray] | None = None
) -> None:
    """Writes an `.npz` file without pickle, whole or not at all.

    Args:
      path: of the file.
      code: slow code `[time, dim]` of each run, in order of slowness.
      runs: the frames they were computed from.
      held_out: bool `[time]` of each run, true where a frame was held out from training; left out if None.

    The file holds `y [frames, dim]` float32, `run_id` and `frame_index [frames]`, `held_out`, `time` in seconds where
    every run has it, and `truth/<name>` of each latent that every run knows.
    """
    names = [name for name in runs[0].truth if all(name in run.truth for run in runs)]
    arrays: dict[str, Any] = {
        "y": np.concatenate(code).astype(np.float32),
        "run_id": np.repeat(np.arange(len(runs), dtype=np.int32), [len(run) for run in runs]),
        "frame_index": np.concatenate([run.frame_index for run in runs]),
        **({} if held_out is None else {"held_out": np.concatenate(held_out)}),
        **({} if any(run.time is None for run in runs) else {"time": np.concatenate([run.time for run in runs])}),
        **{f"truth/{name}": np.concatenate([run.truth[name] for run in runs]) for name in names},
    }
    write_arrays(path, arrays)


def write_arrays(path: Path, arrays: dict[str, Any]) -> None:
    """Writes an `.npz` file whole or not at all."""
    temporary = path.with_suffix(".tmp.npz")
    try:
        np.savez(temporary, **arrays)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
