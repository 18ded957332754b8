"""Orthogonal matching pursuit of many signals at once."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from sfa_jax.sparse._blocks import in_blocks
from sfa_jax.sparse._checks import check_coding
from sfa_jax.sparse._products import einsum, matmul


class OMP(NamedTuple):
    """Sparse codes, and what the pursuit found.

    Attributes:
      codes: `[n_samples, n_atoms]`, signals ~ codes @ dictionary.
      support: int32 `[n_samples, n_nonzero_coefs]`, atoms in the order in which they were picked; -1 after the end.
      n_nonzero: int32 `[n_samples]`, how many were picked.
      residual: `[n_samples]`, squared norm of what is left of each signal.
      path: `[n_samples, n_nonzero_coefs]`, the same after each pick, as if the pursuit had ended there; it
        stays as it is after the end.
    """

    codes: jax.Array
    support: jax.Array
    n_nonzero: jax.Array
    residual: jax.Array
    path: jax.Array


class _State(NamedTuple):
    basis: jax.Array  # [n, k, n_features], orthonormal, 0 where nothing was picked
    triangle: jax.Array  # [n, k, k], the picked atoms are its columns in that basis
    loadings: jax.Array  # [n, k], of the signal in that basis
    support: jax.Array  # [n, k]
    rest: jax.Array  # [n, n_features]
    used: jax.Array  # [n, n_atoms]
    active: jax.Array  # [n]
    path: jax.Array  # [n, k]


def omp(
    dictionary: ArrayLike,
    signals: ArrayLike,
    *,
    n_nonzero_coefs: int | None = None,
    tol: float | None = None,
    block_size: int = 2048,
) -> OMP:
    """Picks the atom that correlates most with what is left of a signal, fits all picked ones, and repeats.

    j = argmax_i |<d_i, x - h D>|,  h = argmin ||x - h D||^2 over the atoms picked so far

    The fit is kept as a QR factorisation of the picked atoms, one column a step: all signals advance together, and a
    step is one product with the dictionary. Correlations are of atoms as they are; scale them to norm 1 for the usual
    pursuit. Of equal correlations the first atom wins. A signal ends early where its residual is at most `tol`, where
    nothing of it is left but rounding, or where no atom adds a direction to those picked (copies of picked atoms,
    zeros, more non-zeros than the rank). A signal that is not finite, or too large for its square to be, has
    a code of nan, and all have where an atom is not finite; squares that vanish (of norms below about 1e-19 in float32)
    are 0.

    Derivatives, forward and reverse, hold the atoms that are picked: those of the least squares fit on them, which is
    all that moves between the points where the pick changes; there, at ties, they are of the pick that was made.

    Args:
      dictionary: `[n_atoms, n_features]`, float32 or float64.
      signals: `[n_samples, n_features]`, of the same type, or one `[n_features]`.
      n_nonzero_coefs: atoms of a code at most, 1 to the smaller side of the dictionary; by default a tenth of the
        features, or with `tol` as many as there can be.
      tol: squared norm of the residual at which a signal ends, at least 0; by default none.
      block_size: signals that advance together, block after block, which bounds the memory: as many as fit the cache of
        a CPU; of an accelerator take more.

    Returns:
      `OMP`; of one signal, arrays without the axis of samples.

    Raises:
      TypeError: they are not both float32, or both float64.
      ValueError: the shapes do not fit, or an option is out of its range.

    References:
      Pati, Rezaiifar & Krishnaprasad, Asilomar 1993; Sturm & Christensen, "Comparison of orthogonal matching pursuit
      implementations", EUSIPCO 2012 (by QR).

    >>> found = omp(jnp.eye(3), jnp.array([[0.0, 3.0, -2.0]]), n_nonzero_coefs=1)
    >>> found.codes.tolist(), found.residual.item()
    ([[0.0, 3.0, 0.0]], 4.0)
    """
    atoms, x = jnp.asarray(dictionary), jnp.asarray(signals)
    k = _check(atoms, x, n_nonzero_coefs, tol)
    found = in_blocks(lambda block: _pursue(atoms, block, k, tol), x[None] if x.ndim == 1 else x, block_size)
    return OMP(*(values[0] for values in found)) if x.ndim == 1 else found


def _pursue(atoms: jax.Array, x: jax.Array, k: int, tol: float | None) -> OMP:
    n, (n_atoms, n_features) = len(x), atoms.shape
    epsilon = jnp.finfo(x.dtype).eps
    square = jnp.sum(jnp.square(x), axis=1)
    finite = jnp.isfinite(square)
    x = jnp.where(finite[:, None], x, 0)  # or the gradient of the dictionary would be nan times 0
    sizes = jnp.sqrt(jnp.sum(jnp.square(atoms), axis=1))
    numbers = jnp.arange(n_atoms, dtype=jnp.int32)

    def step(j: jax.Array, state: _State) -> _State:
        correlation = jnp.where(state.used, -1, jnp.abs(matmul(state.rest, atoms.T)))
        found = jnp.max(correlation, axis=1)
        # Not jnp.argmax, which takes longer than all else on CPU.
        pick = jnp.min(jnp.where(correlation == found[:, None], numbers[None], n_atoms - 1), axis=1)
        atom, size = atoms[pick], sizes[pick]
        column, rest = _against(state.basis, atom)
        again, rest = _against(state.basis, rest)  # once is not enough for nearly dependent atoms
        power = jnp.sum(jnp.square(rest), axis=1)
        length = jnp.where(power > 0, jnp.sqrt(jnp.where(power > 0, power, 1)), 0)  # whose gradient at 0 is not finite
        told = found > 4 * epsilon * n_features**0.5 * size * jnp.sqrt(square)
        ok = state.active & told & (length > 4 * epsilon * n_features**0.5 * size)
        q = jnp.where(ok[:, None], rest / jnp.where(length > 0, length, 1)[:, None], 0)
        loading = jnp.sum(q * state.rest, axis=1)
        left = state.rest - loading[:, None] * q
        new = jnp.where(ok[:, None], column + again, 0).at[:, j].set(jnp.where(ok, length, 1))
        residual = jnp.sum(jnp.square(left), axis=1)
        active = ok if tol is None else ok & (residual > tol)
        return _State(
            basis=state.basis.at[:, j].set(q),
            triangle=state.triangle.at[:, :, j].set(new),
            loadings=state.loadings.at[:, j].set(loading),
            support=state.support.at[:, j].set(jnp.where(ok, pick, -1)),
            rest=left,
            used=state.used | (numbers[None] == pick[:, None]),
            active=active,
            path=state.path.at[:, j].set(residual),
        )

    begin = _State(
        basis=jnp.zeros((n, k, n_features), x.dtype),
        triangle=jnp.zeros((n, k, k), x.dtype),
        loadings=jnp.zeros((n, k), x.dtype),
        support=jnp.full((n, k), -1, jnp.int32),
        rest=x,
        used=jnp.zeros((n, n_atoms), bool),
        active=square > (0 if tol is None else tol),
        path=jnp.zeros((n, k), x.dtype),
    )
    end = jax.lax.fori_loop(0, k, step, begin)
    values = jax.lax.linalg.triangular_solve(
        end.triangle, end.loadings[..., None], left_side=True, lower=False
    )[..., 0]  # fmt: skip
    places = jnp.where(end.support < 0, n_atoms, end.support)
    codes = jnp.zeros((n, n_atoms), x.dtype).at[jnp.arange(n)[:, None], places].set(values, mode="drop")
    codes = jnp.where((finite & jnp.all(jnp.isfinite(atoms)))[:, None], codes, jnp.nan)
    n_nonzero = jnp.sum(end.support >= 0, axis=1, dtype=jnp.int32)
    return OMP(codes, end.support, n_nonzero, end.path[:, -1], end.path)


def _against(basis: jax.Array, vectors: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Coordinates `[n, k]` of vectors in the bases, and what is left of them."""
    coordinates = einsum("nkf,nf->nk", basis, vectors)
    return coordinates, vectors - einsum("nk,nkf->nf", coordinates, basis)


def _check(atoms: jax.Array, x: jax.Array, n_nonzero_coefs: int | None, tol: float | None) -> int:
    """How many atoms are picked at most."""
    check_coding(atoms, x)
    most = min(atoms.shape)
    if n_nonzero_coefs is None:
        n_nonzero_coefs = max(1, atoms.shape[1] // 10) if tol is None else most
        n_nonzero_coefs = min(n_nonzero_coefs, most)
    if not 1 <= n_nonzero_coefs <= most:
        raise ValueError(
            f"n_nonzero_coefs: expected 1 to {most}, the smaller side of the dictionary, got {n_nonzero_coefs}"
        )
    if tol is not None and not tol >= 0:
        raise ValueError(f"tol: expected at least 0, got {tol}")
    return n_nonzero_coefs
