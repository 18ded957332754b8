"""Linear slow feature analysis in closed form, from streamed moments."""

from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from sfa_jax.slowness._moments import Moments, as_frames
from sfa_jax.slowness._runs import Runs, as_rcond, check_varies, moments_of
from sfa_jax.slowness._whitening import Whitening, check_components, leading_signs, whiten


class LinearSFA(NamedTuple):
    """A solved linear slow feature analysis.

    Attributes:
      mean: `[n_features]`, taken off the input.
      components: `[n_components, n_features]`, slowest first; rows beyond `rank` are 0.
      delta: `[n_components]`, Delta value of each output on the data of the moments; nan beyond `rank`. What is less
        than the error that rounding can have made is lost: in its place stands a bound, at least the true value, so
        that 0 means that nothing has moved at all.
      rank: scalar integer, how many dimensions of the data are above the cut-off.
    """

    mean: jax.Array
    components: jax.Array
    delta: jax.Array
    rank: jax.Array


class Affine(Protocol):
    """What `transform_linear` applies."""

    @property
    def mean(self) -> jax.Array: ...
    @property
    def components(self) -> jax.Array: ...


def solve(
    moments: Moments, n_components: int | None = None, *, rcond: float | None = None, rounding: float | None = None
) -> LinearSFA:
    """Linear slow feature analysis: the directions of least change among those of unit variance.

    Solves Cdot w = Delta C w with w'Cw = 1, in order of Delta, where C is the covariance and Cdot the mean outer
    product of the (uncentered) differences. Features are first brought to unit variance; directions in which the
    correlation matrix has an eigenvalue of at most `rcond` times its largest are left out. The sign of a component
    makes its largest entry, in units of the features' deviations, positive: the first one of those that agree with the
    largest to 1e-4, so that rounding does not choose between features that count alike.

    Delta has an error of about epsilon (largest Delta + s (w_k'diag(Cdot)w_k + Delta_k w_k'diag(C)w_k)), s growing with
    the root of the number of pairs, |w_k| taken before its parts cancel: large where the correlation matrix is nearly
    singular. A Delta below it is given as a bound (`LinearSFA.delta`).

    Args:
      moments: of the data.
      n_components: how many features; all of them if None. A static integer.
      rcond: relative cut-off of the rank; max(n_features, 100) times `rounding` if None.
      rounding: epsilon, the relative rounding of the sums; the machine epsilon of the moments' type if None. Give that
        of float32 for sums that were added up in it and converted.

    Returns:
      `LinearSFA(mean, components, delta, rank)`. Nothing is raised for too little data: `rank` says what was there,
      and is 0 without a valid pair.

    The gradient is nan where eigenvalues are equal, as they are with two constant features or more.

    Raises:
      ValueError: `n_components` is not in 1..n_features.

    References:
      Wiskott & Sejnowski, Neural Computation 2002, section 3; Berkes & Wiskott 2005 for the generalised form.
    """
    covariance = jnp.where(moments.n_pairs > 0, moments.scatter / jnp.maximum(moments.n_frames, 1), 0)
    change = moments.change_scatter / jnp.maximum(moments.n_pairs, 1)
    return solve_covariances(
        moments.mean, covariance, change, n_components, rcond=rcond, rounding=rounding, n_pairs=moments.n_pairs
    )


