"""Held-out measures of a code, the same for a learned one and for every baseline."""

from collections.abc import Mapping, Sequence

import jax
import numpy as np

from sfa_jax._errors import InputError
from sfa_jax.slowness import LinearSFA, effective_rank, fit

# Embeddings are float32: directions of less variance than this, relative to the largest, are rounding.
RANK_CUTOFF = 1e-9

_effective_rank = jax.jit(effective_rank)  # one program instead of one for every operation in it

Runs = Sequence[np.ndarray]
Truth = Sequence[Mapping[str, np.ndarray]]


def solve_readout(y: Runs) -> LinearSFA:
    """Closed-form SFA on embeddings `[time, dim]` of each run; of rank 0 where they are constant."""
    dim = y[0].shape[1]
    if all(np.ptp(run, axis=0).max(initial=0) == 0 for run in y):
        mean = np.mean(np.concatenate(y), axis=0, dtype=np.float64)
        return LinearSFA(mean, np.zeros((dim, dim)), np.full(dim, np.nan), np.zeros((), int))  # type: ignore[arg-type]
    return fit(list(y), rcond=RANK_CUTOFF)


def run_deltas(y: Runs) -> np.ndarray:
    """Delta value of each dimension over several runs, statistics pooled: `[dim]`, nan where constant.

    Embeddings are float32: what varies by no more than their rounding is constant.
    """
    changes = np.concatenate([np.diff(run.astype(np.float64), axis=0) for run in y])
    frames = np.concatenate(y).astype(np.float64)
    variance = (frames - frames[:1]).var(axis=0)
    varies = variance > (4 * np.finfo(np.float32).eps * np.abs(frames).max(axis=0)) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(varies, np.mean(changes**2, axis=0) / variance, np.nan)


def linear_r2(
    train_code: np.ndarray, train_latent: np.ndarray, held_code: np.ndarray, held_latent: np.ndarray
) -> float:
    """R^2 on held-out frames of a linear readout of one latent fitted on the training frames: 1 - SSE / SST.

    Of codes `[time, dim]` and latents `[time]`.
    """
    for code, latent in ((train_code, train_latent), (held_code, held_latent)):
        if np.ndim(code) != 2 or np.shape(latent) != (len(code),) or code.shape[1] != train_code.shape[1]:
            raise InputError(
                f"code, latent: expected [time, {train_code.shape[-1]}] and [time], got {code.shape} and "
                f"{np.shape(latent)}; take one latent at a time, latent[:, k]"
            )

    def design(code: np.ndarray) -> np.ndarray:
        return np.concatenate([code, np.ones((len(code), 1))], axis=1).astype(np.float64)

    weights, *_ = np.linalg.lstsq(design(train_code), train_latent.astype(np.float64), rcond=1e-9)
    error = held_latent - design(held_code) @ weights
    spread = np.sum((held_latent - held_latent.mean(dtype=np.float64)) ** 2, dtype=np.float64)
    return float(1 - np.sum(error**2) / spread) if spread > 0 else float("nan")


def code_measures(
    train: Runs, held_out: Runs, train_truth: Truth, held_truth: Truth, *, readout: LinearSFA | None = None
) -> dict[str, float]:
    """Slowness and linear decodability of a code, measured on held-out frames after ordering it by slowness.

    Args:
      train: embeddings `[time, dim]` of each training run.
      held_out: the same for the held-out runs.
      train_truth, held_truth: known latents of each run, name -> `[time]`.
      readout: closed-form SFA of `train`; solved here if None.

    Returns:
      `delta/k`, `delta_train/k` and `eta/k` for k below the rank, `slowness_gap` (mean held-out over mean training
      Delta), `r2/<latent>`, `whiteness_error` (root mean square entry of C - I on the held-out code), `rank` of the
      training embedding, `effective_rank` of the held-out and `effective_rank_train` of the training embedding,
      `finite_share` of the held-out frames (those whose embedding is finite). Values that do not exist are left out.
    """
    readout = solve_readout(train) if readout is None else readout
    rank = int(readout.rank)
    measures = {
        "rank": float(rank),
        "finite_share": float(np.isfinite(np.concatenate(held_out)).all(axis=1).mean()),
        "effective_rank": effective_rank_of(np.concatenate(held_out)),
        "effective_rank_train": effective_rank_of(np.concatenate(train)),
    }
    if rank == 0:
        return measures | {f"r2/{name}": 0.0 for name in held_truth[0]}
    codes, held = ([(y - readout.mean) @ readout.components[:rank].T for y in runs] for runs in (train, held_out))
    deltas, train_deltas = run_deltas(held), run_deltas(codes)
    n_frames = np.mean([len(y) for y in held])
    for k in range(rank):
        if np.isfinite(deltas[k]):
            measures[f"delta/{k}"] = float(deltas[k])
            measures[f"eta/{k}"] = float(n_frames / (2 * np.pi) * np.sqrt(deltas[k]))
        measures[f"delta_train/{k}"] = float(train_deltas[k])
    if np.isfinite(deltas).any():
        measures["slowness_gap"] = float(np.nanmean(deltas) / np.mean(train_deltas))
    measures["whiteness_error"] = whiteness_error(np.concatenate(held))
    for name in held_truth[0]:
        latents = [np.concatenate([truth[name] for truth in truths]) for truths in (train_truth, held_truth)]
        measures[f"r2/{name}"] = linear_r2(np.concatenate(codes), latents[0], np.concatenate(held), latents[1])
    return {name: value for name, value in measures.items() if np.isfinite(value)}


def effective_rank_of(y: np.ndarray) -> float:
    """`slowness.effective_rank` of an embedding `[time, dim]`."""
    return float(_effective_rank(y))


def whiteness_error(code: np.ndarray) -> float:
    """Root mean square entry of C - I for a code `[time, dim]` centred on these frames."""
    centred = code - code.mean(axis=0, dtype=np.float64)
    excess = centred.T @ centred / len(code) - np.eye(code.shape[1])
    return float(np.sqrt(np.mean(excess**2)))
