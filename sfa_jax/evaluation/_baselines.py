"""Baselines that need no training: what any code must beat before it is worth a figure."""

from collections.abc import Sequence

import jax
import numpy as np

from sfa_jax.slowness import fit_polynomial, n_monomials, transform

_PCA_FRAMES = 2000  # frames that principal components are found on: the products of their pixels are the small matrix
_CHUNK = 512  # frames that are transformed at once


def pca_codes(
    train: Sequence[np.ndarray], held_out: Sequence[np.ndarray], n_components: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Principal components of the pixels, found on evenly spaced training frames.

    Args:
      train: frames `[time, height, width, channel]` uint8 of each training run.
      held_out: the same for the held-out runs.
      n_components: how many; fewer where there are not as many frames.

    Returns:
      Their scores `[time, n_components]` for each training run, and for each held-out run.
    """
    ends = np.cumsum([len(run) for run in train])
    step = max(1, -(-int(ends[-1]) // _PCA_FRAMES))
    sample = np.concatenate(
        [_pixels(run[-(int(end) - len(run)) % step :: step]) for end, run in zip(ends, train, strict=True)]
    )
    mean = sample.mean(axis=0)
    sample -= mean
    values, vectors = np.linalg.eigh(sample @ sample.T)  # fewer frames than pixels: the Gram matrix is the small one
    keep = np.argsort(values)[::-1][:n_components]
    keep = keep[values[keep] > values[keep[0]] * 1e-6] if values[keep[0]] > 0 else keep[:1]
    components = vectors[:, keep].T @ sample / np.sqrt(np.maximum(values[keep, None], 1e-30))

    def scores(runs: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [
            np.concatenate([(_pixels(run[i : i + _CHUNK]) - mean) @ components.T for i in range(0, len(run), _CHUNK)])
            for run in runs
        ]

    return scores(train), scores(held_out)


def sfa_codes(
    train: Sequence[np.ndarray], held_out: Sequence[np.ndarray], n_components: int, *, degree: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Slow features in closed form of signals, or of their products.

    Args:
      train: signals `[time, n_features]` of each training run.
      held_out: the same for the held-out runs.
      n_components: how many; fewer where the expansion has not as many.
      degree: 1 for linear slow feature analysis, 2 for quadratic.

    Returns:
      The features `[time, n_components]` of each training run, and of each held-out run.

    Raises:
      ValueError: the training signals are constant.
    """
    n_components = min(n_components, n_monomials(train[0].shape[1], degree))
    model = fit_polynomial(list(train), n_components, degree=degree)
    apply = jax.jit(transform)

    def code(run: np.ndarray) -> np.ndarray:
        parts = [np.asarray(run[i : i + _CHUNK], np.float64) for i in range(0, len(run), _CHUNK)]
        padded = [np.concatenate([x, np.zeros((_CHUNK - len(x), x.shape[1]))]) for x in parts]  # one compilation
        with jax.enable_x64(True):
            return np.concatenate([np.asarray(apply(model, x)) for x in padded])[: len(run)]

    return [code(run) for run in train], [code(run) for run in held_out]


def _pixels(frames: np.ndarray) -> np.ndarray:
    return np.asarray(frames).reshape(len(frames), -1).astype(np.float32) / 255
