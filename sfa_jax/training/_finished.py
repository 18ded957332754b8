"""Writes what a run has found at its end: measures first, pictures last."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sfa_jax._folders import write_json
from sfa_jax.data import Run
from sfa_jax.evaluation import Picture, draw_pictures
from sfa_jax.training._embeddings import write_embeddings


class Finished(NamedTuple):
    """Results of a job at its end.

    Attributes:
      summary: the measures.
      code: `[time, dim]` of each run.
      held_out: bool `[time]` of each run, true where a frame was held out from training.
      pictures: still to be drawn.
    """

    summary: dict[str, float]
    code: Sequence[np.ndarray]
    held_out: Sequence[np.ndarray]
    pictures: list[Picture]


def write_finished(
    workdir: Path,
    finished: Finished,
    runs: Sequence[Run],
    *,
    report: Callable[[dict[str, float]], None],
    plots: bool,
    poll: Callable[[], None],
) -> None:
    """Writes `summary.json`, reports it, and then writes `embeddings.npz` and the pictures.

    The summary comes first, so that nothing that fails afterwards (a full disk, a font) can cost it.

    Args:
      workdir: of the run.
      finished: the results.
      runs: the frames that were coded.
      report: called with the measures once they are on disk.
      plots: whether pictures are drawn; one that cannot be drawn is left out with a warning.
      poll: called before each picture, where it may end the run.
    """
    write_json(workdir / "summary.json", finished.summary)
    report(finished.summary)
    write_embeddings(workdir / "embeddings.npz", finished.code, runs, finished.held_out)
    draw_pictures(workdir / "plots", finished.pictures if plots else [], poll)
