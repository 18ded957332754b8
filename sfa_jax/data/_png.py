"""The checksums of PNG files, which Pillow leaves aside where pixels are."""

import zlib
from typing import IO

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PIECE_BYTES = 1 << 20


def check_png(file: str | IO[bytes]) -> None:
    """Raises unless all chunks of a PNG file, up to its end mark, have the bytes that they were written with.

    Raises:
      ValueError: one has not, or the end mark is missing.
    """
    if isinstance(file, str):
        with open(file, "rb") as opened:
            _check_chunks(opened)
        return
    place = file.tell()
    file.seek(0)
    _check_chunks(file)
    file.seek(place)


def _check_chunks(file: IO[bytes]) -> None:
    if file.read(len(_SIGNATURE)) != _SIGNATURE:
        raise ValueError("it does not begin as a PNG file")
    kind = b""
    while kind != b"IEND":
        head = file.read(8)
        if len(head) < 8:
            raise ValueError("it is cut off: its end mark is missing")
        left, kind = int.from_bytes(head[:4], "big"), head[4:]
        checksum = zlib.crc32(kind)
        while left:
            piece = file.read(min(left, _PIECE_BYTES))
            if not piece:
                raise ValueError("it is cut off")
            checksum, left = zlib.crc32(piece, checksum), left - len(piece)
        if file.read(4) != checksum.to_bytes(4, "big"):
            raise ValueError(f"the checksum of its part {kind!r} is wrong")
