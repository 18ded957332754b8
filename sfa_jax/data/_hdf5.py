"""Arrays in HDF5 files, those of MATLAB 7.3 among them, read in parts with h5py."""

import contextlib
import logging
import math
import posixpath
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from sfa_jax._errors import DamagedError, InputError, is_mistake

_log = logging.getLogger("sfa_jax")

MAGIC = b"\x89HDF\r\n\x1a\n"
_MATLAB_CLASS = "MATLAB_class"


class StoredDataset(NamedTuple):
    """A dataset of numbers in a file.

    Attributes:
      path: of the file.
      key: of the dataset, its names joined by `/`.
      shape: of the array that it is read as.
      dtype: of the array's numbers.
      axes: the axis of the dataset that each axis of the array is; empty of labels, which are read flat.
    """

    path: str
    key: str
    shape: tuple[int, ...]
    dtype: np.dtype
    axes: tuple[int, ...]

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.path} [{self.key}]"

    @contextlib.contextmanager
    def open(self) -> Iterator[Any]:
        """Gives an object of which slices along the first axis are arrays, each read when it is asked for.

        Raises:
          DamagedError: the file or a part of it cannot be read.
        """
        with contextlib.ExitStack() as stack:
            with hdf5_errors(self.name):
                dataset = stack.enter_context(_h5py().File(self.path, "r"))[self.key]
            yield _Rows(self, dataset)


class _Rows:
    def __init__(self, stored: StoredDataset, dataset: Any) -> None:
        self._stored, self._dataset = stored, dataset

    def __len__(self) -> int:
        return self._stored.shape[0]

    def __getitem__(self, rows: slice) -> np.ndarray:
        axes, dtype = self._stored.axes, self._stored.dtype
        where = tuple(rows if axis == axes[0] else slice(None) for axis in range(len(axes)))
        with hdf5_errors(self._stored.name):
            values = self._dataset[where]
        return (values.transpose(axes) if axes else np.ravel(values)[rows]).astype(dtype, copy=False)


def find_datasets(path: str, frames: str = "") -> tuple[dict[str, StoredDataset], str]:
    """Finds the datasets of numbers in a file; none of them is read.

    Args:
      path: of the file.
      frames: the key of the frames, found if empty.

    Returns:
      The datasets by key, `run_id` and `truth/<name>` named as if they lay beside the root, and the key of the frames.

    Raises:
      DamagedError: the file cannot be read.
      InputError: which dataset holds the frames is not known, or h5py is not installed.
    """
    found: dict[str, Any] = {}
    with hdf5_errors(path), _h5py().File(path, "r") as file:

        def add(key: str, item: Any) -> None:
            if hasattr(item, "dtype") and item.shape is not None and not key.startswith("#"):
                found[key] = item

        file.visititems(add)
        key = _find_frames(path, found, frames.strip("/"))
        arrays = {key: _frames(path, key, found[key])}
        beside = posixpath.dirname(key)
        for other, item in found.items():
            if other == key:
                continue
            inner = posixpath.relpath(other, beside) if beside and other.startswith(f"{beside}/") else other
            flat = math.prod(item.shape) == max(item.shape, default=1)
            shape = (math.prod(item.shape),) if flat and _is_matlab(item) else item.shape
            label = (inner == "run_id" or inner.startswith("truth/")) and len(shape) == 1
            arrays[inner if label else other] = StoredDataset(path, other, shape, item.dtype, ())
        return arrays, key


def may_be_frames(shape: tuple[int, ...]) -> bool:
    """Tells whether an array may be frames by its axes: with three, neither one picture nor points in time."""
    return len(shape) == 4 or (len(shape) == 3 and (shape[2] > 4 or min(shape[:2]) <= 4))


@contextlib.contextmanager
def hdf5_errors(name: str) -> Iterator[None]:
    """Turns what h5py raises for a damaged file into a `DamagedError` that names it."""
    try:
        yield
    except InputError:
        raise
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:  # all of them, by what is damaged
        if is_mistake(error):
            raise
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DamagedError(f"{name} cannot be read by h5py ({reason})", "copy it again", None) from error


def _find_frames(path: str, found: dict[str, Any], asked: str) -> str:
    shapes = {key: item.shape[::-1] if _is_matlab(item) else item.shape for key, item in found.items()}
    likely = [key for key in found if may_be_frames(shapes[key]) and found[key].dtype.kind in "biuf"]
    named = [key for key in likely if posixpath.basename(key) == "frames"]
    if asked:
        if asked not in found:
            raise InputError(f"{path} has no dataset {asked!r}; it has {_listed(found, list(found))}")
        return asked
    for keys in (named, likely):
        if len(keys) == 1:
            return keys[0]
    shown = likely or list(found)
    hint = f"; choose one by {path}?frames={shown[0]}" if likely else ""
    raise InputError(
        f"{path} has no dataset called frames, nor just one with three or four axes: it has {_listed(found, shown)}"
        f"{hint}"
    )


def _listed(found: dict[str, Any], keys: list[str]) -> str:
    return ", ".join(f"{key} {found[key].shape}" for key in keys[:20]) + ", ..." * (len(keys) > 20) or "nothing"


def _frames(path: str, key: str, item: Any) -> StoredDataset:
    """The frames as [time, height, width, channel] or [time, height, width]; MATLAB stores axes in reverse."""
    axes = tuple(range(len(item.shape)))
    if _is_matlab(item) and len(axes) in (3, 4):
        theirs = "[height, width, time]" if len(axes) == 3 else "[height, width, channel, time]"
        axes = (0, 2, 1) if len(axes) == 3 else (0, 3, 2, 1)
        if len(axes) == 4 and item.shape[1] not in (1, 3) and item.shape[0] in (1, 3):
            axes, theirs = (3, 2, 1, 0), "[time, height, width, channel]"
        _log.info("%s [%s]: the array of MATLAB is taken as %s", path, key, theirs)
    logical = item.attrs.get(_MATLAB_CLASS) in (b"logical", "logical")
    return StoredDataset(
        path, key, tuple(item.shape[axis] for axis in axes), np.dtype(bool) if logical else item.dtype, axes
    )


def _is_matlab(item: Any) -> bool:
    return _MATLAB_CLASS in item.attrs


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise InputError("HDF5 files need h5py; install it with `pip install 'sfa_jax[hdf5]'`") from error
    return h5py
