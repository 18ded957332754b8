"""Pictures of a classifier: which classes it takes for which, and the images it is most wrong about."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sfa_jax.evaluation._image_plots import entitle, picture_grid, show
from sfa_jax.evaluation._pictures import Picture, as_picture

_MISTAKES = 16
_COLUMNS = 8


def class_pictures(
    images: np.ndarray, probabilities: np.ndarray, labels: np.ndarray, classes: Sequence[Any] | np.ndarray
) -> list[Picture]:
    """Lists `confusion.png`, and `mistakes.png` where there are any.

    Args:
      images: held-out ones, uint8 `[n, height, width, channel]`.
      probabilities: of their classes, `[n, n_classes]`.
      labels: true classes, int `[n]`, counted from 0.
      classes: what they are called, numbers or texts `[n_classes]`.
    """
    found = np.argmax(probabilities, axis=1)
    names = [label if isinstance(label, str) else f"{label:g}" for label in classes]
    pictures = [as_picture("confusion.png", lambda plt: _confusion(plt, found, labels, names))]
    if (found != labels).any():
        pictures.append(as_picture("mistakes.png", lambda plt: _mistakes(plt, images, probabilities, labels, names)))
    return pictures


def _mistakes(plt: Any, images: np.ndarray, probabilities: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> Any:
    found = np.argmax(probabilities, axis=1)
    wrong = np.flatnonzero(found != labels)
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
    return figure


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