def solve_covariances(
    mean: jax.Array,
    covariance: jax.Array,
    change: jax.Array,
    n_components: int | None,
    *,
    rcond: float | None,
    n_pairs: jax.Array,
    rounding: float | None = None,
) -> LinearSFA:
    """As `solve`, from C and Cdot themselves."""
    n_components = check_components(n_components, mean.shape[0])
    highest = jax.lax.Precision.HIGHEST
    rounding = float(jnp.finfo(covariance.dtype).eps) if rounding is None else rounding
    white = whiten(mean, covariance, rcond, rounding)
    scale, matrix, kept = white
    scaled = scale[:, None] * change * scale[None]
    slow = jnp.matmul(matrix.T, jnp.matmul(scaled, matrix, precision=highest), precision=highest)
    # Directions that were cut off are pushed behind every feature: a Delta value cannot exceed the trace.
    behind = jnp.where(kept, 0, 1 + 2 * jnp.trace(slow))
    deltas, rotation = jnp.linalg.eigh((slow + slow.T) / 2 + jnp.diag(behind))
    directions = jnp.matmul(matrix, rotation[:, :n_components], precision=highest).T
    directions = directions * leading_signs(directions)
    rank = jnp.sum(kept)
    within = jnp.arange(n_components) < rank
    largest = jnp.max(jnp.where(jnp.arange(len(deltas)) < rank, deltas, 0))
    delta = deltas[:n_components]
    units = _rounding_of(white, rotation[:, :n_components], scaled, delta, largest, mean, n_pairs)
    error = rounding * jax.lax.stop_gradient(units)
    return LinearSFA(
        mean=mean,
        components=jnp.where(within[:, None], directions * scale[None], 0),
        delta=jnp.where(within, jnp.where(delta > error, delta, jnp.maximum(delta, 0) + error), jnp.nan),
        rank=rank,
    )


def _rounding_of(
    white: Whitening,
    rotation: jax.Array,
    change: jax.Array,
    delta: jax.Array,
    largest: jax.Array,
    mean: jax.Array,
    n_pairs: jax.Array,
) -> jax.Array:
    """The error of each Delta `[n_components]`, in units of the relative rounding of the sums.

    Those of the eigenvalues, of the sums over pairs and over frames, whose errors are taken as independent, and of the
    mean, where runs or chunks that lie far from 0 are merged.
    """
    highest = jax.lax.Precision.HIGHEST
    parts = jnp.square(jnp.matmul(jnp.abs(white.matrix), jnp.abs(rotation), precision=highest).T)  # before they cancel

    def sizes(power: jax.Array) -> jax.Array:
        return jnp.matmul(parts, power, precision=highest)

    moved, varied = sizes(jnp.diagonal(change)), sizes((white.scale > 0).astype(parts.dtype))
    offset = jnp.sqrt(sizes(jnp.square(mean * white.scale)))
    delta = jnp.maximum(delta, 0)
    return 4 * (largest + (1 + jnp.sqrt(n_pairs) / 16) * (moved + delta * varied) + delta * offset)


solve_jitted = jax.jit(solve, static_argnames="n_components")  # for the host's functions


def as_unit_range(x: jax.Array, model: Affine) -> jax.Array:
    """uint8 pixels in [0, 1], in the precision of a model."""
    return x.astype(jnp.asarray(model.mean).dtype) / 255


def transform_linear(model: Affine, x: ArrayLike) -> jax.Array:
    """(x - mean) components'."""
    mean, components = jnp.asarray(model.mean), jnp.asarray(model.components)
    x = as_frames(x, mean.dtype)
    if x.ndim < 1 or x.shape[-1] != mean.shape[0]:
        raise ValueError(f"x: expected shape [..., {mean.shape[0]}], got {x.shape}")
    centred = x - jnp.expand_dims(mean, tuple(range(x.ndim - 1)))
    return jnp.matmul(centred, components.T, precision=jax.lax.Precision.HIGHEST)


def fit(
    runs: Runs,
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
      `LinearSFA` of NumPy float64 arrays; a Delta below its rounding, as a rule about 1e-14, is given as a bound.

    Raises:
      ValueError: no run is longer than the lag, values are not finite, every feature is constant, shapes differ, or an
        option is out of its range.
      TypeError: a run is not floating-point, or an option no number.

    >>> t = np.linspace(0, 2 * np.pi, 500)
    >>> model = fit(np.stack([np.sin(t) + np.cos(11 * t), np.cos(11 * t)], axis=1))
    >>> slowest = (np.stack([np.sin(t), 0 * t], axis=1) - model.mean) @ model.components[0]
    >>> bool(abs(np.corrcoef(slowest, np.sin(t))[0, 1]) > 0.9999)
    True
    """
    rcond = as_rcond(rcond)
    moments = moments_of(runs, lag=lag)
    with jax.enable_x64(True):
        model = solve_jitted(moments, n_components, rcond=rcond)
        model = LinearSFA(*(np.asarray(field) for field in model))  # type: ignore[arg-type]
    check_varies(model.rank)
    return model
