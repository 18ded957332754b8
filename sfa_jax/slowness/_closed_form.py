"""Linear slow feature analysis in closed form, from streamed moments."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from sfa_jax.slowness._batch import as_weights, centred_scatter, check_floating, masked, outer_sum

_CHUNK = 4096  # frames that `fit` adds at once
_TIE = 1e-4  # entries of a component within this share of the largest count as equal to it


class Moments(NamedTuple):
    """What a pass over runs of frames leaves behind; everything `solve` needs.

    Attributes:
      n_frames: valid frames.
      mean: `[n_features]`.
      scatter: `[n_features, n_features]`, sum of (x - mean)(x - mean)' over the valid frames.
      n_pairs: valid pairs of frames one lag apart.
      change_scatter: `[n_features, n_features]`, sum of their (x_t - x_{t-lag})(x_t - x_{t-lag})'.
      tail: `[lag, n_features]`, the last frames of the open run.
      tail_valid: `[lag]`, 1 where a frame of the tail exists and is valid.
    """

    n_frames: jax.Array
    mean: jax.Array
    scatter: jax.Array
    n_pairs: jax.Array
    change_scatter: jax.Array
    tail: jax.Array
    tail_valid: jax.Array


class LinearSFA(NamedTuple):
    """A solved linear slow feature analysis.

    Attributes:
      mean: `[n_features]`, taken off the input.
      components: `[n_components, n_features]`, slowest first; rows beyond `rank` are 0.
      delta: `[n_components]`, Delta value of each output on the data of the moments; nan beyond `rank`.
      rank: scalar integer, how many dimensions of the data are above the cut-off.
    """

    mean: jax.Array
    components: jax.Array
    delta: jax.Array
    rank: jax.Array


def init_moments(n_features: int, *, lag: int = 1, dtype: DTypeLike | None = None) -> Moments:
    """Moments of no data.

    Args:
      n_features: size of a frame.
      lag: distance of the two frames of a pair, in frames.
      dtype: floating type of the sums; jax's default if None.

    Returns:
      `Moments`, to be passed through `update_moments`.

    Raises:
      ValueError: `n_features` or `lag` is below 1.
      TypeError: `dtype` is not floating.
    """
    if n_features < 1:
        raise ValueError(f"n_features: expected at least 1, got {n_features}")
    if lag < 1:
        raise ValueError(f"lag: expected at least 1 frame, got {lag}")
    zero = jnp.zeros((), dtype or float)
    check_floating(zero.dtype, "dtype")
    square = jnp.zeros((n_features, n_features), zero.dtype)
    tail = jnp.zeros((lag, n_features), zero.dtype)
    return Moments(zero, square[0], square, zero, square, tail, tail[:, 0])


def update_moments(
    moments: Moments, x: ArrayLike, *, new_run: ArrayLike = False, mask: ArrayLike | None = None
) -> Moments:
    """Adds the next frames of a run, in chunks of any length.

    Pairs across the border of two chunks are counted once, also where a chunk is shorter than the lag. Means are taken
    off before anything is squared, so large offsets do not cost precision.

    Args:
      moments: so far.
      x: `[time, n_features]`, floating, the frames that follow.
      new_run: scalar, true where `x` starts a run: no pair reaches back over it. May be traced.
      mask: `[time]`, non-zero where a frame is valid; a pair needs both of its frames.

    Returns:
      The new `Moments`.

    Raises:
      ValueError: `x` or `mask` has another shape.
      TypeError: `x` is not floating-point.
    """
    x = _as_frames(x, moments.mean.dtype)
    if x.ndim != 2 or x.shape[1] != moments.mean.shape[0]:
        raise ValueError(f"x: expected shape [time, {moments.mean.shape[0]}], got {x.shape}")
    lag = moments.tail.shape[0]
    weights = as_weights(mask, x)
    x = masked(x, weights)  # what is not valid shall not stay in the tail either
    tail_valid = jnp.where(jnp.asarray(new_run), 0, moments.tail_valid)
    frames, valid = jnp.concatenate([moments.tail, x]), jnp.concatenate([tail_valid, weights])
    pairs = valid[lag:] * valid[:-lag]
    change = masked(frames[lag:] - frames[:-lag], pairs)
    chunk = Moments(*centred_scatter(x, weights), jnp.sum(pairs), outer_sum(change), frames[-lag:], valid[-lag:])
    return merge_moments(moments, chunk)._replace(tail=chunk.tail, tail_valid=chunk.tail_valid)


def merge_moments(a: Moments, b: Moments) -> Moments:
    """The moments of both sets of runs together; order and grouping do not matter.

    The two are separate runs: no pair joins them, and the result is open to a new run only.

    Args:
      a: moments.
      b: moments with the same number of features and lag.

    Returns:
      Their sum.

    Raises:
      ValueError: the numbers of features or the lags differ.

    References:
      Chan, Golub & LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.
    """
    if a.tail.shape != b.tail.shape:
        raise ValueError(f"a and b: expected equal [lag, n_features], got {a.tail.shape} and {b.tail.shape}")
    n_frames = a.n_frames + b.n_frames
    share = b.n_frames / jnp.maximum(n_frames, 1)
    shift = b.mean - a.mean
    return Moments(
        n_frames=n_frames,
        mean=a.mean + share * shift,
        scatter=a.scatter + b.scatter + (a.n_frames * share) * jnp.outer(shift, shift),
        n_pairs=a.n_pairs + b.n_pairs,
        change_scatter=a.change_scatter + b.change_scatter,
        tail=jnp.zeros_like(a.tail),
        tail_valid=jnp.zeros_like(a.tail_valid),
    )


def solve(moments: Moments, n_components: int | None = None, *, rcond: float | None = None) -> LinearSFA:
    """Linear slow feature analysis: the directions of least change among those of unit variance.

    Solves Cdot w = Delta C w with w'Cw = 1, in order of Delta, where C is the covariance and Cdot the mean outer
    product of the (uncentred) differences. Features are first brought to unit variance; directions in which the
    correlation matrix has an eigenvalue of at most `rcond` times its largest are left out. The sign of a component
    makes its largest entry, in units of the features' deviations, positive: the first one of those that agree with the
    largest to 1e-4, so that rounding does not choose between features that count alike.

    Args:
      moments: of the data.
      n_components: how many features; all of them if None. A static integer.
      rcond: relative cut-off of the rank; n_features times the machine epsilon of the moments' type if None.

    Returns:
      `LinearSFA(mean, components, delta, rank)`. Nothing is raised for too little data: `rank` says what was there.

    Raises:
      ValueError: `n_components` is not in 1..n_features.

    References:
      Wiskott & Sejnowski, Neural Computation 2002, section 3; Berkes & Wiskott 2005 for the generalised form.
    """
    n_features = moments.mean.shape[0]
    dtype = moments.mean.dtype
    n_components = n_features if n_components is None else n_components
    if not 1 <= n_components <= n_features:
        raise ValueError(f"n_components: expected 1 to {n_features}, got {n_components}")
    cut = n_features * float(jnp.finfo(dtype).eps) if rcond is None else rcond
    highest = jax.lax.Precision.HIGHEST

    c = moments.scatter / jnp.maximum(moments.n_frames, 1)
    cdot = moments.change_scatter / jnp.maximum(moments.n_pairs, 1)
    variance = jnp.diagonal(c)
    # Centring rounds: a constant feature on an offset keeps a variance of the order of (eps offset)^2.
    floor = jnp.square(4 * float(jnp.finfo(dtype).eps) * moments.mean)
    scale = jnp.where(variance > floor, jax.lax.rsqrt(jnp.where(variance > floor, variance, 1)), 0)
    values, vectors = jnp.linalg.eigh(scale[:, None] * c * scale[None])
    kept = values > cut * values[-1]
    whiten = vectors * jnp.where(kept, jax.lax.rsqrt(jnp.where(kept, values, 1)), 0)[None]
    change = scale[:, None] * cdot * scale[None]
    slow = jnp.matmul(whiten.T, jnp.matmul(change, whiten, precision=highest), precision=highest)
    # Directions that were cut off are pushed behind every feature: a Delta value cannot exceed the trace.
    behind = jnp.where(kept, 0, 1 + 2 * jnp.trace(slow))
    deltas, rotation = jnp.linalg.eigh((slow + slow.T) / 2 + jnp.diag(behind))
    directions = jnp.matmul(whiten, rotation, precision=highest).T[:n_components]
    size = jnp.abs(directions)
    leading = jnp.argmax(size >= (1 - _TIE) * jnp.max(size, axis=1, keepdims=True), axis=1)
    largest = jnp.take_along_axis(directions, leading[:, None], axis=1)
    directions = directions * jnp.where(largest < 0, -1, 1).astype(dtype)
    rank = jnp.sum(kept & (values > 0))
    within = jnp.arange(n_components) < rank
    return LinearSFA(
        mean=moments.mean,
        components=jnp.where(within[:, None], directions * scale[None], 0),
        delta=jnp.where(within, jnp.maximum(deltas[:n_components], 0), jnp.nan),
        rank=rank,
    )


def _as_frames(x: ArrayLike, dtype: DTypeLike) -> jax.Array:
    x = jnp.asarray(x)
    check_floating(x.dtype, "x")
    return x.astype(dtype)


def transform(model: LinearSFA, x: ArrayLike) -> jax.Array:
    """Slow features of frames: y = (x - mean) W'.

    Args:
      model: from `solve` or `fit`.
      x: `[..., n_features]`, floating.

    Returns:
      `[..., n_components]`: on the data of the moments centred, of unit variance, uncorrelated, slowest first; 0 in the
      components beyond the rank.

    Raises:
      ValueError: `x` has another number of features.
      TypeError: `x` is not floating-point.
    """
    mean, components = jnp.asarray(model.mean), jnp.asarray(model.components)
    x = _as_frames(x, mean.dtype)
    if x.ndim < 1 or x.shape[-1] != mean.shape[0]:
        raise ValueError(f"x: expected shape [..., {mean.shape[0]}], got {x.shape}")
    centred = x - jnp.expand_dims(mean, tuple(range(x.ndim - 1)))
    return jnp.matmul(centred, components.T, precision=jax.lax.Precision.HIGHEST)


def fit(
    runs: ArrayLike | Sequence[ArrayLike],
    n_components: int | None = None,
    *,
    lag: int = 1,
    rcond: float | None = None,
) -> LinearSFA:
    """Fits linear slow feature analysis to one run or several, in float64 whatever the input and jax's default.

    Args:
      runs: one floating array `[time, n_features]`, or a list of them, whose ends no pair crosses.
      n_components: how many features; all of them if None.
      lag: distance of the two frames of a pair, in frames.
      rcond: as in `solve`, in [0, 1).

    Returns:
      `LinearSFA` of NumPy float64 arrays.

    Raises:
      ValueError: no run is longer than the lag, values are not finite, every feature is constant, shapes differ, or an
        option is out of its range.
      TypeError: a run is not floating-point.

    >>> t = np.linspace(0, 2 * np.pi, 500)
    >>> model = fit(np.stack([np.sin(t) + np.cos(11 * t), np.cos(11 * t)], axis=1))
    >>> slowest = (np.stack([np.sin(t), 0 * t], axis=1) - model.mean) @ model.components[0]
    >>> bool(abs(np.corrcoef(slowest, np.sin(t))[0, 1]) > 0.9999)
    True
    """
    if not isinstance(runs, (list, tuple)):
        runs = [runs]  # type: ignore[list-item]
    if rcond is not None and not 0 <= rcond < 1:
        raise ValueError(f"rcond: expected a share of the largest eigenvalue, in [0, 1), got {rcond}")
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
    arrays = [run.astype(np.float64, copy=False) for run in arrays]
    with jax.enable_x64(True):
        moments = init_moments(arrays[0].shape[1], lag=lag)
        update = jax.jit(update_moments)
        chunk = min(longest, _CHUNK)  # one shape for all runs: one compilation
        for run in arrays:
            for start in range(0, len(run), chunk):
                frames = run[start : start + chunk]
                mask = np.arange(chunk) < len(frames)
                padded = np.concatenate([frames, np.zeros((chunk - len(frames), frames.shape[1]))])
                moments = update(moments, padded, new_run=start == 0, mask=mask)
        model = jax.jit(solve, static_argnums=1, static_argnames="rcond")(moments, n_components, rcond=rcond)
        model = LinearSFA(*(np.asarray(field) for field in model))  # type: ignore[arg-type]
    if model.rank == 0:
        raise ValueError("runs: every feature is constant, so none has a slowness; give input that varies")
    return model
