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
      speeds: lambda, complex `[4, channels - 1]`, fastest first (by modulus, then real and imaginary part). Last come
        nan, as many as there are directions in which B, up to the rounding of its dtype, makes no step: where nothing
        changes along y, no speed relates it to what changes along x. The other speeds are those within the range of B.
      vectors: V, complex `[4, channels - 1, channels - 1]`, columns of length 1.
      condition: of U' B U, `[4]`: how much larger than the rounding of B the error of the speeds may be; infinite
        where B cannot be inverted.
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
      ValueError: the shapes of the parameters do not fit each other, or a parameter is not finite.

    References:
      Chen et al., "Exploring Invariance in Images through One-way Wave Equations", arXiv 2310.12976, section 3; the
      projection on the zero-mean subspace is this library's.

    >>> from sfa_jax.finola import init_params
    >>> wave_speeds(init_params(jax.random.key(0), 4)).speeds.shape
    (4, 3)
    """
    for name in ("a", "b", "a_minus", "b_minus", "basis"):
        value = getattr(params, name)
        if value is not None and not np.isfinite(value).all():
            raise ValueError(f"params.{name}: expected finite numbers, got nan or infinite ones")
    rounding = float(jnp.finfo(jnp.result_type(params.b, jnp.float32)).eps)
    with jax.enable_x64(True):
        doubled = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
        right, left, down, up = (np.asarray(matrix) for matrix in matrices(doubled))
    u = zero_mean_basis(len(right))
    found = [_waves_of(u.T @ a @ u, u.T @ b @ u, rounding) for b in (down, up) for a in (right, left)]
    return Waves(*(np.stack(field) for field in zip(*found, strict=True)))


def to_wave_coordinates(z: ArrayLike, waves: Waves) -> jax.Array:
    """zeta = V^-1 U' z in the coordinates of each quadrant.

    Args:
      z: a map or any vectors, `[..., channels]`, floating point.
      waves: from `wave_speeds`, in the host's memory: a constant of functions that are jitted.

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
    zeta = jnp.tensordot(z.astype(dtype), transform, axes=(-1, 2), precision=jax.lax.Precision.HIGHEST)
    return jnp.moveaxis(zeta, -2, 0)


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
      has no cell with both neighbours, and where there is no speed.

    Raises:
      ValueError: z has fewer than three axes, the start lies outside it, or a parameter is not finite.
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


def _waves_of(a: np.ndarray, b: np.ndarray, rounding: float) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Speeds, vectors and both condition numbers of A B^-1, within the subspace and the range of B."""
    left, sizes, right = np.linalg.svd(b)
    rank = int(np.sum(sizes > rounding * sizes[0]))
    condition = float(sizes[0] / sizes[-1]) if rank == len(b) else np.inf
    within = left[:, :rank]
    speeds, vectors = np.linalg.eig(within.T @ a @ right[:rank].T / sizes[:rank])  # A B^-1 there
    order = np.lexsort((speeds.imag, speeds.real, -np.abs(speeds).round(12)))
    speeds, vectors = speeds[order].astype(np.complex128), vectors[:, order].astype(np.complex128)
    speeds = np.concatenate([speeds, np.full(len(b) - rank, np.nan)])
    vectors = np.concatenate([within @ vectors, left[:, rank:]], axis=1)
    return speeds, vectors, condition, float(np.linalg.cond(vectors))
