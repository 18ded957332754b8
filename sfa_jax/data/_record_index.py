"""Which record holds which frame of which run: found in one pass over a split, which also finds damaged records.

What a pass has found is kept in the cache under the names, sizes and times of the files, for the next start.
"""

import contextlib
import hashlib
import itertools
import json
import logging
import os
import pathlib
import uuid
import zipfile
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from sfa_jax._errors import DamagedError, InputError
from sfa_jax.data._progress import Progress
from sfa_jax.data._tfds_records import REPAIR, Records

_log = logging.getLogger("sfa_jax")

FOLDER = "indexes"
_VERSION = 3
_CHUNK = 256  # records read at once
_LARGEST = 2**62


class Stretch(NamedTuple):
    """Frames of one run, in order.

    Attributes:
      name: of the run, for messages; empty where the set tells of no runs.
      numbers: int64 `[time]`, of the record that holds each frame.
      frame_index: int64 `[time]`, of each frame in its run.
      truth: name -> float32 `[time]`.
    """

    name: str
    numbers: np.ndarray
    frame_index: np.ndarray
    truth: dict[str, np.ndarray]


class Stretches(NamedTuple):
    """What can be read of a split, and an error for each record that cannot."""

    good: list[Stretch]
    wrong: list[DamagedError]


def find_stretches(records: Records, signature: Any, root: pathlib.Path) -> Stretches:
    """Finds the runs of a split whose records hold one frame each.

    Frames are put in the order of their index where the layout has one. A run ends where its index leaves frames out,
    and at damaged records.

    Args:
      records: of the split.
      signature: of its files and of the layout.
      root: of the cache.

    Raises:
      InputError: two records hold the same frame.
    """
    key = hashlib.sha256(json.dumps([_VERSION, signature]).encode()).hexdigest()[:32]
    path = root / FOLDER / f"{key}.npz"
    arrays = _kept(path)
    if arrays is None or not {"wrong", "numbers", "run", "run_names", "frame_index"} <= arrays.keys():
        arrays = _look_through(records)
        with contextlib.suppress(OSError):  # a cache that is full or may not be written costs the next start this pass
            _keep(path, arrays)
    return Stretches(_stretches(arrays, records), [DamagedError(said, REPAIR) for said in arrays["wrong"].tolist()])


def _look_through(records: Records) -> dict[str, np.ndarray]:
    layout = records.layout
    names = [name for name, leaf in layout.leaves().items() if leaf != layout.frames]
    found: dict[str, list[Any]] = {name: [] for name in ("numbers", "run", "frame_index")}
    truth: dict[str, list[float]] = {name: [] for name in layout.truth}
    wrong: list[DamagedError] = []
    runs: dict[Any, int] = {}  # each run's id, and a number for it
    with Progress(f"looking through {records.name}", len(records), "records") as progress:
        for start in range(0, len(records), _CHUNK):
            for number, record in records.readable(range(start, min(start + _CHUNK, len(records)))):
                if isinstance(record, DamagedError):
                    wrong.append(record)
                    continue
                try:
                    values = records.parse(number, record, names) if names else {}
                    known = records.truth(number, values, 1)
                except DamagedError as error:
                    wrong.append(error)
                    continue
                found["numbers"].append(number)
                run = values[layout.run.name] if layout.run else 0
                found["run"].append(runs.setdefault(run, len(runs)))
                found["frame_index"].append(values[layout.frame_index.name] if layout.frame_index else number)
                for name, value in known.items():
                    truth[name].append(float(value[0]))
            progress.update(_CHUNK)
    places = {run: place for place, run in enumerate(sorted(runs))}  # in the order of the ids
    codes = np.array([places[run] for run in runs], np.int64)
    outside = [index for index in found["frame_index"] if not -_LARGEST <= index <= _LARGEST]
    if outside:
        raise InputError(
            f"{records.name}: frame_index: expected numbers up to {_LARGEST}, got {outside[0]}; name another "
            "feature by data.tfds.frame_index"
        )
    arrays = {
        "numbers": np.array(found["numbers"], np.int64),
        "run": codes[found["run"]] if runs else codes,
        "run_names": np.array([_text(run) for run in sorted(runs)], str),
        "frame_index": np.array(found["frame_index"], np.int64),
        "wrong": np.array([error.said for error in wrong], str),
    }
    return arrays | {f"truth/{name}": np.array(values, np.float32) for name, values in truth.items()}


def _stretches(arrays: Mapping[str, np.ndarray], records: Records) -> list[Stretch]:
    layout, place = records.layout, arrays["run"]
    order = np.lexsort((arrays["frame_index"], place))
    place, index, number = place[order], arrays["frame_index"][order], arrays["numbers"][order]
    if not len(order):
        return []
    same = place[1:] == place[:-1]
    step = np.diff(index)
    if layout.frame_index and (same & (step == 0)).any():
        row = int(np.argmax(same & (step == 0)))
        raise InputError(
            f"{records.name}: records {number[row]} and {number[row + 1]} both hold frame {index[row]} of run "
            f"{arrays['run_names'][place[row]]}; each frame once is expected: write the set again, or name another "
            "feature by data.tfds.frame_index"
        )
    usual = np.full(int(place.max()) + 1, _LARGEST)  # of each run: its least step
    np.minimum.at(usual, place[1:][same], step[same])
    gaps = same & (step > usual[place[1:]])
    if gaps.sum() > arrays["wrong"].size:  # damaged records are told elsewhere
        _log.warning("%s: runs end at %d places where frames are left out of them", records.name, gaps.sum())
    ends = np.flatnonzero(~same | gaps) + 1
    made = []
    for start, stop in itertools.pairwise([0, *ends.tolist(), len(order)]):
        rows = order[start:stop]
        truth = {name: arrays[f"truth/{name}"][rows] for name in layout.truth}
        name = str(arrays["run_names"][arrays["run"][rows[0]]]) if layout.run else ""
        made.append(Stretch(name, arrays["numbers"][rows], arrays["frame_index"][rows], truth))
    return made


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _kept(path: pathlib.Path) -> dict[str, np.ndarray] | None:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None


def _keep(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".tmp-{uuid.uuid4().hex}.npz")
    try:
        np.savez(temporary, **arrays)  # type: ignore[arg-type]
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
