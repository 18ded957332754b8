"""Matrices that make exact plane waves: where training may start, and what a wave is in its purest form."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from sfa_jax.finola._params import FinolaParams, zero_mean_basis


class PlaneWaves(NamedTuple):
    """Parameters whose maps are sums of plane waves.

    Attributes:
      params: of `autoregress`; their dtype is that of jax's default floats.
      basis: `[channels, 2 n_waves]` float64, orthonormal: columns 2k and 2k + 1 are the real and the imaginary part of
        wave k.
      rest: `[channels]` float64, of length 1: the direction that stays as it is and fills q up to its length.
    """

    params: FinolaParams
    basis: np.ndarray
    rest: np.ndarray


def plane_waves(angles: ArrayLike, channels: int, *, seed: int = 0) -> PlaneWaves:
    """Matrices A, B, A_-, B_- that turn pairs of channels by a fixed angle a step.

    A = U (R - I) U', R a rotation by `angles[k, 0]` of pair k, U an orthonormal basis of the zero-mean subspace. Where
    q has mean 0 and standard deviation 1, zhat = z, so that a step is z + (R - I) z = R z: lengths stay what they are,
    and z(y, x) = R_y^(y - y0) R_x^(x - x0) q, exactly, in every order. A q of standard deviation s has the waves
    1 + (exp(i angle) - 1) / s: for small angles those of angle / s, so that paths of several lengths have several
    sets of waves.

    Args:
      angles: radians a cell along x and along y of each wave, `[n_waves, 2]`.
      channels: C, at least 2 n_waves + 2.
      seed: of the random rotation that hides the pairs among the channels.

    Returns:
      `PlaneWaves`.

    Raises:
      ValueError: the shapes do not fit each other.

    >>> from sfa_jax.finola import autoregress
    >>> waves = plane_waves([[0.5, 0.25]], 4)
    >>> z = autoregress(waves.params, waves.basis[:, 0] * 2.0, 4, 4)
    >>> round(float(z[2, 3] @ waves.basis[:, 0]) / 2, 4), round(float(np.cos(0.5)), 4)
    (0.8776, 0.8776)
    """
    angles = np.asarray(angles, np.float64)
    if angles.ndim != 2 or angles.shape[1] != 2:
        raise ValueError(f"angles: expected shape [n_waves, 2], got {angles.shape}")
    n_waves = len(angles)
    if channels < 2 * n_waves + 2:
        raise ValueError(
            f"channels: expected at least {2 * n_waves + 2}, two for each of {n_waves} waves, one at rest and one for "
            f"the mean, got {channels}"
        )
    rotation, upper = np.linalg.qr(np.random.default_rng(seed).standard_normal((channels - 1, channels - 1)))
    basis = zero_mean_basis(channels) @ (rotation * np.sign(np.diagonal(upper)))
    pairs = basis[:, : 2 * n_waves].reshape(channels, n_waves, 2)

    def turn(angle: np.ndarray) -> jnp.ndarray:
        real, imaginary = pairs[..., 0], pairs[..., 1]
        change, sine = np.cos(angle) - 1, np.sin(angle)
        matrix = (real * change) @ real.T + (imaginary * change) @ imaginary.T
        matrix += (imaginary * sine) @ real.T - (real * sine) @ imaginary.T
        return jnp.asarray(matrix, jnp.float32 if jnp.result_type(float) == jnp.float32 else jnp.float64)

    x, y = angles.T
    params = FinolaParams(turn(x), turn(y), turn(-x), turn(-y))
    return PlaneWaves(params, basis[:, : 2 * n_waves], basis[:, 2 * n_waves])


def lowest_waves(n_waves: int, period: tuple[float, float], weights: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """The waves that hold most of natural images, whose power falls as 1 / frequency^2.

    Frequencies are whole multiples of one turn a period, in the half plane; of each, one wave in every colour. Those of
    the largest weights[colour] / frequency^2 are taken.

    Args:
      n_waves: how many.
      period: cells along x and along y; a little more than the map, as what is periodic in the map itself would have
        equal left and right edges.
      weights: power of each colour, relative to the first.

    Returns:
      `(angles [n_waves, 2], colours [n_waves])`, largest first.

    Raises:
      ValueError: there are no waves, periods or colours to choose from.

    >>> lowest_waves(3, (16.0, 16.0), (1.0,))[0].round(2).tolist()
    [[0.0, 0.0], [0.0, 0.39], [0.39, 0.0]]
    """
    if n_waves < 1 or not min(period) > 0 or not len(weights):
        raise ValueError(
            f"n_waves, period, weights: expected at least one wave, periods above 0 and a colour, got {n_waves}, "
            f"{period} and {len(weights)} colours"
        )
    reach = int(np.ceil(np.sqrt(2 * n_waves))) + 2
    along_x, along_y = np.mgrid[0 : reach + 1, -reach : reach + 1].reshape(2, -1)
    half = (along_x > 0) | (along_y >= 0)
    whole = np.stack([along_x[half], along_y[half]], axis=1)
    power = np.asarray(weights)[None] / (np.sum(whole**2, axis=1) + 0.5)[:, None]
    best = np.argsort(-power, axis=None, kind="stable")[:n_waves]
    place, colour = np.unravel_index(best, power.shape)
    return 2 * np.pi * whole[place] / np.asarray(period), colour
