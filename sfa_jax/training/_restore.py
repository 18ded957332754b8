"""A finished run as the function from frames to code that it learned."""

import logging
from pathlib import Path
from typing import Protocol

import numpy as np
from ml_collections import ConfigDict

from sfa_jax._fork import check_not_forked
from sfa_jax.training._checkpoints import read_run
from sfa_jax.training._jobs import job_of

_log = logging.getLogger("sfa_jax")


class FrameModel(Protocol):
    """The function from frames to code; each job's own can do more.

    Attributes:
      frame_shape: `(height, width, channel)` of the frames it takes.
    """

    frame_shape: tuple[int, ...]

    def __call__(self, frames: np.ndarray) -> np.ndarray: ...


def restore_run(workdir: str | Path, *, best: bool = False) -> tuple[FrameModel, ConfigDict]:
    """Rebuilds what a run learned from its checkpoint.

    Args:
      workdir: of a run of `train.py`.
      best: the checkpoint of the lowest held-out loss instead of the latest.

    Returns:
      The function frames -> code, and the config that the checkpoint was made with.

    Raises:
      InputError: there is no run, or no finished checkpoint in it.
      RuntimeError: this process was forked from one that has used jax.
    """
    check_not_forked()
    state, config, data = read_run(workdir, best=best)
    step = int(np.asarray(state["step"]))
    if data["readout_step"] != step:
        solved = data["readout_step"]
        readout = f"is that of step {solved}: the code is not quite" if solved else "is not solved yet: the code is not"
        _log.warning(
            "%s: the run was stopped at step %d and its readout %s white and ordered; run train.py with "
            "--workdir=%s to go on",
            workdir, step, readout, workdir,
        )  # fmt: skip
    config = ConfigDict(config)
    return job_of(config).restore(config, state, data["frame_shape"]), config


def restore_model(workdir: str | Path, *, best: bool = False) -> FrameModel:
    """The function frames -> code of a run: the first of `restore_run`, which says the rest."""
    return restore_run(workdir, best=best)[0]
