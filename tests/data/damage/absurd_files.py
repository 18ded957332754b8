"""Files whose headers claim what no file has, and archives that unpack without end or hold programs.

To add one, write a function that writes it into a folder and gives its path, and put it into `ABSURD`.
"""

import io
import os
import pathlib
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from damaged_files import KINDS, N_FRAMES
from PIL import Image

_FRAMES = np.zeros((N_FRAMES, 16, 16, 3), np.uint8)
_SHAPE = f"({N_FRAMES}, 16, 16, 3)"


class Absurd(NamedTuple):
    """A file that must be refused.

    Attributes:
      write: writes it into a folder and gives its path.
      in_folder: it is a picture, loaded by its folder.
      may_be_read: what is odd in it is not needed, or is said again rightly, so that it may also be read.
    """

    write: Callable[[pathlib.Path], pathlib.Path]
    in_folder: bool = False
    may_be_read: bool = False


class Unpickled:
    """Leaves a file named by the environment behind when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mkdir, (os.environ.get("SFA_JAX_TEST_UNPICKLED", "unpickled"),)


def array(
    shape: str = _SHAPE, descr: str = "'|u1'", body: bytes | None = None, *, version: int = 1, padding: int = 0
) -> bytes:
    """The bytes of an `.npy` whose header says what is given."""
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode() + b" " * padding + b"\n"
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + length + header + (_FRAMES.tobytes() if body is None else body)


_HEADERS = {
    "a shape of 10**12 frames": array("(1000000000000, 64, 64, 3)"),
    "a shape beyond 64 bits": array("(9223372036854775807, 9223372036854775807, 2, 3)"),
    "a shape that wraps to nothing": array("(4294967296, 4294967296, 16, 1)", body=b""),
    "a side of 4,000 digits": array(f"({'9' * 4000}, 16, 16, 3)"),
    "a negative side": array("(-20, 16, -16, 3)"),
    "a shape of text": array("('20', 16, 16, 3)"),
    "a shape of fractions": array("(20.0, 16, 16, 3)"),
    "Python objects": array("(3,)", "'|O'", pickle.dumps([Unpickled()] * 3)),
    "a record with Python objects": array("(3,)", "[('a', '|O'), ('b', '<f8')]", pickle.dumps([Unpickled()] * 3)),
    "a header of 10 MB": array(version=2, padding=10_000_000),
    "a header of 60 kB": array(padding=60_000),
    "a header length of 4 GB": b"\x93NUMPY\x02\x00\xff\xff\xff\xff{'descr': '|u1'}",
    "an unknown version": b"\x93NUMPY\x09\x09" + array()[8:],
    "a header that calls": array("__import__('os').mkdir('called')"),
    "a header of minus signs": array(f"({'-' * 9_800}1,)"),
    "a header of brackets": array("[" * 4_900),
    "a number type of gigabytes": array(descr="'<U1000000000'"),
    "an array in each number": array(descr="('<f4', (1000000, 1000000))"),
}


class _Member(NamedTuple):
    """A member of a zip archive; what is not given is right."""

    name: str
    data: bytes
    packed: bytes | None = None
    method: int = zipfile.ZIP_STORED
    size: int | None = None
    checksum: int | None = None
    flags: int = 0
    at: int | None = None


def _archive(members: list[_Member]) -> bytes:
    """A zip archive, true to what its members claim."""
    body, table = bytearray(), bytearray()
    for member in members:
        packed = member.data if member.packed is None else member.packed
        size = len(member.data) if member.size is None else member.size
        checksum = zlib.crc32(member.data) if member.checksum is None else member.checksum
        fields = (20, member.flags, member.method, 0, 0x21, checksum, len(packed), size, len(member.name), 0)
        at = len(body) if member.at is None else member.at
        if member.at is None:
            body += struct.pack("<4s5H3I2H", b"PK\3\4", *fields) + member.name.encode() + packed
        table += struct.pack("<4sH5H3I5H2I", b"PK\1\2", 20, *fields, 0, 0, 0, 0, at) + member.name.encode()
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, len(members), len(members), len(table), len(body), 0)
    return bytes(body + table) + end


def _zeros(n_bytes: int, head: bytes) -> bytes:
    """`head` and then so many zeros, deflated; 1 MB is packed and repeated."""
    pack = zlib.compressobj(9, zlib.DEFLATED, -15)
    start = pack.compress(head) + pack.flush(zlib.Z_FULL_FLUSH)
    part = pack.compress(bytes(1 << 20)) + pack.flush(zlib.Z_FULL_FLUSH)
    return start + part * (n_bytes >> 20) + pack.flush()


def _bomb(name: str, shape: str, n_bytes: int, **claims: int) -> _Member:
    head = array(shape, body=b"")
    packed = _zeros(n_bytes, head)
    return _Member(name, b"", packed, zipfile.ZIP_DEFLATED, **{"size": n_bytes + len(head), **claims})


def _good() -> _Member:
    return _Member("frames.npy", array())


def _packed_zip(method: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("frames.npy", array() + bytes(2_000_000))
    return buffer.getvalue()


_ARCHIVES: dict[str, Callable[[], bytes]] = {
    **{f"npz of {name}": lambda data=data: _archive([_Member("frames.npy", data)]) for name, data in _HEADERS.items()},
    **{
        f"npz whose run_id has {name}": lambda data=data: _archive([_good(), _Member("run_id.npy", data)])
        for name, data in _HEADERS.items()
    },
    "npz whose truth has 10**12 values": lambda: _archive(
        [_good(), _Member("truth/x.npy", array("(1000000000000,)", "'<f8'"))]
    ),
    "npz whose truth is 3 GB of zeros": lambda: _archive([_good(), _bomb("truth/x.npy", f"({N_FRAMES},)", 3 << 30)]),
    "npz of 3 GB of zeros": lambda: _archive([_bomb("frames.npy", "(262144, 64, 64, 3)", 3 << 30)]),
    "npz of 800 MB in frames of a pixel": lambda: _archive([_bomb("frames.npy", "(838860800, 1, 1, 1)", 800 << 20)]),
    "npz of a frame of a gigapixel": lambda: _archive([_bomb("frames.npy", "(2, 32768, 16384, 3)", 3 << 30)]),
    "npz that unpacks beyond what it claims": lambda: _archive(
        [_bomb("frames.npy", _SHAPE, 1 << 30, size=len(array()))]
    ),
    "npz packed by bzip2": lambda: _packed_zip(zipfile.ZIP_BZIP2),
    "npz packed by LZMA": lambda: _packed_zip(zipfile.ZIP_LZMA),
    "npz packed in an unknown way": lambda: _archive([_good()._replace(method=97)]),
    "npz that is encrypted": lambda: _archive([_good()._replace(flags=1)]),
    "npz with a wrong checksum": lambda: _archive([_good()._replace(checksum=1)]),
    "npz with a wrong checksum of run_id": lambda: _archive(
        [_good(), _Member("run_id.npy", array(f"({N_FRAMES},)", body=bytes(N_FRAMES)), checksum=1)]
    ),
    "npz of overlapping members": lambda: _archive([_good(), _Member("run_id.npy", array(), at=0)]),
    "npz of one member twice": lambda: _archive([_good(), _good()._replace(at=0)]),
    "npz of two members of a name": lambda: _archive([_good(), _good()]),
    "npz of a member inside another": lambda: _archive(
        [_Member("frames.npy", b"x" * 10 + _archive([_good()])), _good()._replace(at=50)]
    ),
    "npz of a member without a name": lambda: _archive([_good()._replace(name=".npy")]),
    "npz that claims a longer member": lambda: _archive([_good()._replace(size=1 << 31)]),
    "npz of 11,000 members": lambda: _archive([_good()] + [_Member(f"a{i}.npy", b"") for i in range(11_000)]),
    "npz in an npz": lambda: _archive([_Member("frames.npy", _archive([_good()]))]),
}


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width: int, height: int, *chunks: bytes, depth: int = 8) -> bytes:
    """A PNG whose checksums are right, of black pixels."""
    header = _chunk(b"IHDR", struct.pack(">2I5B", width, height, depth, 0, 0, 0, 0))
    pixels = _chunk(b"IDAT", zlib.compress(bytes(17 * 16)))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + pixels + _chunk(b"IEND", b"")


def _wide_gif() -> bytes:
    return b"GIF89a" + struct.pack("<2H", 60_000, 60_000) + b"\0\0\0,\0\0\0\0" + struct.pack("<2H", 60_000, 60_000)


def _patched(suffix: str, format_name: str, place: int, data: bytes) -> bytes:
    """A good picture of a format with some bytes put over its own."""
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, format_name)
    good = buffer.getvalue()
    if place < 0:  # a JPEG's frame header
        place = good.index(b"\xff\xc0") + 5
    return good[:place] + data + good[place + len(data) :]


def _unpacks(kind: bytes) -> bytes:
    """A part of a PNG that is 20 MB of zeros."""
    return _chunk(kind, b"a\0\0" + zlib.compress(bytes(20_000_000), 1))


_PICTURES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "PNG of 60000x60000": (".png", lambda: _png(60_000, 60_000)),
    "PNG of 9500x9500": (".png", lambda: _png(9_500, 9_500)),
    "PNG of no pixels": (".png", lambda: _png(0, 16)),
    "PNG of 2**31 columns": (".png", lambda: _png(1 << 31, 1)),
    "PNG of 3 bits": (".png", lambda: _png(16, 16, depth=3)),
    "PNG with 20 MB of text": (".png", lambda: _png(16, 16, _unpacks(b"zTXt"))),
    "JPEG of 65535x65535": (".jpg", lambda: _patched(".jpg", "JPEG", -1, b"\xff\xff\xff\xff")),
    "BMP of 60000x60000": (".bmp", lambda: _patched(".bmp", "BMP", 18, struct.pack("<2i", 60_000, 60_000))),
    "BMP of negative sides": (".bmp", lambda: _patched(".bmp", "BMP", 18, struct.pack("<2i", -16, -60_000))),
    "TGA of 60000x60000": (".tga", lambda: _patched(".tga", "TGA", 12, struct.pack("<2H", 60_000, 60_000))),
    "PGM of 60000x60000": (".pgm", lambda: b"P5 60000 60000 255\n" + bytes(999)),
    "PGM of 4,000 digits": (".pgm", lambda: b"P5 " + b"9" * 4_000 + b" 16 255\n" + bytes(999)),
    "PGM of plain text": (".pgm", lambda: b"P2 9000 9000 255\n" + b"1 " * 999),
    "GIF of 60000x60000 named png": (".png", _wide_gif),
    "PostScript named png": (".png", lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n(x) = quit\n"),
    "JPEG 2000 of 60000x60000": (
        ".jp2",
        lambda: _patched(".jp2", "JPEG2000", 48, struct.pack(">2I", 60_000, 60_000)),
    ),
    "TIFF of 60000x60000": (".tif", lambda: _tiff(60_000, 60_000)),
    "TIFF of 4 G strips": (".tif", lambda: _tiff(16, 16, strips=0xFFFFFFFF)),
}


def _tiff(width: int, height: int, strips: int = 1, onward: int = 0) -> bytes:
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    tags += [(273, 4, strips, 200), (277, 3, 1, 1), (278, 4, 1, height), (279, 4, strips, 256)]
    entries = b"".join(struct.pack("<2H2I", *tag) for tag in tags)
    return (b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + struct.pack("<I", onward)).ljust(456, b"\0")


def _video(kind: str, change: Callable[[bytes], bytes]) -> Callable[[pathlib.Path], pathlib.Path]:
    """A good video after a change of its bytes."""

    def write(folder: pathlib.Path) -> pathlib.Path:
        path = KINDS[kind].write(folder)
        path.write_bytes(change(path.read_bytes()))
        return path

    return write


def _after(tag: bytes, offset: int, data: bytes) -> Callable[[bytes], bytes]:
    """Puts data over what stands so many bytes after the end of a tag."""

    def change(whole: bytes) -> bytes:
        place = whole.index(tag) + len(tag) + offset
        return whole[:place] + data + whole[place + len(data) :]

    return change


def _y4m(side: int) -> bytes:
    return b"YUV4MPEG2 W%d H%d F25:1 Ip A1:1 C420jpeg\nFRAME\n" % (side, side) + bytes(5_000)


_VIDEOS: dict[str, tuple[str, Callable[[pathlib.Path], pathlib.Path | bytes], bool]] = {
    "AVI of 60000x60000": (
        ".avi",
        _video("avi-raw", _after(b"strf", 8, struct.pack("<2i", 60_000, 60_000))),
        False,
    ),
    "AVI of a negative width": (".avi", _video("avi-raw", _after(b"strf", 8, struct.pack("<i", -64))), False),
    "MP4 of 60000x60000": (".mp4", _video("mp4", _after(b"avc1", 24, struct.pack(">2H", 60_000, 60_000))), True),
    "QuickTime of 60000x60000": (
        ".mov",
        _video("mov-mjpeg", _after(b"jpeg", 24, struct.pack(">2H", 60_000, 60_000))),
        True,
    ),
    "MP4 of 4 G samples": (".mp4", _video("mp4", _after(b"stsz", 8, b"\xff\xff\xff\xff")), False),
    "MP4 of times without end": (".mp4", _video("mp4", _after(b"stts", 8, b"\x7f\xff\xff\xff")), True),
    "MP4 whose time has no unit": (".mp4", _video("mp4", _after(b"mdhd", 12, bytes(4))), True),
    "Matroska of a length that is no number": (
        ".mkv",
        _video("mkv", lambda data: data.replace(b"00:00:00.800", b"nan:inf:1e99")),
        True,
    ),
    "Matroska of text that is no UTF-8": (
        ".mkv",
        _video("mkv", lambda data: data.replace(b"DURATION", b"D\xff\xfeATION")),
        True,
    ),
    "GIF of 60000x60000": (".gif", lambda folder: _wide_gif() + b"\0\x08\x01\0\0;", False),
    "y4m of 60000x60000": (".y4m", lambda folder: _y4m(60_000), False),
    "y4m of 9500x9500": (".y4m", lambda folder: _y4m(9_500), False),
    "a list of other files": (
        ".mp4",
        lambda folder: b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:9,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n",
        False,
    ),
    "a list of files to join": (".mp4", lambda folder: _joined(folder), False),
}


def _joined(folder: pathlib.Path) -> bytes:
    (folder / "other").mkdir()
    KINDS["avi-mpeg4"].write(folder / "other")
    return b"ffconcat version 1.0\nfile other/clip.avi\n"


def _from_bytes(name: str, make: Callable[[], bytes]) -> Callable[[pathlib.Path], pathlib.Path]:
    def write(folder: pathlib.Path) -> pathlib.Path:
        (folder / name).write_bytes(make())
        return folder / name

    return write


def _picture(suffix: str, make: Callable[[], bytes]) -> Absurd:
    def write(folder: pathlib.Path) -> pathlib.Path:
        for number in range(3):
            Image.new("RGB", (16, 16)).save(folder / f"frame{number}.png")
        path = folder / f"frame3{suffix}"
        path.write_bytes(make())
        return path

    return Absurd(write, in_folder=True)


def _film(suffix: str, make: Callable[[pathlib.Path], pathlib.Path | bytes], may_be_read: bool) -> Absurd:
    def write(folder: pathlib.Path) -> pathlib.Path:
        made = make(folder)
        if isinstance(made, pathlib.Path):
            return made
        (folder / f"clip{suffix}").write_bytes(made)
        return folder / f"clip{suffix}"

    return Absurd(write, may_be_read=may_be_read)


def _sparse(folder: pathlib.Path) -> pathlib.Path:
    """An array that is as large as it claims, of holes."""
    path = folder / "clip.npy"
    head = array("(2, 60000, 60000)", body=b"")
    path.write_bytes(head)
    os.truncate(path, len(head) + 2 * 60_000 * 60_000)
    return path


ABSURD: dict[str, Absurd] = {
    **{f"npy of {name}": Absurd(_from_bytes("clip.npy", lambda data=data: data)) for name, data in _HEADERS.items()},
    "npy of 60000x60000": Absurd(_sparse),
    "npy that goes on": Absurd(_from_bytes("clip.npy", lambda: array() + b"x")),
    **{name: Absurd(_from_bytes("clip.npz", make)) for name, make in _ARCHIVES.items()},
    "npz of a path to outside": Absurd(
        _from_bytes("clip.npz", lambda: _archive([_good()._replace(name="../../frames.npy"), _good()])),
        may_be_read=True,
    ),
    **{name: _picture(*given) for name, given in _PICTURES.items()},
    "PNG with 20 MB of profile": _picture(".png", lambda: _png(16, 16, _unpacks(b"iCCP")))._replace(may_be_read=True),
    "TIFF that goes round": _picture(".tif", lambda: _tiff(16, 16, onward=8))._replace(may_be_read=True),
    **{name: _film(*given) for name, given in _VIDEOS.items()},
}
