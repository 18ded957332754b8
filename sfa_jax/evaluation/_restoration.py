"""What an autoencoder makes of images that are noisy, have holes, or are of half the size."""

from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image

from sfa_jax.evaluation._images import psnr

Draw = Callable[[np.ndarray], np.ndarray]


def restore(draw: Draw, corrupted: Mapping[str, np.ndarray], hole: np.ndarray | None) -> dict[str, np.ndarray]:
    """What an autoencoder makes of corrupted images: what it draws from their codes.

    Of "random_erase", where it is known which pixels are missing, the others are kept: `inpaint`.

    Args:
      draw: images `[n, height, width, channel]` in [0, 1] to their reconstructions.
      corrupted: by name of the corruption, images in [0, 1].
      hole: bool `[n, height, width, 1]`, what "random_erase" has erased; needed with it alone.

    Returns:
      By name, images of the same shape.
    """
    restored = {}
    for name, given in corrupted.items():
        if name == "random_erase" and hole is not None:
            restored[name] = inpaint(draw, given, hole)
        else:
            restored[name] = draw(given)
    return restored


def restoration_measures(
    restored: Mapping[str, np.ndarray],
    corrupted: Mapping[str, np.ndarray],
    images: np.ndarray,
    hole: np.ndarray | None,
    mean_image: np.ndarray,
    factor: int,
) -> dict[str, float]:
    """PSNR of corrupted images, and of what is made of them, against the clean ones.

    Args:
      restored: from `restore`.
      corrupted, hole: as there.
      images: the clean ones, `[n, height, width, channel]` in [0, 1].
      mean_image: `[height, width, channel]`, that holes are filled with for comparison.
      factor: pixels a side that "downsample" has averaged.

    Returns:
      `NAME/corrupted_psnr` and `NAME/psnr` in dB, means over images; of "random_erase" also `mean_filled_psnr`, of
      "downsample" `bicubic_psnr`.
    """
    found = {}
    for name, given in corrupted.items():
        found[f"{name}/corrupted_psnr"] = float(psnr(given, images).mean())
        found[f"{name}/psnr"] = float(psnr(restored[name], images).mean())
        if name == "random_erase" and hole is not None:
            found[f"{name}/mean_filled_psnr"] = float(psnr(np.where(hole, mean_image, given), images).mean())
        if name == "downsample":
            small = given[:, ::factor, ::factor]
            found[f"{name}/bicubic_psnr"] = float(psnr(resize_bicubic(small, images.shape[1:3]), images).mean())
    return found


def inpaint(draw: Draw, images: np.ndarray, hole: np.ndarray, *, n_steps: int = 10) -> np.ndarray:
    """Fills holes with what an autoencoder draws there, again and again: each time it sees its last filling.

    x <- images outside the hole, draw(x) inside it

    Args:
      draw: images in [0, 1] to their reconstructions.
      images: `[n, height, width, channel]`, inside the hole whatever is seen there at first: best what the autoencoder
        was trained to undo.
      hole: bool `[n, height, width, 1]`.
      n_steps: how often, at least 1.

    Returns:
      The images with their holes filled, in [0, 1].

    Raises:
      ValueError: the hole has another shape, or there is no step.

    >>> hole = np.array([True, False]).reshape(1, 1, 2, 1)
    >>> inpaint(lambda x: x[:, :, ::-1], np.array([0.0, 0.5]).reshape(1, 1, 2, 1), hole).ravel().tolist()
    [0.5, 0.5]
    """
    x = np.asarray(images, np.float32)
    if np.shape(hole) != (*x.shape[:3], 1):
        raise ValueError(f"hole: expected shape {(*x.shape[:3], 1)}, got {np.shape(hole)}")
    if n_steps < 1:
        raise ValueError(f"n_steps: expected at least 1, got {n_steps}")
    for _ in range(n_steps):
        x = np.where(hole, np.clip(draw(x), 0, 1), x).astype(np.float32)
    return x


def resize_bicubic(images: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Images `[n, height, width, channel]` in [0, 1] at another (height, width), by cubic interpolation."""

    def resize(channel: np.ndarray) -> np.ndarray:
        picture = Image.fromarray(np.asarray(channel, np.float32))
        return np.asarray(picture.resize((shape[1], shape[0]), Image.Resampling.BICUBIC))

    if not len(images):
        return np.zeros((0, *shape, images.shape[-1]), np.float32)
    resized = [np.stack([resize(image[..., k]) for k in range(image.shape[-1])], axis=-1) for image in images]
    return np.clip(np.stack(resized), 0, 1)
