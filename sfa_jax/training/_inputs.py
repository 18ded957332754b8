"""From a config to the frames that a run trains on and is measured on."""

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

from sfa_jax._errors import InputError
from sfa_jax.data import ClipSampler, FrameStore, Run, Split, load, split_run

_log = logging.getLogger("sfa_jax")


class Inputs(NamedTuple):
    """The data of a run.

    Attributes:
      runs: whole runs of frames.
      splits: where each is cut into training and held-out frames.
      store: the training frames.
      sampler: of clips of them.
    """

    runs: list[Run]
    splits: list[Split]
    store: FrameStore
    sampler: ClipSampler


def load_runs(data: Any, *, path: str | None = None, image_size: tuple[int, int] | None = None) -> list[Run]:
    """The runs of `config.data`, or of another path read in the same way.

    Raises:
      InputError: as `sfa_jax.data.load`.
    """
    return load(
        path or data.path,
        image_size=image_size or data.image_size,
        stride=data.stride,
        greyscale=data.greyscale,
        split_cuts=data.split_cuts,
        cache_dir=data.cache_dir or None,
        room=data.room.to_dict(),
        photo_pan=data.photo_pan.to_dict(),
    )


def load_inputs(config: Any) -> Inputs:
    """Loads the data of a config and splits them.

    Raises:
      InputError: the data cannot be used, or an option does not fit them.
    """
    runs = load_runs(config.data)
    splits = [split_run(len(run), holdout=config.evaluation.holdout, gap=config.evaluation.gap) for run in runs]
    training = [run.part(0, split.train_stop) for run, split in zip(runs, splits, strict=True)]
    held_out = sum(len(run) - split.held_out_start for run, split in zip(runs, splits, strict=True))
    store = FrameStore(training)
    _check_change(training)
    _log.info(
        "data: %d run%s, %d frames of %dx%dx%d for training, %d held out",
        len(runs), "s" * (len(runs) != 1), len(store), *store.shape, held_out,
    )  # fmt: skip
    if not held_out:
        why = "no run is long enough to hold frames out" if config.evaluation.holdout else "no frames are held out"
        _log.warning("evaluation.holdout=%g: %s; every measure is on training frames", config.evaluation.holdout, why)
    elif max(len(run) - split.held_out_start for run, split in zip(runs, splits, strict=True)) <= config.objective.lag:
        raise InputError(
            f"objective.lag: expected less than the held-out frames of the longest run, got {config.objective.lag}; "
            "raise --config.evaluation.holdout, lower the lag or give longer video"
        )
    sampler = ClipSampler(
        store.lengths,
        clip_length=config.data.clip_length,
        batch_size=config.data.batch_size,
        order=config.data.order,
        seed=config.seed,
    )
    return Inputs(runs, splits, store, sampler)


def _check_change(runs: Sequence[Run]) -> None:
    first = runs[0].frames[0]
    for run in runs:
        for start in range(0, len(run), 1024):
            if (run.frames[start : start + 1024] != first).any():
                return
    raise InputError(
        f"{runs[0].name}: all {sum(len(run) for run in runs)} training frames are the same; slowness needs something "
        "that changes. Give another video, or another part of it"
    )
