"""Decoded frames as pictures, by the rule for pictures: 8-bit sRGB, alpha over black, upright."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from sfa_jax.data._source import Note

_UNSPECIFIED = 2
_HDR = {16: "PQ", 18: "HLG"}
# Above these sides, players take BT.709 where the file names no matrix.
_SD_HEIGHT, _SD_WIDTH = 576, 1279
_SAME_AXES = (Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM, Image.Transpose.ROTATE_180)
# By whether rows become columns, and whether the picture is then mirrored across and upside down.
_TURNS = {
    (False, False, False): None,
    (False, True, False): Image.Transpose.FLIP_LEFT_RIGHT,
    (False, False, True): Image.Transpose.FLIP_TOP_BOTTOM,
    (False, True, True): Image.Transpose.ROTATE_180,
    (True, False, False): Image.Transpose.TRANSPOSE,
    (True, True, False): Image.Transpose.ROTATE_270,
    (True, False, True): Image.Transpose.ROTATE_90,
    (True, True, True): Image.Transpose.TRANSVERSE,
}


class FrameConverter:
    """Converts the frames of one file; keeps what a user should know of them.

    Args:
      name: what messages call the file.
      stream: that the frames are of.
    """

    def __init__(self, name: str, stream: Any) -> None:
        from av.video.reformatter import Colorspace, VideoReformatter

        self._name, self._bt709 = name, Colorspace.ITU709
        self._reformatter = VideoReformatter()
        self._pixel_aspect = float(stream.sample_aspect_ratio or 1)
        self._hdr = self._changed = ""
        self._first_shown: tuple[int, int] | None = None

    def convert(self, frame: Any, number: int) -> tuple[Image.Image, tuple[int, int]]:
        """Converts the frame of some number to an upright `RGB` or `RGBX` picture of its own size.

        Returns:
          The picture, and the (height, width) at which a player shows it.

        Raises:
          av.error.FFmpegError: FFmpeg cannot convert its pixels.
        """
        self._hdr = self._hdr or _HDR.get(int(frame.color_trc), "")
        is_large = frame.height > _SD_HEIGHT or frame.width > _SD_WIDTH
        matrix = self._bt709 if frame.colorspace == _UNSPECIFIED and is_large else None
        rgba = self._reformatter.reformat(frame, format="rgba", src_colorspace=matrix, threads=1)
        plane: Any = rgba.planes[0]
        size = frame.width, frame.height
        if frame.format.name == "pal8" or any(part.is_alpha for part in frame.format.components):
            over = Image.frombuffer("RGBA", size, plane, "raw", "RGBA", plane.line_size, 1)
            picture = Image.alpha_composite(Image.new("RGBA", size, (0, 0, 0, 255)), over).convert("RGB")
        else:
            picture = Image.frombuffer("RGBX", size, plane, "raw", "RGBX", plane.line_size, 1)  # shares the memory
        height, width = frame.height, round(frame.width * self._pixel_aspect)
        turn = _turn(frame)
        if turn is not None:
            picture = picture.transpose(turn)
            height, width = (height, width) if turn in _SAME_AXES else (width, height)
        self._note_size(number, (height, width))
        return picture, (height, width)

    def _note_size(self, number: int, shown: tuple[int, int]) -> None:
        self._first_shown = first = self._first_shown or shown
        if shown != first and not self._changed:
            self._changed = (
                f"frame {number} is {shown[1]}x{shown[0]} pixels, the frames before it {first[1]}x{first[0]}"
            )

    def notes(self) -> Iterator[Note]:
        """Tells what of the file is read otherwise than it is shown."""
        if self._changed:
            yield Note(f"{self._name}: {self._changed}; all are resized to one size")
        if self._hdr:
            yield Note(
                f"{self._name} is HDR video ({self._hdr}), which is read without tone mapping: its frames look pale; "
                "convert it to BT.709 first if that matters"
            )


def _turn(frame: Any) -> Image.Transpose | None:
    """Reads how the file asks for a frame to be turned or mirrored, as telephones write it."""
    from av.sidedata.sidedata import Type

    found = frame.side_data.get(Type.DISPLAYMATRIX)
    if found is None:
        return None
    # It maps (x, y) to (a x + c y, b x + d y); other turns than by right angles are rounded to them.
    a, b, _, c, d = np.frombuffer(bytes(found), np.int32)[:5].tolist()
    is_transposed = abs(b) > abs(a)
    across, down = (c, b) if is_transposed else (a, d)
    return _TURNS[is_transposed, across < 0, down < 0]
