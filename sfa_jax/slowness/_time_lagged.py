"""Time-lagged independent components (TICA) and the variational approach (VAMP), from the moments of SFA.

Both ask how well a linear function of now predicts one of `lag` frames later. TICA takes time to be reversible and is
SFA on pairs: its eigenvalues are 1 - Delta / 2. VAMP does not, and finds two sets of functions.
"""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sfa_jax.slowness._batch import in_own_precision, inner
from sfa_jax.slowness._closed_form import solve_covariances
from sfa_jax.slowness._moments import Moments, PairMoments
from sfa_jax.slowness._runs import Runs, as_rcond, check_varies, moments_of
from sfa_jax.slowness._whitening import check_components, leading_signs, whiten

Order = Literal[1, 2, "E"]


class TICA(NamedTuple):
    """A solved time-lagged independent component analysis.

    Attributes:
      mean: `[n_features]`, taken off the input.
      components: `[n_components, n_features]`, in the order of `eigenvalues`; rows beyond `rank` are 0.
      eigenvalues: `[n_components]`, autocorrelation of each output at the lag, largest magnitude first; nan beyond
        `rank`. One nearer to 1 than rounding shows is a bound, 1 - Delta / 2 of that of `LinearSFA.delta`.
      rank: scalar integer, how many dimensions of the data are above the cut-off.
    """

    mean: jax.Array
    components: jax.Array
    eigenvalues: jax.Array
    rank: jax.Array


class VAMP(NamedTuple):
    """A solved variational approach to Markov processes.

    Attributes:
      mean_tm1, mean_t: `[n_features]`, of the earlier and of the later frames.
      components_tm1, components_t: `[n_components, n_features]`, functions of the earlier and of the later frame, each
        set white on its own frames; rows beyond `rank` are 0.
      singular_values: `[n_components]`, correlation of the two functions of a pair, largest first; 0 beyond `rank`. One
        nearer to 1 than rounding shows is 1.
      rank: scalar integer, the smaller of the ranks of the two sets of frames.
    """

    mean_tm1: jax.Array
    mean_t: jax.Array
    components_tm1: jax.Array
    components_t: jax.Array
    singular_values: jax.Array
    rank: jax.Array


def solve_tica(moments: Moments, n_components: int | None = None, *, rcond: float | None = None) -> TICA:
    """Time-lagged independent components: the directions of most autocorrelation.

    Solves C1 w = lambda C0 w with w'C0w = 1, where C0 = (C_tm1 + C_t) / 2 and C1 the symmetrised covariance of the
    two frames of a pair, both about the mean of all frames of all pairs. As C0 - C1 is half the mean outer product of
    the differences, this is slow feature analysis on pairs, lambda = 1 - Delta / 2. Their order is the one of
    |lambda|, as usual for TICA: a feature that alternates comes before noise.

    Args:
      moments: of the data, from `init_moments(..., pairs="reversible")` or `pairs=True`.
      n_components: how many; all of them if None. A static integer.
      rcond: as in `solve`.

    Returns:
      `TICA(mean, components, eigenvalues, rank)`.

    Raises:
      ValueError: the moments hold no pairs, or `n_components` is out of range.

    References:
      Molgedey & Schuster, Physical Review Letters 1994; Perez-Hernandez et al., J. Chem. Phys. 2013.
    """
    pairs = _pairs_of(moments)
    count = jnp.maximum(moments.n_pairs, 1)
    mean = (pairs.mean_tm1 + pairs.mean_t) / 2
    change = moments.change_scatter / count
    covariance = (pairs.sum_scatter / count + change) / 4  # xx' + yy' = ((x + y)(x + y)' + (y - x)(y - x)') / 2
    n_components = check_components(n_components, moments.mean.shape[0])
    model = solve_covariances(mean, covariance, change, None, rcond=rcond, n_pairs=moments.n_pairs)
    eigenvalues = 1 - model.delta / 2
    order = jnp.argsort(-jnp.abs(eigenvalues))[:n_components]  # nan comes last
    return TICA(model.mean, model.components[order], eigenvalues[order], model.rank)


