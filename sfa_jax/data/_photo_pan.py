"""A camera that translates, rotates and zooms over a photograph: natural images with every latent variable known."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from sfa_jax._errors import InputError
from sfa_jax.data._checks import check_drawn_size, check_number, check_whole
from sfa_jax.data._packaged import find_photograph
from sfa_jax.data._pictures import read_picture
from sfa_jax.data._runs import Run

_CHUNK = 16  # frames sampled at once: keeps the temporaries in the cache
_BUILT_IN = ("china.jpg", "flower.jpg")


def photo_pan(
    *,
    image_size: int | tuple[int, int] = 64,
    greyscale: bool = False,
    n_frames: int = 10_000,
    n_runs: int = 1,
    photographs: Sequence[str] = _BUILT_IN,
    view: float = 0.6,
    zoom_range: float = 1.5,
    translation_speed: float = 0.02,
    rotation_speed: float = 0.03,
    zoom_speed: float = 0.01,
    translation_smoothness: float = 10.0,
    rotation_smoothness: float = 10.0,
    zoom_smoothness: float = 10.0,
    seed: int = 0,
) -> list[Run]:
    """Renders unbroken camera movements over photographs; the view never leaves the photograph.

    Each latent variable moves with a smooth random velocity: white noise passed through a Gaussian of `smoothness`
    frames. Place and zoom turn back softly at the ends of their range; the angle turns freely.

    Args:
      image_size: side of a square frame, or `(height, width)`, in pixels.
      greyscale: one channel (ITU-R 601 luma) instead of three.
      n_frames: frames of each run, at least 2.
      n_runs: how many separate movements; run i is over photograph i modulo their number.
      photographs: `china.jpg` and `flower.jpg`, which scikit-learn carries, others that `data.photographs` knows, or
        paths of image files.
      view: diagonal of the view at zoom 1, as a share of the photograph's shorter side, in (0, 1).
      zoom_range: zoom goes from 1 to it (narrower views), at least 1.
      translation_speed: root-mean-square change of place a frame along each axis, as a share of the view's diagonal.
      rotation_speed: root-mean-square change of the angle a frame, in radians.
      zoom_speed: root-mean-square change of the zoom's logarithm a frame.
      translation_smoothness, rotation_smoothness, zoom_smoothness: correlation time of the velocities, in frames; 0
        draws each frame's velocity afresh.
      seed: of the movements, at least 0.

    Returns:
      One `Run` a movement, with truth `x` and `y` (place of the view's centre, in [0, 1] from the photograph's left and
      top), `cos_angle`, `sin_angle` and `zoom`.

    Raises:
      InputError: an option is out of its range, or a photograph cannot be found or read.

    References:
      Berkes & Wiskott, "Slow feature analysis yields a rich repertoire of complex cell properties", Journal of Vision
      2005.

    Example:
      >>> run = photo_pan(n_frames=3, image_size=16)[0]
      >>> run.frames.shape, sorted(run.truth)
      ((3, 16, 16, 3), ['cos_angle', 'sin_angle', 'x', 'y', 'zoom'])
    """
    height, width = check_drawn_size("photo_pan", image_size, 1)
    check_whole("photo_pan.n_frames", n_frames, 2)
    check_whole("photo_pan.n_runs", n_runs, 1)
    check_whole("photo_pan.seed", seed, 0)
    check_number("photo_pan.view", view, "[0.001, 0.999]", "a share of the photograph's shorter side")
    check_number("photo_pan.zoom_range", zoom_range, "[1, inf)")
    speeds = {"translation": translation_speed, "rotation": rotation_speed, "zoom": zoom_speed}
    smoothness = {"translation": translation_smoothness, "rotation": rotation_smoothness, "zoom": zoom_smoothness}
    for name, speed in speeds.items():
        check_number(f"photo_pan.{name}_speed", speed, "[0, inf)", "a frame")
        check_number(f"photo_pan.{name}_smoothness", smoothness[name], "[0, inf)", "in frames")
    if not isinstance(photographs, Sequence) or isinstance(photographs, str) or not photographs:
        raise InputError(f"photo_pan.photographs: expected a list of file names, got {photographs!r}")
    mode = "L" if greyscale else "RGB"
    pictures = [read_picture(find_photograph("photo_pan", name)).convert(mode) for name in photographs[:n_runs]]
    runs = []
    for index in range(n_runs):
        picture, name = pictures[index % len(pictures)], photographs[index % len(photographs)]
        rng = np.random.default_rng([seed, index])
        log_zoom = _bounded(rng, n_frames, zoom_speed, smoothness["zoom"], 0.0, float(np.log(zoom_range)))
        zoom = np.exp(log_zoom)
        angle = rng.uniform(0, 2 * np.pi) + np.cumsum(_velocity(rng, n_frames, rotation_speed, rotation_smoothness))
        diagonal = view * min(picture.size) / zoom
        step = translation_speed * view * min(picture.size)
        # Half a pixel more than half the diagonal, so that all four neighbours of every sample exist.
        x, y = (
            _bounded(rng, n_frames, step, translation_smoothness, diagonal / 2 + 0.5, side - diagonal / 2 - 0.5)
            for side in picture.size
        )
        frames = _sample(picture, x, y, angle, diagonal, height, width)
        truth = {
            "x": x / picture.width,
            "y": y / picture.height,
            "cos_angle": np.cos(angle),
            "sin_angle": np.sin(angle),
            "zoom": zoom,
        }
        named = {key: values.astype(np.float32) for key, values in truth.items()}
        runs.append(Run(frames, f"photo_pan {index} ({name})", np.arange(n_frames, dtype=np.int64), named))
    return runs


def _velocity(rng: np.random.Generator, n_frames: int, speed: float, smoothness: float) -> np.ndarray:
    """Gaussian noise `[n_frames]` of root-mean-square `speed`, correlated over about `smoothness` frames."""
    reach = int(np.ceil(4 * smoothness))
    noise = rng.standard_normal(n_frames + 2 * reach)
    if not reach:
        return speed * noise
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / smoothness) ** 2)
    return speed * np.convolve(noise, kernel / np.sqrt((kernel**2).sum()), mode="valid")


def _bounded(
    rng: np.random.Generator,
    n_frames: int,
    speed: float,
    smoothness: float,
    low: np.ndarray | float,
    high: np.ndarray | float,
) -> np.ndarray:
    """A walk `[n_frames]` within bounds that may move: its phase is free, its place the phase's cosine."""
    low, high = np.broadcast_to(low, n_frames), np.broadcast_to(high, n_frames)
    half = np.maximum((high - low) / 2, 0)
    # d place = half sin(phase) d phase, and sin has a root mean square of 1 / sqrt(2).
    turn = speed * np.sqrt(2) / half.mean() if half.mean() > 0 else 0.0
    phase = rng.uniform(0, 2 * np.pi) + np.cumsum(_velocity(rng, n_frames, turn, smoothness))
    return (low + high) / 2 - half * np.cos(phase)


