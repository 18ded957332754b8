"""Limits on what a damaged or malicious header may claim, checked before anything is read."""

from sfa_jax._errors import DamagedError

MAX_FRAME_PIXELS = 89_478_485
"""Of a picture, of a video's or an array's frame. Pillow's own limit: a quarter of a gigabyte in color."""

MAX_MEMBERS = 10_000
"""Of an .npz; each is opened, so that millions of them would take hours."""


def check_frame_pixels(name: str, height: int, width: int) -> None:
    """Raises unless a frame of `height` by `width` pixels is within the limit."""
    if height * width > MAX_FRAME_PIXELS:
        raise DamagedError(
            f"{name} has frames of {width}x{height} pixels, at most {MAX_FRAME_PIXELS} pixels are read",
            "if the file is not damaged, make its frames smaller first",
        )
