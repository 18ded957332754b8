"""Folders of frames, read with Pillow.

A damaged file is refused. But of the formats only PNG has checksums: in others, wrong bits that still make some picture
cannot be seen.
"""

import contextlib
import os
import stat
import warnings
from collections.abc import Iterator, Sequence
from typing import IO

import numpy as np
from PIL import Image, ImageOps

from sfa_jax._errors import DamagedError, InputError, is_mistake
from sfa_jax.data._limits import MAX_FRAME_PIXELS, check_frame_pixels
from sfa_jax.data._png import check_png
from sfa_jax.data._source import (
    THUMBNAIL_SIZE,
    Estimate,
    Note,
    Options,
    Picture,
    frame_pixels,
    natural_key,
    thumbnail,
)

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jp2", ".bmp", ".webp", ".pgm", ".ppm", ".pbm", ".pnm", ".tif", ".tiff", ".tga"}
)
_EXIF_ORIENTATION = 0x0112
_ALPHA_MODES = ("LA", "La", "PA", "RGBA", "RGBa")
# Not all that Pillow knows: some of it starts other programs, and some has no mark of its own, so that noise is taken
# for it. TGA has none either, and is believed by its suffix only.
_FORMATS = ("PNG", "JPEG", "BMP", "PPM", "WEBP", "TIFF", "GIF", "JPEG2000")
# Only these hold several pictures that are frames of one animation or stack; an MPO from a telephone is one picture.
_STACKS = ("GIF", "PNG", "TIFF", "WEBP")


