"""Random crops of a few photographs, some of which are held out whole: single images for image models."""

import functools
import hashlib
import logging
import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from sfa_jax._errors import DamagedError, InputError
from sfa_jax.data._cache import available_memory, size_text
from sfa_jax.data._checks import check_drawn_size, check_number, check_whole
from sfa_jax.data._kinds import Kind
from sfa_jax.data._listing import LeftOut, list_folder
from sfa_jax.data._packaged import find_photograph
from sfa_jax.data._pictures import read_picture
from sfa_jax.data._runs import Run
from sfa_jax.data._source import REDUCING_GAP, crop_picture

_log = logging.getLogger("sfa_jax")

PathLike = str | os.PathLike[str]

# Those in colour. Galaxies, tissue and a retina are unlike what is held out, but of so few any more helps: principal
# components of the eleven lose 5 to 8 % less of the held-out crops than those of the eight others.
_COLOURED = (
    "astronaut.png",
    "chelsea.png",
    "china.jpg",
    "coffee.png",
    "flower.jpg",
    "grace_hopper.jpg",
    "hubble_deep_field.jpg",
    "ihc.png",
    "motorcycle_left.png",
    "retina.jpg",
    "rocket.jpg",
)
_HELD_OUT = ("chelsea.png", "china.jpg", "coffee.png")  # a face with fur, buildings in daylight, still life indoors


class _Crops(NamedTuple):
    """Where to cut, `[crop]` each.

    Attributes:
      x, y: place within the room that a crop leaves, in [0, 1] from left and top.
      view: size as a share of the largest crop that fits, in (0, 1].
      angle: of the crop in the photograph, clockwise in radians.
      flipped: whether left and right are exchanged.
    """

    x: np.ndarray
    y: np.ndarray
    view: np.ndarray
    angle: np.ndarray
    flipped: np.ndarray


def photographs(
    *,
    image_size: int | tuple[int, int] = 64,
    greyscale: bool = False,
    photographs: PathLike | Sequence[PathLike] = _COLOURED,
    held_out: str | Sequence[str] | int = _HELD_OUT,
    n_crops: int = 2000,
    n_held_out_crops: int = 64,
    view: tuple[float, float] = (0.4, 1.0),
    rotation: float = 0.0,
    flip: bool = True,
    seed: int = 0,
) -> list[Run]:
    """Cuts crops from photographs; each photograph is held out whole or trained on, never both.

    Crops for training are random in place, size, angle and handedness. Those of held-out photographs are the same for
    every seed: upright, unflipped, spread evenly over place and size by a fixed rule (fewer are the first of more).
    Each pixel averages what it covers, without aliasing.

    Args:
      image_size: side of a square crop, or `(height, width)`, in pixels.
      greyscale: one channel (ITU-R 601 luma) instead of three.
      photographs: names of photographs that scikit-image, scikit-learn and matplotlib carry, paths of image files (a
        file of such a name is `"./china.jpg"`), or folders of images, as a list or alone. By default the eleven in
        colour; in grey there are `brick.png`, `camera.png`, `coins.png`, `grass.png`, `gravel.png` and `moon.png`.
      held_out: names of those that are held out (of a file, with or without its folder), or how many, which are then
        spread evenly over the list. By default a cat, a pagoda and a cup of coffee.
      n_crops: of each photograph for training, at least 2.
      n_held_out_crops: of each held-out photograph, at least 2.
      view: smallest and largest size of a crop, as shares of the largest crop of its shape that fits into the
        photograph at its angle, in (0, 1]; sizes are uniform between them. 1 is the photograph's shorter side for an
        upright square.
      rotation: largest angle either way for training, in radians, in [0, pi].
      flip: whether half of the crops for training have left and right exchanged.
      seed: of the crops for training, at least 0.

    Returns:
      One `Run` a photograph, in the order given, with `held_out` true or false and no truth.

    Raises:
      InputError: an option is out of its range, a photograph cannot be found or read, none is left for training, one
        for training is the same picture as a held-out one, or the crops do not fit in memory.

    Example:
      >>> runs = photographs(n_crops=5, image_size=32)
      >>> [(run.name, run.frames.shape, run.held_out) for run in runs[:2]]
      [('photograph astronaut.png', (5, 32, 32, 3), False), ('photograph chelsea.png', (64, 32, 32, 3), True)]
    """
    height, width = check_drawn_size("photographs", image_size, 1)
    check_whole("photographs.n_crops", n_crops, 2)
    check_whole("photographs.n_held_out_crops", n_held_out_crops, 2)
    check_whole("photographs.seed", seed, 0)
    check_number("photographs.rotation", rotation, f"[0, {np.pi}]", "in radians")
    _check_view(view)
    if not isinstance(flip, (bool, np.bool_)):
        raise InputError(f"photographs.flip: expected True or False, got {flip!r}")
    found = _find(photographs)
    kept_out = _choose(held_out, list(found))
    numbers = [n_held_out_crops if name in kept_out else n_crops for name in found]
    _check_memory(sum(numbers) * height * width * (1 if greyscale else 3), len(numbers))
    runs: list[Run] = []
    pictures: dict[bytes, Run] = {}
    wrong: list[DamagedError] = []
    for index, ((name, path), number) in enumerate(zip(found.items(), numbers, strict=True)):
        try:
            picture = read_picture(path).convert("L" if greyscale else "RGB")
        except DamagedError as error:
            if name in _names(photographs):
                raise
            wrong.append(error)  # one of a folder
            continue
        if name in kept_out:
            crops = _even(number, view)
        else:
            crops = _random(np.random.default_rng([seed, index]), number, view, rotation, flip)
        frames = _cut(picture, crops, height, width, name)
        run = Run(frames, f"photograph {name}", np.arange(number, dtype=np.int64), held_out=name in kept_out)
        twin = pictures.setdefault(hashlib.sha256(picture.tobytes()).digest(), run)
        if twin.held_out != run.held_out:
            raise InputError(
                f"photographs.held_out: {twin.name} and {run.name} are the same picture, and only one of them is held "
                f"out; leave out one of the two"
            )
        runs.append(run)
    if wrong and all(run.held_out for run in runs):
        raise wrong[0]
    if wrong:
        _log.warning("photographs: %d of %d are left out (the first: %s)", len(wrong), len(found), wrong[0].said)
    return runs


