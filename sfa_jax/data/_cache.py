"""Frames decoded and resized once, kept as raw uint8 on disk.

An entry is a folder `<cache>/<key>/` with the frames in `frames.u8`, their shape, runs and notes in `entry.json` and,
where times or truth of them are known, these in `known.npz`. It is written under a temporary name and renamed when it
is whole, so that a killed process leaves no broken entry, and of two processes that write the same entry one wins and
both read it.
"""

import contextlib
import hashlib
import json
import logging
import os
import pathlib
import shutil
import socket
import time
import zipfile
import zlib
from typing import NamedTuple

import numpy as np

from sfa_jax._errors import DamagedError, InputError
from sfa_jax._folders import as_path
from sfa_jax.data._cache_writing import ENTRY, FRAMES, KNOWN, TEMPORARY, TIME, TRUTH, write_entry
from sfa_jax.data._cache_writing import check_length as check_length
from sfa_jax.data._cache_writing import left_out_note as left_out_note
from sfa_jax.data._cache_writing import refused as refused
from sfa_jax.data._cache_writing import size_text as size_text
from sfa_jax.data._memory import available_memory as available_memory
from sfa_jax.data._runs import Run
from sfa_jax.data._source import Options, Source

logger = logging.getLogger("sfa_jax")

FORMAT_VERSION = 2


class Entry(NamedTuple):
    """One finished entry: where it is, the frames' shape `[time, height, width, channel]`, and its runs."""

    path: pathlib.Path
    shape: tuple[int, int, int, int]
    name: str
    stride: int
    runs: tuple[tuple[int, int], ...]  # (first row, rows) in the frames
    numbers: tuple[int, ...]  # the number of each run's first frame
    steps: tuple[int, ...]  # from one number of each run to the next
    known: tuple[str, ...]  # names of arrays that are known of the frames
    shown: tuple[int, int] | None  # (height, width) at which a player shows the first frame
    notes: tuple[str, ...]  # warnings, one sentence each
    white: float  # of integers of more than 8 bits, or 0
    damage: tuple[str, str] | None  # what was left out first: `said` and `repair` of its error

    @property
    def n_bytes(self) -> int:
        return int(np.prod(self.shape))


