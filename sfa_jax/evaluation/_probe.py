"""How well classes can be read from a code by a linear function, learned from few labels."""

from typing import NamedTuple

import numpy as np

_PENALTIES = np.logspace(-4, 4, 33)  # relative to the mean square of the singular values


class Probe(NamedTuple):
    """A linear classifier: the class of the largest of (z - mean) / scale @ weights + offset.

    Attributes:
      mean, scale: of the codes, `[code_size]`.
      weights: `[code_size, n_classes]`.
      offset: `[n_classes]`.
      classes: `[n_classes]`, the labels.
      penalty: that leaving one out chose, relative to the mean of the squared singular values of the codes.
    """

    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    offset: np.ndarray
    classes: np.ndarray
    penalty: float

    def __call__(self, codes: np.ndarray) -> np.ndarray:
        """The classes `[n]` of codes `[n, code_size]`."""
        if np.ndim(codes) != 2 or np.shape(codes)[1] != len(self.mean):
            raise ValueError(f"codes: expected [n, {len(self.mean)}], got {np.shape(codes)}")
        return self.classes[np.argmax((codes - self.mean) / self.scale @ self.weights + self.offset, axis=1)]


def fit_probe(codes: np.ndarray, labels: np.ndarray, unlabelled: np.ndarray | None = None) -> Probe:
    """Ridge regression from codes to one-hot classes; its penalty, and its scaling of the codes, are the best of 66.

    W = (Z'Z + a I)^-1 Z'Y; leaving one out, its error is (Y - Z W) / (1 - h), h the diagonal of Z (Z'Z + a I)^-1 Z'

    Z are the codes divided by the deviation of each number, or all by one: neither suits all codes (the last principal
    components are noise, which the first way makes as large as the first ones), and the error of leaving one out says
    which. Exact, and without random numbers or a step size, so that codes of any kind are treated alike.

    Args:
      codes: `[n, code_size]` of labelled images.
      labels: `[n]`, any numbers; at least two classes.
      unlabelled: codes whose mean and deviation scale them; by default the labelled ones'.

    Returns:
      `Probe`.

    Raises:
      ValueError: the shapes do not fit, there is but one class, or a number is not finite.

    References:
      Rifkin & Lippert, "Notes on regularized least squares", MIT CSAIL 2007.

    >>> probe = fit_probe(np.array([[0.0], [0.1], [1.0], [1.1]]), np.array([3, 3, 7, 7]))
    >>> probe(np.array([[-1.0], [2.0]])).tolist()
    [3, 7]
    """
    codes, labels = np.asarray(codes, np.float64), np.asarray(labels)
    if codes.ndim != 2 or labels.shape != (len(codes),):
        raise ValueError(f"codes, labels: expected [n, code_size] and [n], got {codes.shape} and {labels.shape}")
    classes, number = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"labels: expected at least two classes, got {len(classes)}")
    every = codes if unlabelled is None else np.asarray(unlabelled, np.float64)
    if every.ndim != 2 or every.shape[1] != codes.shape[1] or not codes.shape[1]:
        raise ValueError(f"unlabelled: expected [n, {codes.shape[1]}] as codes, at least one number, got {every.shape}")
    if not (np.isfinite(codes).all() and np.isfinite(every).all()):
        raise ValueError("codes: expected finite numbers, got some that are not")
    mean, deviation = every.mean(axis=0), every.std(axis=0)
    varies = deviation > 1e-6 * np.abs(every).max(axis=0)  # what changes by rounding alone says nothing
    each = np.where(varies, deviation, np.inf)
    alike = np.where(varies, np.sqrt(np.mean(deviation**2)), np.inf)
    y = np.eye(len(classes))[number]
    fits = []
    for scale in (each, alike):
        error, penalty, weights, offset = _ridge((codes - mean) / scale, y)
        fits.append((error, Probe(mean, scale, weights, offset, classes, penalty)))
    return min(fits, key=lambda fit: fit[0])[1]


def _ridge(z: np.ndarray, y: np.ndarray) -> tuple[float, float, np.ndarray, np.ndarray]:
    """Ridge regression at the penalty whose error of leaving one out is least: that error, penalty, weights, offset."""
    centre, level = z.mean(axis=0), y.mean(axis=0)
    u, s, vt = np.linalg.svd(z - centre, full_matrices=False)
    target = u.T @ (y - level)
    unit = np.mean(s**2) or 1.0
    errors = []
    for penalty in _PENALTIES:
        kept = s**2 / (s**2 + penalty * unit)
        fitted = u @ (kept[:, None] * target)
        leverage = 1 / len(z) + np.einsum("nk,k->n", u**2, kept)
        errors.append(float(np.mean(((y - level - fitted) / np.maximum(1 - leverage, 1e-9)[:, None]) ** 2)))
    best = int(np.argmin(errors))
    penalty = float(_PENALTIES[best])
    weights = vt.T @ ((s / (s**2 + penalty * unit))[:, None] * target)
    return errors[best], penalty, weights, level - centre @ weights


def choose_labelled(labels: np.ndarray, per_class: int, *, seed: int = 0) -> np.ndarray:
    """Indices of images of each class, drawn at random: class after class, `[n_classes per_class]`.

    Args:
      labels: `[n]`.
      per_class: images of each class, at most as many as the rarest has.
      seed: of the choice.

    Raises:
      ValueError: a class has fewer images.

    >>> choose_labelled(np.array([7, 3, 7]), 1)[0].item()
    1
    """
    classes, counts = np.unique(labels, return_counts=True)
    if not len(classes) or per_class < 1:
        raise ValueError(f"labels, per_class: expected at least one each, got {len(labels)} labels and {per_class}")
    if counts.min() < per_class:
        raise ValueError(f"per_class: expected at most {counts.min()}, the images of the rarest class, got {per_class}")
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.permutation(np.flatnonzero(labels == k))[:per_class] for k in classes])


def probe_accuracy(
    codes: np.ndarray,
    labels: np.ndarray,
    held_codes: np.ndarray,
    held_labels: np.ndarray,
    *,
    per_class: int | None = None,
    seeds: int = 5,
) -> float:
    """Share of held-out images whose class `fit_probe` finds.

    Args:
      codes, labels: of training images, `[n, code_size]` and `[n]`.
      held_codes, held_labels: of held-out ones.
      per_class: labels of each class that are used, another choice each time; all if None.
      seeds: choices whose accuracies are averaged; of all labels there is but one.

    Returns:
      From 0 to 1.

    Raises:
      ValueError: a class has fewer labels than are asked for, and as `fit_probe`.
    """
    held_codes, held_labels = np.asarray(held_codes), np.asarray(held_labels)
    if held_labels.shape != (len(held_codes),) or held_codes.shape[1:] != np.shape(codes)[1:] or not len(held_codes):
        raise ValueError(
            f"held_codes, held_labels: expected [n, {np.shape(codes)[-1]}] and [n], n at least 1, got "
            f"{held_codes.shape} and {held_labels.shape}"
        )
    if seeds < 1:
        raise ValueError(f"seeds: expected at least 1, got {seeds}")
    if per_class is None:
        return float(np.mean(fit_probe(codes, labels)(held_codes) == held_labels))
    found = []
    for seed in range(seeds):
        chosen = choose_labelled(labels, per_class, seed=seed)
        found.append(np.mean(fit_probe(codes[chosen], labels[chosen], codes)(held_codes) == held_labels))
    return float(np.mean(found))
