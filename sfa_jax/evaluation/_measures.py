"""Held-out measures of a code, the same for a learned one and for every baseline."""

from collections.abc import Mapping, Sequence

import jax
import numpy as np

from sfa_jax.slowness import LinearSFA, effective_rank, fit

# Embeddings are float32: directions of less variance than this, relative to the largest, are rounding.
RANK_CUTOFF = 1e-9

SLOW = 1.0
"""Delta below which a feature is slow; white noise has 2."""

SLOWEST = (2, 4, 8)
"""Numbers of slowest features that latents are read from, beside all."""

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
    frames = [np.where(np.isfinite(run), run, np.nan).astype(np.float64) for run in y]
    changes = np.concatenate([np.diff(run, axis=0) for run in frames])
    values = np.concatenate(frames)
    variance = (values - values[:1]).var(axis=0)
    varies = variance > (4 * np.finfo(np.float32).eps * np.abs(values).max(axis=0)) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(varies, np.mean(changes**2, axis=0) / variance, np.nan)


def linear_r2(
    train_code: np.ndarray, train_latent: np.ndarray, held_code: np.ndarray, held_latent: np.ndarray
) -> float:
    """Compute R^2 on held-out frames of a linear readout of one latent: 1 - SSE / SST.

    Args:
      train_code: `[n_train, dim]`, what the readout is fitted on.
      train_latent: `[n_train]`.
      held_code: `[n_held, dim]`.
      held_latent: `[n_held]`.

    Returns:
      At most 1, negative where the mean of the held-out latent is nearer; nan where that latent is constant.

    Raises:
      ValueError: the shapes do not fit.
    """
    pairs = ("train", train_code, train_latent), ("held", held_code, held_latent)
    for name, code, latent in pairs:
        if np.ndim(code) != 2 or np.shape(latent) != (len(code),):
            raise ValueError(
                f"{name}_code, {name}_latent: expected shapes [n, dim] and [n], got {np.shape(code)} and "
                f"{np.shape(latent)}; take one latent at a time, latent[:, k]"
            )
    if train_code.shape[1] != held_code.shape[1]:
        raise ValueError(f"train_code, held_code: expected one dim, got {train_code.shape[1]} and {held_code.shape[1]}")
    return float(_readout_r2(train_code, train_latent[:, None], held_code, held_latent[:, None])[0])


