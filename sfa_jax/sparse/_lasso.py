"""Codes with an l1 penalty by proximal gradient steps, with a bound on how far from the best they are."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from sfa_jax.sparse._blocks import in_blocks
from sfa_jax.sparse._checks import check_coding, check_lasso
from sfa_jax.sparse._implicit import Linear, at_solution
from sfa_jax.sparse._products import matmul
from sfa_jax.sparse._proximal import Lasso, minimize


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
    signal that is not finite has a code of nan, and all have where an atom is not.

    Codes have derivatives of every order, forward and reverse, in signals, dictionary and alpha: those of the solution,
    by its condition of optimality on the atoms that a code uses, however it was found. Codes short of the solution have
    them only nearly: take a small tol. At a kink, where an unused atom correlates as much as alpha, they are those of
    the side on which it stays unused. Gap, iterations and convergence have none.

    Args:
      dictionary: `[n_atoms, n_features]`, float32 or float64.
      signals: `[n_samples, n_features]`, of the same type, or one `[n_features]`.
      alpha: weight of the l1 norm, a number of at least 0; at 0 the bound is the objective itself.
      positive: codes of at least 0.
      tol: of the gap, relative to half the squared norm of the signal, the objective of a code of zeros. In float32
        rounding of the gap itself is about 1e-6 of that: a smaller tol is never reached.
      max_iter: steps at most; those of a signal that needs more end there, not `converged`. Also of the conjugate
        gradients that its derivatives take.
      block_size: as in `omp`.

    Returns:
      `Lasso`; of one signal, arrays without the axis of samples.

    Raises:
      TypeError: they are not both float32, or both float64.
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
    check_lasso(alpha, tol, max_iter)
    if x.ndim == 1:
        found = _solve(atoms, x[None], alpha, positive, tol, max_iter, block_size, accelerated=accelerated)
        return Lasso(*(values[0] for values in found))
    weight = jnp.asarray(alpha, x.dtype)
    (n_atoms, n_features), dtype = atoms.shape, x.dtype
    # The derivatives of codes are those of the solution alone.
    fixed, fixed_weight = jax.lax.stop_gradient((atoms, weight))
    draw, correlate = _maps(fixed)
    # Of many atoms to draw and to correlate are fewer products than one with D D'.
    gram = None if 2 * n_features <= n_atoms else matmul(fixed, fixed.T)
    smaller = matmul(fixed.T, fixed) if gram is None or n_features < n_atoms else gram
    norm = jnp.max(jnp.linalg.eigvalsh(smaller)) * (1 + 16 * jnp.finfo(dtype).eps)

    def block(signals: jax.Array) -> Lasso:
        x = jax.lax.stop_gradient(signals)
        target = correlate(x)

        def gradient(codes: jax.Array) -> jax.Array:
            return correlate(draw(codes) - x) if gram is None else matmul(codes, gram) - target

        found = minimize(
            draw,
            correlate,
            gradient,
            x,
            jnp.zeros((len(x), n_atoms), dtype),
            rate=1 / jnp.where(norm > 0, norm, 1),
            alpha=fixed_weight,
            positive=positive,
            tol=tol,
            max_iter=max_iter,
            accelerated=accelerated,
        )
        return found._replace(codes=at_solution(_maps, max_iter, found.codes, atoms, signals, weight))

    found = in_blocks(block, x, block_size)
    usable = jnp.all(jnp.isfinite(atoms))
    return found._replace(codes=jnp.where(usable, found.codes, jnp.nan), converged=found.converged & usable)


def _maps(atoms: jax.Array) -> tuple[Linear, Linear]:
    """From codes to signals, and its adjoint."""
    return lambda codes: matmul(codes, atoms), lambda rest: matmul(rest, atoms.T)
