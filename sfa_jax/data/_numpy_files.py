"""The arrays in `.npy` and `.npz` files, read without trusting a header and without pickle.

The size of a file or a member must be just what its header makes it, so that an absurd shape is refused before anything
is read, and what was cut off or appended is seen. A member is read to its end, where its checksum is compared. A file
`.npy` has no checksum: wrong bits among its numbers cannot be seen.
"""

import contextlib
import io
import math
import os
import struct
import warnings
import zipfile
from collections.abc import Iterator
from typing import IO, NamedTuple

import numpy as np

from sfa_jax._errors import InputError, is_mistake
from sfa_jax.data._cache import available_memory
from sfa_jax.data._cache_writing import size_text
from sfa_jax.data._limits import (
    MAX_HEADER_BYTES,
    MAX_MEMBERS,
    MAX_UNPACKED_BYTES,
    MAX_UNPACKED_FRAMES,
    MAX_UNPACKED_RATIO,
)

_MAGIC = b"\x93NUMPY"
_LOCAL_HEADER_BYTES = 30  # at least
_MOST = 1 << 62  # of anything that is counted, so that products fit the system's integers


class Stored(NamedTuple):
    """An array in a file.

    Attributes:
      path: of the file.
      key: its name in an `.npz`, empty in an `.npy`.
      shape: as its header says; the file has the bytes for it.
      dtype: holds no Python objects.
      fortran: whether the first axis varies fastest in the file.
      offset: of its numbers from the start of the file or member, in bytes.
      packed: bytes that it takes in the file.
    """

    path: str
    key: str
    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool
    offset: int
    packed: int

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.path} [{self.key}]" if self.key else self.path

    @property
    def n_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def find_arrays(path: str) -> dict[str, Stored]:
    """The arrays in a file by key; that of an `.npy` is empty.

    Raises:
      InputError: the file is damaged, or holds Python objects.
    """
    with reading(path):
        with open(path, "rb") as file:
            if file.read(len(_MAGIC)) == _MAGIC:
                file.seek(0)
                return {"": _read_header(file, path, "", os.path.getsize(path), os.path.getsize(path))}
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check_members(archive, members)
            found = {}
            for member in members:
                key = member.filename.removesuffix(".npy")
                if not key or key in found:
                    raise ValueError(f"it holds {key} twice" if key else "it holds an array without a name")
                with reading(f"{path} [{key}]"), archive.open(member) as file:
                    found[key] = _read_header(file, path, key, member.file_size, member.compress_size)
            return found


def map_array(array: Stored) -> np.ndarray:
    """The array of an `.npy` as a read-only memory map."""
    order: str = "F" if array.fortran else "C"
    with reading(array.name):
        return np.memmap(array.path, array.dtype, "r", array.offset, array.shape, order)  # type: ignore[call-overload]


def read_array(array: Stored) -> np.ndarray:
    """The whole array of an `.npz`, its checksum compared."""
    check_memory(array, array.shape[0] if array.shape else 1)
    with reading(array.name), _numbers(array) as file:
        values = np.frombuffer(_read_exactly(file, array.n_bytes), array.dtype)
        return values.reshape(array.shape, order="F" if array.fortran else "C")


def stream_array(array: Stored, step: int) -> Iterator[np.ndarray]:
    """The array of an `.npz` that is not in Fortran's order, `step` rows at a time; its checksum is compared last."""
    row_bytes = math.prod(array.shape[1:]) * array.dtype.itemsize
    with reading(array.name), _numbers(array) as file:
        for start in range(0, array.shape[0], step):
            count = min(step, array.shape[0] - start)
            data = _read_exactly(file, count * row_bytes)
            yield np.frombuffer(data, array.dtype).reshape(count, *array.shape[1:])


def check_memory(array: Stored, n_rows: int) -> None:
    """Raises unless `n_rows` at once fit into memory, with the copies that are made of them as bytes and as float32."""
    needed = n_rows * math.prod(array.shape[1:]) * (2 * array.dtype.itemsize + 12)
    free = available_memory()
    if needed > free:
        raise InputError(
            f"{array.name} needs {size_text(needed)} of memory to be read, and {size_text(free)} are free: if it is no "
            f"damage, make the frames smaller, or save them in C order (numpy.ascontiguousarray) by numpy.save"
        )