def _readout_r2(train_code: np.ndarray, train: np.ndarray, held_code: np.ndarray, held: np.ndarray) -> np.ndarray:
    """R^2 `[n_latents]` of linear readouts of latents `[n, n_latents]`."""

    def design(code: np.ndarray) -> np.ndarray:
        return np.concatenate([code, np.ones((len(code), 1))], axis=1).astype(np.float64)

    weights, *_ = np.linalg.lstsq(design(train_code), train.astype(np.float64), rcond=1e-9)
    error = np.sum((held - design(held_code) @ weights) ** 2, axis=0)
    spread = np.sum((held - held.mean(axis=0, dtype=np.float64)) ** 2, axis=0, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(spread > 0, 1 - error / spread, np.nan)


def code_measures(
    train: Runs,
    held_out: Runs,
    train_truth: Truth,
    held_truth: Truth,
    *,
    readout: LinearSFA | None = None,
    sequences: tuple[Sequence[int], Sequence[int]] | None = None,
) -> dict[str, float]:
    """Measure the slowness and linear decodability of a code on held-out frames, after ordering it by slowness.

    Args:
      train: embeddings `[time, dim]` of each stretch of training frames.
      held_out: the same of held-out frames.
      train_truth, held_truth: known latents of each stretch, name -> `[time]`.
      readout: closed-form SFA of training frames; that of `train` if None.
      sequences: index of the sequence that each stretch of `train` and of `held_out` is of; each its own if None.

    Returns:
      Of each feature k below the rank: `delta/k` and `eta/k` (held out) and `delta_train/k`; `shift/k`, its held-out
      mean in standard deviations of training, and `spread/k`, its held-out over its training standard deviation;
      `between_sequences/k`, the share of its training variance that lies between the means of sequences, and
      `delta_within/k`, its Delta where the mean of each sequence is taken off (both only of several sequences).
      `r2/<latent>` of all features, `r2_of_<n>/<latent>` of the n = 2, 4, 8 slowest. `slowness_gap` (mean held-out over
      mean training Delta), `whiteness_error` (root mean square entry of C - I on the held-out code), `rank` of the
      training embedding, `slow_features` (how many have a held-out Delta below 1; noise has 2), `effective_rank` of
      the held-out and `effective_rank_train` of the training embedding, `finite_share` of the held-out frames (those
      whose embedding is finite). Values that do not exist are left out.
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
    finite = [np.where(np.isfinite(y), y, np.nan) for y in held_out]
    codes, held = ([(y - readout.mean) @ readout.components[:rank].T for y in runs] for runs in (train, finite))
    train_code, held_code = np.concatenate(codes), np.concatenate(held)
    deltas, train_deltas = run_deltas(held), run_deltas(codes)
    found = {"delta": deltas, "eta": np.mean([len(y) for y in held]) / (2 * np.pi) * np.sqrt(deltas)}
    found["delta_train"] = train_deltas
    found["shift"], found["spread"] = _change_of_scale(train_code, held_code)
    if sequences is not None and len(set(sequences[0])) > 1:
        found["between_sequences"], _ = _by_sequence(codes, sequences[0])
        found["delta_within"] = _by_sequence(held, sequences[1])[1]
    measures |= {f"{name}/{k}": float(values[k]) for k in range(rank) for name, values in found.items()}
    if np.isfinite(deltas).any():
        measures["slowness_gap"] = float(np.nanmean(deltas) / np.mean(train_deltas))
        measures["slow_features"] = float(np.sum(deltas < SLOW))
    measures["whiteness_error"] = whiteness_error(held_code)
    names = list(held_truth[0])
    if names and np.isfinite(held_code).all():
        latents = [
            np.stack([np.concatenate([truth[name] for truth in truths]) for name in names], axis=1)
            for truths in (train_truth, held_truth)
        ]
        for n in (*(n for n in SLOWEST if n < rank), rank):
            values = _readout_r2(train_code[:, :n], latents[0], held_code[:, :n], latents[1])
            group = "r2" if n == rank else f"r2_of_{n}"
            measures |= {f"{group}/{name}": float(value) for name, value in zip(names, values, strict=True)}
    return {name: value for name, value in measures.items() if np.isfinite(value)}


def _change_of_scale(train: np.ndarray, held: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each held-out feature, in standard deviations of training."""
    deviation = train.std(axis=0, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        shift = (held.mean(axis=0, dtype=np.float64) - train.mean(axis=0, dtype=np.float64)) / deviation
        return shift, held.std(axis=0, dtype=np.float64) / deviation


def _by_sequence(code: Runs, sequences: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Share of the variance between sequences, and Delta within them, of each feature."""
    grouped = [np.concatenate([y for y, s in zip(code, sequences, strict=True) if s == one]) for one in set(sequences)]
    means = dict(zip(set(sequences), (y.mean(axis=0, dtype=np.float64) for y in grouped), strict=True))
    total = np.concatenate(code).var(axis=0, dtype=np.float64)
    within = sum(len(y) * y.var(axis=0, dtype=np.float64) for y in grouped) / sum(map(len, grouped))
    with np.errstate(invalid="ignore", divide="ignore"):
        share = 1 - within / total
    return share, run_deltas([y - means[s] for y, s in zip(code, sequences, strict=True)])


def truth_range_measures(train: Truth, held_out: Truth) -> dict[str, float]:
    """Measure how far the held-out values of each known latent lie within those of training.

    Args:
      train, held_out: known latents of each stretch of frames, name -> `[time]`.

    Returns:
      `outside_range/<latent>`, the share of held-out frames whose value is not between the least and the largest of
      training, and `truth_spread/<latent>`, the held-out over the training standard deviation.
    """
    measures = {}
    for name in held_out[0]:
        known, held = (np.concatenate([truth[name] for truth in part]).astype(np.float64) for part in (train, held_out))
        margin = 0.01 * np.ptp(known)
        outside = (held < known.min() - margin) | (held > known.max() + margin)
        measures[f"outside_range/{name}"] = float(outside.mean())
        if known.std() > 0:
            measures[f"truth_spread/{name}"] = float(held.std() / known.std())
    return {name: value for name, value in measures.items() if np.isfinite(value)}


def effective_rank_of(y: np.ndarray) -> float:
    """`slowness.effective_rank` of an embedding `[time, dim]`."""
    return float(_effective_rank(y))


def whiteness_error(code: np.ndarray) -> float:
    """Root mean square entry of C - I for a code `[time, dim]` centred on these frames."""
    centred = code - code.mean(axis=0, dtype=np.float64)
    excess = centred.T @ centred / len(code) - np.eye(code.shape[1])
    return float(np.sqrt(np.mean(excess**2)))
