"""Pictures of a slow code, and of the loss of any run."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sfa_jax.evaluation._pictures import Picture, as_picture

_MAPS = 8  # features shown
_COVARIANCE_SHOWN = 2.0  # a white code has 1; one runaway direction must not hide all others
_BINS = 20  # cells of the floor a side
_FRAMES = 400  # of a trace


def code_pictures(code: Sequence[np.ndarray], truth: Sequence[Mapping[str, np.ndarray]]) -> list[Picture]:
    """Lists the pictures of a slow code that the data allow.

    Args:
      code: slow code `[time, n_features]` of each held-out run, slowest first.
      truth: known latents of each run, name -> `[time]`.

    Returns:
      `traces.png`, `covariance.png`, and with known poses `maps.png`; none of a code without features.
    """
    if not code or not code[0].shape[1]:
        return []
    longest = max(range(len(code)), key=lambda run: len(code[run]))
    pictures = [
        as_picture("traces.png", lambda plt: _traces(plt, code[longest], truth[longest])),
        as_picture("covariance.png", lambda plt: _covariance(plt, np.concatenate(code))),
    ]
    if {"x", "z", "cos_heading", "sin_heading"} <= truth[0].keys():
        merged = {name: np.concatenate([run[name] for run in truth]) for name in truth[0]}
        pictures.append(as_picture("maps.png", lambda plt: _maps(plt, np.concatenate(code), merged)))
    return pictures


def loss_pictures(records: Sequence[Mapping[str, Any]], loss_name: str = "loss") -> list[Picture]:
    """Lists `losses.png`, or nothing where no step was recorded.

    Args:
      records: the lines of the metrics file.
      loss_name: what the loss of this job is called.
    """
    if not any(record.get("split") == "train" for record in records):
        return []
    return [as_picture("losses.png", lambda plt: _losses(plt, records, loss_name))]


def _traces(plt: Any, code: np.ndarray, truth: Mapping[str, np.ndarray]) -> Any:
    code = code[:_FRAMES]
    shown = min(_MAPS, code.shape[1])
    figure, axes = plt.subplots(
        shown + len(truth), 1, figsize=(10, 0.9 * (shown + len(truth)) + 0.8), sharex=True, squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for k, axis in enumerate(axes[:shown, 0]):
        axis.plot(code[:, k], color="tab:blue", linewidth=1)
        axis.set_ylabel(f"feature {k}", rotation=0, ha="right", va="center")
    for axis, (name, values) in zip(axes[shown:, 0], truth.items(), strict=True):
        axis.plot(values[:_FRAMES], color="tab:orange", linewidth=1)
        axis.set_ylabel(name.replace("_", " "), rotation=0, ha="right", va="center")
    for axis in axes[:, 0]:
        axis.spines[["top", "right"]].set_visible(False)
        axis.margins(x=0)
        axis.locator_params(axis="y", nbins=3)
    axes[-1, 0].xaxis.get_major_locator().set_params(integer=True)
    axes[0, 0].set_title("Slowest features on held-out frames" + (", and the true latents" if truth else ""))
    axes[-1, 0].set_xlabel("held-out frame")
    figure.align_ylabels(axes[:, 0])
    return figure


def _covariance(plt: Any, code: np.ndarray) -> Any:
    centred = code - code.mean(axis=0)
    c = centred.T @ centred / len(code)
    figure, axis = plt.subplots(figsize=(5.6, 4.8), layout="constrained")
    largest = float(np.abs(c).max())
    limit = min(max(1.0, largest), _COVARIANCE_SHOWN)
    beyond = f"\n(colours end at {limit:g}; the largest entry is {largest:.3g})" if largest > limit else ""
    image = axis.imshow(c, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    figure.colorbar(image, ax=axis, label="covariance", extend="both" if beyond else "neither")
    axis.set(xlabel="feature", ylabel="feature", title=f"Covariance of the code on held-out frames{beyond}")
    return figure


def _losses(plt: Any, records: Sequence[Mapping[str, Any]], loss_name: str) -> Any:
    """The loss and its terms in training, and on held-out frames where it was measured."""
    train = [record for record in records if record.get("split") == "train"]
    held_out = [record for record in records if record.get("split") == "eval" and "loss" in record]
    terms = [name for name in train[0] if name not in ("step", "split", "frames_per_second", "gradient_norm", "loss")]
    figure, axis = plt.subplots(figsize=(7, 4.4), layout="constrained")
    steps = [record["step"] for record in train]
    axis.plot(steps, [record["loss"] for record in train], label=f"{loss_name}, training", color="black", linewidth=1)
    for name in terms:
        axis.plot(
            steps, [record[name] for record in train], label=f"{name.replace('_', ' ')} term", linewidth=0.8, alpha=0.8
        )
    if held_out:
        held_steps, held_loss = [record["step"] for record in held_out], [record["loss"] for record in held_out]
        axis.plot(
            held_steps, held_loss, "o-", label=f"{loss_name}, held out", color="tab:red", linewidth=1, markersize=4
        )
    values = np.array([[record[name] for name in ("loss", *terms)] for record in train])
    if np.all(values > 0) and values.max() > 3 * values.min():
        axis.set_yscale("log")
    axis.set(xlabel="step", ylabel=loss_name, title="Training")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False)
    return figure


def _maps(plt: Any, code: np.ndarray, truth: Mapping[str, np.ndarray]) -> Any:
    """Each feature averaged over the floor (a place map) and over heading (a head-direction curve)."""
    shown = min(_MAPS, code.shape[1])
    figure = plt.figure(figsize=(1.75 * shown + 1, 4.2), layout="constrained")
    grid = figure.add_gridspec(2, shown)
    heading = np.arctan2(truth["sin_heading"], truth["cos_heading"])
    extent = (truth["x"].min(), truth["x"].max(), truth["z"].min(), truth["z"].max())
    floor_range = [extent[:2], extent[2:]]
    visits, _, _ = np.histogram2d(truth["x"], truth["z"], bins=_BINS, range=floor_range)
    angle_edges = np.linspace(-np.pi, np.pi, 25)
    turns, _ = np.histogram(heading, angle_edges)
    angles = (angle_edges[1:] + angle_edges[:-1]) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        for k in range(shown):
            sums, _, _ = np.histogram2d(truth["x"], truth["z"], bins=_BINS, range=floor_range, weights=code[:, k])
            axis = figure.add_subplot(grid[0, k])
            image = axis.imshow((sums / visits).T, origin="lower", extent=extent, cmap="RdBu_r", vmin=-2, vmax=2)
            axis.set_title(f"feature {k}", fontsize=10)
            axis.set_xticks([]), axis.set_yticks([])
            axis.set_xlabel("x")
            if k == 0:
                axis.set_ylabel("z")
            sums, _ = np.histogram(heading, angle_edges, weights=code[:, k])
            axis = figure.add_subplot(grid[1, k], projection="polar")
            curve = np.append(sums / turns, sums[0] / turns[0])
            axis.plot(np.append(angles, angles[0] + 2 * np.pi), curve, linewidth=1.2)
            axis.set_ylim(-2.2, 2.2)
            axis.set_yticks([0]), axis.set_yticklabels([])
            axis.set_xticks(np.arange(4) * np.pi / 2), axis.set_xticklabels([])
    figure.colorbar(image, ax=figure.axes[0 : 2 * shown : 2], label="mean feature", shrink=0.8)
    figure.suptitle(
        "Mean of each feature over the floor (top) and over heading (bottom; the circle is 0), held-out frames"
    )
    return figure
