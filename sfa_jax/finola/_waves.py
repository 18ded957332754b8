"""One-way waves: the speeds of a pair of matrices, and maps in the coordinates in which they travel.

dz/dx = A zhat and dz/dy = B zhat give dz/dx = A B^-1 dz/dy. As the channels of zhat sum to 0, A and B act on the
subspace of such vectors alone: with U its orthonormal basis (`zero_mean_basis`), u = U' z obeys u_x = Q u_y with
Q = (U' A U) (U' B U)^-1 = V diag(lambda) V^-1, and zeta = V^-1 u obeys d zeta_k / dx = lambda_k d zeta_k / dy: C - 1
waves of speeds lambda_k, complex in general. (The component of z along the ones has a slope that A and B give it, but
no part in the norm: it is carried along, and left out here. The eigenvalues of U' (A B^-1) U would be others.)

There are four pairs of matrices, one a quadrant; in each, x and y grow outwards from the start.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from sfa_jax.finola._autoregress import Start, start_cell
from sfa_jax.finola._norm import as_vectors
from sfa_jax.finola._params import FinolaParams, matrices, zero_mean_basis

QUADRANTS = ("right_down", "left_down", "right_up", "left_up")


class Waves(NamedTuple):
    """The waves of each quadrant, in the order of `QUADRANTS`.

    Attributes:
      speeds: lambda, complex `[4, channels - 1]`, fastest first (by modulus, then real and imaginary part).
      vectors: V, complex `[4, channels - 1, channels - 1]`, columns of length 1.
      condition: of U' B U, `[4]`: how much larger than the rounding of B the error of the speeds may be; infinite
        where B cannot be inverted, and the speeds are then nan.
      vectors_condition: of V, `[4]`: large where Q is nearly defective, and zeta with it badly determined.
    """

    speeds: np.ndarray
    vectors: np.ndarray
    condition: np.ndarray
    vectors_condition: np.ndarray


def wave_speeds(params: FinolaParams) -> Waves:
    """The speeds and the coordinates of the one-way waves, in float64 on the host.

    Args:
      params: as `autoregress` takes them.

    Returns:
      `Waves`. With the real parametrisation all speeds are real up to rounding.

    Raises:
      ValueError: the shapes of the parameters do not fit each other.

    References:
      Chen et al., "Exploring Invariance in Images through One-way Wave Equations", arXiv 2310.12976, section 3; the
      projection on the zero-mean subspace is this library's.

    >>> from sfa_jax.finola import init_params
    >>> wave_speeds(init_params(jax.random.key(0), 4)).speeds.shape
    (4, 3)
    """
    with jax.enable_x64(True):
        doubled = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
        right, left, down, up = (np.asarray(matrix) for matrix in matrices(doubled))
    u = zero_mean_basis(len(right))
    found = [_waves_of(u.T @ a @ u, u.T @ b @ u) for b in (down, up) for a in (right, left)]
    return Waves(*(np.stack(field) for field in zip(*found, strict=True)))


def to_wave_coordinates(z: ArrayLike, waves: Waves) -> jax.Array:
    """zeta = V^-1 U' z in the coordinates of each quadrant.

    Args:
      z: a map or any vectors, `[..., channels]`, floating point.
      waves: from `wave_speeds`.

    Returns:
      zeta, complex `[4, ..., channels - 1]`, in the order of `QUADRANTS`.

    Raises:
      TypeError, ValueError: z is not floating point, or has another number of channels.
    """
    z = as_vectors(z, "z")
    channels = waves.speeds.shape[1] + 1
    if z.shape[-1] != channels:
        raise ValueError(f"z: expected a last axis of {channels} channels as the waves have, got {z.shape}")
    u = zero_mean_basis(channels)
    dtype = jnp.complex128 if z.dtype == jnp.float64 else jnp.complex64
    transform = jnp.asarray(np.linalg.inv(waves.vectors) @ u.T, dtype)
    return jnp.moveaxis(jnp.tensordot(z.astype(dtype), transform, axes=(-1, 2)), -2, 0)


def wave_residual(z: ArrayLike, params: FinolaParams, *, start: Start = "center") -> np.ndarray:
    """How far a map is from obeying the wave equation: 0 where it does.

    residual_k = sqrt( sum |zeta_x - lambda zeta_y|^2 / sum (|zeta_x|^2 + |lambda zeta_y|^2) )

    over the cells of a quadrant that have both neighbours, zeta_x and zeta_y the differences to the next cell outwards.
    Slopes that have nothing to do with each other give 1. A map of one order obeys one recurrence everywhere and the
    other on the axes alone, and the average of the two orders neither off the axes: how small the residual is there is
    a fact about trained matrices, to be measured.

    Args:
      z: maps `[..., height, width, channels]`; the sums go over the leading axes.
      params: those the maps grew from.
      start: of the maps, as in `autoregress`.

    Returns:
      float64 `[4, channels - 1]`, one value a quadrant and wave (in the order of `wave_speeds`); nan where a quadrant
      has no cell with both neighbours.

    Raises:
      ValueError: z has fewer than three axes, or the start lies outside it.
    """
    z = np.asarray(z, np.float64)
    if z.ndim < 3:
        raise ValueError(f"z: expected shape [..., height, width, channels], got {z.shape}")
    row, column = start_cell(z.shape[-3], z.shape[-2], start)
    waves = wave_speeds(params)
    with jax.enable_x64(True):
        zeta = np.asarray(to_wave_coordinates(z, waves))
    residuals = []
    for k, name in enumerate(QUADRANTS):
        part = zeta[k][..., : column + 1, :][..., ::-1, :] if "left" in name else zeta[k][..., column:, :]
        part = part[..., : row + 1, :, :][..., ::-1, :, :] if "up" in name else part[..., row:, :, :]
        along_x = part[..., :-1, 1:, :] - part[..., :-1, :-1, :]
        along_y = waves.speeds[k] * (part[..., 1:, :-1, :] - part[..., :-1, :-1, :])
        axes = tuple(range(part.ndim - 1))
        total = np.sum(np.abs(along_x) ** 2 + np.abs(along_y) ** 2, axis=axes)
        with np.errstate(invalid="ignore"):
            residuals.append(np.sqrt(np.sum(np.abs(along_x - along_y) ** 2, axis=axes) / total))
    return np.stack(residuals)


def _waves_of(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Speeds, vectors and both condition numbers of A B^-1, within the subspace."""
    condition = float(np.linalg.cond(b))
    if not np.isfinite(condition) or condition > 1 / np.finfo(np.float64).eps:
        nothing = np.full(len(a), np.nan, np.complex128)
        return nothing, np.full(a.shape, np.nan, np.complex128), np.inf, np.inf
    speeds, vectors = np.linalg.eig(np.linalg.solve(b.T, a.T).T)
    order = np.lexsort((speeds.imag, speeds.real, -np.abs(speeds).round(12)))
    vectors = vectors[:, order].astype(np.complex128)
    return speeds[order].astype(np.complex128), vectors, condition, float(np.linalg.cond(vectors))
