"""Frames decoded and resized once, kept as raw uint8 on disk.

An entry is a folder `<cache>/<key>/` with the frames in `frames.u8`, their shape and runs in `entry.json` and, where
something is known of them, that in `truth.npz`. It is written under a temporary name and renamed when it is whole, so
that a killed process leaves no broken entry, and of two processes that write the same entry one wins and both read it.
"""

import contextlib
import hashlib
import itertools
import json
import logging
import os
import pathlib
import shutil
import socket
import time
import uuid
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from sfa_jax._errors import InputError
from sfa_jax._folders import as_path
from sfa_jax.data._cuts import CutFinder
from sfa_jax.data._memory import available_memory as available_memory
from sfa_jax.data._progress import Progress
from sfa_jax.data._runs import Run
from sfa_jax.data._source import Options, Source

logger = logging.getLogger("sfa_jax")

FORMAT_VERSION = 1
_FRAMES, _ENTRY, _TRUTH = "frames.u8", "entry.json", "truth.npz"
_TEMPORARY = ".tmp-"
_CHUNK_BYTES = 1 << 22


class Entry(NamedTuple):
    """One finished entry: where it is, the frames' shape `[time, height, width, channel]`, and its runs."""

    path: pathlib.Path
    shape: tuple[int, int, int, int]
    name: str
    stride: int
    runs: tuple[tuple[int, int], ...]  # (first row, rows) in the frames
    numbers: tuple[int, ...]  # the number of each run's first frame
    steps: tuple[int, ...]  # from one number of each run to the next
    truth: tuple[str, ...]  # names of what is known of each frame

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


def store(source: Source, options: Options, root: pathlib.Path) -> Entry:
    """The entry of a source, written first where there is none."""
    key_parts = [FORMAT_VERSION, list(options), source.signature()]
    path = root / hashlib.sha256(json.dumps(key_parts).encode()).hexdigest()[:32]
    entry = _open_entry(path)
    if entry is not None and not _has_truth(entry):
        entry = None
    if entry is None:
        if path.exists():
            logger.warning("the cache entry %s is damaged; it is made again", path)
            shutil.rmtree(path, ignore_errors=True)
        _write(source, options, path)
        entry = _open_entry(path)
        if entry is None:
            raise InputError(f"the cache entry {path} was removed or damaged while it was in use; run again")
    return entry


def entry_frames(entry: Entry, in_memory: bool) -> np.ndarray:
    """All frames of an entry `[time, height, width, channel]`, read or as a read-only memory map."""
    frames = np.memmap(entry.path / _FRAMES, dtype=np.uint8, mode="r", shape=entry.shape)
    return np.array(frames) if in_memory else frames


def entry_runs(entry: Entry, in_memory: bool, held_out: bool | None = None, called: str = "shot") -> list[Run]:
    """The runs of an entry that have at least two frames, `held_out` or not; `called` what a part of a source is."""
    frames, truth = entry_frames(entry, in_memory), _entry_truth(entry)
    runs = []
    for index, ((first, count), number, step) in enumerate(zip(entry.runs, entry.numbers, entry.steps, strict=True)):
        name = entry.name if len(entry.runs) == 1 else f"{entry.name} ({called} {index + 1} of {len(entry.runs)})"
        if count < 2:
            logger.info("dropped %s, frame %d: a run of 1 frame, and slowness needs two", name, number)
            continue
        frame_index = number + step * np.arange(count, dtype=np.int64)
        rows = slice(first, first + count)
        known = {key: values[rows] for key, values in truth.items()}
        runs.append(Run(frames[rows], name, frame_index, known, held_out))
    return runs


def _entry_truth(entry: Entry) -> dict[str, np.ndarray]:
    """What is known of the frames, name -> float32 `[time]`."""
    if not entry.truth:
        return {}
    with np.load(entry.path / _TRUTH, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in entry.truth}


def _has_truth(entry: Entry) -> bool:
    """Whether what is known of the frames can be read and is of all of them."""
    try:
        return all(values.shape == entry.shape[:1] for values in _entry_truth(entry).values())
    except Exception:  # zipfile, zlib and numpy have many for damaged files
        return False


def size_text(n_bytes: int) -> str:
    """Bytes for people: `1.5 GB`."""
    for power, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if n_bytes >= power:
            return f"{n_bytes / power:.1f} {unit}"
    return f"{n_bytes} bytes"


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
    return broken + [path for path in paths if path.name.startswith(_TEMPORARY) and not _is_being_written(path)]


def check_length(name: str, n_frames: int, stride: int) -> None:
    """Raises unless the stride has left two frames."""
    if n_frames < 2:
        raise InputError(
            f"{name} gives {n_frames} frame(s) at stride {stride}; slowness needs at least two consecutive frames: "
            "give a longer sequence or a smaller stride"
        )


