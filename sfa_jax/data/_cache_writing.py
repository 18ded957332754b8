"""Writing of one entry of the cache: frames as raw uint8, what is known of them, and a header."""

import contextlib
import itertools
import json
import logging
import os
import pathlib
import shutil
import socket
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from sfa_jax._errors import DamagedError, InputError
from sfa_jax.data._cuts import CutFinder
from sfa_jax.data._progress import Progress
from sfa_jax.data._source import Note, Options, Picture, Source

logger = logging.getLogger("sfa_jax")

FRAMES, ENTRY, KNOWN = "frames.u8", "entry.json", "known.npz"
TRUTH, TIME = "truth/", "time"  # in KNOWN
TEMPORARY = ".tmp-"
_CHUNK_BYTES = 1 << 22


def write_entry(source: Source, options: Options, path: pathlib.Path, on_corrupt: str) -> None:
    """Decodes a source into a new entry.

    Args:
      source: of the frames.
      options: how they are made.
      path: of the entry, in the root of the cache.
      on_corrupt: as of `store`.

    Raises:
      DamagedError: as `store`.
      InputError: as `store`.
    """
    root = path.parent
    estimate = source.estimate(options)
    about = "" if estimate.exact else "about "
    logger.info(
        "reading %s: %s%d frames, %s%s", source.name, about, estimate.n_frames, about, size_text(estimate.n_bytes)
    )
    needed = f"{source.name} needs {about}{estimate.n_bytes} bytes ({size_text(estimate.n_bytes)}) there"
    temporary = root / f"{TEMPORARY}{path.name}-{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    with _write_errors(root, needed):
        root.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(root).free
        temporary.mkdir()
    try:
        if estimate.exact and estimate.n_bytes > free:
            raise InputError(_no_room(root, needed, f"{free} bytes ({size_text(free)}) are free"))
        with _write_errors(root, needed):
            file = (temporary / FRAMES).open("wb", buffering=_CHUNK_BYTES)
        rows = _Rows(source.name, options, on_corrupt)
        try:
            with Progress(f"reading {source.name}", estimate.n_frames * options.stride) as progress:
                for item in source.pictures(options):
                    progress.update()
                    image = rows.add(item)
                    if image is not None:
                        with _write_errors(root, needed):
                            file.write(np.ascontiguousarray(image).data)
        finally:
            with _write_errors(root, needed):
                file.close()
        header, known = rows.finish()
        with _write_errors(root, needed):
            if known:
                np.savez(temporary / KNOWN, **known)  # type: ignore[arg-type]
            (temporary / ENTRY).write_text(json.dumps(header))
            try:
                temporary.rename(path)
            except OSError:
                # Another process finished the same entry first; its frames are as good.
                if not (path / ENTRY).is_file():
                    raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    logger.info("cached %d frames of %s in %s", header["shape"][0], source.name, root)


