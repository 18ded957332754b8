"""Pages of TIFF files: stacks of several pages, and those of which one page heads many pictures."""

import json
import math
import os
import re
from typing import Any, NamedTuple

from PIL import Image

from sfa_jax._errors import DamagedError

_SUBFILE, _BITS, _DESCRIPTION, _SAMPLES, _SUB_FILES, _LAYERS = 254, 258, 270, 277, 330, 37724
_MOST_CHANNELS = 7  # of ImageJ
_COPY = 1 | 4  # a smaller copy of another page, or its mask
_SAVE = "save the frames that shall be read as a stack [time, height, width] of their own"


class Page(NamedTuple):
    """A picture in a file.

    Attributes:
      number: of the page whose header describes it.
      shift: bytes that its pixels lie behind the place that the header says.
    """

    number: int
    shift: int = 0

    def move(self, opened: Any) -> None:
        """Lets Pillow read the pixels from where they are."""
        if self.shift:
            opened.tile = [tile._replace(offset=tile.offset + self.shift) for tile in opened.tile]


class Pages(NamedTuple):
    """The pictures of a file.

    Attributes:
      pages: in order; smaller copies of others are none.
      n_missing: how many more its description speaks of than the file has.
      note: what is odd about it, a clause; mostly empty.
    """

    pages: list[Page]
    n_missing: int = 0
    note: str = ""


def number_of(tags: Any, tag: int, default: int) -> int:
    """Reads a tag of one whole number; the default where it is missing, or damaged and something else."""
    value = tags.get(tag, default)
    return value if isinstance(value, int) else default


def numbers_of(tags: Any, tag: int) -> tuple[int, ...]:
    """Reads a tag of whole numbers; none where it is missing, or damaged and something else."""
    values = tags.get(tag, ())
    return values if isinstance(values, tuple) and all(isinstance(value, int) for value in values) else ()


class _Described(NamedTuple):
    """What a description says: how many pictures there are along each axis that has more than one."""

    counts: dict[str, int]
    in_one_page: bool = False  # only the first has a header, the others lie behind it


def find_pages(opened: Any, name: str) -> Pages:
    """Finds the pictures of a TIFF file that Pillow has opened.

    Raises:
      DamagedError: which of its pictures are frames in time is not known, or they cannot be found in the file.
    """
    said = _read_description(opened.tag_v2)
    n_pages = opened.n_frames if opened.is_animated else 1
    along = [axis for axis, count in said.counts.items() if count == n_pages]  # of a set in several files
    n_pictures = math.prod(said.counts.values())
    if n_pages == 1 and not said.in_one_page:
        return _single(opened)
    note = ""
    if [*said.counts] == ["channels"] and n_pictures > _MOST_CHANNELS:  # as tifffile writes frames for ImageJ
        said, along = said._replace(counts={"frames": n_pictures}), []
        note = f"says that its {n_pictures} pictures are channels, and they are read as frames"
    if (len(said.counts) > 1 and len(along) != 1) or along == ["channels"] or [*said.counts] == ["channels"]:
        listed = " x ".join(f"{count} {axis}" for axis, count in said.counts.items())
        raise DamagedError(f"{name} holds {listed}, and which are frames in time is not known", _SAVE, None)
    if n_pages > 1:
        return Pages(_full_pages(opened, n_pages), 0, note)
    size, spare = _room(opened)
    if not size:
        raise DamagedError(f"{name} packs {n_pictures} pictures into one page", _SAVE, n_pictures)
    whole = min(n_pictures, 1 + spare // size)
    return Pages([Page(0, number * size) for number in range(whole)], n_pictures - whole, note)


def _single(opened: Any) -> Pages:
    size, spare = _room(opened)
    if size and spare >= size and not {_SUB_FILES, _LAYERS} & set(opened.tag_v2):
        return Pages([Page(0)], 0, f"is read as one picture, and has room for {spare // size} more behind it")
    return Pages([Page(0)])


def _full_pages(opened: Any, n_pages: int) -> list[Page]:
    pages = []
    for number in range(n_pages):
        opened.seek(number)
        if not number_of(opened.tag_v2, _SUBFILE, 0) & _COPY:
            pages.append(Page(number))
    opened.seek(0)
    return pages or [Page(0)]


def _room(opened: Image.Image) -> tuple[int, int]:
    """Bytes of the picture, 0 where it is packed, and bytes behind it."""
    tiles, tags = opened.tile, opened.tag_v2  # type: ignore[attr-defined]
    if not tiles or any(tile.codec_name != "raw" for tile in tiles):
        return 0, 0
    bits = numbers_of(tags, _BITS) or (1,)
    samples = sum(bits) if len(bits) > 1 else bits[0] * number_of(tags, _SAMPLES, 1)
    size = opened.height * math.ceil(opened.width * samples / 8)
    file = opened.fp  # type: ignore[attr-defined]
    return size, file.seek(0, os.SEEK_END) - min(tile.offset for tile in tiles) - size


def _read_description(tags: Any) -> _Described:
    """Reads what ImageJ, OME and tifffile write."""
    text = tags.get(_DESCRIPTION, "")
    if not isinstance(text, str):
        return _Described({})
    if text.startswith("ImageJ="):
        found = dict(re.findall(r"^(images|channels|slices|frames)=([0-9]{1,9})\s*$", text, re.MULTILINE))
        counts = {axis: int(found[axis]) for axis in ("channels", "slices", "frames") if int(found.get(axis, 1)) > 1}
        n_pictures = int(found.get("images", 1))
        if math.prod(counts.values()) != n_pictures:
            counts = counts if len(counts) > 1 else {"frames": n_pictures}
        return _Described(counts, n_pictures > 1)
    pixels = re.search(r"<(?:\w+:)?Pixels\s[^>]*>", text)
    if pixels:
        sizes = {axis: re.search(rf'\bSize{axis}="([0-9]{{1,9}})"', pixels[0]) for axis in "CZT"}
        n_channels, n_slices, n_frames = (int(size[1]) if size else 1 for size in sizes.values())
        n_channels //= max(1, number_of(tags, _SAMPLES, 1))
        counts = {"channels": n_channels, "slices": n_slices, "frames": n_frames}
        counts["series"] = len(re.findall(r"<(?:\w+:)?Pixels\s", text))
        return _Described({axis: count for axis, count in counts.items() if count > 1})
    return _read_shape(text)


def _read_shape(text: str) -> _Described:
    try:
        said = json.loads(text)
        shape = [int(side) for side in said["shape"]]
    except (ValueError, TypeError, KeyError, RecursionError):
        return _Described({})
    colors = 1 if len(shape) > 2 and shape[-1] in (3, 4) else 0
    counts = {f"along axis {axis}": side for axis, side in enumerate(shape[: -2 - colors]) if side > 1}
    return _Described(counts, bool(said.get("truncated")) and bool(counts))
