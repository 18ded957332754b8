"""The picture of the loss of any run."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sfa_jax.evaluation._pictures import Picture, as_picture
from sfa_jax.evaluation._style import BLACK, BLUE, GREEN, ORANGE, PURPLE, RED, SKY, tidy

_NO_TERMS = ("step", "split", "frames_per_second", "gradient_norm", "loss")


def loss_pictures(records: Sequence[Mapping[str, Any]], loss_name: str = "loss") -> list[Picture]:
    """List `losses.png`, or nothing where no step was recorded.

    Args:
      records: the lines of the metrics file; what else a training record holds are the weighted terms of its loss.
      loss_name: what the loss of this job is called.
    """
    if not any(record.get("split") == "train" for record in records):
        return []
    return [as_picture("losses.png", lambda plt: draw_losses(plt, records, loss_name))]


def draw_losses(plt: Any, records: Sequence[Mapping[str, Any]], loss_name: str) -> Any:
    """Draw the loss and its weighted terms in training, and the loss on held-out frames where it was measured."""
    train = [record for record in records if record.get("split") == "train"]
    held_out = [record for record in records if record.get("split") == "eval" and "loss" in record]
    terms = [name for name in train[0] if name not in _NO_TERMS]
    figure, axis = plt.subplots(figsize=(7.4, 4.6), layout="constrained")

    def draw(some: Sequence[Mapping[str, Any]], name: str, label: str, style: str, **options: Any) -> np.ndarray:
        values = np.array([record[name] for record in some], float)
        axis.plot([record["step"] for record in some], values, style, label=label, **options)
        return values

    values = [draw(train, "loss", "training", "-", color=BLACK, linewidth=1.2)]
    if held_out:
        values.append(draw(held_out, "loss", "held out", "o-", color=RED, linewidth=1.2, markersize=4))
    if len(terms) > 1:  # one alone is the loss itself
        for name, color in zip(terms, itertools.cycle((BLUE, ORANGE, GREEN, PURPLE, SKY)), strict=False):
            label = f"training, {name.replace('_', ' ')} (weighted)"
            if any(record[name] for record in train):
                values.append(draw(train, name, label, "--", color=color, linewidth=0.9))
            else:
                axis.plot([], [], "--", color=color, label=f"{label}: 0 throughout", linewidth=0.9)
    every = np.concatenate(values)
    every = every[np.isfinite(every)]
    if every.size and every.min() > 0 and every.max() > 3 * every.min():
        axis.set_yscale("log")
    axis.set(xlabel="training step", ylabel=loss_name, title="Training")
    axis.xaxis.get_major_locator().set_params(integer=True)
    tidy(axis)
    axis.legend(frameon=False, fontsize=8)
    return figure
