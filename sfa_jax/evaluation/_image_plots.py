"""The pictures of an image autoencoder's run: what it draws, how its maps grow, and its waves."""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from sfa_jax.evaluation._images import psnr
from sfa_jax.evaluation._pictures import Picture, as_picture, open_folder
from sfa_jax.finola import QUADRANTS, FinolaParams, to_wave_coordinates, wave_residual, wave_speeds

_IMAGES = 8  # drawn side by side
_WAVES = 6
_NAMES = {"pca": "PCA", "dct": "DCT", "dct_best": "DCT, largest\n(places not counted)"}
_TALL = 1.25  # inches of a picture


def plot_reconstructions(
    folder: Path, images: np.ndarray, drawn: Mapping[str, Callable[[np.ndarray], np.ndarray]]
) -> list[Path]:
    """Draws `reconstructions.png`.

    Args:
      folder: where to; made if it is not there.
      images: held-out ones, `[n, height, width, channel]` uint8.
      drawn: by name, functions from images to reconstructions in [0, 1].

    Returns:
      The file written.
    """
    plt, save, written = open_folder(folder)
    chosen = images[np.linspace(0, len(images) - 1, min(_IMAGES, len(images))).astype(int)]
    true = chosen / 255
    rows: dict[str, tuple[np.ndarray, np.ndarray | None]] = {"original": (true, None)}
    for name, draw in drawn.items():
        found = np.clip(draw(chosen), 0, 1)
        rows[_NAMES.get(name, name)] = (found, psnr(found, true))
    figure, axes = picture_grid(plt, len(rows), len(chosen), images.shape[1:3], below=0.25)
    for line, (name, (pictures, decibels)) in zip(axes, rows.items(), strict=True):
        for k, (axis, picture) in enumerate(zip(line, pictures, strict=True)):
            show(axis, picture)
            if decibels is not None:
                axis.set_xlabel(f"{decibels[k]:.1f} dB", fontsize=8, labelpad=2)
        line[0].set_ylabel(name)
    entitle(figure, "Held-out images, and what is drawn from codes of the same size")
    save(figure, "reconstructions.png")
    return written


def plot_traversal(
    folder: Path, frame: np.ndarray, pictures: Sequence[np.ndarray], values: np.ndarray, own: np.ndarray
) -> list[Path]:
    """Draws `traversal.png`: a frame with one slow feature moved, the others held, a feature a row.

    Args:
      folder: where to; made if it is not there.
      frame: `[height, width, channel]` uint8.
      pictures: of each feature, slowest first, `[len(values), height, width, channel]`, about in [0, 1].
      values: of the feature in each picture, in standard deviations.
      own: the frame's own value of each feature.

    Returns:
      The file written.
    """
    plt, save, written = open_folder(folder)
    figure, axes = picture_grid(plt, len(pictures), len(values) + 1, frame.shape[:2], below=0.25)
    for k, (line, drawn) in enumerate(zip(axes, pictures, strict=True)):
        for axis, picture in zip(line, [frame / 255, *np.clip(drawn, 0, 1)], strict=True):
            show(axis, picture)
        line[0].set_ylabel(f"feature {k}")
        line[0].set_xlabel(f"its own: {own[k]:.1f}", fontsize=8, labelpad=2)
    axes[0, 0].set_title("frame", fontsize=9)
    for axis, value in zip(axes[0, 1:], values, strict=True):
        axis.set_title(f"{value:+.1f} sd", fontsize=9)
    figure.suptitle("One slow feature is moved, all others are held (a held-out frame, drawn from its code)")
    save(figure, "traversal.png")
    return written


def plot_masked(folder: Path, images: np.ndarray, drawn: np.ndarray, masked: np.ndarray) -> list[Path]:
    """Draws `masked.png`: what was seen of held-out images, what was predicted, and the whole.

    Args:
      folder: where to; made if it is not there.
      images: `[n, height, width, channel]` uint8.
      drawn: predictions of the same shape, about in [0, 1].
      masked: bool `[n, rows, columns]`, cells that were not seen.

    Returns:
      The file written.
    """
    plt, save, written = open_folder(folder)
    chosen = np.linspace(0, len(images) - 1, min(_IMAGES, len(images))).astype(int)
    true = images[chosen] / 255
    cells = images.shape[1] // masked.shape[1], images.shape[2] // masked.shape[2]
    hidden = np.repeat(np.repeat(masked[chosen], cells[0], axis=1), cells[1], axis=2)[..., None]
    rows = {
        "seen": np.where(hidden, 0.5, true),
        "predicted": np.where(hidden, np.clip(drawn[chosen], 0, 1), true),
        "original": true,
    }
    figure, axes = picture_grid(plt, 3, len(chosen), images.shape[1:3], below=0.1)
    for line, (name, pictures) in zip(axes, rows.items(), strict=True):
        for axis, picture in zip(line, pictures, strict=True):
            show(axis, picture)
        line[0].set_ylabel(name)
    figure.suptitle("Held-out images: a quarter is seen, the rest is predicted from it")
    save(figure, "masked.png")
    return written


def wave_pictures(params: FinolaParams, z: np.ndarray) -> list[Picture]:
    """Lists `growth.png`, `wave_speeds.png` and `wave_maps.png`.

    Args:
      params: of the autoregression.
      z: maps that grew from the middle, `[n, height, width, channels]`.
    """
    return [
        as_picture("growth.png", lambda plt: _growth(plt, z[0])),
        as_picture("wave_speeds.png", lambda plt: _speeds(plt, wave_speeds(params), wave_residual(z, params))),
        as_picture("wave_maps.png", lambda plt: _wave_maps(plt, z, params)),
    ]