def _names(given: PathLike | Sequence[PathLike]) -> list[str]:
    """The names of files and folders that are given."""
    names = [given] if isinstance(given, (str, os.PathLike)) else given
    if not isinstance(names, Sequence) or not names or not all(isinstance(n, (str, os.PathLike)) for n in names):
        raise InputError(f"photographs.photographs: expected file names or a folder of images, got {given!r}")
    return [os.fspath(name) for name in names]


def _find(given: PathLike | Sequence[PathLike]) -> dict[str, str]:
    """Each photograph's name and path."""
    found: dict[str, str] = {}
    for name in _names(given):
        folder = os.path.expanduser(name)
        if not os.path.isdir(folder):
            found[name] = find_photograph("photographs", name)
            continue
        images = _images(folder)
        if not images:
            raise InputError(f"photographs.photographs: the folder {name} holds no images; give one that does")
        found |= dict(zip(images, images, strict=True))
    return found


def _images(folder: str) -> list[str]:
    """The pictures in a folder and those below it; the rest is told."""
    left_out, images = LeftOut(folder), []
    for where, files in list_folder(folder, left_out):
        for file, kind in files.items():
            if kind in (Kind.PICTURE, Kind.TIFF, Kind.GIF):
                images.append(os.path.join(where, file))
            else:
                left_out.add_file(file, Kind.UNKNOWN)
    left_out.tell()
    return images


def _choose(held_out: object, names: Sequence[str]) -> set[str]:
    """The names of the photographs that are held out."""
    if isinstance(held_out, (int, np.integer)) and not isinstance(held_out, bool):
        check_whole("photographs.held_out", held_out, 0)
        number = min(held_out, len(names))
        places = (np.arange(number) + 0.5) * len(names) // max(number, 1)
        chosen = {names[int(place)] for place in places}
    else:
        asked = [held_out] if isinstance(held_out, str) else held_out
        if not isinstance(asked, Sequence) or not all(isinstance(name, str) for name in asked):
            raise InputError(
                f"photographs.held_out: expected names of photographs, or how many of them, got {held_out!r}"
            )
        chosen = {_one_of(name, names) for name in asked}
    if len(chosen) == len(names):
        raise InputError(
            f"photographs.held_out: expected at least one photograph to train on, but all {len(names)} are held out; "
            f"hold out fewer or give more photographs"
        )
    return chosen


def _one_of(name: str, names: Sequence[str]) -> str:
    if name in names:
        return name
    matches = [other for other in names if os.path.basename(other) == name]
    if len(matches) > 1:
        raise InputError(
            f"photographs.held_out: {name!r} may be {matches[0]!r} or {matches[1]!r}; give the one that is meant"
        )
    if not matches:
        shown = ", ".join(names[:20]) + ", ..." * (len(names) > 20)
        raise InputError(
            f"photographs.held_out: expected names of the photographs given, or how many of them, got {name!r}; they "
            f"are {shown}"
        )
    return matches[0]