class FrameFolder:
    """The frames of one folder, in the order given."""

    def __init__(self, folder: str, names: Sequence[str]) -> None:
        self.name = folder
        self._paths = [os.path.join(folder, name) for name in names]

    def signature(self) -> list[list[object]]:
        try:
            stats = [os.stat(path) for path in self._paths]
        except OSError as error:
            raise InputError(
                f"{error.filename} cannot be read ({error.strerror}): remove it from the folder"
            ) from error
        for path, found in zip(self._paths, stats, strict=True):
            if not stat.S_ISREG(found.st_mode):  # from a pipe nothing may ever come
                raise InputError(f"{path} is a pipe or a device, not a picture: remove it from the folder")
        return [[path, found.st_size, found.st_mtime_ns] for path, found in zip(self._paths, stats, strict=True)]

    def estimate(self, options: Options) -> Estimate:
        n_frames = -(-len(self._paths) // options.stride)
        height, width = options.height, options.width
        if not height:
            height, width = self._first_size()
        return Estimate(n_frames, height * width * (1 if options.greyscale else 3), exact=True)

    def _first_size(self) -> tuple[int, int]:
        """Returns height and width of the first picture that can be read."""
        wrong: list[DamagedError] = []
        for path in self._paths:
            try:
                width, height = read_picture(path).size
            except DamagedError as error:
                wrong.append(error)
                continue
            return height, width
        raise wrong[0]

    def pictures(self, options: Options) -> Iterator[Picture | DamagedError | Note]:
        first_size: tuple[int, int] | None = None
        said_mixed = False
        smallest = max(options.height, THUMBNAIL_SIZE), max(options.width, THUMBNAIL_SIZE)
        for number, path in enumerate(self._paths):
            kept = number % options.stride == 0
            if not kept and not options.split_cuts:
                continue
            try:
                with pillow_warnings():
                    picture, size = decode_picture(path, path, smallest if options.height else None)
            except DamagedError as error:
                yield error
                continue
            first_size = first_size or size
            if size != first_size and not said_mixed:
                sizes = (
                    f"{path} is {size[0]}x{size[1]} pixels, the frames before it are {first_size[0]}x{first_size[1]}"
                )
                if not options.height:
                    raise InputError(f"{sizes}; without an image_size all frames must be alike: set image_size")
                yield Note(f"{sizes}; all are resized to {options.width}x{options.height}")
                said_mixed = True
            yield Picture(
                number,
                frame_pixels(picture, options) if kept else None,
                thumbnail(picture) if options.split_cuts else None,
                shown=size[::-1],
            )


def walk(folder: str) -> Iterator[tuple[str, list[str]]]:
    """Each folder with its files in natural order, hidden ones left out; links are followed, but each folder once."""
    seen: set[str] = set()
    for where, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(where)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted((name for name in folders if not name.startswith(".")), key=natural_key)
        yield where, sorted((name for name in names if not name.startswith(".")), key=natural_key)


def read_picture(path: str) -> Image.Image:
    """Reads one image file as 8-bit `RGB` (or `L` where it is grey), turned upright; alpha is laid over black."""
    with pillow_warnings():
        return decode_picture(path, path, None)[0]


@contextlib.contextmanager
def pillow_warnings() -> Iterator[None]:
    """What Pillow repairs by itself passes in silence, what is too big is an error. For one thread around others."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd EXIF and palettes
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def decode_picture(
    file: str | IO[bytes],
    name: str,
    smallest: tuple[int, int] | None,
    repair: str = "make the file again, or remove it from the folder",
) -> tuple[Image.Image, tuple[int, int]]:
    """Reads one image as 8-bit `RGB` or `L`, turned upright, within `pillow_warnings`.

    Args:
      file: a path or an open file.
      name: what messages call it.
      smallest: (height, width) that a JPEG may be shrunk towards, never below, or None.
      repair: what messages advise where it is damaged.

    Returns:
      The picture, and its (width, height) in the file.

    Raises:
      DamagedError: it is no image, a damaged one, one of too many pixels, or several.
    """
    try:
        formats = (*_FORMATS, "TGA") if name.lower().endswith(".tga") else _FORMATS
        with Image.open(file, formats=formats) as opened:
            check_frame_pixels(name, opened.height, opened.width)
            if opened.format == "PNG":
                check_png(file)
            n_pictures = getattr(opened, "n_frames", 1) if opened.format in _STACKS else 1
            if n_pictures > 1:
                raise DamagedError(
                    f"{name} holds {n_pictures} pictures, a frame file holds one",
                    "save each picture as its own file, or the stack as a video or a .npy array [time, height, width, "
                    "channel]",
                )
            turned = opened.getexif().get(_EXIF_ORIENTATION, 1) in (5, 6, 7, 8)
            size = opened.size[::-1] if turned else opened.size
            if smallest is not None:
                opened.draft(None, smallest if turned else smallest[::-1])
            opened.load()
            return ImageOps.exif_transpose(_eight_bits(opened, name)), size
    except InputError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise DamagedError(
            f"{name} has too many pixels for a frame ({error}), at most {MAX_FRAME_PIXELS} are read",
            "if it is not damaged, make it smaller first",
        ) from error
    except Exception as error:  # the plugins raise SyntaxError, struct.error, EOFError, MemoryError... on damaged files
        if is_mistake(error):
            raise
        raise DamagedError(f"{name} cannot be read as an image ({type(error).__name__}: {error})", repair) from error


def _eight_bits(picture: Image.Image, path: str) -> Image.Image:
    if picture.mode.startswith("I") or picture.mode == "F":
        return Image.fromarray(_scaled(np.asarray(picture), path))
    if picture.mode in ("L", "RGB"):
        return picture
    if picture.mode == "1":
        return picture.convert("L")
    if picture.mode in _ALPHA_MODES or "transparency" in picture.info:
        over = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", over.size, (0, 0, 0, 255)), over).convert("RGB")
    return picture.convert("RGB")


def _scaled(values: np.ndarray, path: str) -> np.ndarray:
    """16-bit integers [0, 65535] and floats [0, 1] as uint8."""
    top = 65535 if values.dtype.kind in "iu" else 1
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= top):  # also refuses NaN
        raise DamagedError(
            f"{path} has values from {low} to {high}, {values.dtype} pixels are expected in [0, {top}]",
            "scale them, or save the picture with 8 bits",
        )
    return np.rint(values * (255.0 / top)).astype(np.uint8)
