"""Pictures of more than 8 bits, of which Pillow gives gray alone in full.

Of 16-bit colors it keeps the upper bytes. The lower ones come from a second reading as if the order of bytes were the
other one.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from sfa_jax._errors import DamagedError
from sfa_jax.data._levels import as_bytes, first_not_finite
from sfa_jax.data._tiff import numbers_of

_BITS, _PHOTOMETRIC, _PLANES, _SAMPLE_FORMAT = 258, 262, 284, 339
_APART, _SIGNED = 2, 2
_COLORS = {"RGB;16": 3, "RGBX;16": 3, "RGBA;16": 4, "RGBa;16": 4, "LA;16": 2}
_NATIVE = {"I;16BS": "I;16S", "I;32BS": "I;32S", "F;32BF": "F;32F"} if np.little_endian else {}
_OTHER_ORDER = {"B": "L", "L": "B", "N": "B" if np.little_endian else "L"}


class Deep(NamedTuple):
    """Values of more than 8 bits.

    Attributes:
      colors: `[height, width]` or `[height, width, 3]`, integers or floating point.
      alpha: `[height, width, 1]`, 0 where the picture is clear; None where it is opaque.
      white: the value of white where the file says it, as PGM and TIFF of 12 bits do.
      inverted: whether 0 is white.
    """

    colors: np.ndarray
    alpha: np.ndarray | None
    white: int | None
    inverted: bool

    def eight_bits(self, white: float, name: str) -> Image.Image:
        """Scales it to 8 bits over black, by its own white or that of its source.

        Raises:
          DamagedError: it has NaN or infinite values.
        """
        if first_not_finite(self.colors[np.newaxis]) is not None:
            raise DamagedError(f"{name} has NaN or infinite values", "repair it, or remove it from the folder")
        white = self.white or white
        frame = as_bytes(self.colors, white)
        frame = 255 - frame if self.inverted else frame
        if self.alpha is not None:
            top = 65535 if self.alpha.max() > white else white
            share = self.alpha if frame.ndim == 3 else self.alpha[..., 0]
            frame = np.rint(frame * (share / np.float32(top))).astype(np.uint8)
        return Image.fromarray(frame)


def read_deep(opened: Image.Image, again: Callable[[], AbstractContextManager[Image.Image]], name: str) -> Deep | None:
    """Reads a picture of more than 8 bits; None of others, which are not loaded.

    Args:
      opened: by Pillow, not yet loaded.
      again: opens the same picture once more.
      name: what messages call it.

    Raises:
      DamagedError: Pillow would read other values than the file has.
    """
    tags, info = getattr(opened, "tag_v2", {}), opened.info
    if not opened.tile:  # type: ignore[attr-defined]
        return None
    codec, _, offset, args = opened.tile[0]  # type: ignore[attr-defined]
    args = args if isinstance(args, tuple) else (args,)
    _check(tags, name)
    white, premultiplied = None, False
    if codec in ("ppm", "ppm_plain") and args[1] > 255:
        white = args[1] if args[1] < 65535 else None
        values = _netpbm(opened, offset, args[0] == "RGB", plain=codec == "ppm_plain")
    elif opened.mode == "F" or opened.mode.startswith("I"):
        white = 4095 if numbers_of(tags, _BITS) == (12,) else None
        if codec == "libtiff" and args[0] in _NATIVE:  # it has brought the bytes to this machine's order
            _set_raw_mode(opened, _NATIVE[args[0]])
        values = np.asarray(opened)
        values = values if opened.format == "TIFF" or opened.mode == "F" else values.astype(np.uint16)
    elif isinstance(args[0], str) and args[0][:-1] in _COLORS:
        premultiplied = args[0].startswith("RGBa")  # which Pillow would undo
        values = _colors(opened, again, args[0].replace("RGBa", "RGBA"))
    else:
        return None
    if values.dtype.kind == "u":
        values = values.astype(values.dtype.newbyteorder("="))
    alpha = None
    if values.ndim == 3 and values.shape[2] in (2, 4):
        alpha = None if premultiplied else values[..., -1:]
        values = values[..., 0] if values.shape[2] == 2 else values[..., :3]
    clear = info.get("transparency")
    if isinstance(clear, int | tuple):
        seen = (np.atleast_3d(values) != np.asarray(clear)).any(axis=-1, keepdims=True)
        alpha = seen * np.uint16(65535)
    return Deep(values, alpha, white, tags.get(_PHOTOMETRIC) == 0)


def _check(tags: Any, name: str) -> None:
    bits = numbers_of(tags, _BITS) or (8,)
    if len(bits) > 1 and max(bits) > 8 and tags.get(_PLANES) == _APART:
        said = f"{name} has the planes of its 16-bit colors apart"
        raise DamagedError(said, "save it with the colors of a pixel together (planar configuration 1)")
    if max(bits) == 8 and _SIGNED in numbers_of(tags, _SAMPLE_FORMAT):
        raise DamagedError(f"{name} has signed values of 8 bits", "save it with values from 0 to 255")


def _netpbm(opened: Image.Image, offset: int, colors: bool, plain: bool) -> np.ndarray:
    """A PGM or PPM of 16 bits, which Pillow scales, colors to 8 bits."""
    width, height = opened.size
    shape = (height, width, 3) if colors else (height, width)
    file = opened.fp  # type: ignore[attr-defined]
    file.seek(offset)
    if plain:
        return np.array(file.read().split()[: int(np.prod(shape))], np.uint16).reshape(shape)
    return np.frombuffer(file.read(2 * int(np.prod(shape))), ">u2").reshape(shape)


def _colors(opened: Image.Image, again: Callable[[], AbstractContextManager[Image.Image]], raw_mode: str) -> np.ndarray:
    """16-bit colors, or gray and alpha."""
    if raw_mode[:-1] == "LA;16":  # the four bytes of both values, as if they were four channels of 8 bits
        _set_raw_mode(opened, "RGBA")
        pairs = np.asarray(opened).astype(np.uint16)
        return pairs[..., ::2] << 8 | pairs[..., 1::2]
    _set_raw_mode(opened, raw_mode)
    upper = np.asarray(opened).astype(np.uint16)
    with again() as other:
        _set_raw_mode(other, raw_mode[:-1] + _OTHER_ORDER[raw_mode[-1]])
        return upper << 8 | np.asarray(other)


def _set_raw_mode(opened: Image.Image, raw_mode: str) -> None:
    tiles = []
    for tile in opened.tile:  # type: ignore[attr-defined]
        args = (raw_mode, *tile.args[1:]) if isinstance(tile.args, tuple) else raw_mode
        tiles.append(tile._replace(args=args))
    opened.tile = tiles  # type: ignore[attr-defined]
