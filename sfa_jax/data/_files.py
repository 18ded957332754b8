"""Folders of frames and stacks of pictures in one file, read with Pillow."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np
from PIL import Image

from sfa_jax._errors import DamagedError, InputError
from sfa_jax.data._levels import ENOUGH, ValueRange, first_not_finite, told
from sfa_jax.data._pictures import OpenPicture, open_image, open_single, picture_errors, pillow_warnings
from sfa_jax.data._source import (
    THUMBNAIL_SIZE,
    Estimate,
    Note,
    Options,
    Picture,
    make_picture,
)
from sfa_jax.data._tiff import Page, Pages, find_pages


class _Pictures(Protocol):
    """Pictures that are frames of one sequence, opened one after the other."""

    name: str

    def __len__(self) -> int: ...

    def each(self) -> Iterator[AbstractContextManager[OpenPicture]]:
        """Gives what opens each picture; errors come when it is entered."""


class FrameFolder:
    """Frames that are files of one folder.

    Args:
      folder: their folder.
      names: of the files, in the order of time.
      doubts: what is not certain about the order, a clause each.
    """

    def __init__(self, folder: str, names: Sequence[str], doubts: Sequence[str] = ()) -> None:
        self.name = folder
        self._paths = [os.path.join(folder, name) for name in names]
        self._doubts = doubts

    def __len__(self) -> int:
        return len(self._paths)

    def each(self) -> Iterator[AbstractContextManager[OpenPicture]]:
        """Gives what opens each picture; errors come when it is entered."""
        return (open_single(path, path) for path in self._paths)

    def signature(self) -> list[list[object]]:
        return [_signature(path) for path in self._paths]

    def estimate(self, options: Options) -> Estimate:
        return _estimate(self, options)

    def white(self) -> float:
        """Finds the value of white of its integers of more than 8 bits; 0 if the first picture has none."""
        return _white(self)

    def pictures(self, options: Options) -> Iterator[Picture | DamagedError | Note]:
        yield from (Note(f"{self.name}: {doubt}") for doubt in self._doubts)
        yield from _decode(self, options)


class StackFile:
    """Frames that are the pictures of one TIFF file.

    Args:
      path: of the file.
      found: its pictures.
    """

    def __init__(self, path: str, found: Pages) -> None:
        self.name = path
        self._found = found

    def __len__(self) -> int:
        return len(self._found.pages)

    def each(self) -> Iterator[AbstractContextManager[OpenPicture]]:
        """Gives what opens each picture; errors come when it is entered, in the order given."""
        with contextlib.ExitStack() as stack:
            with pillow_warnings(), picture_errors(self.name):
                opened = stack.enter_context(open_image(self.name, self.name))
            for number, page in enumerate(self._found.pages):
                yield self._at(opened, number, page)

    def signature(self) -> list[list[object]]:
        return [_signature(self.name)]

    def estimate(self, options: Options) -> Estimate:
        return _estimate(self, options)

    def white(self) -> float:
        """Finds the value of white of its integers of more than 8 bits; 0 if the first picture has none."""
        return _white(self)

    def pictures(self, options: Options) -> Iterator[Picture | DamagedError | Note]:
        if self._found.note:
            yield Note(f"{self.name} {self._found.note}")
        yield from _decode(self, options)
        if self._found.n_missing:
            said = f"{self.name} ends after {len(self)} of {len(self) + self._found.n_missing} pictures"
            yield DamagedError(said, "copy it again", self._found.n_missing)

    @contextlib.contextmanager
    def _at(self, opened: Image.Image, number: int, page: Page) -> Iterator[OpenPicture]:
        name = f"{self.name} (picture {number})"
        with picture_errors(name):
            if page.shift:  # of one page Pillow reads one picture
                with open_image(self.name, self.name) as again:
                    yield OpenPicture(self.name, again, page, name)
            else:
                opened.seek(page.number)
                yield OpenPicture(self.name, opened, page, name)


def open_pages(path: str) -> Pages:
    """Finds the pictures of a TIFF file.

    Raises:
      DamagedError: it cannot be read, or which of its pictures are frames in time is not known.
    """
    with pillow_warnings(), picture_errors(path), open_image(path, path) as opened:
        return find_pages(opened, path) if opened.format == "TIFF" else Pages([Page(0)])


def _signature(path: str) -> list[object]:
    try:
        found = os.stat(path)
    except OSError:  # it is told when it is to be read
        return [os.path.abspath(path), None, None]
    return [os.path.abspath(path), found.st_size, found.st_mtime_ns]


def _estimate(pictures: _Pictures, options: Options) -> Estimate:
    n_frames = -(-len(pictures) // options.stride)
    height, width = options.height, options.width
    if not height:
        height, width = _first_size(pictures)
    return Estimate(n_frames, height * width * (1 if options.greyscale else 3), exact=True)


def _first_size(pictures: _Pictures) -> tuple[int, int]:
    """Returns height and width of the first picture that can be read."""
    wrong: list[DamagedError] = []
    for opening in pictures.each():
        try:
            with pillow_warnings(), opening as picture:
                width, height = picture.decode(None, None)[0].size
        except DamagedError as error:
            wrong.append(error)
            continue
        return height, width
    raise wrong[0]


def _decode(pictures: _Pictures, options: Options) -> Iterator[Picture | DamagedError | Note]:
    first_size: tuple[int, int] | None = None
    said_mixed = False
    whites: dict[str, float] = {}
    smallest = (max(options.height, THUMBNAIL_SIZE), max(options.width, THUMBNAIL_SIZE)) if options.height else None
    for number, opening in enumerate(pictures.each()):
        if number % options.stride and not options.split_cuts:
            continue
        note = Note("")
        try:
            with pillow_warnings(), opening as picture:
                kind = _kind(picture)
                if kind and kind not in whites:
                    seen = _range(pictures, kind)
                    whites[kind] = seen.white(pictures.name, options.white)
                    note = told(pictures.name, seen, whites[kind])
                decoded, size = picture.decode(smallest, whites.get(kind))
        except DamagedError as error:
            yield error
            continue
        if note != Note(""):
            yield note
        first_size = first_size or size
        if size != first_size and not said_mixed:
            sizes = (
                f"{picture.name} is {size[0]}x{size[1]} pixels, the frames before it are "
                f"{first_size[0]}x{first_size[1]}"
            )
            if not options.height:
                raise InputError(f"{sizes}; without an image_size all frames must be alike: set image_size")
            yield Note(f"{sizes}; all are resized to {options.width}x{options.height}")
            said_mixed = True
        yield make_picture(number, decoded, options, shown=size[::-1])


def _kind(picture: OpenPicture) -> str:
    """The kind of its values of more than 8 bits, integers or floating point; empty if white is known."""
    if picture.deep is None or picture.deep.white is not None:
        return ""
    return "f" if picture.deep.colors.dtype.kind == "f" else "i"


def _white(pictures: _Pictures) -> float:
    for opening in pictures.each():
        with contextlib.suppress(DamagedError), pillow_warnings(), opening as picture:
            return _range(pictures, "i").white(pictures.name) if _kind(picture) == "i" else 0
    return 0


def _range(pictures: _Pictures, kind: str) -> ValueRange:
    """The range of values of more than 8 bits in all pictures."""
    seen = ValueRange()
    for opening in pictures.each():
        with contextlib.suppress(DamagedError), pillow_warnings(), opening as picture:
            deep = picture.deep
            if deep is None or _kind(picture) != kind or first_not_finite(deep.colors[np.newaxis]) is not None:
                continue
            seen.update(deep.colors, picture.name)
            if deep.colors.dtype.kind == "u" and seen.high >= ENOUGH:
                break
    return seen
