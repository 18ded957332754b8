"""Pictures of a classifier: which classes it takes for which, and the images it is most wrong about."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sfa_jax.evaluation._image_plots import entitle, picture_grid, show
from sfa_jax.evaluation._plots import draw_losses, open_folder

_MISTAKES = 16
_COLUMNS = 8


def plot_classes(
    folder: Path,
    images: np.ndarray,
    probabilities: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[Any] | np.ndarray,
    records: Sequence[Mapping[str, Any]],
) -> list[Path]:
    """Draws `confusion.png`, `losses.png`, and `mistakes.png` where there are any.

    Args:
      folder: where to; made if it is not there.
      images: held-out ones, uint8 `[n, height, width, channel]`.
      probabilities: of their classes, `[n, n_classes]`.
      labels: true classes, int `[n]`, counted from 0.
      classes: what they are called, numbers or texts `[n_classes]`.
      records: the lines of the metrics file.

    Returns:
      The files written.
    """
    plt, save, written = open_folder(folder)
    found = np.argmax(probabilities, axis=1)
    names = [label if isinstance(label, str) else f"{label:g}" for label in classes]
    save(_confusion(plt, found, labels, names), "confusion.png")
    wrong = np.flatnonzero(found != labels)
    if len(wrong):
        worst = wrong[np.argsort(-probabilities[wrong, found[wrong]])][:_MISTAKES]
        rows = -(-len(worst) // _COLUMNS)
        figure, axes = picture_grid(plt, rows, min(_COLUMNS, len(worst)), images.shape[1:3], below=0.35)
        for axis in axes.ravel()[len(worst) :]:
            axis.axis("off")
        for axis, k in zip(axes.ravel(), worst, strict=False):
            show(axis, images[k] / 255)
            named = names[labels[k]], names[found[k]], probabilities[k, found[k]]
            axis.set_title("{}, taken for {}\np = {:.2f}".format(*named), fontsize=8)
        entitle(figure, "Held-out images that it is most sure, and wrong, about")
        save(figure, "mistakes.png")
    if any(record.get("split") == "train" for record in records):
        save(draw_losses(plt, records, "cross-entropy, nats"), "losses.png")
    return written


def _confusion(plt: Any, found: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> Any:
    n = len(names)
    counts = np.zeros((n, n), int)
    np.add.at(counts, (labels, found), 1)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(12.0, 1.6 + 0.42 * n)
    figure, axis = plt.subplots(figsize=(side + 0.8, side), layout="constrained")
    image = axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
    if n <= 20:
        for row, column in np.argwhere(counts > 0):
            colour = "white" if share[row, column] > 0.5 else "black"
            axis.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour, fontsize=8)
    axis.set_xticks(range(n), names), axis.set_yticks(range(n), names)
    right = np.trace(counts) / max(1, counts.sum())
    axis.set(xlabel="taken for", ylabel="class", title=f"Held-out images: {100 * right:.1f} % right")
    figure.colorbar(image, ax=axis, label="share of the class", shrink=0.8)
    return figure