def _sample(
    picture: Image.Image, x: np.ndarray, y: np.ndarray, angle: np.ndarray, diagonal: np.ndarray, height: int, width: int
) -> np.ndarray:
    """Frames uint8 `[time, height, width, channel]`, bilinear between pixels of a photograph shrunk to their scale."""
    reach = diagonal / np.hypot(height, width)  # pixels of the photograph a pixel of a frame
    # Shrunk once, to the scale of the closest view: no aliasing there, and at most `zoom_range` at the widest.
    scale = max(1.0, float(np.sqrt(reach.min() * reach.max())))
    size = max(2, round(picture.width / scale)), max(2, round(picture.height / scale))
    pixels = np.asarray(picture.resize(size, Image.Resampling.BOX), np.float32)
    ratio_x, ratio_y = size[0] / picture.width, size[1] / picture.height
    flat = pixels.reshape(size[0] * size[1], -1)
    rows, columns = np.mgrid[:height, :width].reshape(2, -1) - np.array([[(height - 1) / 2], [(width - 1) / 2]])
    frames = np.empty((len(x), height, width, flat.shape[1]), np.uint8)
    for start in range(0, len(x), _CHUNK):
        part = slice(start, start + _CHUNK)
        cos = (np.cos(angle[part]) * reach[part])[:, np.newaxis]
        sin = (np.sin(angle[part]) * reach[part])[:, np.newaxis]
        # Pixel centres lie at half-integer places.
        at_x = (x[part, np.newaxis] + cos * columns - sin * rows) * ratio_x - 0.5
        at_y = (y[part, np.newaxis] + sin * columns + cos * rows) * ratio_y - 0.5
        frames[part] = _bilinear(flat, size, at_x, at_y).reshape(-1, height, width, flat.shape[1])
    return frames


def _bilinear(flat: np.ndarray, size: tuple[int, int], at_x: np.ndarray, at_y: np.ndarray) -> np.ndarray:
    left = np.clip(np.floor(at_x), 0, size[0] - 2)
    top = np.clip(np.floor(at_y), 0, size[1] - 2)
    to_x = np.clip(at_x - left, 0, 1).astype(np.float32)[..., np.newaxis]
    to_y = np.clip(at_y - top, 0, 1).astype(np.float32)[..., np.newaxis]
    corner = (top * size[0] + left).astype(np.intp)
    upper = np.take(flat, corner, axis=0)
    upper += to_x * (np.take(flat, corner + 1, axis=0) - upper)
    lower = np.take(flat, corner + size[0], axis=0)
    lower += to_x * (np.take(flat, corner + size[0] + 1, axis=0) - lower)
    upper += to_y * (lower - upper)
    return (upper + np.float32(0.5)).astype(np.uint8)
