"""A first-person walk through a textured room, ray-cast in NumPy: the embedded data set, with the pose known.

The stimulus of Franzius, Sprekeler & Wiskott (2007): which latent variable is slow is decided by the movement
statistics alone. Slow walking with fast turning makes position slow (`place`); the reverse makes the heading slow
(`head_direction`).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sfa_jax._errors import InputError
from sfa_jax.data._checks import check_drawn_size, check_number, check_whole
from sfa_jax.data._runs import Run

_TEXTURE_HEIGHT, _TEXTURE_WIDTH = 64, 256
_CAMERA_HEIGHT, _WALL_HEIGHT = 0.3, 0.6  # metres
_MARGIN = 0.05  # metres kept between the camera and a wall: closer, one texture cell fills the view
_CHUNK = 128  # frames rendered at once: keeps the temporaries in the cache


class Movement(NamedTuple):
    """Movement statistics of a walk.

    Attributes:
      speed: mean distance walked a frame, in metres.
      turning: standard deviation of the change of heading a frame, in radians.
      smoothness: correlation of the angular velocity from one frame to the next, in [0, 1).
    """

    speed: float
    turning: float
    smoothness: float


MOVEMENTS = {
    "place": Movement(speed=0.03, turning=0.22, smoothness=0.6),
    "head_direction": Movement(speed=0.15, turning=0.04, smoothness=0.8),
}


def room(
    *,
    image_size: int | tuple[int, int] = 64,
    greyscale: bool = False,
    preset: str = "place",
    n_frames: int = 15_000,
    n_runs: int = 1,
    field_of_view: float = 300.0,
    size: tuple[float, float] = (1.2, 1.0),
    speed: float | None = None,
    turning: float | None = None,
    smoothness: float | None = None,
    seed: int = 0,
) -> list[Run]:
    """Renders unbroken walks through a rectangular room whose four walls carry distinct pictures.

    Walking direction and heading are independent: the camera looks around while it walks. Columns are equally spaced
    in angle and rows in the tangent of the elevation (a cylindrical projection), so that any field of view up to the
    full circle can be drawn.

    Args:
      image_size: side of a square frame, or `(height, width)`, in pixels, at least 4.
      greyscale: one channel instead of three.
      preset: movement statistics, one of `MOVEMENTS`.
      n_frames: frames of each run, at least 2.
      n_runs: how many separate walks through the same room.
      field_of_view: horizontal view in degrees, in (0, 360].
      size: extent of the floor along x and z, in metres, above 0.2.
      speed, turning, smoothness: as in `Movement`; each given one replaces the preset's. The speed stays below half
        the room's shorter side.
      seed: of the pictures and of the walk, at least 0.

    Returns:
      One `Run` a walk, with truth `x` and `z` (metres), `cos_heading` and `sin_heading`.

    Raises:
      InputError: an option is out of its range.

    References:
      Franzius, Sprekeler & Wiskott, "Slowness and sparseness lead to place, head-direction, and spatial-view cells",
      PLoS Computational Biology 2007.
    """
    height, width = check_drawn_size("the room", image_size, 4)
    if preset not in tuple(MOVEMENTS):
        raise InputError(f"room.preset: expected one of {sorted(MOVEMENTS)}, got {preset!r}")
    given = {"speed": speed, "turning": turning, "smoothness": smoothness}
    movement = MOVEMENTS[preset]._replace(**{name: value for name, value in given.items() if value is not None})
    check_whole("room.n_frames", n_frames, 2)
    check_whole("room.n_runs", n_runs, 1)
    check_whole("room.seed", seed, 0)
    check_number("room.field_of_view", field_of_view, "(0, 360]", "in degrees")
    if not isinstance(size, (Sequence, np.ndarray)) or isinstance(size, str) or len(size) != 2:
        raise InputError(f"room.size: expected two lengths in metres, along x and z, such as (1.2, 1.0); got {size!r}")
    for side in size:
        check_number("room.size", side, f"({4 * _MARGIN:g}, inf)", "in metres, along x and along z")
    check_number("room.speed", movement.speed, f"[0, {min(size) / 2:g})", "in metres a frame, below half the room")
    check_number("room.turning", movement.turning, "[0, inf)", "in radians a frame")
    check_number("room.smoothness", movement.smoothness, "[0, 1)", "a correlation")

    rng = np.random.default_rng(seed)
    pictures = _pictures(rng)
    runs = []
    for number in range(n_runs):
        x, z, heading = _walk(rng, n_frames, size, movement)
        frames = _render(pictures, x, z, heading, height, width, np.deg2rad(field_of_view), size)
        if greyscale:
            luma = frames @ np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R 601, as for files
            frames = np.rint(luma).astype(np.uint8)[..., None]
        truth = {"x": x, "z": z, "cos_heading": np.cos(heading), "sin_heading": np.sin(heading)}
        truth = {name: value.astype(np.float32) for name, value in truth.items()}
        runs.append(Run(frames, f"room walk {number}", np.arange(n_frames), truth))
    return runs


def _walk(
    rng: np.random.Generator, n_frames: int, size: tuple[float, float], movement: Movement
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Position and heading `[time]` each: a persistent random walk mirrored at the walls, an AR(1) turning rate."""
    direction = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.2, n_frames))
    step = movement.speed * np.stack([np.cos(direction), np.sin(direction)], axis=1)
    room_to_walk = np.array(size) - 2 * _MARGIN
    free = rng.uniform(0, room_to_walk) + np.cumsum(step, axis=0)
    # Unfolding a walk in a mirrored box gives free motion, so folding free motion back gives the reflected walk.
    position = _MARGIN + room_to_walk - np.abs(np.mod(free, 2 * room_to_walk) - room_to_walk)
    kick = rng.normal(0, movement.turning * np.sqrt(1 - movement.smoothness**2), n_frames)
    rate = np.empty(n_frames)
    rate[0] = rng.normal(0, movement.turning)
    for t in range(1, n_frames):
        rate[t] = movement.smoothness * rate[t - 1] + kick[t]
    return position[:, 0], position[:, 1], rng.uniform(0, 2 * np.pi) + np.cumsum(rate)