def solve_vamp(moments: Moments, n_components: int | None = None, *, rcond: float | None = None) -> VAMP:
    """The variational approach to Markov processes: pairs of functions of now and of later that correlate most.

    U S V' = C00^-1/2 C01 C11^-1/2, with the covariances of earlier frames, of pairs, and of later frames, each about
    its own mean. No reversibility is assumed. Cut-off and signs as in `solve`; the signs are those of the functions of
    the earlier frame.

    Args:
      moments: of the data, from `init_moments(..., pairs=True)`.
      n_components: how many; all of them if None. A static integer.
      rcond: as in `solve`.

    Returns:
      `VAMP(mean_tm1, mean_t, components_tm1, components_t, singular_values, rank)`.

    Raises:
      ValueError: the moments hold no pairs, or `n_components` is out of range.

    References:
      Wu & Noe, "Variational approach for learning Markov processes from time series data", J. Nonlinear Sci. 2020.
    """
    pairs = _pairs_of(moments)
    n_components = check_components(n_components, moments.mean.shape[0])
    c00, c01, c11 = _covariances(moments)
    past, now = whiten(pairs.mean_tm1, c00, rcond), whiten(pairs.mean_t, c11, rcond)
    coherence = inner(past.matrix, inner((past.scale[:, None] * c01 * now.scale[None]).T, now.matrix))
    # A correlation of 0 shall not mix with what was cut off, which is 0 too: that is made 2, and comes first.
    cut = ~past.kept & ~now.kept
    u, singular_values, vt = jnp.linalg.svd(coherence + jnp.diag(jnp.where(cut, 2, 0).astype(coherence.dtype)))
    u, singular_values, vt = (jnp.roll(x, -jnp.sum(cut), axis) for x, axis in ((u, 1), (singular_values, 0), (vt, 0)))
    left, right = inner(u, past.matrix.T)[:n_components], inner(vt.T, now.matrix.T)[:n_components]
    signs = leading_signs(left)
    rank = jnp.minimum(jnp.sum(past.kept), jnp.sum(now.kept))
    within = jnp.arange(n_components) < rank
    return VAMP(
        mean_tm1=pairs.mean_tm1,
        mean_t=pairs.mean_t,
        components_tm1=jnp.where(within[:, None], signs * left * past.scale[None], 0),
        components_t=jnp.where(within[:, None], signs * right * now.scale[None], 0),
        singular_values=jnp.where(within, jnp.minimum(singular_values[:n_components], 1), 0),
        rank=rank,
    )


@in_own_precision
def vamp_score(model: VAMP, moments: Moments | None = None, *, r: Order = 2) -> jax.Array:
    """Statistic of the data: how much of the dynamics a model's functions catch, the constant function counted as 1.

    r = 1, 2: 1 + sum_k s_k^r, the singular values of the two sets of functions, made white on the data scored.
    r = "E": 1 + tr(2 S U'C01 V - S U'C00 U S V'C11 V), S of the model: how near it is to the Koopman operator.
    The covariances are about the means of the data scored.

    Args:
      model: from `solve_vamp` or `vamp`.
      moments: of the data to score on, held out from the model's (cross-validation), with `pairs`; the model's own
        singular values are used if None.
      r: which score.

    Returns:
      A scalar of at least 1, but for r = "E" on other data; larger is better.

    Raises:
      ValueError: another `r`, or the moments hold no pairs or another number of features.

    References:
      Wu & Noe, J. Nonlinear Sci. 2020, sections 3 and 4; the constant function counts, as in deeptime.
    """
    if r not in (1, 2, "E"):
        raise ValueError(f"r: expected 1, 2 or 'E', got {r!r}")
    s = jnp.asarray(model.singular_values)
    if moments is None:
        return 1 + jnp.sum(s ** (1 if r == 1 else 2))
    left, right = jnp.asarray(model.components_tm1), jnp.asarray(model.components_t)
    if left.shape[1] != moments.mean.shape[0]:
        raise ValueError(f"moments: expected {left.shape[1]} features, as the model has, got {moments.mean.shape[0]}")

    def seen(a: jax.Array, covariance: jax.Array, b: jax.Array) -> jax.Array:
        return inner(a.T, inner(covariance.T, b.T))

    c00, c01, c11 = (
        seen(a, c, b) for a, c, b in zip((left, left, right), _covariances(moments), (left, right, right), strict=True)
    )
    if r == "E":
        return 1 + 2 * jnp.sum(s * jnp.diagonal(c01)) - jnp.sum(s[:, None] * c00 * s[None] * c11)
    no_mean = jnp.zeros(len(s), s.dtype)
    past_white, now_white = whiten(no_mean, c00, None), whiten(no_mean, c11, None)
    coherence = past_white.scale[:, None] * c01 * now_white.scale[None]
    found = jnp.linalg.svd(inner(past_white.matrix, inner(coherence.T, now_white.matrix)), compute_uv=False)
    return 1 + jnp.sum(found**r)


