"""Colors and small helpers that all pictures share."""

import textwrap
from typing import Any

import numpy as np

# Told apart by readers who see few colors (Okabe and Ito, "Color Universal Design", 2008), dark to light.
BLACK, BLUE, RED, GREEN, ORANGE, PURPLE, SKY = (
    "#000000", "#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9",
)  # fmt: skip
WIDTH = 10.0  # inches of a wide picture
_TALL = 1.25  # inches of a picture among others


def tidy(axis: Any) -> None:
    """Leave only the left and the lower line around an axis."""
    axis.spines[["top", "right"]].set_visible(False)


def evenly(total: int, most: int) -> np.ndarray:
    """Return the places of at most `most` evenly spaced items among `total`, first and last included."""
    return np.unique(np.linspace(0, total - 1, min(total, most)).round().astype(int)) if total else np.zeros(0, int)


def count(n: int, thing: str) -> str:
    """Return a number and what is counted, in the plural where it is not one."""
    return f"{n:,} {thing}{'' if n == 1 else 's'}"


def picture_grid(
    plt: Any, rows: int, columns: int, shape: tuple[int, int], *, below: float, tall: float = _TALL
) -> tuple[Any, Any]:
    """Make a figure of pictures of `shape` pixels, `tall` inches each, with so many inches below each."""
    width = tall * min(4.0, max(0.5, shape[1] / shape[0]))
    size = ((width + 0.1) * columns + 0.8, (tall + below) * rows + 0.7)
    return plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")


def entitle(figure: Any, title: str) -> None:
    """Write a title over a figure of pictures, in as many lines as its width asks for."""
    figure.suptitle(textwrap.fill(title, max(16, int(9 * figure.get_figwidth()))))


def show(axis: Any, picture: np.ndarray) -> None:
    """Show one image `[height, width, channel]` in [0, 1], without ticks."""
    axis.imshow(picture.squeeze(-1) if picture.shape[-1] == 1 else picture, cmap="gray", vmin=0, vmax=1)
    axis.set_xticks([]), axis.set_yticks([])
