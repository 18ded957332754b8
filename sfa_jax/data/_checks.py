"""Checks of the options of a source; each message names the option and what was expected of it."""

import math
from collections.abc import Sequence

import numpy as np

from sfa_jax._errors import InputError


def check_whole(name: str, value: object, low: int, unit: str = "") -> None:
    """Raises unless `value` is a whole number of at least `low`."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < low:
        raise InputError(f"{name}: expected a whole number of at least {low}{unit and ' ' + unit}, got {value!r}")


def check_number(name: str, value: object, interval: str, unit: str = "") -> None:
    """Raises unless `value` is a finite number within `interval`, which is written as in "[0, 1)"."""
    low, high = (float(end) for end in interval[1:-1].split(","))
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    found = float(value) if number else math.nan  # type: ignore[arg-type]
    above = found > low if interval[0] == "(" else found >= low
    below = found < high if interval[-1] == ")" else found <= high
    if not (above and below and math.isfinite(found)):
        raise InputError(f"{name}: expected a number in {interval}{unit and ', ' + unit}, got {value!r}")


def check_image_size(image_size: object) -> tuple[int, int]:
    """`image_size` as (height, width); (0, 0) stands for the source's own size."""
    pair = tuple(image_size) if isinstance(image_size, Sequence) else (image_size, image_size)
    sides = [0 if side is None else side for side in pair]
    whole = all(isinstance(side, (int, np.integer)) and not isinstance(side, bool) and side >= 0 for side in sides)
    if len(sides) != 2 or not whole or (sides[0] == 0) != (sides[1] == 0):
        raise InputError(
            f"image_size must be a whole number of pixels, a pair (height, width), or 0 for the source's own size; "
            f"got {image_size!r}"
        )
    return int(sides[0]), int(sides[1])


def check_drawn_size(world: str, image_size: object, low: int) -> tuple[int, int]:
    """`image_size` as (height, width) for frames that are drawn, which have no size of their own."""
    height, width = check_image_size(image_size)
    if min(height, width) < low:
        raise InputError(
            f"image_size: {world} is drawn at any size and has none of its own; expected at least {low} px a "
            f"side, got {image_size!r}; give for instance 64"
        )
    return height, width
