"""Records of a data set of TFDS: read at any place and parsed without TensorFlow, damaged ones named."""

import contextlib
import importlib
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from sfa_jax._errors import DamagedError, InputError, is_mistake
from sfa_jax.data._arrays import sized, tensor_bytes
from sfa_jax.data._levels import ValueRange
from sfa_jax.data._pictures import decode_picture
from sfa_jax.data._source import REDUCING_GAP, Options, crop_picture, luma, resize_picture
from sfa_jax.data._tfds_features import Layout, Leaf, frame_shape, is_image

_PARSER = "tensorflow_datasets.core.example_parser"
REPAIR = "copy or write the set again"


class Records:
    """The records of one split, and what is in them; can be sent to another process.

    Args:
      name: what messages call the split.
      source: of serialized examples, by their numbers.
      layout: which feature holds what.
      files: the name of each file, and how many of its records are read.
    """

    def __init__(self, name: str, source: Any, layout: Layout, files: Sequence[tuple[str, int]]) -> None:
        self.name, self.layout, self._source = name, layout, source
        self.deep = ValueRange()  # of images of more than 8 bits that were decoded
        self._files = [name for name, _ in files]
        self._ends = np.cumsum([count for _, count in files])
        self._parsers: dict[tuple[str, ...], Any] = {}

    def __len__(self) -> int:
        return len(self._source)

    def read(self, numbers: Sequence[int] | np.ndarray) -> list[bytes]:
        """Reads the records of some numbers, not parsed.

        Raises:
          DamagedError: one cannot be read; it is named.
        """
        found = list[bytes]()
        for _, record in self.readable(numbers):
            if isinstance(record, DamagedError):
                raise record
            found.append(record)
        return found

    def readable(self, numbers: Sequence[int] | np.ndarray) -> list[tuple[int, bytes | DamagedError]]:
        """Reads records as `read`, each with its number; in the place of one that cannot be read is its error."""
        wanted = [int(number) for number in numbers]
        try:
            found = [self._source[wanted[0]]] if len(wanted) == 1 else list(self._source.__getitems__(wanted))
            return list(zip(wanted, found, strict=True))
        except MemoryError:
            raise
        except Exception as error:
            if is_mistake(error):
                raise
            if len(wanted) == 1:  # array_record knows RuntimeError alone, TFDS a dozen kinds
                said = f"{self.where(wanted[0])} cannot be read ({sentence(error)})"
                return [(wanted[0], DamagedError(said, REPAIR))]
        return [one for number in wanted for one in self.readable([number])]

    def where(self, number: int) -> str:
        """What messages call a record: its number in the split, and the file that holds it."""
        place = int(np.searchsorted(self._ends, number, side="right"))
        file = f" (in {os.path.basename(self._files[place])})" if place < len(self._files) else ""
        return f"{self.name}, record {number}{file}"

    def parse(self, number: int, record: bytes, names: Sequence[str] | None = None) -> dict[str, Any]:
        """The features of a record as it holds them: images as the bytes of files.

        Args:
          number: of the record, for messages.
          record: from `read`.
          names: of the features that are wanted; all of the layout by default.

        Raises:
          DamagedError: the record is damaged or lacks a feature.
        """
        leaves = self.layout.leaves()
        wanted = tuple(leaves) if names is None else tuple(names)
        with self._reading(number):
            if wanted not in self._parsers:
                specs = {name: leaves[name].spec for name in wanted}
                self._parsers[wanted] = importlib.import_module(_PARSER).ExampleParserNp(specs)
            values = dict(self._parsers[wanted].parse_example(record))
            missing = [name for name in wanted if name not in values]
            if missing:
                raise KeyError(f"it has no {missing[0]}")
        return values

    def frames(self, number: int, values: Mapping[str, Any]) -> Sequence[Any]:
        """The frames of a parsed record: bytes of image files, or arrays."""
        leaf = self.layout.frames
        with self._reading(number, leaf):
            value = values[leaf.name]
            if not leaf.stacked:
                value = _decoded(leaf, value)
                return value if self.layout.clip else [value]
            return [_decoded(leaf, each) for each in value]

    def truth(self, number: int, values: Mapping[str, Any], n_frames: int) -> dict[str, np.ndarray]:
        """What is known of each frame of a parsed record: name -> float32 `[n_frames]`.

        Raises:
          DamagedError: a feature has not one value for each frame, or it cannot be decoded.
        """
        known = {}
        for name, (leaf, place) in self.layout.truth.items():
            with self._reading(number, leaf):
                value = values[leaf.name]
                value = [_decoded(leaf, x) for x in value] if leaf.stacked else _decoded(leaf, value)
                value = np.asarray(value)
                if value.dtype.kind not in "biuf":
                    raise ValueError(f"it has {value.dtype.name} in place of numbers")
                value = value if place is None else value[..., place]
                if name in self.layout.per_frame and value.shape != (n_frames,):
                    raise ValueError(f"it has shape {value.shape}; one value for each of {n_frames} frames is expected")
            if not np.isfinite(value).all():
                raise InputError(
                    f"{self.where(number)} [{leaf.name}] has NaN or infinite values; leave it out by data.tfds.truth, "
                    "which names what shall be read or says none"
                )
            known[name] = np.broadcast_to(value.astype(np.float32), n_frames)
        return known

    def picture(self, number: int, value: Any, options: Options) -> np.ndarray:
        """A frame, uint8 `[height, width, channel]`, of the size that the options ask for.

        A single image is cut to the largest centred part of that shape before it is resized, a frame of video is not.

        Args:
          number: of the record, for messages.
          value: one of `frames`.
          options: size and colour.

        Raises:
          InputError: it cannot be decoded.
        """
        name, leaf = self.where(number), self.layout.frames
        if not isinstance(value, bytes) and not _is_single(self.layout):
            return sized(tensor_bytes(_with_channel(value), name), options)
        height, width = options.height, options.width
        if isinstance(value, bytes):
            # A JPEG is decoded at a fraction of its size where that is still twice what is needed.
            smallest = (round(REDUCING_GAP * height), round(REDUCING_GAP * width)) if height else None
            picture, size = decode_picture(io.BytesIO(value), name, smallest, REPAIR, self.deep)
            expected = frame_shape(leaf)[1::-1]  # EXIF may have turned it
            if not any(
                all(told in (None, side) for told, side in zip(expected, sides, strict=True))
                for sides in (size, size[::-1])
            ):
                raise DamagedError(f"{name} is an image of {size[0]}x{size[1]}, its feature is {leaf}", REPAIR)
        else:
            frame = tensor_bytes(_with_channel(value), name)
            picture = Image.fromarray(frame if frame.shape[2] == 3 else frame[..., 0])
        channels = frame_shape(leaf)[2]
        picture = picture.convert("L" if channels == 1 else "RGB")
        if not height:
            width, height = picture.size
        picture = (_centre if _is_single(self.layout) else resize_picture)(picture, height, width)
        frame = np.asarray(picture).reshape(height, width, channels)
        return luma(frame) if options.greyscale and channels == 3 else frame

    @contextlib.contextmanager
    def _reading(self, number: int, leaf: Leaf | None = None) -> Iterator[None]:
        try:
            yield
        except (InputError, MemoryError):
            raise
        except Exception as error:  # array_record knows RuntimeError alone, TFDS a dozen kinds
            if is_mistake(error):
                raise
            part = f" [{leaf.name}]" if leaf else ""
            raise DamagedError(f"{self.where(number)}{part} cannot be read ({sentence(error)})", REPAIR) from error


def sentence(error: Exception) -> str:
    """The first sentence of a message, which may have a page."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0].rstrip(".")


def _is_single(layout: Layout) -> bool:
    return not layout.clip and layout.run is None


def _with_channel(value: Any) -> np.ndarray:
    value = np.asarray(value)
    return value if value.ndim == 3 else value[..., np.newaxis]


def _decoded(leaf: Leaf, value: Any) -> Any:
    """A value of a feature as it is used; images stay the bytes of files, for Pillow."""
    return value if is_image(leaf) else leaf.feature.decode_example_np(value)


def _centre(picture: Image.Image, height: int, width: int) -> Image.Image:
    """The largest centred part of the shape, resized."""
    if picture.size == (width, height):
        return picture
    reach = min(picture.width / width, picture.height / height)
    across, down = reach * width, reach * height
    box = [(picture.width - across) / 2, (picture.height - down) / 2, across, down]
    return crop_picture(picture, box, height, width)
