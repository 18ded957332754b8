"""Animated WebP and AVIF, read with Pillow: FFmpeg reads the one since version 9, of the other only the cover."""

import os
from collections.abc import Iterator

from sfa_jax._errors import DamagedError
from sfa_jax.data._frame_times import FrameTimes
from sfa_jax.data._pictures import OpenPicture, open_image, picture_errors, pillow_warnings
from sfa_jax.data._source import Estimate, Note, Options, Picture, make_picture
from sfa_jax.data._tiff import Page


class AnimatedWebp:
    """The frames of one animated WebP or AVIF file, each with what earlier ones leave of it.

    Args:
      path: of the file.
    """

    def __init__(self, path: str) -> None:
        self.name = path

    def signature(self) -> list[list[object]]:
        stat = os.stat(self.name)
        return [[os.path.abspath(self.name), stat.st_size, stat.st_mtime_ns]]

    def estimate(self, options: Options) -> Estimate:
        with pillow_warnings(), picture_errors(self.name), open_image(self.name, self.name) as opened:
            height, width = options.height or opened.height, options.width or opened.width
            n_frames = -(-int(getattr(opened, "n_frames", 1)) // options.stride)
            return Estimate(n_frames, height * width * (1 if options.greyscale else 3), exact=True)

    def pictures(self, options: Options) -> Iterator[Picture | DamagedError | Note]:
        times = FrameTimes(self.name, unit=1e-3)
        with pillow_warnings(), picture_errors(self.name), open_image(self.name, self.name) as opened:
            n_frames = int(getattr(opened, "n_frames", 1))
            for number in range(n_frames):
                try:
                    with picture_errors(f"{self.name} (picture {number})"):
                        opened.seek(number)
                        picture, size = OpenPicture(self.name, opened, Page(number), self.name).decode(None, None)
                except DamagedError as error:  # those after it are drawn over it
                    yield DamagedError(error.said, error.repair, n_frames - number)
                    break
                time = times.add(1e-3 * opened.info["timestamp"], number)
                yield make_picture(number, picture, options, time=time, shown=size[::-1])
        yield from times.notes()
