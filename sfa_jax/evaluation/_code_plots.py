"""Pictures of an autoencoder's code: how it is spread, what is drawn from samples, and what lies between two images."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from sfa_jax.evaluation._image_plots import entitle, picture_grid, show
from sfa_jax.evaluation._pictures import open_folder

_IMAGES = 8
_HISTOGRAMS = 12
_STRIP = 12  # frames of a film strip


def plot_restorations(
    folder: Path, images: np.ndarray, corrupted: Mapping[str, np.ndarray], restored: Mapping[str, np.ndarray]
) -> list[Path]:
    """Draws `restorations.png`: of each corruption, images as they are, corrupted, and restored.

    Args:
      folder: where to; made if it is not there.
      images: clean ones, `[n, height, width, channel]` in [0, 1].
      corrupted, restored: by name of the corruption, of the same shape.

    Returns:
      The file written.
    """
    plt, save, written = open_folder(folder)
    rows = {"original": images}
    for name in corrupted:
        label = name.replace("_", " ")
        rows |= {label: corrupted[name], f"{label},\nrestored": np.clip(restored[name], 0, 1)}
    chosen = np.linspace(0, len(images) - 1, min(_IMAGES, len(images))).astype(int)
    figure, axes = picture_grid(plt, len(rows), len(chosen), images.shape[1:3], below=0.1)
    for line, (name, pictures) in zip(axes, rows.items(), strict=True):
        for axis, k in zip(line, chosen, strict=True):
            show(axis, pictures[k])
        line[0].set_ylabel(name, fontsize=8)
    kept = "; around holes it is kept" if "random_erase" in corrupted else ""
    entitle(figure, f"Held-out images, corrupted, and what is drawn from the codes of these{kept}")
    save(figure, "restorations.png")
    return written


def plot_samples(folder: Path, samples: np.ndarray, title: str) -> list[Path]:
    """Draws `samples.png`.

    Args:
      folder: where to; made if it is not there.
      samples: images `[n, height, width, channel]`, about in [0, 1].
      title: says what they were drawn from.

    Returns:
      The file written.
    """
    plt, save, written = open_folder(folder)
    columns = min(12, len(samples))
    rows = -(-len(samples) // columns)
    figure, axes = picture_grid(plt, rows, columns, samples.shape[1:3], below=0.05)
    for k, axis in enumerate(axes.ravel()):
        if k < len(samples):
            show(axis, np.clip(samples[k], 0, 1))
        else:
            axis.axis("off")
    entitle(figure, title)
    save(figure, "samples.png")
    return written


def plot_interpolations(folder: Path, pairs: Sequence[tuple[np.ndarray, np.ndarray]], drawn: np.ndarray) -> list[Path]:
    """Draws `interpolations.png`: between the first image of each row and the last.

    Args:
      folder: where to; made if it is not there.
      pairs: the two images of each row, `[height, width, channel]` in [0, 1].
      drawn: `[row, step, height, width, channel]`, about in [0, 1], the first and the last of the pair's own codes.

    Returns:
      The file written.
    """
    plt, save, written = open_folder(folder)
    n_rows, n_steps = drawn.shape[:2]
    figure, axes = picture_grid(plt, n_rows, n_steps + 2, drawn.shape[2:4], below=0.05)
    for line, (first, last), between in zip(axes, pairs, drawn, strict=True):
        for axis, picture in zip(line, [first, *np.clip(between, 0, 1), last], strict=True):
            show(axis, picture)
    axes[0, 0].set_title("image", fontsize=9)
    axes[0, -1].set_title("image", fontsize=9)
    for axis, share in zip(axes[0, 1:-1], np.linspace(0, 1, n_steps), strict=True):
        axis.set_title(f"{share:.2f}", fontsize=9)
    entitle(figure, "Drawn from codes between those of two held-out images")
    save(figure, "interpolations.png")
    return written


def plot_codes(folder: Path, codes: np.ndarray, kind: str) -> list[Path]:
    """Draws `codes.png`: histograms of the numbers that vary most, and how much, or how often, each is used.

    Args:
      folder: where to; made if it is not there.
      codes: of held-out images, `[n, code_size]`; of Gaussian ones the means.
      kind: "sparse" for how often a number is above 0, any other for how much it varies.

    Returns:
      The file written.
    """
    plt, save, written = open_folder(folder)
    largest = np.argsort(-codes.var(axis=0))[:_HISTOGRAMS]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    low, high = float(codes[:, largest].min()), float(codes[:, largest].max())
    edges = np.linspace(low, high if high > low else low + 1, 40)
    for k in largest:
        left.hist(codes[:, k], bins=edges, histtype="step", alpha=0.7)
    left.set(xlabel="value", ylabel="held-out images", title=f"the {len(largest)} numbers that vary most")
    if kind == "sparse":
        left.set_yscale("log")
        used, label = np.mean(codes > 0, axis=0), "share of images it is active on"
    else:
        used, label = codes.std(axis=0), "standard deviation"
    right.plot(np.sort(used)[::-1], ".-", markersize=3, linewidth=0.8)
    right.set(xlabel="numbers of the code, most used first", ylabel=label, ylim=(0, None), title="use of the code")
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
    save(figure, "codes.png")
    return written


def plot_clips(folder: Path, true: np.ndarray, drawn: np.ndarray, n_seen: int) -> list[Path]:
    """Draws `clips.png`: clips as film strips, above what is drawn of them.

    Args:
      folder: where to; made if it is not there.
      true, drawn: `[n, time, height, width, channel]` in [0, 1].
      n_seen: frames that were seen; those after them go on by themselves.

    Returns:
      The file written.
    """
    plt, save, written = open_folder(folder)
    time = true.shape[1]
    seen = np.unique(np.linspace(0, n_seen - 1, min(4, n_seen)).astype(int))
    unseen = np.unique(np.linspace(n_seen, time - 1, min(_STRIP - len(seen), time - n_seen)).astype(int))
    shown = np.concatenate([seen, unseen])
    figure, axes = picture_grid(plt, 2 * len(true), len(shown), true.shape[2:4], below=0.05)
    for k, (clip, found) in enumerate(zip(true, drawn, strict=True)):
        for row, frames, name in ((2 * k, clip, "clip"), (2 * k + 1, found, "drawn")):
            for axis, t in zip(axes[row], shown, strict=True):
                show(axis, frames[t])
            axes[row, 0].set_ylabel(name)
    for axis, t in zip(axes[0], shown, strict=True):
        axis.set_title(f"{t}" if t < n_seen else f"{t}, not seen", fontsize=8)
    after = "; after the last frame seen, codes go on alone" if time > n_seen else ""
    entitle(figure, f"Held-out clips, and what is drawn from their codes{after}")
    save(figure, "clips.png")
    return written


def plot_film(folder: Path, true: np.ndarray, drawn: np.ndarray) -> list[Path]:
    """Draws `clips.gif`: clips side by side as films, above what is drawn of them; the arguments as of `plot_clips`."""
    gap = max(1, true.shape[3] // 16)
    padded = [
        np.pad(part, [(0, 0), (0, 0), (gap, gap), (gap, gap), (0, 0)], constant_values=1) for part in (true, drawn)
    ]
    films = np.concatenate([np.concatenate(list(part), axis=2) for part in padded], axis=1)
    pictures = [Image.fromarray(np.round(255 * frame).astype(np.uint8).squeeze()) for frame in films]
    scale = max(1, 128 // true.shape[2])
    pictures = [p.resize((p.width * scale, p.height * scale), Image.Resampling.NEAREST) for p in pictures]
    folder.mkdir(parents=True, exist_ok=True)
    path, temporary = folder / "clips.gif", folder / ".tmp-clips.gif"
    pictures[0].save(temporary, save_all=True, append_images=pictures[1:], duration=150, loop=0)
    os.replace(temporary, path)  # whole or not at all
    return [path]


def plot_future(folder: Path, errors: Mapping[str, np.ndarray]) -> list[Path]:
    """Draws `future.png`: the squared error of each frame after the last one seen.

    Args:
      folder: where to; made if it is not there.
      errors: mean squared errors `[n_frames]`, by what is drawn there.

    Returns:
      The file written.
    """
    plt, save, written = open_folder(folder)
    figure, axis = plt.subplots(figsize=(6.4, 4), layout="constrained")
    for (name, values), style in zip(errors.items(), ("o-", "s--", "^:"), strict=False):
        axis.plot(np.arange(1, len(values) + 1), values, style, label=name, markersize=4)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set(
        xlabel="frames after the last one seen", ylabel="mean squared error", ylim=(0, None), title="Held-out clips"
    )
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False)
    save(figure, "future.png")
    return written