def picture_grid(plt: Any, rows: int, columns: int, shape: tuple[int, int], *, below: float) -> tuple[Any, Any]:
    """A figure of pictures of `shape` pixels, with so many inches below each."""
    width = _TALL * min(4.0, max(0.5, shape[1] / shape[0]))
    size = ((width + 0.1) * columns + 0.8, (_TALL + below) * rows + 0.7)
    return plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")


def entitle(figure: Any, title: str) -> None:
    """Writes a title over a figure of pictures, in as many lines as its width asks for."""
    figure.suptitle(textwrap.fill(title, max(16, int(9 * figure.get_figwidth()))))


def show(axis: Any, picture: np.ndarray) -> None:
    """One image `[height, width, channel]` in [0, 1], without ticks."""
    axis.imshow(picture.squeeze(-1) if picture.shape[-1] == 1 else picture, cmap="gray", vmin=0, vmax=1)
    axis.set_xticks([]), axis.set_yticks([])


def _growth(plt: Any, z: np.ndarray) -> Any:
    """The three main directions of a map as red, green and blue, as far as it has grown: a step goes to a neighbour."""
    height, width, channels = z.shape
    cells = z.reshape(-1, channels) - z.reshape(-1, channels).mean(axis=0)
    _, _, main = np.linalg.svd(cells, full_matrices=False)
    colours = np.zeros((height, width, 3))
    colours[..., : len(main[:3])] = (cells @ main[:3].T).reshape(height, width, -1)
    low, high = np.quantile(colours, [0.02, 0.98], axis=(0, 1))
    colours = np.clip((colours - low) / np.maximum(high - low, 1e-12), 0, 1)
    row, column = np.indices((height, width))
    distance = np.abs(row - height // 2) + np.abs(column - width // 2)
    farthest = int(distance.max())
    shown = sorted({0, 1, 2, *map(int, np.linspace(4, farthest, 4))} & set(range(farthest + 1)))
    figure, axes = picture_grid(plt, 1, len(shown), (height, width), below=0.3)
    for axis, steps in zip(axes[0], shown, strict=True):
        axis.imshow(np.where((distance <= steps)[..., None], colours, 1), interpolation="nearest")
        axis.set_title(f"{steps} step{'s' * (steps != 1)}", fontsize=9)
        axis.set_xticks([]), axis.set_yticks([])
    figure.suptitle(
        "The map of one held-out image grows from its middle (first path; colours: its three main directions)"
    )
    return figure


def _speeds(plt: Any, waves: Any, residual: np.ndarray) -> Any:
    figure, axes = plt.subplots(1, 4, figsize=(13, 4.1), layout="constrained", sharex=True, sharey=True)
    limit = 4 * float(np.nanmedian(np.abs(waves.speeds)))
    for axis, name, speeds, found in zip(axes, QUADRANTS, waves.speeds, residual, strict=True):
        dots = axis.scatter(speeds.real, speeds.imag, c=found, s=14, vmin=0, vmax=1, cmap="viridis")
        axis.axhline(0, color="0.8", linewidth=0.8, zorder=0), axis.axvline(0, color="0.8", linewidth=0.8, zorder=0)
        outside = int(np.sum((np.abs(speeds.real) > limit) | (np.abs(speeds.imag) > limit)))
        axis.set_title(f"{name.replace('_', ', ')}\n({outside} of {len(speeds)} outside)", fontsize=10)
        axis.set(xlim=(-limit, limit), ylim=(-limit, limit), xlabel="real part", aspect="equal")
    axes[0].set_ylabel("imaginary part")
    figure.colorbar(dots, ax=axes, label="residual of the wave equation", shrink=0.9)
    figure.suptitle("Speeds of the one-way waves of each quadrant")
    return figure


def _wave_maps(plt: Any, z: np.ndarray, params: FinolaParams) -> Any:
    waves = wave_speeds(params)
    with jax.enable_x64(True):
        zeta = np.asarray(to_wave_coordinates(z[0].astype(np.float64), waves))[0]
    return _maps(plt, zeta, waves.speeds[0], wave_residual(z, params)[0])


def _maps(plt: Any, zeta: np.ndarray, speeds: np.ndarray, residual: np.ndarray) -> Any:
    from matplotlib.patches import Rectangle

    zeta = zeta - zeta.mean(axis=(0, 1))  # what rests is not shown
    power = np.mean(np.abs(zeta) ** 2, axis=(0, 1))
    once = [k for k in np.argsort(-power) if not speeds[k].imag < 0]  # of two conjugate ones
    obeying = [k for k in once if residual[k] < 0.5]
    shown = (obeying or once)[:_WAVES]
    height, width = zeta.shape[:2]
    figure, axes = picture_grid(plt, 1, len(shown), (height, width), below=0.6)
    for axis, k in zip(axes[0], shown, strict=True):
        corner = width // 2 - 0.5, height // 2 - 0.5
        frame = Rectangle(corner, width - width // 2, height - height // 2, fill=False, linewidth=2, clip_on=False)
        axis.add_patch(frame)
        limit = np.abs(zeta[..., k].real).max()
        axis.imshow(zeta[..., k].real, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
        axis.set_title(f"speed {_short(speeds[k])}\nresidual {residual[k]:.2f}", fontsize=9)
        axis.set_xticks([]), axis.set_yticks([])
    which = "that obey their equation" if obeying else "(none obeys its equation)"
    figure.suptitle(
        f"Strongest waves of one held-out image {which}\n(first path; right and down, where framed; real part)"
    )
    return figure


def _short(speed: complex) -> str:
    """Two digits after the point, as many as the map can show; of a fast wave none."""
    digits = 0 if abs(speed) >= 10 else 2
    return f"{speed.real:.{digits}f}{speed.imag:+.{digits}f}i"