def tica(runs: Runs, lag: int = 1, n_components: int | None = None, *, rcond: float | None = None) -> TICA:
    """Fits `solve_tica` to one run or several, in float64 whatever the input and jax's default.

    Args:
      runs: one floating array `[time, n_features]`, or a list of them, whose ends no pair crosses.
      lag: distance of the two frames of a pair, in frames.
      n_components: how many; all of them if None.
      rcond: as in `solve`, in [0, 1).

    Returns:
      `TICA` of NumPy float64 arrays.

    Raises:
      ValueError, TypeError: as `fit`.

    >>> t = np.arange(2000)
    >>> [round(float(value), 3) for value in tica(np.stack([np.sin(t / 30), np.sin(t / 7)], axis=1)).eigenvalues]
    [0.999, 0.99]
    """
    return _solved(_solve_tica, runs, lag, n_components, rcond, "reversible")


def vamp(runs: Runs, lag: int = 1, n_components: int | None = None, *, rcond: float | None = None) -> VAMP:
    """Fits `solve_vamp` to one run or several, in float64 whatever the input and jax's default.

    Args:
      runs, lag, n_components, rcond: as in `tica`.

    Returns:
      `VAMP` of NumPy float64 arrays; `vamp(x, lag).singular_values` are what deeptime calls so.

    Raises:
      ValueError, TypeError: as `fit`.

    >>> t = np.arange(2000)
    >>> model = vamp(np.stack([np.sin(t / 30), np.sin(t / 7)], axis=1), 1)
    >>> round(float(vamp_score(model, r=2)), 1)
    3.0
    """
    return _solved(_solve_vamp, runs, lag, n_components, rcond, True)


_solve_tica = jax.jit(solve_tica, static_argnames="n_components")
_solve_vamp = jax.jit(solve_vamp, static_argnames="n_components")


def _solved(
    solver: Any,
    runs: Runs,
    lag: int,
    n_components: int | None,
    rcond: float | None,
    pairs: bool | Literal["reversible"],
) -> Any:
    rcond = as_rcond(rcond)
    moments = moments_of(runs, lag=lag, pairs=pairs)
    with jax.enable_x64(True):
        model = jax.tree.map(np.asarray, solver(moments, n_components, rcond=rcond))
    check_varies(model.rank)
    return model


def _pairs_of(moments: Moments) -> PairMoments:
    if moments.pairs is None:
        raise ValueError("moments: hold no pairs; make them with init_moments(..., pairs=True)")
    return moments.pairs


def _covariances(moments: Moments) -> tuple[jax.Array, jax.Array, jax.Array]:
    """C00, C01 and C11 of the earlier and the later frames of all pairs, each about its own mean."""
    pairs, count = _pairs_of(moments), jnp.maximum(moments.n_pairs, 1)
    if pairs.sum_change is None:
        raise ValueError("moments: hold what solve_tica needs only; make them with init_moments(..., pairs=True)")
    drift = pairs.mean_t - pairs.mean_tm1
    total, change = pairs.sum_scatter / count, moments.change_scatter / count - jnp.outer(drift, drift)
    mixed = pairs.sum_change / count
    return (
        (total + change - mixed - mixed.T) / 4,
        (total - change + mixed - mixed.T) / 4,
        (total + change + mixed + mixed.T) / 4,
    )
