"""Streamed first and second moments of runs of frames: all that the closed-form solutions need."""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from sfa_jax.slowness._batch import as_weights, as_whole, check_floating, inner, masked, mean_of, outer_sum, total_of

_BLOCK = 4096  # frames


class PairMoments(NamedTuple):
    """What `solve_tica` and `solve_vamp` need besides: the frames of all valid pairs, as their sum and their change.

    Attributes:
      mean_tm1, mean_t: `[n_features]`, of the earlier and of the later frames.
      sum_scatter: `[n_features, n_features]`, sum of ss', s = x_{t-lag} + x_t less its mean.
      sum_change: `[n_features, n_features]`, sum of sc', c = x_t - x_{t-lag} less its mean; None where only
        `solve_tica` was asked for, which does not need it.
    """

    mean_tm1: jax.Array
    mean_t: jax.Array
    sum_scatter: jax.Array
    sum_change: jax.Array | None


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
      pairs: moments of the two frames of a pair apart, or None where `init_moments` was not asked for them.
    """

    n_frames: jax.Array
    mean: jax.Array
    scatter: jax.Array
    n_pairs: jax.Array
    change_scatter: jax.Array
    tail: jax.Array
    tail_valid: jax.Array
    pairs: PairMoments | None = None


def init_moments(
    n_features: int, *, lag: int = 1, pairs: bool | Literal["reversible"] = False, dtype: DTypeLike | None = None
) -> Moments:
    """Moments of no data.

    Args:
      n_features: size of a frame.
      lag: distance of the two frames of a pair, in frames.
      pairs: also keep what `solve_tica` and `solve_vamp` need, at three times the cost; "reversible" for what
        `solve_tica` needs, at less than twice.
      dtype: type of the sums, float32 or float64; jax's default if None.

    Returns:
      `Moments`, to be passed through `update_moments`.

    Raises:
      ValueError: `n_features` or `lag` is below 1, or `pairs` is none of the three.
      TypeError: `n_features` or `lag` is no whole number; `dtype` is not floating, or of half precision, which
        cannot count frames.
    """
    n_features, lag = as_whole(n_features, "n_features"), as_whole(lag, "lag")
    if n_features < 1:
        raise ValueError(f"n_features: expected at least 1, got {n_features}")
    if lag < 1:
        raise ValueError(f"lag: expected at least 1 frame, got {lag}")
    if pairs not in (False, True, "reversible"):
        raise ValueError(f"pairs: expected False, True or 'reversible', got {pairs!r}")
    zero = jnp.zeros((), dtype or float)
    check_floating(zero.dtype, "dtype")
    if zero.dtype.itemsize < 4:
        raise TypeError(f"dtype: expected float32 or float64, got {zero.dtype}")
    square = jnp.zeros((n_features, n_features), zero.dtype)
    tail = jnp.zeros((lag, n_features), zero.dtype)
    apart = PairMoments(square[0], square[0], square, square if pairs is True else None) if pairs else None
    return Moments(zero, square[0], square, zero, square, tail, tail[:, 0], apart)


def update_moments(
    moments: Moments, x: ArrayLike, *, new_run: ArrayLike = False, mask: ArrayLike | None = None
) -> Moments:
    """Adds the next frames of a run, in chunks of any length.

    Pairs across the border of two chunks are counted once, also where a chunk is shorter than the lag. Means are taken
    off before anything is squared, so that an offset costs no more precision than its own rounding: in float32, one of
    1e5 deviations costs about (6e-8 1e5)^2 of the scatter where chunks meet.

    jax returns before it has computed: a loop that makes chunks faster than they are added up should wait now and then
    (`jax.block_until_ready`), or many of them are held at once.

    Args:
      moments: so far.
      x: `[time, n_features]`, floating, the frames that follow.
      new_run: a scalar, true where `x` starts a run: no pair reaches back over it. May be traced.
      mask: `[time]`, non-zero where a frame is valid; a pair needs both of its frames.

    Returns:
      The new `Moments`.

    Raises:
      ValueError: `x`, `mask` or `new_run` has another shape.
      TypeError: `x` is not floating-point.
    """
    x = as_frames(x, moments.mean.dtype)
    if x.ndim != 2 or x.shape[1] != moments.mean.shape[0]:
        raise ValueError(f"x: expected shape [time, {moments.mean.shape[0]}], got {x.shape}")
    new_run, weights = jnp.asarray(new_run), as_weights(mask, x)
    if new_run.shape:
        raise ValueError(f"new_run: expected one scalar, for the first frame of x, got shape {new_run.shape}")
    moments = moments._replace(tail_valid=jnp.where(new_run, 0, moments.tail_valid))
    if len(x) <= _BLOCK:
        return _add(moments, x, weights)
    # Only on a CPU: an accelerator's product wants to be large, and frames sharded over time would be gathered.
    return jax.lax.platform_dependent(moments, x, weights, cpu=_add_by_blocks, default=_add)


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
    a_product, b_product = (m.pairs and m.pairs.sum_change for m in (a, b))
    if any((x is None) != (y is None) for x, y in ((a.pairs, b.pairs), (a_product, b_product))):
        raise ValueError("a and b: expected both made with the same `pairs` of init_moments, got one of each")
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
        pairs=_merge_pairs(a.pairs, b.pairs, a.n_pairs, b.n_pairs),
    )


def _add(moments: Moments, x: jax.Array, weights: jax.Array) -> Moments:
    """Adds the frames `x` with three products of half their length, not two of their full one.

    Every other pair goes into the covariance as its sum and its difference, aa' + bb' = ((a + b)(a + b)' +
    (b - a)(b - a)') / 2, so that the product of these differences counts twice.
    """
    lag = moments.tail.shape[0]
    x = masked(x, weights)  # what is not valid shall not stay in the tail either
    mean = mean_of(x, weights)
    a, b = _alternating(x, lag)
    a_valid, b_valid = _alternating(weights, lag)
    before = jnp.concatenate([moments.tail[None], b[:-1]])
    before_valid = jnp.concatenate([moments.tail_valid[None], b_valid[:-1]])

    both, alone, across = a_valid * b_valid, jnp.abs(a_valid - b_valid), before_valid * a_valid
    total = masked(a - mean[None], a_valid) + masked(b - mean[None], b_valid)
    total = total * (1 + (2**0.5 - 1) * alone)[..., None]  # half of its square shall be one frame's square
    inside = outer_sum(masked(b - a, both))
    chunk = Moments(
        n_frames=jnp.sum(weights),
        mean=mean.reshape(-1),
        scatter=(outer_sum(total) + inside) / 2,
        n_pairs=jnp.sum(both) + jnp.sum(across),
        change_scatter=inside + outer_sum(masked(a - before, across)),
        tail=jnp.concatenate([moments.tail[len(x) :], x[-lag:]]),
        tail_valid=jnp.concatenate([moments.tail_valid[len(x) :], weights[-lag:]]),
        pairs=_pair_moments(moments, x, mean, weights),
    )
    return merge_moments(moments, chunk)._replace(tail=chunk.tail, tail_valid=chunk.tail_valid)


def _alternating(x: jax.Array, lag: int) -> tuple[jax.Array, jax.Array]:
    """Stretches of `lag` frames, `[n, lag, ...]`: every other one, and those between; `x` is padded with zeros."""
    n = max(1, -(-len(x) // (2 * lag)))
    padded = jnp.concatenate([x, jnp.zeros((n * 2 * lag - len(x), *x.shape[1:]), x.dtype)])
    stretches = padded.reshape(n, 2, lag, *x.shape[1:])
    return stretches[:, 0], stretches[:, 1]


def _add_by_blocks(moments: Moments, x: jax.Array, weights: jax.Array) -> Moments:
    """As `_add`, block by block, so that what is centred, subtracted and multiplied stays in the cache."""
    whole = len(x) // _BLOCK * _BLOCK

    def add(moments: Moments, start: jax.Array) -> tuple[Moments, None]:
        block, valid = (jax.lax.dynamic_slice_in_dim(array, start, _BLOCK) for array in (x, weights))
        return _add(moments, block, valid), None

    moments, _ = jax.lax.scan(add, moments, jnp.arange(0, whole, _BLOCK))
    return _add(moments, x[whole:], weights[whole:]) if len(x) > whole else moments


def _pair_moments(moments: Moments, x: jax.Array, mean: jax.Array, weights: jax.Array) -> PairMoments | None:
    """The moments of the pairs that end in the frames `x`, whose mean is near that of the frames of the pairs."""
    if moments.pairs is None:
        return None
    lag = moments.tail.shape[0]
    frames, valid = jnp.concatenate([moments.tail, x]), jnp.concatenate([moments.tail_valid, weights])
    x_tm1, x_t, weights = frames[:-lag], frames[lag:], valid[lag:] * valid[:-lag]
    count = jnp.maximum(jnp.sum(weights), 1)
    total, change = masked((x_tm1 - mean) + (x_t - mean), weights), masked(x_t - x_tm1, weights)
    mean_total, mean_change = total_of(total) / count, total_of(change) / count
    middle = mean.reshape(-1) + mean_total / 2
    return PairMoments(
        mean_tm1=middle - mean_change / 2,
        mean_t=middle + mean_change / 2,
        sum_scatter=outer_sum(total) - count * jnp.outer(mean_total, mean_total),
        sum_change=None
        if moments.pairs.sum_change is None
        else inner(total, change) - count * jnp.outer(mean_total, mean_change),
    )


def _merge_pairs(a: PairMoments | None, b: PairMoments | None, n_a: jax.Array, n_b: jax.Array) -> PairMoments | None:
    if a is None or b is None:
        return None
    share = n_b / jnp.maximum(n_a + n_b, 1)
    past, now = b.mean_tm1 - a.mean_tm1, b.mean_t - a.mean_t
    weight = n_a * share
    total = past + now
    return PairMoments(
        mean_tm1=a.mean_tm1 + share * past,
        mean_t=a.mean_t + share * now,
        sum_scatter=a.sum_scatter + b.sum_scatter + weight * jnp.outer(total, total),
        sum_change=None
        if a.sum_change is None or b.sum_change is None
        else a.sum_change + b.sum_change + weight * jnp.outer(total, now - past),
    )


def as_frames(x: ArrayLike, dtype: DTypeLike) -> jax.Array:
    x = jnp.asarray(x)
    check_floating(x.dtype, "x")
    return x.astype(dtype)
