"""The picture of slow features over time."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sfa_jax.evaluation._style import BLUE, RED, WIDTH, count, tidy

_FEATURES = 8  # drawn
_FRAMES = 2000  # drawn, about as many as the picture has pixels
_SEPARATED = 60  # sequences, of which lines between them would leave nothing else to see
_WIDEST = 8.0  # standard deviations; a single frame far outside must not flatten all others


def draw_traces(plt: Any, code: Sequence[np.ndarray], truth: Sequence[Mapping[str, np.ndarray]]) -> Any:
    """Draw the slowest features of all sequences one after another, on one scale, above the known latents.

    Args:
      plt: makes figures.
      code: of each sequence, `[time, n_features]` in standard deviations of training.
      truth: known latents of each sequence, name -> `[time]`.

    Returns:
      The figure.
    """
    lengths = [len(part) for part in code]
    total, every = sum(lengths), -(-sum(lengths) // _FRAMES)
    places = [np.arange(0, length, every) for length in lengths]
    starts = np.cumsum([0, *lengths])
    time = _joined([start + place for start, place in zip(starts, places, strict=False)])
    shown, names = min(_FEATURES, code[0].shape[1]), list(truth[0])
    figure, axes = plt.subplots(
        shown + len(names), 1, figsize=(WIDTH, 0.9 * (shown + len(names)) + 1.2), sharex=True, squeeze=False,
        layout="constrained",
    )  # fmt: skip
    values = np.concatenate(code)[:, :shown]
    reach = np.nanmax(np.abs(np.where(np.isfinite(values), values, np.nan)), axis=0, initial=0.0)
    limit = min(max(3.0, float(reach.max())), _WIDEST)
    for k, axis in enumerate(axes[:shown, 0]):
        axis.axhline(0, color="0.85", linewidth=0.8, zorder=0)
        axis.plot(time, _joined([part[place, k] for part, place in zip(code, places, strict=True)]), color=BLUE, lw=0.9)
        axis.set_ylim(-1.05 * limit, 1.05 * limit)
        beyond = f"\nup to {reach[k]:.3g} sd" if reach[k] > limit else ""
        axis.set_ylabel(f"feature {k}{beyond}", rotation=0, ha="right", va="center")
    for axis, name in zip(axes[shown:, 0], names, strict=True):
        curve = [run[name][place] for run, place in zip(truth, places, strict=True)]
        axis.plot(time, _joined(curve), color=RED, linewidth=0.9)
        axis.set_ylabel(name.replace("_", " "), rotation=0, ha="right", va="center")
    for axis in axes[:, 0]:
        if 1 < len(code) <= _SEPARATED:
            for start in starts[1:-1]:
                axis.axvline(start - 0.5, color="0.6", linewidth=0.8, linestyle=":")
        tidy(axis)
        axis.set_xlim(-0.5, total - 0.5)
        axis.locator_params(axis="y", nbins=3)
    axes[-1, 0].xaxis.get_major_locator().set_params(integer=True)
    axes[-1, 0].set_xlabel("held-out frame" + (", sequences one after another" if len(code) > 1 else ""))
    drawn = f", every {_ordinal(every)} drawn" if every > 1 else ""
    latents = "; true latents (orange), each on its own scale" if names else ""
    held_out = f"{count(total, 'held-out frame')} of {count(len(code), 'sequence')}{drawn}"
    axes[0, 0].set_title(
        f"{_some(shown, code[0].shape[1])}, {held_out},\nin standard deviations of training, all on one scale{latents}"
    )
    figure.align_ylabels(axes[:, 0])
    return figure


def _some(shown: int, total: int) -> str:
    return f"Slowest {shown} of {total} features" if shown < total else f"All {count(total, 'feature')}, slowest first"


def _ordinal(n: int) -> str:
    return {2: "2nd", 3: "3rd"}.get(n, f"{n}th")


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Join sequences with a nan between them, so that no line connects them."""
    gap = np.full(1, np.nan)
    return np.concatenate([piece for part in parts for piece in (gap, part)][1:])
