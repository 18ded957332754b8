"""Videos whose headers claim what no file has.

To add one, write a function that writes it into a folder and gives its path, and put it into `ABSURD`.
"""

import pathlib
import struct
from collections.abc import Callable
from typing import NamedTuple

from damaged_files import KINDS


class Absurd(NamedTuple):
    """A file that must be refused.

    Attributes:
      write: writes it into a folder and gives its path.
      may_be_read: what is odd in it is not needed, or is said again rightly, so that it may also be read.
    """

    write: Callable[[pathlib.Path], pathlib.Path]
    may_be_read: bool = False


def _wide_gif() -> bytes:
    return b"GIF89a" + struct.pack("<2H", 60_000, 60_000) + b"\0\0\0,\0\0\0\0" + struct.pack("<2H", 60_000, 60_000)


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


def _film(suffix: str, make: Callable[[pathlib.Path], pathlib.Path | bytes], may_be_read: bool) -> Absurd:
    def write(folder: pathlib.Path) -> pathlib.Path:
        made = make(folder)
        if isinstance(made, pathlib.Path):
            return made
        (folder / f"clip{suffix}").write_bytes(made)
        return folder / f"clip{suffix}"

    return Absurd(write, may_be_read=may_be_read)


ABSURD: dict[str, Absurd] = {name: _film(*given) for name, given in _VIDEOS.items()}
