"""Codes with an l1 penalty by proximal gradient steps, with a bound on how far from the best they are."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from sfa_jax.sparse._blocks import check_coding, in_blocks
from sfa_jax.sparse._thresholds import soft_threshold

_CHECK_EVERY = 10  # steps between two looks at the gap


class Lasso(NamedTuple):
    """Sparse codes, and how good they are.

    Attributes:
      codes: `[n_samples, n_atoms]`, signals ~ codes @ dictionary.
      gap: `[n_samples]`, at least the objective of a code minus the lowest there is, but for rounding.
      n_iterations: int32 `[n_samples]`, steps taken.
      converged: bool `[n_samples]`, whether the gap is at most `tol` times half the squared norm of the signal.
    """

    codes: jax.Array
    gap: jax.Array
    n_iterations: jax.Array
    converged: jax.Array


class _State(NamedTuple):
    codes: jax.Array  # [n, n_atoms]
    ahead: jax.Array  # [n, n_atoms], where the gradient is taken
    momentum: jax.Array  # [n]
    gap: jax.Array  # [n]
    n_iterations: jax.Array  # [n]
    active: jax.Array  # [n]


def fista(
    dictionary: ArrayLike,
    signals: ArrayLike,
    alpha: float | jax.Array,
    *,
    positive: bool = False,
    tol: float = 1e-4,
    max_iter: int = 1000,
    block_size: int = 2048,
) -> Lasso:
    """The lasso code of each signal, by accelerated proximal gradient steps that restart where they overshoot.

    min_z 1/2 ||x - z D||^2 + alpha |z|_1
    z_new = soft(y - (y D - x) D' / L, alpha / L),  y = z_new + (t - 1) / t_new (z_new - z),  L the norm of D D'

    A signal stops where its duality gap is small: with r = x - z D and theta = r min(1, alpha / max |D r|), which is
    feasible, gap = objective(z) - (<x, theta> - ||theta||^2 / 2). Its momentum starts anew where it points uphill. A
    signal that is not finite has a code of nan.

    Args:
      dictionary: `[n_atoms, n_features]`, floating point.
      signals: `[n_samples, n_features]`, of the same type.
      alpha: weight of the l1 norm, a number of at least 0; at 0 the bound is the objective itself.
      positive: codes of at least 0.
      tol: of the gap, relative to half the squared norm of the signal, the objective of a code of zeros. In float32
        rounding of the gap itself is about 1e-6 of that: a smaller tol is never reached.
      max_iter: steps at most; those of a signal that needs more end there, not `converged`.
      block_size: as in `omp`.

    Returns:
      `Lasso`.

    Raises:
      TypeError: they are not of one floating point type.
      ValueError: the shapes do not fit, or an option is out of its range.

    References:
      Beck & Teboulle, SIAM J. Imaging Sciences 2009; O'Donoghue & Candes, Found. Comput. Math. 2015 (restart); Kim et
      al., IEEE J. Sel. Topics Signal Process. 2007 (the gap).

    >>> fista(jnp.eye(2), jnp.array([[3.0, -0.5]]), 1.0).codes.tolist()
    [[2.0, 0.0]]
    """
    return _solve(dictionary, signals, alpha, positive, tol, max_iter, block_size, accelerated=True)


def ista(
    dictionary: ArrayLike,
    signals: ArrayLike,
    alpha: float | jax.Array,
    *,
    positive: bool = False,
    tol: float = 1e-4,
    max_iter: int = 1000,
    block_size: int = 2048,
) -> Lasso:
    """The lasso code of each signal by plain proximal gradient steps: `fista` without momentum, and slower.

    z_new = soft(z - (z D - x) D' / L, alpha / L)

    Args:
      dictionary, signals, alpha, positive, tol, max_iter, block_size: as in `fista`.

    Returns:
      `Lasso`.

    Raises:
      TypeError, ValueError: as `fista`.

    References:
      Daubechies, Defrise & De Mol, CPAM 2004.

    >>> ista(jnp.eye(2), jnp.array([[3.0, -0.5]]), 1.0).codes.tolist()
    [[2.0, 0.0]]
    """
    return _solve(dictionary, signals, alpha, positive, tol, max_iter, block_size, accelerated=False)


def _solve(
    dictionary: ArrayLike,
    signals: ArrayLike,
    alpha: float | jax.Array,
    positive: bool,
    tol: float,
    max_iter: int,
    block_size: int,
    *,
    accelerated: bool,
) -> Lasso:
    atoms, x = jnp.asarray(dictionary), jnp.asarray(signals)
    check_coding(atoms, x)
    if jnp.ndim(alpha) or (not isinstance(alpha, jax.core.Tracer) and not alpha >= 0):
        raise ValueError(f"alpha: expected a number of at least 0, got {alpha}")
    if not tol >= 0:
        raise ValueError(f"tol: expected at least 0, got {tol}")
    if max_iter < 1:
        raise ValueError(f"max_iter: expected at least 1, got {max_iter}")
    weight = jnp.asarray(alpha, x.dtype)
    gram = jnp.matmul(atoms, atoms.T)
    smaller = gram if len(gram) <= atoms.shape[1] else jnp.matmul(atoms.T, atoms)
    norm = jnp.max(jnp.linalg.eigvalsh(smaller)) * (1 + 16 * jnp.finfo(x.dtype).eps)
    rate = 1 / jnp.where(norm > 0, norm, 1)

    def block(x: jax.Array) -> Lasso:
        target = jnp.matmul(x, atoms.T)
        scale = 0.5 * jnp.sum(jnp.square(x), axis=1)

        def step(_: jax.Array, state: _State) -> _State:
            gradient = jnp.matmul(state.ahead, gram) - target
            codes = soft_threshold(state.ahead - rate * gradient, rate * weight, positive=positive)
            change = codes - state.codes
            momentum, ahead = state.momentum, codes
            if accelerated:
                uphill = jnp.sum((state.ahead - codes) * change, axis=1) > 0
                before = jnp.where(uphill, 1, state.momentum)
                momentum = 0.5 * (1 + jnp.sqrt(1 + 4 * before**2))
                ahead = codes + ((before - 1) / momentum)[:, None] * change
            on = state.active[:, None]
            return state._replace(
                codes=jnp.where(on, codes, state.codes),
                ahead=jnp.where(on, ahead, state.ahead),
                momentum=momentum,
                n_iterations=state.n_iterations + state.active.astype(jnp.int32),
            )

        def look(codes: jax.Array) -> jax.Array:
            rest = x - jnp.matmul(codes, atoms)
            found = jnp.matmul(rest, atoms.T)
            largest = jnp.max(found if positive else jnp.abs(found), axis=1)
            theta = jnp.where(largest > weight, weight / jnp.where(largest > 0, largest, 1), 1)[:, None] * rest
            objective = 0.5 * jnp.sum(jnp.square(rest), axis=1) + weight * jnp.sum(jnp.abs(codes), axis=1)
            return objective - jnp.sum(x * theta, axis=1) + 0.5 * jnp.sum(jnp.square(theta), axis=1)

        def go_on(state: _State) -> jax.Array:
            return jnp.any(state.active)

        def steps(state: _State) -> _State:
            left = max_iter - jnp.max(state.n_iterations)
            state = jax.lax.fori_loop(0, jnp.minimum(_CHECK_EVERY, left), step, state)
            gap = jnp.where(state.active, look(state.codes), state.gap)
            wanted = state.active & (gap > tol * scale) & (state.n_iterations < max_iter)
            return state._replace(gap=gap, active=wanted)

        zero = jnp.zeros((len(x), len(atoms)), x.dtype)
        gap = look(zero)
        begin = _State(
            codes=zero,
            ahead=zero,
            momentum=jnp.ones_like(scale),
            gap=gap,
            n_iterations=jnp.zeros(len(x), jnp.int32),
            active=gap > tol * scale,
        )
        end = jax.lax.while_loop(go_on, steps, begin)
        codes = jnp.where(jnp.isfinite(scale)[:, None], end.codes, jnp.nan)
        return Lasso(codes, end.gap, end.n_iterations, end.gap <= tol * scale)

    return in_blocks(block, x, block_size)
