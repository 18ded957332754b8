"""Pictures of single features: the frames at their ends, their Delta, and the filters they begin with."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sfa_jax.evaluation._pictures import Figures, Picture, as_picture
from sfa_jax.evaluation._style import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    count,
    entitle,
    evenly,
    picture_grid,
    show,
    tidy,
)

_FEATURES = 8  # drawn
_ENDS = 4  # frames at each end of a feature
_APART = 20  # frames at one end lie at least a share of one in so many of all frames apart
_FILTERS = 64  # drawn
_BASELINES = {
    "pca": ("PCA", ORANGE, "D"),
    "linear_sfa": ("linear SFA", GREEN, "^"),
    "quadratic_sfa": ("quadratic SFA", PURPLE, "v"),
    "untrained": ("untrained network", SKY, "P"),
}


class Extremes(NamedTuple):
    """Frames at which features are smallest and largest, `[n_features, n_frames]` each, by rising value.

    Attributes:
      part: which sequence.
      frame: which of its frames.
      value: of the feature there.
    """

    part: np.ndarray
    frame: np.ndarray
    value: np.ndarray


def in_training_deviations(code: Sequence[np.ndarray], training: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Center and scale codes by the mean and the standard deviation of the training frames; a constant stays 0.

    Args:
      code: `[time, n_features]` of each sequence.
      training: the same features of the training sequences.

    Returns:
      As `code`, in standard deviations.
    """
    every = np.concatenate(training).astype(np.float64)
    mean, deviation = every.mean(axis=0), every.std(axis=0)
    return [(part - mean) / np.where(deviation > 0, deviation, 1) for part in code]


