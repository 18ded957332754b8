"""Pictures of all formats by one rule: 8 bits, sRGB, upright, alpha over black.

Values of more than 8 bits are scaled by the white level of their source. Colors are converted where a profile in the
file says that they are not sRGB; transparency is multiplied with the color; the orientation that a camera wrote is
carried out. Of the formats only PNG has checksums, and Pillow compares some of them: in others, wrong bits that still
make some picture cannot be seen.
"""

import contextlib
import functools
import importlib.util
import io
import logging
import os
import stat
import warnings
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from sfa_jax._errors import DamagedError, InputError, is_mistake
from sfa_jax.data._deep import Deep, read_deep
from sfa_jax.data._levels import ValueRange, first_not_finite
from sfa_jax.data._limits import MAX_FRAME_PIXELS, check_frame_pixels
from sfa_jax.data._tiff import Page, find_pages

_log = logging.getLogger("sfa_jax")

REPAIR = "make the file again, or remove it from the folder"
# Not all that Pillow knows: some of it starts other programs, and some has no mark of its own, so that noise is taken
# for it. TGA has none either, and is believed by its suffix only.
_FORMATS = (
    *("PNG", "JPEG", "BMP", "DIB", "PPM", "WEBP", "TIFF", "GIF", "JPEG2000"),
    *["AVIF"] * (importlib.util.find_spec("PIL.AvifImagePlugin") is not None),  # since Pillow 11.3
)
# Only these hold several pictures that are frames of one animation; an MPO from a telephone is one picture.
_ANIMATED = ("GIF", "PNG", "WEBP", "AVIF")
_ORIENTATION = 0x0112
_ALPHA_MODES = ("LA", "La", "PA", "RGBA", "RGBa")
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class OpenPicture:
    """A picture of a file that Pillow has opened at it; its header alone has been read.

    Args:
      file: a path or an open file.
      opened: it, at the picture.
      page: where in the file it is.
      name: what messages call it.
    """

    def __init__(self, file: str | IO[bytes], opened: Image.Image, page: Page, name: str) -> None:
        check_frame_pixels(name, opened.height, opened.width)
        self.name = name
        self._file, self._opened, self._page = file, opened, page
        page.move(opened)

    @functools.cached_property
    def deep(self) -> Deep | None:
        """Its values if they have more than 8 bits."""
        return read_deep(self._opened, self._again, self.name)

    def decode(self, smallest: tuple[int, int] | None, white: float | None) -> tuple[Image.Image, tuple[int, int]]:
        """Reads it as `RGB`, or `L` where it is gray.

        Args:
          smallest: (height, width) that a JPEG may be shrunk towards, never below, or None.
          white: the value of white of more than 8 bits where the file does not say it; None for that of their type.

        Returns:
          The picture, and its (width, height) in the file.
        """
        opened, orientation = self._opened, 1
        size = opened.size
        is_jpeg = opened.format in ("JPEG", "MPO")
        if is_jpeg:  # others may have it at their end
            orientation = opened.getexif().get(_ORIENTATION, 1)
            if smallest is not None:
                opened.draft(None, smallest if orientation >= 5 else smallest[::-1])
        picture = opened
        if self.deep is not None:
            floats = self.deep.colors.dtype.kind == "f"
            picture = self.deep.eight_bits(white or (1 if floats else 65535), self.name)
        opened.load()
        if opened.format == "TIFF":  # Pillow turns these itself
            size = picture.size
        elif not is_jpeg:
            orientation = opened.getexif().get(_ORIENTATION, 1)
        picture = _as_srgb(_over_black(picture), opened.info.get("icc_profile"))
        if orientation in _TURNS:
            picture = picture.transpose(_TURNS[orientation])
        return picture, size[::-1] if orientation >= 5 else size

    @contextlib.contextmanager
    def _again(self) -> Iterator[Image.Image]:
        file = io.BytesIO(self._file.getvalue()) if isinstance(self._file, io.BytesIO) else self._file
        with open_image(file, self.name) as opened:
            opened.seek(self._page.number)
            self._page.move(opened)
            yield opened


