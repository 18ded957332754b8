"""Pictures of a slow code as a whole: over time, its covariance, and over places."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sfa_jax.evaluation._pictures import Picture, as_picture
from sfa_jax.evaluation._style import BLUE, entitle
from sfa_jax.evaluation._trace_plots import draw_traces

_MAPS = 8  # features shown
_COVARIANCE_SHOWN = 2.0  # a white code has 1; one runaway direction must not hide all others
_BINS = 20  # cells of the floor a side
_ANGLES = 24  # cells of the heading


def code_pictures(code: Sequence[np.ndarray], truth: Sequence[Mapping[str, np.ndarray]]) -> list[Picture]:
    """List the pictures of a slow code that the data allow.

    Args:
      code: slow code `[time, n_features]` of each held-out sequence, slowest first, in standard deviations of training.
      truth: known latents of each sequence, name -> `[time]`.

    Returns:
      `traces.png`, `covariance.png`, and with known poses `maps.png`; none of a code without features.
    """
    if not code or not code[0].shape[1]:
        return []
    every = np.concatenate(code)
    finite = np.isfinite(every).all(axis=1)
    pictures = [as_picture("traces.png", lambda plt: draw_traces(plt, code, truth))]
    if not finite.any():
        return pictures
    pictures.append(as_picture("covariance.png", lambda plt: _covariance(plt, every[finite])))
    if {"x", "z", "cos_heading", "sin_heading"} <= truth[0].keys():
        merged = {name: np.concatenate([run[name] for run in truth])[finite] for name in truth[0]}
        pictures.append(as_picture("maps.png", lambda plt: _maps(plt, every[finite], merged)))
    return pictures


def _covariance(plt: Any, code: np.ndarray) -> Any:
    centred = code - code.mean(axis=0)
    c = centred.T @ centred / len(code)
    figure, axis = plt.subplots(figsize=(5.6, 4.8), layout="constrained")
    largest = float(np.abs(c).max())
    limit = min(max(1.0, largest), _COVARIANCE_SHOWN)
    beyond = f"\n(colors end at {limit:g}; the largest entry is {largest:.3g})" if largest > limit else ""
    image = axis.imshow(c, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    figure.colorbar(image, ax=axis, label="covariance, variances of training", extend="both" if beyond else "neither")
    axis.set(xlabel="feature", ylabel="feature", title=f"Covariance of the code on held-out frames{beyond}")
    return figure


def _maps(plt: Any, code: np.ndarray, truth: Mapping[str, np.ndarray]) -> Any:
    """Each feature averaged over the floor (a place map) and over heading (a head-direction curve)."""
    shown = min(_MAPS, code.shape[1])
    extent = (truth["x"].min(), truth["x"].max(), truth["z"].min(), truth["z"].max())
    angle_edges = np.linspace(-np.pi, np.pi, _ANGLES + 1)
    angles = (angle_edges[1:] + angle_edges[:-1]) / 2
    heading = np.arctan2(truth["sin_heading"], truth["cos_heading"])
    floor = [_means(code[:, k], (truth["x"], truth["z"]), [extent[:2], extent[2:]], _BINS) for k in range(shown)]
    turns = [_means(code[:, k], (heading,), [(-np.pi, np.pi)], _ANGLES) for k in range(shown)]
    limits = [max(2.0, float(np.nanmax(np.abs(means)))) for means in (floor, turns)]
    figure = plt.figure(figsize=(1.75 * shown + 1, 4.2), layout="constrained")
    grid = figure.add_gridspec(2, shown)
    for k in range(shown):
        axis = figure.add_subplot(grid[0, k])
        image = axis.imshow(floor[k].T, origin="lower", extent=extent, cmap="RdBu_r", vmin=-limits[0], vmax=limits[0])
        axis.set_title(f"feature {k}", fontsize=10)
        axis.set_xticks([]), axis.set_yticks([])
        axis.set_xlabel("x")
        if k == 0:
            axis.set_ylabel("z")
        axis = figure.add_subplot(grid[1, k], projection="polar")
        axis.plot(np.append(angles, angles[0] + 2 * np.pi), np.append(turns[k], turns[k][0]), color=BLUE, linewidth=1.2)
        axis.set_ylim(-1.1 * limits[1], 1.1 * limits[1])
        axis.set_yticks([0]), axis.set_yticklabels([])
        axis.set_xticks(np.arange(4) * np.pi / 2), axis.set_xticklabels([])
    figure.colorbar(image, ax=figure.axes[0 : 2 * shown : 2], label="mean, sd of training", shrink=0.8)
    entitle(
        figure,
        "Mean of each feature on held-out frames, over the floor (top; blank: never there) and over heading (bottom; "
        "the inner circle is 0)",
    )
    return figure


def _means(
    values: np.ndarray, places: Sequence[np.ndarray], limits: Sequence[tuple[float, float]], bins: int
) -> np.ndarray:
    """Average values over the cells of a grid of places; nan where nothing is."""
    visits, _ = np.histogramdd(places, bins=bins, range=limits)
    sums, _ = np.histogramdd(places, bins=bins, range=limits, weights=values)
    return np.divide(sums, visits, out=np.full_like(sums, np.nan), where=visits > 0)
