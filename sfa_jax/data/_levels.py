"""Values of more than 8 bits brought to 8, by one white level for a whole source.

Cameras write 10 to 14 bits into 16-bit files, and nothing in most files says so. White is therefore the smallest of
1, 255, 1023, 4095, 16383 and 65535 that no value of the source exceeds, and a choice other than the type's own range is
told. Floating point in [0, 1] has white at 1.
"""

import math

import numpy as np

from sfa_jax._errors import InputError
from sfa_jax.data._source import Note

ENOUGH = 1 << 14
"""An unsigned value from here on has the white of 16 bits, whatever else there is."""

_WHITES = (1, 255, 1023, 4095, 16383, 65535)
_TOLERANCE = 1e-3  # rounding errors of floating point outside [0, 1] are clipped
_LEAST_WHITE_OF_FLOATS = 32  # below, values above 1 may as well be overshoots of [0, 1]


class ValueRange:
    """The smallest and largest of the values seen, and where they are.

    Attributes:
      low, high: the values, 0 where none was seen.
      dtype: of the values.
    """

    def __init__(self) -> None:
        self.low, self.high = 0.0, 0.0
        self.dtype = np.dtype(np.uint8)
        self._low_at = self._high_at = ""

    def update(self, values: np.ndarray, where: str) -> None:
        """Adds finite values; `where` is what messages call their place."""
        low, high = float(values.min()), float(values.max())
        if not self._low_at or low < self.low:
            self.low, self._low_at = low, where
        if not self._high_at or high > self.high:
            self.high, self._high_at = high, where
        self.dtype = values.dtype

    def white(self, name: str, least: float = 0) -> float:
        """Returns the value that becomes 255.

        Args:
          name: of the source, for messages.
          least: what it must be at least, of integers.

        Raises:
          InputError: which value is black or white cannot be told.
        """
        floats = self.dtype.kind == "f"
        if floats and self.low >= -_TOLERANCE and self.high <= 1 + _TOLERANCE:
            return 1
        ambiguous = floats and self.high < _LEAST_WHITE_OF_FLOATS
        if self.low < 0 or self.high > _WHITES[-1] * (1 + _TOLERANCE * floats) or ambiguous:
            bad, place = (self.low, self._low_at) if self.low < 0 else (self.high, self._high_at)
            raise InputError(
                f"{name} has values from {self.low:g} to {self.high:g} ({bad:g} in {place}), and which of them are "
                f"black and white is not known; expected whole numbers in [0, {_WHITES[-1]}] or floating point in "
                f"[0, 1]: {self._advice()}"
            )
        if floats:
            return next(white for white in _WHITES if self.high <= white * (1 + _TOLERANCE))
        return max(least, next(white for white in _WHITES if self.high <= white)) if self.high else least or 255

    def _advice(self) -> str:
        """What to save instead; no expression in it overflows or wraps in any type."""
        frames, low, high = "frames.astype(numpy.float32)", self.low, self.high
        if not math.isfinite(high - low):
            return "scale them to [0, 1]"
        if low < 0:
            if self.dtype.kind == "f" and low >= -1 - _TOLERANCE and high <= 1 + _TOLERANCE:
                return "if the range is [-1, 1], save (frames + 1) / 2"
            clip = -low < 0.1 * high and _LEAST_WHITE_OF_FLOATS <= high <= _WHITES[-1]
            rest = ", or numpy.clip(frames, 0, None) if 0 is black" if clip else ""
            return f"save ({frames} + {-low:.9g}) / {high - low:.9g}{rest}"
        if high > _WHITES[-1]:
            return f"save {frames} / {high:.9g}"
        return f"save numpy.clip(frames, 0, 1) if 1 is white, or {frames} / {high:.9g}"


def told(name: str, values: ValueRange, white: float) -> Note:
    """Tells the choice of a white level, without words where it is that of the type."""
    floats = values.dtype.kind == "f"
    if white == (1 if floats else np.iinfo(values.dtype).max):
        return Note("", 0 if floats else white)
    bits = "as black and white" if white == 1 else f"as {int(white).bit_length()} bits"
    return Note(
        f"{name} has {values.dtype} values up to {values.high:g}: they are read {bits}, 0 black and {white:g} white, "
        "in all frames; if white is another value, save them as floating point in [0, 1]",
        0 if floats else white,
    )


def as_bytes(values: np.ndarray, white: float) -> np.ndarray:
    """Scales values in [0, white] to uint8; what is outside is clipped."""
    return np.rint(np.clip(values.astype(np.float32), 0, white) * np.float32(255 / white)).astype(np.uint8)


def first_not_finite(frames: np.ndarray) -> int | None:
    """Index of the first frame `[time, ...]` that has NaN or infinite values."""
    if frames.dtype.kind != "f":
        return None
    good = np.isfinite(frames).reshape(len(frames), -1).all(axis=1)
    return None if good.all() else int(np.argmin(good))
