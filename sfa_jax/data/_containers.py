"""Whether a video file has all that it speaks of, told from its outermost parts only."""

import os
import struct
from typing import BinaryIO

_GIF = b"GIF87a", b"GIF89a"
_ASF_PARTS = "3026b2758e66cf11a6d900aa0062ce6c", "3626b2758e66cf11a6d900aa0062ce6c"  # header and data
_TS_SYNC = b"G"
_MOST_BOXES = 1_000_000  # fragments of a film of days; more are not looked at one by one


def find_missing(path: str) -> str:
    """What an AVI, MP4, Matroska, ASF, GIF, FLV or MPEG transport file lacks at its end, or nothing."""
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        start = file.read(400)
        if start[:6] in _GIF:
            return _missing_gif(file, size)
        for length in (188, 192):  # with a time before each packet on discs
            if start[length - 188 :: length][:2] == 2 * _TS_SYNC:
                return "it ends within a packet" if size % length else ""
        if start[:3] == b"FLV":
            return _missing_flv(file, size)
        count = 0
        if start[:4] == b"RIFF":
            count = _missing_riff(file, size)
        elif start[4:8] == b"ftyp":
            count = _missing_boxes(file, size)
        elif start[:4] == b"\x1a\x45\xdf\xa3":
            count = _missing_matroska(file, size)
        elif start[:16].hex() == _ASF_PARTS[0]:
            count = _missing_asf(file, size)
        return f"its header speaks of {count} more bytes" if count else ""


def is_gif(path: str) -> bool:
    """Whether a file begins as a GIF does."""
    with open(path, "rb") as file:
        return file.read(6) in _GIF


def _missing_gif(file: BinaryIO, size: int) -> str:
    file.seek(10)
    place = 13 + _colours(file.read(1))
    while place < size:
        file.seek(place)
        kind = file.read(1)
        if kind == b";":
            return ""
        if kind == b"!":
            place += 2
        elif kind == b",":
            file.seek(place + 9)
            place += 11 + _colours(file.read(1))
        else:
            return f"what follows from its header ends at byte {place} of {size}"
        length = 1
        while length and place < size:
            file.seek(place)
            length = int.from_bytes(file.read(1), "big")
            place += 1 + length
    return "its end mark is missing"


def _missing_flv(file: BinaryIO, size: int) -> str:
    file.seek(max(0, size - 4))
    back = int.from_bytes(file.read(4), "big")  # how far the last tag's start is
    file.seek(max(0, size - 4 - back))
    tag = file.read(4)
    whole = back >= 11 and len(tag) == 4 and int.from_bytes(tag[1:], "big") == back - 11
    return "" if whole else "the length of its last part is not at its end"


def _colours(flags: bytes) -> int:
    """Bytes of the table of colours that flags announce."""
    return 3 << (flags[0] & 7) + 1 if flags and flags[0] & 0x80 else 0


def _missing_riff(file: BinaryIO, size: int) -> int:
    position = 0
    while position + 8 <= size:
        file.seek(position)
        tag, length = struct.unpack("<4sI", file.read(8))
        if tag != b"RIFF" or length in (0, 0xFFFFFFFF):
            return 0
        position += 8 + length
    return max(0, position - size)


def _missing_asf(file: BinaryIO, size: int) -> int:
    position = 0
    for part in _ASF_PARTS:
        file.seek(position)
        head = file.read(24)
        length = int.from_bytes(head[16:], "little")
        if head[:16].hex() != part or length < 24:  # live recordings do not say it
            return 0
        position += length
    return max(0, position - size)


def _missing_boxes(file: BinaryIO, size: int) -> int:
    position = 0
    for _ in range(_MOST_BOXES):
        if position + 8 > size:
            break
        file.seek(position)
        (length,) = struct.unpack(">I4x", file.read(8))
        if length == 1:
            (length,) = struct.unpack(">Q", file.read(8).rjust(8, b"\0"))
        if length < 8:  # 0: up to the end of the file
            return 0
        position += length
    return max(0, position - size)


def _missing_matroska(file: BinaryIO, size: int) -> int:
    position = 0
    while position < size:
        file.seek(position)
        head = file.read(12)
        # The number of leading zero bits gives the length of an element's size field.
        n_bytes = 9 - head[4].bit_length() if len(head) == 12 and head[4] else 0
        if not n_bytes or head[:4] not in (b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"):
            return 0
        length = int.from_bytes(head[4 : 4 + n_bytes], "big") - (1 << 7 * n_bytes)
        if length == (1 << 7 * n_bytes) - 1:  # all ones: unknown, as live recordings write
            return 0
        position += 4 + n_bytes + length
    return max(0, position - size)