class _Rows:
    """What the header of an entry says of its rows, gathered while a source is read.

    Args:
      name: of the source.
      options: that it is read with.
      on_corrupt: as of `store`.
    """

    def __init__(self, name: str, options: Options, on_corrupt: str) -> None:
        self._name, self._options, self._on_corrupt = name, options, on_corrupt
        self._finder = CutFinder() if options.split_cuts else None
        self._numbers: list[int] = []
        self._begins: list[int] = []
        self._times: list[float | None] = []
        self._truth: dict[str, list[float]] = {}
        self._shape: tuple[int, ...] = ()
        self._shown: tuple[int, int] | None = None
        self._notes: list[str] = []
        self._white = 0.0
        self._wrong: list[DamagedError] = []
        self._broken = False  # frames were left out since the last one that is kept
        self._n_read = 0

    def add(self, item: Picture | DamagedError | Note) -> np.ndarray | None:
        """Takes what a source gives next; returns the frame if it is to be written."""
        if isinstance(item, Note):
            self._notes += [item.text] if item.text else []
            self._white = max(self._white, item.white)
            return None
        if isinstance(item, DamagedError):
            if self._on_corrupt == "raise":
                raise refused(item)
            self._wrong.append(item)
            self._broken = True
            return None
        self._n_read += 1
        if self._finder is not None and item.thumbnail is not None:
            self._finder.update(item.thumbnail, item.number)
        if item.image is None:
            return None
        shape = item.image.shape
        if self._shape not in ((), shape):
            height, width, channels = self._shape
            raise InputError(
                f"{self._name}: frame {item.number} is {shape[1]}x{shape[0]} pixels of {shape[2]} channel(s), the "
                f"frames before it are {width}x{height} of {channels}; set image_size to bring them to one size"
            )
        self._shape, self._shown = shape, self._shown or item.shown
        if item.begins or self._broken:
            self._begins.append(len(self._numbers))
        self._broken = False
        self._numbers.append(item.number)
        self._times.append(item.time)
        for key, value in (item.truth or {}).items():
            self._truth.setdefault(key, []).append(value)
        return item.image

    def finish(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Returns the header, and the arrays that are known of the frames.

        Raises:
          DamagedError: no frame could be read.
          InputError: the stride has left none.
        """
        if self._wrong and not self._n_read:
            first = self._wrong[0]
            raise DamagedError(f"{self._name} has no frame that can be read: {first.said}", first.repair)
        numbers, stride = self._numbers, self._options.stride
        if not numbers:
            check_length(self._name, 0, stride)
        if self._wrong:
            self._notes.insert(0, left_out_note(self._name, self._wrong, self._n_read))
        known: dict[str, np.ndarray] = {TRUTH + key: np.array(x, np.float32) for key, x in self._truth.items()}
        if None not in self._times:
            times = np.array(self._times, np.float64)
            if (np.diff(times) > 0).all():
                known[TIME] = times
        cuts = self._finder.finish() if self._finder is not None else []
        starts = sorted({*self._begins, *(np.searchsorted(numbers, cuts).tolist() if cuts else [])})
        bounds = [0, *(start for start in starts if 0 < start < len(numbers)), len(numbers)]
        header = {
            "shape": [len(numbers), *self._shape],
            "shown": self._shown,
            "name": self._name,
            "stride": stride,
            "runs": [[start, stop - start] for start, stop in itertools.pairwise(bounds)],
            "numbers": [numbers[start] for start in bounds[:-1]],
            "steps": [
                numbers[start + 1] - numbers[start] if stop - start > 1 else stride
                for start, stop in itertools.pairwise(bounds)
            ],
            "cuts": cuts,
            "known": list(known),
            "notes": self._notes,
            "white": self._white,
            "damage": [self._wrong[0].said, self._wrong[0].repair] if self._wrong else None,
        }
        return header, known


def refused(error: DamagedError) -> DamagedError:
    """Gives the error of `on_corrupt="raise"`, which says that there is another choice."""
    return DamagedError(error.said, f"{error.repair}, or leave out what cannot be read by data.on_corrupt=skip")


def left_out_note(name: str, errors: Sequence[DamagedError], n_read: int) -> str:
    """Tells in one sentence how many frames of a source were left out of how many, and why the first was."""
    n_lost = sum(error.n_frames or 0 for error in errors)
    n_unknown = sum(error.n_frames is None for error in errors)
    lost = [f"{n_lost} of {n_lost + n_read} frames"] * (n_lost > 0)
    lost += [f"parts of unknown length ({n_unknown}, beside {n_read} frames)"] * (n_unknown > 0)
    return (
        f"{name}: {' and '.join(lost)} cannot be read; they are left out, and sequences end there (the first: "
        f"{errors[0].said})"
    )


def size_text(n_bytes: int) -> str:
    """Bytes for people: `1.5 GB`."""
    for power, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if n_bytes >= power:
            return f"{n_bytes / power:.1f} {unit}"
    return f"{n_bytes} bytes"


def check_length(name: str, n_frames: int, stride: int) -> None:
    """Raises unless the stride has left two frames."""
    if n_frames < 2:
        raise InputError(
            f"{name} gives {n_frames} frame(s) at stride {stride}; slowness needs at least two consecutive frames: "
            "give a longer sequence or a smaller stride"
        )


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