def _check_view(view: object) -> None:
    pair = list(view) if isinstance(view, (Sequence, np.ndarray)) and not isinstance(view, str) else []
    if len(pair) != 2:
        raise InputError(f"photographs.view: expected the smallest and the largest share, such as (0.4, 1), got {view}")
    for share in pair:
        check_number("photographs.view", share, "(0, 1]", "a share of the largest crop that fits")
    if pair[0] > pair[1]:
        raise InputError(f"photographs.view: expected the smallest share first, got {view}; exchange the two")


def _check_memory(n_bytes: int, n_photographs: int) -> None:
    free = available_memory()
    if n_bytes > free:
        raise InputError(
            f"photographs.n_crops: the crops of {n_photographs} photographs need {size_text(n_bytes)} of memory, and "
            f"{size_text(free)} are free; lower n_crops or image_size, or give fewer photographs"
        )


def _random(rng: np.random.Generator, number: int, view: Sequence[float], rotation: float, flip: bool) -> _Crops:
    # All are always drawn, so that one option does not change what another one gives.
    x, y, size, turn, side = rng.random((5, number))
    return _Crops(x, y, view[0] + (view[1] - view[0]) * size, rotation * (2 * turn - 1), flip & (side < 0.5))


def _even(number: int, view: Sequence[float]) -> _Crops:
    """Multiples of the inverse powers of the root of g^4 = g + 1, modulo 1: even in three dimensions at any number."""
    root = 1.2207440846057596
    x, y, size = (0.5 + np.outer(root ** -np.arange(1.0, 4.0), np.arange(number))) % 1
    return _Crops(x, y, view[0] + (view[1] - view[0]) * size, np.zeros(number), np.zeros(number, bool))


def _cut(picture: Image.Image, crops: _Crops, height: int, width: int, name: str) -> np.ndarray:
    """Frames uint8 `[crop, height, width, channel]`."""
    reduced = functools.cache(lambda factor: picture if factor == 1 else picture.reduce(factor))
    frames = np.empty((len(crops.x), height, width, len(picture.getbands())), np.uint8)
    cos, sin = np.cos(crops.angle), np.sin(crops.angle)
    # The sides of the upright box around the turned crop, in pixels of a frame.
    across, down = abs(cos) * width + abs(sin) * height, abs(sin) * width + abs(cos) * height
    reach = crops.view * np.minimum(
        picture.width / across, picture.height / down
    )  # photograph's pixels a frame's pixel
    if reach.min() < 1:
        _log.warning(
            "photographs: the smallest crops of %s have %d pixels a side, and are enlarged to %d; lower image_size, or "
            "raise the smaller view",
            name, min(height, width) * reach.min(), min(height, width),
        )  # fmt: skip
    left, top = crops.x * (picture.width - reach * across), crops.y * (picture.height - reach * down)
    for index, frame in enumerate(frames):
        # Most of the way by whole numbers, once for all crops alike; the rest crop by crop.
        factor = max(1, int(reach[index] / REDUCING_GAP))
        box = np.array([left[index], top[index], reach[index] * across[index], reach[index] * down[index]]) / factor
        if crops.angle[index] == 0:
            crop = crop_picture(reduced(factor), box, height, width)
        else:
            upright = crop_picture(reduced(factor), box, int(np.ceil(down[index])), int(np.ceil(across[index])))
            crop = _turn(upright, cos[index], sin[index], height, width)
        pixels = np.asarray(crop).reshape(frame.shape)
        frame[:] = pixels[:, ::-1] if crops.flipped[index] else pixels
    return frames


def _turn(upright: Image.Image, cos: float, sin: float, height: int, width: int) -> Image.Image:
    """The turned crop that touches all sides of a picture of its own scale, give or take a rounded-up side."""
    across, down = abs(cos) * width + abs(sin) * height, abs(sin) * width + abs(cos) * height
    ratio_x, ratio_y = upright.width / across, upright.height / down
    # From a frame's pixel to the picture's: turned about the middle of both.
    start_x, start_y = (across - cos * width + sin * height) / 2, (down - sin * width - cos * height) / 2
    matrix = (cos * ratio_x, -sin * ratio_x, start_x * ratio_x, sin * ratio_y, cos * ratio_y, start_y * ratio_y)
    return upright.transform((width, height), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)
