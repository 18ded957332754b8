"""Writes a source as a sharded set of TFDS: decoded once, read at any place ever after.

The set is a folder: shards `NAME-SPLIT.array_record-NNNNN` of equally many frames, `prepare.json`, which tells how far
the work has come, and `features.json` and `dataset_info.json` as TFDS writes them. A shard gets its name when it is
whole, and `prepare.json` is replaced after that: a process that is killed leaves at most parts of shards, which the
next one writes again. `dataset_info.json` comes last; without it a set is not finished.
"""

import collections
import dataclasses
import inspect
import json
import logging
import pathlib
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sfa_jax._errors import InputError
from sfa_jax._folders import as_path, hold_folder, is_utf8, write_json
from sfa_jax.data._cache import find_entries
from sfa_jax.data._load import Plan, check_alike, load, plan, read_some
from sfa_jax.data._paths import PathLike
from sfa_jax.data._prepared_set import SetWriter
from sfa_jax.data._progress import Progress
from sfa_jax.data._runs import Run
from sfa_jax.data._tfds_open import import_tfds

_log = logging.getLogger("sfa_jax")

SHARD_BYTES = 128 << 20
_STATE, _CACHE = "prepare.json", ".frames"
_FORMAT = 1
_CHUNK = 256  # frames in memory at once


def prepare(
    path: PathLike | Sequence[PathLike], out: PathLike, *, shard_bytes: int = SHARD_BYTES, **options: Any
) -> pathlib.Path:
    """Writes all runs of a source as a set of TFDS; goes on where it was interrupted.

    An example is one frame: `frame` (a uint8 tensor `[height, width, channel]`, stored raw), `run_id` and `frame_index`
    (int64), and `truth/<name>` (float32) where something is known of it. Runs that a source holds out become the split
    `validation`, all others `train`; of a set without held-out runs the last part of each is held out when it is read.

    Args:
      path: as of `load`.
      out: the folder of the set; made if it is not there.
      shard_bytes: of frames in a shard, at most, but at least one frame.
      **options: as of `load`, but for `cache_dir` and `memory_limit_bytes`.

    Returns:
      The folder.

    Raises:
      InputError: as `load`, or `out` holds something else, or the beginning of another set.
    """
    if shard_bytes < 1:
        raise InputError(f"shard_bytes: expected at least 1, got {shard_bytes}")
    out = as_path(out, "OUT")
    if not is_utf8(out):
        raise InputError(f"OUT={str(out)!r}: expected a name in UTF-8, as ArrayRecord takes no other; give another OUT")
    import_tfds()
    _check_folder(out)
    is_new = not out.exists()
    with hold_folder(out, "OUT"):
        try:
            groups = list(_groups(path, out / _CACHE, options))
            sources = [[group.name, group.signature] for group in groups]
            asked = {"format": _FORMAT, "shard_bytes": shard_bytes, "options": options, "sources": sources}
            work = _Work(out, json.loads(json.dumps(asked, default=str)))
            work.write(groups)
        except BaseException:
            decoded = any(map(find_entries, (out / _CACHE).glob("*")))
            if is_new and not decoded and not (out / _STATE).exists():  # nothing to go on with
                shutil.rmtree(out, ignore_errors=True)
            raise
        return out


class _Group(NamedTuple):
    """What is decoded together: one file, folder or split, or all that is drawn.

    Attributes:
      name: for messages.
      signature: changes with what it gives.
      plan: how to read it.
    """

    name: str
    signature: Any
    plan: Plan

    def runs(self) -> list[Run]:
        return self.plan.drawn or read_some(self.plan, alone=False)


