"""The host's side of the closed-form solutions: runs are checked, and streamed into moments in float64."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import jax
import numpy as np
from jax.typing import ArrayLike

from sfa_jax.slowness._batch import check_floating
from sfa_jax.slowness._moments import Moments, init_moments, update_moments

Runs = ArrayLike | Sequence[ArrayLike]
State = TypeVar("State")

_CHUNKS = (256, 1024, 4096)  # frames that are added at once: few lengths, so few compilations whatever the runs' are


def as_runs(runs: Runs, *, lag: int = 1) -> list[np.ndarray]:
    """Runs as a list of arrays `[time, n_features]`, of the type they came in.

    Raises:
      ValueError, TypeError: as `sfa_jax.slowness.fit`.
    """
    if not isinstance(runs, (list, tuple)):
        runs = [runs]  # type: ignore[list-item]
    arrays = [np.asarray(run) for run in runs]
    n_features = str(arrays[0].shape[1]) if arrays and arrays[0].ndim == 2 else "n_features"
    for number, run in enumerate(arrays):
        check_floating(run.dtype, f"runs[{number}]")
        if run.ndim != 2 or run.shape[1] != arrays[0].shape[1]:
            raise ValueError(f"runs[{number}]: expected shape [time, {n_features}], got {run.shape}")
        if not np.isfinite(run).all():
            frame, feature = np.argwhere(~np.isfinite(run))[0]
            raise ValueError(
                f"runs[{number}]: expected finite values, got {run[frame, feature]} at frame {frame}, feature "
                f"{feature}; remove or fill such frames (a gap splits a run into two)"
            )
    longest = max((len(run) for run in arrays), default=0)
    if longest <= lag:
        raise ValueError(
            f"runs: expected at least one run of more than lag = {lag} frames, the longest has {longest}; "
            "give more frames or a smaller lag"
        )
    return arrays


def check_rcond(rcond: float | None) -> None:
    if rcond is not None and not 0 <= rcond < 1:
        raise ValueError(f"rcond: expected a share of the largest eigenvalue, in [0, 1), got {rcond}")


def stream(
    runs: Sequence[np.ndarray],
    state: State,
    update: Callable[..., State],
) -> State:
    """`state` after `update(state, frames, new_run=, mask=)` of every chunk of every run, in float64.

    Chunks have one shape, the longest run's or the longest there is, so that `update` is compiled once, and not again
    for runs of about that length.
    """
    longest = max(len(run) for run in runs)
    chunk = next((length for length in _CHUNKS if length >= longest), _CHUNKS[-1])
    for run in runs:
        for start in range(0, len(run), chunk):
            frames = run[start : start + chunk].astype(np.float64)
            mask = np.arange(chunk) < len(frames)
            padded = np.concatenate([frames, np.zeros((chunk - len(frames), *frames.shape[1:]))])
            state = update(state, padded, new_run=start == 0, mask=mask)
    return state


def moments_of(runs: Runs, *, lag: int, rcond: float | None = None, pairs: bool = False) -> Moments:
    """The moments of all runs, in float64.

    Raises:
      ValueError, TypeError: as `sfa_jax.slowness.fit`.
    """
    check_rcond(rcond)
    arrays = as_runs(runs, lag=lag)
    with jax.enable_x64(True):
        moments = init_moments(arrays[0].shape[1], lag=lag, pairs=pairs)
        return stream(arrays, moments, jax.jit(update_moments))
