"""Arrays in `.npy` and `.npz` files, read by NumPy without pickle once their headers have been checked.

A file `.npy` has no checksum: wrong bits among its numbers cannot be seen.
"""

import contextlib
import math
import os
import warnings
import zipfile
from collections.abc import Iterator
from typing import IO, NamedTuple

import numpy as np

from sfa_jax._errors import DamagedError, InputError, is_mistake
from sfa_jax.data._cache import available_memory, size_text
from sfa_jax.data._limits import MAX_MEMBERS

_MAGIC = b"\x93NUMPY"
_MOST_BYTES = 1 << 62


class StoredArray(NamedTuple):
    """An array in a file.

    Attributes:
      path: of the file.
      key: its name in an `.npz`, empty in an `.npy`.
      shape: as its header says.
      dtype: holds no Python objects.
    """

    path: str
    key: str
    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.path} [{self.key}]" if self.key else self.path

    @contextlib.contextmanager
    def open(self) -> Iterator[np.ndarray]:
        """Gives the array: a read-only memory map of an `.npy`, and what a member of an `.npz` unpacks to.

        Raises:
          DamagedError: it is cut off or damaged.
          InputError: it does not fit in memory.
        """
        with numpy_errors(self.name):
            if not self.key:
                array = np.load(self.path, mmap_mode="r", allow_pickle=False)
            else:
                _check_memory(self)
                with np.load(self.path, allow_pickle=False) as archive:
                    array = archive[self.key]
        yield array


def find_arrays(path: str) -> dict[str, StoredArray]:
    """Reads the headers of the arrays in a file, by key; that of an `.npy` is empty.

    Raises:
      DamagedError: the file is damaged, or holds Python objects.
    """
    with numpy_errors(path):
        with open(path, "rb") as file:
            if file.read(len(_MAGIC)) == _MAGIC:
                file.seek(0)
                found = _read_header(file, path, "")
                n_bytes = file.tell() + math.prod(found.shape) * found.dtype.itemsize
                if n_bytes != os.path.getsize(path):
                    raise ValueError(f"its header claims {n_bytes} bytes, and it has {os.path.getsize(path)}")
                return {"": found}
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > MAX_MEMBERS:
                raise ValueError(f"it has {len(members)} members, and at most {MAX_MEMBERS} are read")
            arrays = {}
            for member in members:
                if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    # What unpacks these gives all that a few bytes say at once, which may be gigabytes.
                    raise ValueError(f"{member.filename} is packed in a way that NumPy does not write")
                key = member.filename.removesuffix(".npy")
                if not key or key in arrays:
                    raise ValueError(f"it holds {key} twice" if key else "it holds an array without a name")
                with numpy_errors(f"{path} [{key}]"), archive.open(member) as file:
                    arrays[key] = _read_header(file, path, key)
            return arrays


@contextlib.contextmanager
def numpy_errors(name: str) -> Iterator[None]:
    """Turns what a damaged file raises into a `DamagedError` that names it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers from Python 2, and of what damage does to their text
            yield
    except InputError:
        raise
    except Exception as error:  # zlib.error, TokenError or MemoryError of a header, NotImplementedError of zipfile...
        if is_mistake(error):
            raise
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        said = f"{name} cannot be read as a NumPy file ({reason})"
        raise DamagedError(said, "save it again with numpy.save or numpy.savez", None) from error


def _read_header(file: IO[bytes], path: str, key: str) -> StoredArray:
    """Reads the header at the start of a file; NumPy refuses one that is too long."""
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"its version {version} is unknown")
    parse = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        shape, _, dtype = parse(file)
    except (MemoryError, RecursionError) as error:  # of deeply nested text
        raise ValueError("its header is no description of an array") from error
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are not read; save plain numbers")
    if min(shape, default=0) < 0 or math.prod(shape) * max(dtype.itemsize, 1) > _MOST_BYTES:
        raise ValueError(f"its header claims the shape {str(shape)[:100]}, which no file has")
    return StoredArray(path, key, shape, dtype)


def _check_memory(array: StoredArray) -> None:
    """Raises unless an array and a chunk of its copies fit in memory."""
    needed, free = math.prod(array.shape) * array.dtype.itemsize, available_memory()
    if needed > free:
        raise InputError(
            f"{array.name} needs {size_text(needed)} of memory to be unpacked, and {size_text(free)} are free; save "
            "the frames by numpy.save, which are read in parts"
        )
