"""The matrices of FINOLA: one step in each direction, free or with real wave speeds."""

import dataclasses
import operator
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Directions = Literal["separate", "negated", "shared"]
DIRECTIONS = ("separate", "negated", "shared")
Speeds = Literal["free", "real"]
SPEEDS = ("free", "real")


class Matrices(NamedTuple):
    """What is multiplied with the normalised vector in one step in each direction, `[channels, channels]` each."""

    right: jax.Array
    left: jax.Array
    down: jax.Array
    up: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class FinolaParams:
    """Parameters of norm+linear autoregression; a pytree whose `directions` is static.

    Attributes:
      a, b: of a step to the right and of a step down: matrices `[channels, channels]`, or with real speeds the
        eigenvalues `[channels - 1]`.
      a_minus, b_minus: of a step to the left and of a step up; None unless `directions` is "separate".
      basis: with real speeds the eigenvectors `[channels - 1, channels - 1]` that all directions share, within the
        subspace of vectors whose channels sum to 0 (`zero_mean_basis`); else None.
      directions: "separate" matrices for the backward directions, the "negated" forward ones, or the same ("shared").
    """

    a: jax.Array
    b: jax.Array
    a_minus: jax.Array | None = None
    b_minus: jax.Array | None = None
    basis: jax.Array | None = None
    directions: Directions = dataclasses.field(default="separate", metadata={"static": True})


def init_params(
    key: jax.Array,
    channels: int,
    *,
    directions: Directions = "separate",
    speeds: Speeds = "free",
    scale: float = 0.2,
) -> FinolaParams:
    """Random parameters.

    Free matrices are N(0, scale^2 / channels). With real speeds A = U P diag(a) P^-1 U', U of `zero_mean_basis` and P
    at first a random rotation, eigenvalues N(0, scale^2): every matrix shares P, so that each quotient A B^-1 has the
    real eigenvalues a / b.

    Args:
      key: random key.
      channels: C, at least 2.
      directions: as in `FinolaParams`.
      speeds: "free", or "real" for the second parametrisation.
      scale: of a step, relative to the length of the normalised vector; about 0.2 keeps the map tame.

    Returns:
      `FinolaParams`, float32 (float64 under `jax.enable_x64`).

    Raises:
      ValueError: an argument is out of its range.

    References:
      Chen et al., "Exploring Invariance in Images through One-way Wave Equations", arXiv 2310.12976. The paper gives
      neither the initial values nor the form of its real speeds: both are choices of this library.

    >>> params = init_params(jax.random.key(0), 4)
    >>> params.a.shape, params.b_minus.shape
    ((4, 4), (4, 4))
    """
    if channels < 2:
        raise ValueError(f"channels: expected at least 2, as one channel minus its mean is 0, got {channels}")
    if directions not in DIRECTIONS:
        raise ValueError(f"directions: expected one of {DIRECTIONS}, got {directions!r}")
    if speeds not in SPEEDS:
        raise ValueError(f"speeds: expected one of {SPEEDS}, got {speeds!r}")
    *keys, basis_key = jax.random.split(key, 5)
    n_drawn = 4 if directions == "separate" else 2
    shape: tuple[int, ...]
    if speeds == "real":
        shape, deviation = (channels - 1,), scale
        basis = jax.random.orthogonal(basis_key, channels - 1)
    else:
        shape, deviation, basis = (channels, channels), scale / np.sqrt(channels), None
    drawn = {
        name: deviation * jax.random.normal(key, shape)
        for name, key in zip(("a", "b", "a_minus", "b_minus")[:n_drawn], keys, strict=False)
    }
    return FinolaParams(**drawn, basis=basis, directions=directions)


def matrices(params: FinolaParams) -> Matrices:
    """The matrix of each direction, whatever the parametrisation.

    Args:
      params: from `init_params`.

    Returns:
      `Matrices`.

    Raises:
      ValueError: the shapes do not fit each other.

    >>> found = matrices(init_params(jax.random.key(0), 4, directions="negated"))
    >>> bool((found.left == -found.right).all())
    True
    """
    _check(params)
    a, b = _as_matrix(params.a, params.basis), _as_matrix(params.b, params.basis)
    if params.directions == "negated":
        return Matrices(a, -a, b, -b)
    if params.directions == "shared":
        return Matrices(a, a, b, b)
    return Matrices(a, _as_matrix(params.a_minus, params.basis), b, _as_matrix(params.b_minus, params.basis))


def channels_of(params: FinolaParams) -> int:
    """C, without making any matrix.

    Raises:
      ValueError: the shapes do not fit each other.
    """
    _check(params)
    return params.a.shape[-1] + (params.basis is not None)


def zero_mean_basis(channels: int) -> np.ndarray:
    """An orthonormal basis U `[channels, channels - 1]` of the vectors whose channels sum to 0 (Helmert's), float64.

    >>> float(abs(zero_mean_basis(3).sum(axis=0)).max() < 1e-15)
    1.0
    """
    k = np.arange(1, channels)
    basis = np.where(np.arange(channels)[:, None] < k, 1.0, 0.0)
    basis[k, k - 1] = -k
    return basis / np.sqrt(k * (k + 1.0))


def is_whole(value: object) -> bool:
    """Whether a number counts cells: whole, of Python, NumPy or jax, and not true or false."""
    try:
        operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return False
    return not isinstance(value, (bool, np.bool_))


def _as_matrix(value: jax.Array | None, basis: jax.Array | None) -> jax.Array:
    value = jnp.asarray(value)
    if basis is None:
        return value
    u = jnp.asarray(zero_mean_basis(value.shape[0] + 1), value.dtype)
    inner = jnp.linalg.solve(basis.T, basis.T * value[:, None]).T  # P diag(a) P^-1, as its transpose P'^-1 diag(a) P'
    highest = jax.lax.Precision.HIGHEST
    return jnp.matmul(jnp.matmul(u, inner, precision=highest), u.T, precision=highest)


def _check(params: FinolaParams) -> None:
    if params.directions not in DIRECTIONS:
        raise ValueError(f"params.directions: expected one of {DIRECTIONS}, got {params.directions!r}")
    given = {"a": params.a, "b": params.b, "a_minus": params.a_minus, "b_minus": params.b_minus}
    separate = params.directions == "separate"
    for name in ("a_minus", "b_minus"):
        if (given[name] is not None) != separate:
            expected = "a value" if separate else "None"
            raise ValueError(f"params.{name}: expected {expected} with directions={params.directions!r}")
    shape = jnp.shape(params.a)
    fits = len(shape) == 1 if params.basis is not None else len(shape) == 2 and shape[0] == shape[1]
    if not fits:
        expected = "[channels - 1] eigenvalues" if params.basis is not None else "[channels, channels]"
        raise ValueError(f"params.a: expected {expected}, got shape {shape}")
    for name, value in given.items():
        if value is not None and jnp.shape(value) != shape:
            raise ValueError(f"params.{name}: expected the shape {shape} of params.a, got {jnp.shape(value)}")
    if params.basis is not None and jnp.shape(params.basis) != (*shape, *shape):
        raise ValueError(f"params.basis: expected shape {(*shape, *shape)}, got {jnp.shape(params.basis)}")