def _write(source: Source, options: Options, path: pathlib.Path) -> None:
    root = path.parent
    estimate = source.estimate(options)
    about = "" if estimate.exact else "about "
    logger.info(
        "reading %s: %s%d frames, %s%s", source.name, about, estimate.n_frames, about, size_text(estimate.n_bytes)
    )
    needed = f"{source.name} needs {about}{estimate.n_bytes} bytes ({size_text(estimate.n_bytes)}) there"
    temporary = root / f"{_TEMPORARY}{path.name}-{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    with _write_errors(root, needed):
        root.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(root).free
        temporary.mkdir()
    try:
        if estimate.exact and estimate.n_bytes > free:
            raise InputError(_no_room(root, needed, f"{free} bytes ({size_text(free)}) are free"))
        with Progress(f"reading {source.name}", estimate.n_frames * options.stride) as progress:
            header = _write_frames(source, options, root, temporary / _FRAMES, needed, progress)
        with _write_errors(root, needed):
            (temporary / _ENTRY).write_text(json.dumps(header))
            try:
                temporary.rename(path)
            except OSError:
                # Another process finished the same entry first; its frames are as good.
                if _open_entry(path) is None:
                    raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    logger.info("cached %d frames of %s in %s", header["shape"][0], source.name, root)


def _write_frames(
    source: Source, options: Options, root: pathlib.Path, path: pathlib.Path, needed: str, progress: Progress
) -> dict[str, Any]:
    finder = CutFinder() if options.split_cuts else None
    numbers: list[int] = []
    begins: list[int] = []
    truth: dict[str, list[float]] = {}
    shape: tuple[int, ...] = ()
    with _write_errors(root, needed):
        file = path.open("wb", buffering=_CHUNK_BYTES)
    try:
        for picture in source.pictures(options):
            progress.update()
            if finder is not None and picture.thumbnail is not None:
                finder.update(picture.thumbnail, picture.number)
            if picture.image is None:
                continue
            if shape not in ((), picture.image.shape):
                raise InputError(
                    f"{source.name}: a frame is {picture.image.shape[1]}x{picture.image.shape[0]} pixels of "
                    f"{picture.image.shape[2]} channel(s), those before it are {shape[1]}x{shape[0]} of {shape[2]}; "
                    "set image_size to bring them to one size"
                )
            shape = picture.image.shape
            if picture.begins:
                begins.append(len(numbers))
            numbers.append(picture.number)
            for key, value in (picture.truth or {}).items():
                truth.setdefault(key, []).append(value)
            with _write_errors(root, needed):
                file.write(np.ascontiguousarray(picture.image).data)
    finally:
        with _write_errors(root, needed):
            file.close()
    if not numbers:
        check_length(source.name, 0, options.stride)
    if truth:
        known: dict[str, Any] = {key: np.array(values, np.float32) for key, values in truth.items()}
        with _write_errors(root, needed):
            np.savez(path.with_name(_TRUTH), **known)
    cuts = finder.finish() if finder is not None else []
    starts = sorted({*begins, *(np.searchsorted(numbers, cuts).tolist() if cuts else [])})
    bounds = [0, *(start for start in starts if 0 < start < len(numbers)), len(numbers)]
    return {
        "shape": [len(numbers), *shape],
        "name": source.name,
        "stride": options.stride,
        "runs": [[start, stop - start] for start, stop in itertools.pairwise(bounds)],
        "numbers": [numbers[start] for start in bounds[:-1]],
        "steps": [
            numbers[start + 1] - numbers[start] if stop - start > 1 else options.stride
            for start, stop in itertools.pairwise(bounds)
        ],
        "cuts": cuts,
        "truth": list(truth),
    }


def _open_entry(path: pathlib.Path) -> Entry | None:
    try:
        header = json.loads((path / _ENTRY).read_text())
        shape = tuple(header["shape"])
        whole = (path / _FRAMES).stat().st_size == int(np.prod(shape))
        runs = tuple((first, count) for first, count in header["runs"])
        numbers, truth = tuple(header["numbers"]), tuple(header.get("truth", ()))
        steps = tuple(header.get("steps", [header["stride"]] * len(runs)))
        entry = Entry(path, shape, header["name"], header["stride"], runs, numbers, steps, truth)
        whole &= not truth or (path / _TRUTH).is_file()
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return entry if whole else None


@contextlib.contextmanager
def _write_errors(root: pathlib.Path, needed: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(_no_room(root, needed, error.strerror or str(error))) from error


def _no_room(root: pathlib.Path, needed: str, reason: str) -> str:
    return (
        f"the cache directory {root} cannot be written: {reason}; {needed}. Free some space, clear the cache with "
        f"`python -m sfa_jax.data --clear`, or set cache_dir or the variable SFA_JAX_CACHE to another directory; where "
        f"sfa_jax.prepare writes, run it again when there is space, or give another OUT"
    )


def _is_key(name: str) -> bool:
    return len(name) == 32 and set(name) <= set("0123456789abcdef")


def _is_being_written(path: pathlib.Path) -> bool:
    host, pid = path.name.removeprefix(_TEMPORARY)[33:].rsplit("-", 2)[:2]
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
