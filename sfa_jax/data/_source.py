"""What a file source gives to the cache: pictures, one at a time, and what they will cost."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from PIL import Image

from sfa_jax._errors import DamagedError

THUMBNAIL_SIZE = 32
"""Side of the square thumbnails that cuts are looked for in."""


_THUMBNAIL_FROM = 256  # pixels a side, at most, of a resized frame that its thumbnail is made of

REDUCING_GAP = 2.0
"""A picture that shrinks by more than twice this is first averaged over whole pixels, which is fast, down to it."""


class Options(NamedTuple):
    """How pictures are made; part of a cache entry's key.

    Attributes:
      height: rows of a frame, or 0 for the source's own size.
      width: columns of a frame, or 0 for the source's own size.
      stride: frames whose number is a multiple of it are kept.
      greyscale: one channel (ITU-R 601 luma).
      split_cuts: look for hard cuts.
      white: the least value of white of integers of more than 8 bits; 0 for what each source has by itself.
    """

    height: int
    width: int
    stride: int
    greyscale: bool
    split_cuts: bool
    white: float = 0


class Picture(NamedTuple):
    """One frame of a source.

    Attributes:
      number: its place in the file or folder, from 0.
      image: uint8 `[height, width, channel]`, or None where the stride skips it.
      thumbnail: uint8 `[THUMBNAIL_SIZE, THUMBNAIL_SIZE, 3]`, or None when no cuts are looked for.
      truth: what is known of the frame, name -> value, the same names for all frames of a source; or None.
      begins: whether a run begins with it, as the source says; where frames are left out before it, one does anyway.
      time: seconds from the start of the file, or None where the file has no times.
      shown: (height, width) at which a player shows it, in pixels of the file; None where nobody does.
    """

    number: int
    image: np.ndarray | None
    thumbnail: np.ndarray | None
    truth: Mapping[str, float] | None = None
    begins: bool = False
    time: float | None = None
    shown: tuple[int, int] | None = None


class Note(NamedTuple):
    """Something that a user should know of a source.

    Attributes:
      text: a full sentence that names the source, logged as a warning whenever the frames are used, also from the
        cache; or nothing.
      white: the value of white of the source's integers of more than 8 bits, or 0.
    """

    text: str
    white: float = 0


class Estimate(NamedTuple):
    """The size of a source before it is read: `n_frames` after the stride, and bytes a frame."""

    n_frames: int
    frame_bytes: int
    exact: bool

    @property
    def n_bytes(self) -> int:
        return self.n_frames * self.frame_bytes


class Source(Protocol):
    """A file or a folder whose frames are cached once as uint8."""

    @property
    def name(self) -> str:
        """What messages call it."""

    def signature(self) -> list[list[object]]:
        """`[path, size, mtime]` of each file read, so that a changed file is another cache entry."""

    def estimate(self, options: Options) -> Estimate:
        """What it will cost, without decoding it."""

    def pictures(self, options: Options) -> Iterator[Picture | DamagedError | Note]:
        """Its frames in order, read one at a time.

        In the place of a frame that cannot be read comes the error that says why: it is not raised, as who asks for the
        frames decides (`on_corrupt`). What is raised ends the reading with either choice. Notes may come anywhere.
        """


def natural_key(name: str) -> tuple[list[tuple[int, int | str]], str]:
    """The sorting key that puts `frame2` before `frame10`."""
    parts = re.split(r"([0-9]+)", name)
    return [(0, int(part)) if index % 2 else (1, part.casefold()) for index, part in enumerate(parts)], name


def luma(rgb: np.ndarray) -> np.ndarray:
    """ITU-R 601 luma of uint8 `[..., 3]`, as uint8 `[..., 1]`; the fixed-point weights are those of Pillow's `L`."""
    weighted = rgb @ np.array([19595, 38470, 7471], dtype=np.uint32)
    return ((weighted + 0x8000) >> 16).astype(np.uint8)[..., np.newaxis]


def resize_picture(picture: Image.Image, height: int, width: int) -> Image.Image:
    """Resizes an 8-bit picture: area average when it shrinks, bilinear when a side grows."""
    if picture.size == (width, height):
        return picture
    shrinks = width <= picture.width and height <= picture.height
    return picture.resize((width, height), Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR)


def crop_picture(picture: Image.Image, box: Sequence[float] | np.ndarray, height: int, width: int) -> Image.Image:
    """Resizes a part of an 8-bit picture, without aliasing; fractions of its pixels count.

    Args:
      picture: the whole.
      box: left, top, width and height of the part, in pixels of the picture.
      height, width: of the result, in pixels.
    """
    left, top, across, down = map(float, box)
    # Rounding may carry the ends past the picture's, which Pillow refuses.
    part = max(0.0, left), max(0.0, top), min(left + across, picture.width), min(top + down, picture.height)
    return picture.resize((width, height), Image.Resampling.BICUBIC, part, REDUCING_GAP)


def thumbnail(picture: Image.Image) -> np.ndarray:
    """The small RGB picture in which cuts are looked for."""
    small = resize_picture(picture, THUMBNAIL_SIZE, THUMBNAIL_SIZE)
    return np.asarray(small.convert("RGB"))


def make_picture(
    number: int, picture: Image.Image, options: Options, *, time: float | None = None, shown: tuple[int, int]
) -> Picture:
    """Makes what the options ask for of an upright 8-bit picture, `RGB`, `RGBX` or `L`; see `Picture` for the rest."""
    kept, small = number % options.stride == 0, picture
    if options.height and kept:
        picture = resize_picture(picture, options.height, options.width)
        if min(picture.size) >= THUMBNAIL_SIZE and max(picture.size) <= _THUMBNAIL_FROM:
            small = picture  # which shrinks faster than the whole
    return Picture(
        number,
        frame_pixels(picture, options) if kept else None,
        thumbnail(small) if options.split_cuts else None,
        time=time,
        shown=shown,
    )


def frame_pixels(picture: Image.Image, options: Options) -> np.ndarray:
    """Gives an upright 8-bit picture, `RGB`, `RGBX` or `L`, in the size and color that the options ask for."""
    # Channels are converted after the resize, when there is less to convert.
    if options.height:
        picture = resize_picture(picture, options.height, options.width)
    if picture.mode == "L" and options.greyscale:
        return np.asarray(picture)[..., np.newaxis]
    frame = np.asarray(picture.convert("RGB"))
    return luma(frame) if options.greyscale else frame