def _pictures(rng: np.random.Generator) -> np.ndarray:
    """The four walls, floor and ceiling as one table of packed colours: uint32 `[4, height + 2, width]`.

    Row 0 is the floor, the last row the ceiling. Each wall has its own ground colour, smooth clouds (no two alike) and
    a few framed rectangles, so that both a coarse and a fine look tell where on it a ray ends.
    """
    grounds = np.array([[200, 80, 60], [70, 160, 80], [60, 90, 190], [210, 180, 70]], np.float64)
    walls = np.empty((4, _TEXTURE_HEIGHT + 2, _TEXTURE_WIDTH, 4), np.uint8)
    walls[..., 3] = 255
    walls[:, 0, :, :3] = (95, 80, 65)
    walls[:, -1, :, :3] = (215, 220, 225)
    rows = np.linspace(0, 1, _TEXTURE_HEIGHT)[:, None]
    columns = np.linspace(0, 4, _TEXTURE_WIDTH)[None]  # a wall is about four times as wide as it is high
    for wall, ground in enumerate(grounds):
        picture = np.broadcast_to(ground, (_TEXTURE_HEIGHT, _TEXTURE_WIDTH, 3)).copy()
        for _ in range(24):
            row, column, radius = rng.uniform(0, 1), rng.uniform(0, 4), rng.uniform(0.15, 0.5)
            cloud = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * radius**2))
            picture += cloud[..., None] * rng.normal(0, 60, 3)
        for _ in range(4):
            top, left = rng.integers(4, 36), rng.integers(0, _TEXTURE_WIDTH - 48)
            bottom, right = top + rng.integers(12, 24), left + rng.integers(20, 48)
            picture[top:bottom, left:right] = rng.uniform(0, 255, 3)
        walls[wall, 1:-1, :, :3] = np.clip(picture, 0, 255)
    return walls.view(np.uint32)[..., 0]


def _render(
    pictures: np.ndarray,
    x: np.ndarray,
    z: np.ndarray,
    heading: np.ndarray,
    height: int,
    width: int,
    field_of_view: float,
    size: tuple[float, float],
) -> np.ndarray:
    """Frames uint8 `[time, height, width, 3]` seen from each pose."""
    frames = np.empty((len(x), height, width, 3), np.uint8)
    bearing = ((np.arange(width) + 0.5) / width - 0.5) * field_of_view
    # The vertical view keeps pixels square in angle, up to 120 degrees.
    slope_at_edge = np.tan(min(field_of_view * height / width, np.deg2rad(120)) / 2)
    slope = (slope_at_edge * (1 - 2 * (np.arange(height) + 0.5) / height)).astype(np.float32)
    table = pictures.reshape(-1)
    for start in range(0, len(x), _CHUNK):
        part = slice(start, start + _CHUNK)
        distance, wall, along = _cast(x[part, None], z[part, None], heading[part, None] + bearing, size)
        reach = distance.astype(np.float32)[:, None, :]
        up = (slope[:, None] * reach + np.float32(_CAMERA_HEIGHT)) * np.float32(_TEXTURE_HEIGHT / _WALL_HEIGHT)
        row = np.clip(np.floor(up), -1, _TEXTURE_HEIGHT).astype(np.int32) + 1
        column = np.minimum((along * _TEXTURE_WIDTH).astype(np.int32), _TEXTURE_WIDTH - 1)
        base = wall.astype(np.int32) * ((_TEXTURE_HEIGHT + 2) * _TEXTURE_WIDTH) + column
        colours = table.take(base[:, None, :] + row * _TEXTURE_WIDTH)
        frames[part] = colours[..., None].view(np.uint8)[..., :3]
    return frames


def _cast(
    x: np.ndarray, z: np.ndarray, angle: np.ndarray, size: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where rays from inside the room end: distance in metres, wall 0-3, place along the wall in [0, 1]."""
    cos, sin = np.cos(angle), np.sin(angle)
    with np.errstate(divide="ignore"):  # a ray along a wall never meets it: infinite distance is right
        to_x = np.where(cos > 0, size[0] - x, x) / np.abs(cos)
        to_z = np.where(sin > 0, size[1] - z, z) / np.abs(sin)
    hits_x = to_x < to_z
    distance = np.minimum(to_x, to_z)
    wall = np.where(hits_x, np.where(cos > 0, 0, 1), np.where(sin > 0, 2, 3))
    along = np.where(hits_x, (z + distance * sin) / size[1], (x + distance * cos) / size[0])
    return distance, wall, np.clip(along, 0, 1)