@contextlib.contextmanager
def pillow_warnings() -> Iterator[None]:
    """Silences what Pillow repairs by itself, and raises where a picture is too big; for one thread around others."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd EXIF and palettes
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


@contextlib.contextmanager
def picture_errors(name: str, repair: str = REPAIR) -> Iterator[None]:
    """Turns whatever Pillow raises for a damaged picture into a `DamagedError`."""
    try:
        yield
    except InputError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise DamagedError(
            f"{name} has too many pixels for a frame ({error}), at most {MAX_FRAME_PIXELS} are read",
            "if it is not damaged, make it smaller first",
        ) from error
    except UnidentifiedImageError as error:
        said = f"{name} cannot be read as an image (it has no format and kind of values that Pillow knows)"
        raise DamagedError(said, repair) from error
    except Exception as error:  # the plugins raise SyntaxError, struct.error, EOFError, MemoryError... on damaged files
        if is_mistake(error):
            raise
        reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        raise DamagedError(f"{name} cannot be read as an image ({reason})", repair) from error


@contextlib.contextmanager
def open_image(file: str | IO[bytes], name: str) -> Iterator[Image.Image]:
    """Opens a picture with Pillow, within `pillow_warnings` and `picture_errors`."""
    if isinstance(file, str) and not stat.S_ISREG(os.stat(file).st_mode):  # from a pipe nothing may ever come
        raise DamagedError(f"{name} is a pipe or a device, not a picture", "remove it from the folder")
    formats = (*_FORMATS, "TGA") if name.lower().endswith(".tga") else _FORMATS
    # Not by its path: Pillow would map the pixels of some TIFF files, those to be turned in the wrong shape.
    with (
        open(file, "rb") if isinstance(file, str) else contextlib.nullcontext(file) as data,
        Image.open(data, formats=formats) as opened,
    ):
        yield opened


@contextlib.contextmanager
def open_single(file: str | IO[bytes], name: str, repair: str = REPAIR) -> Iterator[OpenPicture]:
    """Opens a file that holds one picture, within `pillow_warnings`.

    Args:
      file: a path or an open file.
      name: what messages call it.
      repair: what messages advise where it is damaged.

    Raises:
      DamagedError: it is no image, a damaged one, one of too many pixels, or several.
    """
    with picture_errors(name, repair), open_image(file, name) as opened:
        pages = [Page(0)]
        if opened.format == "TIFF":
            pages = find_pages(opened, name).pages
            opened.seek(pages[0].number)
        n_pictures = getattr(opened, "n_frames", 1) if opened.format in _ANIMATED else len(pages)
        if n_pictures > 1 or (opened.format == "PPM" and _goes_on(opened)):
            raise DamagedError(
                f"{name} holds {n_pictures if n_pictures > 1 else 'more'} pictures among files that hold one",
                "give it alone, with the suffix of its format, or save each picture as its own file",
            )
        yield OpenPicture(file, opened, pages[0], name)


def decode_picture(
    file: str | IO[bytes],
    name: str,
    smallest: tuple[int, int] | None,
    repair: str = REPAIR,
    seen: ValueRange | None = None,
) -> tuple[Image.Image, tuple[int, int]]:
    """Reads one image as 8-bit `RGB` or `L`, within `pillow_warnings`; white is that of its type.

    Args:
      file: a path or an open file.
      name: what messages call it.
      smallest: (height, width) that a JPEG may be shrunk towards, never below, or None.
      repair: what messages advise where it is damaged.
      seen: the range that its values of more than 8 bits are added to.

    Returns:
      The picture, and its (width, height) in the file.

    Raises:
      DamagedError: it is no image, a damaged one, one of too many pixels, or several.
      InputError: its values are neither integers in [0, 65535] nor floating point in [0, 1].
    """
    with open_single(file, name, repair) as picture:
        white = None
        deep = picture.deep
        if deep is not None and deep.white is None and first_not_finite(deep.colors[np.newaxis]) is None:
            own = ValueRange()
            own.update(deep.colors, name)
            white = own.white(name) if own.dtype.kind == "f" or own.low < 0 else None
            if seen is not None:
                seen.update(deep.colors, name)
        return picture.decode(smallest, white)


def read_picture(path: str) -> Image.Image:
    """Reads one image file as 8-bit `RGB`, or `L` where it is gray."""
    with pillow_warnings():
        return decode_picture(path, path, None)[0]


def _goes_on(opened: Any) -> bool:
    """Tells whether another picture begins behind that of a binary PBM, PGM or PPM file."""
    codec, _, offset, args = opened.tile[0]
    if codec not in ("raw", "ppm"):
        return False
    bits = {"1": 1, "L": 8, "RGB": 24, "I": 16, "F": 32}.get(opened.mode, 0)
    bits *= 2 if codec == "ppm" and opened.mode == "RGB" and args[1] > 255 else 1
    opened.fp.seek(offset + opened.height * -(-opened.width * bits // 8))
    return opened.fp.read(64).lstrip()[:2] in (b"P1", b"P2", b"P3", b"P4", b"P5", b"P6")


def _over_black(picture: Image.Image) -> Image.Image:
    """The picture as `L`, `RGB`, `CMYK` or `LAB`."""
    if picture.mode == "1" and picture.info.get("transparency"):  # its white is clear
        return Image.new("L", picture.size)
    if picture.mode in _ALPHA_MODES or "transparency" in picture.info:
        over = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", over.size, (0, 0, 0, 255)), over).convert("RGB")
    if picture.mode == "1":
        return picture.convert("L")
    return picture if picture.mode in ("L", "RGB", "CMYK", "LAB") else picture.convert("RGB")


def _as_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    if profile or picture.mode == "LAB":
        transform = _transform(profile or b"", picture.mode)
        if transform is not None:
            colors = transform.apply(picture)
            return colors.convert("L") if picture.mode == "L" else colors
    return picture if picture.mode in ("L", "RGB") else picture.convert("RGB")


@functools.lru_cache(16)
def _transform(profile: bytes, mode: str) -> Any:
    """What brings the colors of a profile to sRGB by `apply`; None where they are that, or it cannot be used."""
    try:
        from PIL import ImageCms

        theirs = ImageCms.ImageCmsProfile(io.BytesIO(profile) if profile else ImageCms.createProfile("LAB"))
        if "srgb" in ImageCms.getProfileDescription(theirs).lower() and mode == "RGB":
            return None
        return ImageCms.buildTransform(theirs, ImageCms.createProfile("sRGB"), mode, "RGB")
    except Exception as error:  # PyCMSError, OSError and ImportError where Pillow was built without it
        _log.warning("a color profile of pictures cannot be used (%s); their colors are taken as sRGB", error)
        return None
