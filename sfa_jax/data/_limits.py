"""What is refused before it is read: sizes that no video has, but a damaged or malicious header may claim."""

from sfa_jax._errors import DamagedError

MAX_FRAME_PIXELS = 89_478_485
"""Of a picture, of a video's or an array's frame. Pillow's own limit: a quarter of a gigabyte in colour."""

MAX_HEADER_BYTES = 10_000
"""Of an array's header, as in NumPy: what parses Python text can be made to overflow by more."""

MAX_MEMBERS = 10_000
"""Of an .npz; each is opened, so that millions of them would take hours."""

MAX_UNPACKED_RATIO = 200
MAX_UNPACKED_BYTES = 1 << 30
MAX_UNPACKED_FRAMES = 1_000_000
"""A member of an .npz may unpack to more than 200 times its size only up to 1 GiB and a million frames.

Deflate reaches 1,000:1 where all is black. Videos reach 2:1 and drawn worlds 20:1; what is packed more tightly than
200:1 and is still large has next to nothing in it.
"""


def check_frame_pixels(name: str, height: int, width: int) -> None:
    """Raises unless a frame of `height` by `width` pixels is within the limit."""
    if height * width > MAX_FRAME_PIXELS:
        raise DamagedError(
            f"{name} has frames of {width}x{height} pixels, at most {MAX_FRAME_PIXELS} pixels are read",
            "if the file is not damaged, make its frames smaller first",
        )
