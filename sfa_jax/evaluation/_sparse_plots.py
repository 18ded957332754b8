"""Pictures of dictionaries, sparse codes, and of how sparse the world is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sfa_jax.evaluation._image_plots import entitle
from sfa_jax.evaluation._pictures import open_folder
from sfa_jax.evaluation._sparse_measures import Curves, Pursuit

_ATOMS = 100  # drawn of each dictionary
_CODES = 400  # frames of the picture of codes
_LABELS = {
    "theta": "threshold theta of a ReLU, of full brightness",
    "tau": "lag tau, frames",
    "window": "window of the box, frames",
    "hard_theta": "hard threshold theta, of full brightness",
    "spatial_window": "window of the box, pixels (0: neighbours)",
}


def plot_atoms(
    folder: Path, dictionaries: Mapping[str, np.ndarray], shape: tuple[int, ...], marks: Mapping[str, np.ndarray]
) -> list[Path]:
    """Draws `atoms.png`: dictionaries side by side, as images or as curves over time.

    Args:
      folder: where to; made if it is not there.
      dictionaries: by name, `[n_atoms, n_features]`, in the order in which they are drawn.
      shape: of a signal, `(height, width, channel)` or `(time,)`.
      marks: by name, bool `[n_atoms]`: those like a simple cell, which are framed; may be empty.

    Returns:
      The file written.
    """
    plt, save, written = open_folder(folder)
    n = min(_ATOMS, max(len(atoms) for atoms in dictionaries.values()))
    columns = int(np.ceil(np.sqrt(n)))
    rows = -(-n // columns)
    aspect = shape[0] / shape[1] if len(shape) == 3 else 0.7
    size = 5.2
    figure = plt.figure(
        figsize=((size + 0.3) * len(dictionaries), size * aspect * rows / columns + 0.9), layout="constrained"
    )
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02)
    parts = figure.subfigures(1, len(dictionaries), squeeze=False)[0]
    for part, (name, atoms) in zip(parts, dictionaries.items(), strict=True):
        shown = min(len(atoms), n)
        axes = part.subplots(rows, columns, squeeze=False)
        like = marks.get(name)
        share = f"; {100 * np.mean(like):.0f} % of all like simple cells (framed)" if like is not None else ""
        some = f"{shown} of {len(atoms)}" if shown < len(atoms) else f"{shown}"
        part.suptitle(f"{name}: {some} atoms{share}", fontsize=11)
        for k, axis in enumerate(axes.ravel()):
            axis.set_xticks([]), axis.set_yticks([])
            framed = like is not None and k < shown and like[k]
            for spine in axis.spines.values():
                spine.set(visible=k < shown, color="tab:orange" if framed else "0.8", linewidth=1.2 if framed else 0.5)
            if k < shown:
                _draw_atom(axis, atoms[k], shape)
    save(figure, "atoms.png")
    return written


def _draw_atom(axis: Any, atom: np.ndarray, shape: tuple[int, ...]) -> None:
    limit = float(np.abs(atom).max()) or 1.0
    if len(shape) == 1:
        axis.plot(atom, color="black", linewidth=0.8)
        axis.set(ylim=(-1.1 * limit, 1.1 * limit), xlim=(0, len(atom) - 1))
    elif shape[2] == 1:
        axis.imshow(atom.reshape(shape)[..., 0], cmap="gray", vmin=-limit, vmax=limit)
    else:
        axis.imshow(0.5 + atom.reshape(shape) / (2 * limit))


def plot_sparse_codes(
    folder: Path, codes: np.ndarray, samples: Mapping[str, np.ndarray], *, what: str, number: str
) -> list[Path]:
    """Draws `codes.png`: codes over time, and how their numbers are spread.

    Args:
      folder: where to; made if it is not there.
      codes: `[time, n_atoms]` of frames that follow on each other, or of images.
      samples: by name of the dictionary, numbers of codes of held-out signals, of any shape.
      what: the frames are called.
      number: what a number of `codes` is called.

    Returns:
      The file written.
    """
    plt, save, written = open_folder(folder)
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.4), layout="constrained", width_ratios=(2, 1))
    codes = codes[:_CODES]
    signed = bool((codes < 0).any())
    limit = float(np.quantile(np.abs(codes), 0.999)) or 1.0
    image = left.imshow(
        codes.T, aspect="auto", interpolation="nearest", cmap="RdBu_r" if signed else "magma_r",
        vmin=-limit if signed else 0, vmax=limit,
    )  # fmt: skip
    figure.colorbar(image, ax=left, label=number)
    left.set(xlabel=what, ylabel="atom, by use", title=f"Codes of {what}s")
    for (name, values), colour in zip(samples.items(), ("tab:orange", "0.5"), strict=False):
        flat = np.ravel(values)
        deviation = float(flat.std()) or 1.0
        edges = np.linspace(-12, 12, 97)
        density = np.histogram(flat / deviation, edges)[0] / (len(flat) * (edges[1] - edges[0]))
        fourth = float(np.mean(((flat - flat.mean()) / deviation) ** 4))
        right.stairs(density, edges, color=colour, label=f"{name}, kurtosis {fourth:.0f}", linewidth=1.3)
    x = np.linspace(-6, 6, 200)
    right.plot(x, np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi), color="black", linestyle=":", label="normal, kurtosis 3")
    right.set(
        yscale="log", ylim=(1e-5, 20), xlabel="number of a code, in standard deviations", ylabel="density",
        title="Held-out codes",
    )  # fmt: skip
    right.legend(frameon=False, fontsize=8)
    right.spines[["top", "right"]].set_visible(False)
    save(figure, "codes.png")
    return written


def plot_pursuit(folder: Path, pursuits: Mapping[str, Pursuit], name: str, title: str) -> list[Path]:
    """Draws what is left of signals against the number of non-zeros, median and quartiles, elbows marked.

    Args:
      folder: where to; made if it is not there.
      pursuits: by name of the dictionary.
      name: of the file.
      title: of the picture.

    Returns:
      The file written.
    """
    plt, save, written = open_folder(folder)
    figure, axis = plt.subplots(figsize=(6.4, 4.4), layout="constrained")
    for (label, found), colour in zip(pursuits.items(), ("tab:orange", "0.45", "tab:blue"), strict=False):
        numbers = np.arange(1, found.left.shape[1] + 1)
        left = found.left if np.isfinite(found.left).any() else np.zeros_like(found.left)
        low, middle, high = np.nanquantile(left, [0.25, 0.5, 0.75], axis=0)
        axis.plot(numbers, middle, color=colour, label=label)
        axis.fill_between(numbers, low, high, color=colour, alpha=0.2, linewidth=0)
        k = found.elbow
        axis.plot([k], [middle[k - 1]], "o", color=colour, markersize=7)
        axis.annotate(f"elbow: {k}", (k, middle[k - 1]), (8, 8), textcoords="offset points", fontsize=9, color=colour)
    axis.set(
        xlabel="non-zeros of a code", ylabel="share of the power that is left", ylim=(0, None), title=title,
    )  # fmt: skip
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False)
    save(figure, f"{name}.png")
    return written


def plot_series(folder: Path, series: np.ndarray, drawn: np.ndarray, n_nonzero: int) -> list[Path]:
    """Draws `sinusoids.png`: series of three pixels, and the sums of sinusoids that stand for them.

    Args:
      folder: where to; made if it is not there.
      series, drawn: `[time, n]` in [0, 1].
      n_nonzero: sinusoids of each.

    Returns:
      The file written.
    """
    plt, save, written = open_folder(folder)
    chosen = np.argsort(-series.var(axis=0))[[int(share * (series.shape[1] - 1)) for share in (0.05, 0.3, 0.6)]]
    figure, axes = plt.subplots(len(chosen), 1, figsize=(9, 5.4), layout="constrained", sharex=True)
    for axis, k in zip(axes, chosen, strict=True):
        axis.plot(series[:, k], color="black", linewidth=1, label="pixel")
        axis.plot(drawn[:, k], color="tab:orange", linewidth=1, label=f"{n_nonzero} sinusoids")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False, ncols=2, loc="upper right")
    axes[1].set_ylabel("brightness")
    axes[-1].set_xlabel("frame")
    figure.suptitle("Series of three pixels, drawn from few sinusoids by orthogonal matching pursuit")
    save(figure, "sinusoids.png")
    return written


def plot_kurtosis(folder: Path, curves: Curves, what: str) -> list[Path]:
    """Draws `kurtosis.png`: how sparse the numbers are after thresholds and differences, against their strength.

    Args:
      folder: where to; made if it is not there.
      curves: of series or images.
      what: one of them is called.

    Returns:
      The file written.
    """
    plt, save, written = open_folder(folder)
    from matplotlib.ticker import LogLocator

    figure, axes = plt.subplots(
        1, len(curves.after), figsize=(4.2 * len(curves.after), 3.8), layout="constrained", squeeze=False
    )
    before = float(np.nanmedian(curves.before))
    for axis, (name, (given, values)) in zip(axes[0], curves.after.items(), strict=True):
        strengths = np.array(given)
        told = np.isfinite(values).mean(axis=1) >= 0.5  # of fewer the median would be of others than before
        low, middle, high = np.nanquantile(values[told], [0.25, 0.5, 0.75], axis=1)
        axis.fill_between(strengths[told], low, high, alpha=0.2, linewidth=0, color="tab:blue")
        axis.plot(strengths[told], middle, "o-", markersize=3, color="tab:blue", label=f"after, median {what}")
        axis.axhline(before, color="black", linestyle=":", linewidth=1, label="before")
        axis.set(xlabel=_LABELS[name], yscale="log")
        axis.yaxis.set_minor_locator(LogLocator(subs=(2, 3, 5)))
        axis.yaxis.set_major_formatter("{x:g}"), axis.yaxis.set_minor_formatter("{x:g}")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set_ylabel("kurtosis")
    axes[0, 0].legend(frameon=False, fontsize=8)
    entitle(figure, f"How heavy the tails are, of each {what}: median and quartiles")
    save(figure, "kurtosis.png")
    return written