class _Work:
    """What is written of a set, and what remains.

    Args:
      out: the folder of the set, which this process holds.
      asked: what the set shall be of.

    Raises:
      InputError: the folder holds the beginning of another set.
    """

    def __init__(self, out: pathlib.Path, asked: dict[str, Any]) -> None:
        self._out, self._asked = out, asked
        self._groups: dict[str, Any] = {}  # how many frames of each split, and runs, each group has, once known
        self._first: Run | None = None
        kept = _read_state(out, asked)
        name = re.sub(r"\W+", "_", out.resolve().name.lower()).strip("_") or "video"
        self._set = SetWriter(out, f"set_{name}" if name[0].isdigit() else name, asked["shard_bytes"], kept.get("set"))
        self._groups = kept.get("groups", {})

    def write(self, groups: Sequence[_Group]) -> None:
        """Writes what is not written yet, then what makes it a set."""
        self._set.check_files()
        if self._set.complete:
            _log.info("%s is complete: %d frames", self._out, self._set.n_whole)
            return
        if self._set.n_whole:
            _log.info("%s: going on after %d frames", self._out, self._set.n_whole)
        passed: collections.Counter[str] = collections.Counter()  # frames of each split up to a group
        n_runs = 0
        decoded: list[tuple[_Group, dict[str, int]]] = []
        with self._set.writing(self._save):
            for number, group in enumerate(groups):
                counts = self._groups.get(str(number))
                if counts is None or not self._set.holds(passed + collections.Counter(counts["frames"])):
                    runs = group.runs()
                    counts = self._note(number, runs)
                    self._write_runs(group.name, runs, n_runs, passed)
                    del runs
                passed.update(counts["frames"])
                n_runs += counts["runs"]
                decoded.append((group, dict(passed)))
                for done, frames in decoded:  # nothing of these is needed again
                    if self._set.holds(frames):
                        shutil.rmtree(done.plan.root, ignore_errors=True)
        if not self._set.n_whole:
            raise InputError(
                f"{groups[0].plan.asked} gives no run of at least two consecutive frames: give longer sequences or a "
                "smaller stride"
            )
        self._set.finish(f"Frames of {', '.join(group.name for group in groups[:3])}, written by sfa_jax.prepare.")
        shutil.rmtree(self._out / _CACHE, ignore_errors=True)
        _log.info("%s: %d frames of %d runs", self._out, self._set.n_whole, n_runs)

    def _note(self, number: int, runs: Sequence[Run]) -> dict[str, Any]:
        """Keeps how much there is of a group, so that it need not be decoded again when all of it is written."""
        for run in runs:
            self._first = self._first or run
            check_alike([self._first, run])
            self._set.check(run)
        frames: collections.Counter[str] = collections.Counter()
        for run in runs:
            frames[_split(run)] += len(run)
        self._groups[str(number)] = {"frames": dict(frames), "runs": len(runs)}
        self._save()
        return self._groups[str(number)]

    def _write_runs(self, name: str, runs: Sequence[Run], first_id: int, passed: Mapping[str, int]) -> None:
        position = collections.Counter(passed)
        with Progress(f"writing {name}", sum(map(len, runs))) as progress:
            for run_id, run in enumerate(runs, first_id):
                split = _split(run)
                if (np.diff(run.frame_index) <= 0).any():  # of images in an order of their own
                    run = dataclasses.replace(run, frame_index=np.arange(len(run)))
                # What is in whole shards already is passed over.
                for start in range(max(0, self._set.n_written(split) - position[split]), len(run), _CHUNK):
                    part = run.part(start, min(start + _CHUNK, len(run)))
                    self._set.add(split, run_id, part)
                    progress.update(len(part))
                position[split] += len(run)

    def _save(self) -> None:
        write_json(self._out / _STATE, {"asked": self._asked, "groups": self._groups, "set": self._set.state})


def _split(run: Run) -> str:
    return "validation" if run.held_out else "train"


def _check_folder(out: pathlib.Path) -> None:
    """Raises `InputError` before anything is written where the folder holds something else."""
    if out.exists() and not out.is_dir():
        raise InputError(f"OUT={out}: expected a folder, or nothing there yet, got a file; give another OUT")
    if out.is_dir() and not (out / _STATE).exists():
        others = sorted(entry.name for entry in out.iterdir() if entry.name not in (".lock", _CACHE))
        if others:
            raise InputError(
                f"OUT={out}: expected an empty folder or a set begun before, found {others[0]}; give another"
            )


def _read_state(out: pathlib.Path, asked: dict[str, Any]) -> dict[str, Any]:
    """What an earlier process has written of the same set; nothing if there was none."""
    path = out / _STATE
    if not path.exists():
        return {}
    try:
        state: dict[str, Any] = json.loads(path.read_text())
        before = state["asked"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"{path}: cannot be read ({type(error).__name__}), and without it the set cannot be gone on with; remove "
            f"the folder {out}, or give another OUT"
        ) from None
    changed = [name for name in asked if before.get(name) != asked[name]]
    if changed and not state.get("set", {}).get("shards"):
        return {}  # nothing was written with it
    if changed:
        raise InputError(
            f"OUT={out}: holds a set of other {' and '.join(changed)}; give another OUT, or remove that folder to "
            "write it anew"
        )
    return state


def _groups(path: Any, cache: pathlib.Path, options: Mapping[str, Any]) -> Iterator[_Group]:
    """What `path` stands for, each with a cache of its own, which is removed as soon as it is written."""
    for name in ("cache_dir", "memory_limit_bytes"):
        if name in options:
            raise TypeError(f"prepare() takes no {name}: frames pass through the folder of the set")
    given = inspect.signature(load).bind(path, **options, cache_dir=cache, memory_limit_bytes=0)
    given.apply_defaults()
    whole = plan(**given.arguments)
    if not whole.sources:
        yield _Group(str(path), None, whole)
    for number, source in enumerate(whole.sources):
        part = whole._replace(sources=[source], root=cache / str(number))
        yield _Group(source.name, source.signature(), part)
