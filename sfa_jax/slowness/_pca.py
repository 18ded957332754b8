"""Principal components of data too wide for a covariance matrix, streamed."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from sfa_jax.slowness._batch import inner, masked
from sfa_jax.slowness._runs import stream
from sfa_jax.slowness._whitening import leading_signs

_OVERSAMPLING = 16
_ROUNDS = 4


class PCA(NamedTuple):
    """Principal components.

    Attributes:
      mean: `[n_features]`, taken off the input.
      components: `[n_components, n_features]`, orthonormal, of largest variance first; rows beyond the rank are 0.
      variance: `[n_components]`, of the data along each.
    """

    mean: jax.Array
    components: jax.Array
    variance: jax.Array


class Sketch(NamedTuple):
    """What a pass over the data leaves of their covariance, seen from a few directions.

    Attributes:
      n_frames: valid frames.
      total: `[n_features]`, their sum, less `shift` each.
      product: `[n_features, k]`, sum of (x - shift)(x - shift)' basis.
    """

    n_frames: jax.Array
    total: jax.Array
    product: jax.Array


def sketch_size(n_features: int, n_components: int) -> int:
    """Directions that the covariance is looked at from."""
    return min(n_features, 2 * n_components + _OVERSAMPLING)


def n_passes(n_features: int, n_components: int) -> int:
    """How often the data are passed over."""
    return 1 if sketch_size(n_features, n_components) == n_features else _ROUNDS + 1


def init_sketch(n_features: int, size: int) -> Sketch:
    """A sketch of no data."""
    return Sketch(jnp.zeros(()), jnp.zeros(n_features), jnp.zeros((n_features, size)))


def update_sketch(sketch: Sketch, x: jax.Array, basis: jax.Array, shift: jax.Array, weights: jax.Array) -> Sketch:
    """Adds frames `[time, n_features]` of weight 0 or 1."""
    centred = masked(x - shift[None], weights)
    product = sketch.product + inner(centred, jnp.matmul(centred, basis, precision=jax.lax.Precision.HIGHEST))
    return Sketch(sketch.n_frames + jnp.sum(weights), sketch.total + jnp.sum(centred, axis=0), product)


def covariance_times(sketch: Sketch, basis: jax.Array) -> jax.Array:
    """C basis `[n_features, k]`, C the covariance about the mean of the frames."""
    count = jnp.maximum(sketch.n_frames, 1)
    mean = sketch.total / count
    return sketch.product / count - jnp.outer(mean, jnp.matmul(mean, basis, precision=jax.lax.Precision.HIGHEST))


def fit_pca(runs: Sequence[np.ndarray], n_components: int) -> PCA:
    """Principal components by subspace iteration on passes over the data, in float64.

    Never holds an `[n_features, n_features]` matrix. A random basis of 2 n_components + 16 directions is multiplied by
    the covariance and made orthonormal 4 times; the components are those of the covariance within it. Exact where the
    basis spans all features; else directions beyond the basis leak by (variance ratio)^4.

    Args:
      runs: `[time, n_features]`, floating or uint8 (divided by 255), of each run.
      n_components: at most n_features.

    Returns:
      `PCA` of NumPy float64 arrays.

    References:
      Halko, Martinsson & Tropp, SIAM Review 2011, algorithm 4.4.
    """
    n_features = runs[0].shape[1]
    size = sketch_size(n_features, n_components)
    with jax.enable_x64(True):
        basis = random_basis(n_features, size)
        shift = jnp.asarray(_mean_of_some(runs))
        passes = n_passes(n_features, n_components)
        for number in range(passes):
            sketch = stream(runs, init_sketch(n_features, size), functools.partial(_add_to_sketch, basis, shift))
            if number < passes - 1:
                basis = next_basis(sketch, basis)
        return jax.tree.map(np.asarray, principal_axes(sketch, basis, shift, n_components))


@jax.jit
def _add_to_sketch(
    basis: jax.Array, shift: jax.Array, sketch: Sketch, x: jax.Array, *, new_run: ArrayLike, mask: jax.Array
) -> Sketch:
    del new_run  # no pair is looked at
    return update_sketch(sketch, x, basis, shift, mask.astype(x.dtype))


@jax.jit
def next_basis(sketch: Sketch, basis: jax.Array) -> jax.Array:
    return jnp.linalg.qr(covariance_times(sketch, basis))[0]


@functools.partial(jax.jit, static_argnames="n_components")
def principal_axes(sketch: Sketch, basis: jax.Array, shift: jax.Array, n_components: int) -> PCA:
    small = inner(basis, covariance_times(sketch, basis))
    values, vectors = jnp.linalg.eigh((small + small.T) / 2)
    values, vectors = values[::-1][:n_components], vectors[:, ::-1][:, :n_components]
    components = jnp.matmul(basis, vectors, precision=jax.lax.Precision.HIGHEST).T
    components = components * leading_signs(components)
    kept = values > basis.shape[0] * float(jnp.finfo(values.dtype).eps) * values[0]
    mean = shift + sketch.total / jnp.maximum(sketch.n_frames, 1)
    return PCA(mean, jnp.where(kept[:, None], components, 0), jnp.where(kept, values, 0))


def random_basis(n_features: int, size: int) -> jax.Array:
    """Orthonormal columns; those of the identity where they span everything."""
    if size == n_features:
        return jnp.eye(n_features)
    basis = np.random.default_rng(0).normal(size=(n_features, size))
    return jnp.asarray(np.linalg.qr(basis)[0])


def _mean_of_some(runs: Sequence[np.ndarray]) -> np.ndarray:
    """Near the mean of the data: taken off first, so that large offsets do not cost precision."""
    some = np.concatenate([run[:: max(1, len(run) // 64)] for run in runs if len(run)][:64]).astype(np.float64)
    return some.mean(axis=0) / (255 if runs[0].dtype == np.uint8 else 1)
