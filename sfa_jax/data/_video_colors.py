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
        """Converts the frame of some number to an upright `RGB` picture of its own size.

        Returns:
          The picture, and the (height, width) at which a player shows it.

        Raises:
          av.error.FFmpegError: FFmpeg cannot convert its pixels.
        """
        self._hdr = _HDR.get(int(frame.color_trc), "")
        is_large = frame.height > _SD_HEIGHT or frame.width > _SD_WIDTH
        matrix = self._bt709 if frame.colorspace == _UNSPECIFIED and is_large else None
        has_alpha = frame.format.name == "pal8" or any(part.is_alpha for part in frame.format.components)
        kind = "rgba" if has_alpha else "rgb24"
        pixels = self._reformatter.reformat(frame, format=kind, src_colorspace=matrix).to_ndarray()
        shown = np.array([frame.height, frame.width * self._pixel_aspect])
        pixels, is_transposed = _upright(pixels, frame)
        height, width = np.rint(shown[::-1] if is_transposed else shown).astype(int).tolist()
        picture = Image.fromarray(pixels)
        if has_alpha:
            over = Image.new("RGBA", picture.size, (0, 0, 0, 255))
            picture = Image.alpha_composite(over, picture).convert("RGB")
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


def _upright(pixels: np.ndarray, frame: Any) -> tuple[np.ndarray, bool]:
    """Turns and mirrors pixels `[height, width, channel]` as the file asks for; tells whether rows became columns."""
    from av.sidedata.sidedata import Type

    found = frame.side_data.get(Type.DISPLAYMATRIX)
    if found is None:
        return pixels, False
    # It maps (x, y) to (a x + c y, b x + d y); other turns than by right angles are rounded to them.
    a, b, _, c, d = np.frombuffer(bytes(found), np.int32)[:5].tolist()
    is_transposed = abs(b) > abs(a)
    across, down = (c, b) if is_transposed else (a, d)
    pixels = pixels.swapaxes(0, 1) if is_transposed else pixels
    pixels = pixels[:, ::-1] if across < 0 else pixels
    return np.ascontiguousarray(pixels[::-1] if down < 0 else pixels), is_transposed
