"""Linear slow feature analysis in closed form, from streamed moments."""

from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from sfa_jax.slowness._moments import Moments, as_frames
from sfa_jax.slowness._runs import Runs, as_rcond, check_varies, moments_of
from sfa_jax.slowness._whitening import check_components, leading_signs, whiten


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


class Affine(Protocol):
    """What `transform_linear` applies."""

    @property
    def mean(self) -> jax.Array: ...
    @property
    def components(self) -> jax.Array: ...


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
      rcond: relative cut-off of the rank; max(n_features, 100) times the machine epsilon of the moments' type if None.

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
    return solve_covariances(moments.mean, covariance, change, n_components, rcond=rcond)


def solve_covariances(
    mean: jax.Array, covariance: jax.Array, change: jax.Array, n_components: int | None, *, rcond: float | None
) -> LinearSFA:
    """As `solve`, from C and Cdot themselves."""
    n_components = check_components(n_components, mean.shape[0])
    highest = jax.lax.Precision.HIGHEST
    scale, matrix, kept = whiten(mean, covariance, rcond)
    slow = jnp.matmul(
        matrix.T, jnp.matmul(scale[:, None] * change * scale[None], matrix, precision=highest), precision=highest
    )
    # Directions that were cut off are pushed behind every feature: a Delta value cannot exceed the trace.
    behind = jnp.where(kept, 0, 1 + 2 * jnp.trace(slow))
    deltas, rotation = jnp.linalg.eigh((slow + slow.T) / 2 + jnp.diag(behind))
    directions = jnp.matmul(matrix, rotation[:, :n_components], precision=highest).T
    directions = directions * leading_signs(directions)
    rank = jnp.sum(kept)
    within = jnp.arange(n_components) < rank
    return LinearSFA(
        mean=mean,
        components=jnp.where(within[:, None], directions * scale[None], 0),
        delta=jnp.where(within, jnp.maximum(deltas[:n_components], 0), jnp.nan),
        rank=rank,
    )


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
      `LinearSFA` of NumPy float64 arrays.

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
