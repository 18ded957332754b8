"""How sparse codes do on held-out signals, and how sparse the world is after simple operations."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sfa_jax import sparse
from sfa_jax._errors import InputError

_PIXELS = 400  # of a frame, whose series are measured
_LAGS = tuple(range(1, 100, 10))
_THETAS = tuple(k / 20 for k in range(20))
_FREQUENCIES = np.linspace(0.001, 1, 100)  # of sinusoids, radians a frame


class Curves(NamedTuple):
    """Kurtosis after an operation, against its strength.

    Attributes:
      before: `[n]`, of each pixel's series, or of each image, as it is.
      after: by name of the operation, its strengths `[m]` and `[m, n]`; nan where nothing is left to measure.
    """

    before: np.ndarray
    after: Mapping[str, tuple[Sequence[float], np.ndarray]]


class Pursuit(NamedTuple):
    """What is left of signals as more atoms are picked.

    Attributes:
      left: `[n_signals, k]`, squared norm after 1, 2, ..., k atoms over that of the signal; nan where it is 0.
      elbow: how many atoms there are where the median bends most, from no atom to k: it depends on k, too.
    """

    left: np.ndarray
    elbow: int


def elbow(values: Sequence[float] | np.ndarray) -> int:
    """Where a falling curve bends most: its point farthest below the chord from its first to its last, from 0.

    Args:
      values: `[n]`, at least one.

    References:
      Satopaa et al., "Finding a 'kneedle' in a haystack", ICDCS Workshops 2011.

    >>> elbow([10.0, 2.0, 1.0, 0.5, 0.0])
    1
    """
    curve = np.asarray(values, float)
    if len(curve) < 3:
        return len(curve) - 1
    chord = np.linspace(curve[0], curve[-1], len(curve))
    return int(np.argmax(chord - curve))


def coding_measures(
    dictionary: np.ndarray, signals: np.ndarray, alpha: float, *, positive: bool, mean: np.ndarray | None = None
) -> tuple[dict[str, float], np.ndarray]:
    """Measure how well lasso codes of held-out signals do, and how sparse they are.

    Args:
      dictionary: `[n_atoms, n_features]`.
      signals: `[n, n_features]`.
      alpha, positive: of the codes.
      mean: `[n_features]`, taken from the signals before they are coded, and free; none by default.

    Returns:
      `objective` (mean of 1/2 ||x - z D||^2 + alpha |z|_1), `objective_gap` (it is too high by at most), `left` (share
      of the signals' power that is not drawn), `n_nonzero` of a code, `used_atoms` (by any of the signals), `kurtosis`
      of all numbers of the codes, `lifetime_sparseness` and `population_sparseness` (means over atoms and signals that
      are active); and the codes `[n, n_atoms]` that were measured.
    """
    mean = np.zeros(signals.shape[1], signals.dtype) if mean is None else mean
    _check_mean(mean, signals)
    found, codes = _measure_codes(dictionary, signals, mean, np.float32(alpha), positive)
    return {name: float(value) for name, value in found.items() if np.isfinite(value)}, np.asarray(codes)


@functools.partial(jax.jit, static_argnames="positive")
def _measure_codes(
    dictionary: jax.Array, signals: jax.Array, mean: jax.Array, alpha: jax.Array, positive: bool
) -> tuple[dict[str, jax.Array], jax.Array]:
    x = signals - mean[None]
    solved = sparse.fista(dictionary, x, alpha, positive=positive, tol=1e-4)
    codes, rest = solved.codes, x - jnp.matmul(solved.codes, dictionary, precision=jax.lax.Precision.HIGHEST)
    total, left = jnp.sum(jnp.square(signals)), jnp.sum(jnp.square(rest))
    objective = (0.5 * left + alpha * jnp.sum(jnp.abs(codes))) / len(signals)
    found = {
        "objective": objective,
        "objective_gap": jnp.mean(solved.gap),
        "left": left / jnp.where(total > 0, total, jnp.nan),
        "n_nonzero": jnp.mean(sparse.l0_norm(codes, axis=1).astype(jnp.float32)),
        "used_atoms": sparse.cardinality(codes).astype(jnp.float32),
        "kurtosis": sparse.kurtosis(codes),
    }
    if len(codes) > 1:
        found["lifetime_sparseness"] = jnp.nanmean(sparse.lifetime_sparseness(codes))
    if codes.shape[1] > 1:
        found["population_sparseness"] = jnp.nanmean(sparse.population_sparseness(codes))
    return found, codes


def pursuit(dictionary: np.ndarray, signals: np.ndarray, most: int, mean: np.ndarray | None = None) -> Pursuit:
    """Orthogonal matching pursuit of signals, with up to so many atoms; of what is left without a mean, if given."""
    most = max(1, min(most, *dictionary.shape))
    if mean is not None:
        _check_mean(mean, signals)
    x = signals if mean is None else signals - mean
    path = np.asarray(jax.jit(lambda d, x: sparse.omp(d, x, n_nonzero_coefs=most).path)(dictionary, x))
    power = np.sum(np.square(signals, dtype=np.float64), axis=1, keepdims=True)
    left = np.divide(path, power, out=np.full(path.shape, np.nan), where=power > 0)
    middle = np.nanmedian(left, axis=0) if np.isfinite(left).any() else np.zeros(most)
    return Pursuit(left, max(1, elbow([1.0, *middle])))


def _check_mean(mean: np.ndarray, signals: np.ndarray) -> None:
    if np.ndim(signals) != 2 or np.shape(mean) != (signals.shape[1],):
        raise InputError(
            f"mean, signals: expected [n_features] and [n, n_features], got {np.shape(mean)} and {np.shape(signals)}"
        )


def sinusoids(n: int) -> np.ndarray:
    """The dictionary of 100 sinusoids sin(f t), f from 0.001 to 1 radians a frame, of norm 1, `[100, n]`."""
    waves = np.sin(_FREQUENCIES[:, None] * np.arange(n))
    return (waves / np.maximum(np.linalg.norm(waves, axis=1, keepdims=True), 1e-12)).astype(np.float32)


def pixel_series(frames: np.ndarray, most: int = _PIXELS) -> np.ndarray:
    """Series `[time, n]` in [0, 1] of pixels spread evenly over frames `[time, height, width, channel]` uint8.

    Of pixels that change, if any do.
    """
    flat = frames.reshape(len(frames), -1)
    step = max(1, flat.shape[1] // most)
    chosen = flat[:, step // 2 :: step][:, :most]
    changes = chosen.max(axis=0) > chosen.min(axis=0)
    return (chosen[:, changes] if changes.any() else chosen).astype(np.float32) / 255


def series_pursuit(series: np.ndarray, most: int = 96) -> Pursuit:
    """Sinusoids fitted to series of pixels `[time, n]`, their means taken away."""
    signals = np.ascontiguousarray((series - series.mean(axis=0)).T)
    return pursuit(sinusoids(len(series)), signals, min(most, len(series) // 2))


def drawn_by_sinusoids(series: np.ndarray, n_nonzero: int) -> np.ndarray:
    """The series `[time, n]` as the sums of so many sinusoids each, and their means."""
    mean, waves = series.mean(axis=0), sinusoids(len(series))
    codes = jax.jit(lambda d, x: sparse.omp(d, x, n_nonzero_coefs=n_nonzero).codes)(waves, (series - mean).T)
    return (np.asarray(codes) @ waves).T + mean


def time_curves(series: np.ndarray) -> Curves:
    """Kurtosis over time of series of pixels `[time, n]` after thresholds, differences and box differences in time."""
    lags = tuple(lag for lag in _LAGS if lag <= len(series) // 2)
    before, *after = (np.asarray(found) for found in _over_time(series, lags))
    return Curves(
        before, dict(zip(("theta", "tau", "window"), zip((_THETAS, lags, lags), after, strict=True), strict=True))
    )


def space_curves(images: np.ndarray) -> Curves:
    """Kurtosis over pixels of images `[n, height, width, channel]` uint8 after thresholds and box differences in space.

    Box differences are along x and along y, the kurtosis of both together; at window 0 it is the difference of
    neighbours.
    """
    windows = (0, *(lag for lag in _LAGS if 2 * lag < min(images.shape[1:3])))
    before, *after = (np.asarray(found) for found in _over_space(images, windows))
    return Curves(
        before, dict(zip(("hard_theta", "spatial_window"), zip((_THETAS, windows), after, strict=True), strict=True))
    )


# One program for all strengths: each is of another shape, and to compile them one by one takes longer than all else.
@functools.partial(jax.jit, static_argnums=1)
def _over_time(x: jax.Array, lags: tuple[int, ...]) -> tuple[jax.Array, ...]:
    def stacked(apply: Callable[[int], jax.Array]) -> jax.Array:
        return jnp.stack([sparse.kurtosis(apply(lag), axis=0) for lag in lags])

    thetas = jax.vmap(lambda theta: sparse.kurtosis(sparse.relu_threshold(x, theta), axis=0))(_thetas())
    changes = stacked(lambda lag: sparse.temporal_difference(x, lag=lag))
    return sparse.kurtosis(x, axis=0), thetas, changes, stacked(lambda window: sparse.box_difference(x, window))


@functools.partial(jax.jit, static_argnums=1)
def _over_space(images: jax.Array, windows: tuple[int, ...]) -> tuple[jax.Array, ...]:
    x = images.astype(jnp.float32) / 255

    def differences(window: int) -> jax.Array:
        if window == 0:
            parts = [sparse.spatial_difference(x, axis=axis) for axis in (1, 2)]
        else:
            parts = [sparse.box_difference(x, window, kind="spatial", axis=axis) for axis in (1, 2)]
        return jnp.concatenate([part.reshape(len(x), -1) for part in parts], axis=1)

    flat = x.reshape(len(x), -1)
    thetas = jax.vmap(lambda theta: sparse.kurtosis(sparse.hard_threshold(flat, theta), axis=1))(_thetas())
    boxes = jnp.stack([sparse.kurtosis(differences(window), axis=1) for window in windows])
    return sparse.kurtosis(flat, axis=1), thetas, boxes


def _thetas() -> jax.Array:
    return jnp.array(_THETAS, jnp.float32)