def check_unpacked(array: Stored) -> None:
    """Raises where a member unpacks to far more than any video does."""
    large = array.n_bytes > MAX_UNPACKED_BYTES or max(array.shape, default=0) > MAX_UNPACKED_FRAMES
    if array.key and large and array.n_bytes > MAX_UNPACKED_RATIO * array.packed:
        raise InputError(
            f"{array.name} unpacks from {size_text(array.packed)} to {size_text(array.n_bytes)}; more than "
            f"{MAX_UNPACKED_RATIO} times the size is read up to {size_text(MAX_UNPACKED_BYTES)} and "
            f"{MAX_UNPACKED_FRAMES} frames only: if it is so, save it with numpy.save"
        )


@contextlib.contextmanager
def reading(name: str) -> Iterator[None]:
    """Turns what a damaged file raises into one error that names it."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # zlib.error, TokenError or MemoryError of a header, NotImplementedError of zipfile...
        if is_mistake(error):
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{name} cannot be read as a NumPy file ({_short(reason)}): save it again with numpy.save or numpy.savez"
        ) from error


def _read_header(file: IO[bytes], path: str, key: str, size: int, packed: int) -> Stored:
    """Reads the header at the start of `size` bytes, of which the rest must be the array."""
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"its version {version} is unknown")
    width, kind = (2, "<H") if version == (1, 0) else (4, "<I")
    (length,) = struct.unpack(kind, _read_exactly(file, width))
    if length > MAX_HEADER_BYTES:
        raise ValueError(f"its header of {length} bytes is above the limit of {MAX_HEADER_BYTES}")
    header = io.BytesIO(struct.pack(kind, length) + _read_exactly(file, length))
    parse = np.lib.format.read_array_header_1_0 if width == 2 else np.lib.format.read_array_header_2_0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of files from Python 2, and of what damage does to text
        try:
            shape, fortran, dtype = parse(header)
        except (MemoryError, RecursionError) as error:  # of deeply nested text
            raise ValueError("its header is no description of an array") from error
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are not read; save plain numbers")
    offset = len(_MAGIC) + 2 + width + length
    if not all(0 <= side < _MOST for side in shape) or math.prod(shape) * dtype.itemsize >= _MOST:
        raise ValueError(f"its header claims the shape {_short(str(shape))}, which no file has")
    array = Stored(path, key, shape, dtype, fortran, offset, packed)
    if offset + array.n_bytes != size:
        raise ValueError(
            f"its header claims shape {_short(str(shape))} and dtype {_short(str(dtype))}, in all "
            f"{offset + array.n_bytes} bytes, but it has {size}: it was cut off or is damaged"
        )
    return array


def _check_members(archive: zipfile.ZipFile, members: list[zipfile.ZipInfo]) -> None:
    """Raises unless each member has bytes of its own, packed as NumPy does."""
    if len(members) > MAX_MEMBERS:
        raise ValueError(f"it has {len(members)} members, and at most {MAX_MEMBERS} are read")
    # Python reads the table up to its end and leaves the count aside: an entry that the damaged length of the one
    # before it swallows would be lost without a word.
    file = archive.fp
    assert file is not None  # it is open
    file.seek(archive.start_dir + sum(_table_bytes(member) for member in members))
    mark = _read_exactly(file, 4)
    if mark == b"PK\x06\x06":  # of archives above 4 GB
        (count,) = struct.unpack("<28xQ", _read_exactly(file, 36))
    else:
        (count,) = struct.unpack("<6xH", _read_exactly(file, 8))
    if mark not in (b"PK\x05\x06", b"PK\x06\x06") or count != len(members):
        raise ValueError("its table of members is damaged")
    end = archive.start_dir
    for member in sorted(members, key=lambda member: member.header_offset, reverse=True):
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            # What unpacks these gives all that a few bytes say at once, which may be gigabytes.
            raise ValueError(f"{member.filename} is packed in a way that NumPy does not write")
        if member.header_offset + _LOCAL_HEADER_BYTES + member.compress_size > end:
            raise ValueError(f"{member.filename} overlaps with what comes after it")
        end = member.header_offset


def _table_bytes(member: zipfile.ZipInfo) -> int:
    """What a member takes in the table at an archive's end."""
    name = member.orig_filename.encode("utf-8" if member.flag_bits & 0x800 else "cp437")
    return 46 + len(name) + len(member.extra) + len(member.comment)


@contextlib.contextmanager
def _numbers(array: Stored) -> Iterator[IO[bytes]]:
    """A member, open behind its header."""
    with zipfile.ZipFile(array.path) as archive:
        names = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        with archive.open(names[array.key]) as file:
            _read_exactly(file, array.offset)
            yield file


def _read_exactly(file: IO[bytes], count: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise EOFError("the array ends early")
    return data


def _short(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}..."