def find_extremes(code: Sequence[np.ndarray], n_features: int = _FEATURES, n_frames: int = _ENDS) -> Extremes:
    """Find the frames at which each feature is smallest and largest, apart in time.

    Args:
      code: `[time, n_features]` of each sequence; frames whose code is not finite are passed over.
      n_features: how many of the first features.
      n_frames: at each end, fewer where there are not as many frames that lie apart.

    Returns:
      At most `2 n_frames` frames of each feature.
    """
    lengths = [len(part) for part in code]
    part = np.repeat(np.arange(len(code)), lengths)
    frame = np.concatenate([np.arange(length) for length in lengths])
    apart = max(1, len(frame) // _APART)
    values = np.concatenate(code)[:, :n_features]
    finite = np.isfinite(values).all(axis=1)
    part, frame, values = part[finite], frame[finite], values[finite]
    n_frames = max(1, min(n_frames, len(frame) // 2))
    rising = [np.argsort(feature, kind="stable") for feature in values.T]
    ends = [[_first(order, part, frame, apart, n_frames) for order in (rise, rise[::-1])] for rise in rising]
    n = min((len(end) for both in ends for end in both), default=0)
    index = np.array([low[:n] + high[:n][::-1] for low, high in ends], int).reshape(len(ends), 2 * n)
    return Extremes(part[index], frame[index], np.take_along_axis(values.T, index, axis=1))


def _first(order: np.ndarray, part: np.ndarray, frame: np.ndarray, apart: int, n: int) -> list[int]:
    """Return the first `n` of some places, or fewer, no two of which lie close together in a sequence."""
    chosen: list[int] = []
    for place in order:
        if len(chosen) == n:
            break
        if not any(part[k] == part[place] and abs(frame[k] - frame[place]) < apart for k in chosen):
            chosen.append(int(place))
    return chosen


def extreme_pictures(
    extremes: Extremes, image_of: Callable[[int, int], np.ndarray], place_of: Callable[[int, int], str]
) -> list[Picture]:
    """List `extremes.png`: the frames at which each feature is smallest and largest; none without features.

    Args:
      extremes: from `find_extremes`, in standard deviations of training.
      image_of: gives a frame of a sequence, uint8 `[height, width, channel]`; called when the picture is drawn.
      place_of: says in a few letters where that is.
    """
    if not extremes.value.size:
        return []

    def draw(plt: Figures) -> Any:
        places = [list(zip(*row, strict=True)) for row in zip(extremes.part, extremes.frame, strict=True)]
        images = np.array([[image_of(*place) for place in row] for row in places])
        return draw_extremes(plt, images, extremes.value, [[place_of(*place) for place in row] for row in places])

    return [as_picture("extremes.png", draw)]


def draw_extremes(plt: Any, images: np.ndarray, values: np.ndarray, places: Sequence[Sequence[str]]) -> Any:
    """Draw frames with the value of a feature below each, a feature a row.

    Args:
      plt: makes figures.
      images: `[n_features, n_frames, height, width, channel]` uint8, by rising value.
      values: `[n_features, n_frames]` in standard deviations of training.
      places: where each is.

    Returns:
      The figure.
    """
    rows, columns = values.shape
    height, width = images.shape[2:4]
    figure, axes = picture_grid(plt, rows, columns, (height, width), below=0.45, tall=1.25 * min(1, height / width))
    for k, line in enumerate(axes):
        for axis, image, value, place in zip(line, images[k], values[k], places[k], strict=True):
            show(axis, image / 255)
            axis.set_xlabel(f"{value:+.1f} sd\n{place}", fontsize=8, labelpad=2)
        line[0].set_ylabel(f"feature {k}")
    axes[0, 0].set_title("smallest", fontsize=9)
    axes[0, -1].set_title("largest", fontsize=9)
    entitle(
        figure,
        "Held-out frames, apart in time, at which each feature is smallest and largest, in standard deviations of "
        "training",
    )
    return figure


def delta_pictures(summary: Mapping[str, float]) -> list[Picture]:
    """List `deltas.png`: the Delta of every feature in training and held out, and of baselines; none without features.

    Args:
      summary: has `delta_train/k`, `delta/k` and `baseline/NAME/delta/k`.
    """
    if "delta_train/0" not in summary:
        return []
    return [as_picture("deltas.png", lambda plt: draw_deltas(plt, summary))]


def draw_deltas(plt: Any, summary: Mapping[str, float]) -> Any:
    """Draw the Delta of every feature against its number; what is 0 or unknown leaves a gap."""
    figure, axis = plt.subplots(figsize=(7.4, 4.6), layout="constrained")
    n = 1 + max(int(name.split("/")[1]) for name in summary if name.startswith("delta_train/"))
    curves: list[tuple[str, str, dict[str, Any]]] = [
        ("delta/", "learned code, held out", {"color": BLUE, "marker": "o", "linewidth": 1.2, "zorder": 3}),
        ("delta_train/", "learned code, training", {"color": BLUE, "marker": "o", "mfc": "white", "linestyle": "--"}),
    ]
    for name in dict.fromkeys(name.split("/")[1] for name in summary if name.startswith("baseline/")):
        label, color, marker = _BASELINES.get(name, (name, BLACK, "x"))
        curves.append((f"baseline/{name}/delta/", f"{label}, held out", {"color": color, "marker": marker}))
    for start, label, style in curves:
        found = np.array([summary.get(f"{start}{k}", np.nan) for k in range(n)], float)
        found[~(found > 0)] = np.nan
        if np.isfinite(found).any():
            axis.plot(found, label=label, markersize=4, **({"linewidth": 0.9} | style))
    axis.axhline(2, color="0.5", linewidth=0.9, linestyle=":", label="white noise")
    axis.set(
        yscale="log", xlabel="feature, slowest in training first", title=f"Slowness of {count(n, 'feature')}",
        ylabel="Delta: mean squared change from frame to frame / variance\n(lower is slower)",
    )  # fmt: skip
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.legend(frameon=False, fontsize=8)
    tidy(axis)
    return figure


def filter_pictures(kernel: np.ndarray, name: str = "First-layer filters of the network") -> list[Picture]:
    """List `filters.png`: linear filters on pixels, on one scale.

    Args:
      kernel: `[height, width, channel, n]` with 1 or 3 channels.
      name: what the filters are.
    """
    return [as_picture("filters.png", lambda plt: draw_filters(plt, kernel, name))]


def draw_filters(plt: Any, kernel: np.ndarray, name: str) -> Any:
    """Draw filters side by side; the arguments are those of `filter_pictures`."""
    height, width, channels, n = kernel.shape
    chosen = evenly(n, _FILTERS)
    largest = float(np.abs(kernel).max()) or 1.0
    columns = min(n, 16 if height <= 8 else 8)
    rows, tall = -(-len(chosen) // columns), min(1.25, 10 / columns - 0.1)
    figure, axes = picture_grid(plt, rows, columns, (height, width), below=0.02, tall=tall)
    for axis in axes.ravel()[len(chosen) :]:
        axis.axis("off")
    for axis, k in zip(axes.ravel(), chosen, strict=False):
        one = kernel[..., k] / largest
        if channels == 1:
            axis.imshow(one[..., 0], cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
        else:
            axis.imshow(0.5 + one / 2, interpolation="nearest")
        axis.set_xticks([]), axis.set_yticks([])
    some = f"{len(chosen)} of {n}" if len(chosen) < n else f"all {n}"
    zero = "white is 0, red above" if channels == 1 else "gray is 0"
    entitle(figure, f"{name}: {some}, {height} x {width} pixels each; {zero}, one scale for all (to {largest:.2g})")
    return figure