def cache_root(cache_dir: str | os.PathLike[str] | None = None) -> pathlib.Path:
    """`cache_dir`, else `$SFA_JAX_CACHE`, else `$XDG_CACHE_HOME/sfa_jax`, else `~/.cache/sfa_jax`."""
    if cache_dir:
        return as_path(cache_dir, "cache_dir")
    if os.environ.get("SFA_JAX_CACHE"):
        return as_path(os.environ["SFA_JAX_CACHE"], "SFA_JAX_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join("~", ".cache")
    return as_path(base, "XDG_CACHE_HOME") / "sfa_jax"


def store(source: Source, options: Options, root: pathlib.Path, on_corrupt: str) -> Entry:
    """Gives the entry of a source, written first where there is none, and logs its notes as warnings.

    Args:
      source: of the frames.
      options: how they are made.
      root: of the cache.
      on_corrupt: "skip" leaves out frames that cannot be read, and counts them in a note; "raise" raises at the first.

    Raises:
      DamagedError: no frame can be read; or the first that cannot, with "raise".
      InputError: the source cannot be used, or the cache cannot be written.
    """
    key_parts = [FORMAT_VERSION, list(options), source.signature()]
    path = root / hashlib.sha256(json.dumps(key_parts).encode()).hexdigest()[:32]
    entry = _open_entry(path)
    if entry is not None and not _has_known(entry):
        entry = None
    if entry is None:
        if path.exists():
            logger.warning("the cache entry %s is damaged; it is made again", path)
            shutil.rmtree(path, ignore_errors=True)
        write_entry(source, options, path, on_corrupt)
        entry = _open_entry(path)
        if entry is None:
            raise InputError(f"the cache entry {path} was removed or damaged while it was in use; run again")
    if entry.damage and on_corrupt == "raise":
        raise refused(DamagedError(*entry.damage))
    return entry


def entry_frames(entry: Entry, in_memory: bool) -> np.ndarray:
    """All frames of an entry `[time, height, width, channel]`, read or as a read-only memory map."""
    frames = np.memmap(entry.path / FRAMES, dtype=np.uint8, mode="r", shape=entry.shape)
    return np.array(frames) if in_memory else frames


def entry_runs(entry: Entry, in_memory: bool, held_out: bool | None = None, called: str = "shot") -> list[Run]:
    """The runs of an entry that have at least two frames, `held_out` or not; `called` what a part of a source is."""
    frames, known = entry_frames(entry, in_memory), _entry_known(entry)
    runs = []
    for index, ((first, count), number, step) in enumerate(zip(entry.runs, entry.numbers, entry.steps, strict=True)):
        name = entry.name if len(entry.runs) == 1 else f"{entry.name} ({called} {index + 1} of {len(entry.runs)})"
        if count < 2:
            continue
        frame_index = number + step * np.arange(count, dtype=np.int64)
        rows = slice(first, first + count)
        of_run = {key: values[rows] for key, values in known.items()}
        truth = {key.removeprefix(TRUTH): values for key, values in of_run.items() if key.startswith(TRUTH)}
        runs.append(Run(frames[rows], name, frame_index, truth, held_out, of_run.get(TIME)))
    n_single = len(entry.runs) - len(runs)
    if n_single:
        logger.warning("%s: %d sequences of one frame are left out; slowness needs two", entry.name, n_single)
    return runs


def _entry_known(entry: Entry) -> dict[str, np.ndarray]:
    """Reads what is known of the frames, name -> `[time]`."""
    if not entry.known:
        return {}
    with np.load(entry.path / KNOWN, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in entry.known}


def _has_known(entry: Entry) -> bool:
    """Whether what is known of the frames can be read and is of all of them."""
    try:
        return all(values.shape == entry.shape[:1] for values in _entry_known(entry).values())
    except (OSError, ValueError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error):
        return False


def find_entries(root: pathlib.Path) -> list[Entry]:
    """All finished entries of a cache."""
    if not root.is_dir():
        return []
    found = (_open_entry(path) for path in sorted(root.iterdir()) if _is_key(path.name))
    return [entry for entry in found if entry is not None]


def find_leftovers(root: pathlib.Path) -> list[pathlib.Path]:
    """Unfinished entries whose writer is no more, and folders of ours that are no entry."""
    if not root.is_dir():
        return []
    paths = sorted(root.iterdir())
    broken = [path for path in paths if _is_key(path.name) and _open_entry(path) is None]
    return broken + [path for path in paths if path.name.startswith(TEMPORARY) and not _is_being_written(path)]


def _open_entry(path: pathlib.Path) -> Entry | None:
    try:
        header = json.loads((path / ENTRY).read_text())
        shape = tuple(header["shape"])
        whole = (path / FRAMES).stat().st_size == int(np.prod(shape))
        runs = tuple((first, count) for first, count in header["runs"])
        numbers, steps, known, notes = (tuple(header[name]) for name in ("numbers", "steps", "known", "notes"))
        shown, damage = (tuple(header[name]) if header[name] else None for name in ("shown", "damage"))
        entry = Entry(
            *(path, shape, header["name"], header["stride"], runs, numbers, steps, known, shown, notes),
            *(header["white"], damage),
        )
        whole &= not known or (path / KNOWN).is_file()
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return entry if whole else None


def _is_key(name: str) -> bool:
    return len(name) == 32 and set(name) <= set("0123456789abcdef")


def _is_being_written(path: pathlib.Path) -> bool:
    host, pid = path.name.removeprefix(TEMPORARY)[33:].rsplit("-", 2)[:2]
    if host != socket.gethostname() or not pid.isdigit():
        with contextlib.suppress(OSError):
            return time.time() - path.stat().st_mtime < 24 * 3600
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
