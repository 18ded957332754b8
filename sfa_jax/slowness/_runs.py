"""The host's side of the closed-form solutions: runs are checked, and streamed into moments in float64."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

import jax
import numpy as np
from jax.typing import ArrayLike

from sfa_jax._fork import check_not_forked
from sfa_jax.slowness._batch import as_whole, check_floating
from sfa_jax.slowness._moments import Moments, init_moments, update_moments

Runs = ArrayLike | Sequence[ArrayLike]
State = TypeVar("State")

# Jitted once, so that one fit after another compiles nothing.
no_moments = jax.jit(init_moments, static_argnums=0, static_argnames=("lag", "pairs"))
add_frames = jax.jit(update_moments)

_CHUNKS = (256, 1024, 4096)  # frames that are added at once: few lengths, so few compilations whatever the runs' are
_CHUNK_VALUES = 4_000_000  # numbers in them


def as_runs(runs: Runs, *, lag: int = 1, flatten: bool = False) -> list[np.ndarray]:
    """Runs as a list of arrays `[time, n_features]`, of the type they came in.

    With `flatten`, uint8 runs `[time, ...]` are taken as well, and become `[time, n_features]`.

    Raises:
      ValueError, TypeError: as `sfa_jax.slowness.fit`.
    """
    check_not_forked()
    lag = as_whole(lag, "lag")
    if not isinstance(runs, (list, tuple)):
        runs = [runs]  # type: ignore[list-item]
    arrays = [np.asarray(run) for run in runs]
    if flatten:
        arrays = [run.reshape(len(run), -1) if run.dtype == np.uint8 and run.ndim > 2 else run for run in arrays]
    n_features = str(arrays[0].shape[1]) if arrays and arrays[0].ndim == 2 else "n_features"
    for number, run in enumerate(arrays):
        if not (flatten and run.dtype == np.uint8):
            check_floating(run.dtype, f"runs[{number}]")
        if run.dtype != arrays[0].dtype and np.uint8 in (run.dtype, arrays[0].dtype):
            raise TypeError(f"runs[{number}]: expected {arrays[0].dtype}, as runs[0] has, got {run.dtype}")
        if run.ndim != 2 or run.shape[1] != arrays[0].shape[1]:
            hint = "; give list(x) where the first axis counts runs" if run.ndim == 3 else ""
            raise ValueError(f"runs[{number}]: expected shape [time, {n_features}], got {run.shape}{hint}")
        with np.errstate(invalid="ignore", over="ignore"):
            suspect = not np.isfinite(np.sum(run))  # one quick pass; a sum of finite values may overflow
        if suspect and not np.isfinite(run).all():
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


def as_image_runs(runs: Runs, *, lag: int = 1) -> list[np.ndarray]:
    """Runs of images as a list of arrays `[time, height, width, channel]`, of the type they came in.

    Raises:
      ValueError, TypeError: as `sfa_jax.slowness.fit`.
    """
    arrays = [np.asarray(run) for run in (runs if isinstance(runs, (list, tuple)) else [runs])]
    for number, run in enumerate(arrays):
        if run.ndim != 4 or run.shape[1:] != arrays[0].shape[1:]:
            shape = arrays[0].shape[1:] if arrays[0].ndim == 4 else "height, width, channel"
            raise ValueError(f"runs[{number}]: expected shape [time, {shape}], got {run.shape}")
    as_runs([run.reshape(len(run), -1) for run in arrays], lag=lag, flatten=True)
    return arrays


def as_rcond(rcond: Any) -> float | None:
    """The cut-off as a Python number.

    Raises:
      ValueError: not in [0, 1).
      TypeError: not a number.
    """
    if rcond is None:
        return None
    if isinstance(rcond, str) or np.ndim(rcond):
        raise TypeError(f"rcond: expected a number or None, got {rcond!r}")
    if not 0 <= rcond < 1:
        raise ValueError(f"rcond: expected a share of the largest eigenvalue, in [0, 1), got {rcond}")
    return float(rcond)


def check_varies(rank: ArrayLike, name: str = "runs") -> None:
    """Raises where a solution has found nothing."""
    if int(rank) == 0:  # type: ignore[arg-type]
        raise ValueError(
            f"{name}: every feature is constant, so none has a slowness; give input that varies (by 1e-146 to 1e150; "
            "rescale what varies by less or more)"
        )


def stream(
    runs: Sequence[np.ndarray],
    state: State,
    update: Callable[..., State],
    *,
    width: int = 0,
) -> State:
    """`state` after `update(state, frames, new_run=, mask=)` of every chunk of every run, in float64.

    Chunks have one shape, so that `update` is compiled once, and not again for runs of about the same length. They are
    small also when `update` makes `width` features of each frame. The last one of a run is padded, so that moments
    made by this are not open to go on with the run.
    """
    longest = max(len(run) for run in runs)
    fits = max(1, _CHUNK_VALUES // max(width, math.prod(runs[0].shape[1:])))
    chunk = min(fits, next((length for length in _CHUNKS if length >= longest), _CHUNKS[-1]))
    for run in runs:
        for start in range(0, len(run), chunk):
            frames = np.asarray(run[start : start + chunk], np.float64)
            if run.dtype == np.uint8:
                frames /= 255
            mask = np.arange(chunk) < len(frames)
            if len(frames) < chunk:
                frames = np.concatenate([frames, np.zeros((chunk - len(frames), *frames.shape[1:]))])
            state = update(state, frames, new_run=start == 0, mask=mask)
    return state


def moments_of(runs: Runs, *, lag: int, pairs: bool | Literal["reversible"] = False) -> Moments:
    """The moments of all runs, in float64.

    Raises:
      ValueError, TypeError: as `sfa_jax.slowness.fit`.
    """
    arrays = as_runs(runs, lag=lag)
    with jax.enable_x64(True):
        moments = no_moments(arrays[0].shape[1], lag=lag, pairs=pairs)
        return stream(arrays, moments, add_frames)
