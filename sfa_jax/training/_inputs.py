"""From a config to the frames that a run trains on and is measured on."""

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from sfa_jax._errors import InputError
from sfa_jax.data import ClipSampler, FrameStore, Run, Split, load, split_run
from sfa_jax.data._paths import WORLDS
from sfa_jax.training._labels import by_class

_log = logging.getLogger("sfa_jax")


class Inputs(NamedTuple):
    """The data of a run.

    Attributes:
      runs: whole runs of frames.
      splits: where each is cut into training and held-out frames; `train_stop` is 0 where a run is held out whole.
      store: the training frames.
      sampler: of clips of them.
    """

    runs: list[Run]
    splits: list[Split]
    store: FrameStore
    sampler: ClipSampler

    @property
    def size(self) -> tuple[int, int]:
        """Training frames, and the runs that they are of."""
        return len(self.store), len(self.store.lengths)


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
        cache_dir=_given(data.cache_dir),
        **_newer_options(data, path),
        **{world: data[world].to_dict() for world in WORLDS if world in data},
    )


def _newer_options(data: Any, path: str | None) -> dict[str, Any]:
    """What configs of older runs do not have; where another path is read, its own form tells what it is."""
    limit = data.get("memory_limit_gb", 0.0)
    return {
        "source": data.get("source", "auto") if path is None else "auto",
        "on_corrupt": data.get("on_corrupt", "skip"),
        "memory_limit_bytes": round(min(limit, 1e9) * 1e9) if limit else None,
        "tfds": _given_of_set(data.tfds) if "tfds" in data and path is None else None,
    }


def _given(value: str | None) -> str | None:
    """An option that may be left out; a flag gives `None` as text."""
    return None if value in (None, "", "None") else value


def _given_of_set(options: Any) -> dict[str, Any]:
    """The options of a set of TFDS; `None` leaves one out, or names nothing where there may be nothing."""
    nothing = {"held_out": "none", "label": "none", "run": "none", "frame_index": "none", "truth": ("none",)}
    missing = (None, "None", (None,), ("None",))
    return {name: nothing.get(name, "") if value in missing else value for name, value in options.items()}


def held_out_frames(config: Any) -> list[np.ndarray]:
    """The held-out frames `[time, height, width, channel]` of each run of a config's data; all if there are none.

    Raises:
      InputError: as `load_inputs`.
    """
    runs = load_runs(config.data)
    splits = split_runs(runs, holdout=config.evaluation.holdout, gap=config.evaluation.gap)
    held_out = [run.frames[split.held_out_start :] for run, split in zip(runs, splits, strict=True)]
    return [frames for frames in held_out if len(frames)] or [run.frames for run in runs]


def load_inputs(config: Any) -> Inputs:
    """Loads the data of a config and splits them.

    Raises:
      InputError: the data cannot be used, or an option does not fit them.
    """
    runs = load_runs(config.data)
    splits = split_runs(runs, holdout=config.evaluation.holdout, gap=config.evaluation.gap)
    if "labels" in config:
        name, per_class = config.labels.name, config.labels.per_class
        runs = by_class(runs, splits, name=name, per_class=per_class, seed=config.seed)
        splits = split_runs(runs, holdout=0.0, gap=0.0)
    training = [run.part(0, split.train_stop) for run, split in zip(runs, splits, strict=True) if split.train_stop]
    held_out = [len(run) - split.held_out_start for run, split in zip(runs, splits, strict=True)]
    lag = config.get("objective", {}).get("lag", 0)  # an objective of single images has none
    store = FrameStore(training)
    _check_change(training)
    _log.info(
        "data: %d run%s, %d frames of %dx%dx%d for training, %d held out",
        len(runs), "s" * (len(runs) != 1), len(store), *store.shape, sum(held_out),
    )  # fmt: skip
    if not sum(held_out):
        cut = config.evaluation.holdout and runs[0].held_out is None
        why = "no run is long enough to hold frames out" if cut else "no frames are held out"
        _log.warning("evaluation.holdout=%g: %s; every measure is on training frames", config.evaluation.holdout, why)
    elif max(held_out) <= lag:
        raise InputError(
            f"objective.lag: expected less than the held-out frames of the longest run, got {lag}; "
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


def split_runs(runs: Sequence[Run], *, holdout: float, gap: float) -> list[Split]:
    """Where each run is cut: by `split_run`, or nowhere where the source says which images are held out.

    Raises:
      InputError: a share is out of its range, no run is left for training, or some runs say whether they are held out
        and others do not.
    """
    said = [run for run in runs if run.held_out is not None]
    if not said:
        return [split_run(len(run), holdout=holdout, gap=gap) for run in runs]
    if len(said) < len(runs):
        silent = next(run for run in runs if run.held_out is None)
        raise InputError(
            f"held_out: expected True or False of all runs or None of all, got {said[0].held_out} of {said[0].name} "
            f"and None of {silent.name}; load sources that hold out whole images apart from those that do not"
        )
    if all(run.held_out for run in runs):
        raise InputError(f"held_out: all {len(runs)} runs, such as {runs[0].name}, are held out; leave one to train on")
    return [Split(0, 0) if run.held_out else Split(len(run), len(run)) for run in runs]


def _check_change(runs: Sequence[Run]) -> None:
    first = runs[0].frames[0]
    for run in runs:
        for start in range(0, len(run), 1024):
            if (run.frames[start : start + 1024] != first).any():
                return
    raise InputError(
        f"{runs[0].name}: all {sum(len(run) for run in runs)} training frames are the same, and nothing is learned "
        "from what never changes. Give another video or other images, or another part of them"
    )
