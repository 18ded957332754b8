"""Few labelled images of each class, as runs of their own."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from sfa_jax import evaluation
from sfa_jax._errors import InputError
from sfa_jax.data import FrameStore, Run, Split


def by_class(
    runs: Sequence[Run], splits: Sequence[Split], *, name: str = "label", per_class: int = 10, seed: int = 0
) -> list[Run]:
    """Labelled training images, one run for each class, and the images that are held out.

    The runs of the classes come first, in the order of the labels, so that a batch's `run_id` is the class.

    Args:
      runs: images with `truth[name]`, the labels.
      splits: where each is cut into training and held-out images.
      name: of the labels.
      per_class: labelled images of each class; 0 for all.
      seed: of their choice.

    Returns:
      Runs whose `held_out` is said.

    Raises:
      InputError: a run has no labels, there are too few of a class or but one class, or a held-out image is of a class
        that has no training image.
    """
    for run in runs:
        if name not in run.truth:
            known = ", ".join(run.truth) or "nothing"
            raise InputError(
                f"labels.name: expected what is known of each image, {run.name} has {known}, got {name!r}; take a "
                "source with labels, such as digits, tfds:NAME, or an .npz file with an array truth/label beside frames"
            )
    train = [run.part(a, b) for run, split in zip(runs, splits, strict=True) for a, b in split.train]
    store = FrameStore(train)
    labels = np.concatenate([run.truth[name] for run in train])
    numbers = np.concatenate([run.frame_index for run in train])
    classes = np.unique(labels)
    if len(classes) < 2:
        raise InputError(f"labels.name: expected at least two classes among the training images, got {len(classes)}")
    try:
        chosen = evaluation.choose_labelled(labels, per_class, seed=seed) if per_class else np.arange(len(labels))
    except ValueError as error:
        raise InputError(f"labels.{error}") from None
    made = []
    for label in classes:
        rows = chosen[labels[chosen] == label]
        made.append(Run(store.gather(rows), f"class {label:g}", numbers[rows], {name: labels[rows]}, held_out=False))
    for run, split in zip(runs, splits, strict=True):
        for start, stop in split.held_out:
            held_out = run.part(start, stop)
            strange = np.setdiff1d(held_out.truth[name], classes)
            if len(strange):
                raise InputError(f"{run.name}: held-out images of class {strange[0]:g}, of which none is trained on")
            made.append(dataclasses.replace(held_out, held_out=True))
    return made
