"""Dictionaries learned online: sparse codes of a batch, then each atom in turn."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from sfa_jax.sparse._checks import check_precision
from sfa_jax.sparse._lasso import fista
from sfa_jax.sparse._products import matmul


class DictionaryState(NamedTuple):
    """What a dictionary has learned so far, and all that it needs to go on.

    Attributes:
      dictionary: `[n_atoms, n_features]`, of norm 1 at most.
      code_moment: `[n_atoms, n_atoms]`, average of z' z.
      cross_moment: `[n_atoms, n_features]`, average of z' x.
      idle: int32 `[n_atoms]`, updates since a signal last used the atom.
      n_updates: int32 `[]`.
    """

    dictionary: jax.Array
    code_moment: jax.Array
    cross_moment: jax.Array
    idle: jax.Array
    n_updates: jax.Array


class DictionaryUpdate(NamedTuple):
    """What an update saw, before it changed the dictionary; of several updates each has an axis in front.

    Attributes:
      objective: `[]`, 1/2 ||x - z D||^2 + alpha |z|_1, mean of the signals.
      n_nonzero: `[]`, of a code, mean of the signals.
      gap: `[]`, of the codes, mean of the signals; what the objective is too high by at most.
      n_signals: int32 `[]`, that counted: finite, of a weight above 0.
      n_replaced: int32 `[]`, atoms that were unused, or copies.
    """

    objective: jax.Array
    n_nonzero: jax.Array
    gap: jax.Array
    n_signals: jax.Array
    n_replaced: jax.Array


def init_dictionary(key: jax.Array, signals: ArrayLike, n_atoms: int) -> DictionaryState:
    """A dictionary of signals drawn at random, scaled to norm 1.

    Where there are fewer signals than atoms, or signals that are 0 or not finite, random directions stand in.

    Args:
      key: of the draw.
      signals: `[n_samples, n_features]`, float32 or float64, at least one.
      n_atoms: at least 1.

    Returns:
      The state before the first update.

    Raises:
      TypeError: the signals are not float32 or float64.
      ValueError: the shape is another, or there is no atom.

    >>> init_dictionary(jax.random.key(0), jnp.array([[0.0, 2.0]]), 1).dictionary.tolist()
    [[0.0, 1.0]]
    """
    x = _check_signals(jnp.asarray(signals))
    if n_atoms < 1:
        raise ValueError(f"n_atoms: expected at least 1, got {n_atoms}")
    which, direction = jax.random.split(key)
    found = x[jax.random.permutation(which, len(x))[:n_atoms]]
    found = jnp.pad(found, ((0, n_atoms - len(found)), (0, 0)))
    usable = jnp.isfinite(found).all(axis=1) & jnp.any(found != 0, axis=1)
    atoms = jnp.where(usable[:, None], found, jax.random.normal(direction, found.shape, x.dtype))
    return DictionaryState(
        dictionary=_unit(atoms),
        code_moment=jnp.zeros((n_atoms, n_atoms), x.dtype),
        cross_moment=jnp.zeros((n_atoms, x.shape[1]), x.dtype),
        idle=jnp.zeros(n_atoms, jnp.int32),
        n_updates=jnp.zeros((), jnp.int32),
    )


def update_dictionary(
    state: DictionaryState,
    signals: ArrayLike,
    alpha: float | jax.Array,
    *,
    weight: ArrayLike | None = None,
    positive: bool = False,
    forgetting: float = 10.0,
    patience: int = 10,
    largest_cosine: float = 0.95,
    replace: bool | jax.Array = True,
    tol: float = 1e-2,
    max_iter: int = 50,
) -> tuple[DictionaryState, DictionaryUpdate]:
    """One mini-batch: codes of the signals by `fista`, then the best value of each atom, the others held.

    min over D, z of the mean of 1/2 ||x - z D||^2 + alpha |z|_1, each ||d_j|| <= 1
    A = (1 - 1/t)^forgetting A + mean z' z,  B = (1 - 1/t)^forgetting B + mean z' x
    d_j = d_j + (B_j - A_j D) / A_jj, over its norm where that exceeds 1, for each j in turn

    An atom that no signal of the last `patience` batches used, and the later of two that point the same way, is
    replaced by the signal that is coded worst. A statistic of the batch: signals sharded over devices count as one.
    Signals that are not finite, or too large for their squares to be, are left out; a batch of none changes nothing.

    Args:
      state: from `init_dictionary`, or an update before.
      signals: `[n_samples, n_features]`, of the dictionary's type.
      alpha: weight of the l1 norm, a number of at least 0.
      weight: `[n_samples]`, how much each signal counts; by default 1. What is not above 0 counts for nothing.
      positive: codes of at least 0.
      forgetting: how fast old codes, of atoms that have changed since, lose their weight: that of update s after t is
        (s / t)^forgetting. 0 weighs all alike.
      patience: batches, at least 1; with batches of few signals, or rare atoms, take more.
      largest_cosine: between atoms, at which they count as copies; of 1 or more none does. Without `positive` an atom
        and its negative are copies too.
      replace: whether any is replaced, a bool: False in the last batches leaves none that is a signal still.
      tol, max_iter: of `fista`; codes need not be exact while atoms move.

    Returns:
      The next state, and a `DictionaryUpdate`.

    Raises:
      TypeError: the signals are of another type than the dictionary.
      ValueError: the shapes do not fit, or an option is out of its range.

    References:
      Mairal, Bach, Ponce & Sapiro, "Online learning for matrix factorization and sparse coding", JMLR 2010, algorithms
      1 and 2, section 3.4; Olshausen & Field, Vision Research 1997 (the objective).

    >>> state = init_dictionary(jax.random.key(0), jnp.eye(2), 2)
    >>> state, found = update_dictionary(state, 3 * jnp.eye(2), 1.0)
    >>> found.objective.item(), found.n_nonzero.item(), state.n_updates.item()
    (2.5, 1.0, 1)
    """
    x = _check_signals(jnp.asarray(signals))
    _check_options(forgetting, patience)
    given = jnp.ones(len(x), x.dtype) if weight is None else jnp.asarray(weight, x.dtype)
    if given.shape != (len(x),):
        raise ValueError(f"weight: expected shape [{len(x)}], a number for each signal, got {given.shape}")
    usable = jnp.isfinite(jnp.sum(jnp.square(x), axis=1)) & (given > 0) & jnp.isfinite(given)
    counted, x = jnp.where(usable, given, 0), jnp.where(usable[:, None], x, 0)
    any_counts = jnp.any(usable)
    one = any_counts.astype(jnp.int32)
    found = fista(state.dictionary, x, alpha, positive=positive, tol=tol, max_iter=max_iter, block_size=len(x))
    codes, rest = found.codes, x - matmul(found.codes, state.dictionary)
    share = counted / jnp.maximum(jnp.sum(counted), jnp.finfo(x.dtype).tiny)

    t = state.n_updates + one  # of nothing nothing is learned, nor forgotten
    kept = jnp.where(any_counts, (1 - 1 / jnp.maximum(t, 1).astype(x.dtype)) ** forgetting, 1)
    weighted = codes * share[:, None]
    code_moment = kept * state.code_moment + matmul(weighted.T, codes)
    cross_moment = kept * state.cross_moment + matmul(weighted.T, x)
    moved = jnp.where(any_counts, _each_in_turn(state.dictionary, code_moment, cross_moment), state.dictionary)

    used = jnp.any((codes != 0) & usable[:, None], axis=0)
    idle = jnp.where(used, 0, state.idle + one)
    left = jnp.where(usable, jnp.sum(jnp.square(rest), axis=1), -1)
    unused = idle >= patience
    gone = (unused | _copies(moved, unused, largest_cosine, positive)) & replace
    atoms, gone = _replace(moved, gone, x, left)
    # What those that are gone drew is no longer asked of the others.
    cross_moment = cross_moment - matmul(code_moment * gone[None].astype(x.dtype), moved)
    stays = jnp.where(gone, 0, 1).astype(x.dtype)
    objective = 0.5 * jnp.sum(jnp.square(rest), axis=1) + jnp.asarray(alpha, x.dtype) * jnp.sum(jnp.abs(codes), axis=1)
    following = DictionaryState(
        dictionary=atoms,
        code_moment=code_moment * stays[:, None] * stays[None],
        cross_moment=cross_moment * stays[:, None],
        idle=jnp.where(gone, 0, idle),
        n_updates=t,
    )
    seen = DictionaryUpdate(
        objective=jnp.sum(share * objective),
        n_nonzero=jnp.sum(share * jnp.sum(codes != 0, axis=1).astype(x.dtype)),
        gap=jnp.sum(share * found.gap),
        n_signals=jnp.sum(usable, dtype=jnp.int32),
        n_replaced=jnp.sum(gone, dtype=jnp.int32),
    )
    return following, seen


def learn_dictionary(
    key: jax.Array,
    signals: ArrayLike,
    n_atoms: int,
    alpha: float | jax.Array,
    *,
    state: DictionaryState | None = None,
    n_passes: int = 10,
    batch_size: int = 256,
    positive: bool = False,
    forgetting: float = 10.0,
    patience: int = 10,
    largest_cosine: float = 0.95,
    tol: float = 1e-2,
    max_iter: int = 50,
) -> tuple[DictionaryState, DictionaryUpdate]:
    """Learns a dictionary from signals in memory, in passes over them in random order.

    `update_dictionary` of batches; what is left of a pass after the last whole batch is left out of it. Of several
    passes the last one replaces no atoms.

    Args:
      key: of the first atoms and the order.
      signals: `[n_samples, n_features]`, float32 or float64.
      n_atoms: of the dictionary.
      alpha: weight of the l1 norm, a number of at least 0.
      state: to go on from; by default `init_dictionary`.
      n_passes: at least 1.
      batch_size: signals of an update, at least 1; all of them if there are fewer.
      positive, forgetting, patience, largest_cosine, tol, max_iter: as in `update_dictionary`.

    Returns:
      The last state, and a `DictionaryUpdate` of arrays `[n_updates]`.

    Raises:
      TypeError, ValueError: as `init_dictionary` and `update_dictionary`, or the state has other sizes.

    References:
      As `update_dictionary`.

    >>> state, found = learn_dictionary(jax.random.key(0), jnp.tile(jnp.eye(3), (20, 1)), 3, 0.1, batch_size=30)
    >>> jnp.abs(state.dictionary).sum(axis=0).round(2).tolist()
    [1.0, 1.0, 1.0]
    """
    x = _check_signals(jnp.asarray(signals))
    if n_passes < 1 or batch_size < 1:
        raise ValueError(f"n_passes, batch_size: expected at least 1, got {n_passes} and {batch_size}")
    begin, order = jax.random.split(key)
    start = init_dictionary(begin, x, n_atoms) if state is None else state
    if start.dictionary.shape != (n_atoms, x.shape[1]):
        raise ValueError(
            f"state: expected a dictionary of shape ({n_atoms}, {x.shape[1]}), got {start.dictionary.shape}"
        )
    size = min(batch_size, len(x))
    steps = len(x) // size

    def one_update(
        state: DictionaryState, batch: tuple[jax.Array, jax.Array]
    ) -> tuple[DictionaryState, DictionaryUpdate]:
        rows, replace = batch
        return update_dictionary(
            state,
            x[rows],
            alpha,
            positive=positive,
            forgetting=forgetting,
            patience=patience,
            largest_cosine=largest_cosine,
            replace=replace,
            tol=tol,
            max_iter=max_iter,
        )

    def one_pass(
        state: DictionaryState, begun: tuple[jax.Array, jax.Array]
    ) -> tuple[DictionaryState, DictionaryUpdate]:
        key, replace = begun
        rows = jax.random.permutation(key, len(x))[: steps * size].reshape(steps, size)
        return jax.lax.scan(one_update, state, (rows, jnp.broadcast_to(replace, steps)))

    replaces = (jnp.arange(n_passes) < n_passes - 1) | (n_passes == 1)
    last, found = jax.lax.scan(one_pass, start, (jax.random.split(order, n_passes), replaces))
    return last, DictionaryUpdate(*(values.reshape(-1) for values in found))


def _each_in_turn(atoms: jax.Array, code_moment: jax.Array, cross_moment: jax.Array) -> jax.Array:
    def one(j: jax.Array, atoms: jax.Array) -> jax.Array:
        power = code_moment[j, j]
        change = (cross_moment[j] - matmul(code_moment[j], atoms)) / jnp.where(power > 0, power, 1)
        atom = jnp.where(power > 0, atoms[j] + change, atoms[j])
        return atoms.at[j].set(atom / jnp.maximum(jnp.sqrt(jnp.sum(jnp.square(atom))), 1))

    return jax.lax.fori_loop(0, len(atoms), one, atoms)


def _copies(atoms: jax.Array, unused: jax.Array, largest_cosine: float, positive: bool) -> jax.Array:
    """Which atoms point where an earlier one does that is used and no copy itself, bool `[n_atoms]`."""
    unit = _unit(atoms)
    cosine = matmul(unit, unit.T)
    near = jnp.tril((cosine if positive else jnp.abs(cosine)) > largest_cosine, -1)

    def one(j: jax.Array, copies: jax.Array) -> jax.Array:
        return copies.at[j].set(jnp.any(near[j] & ~copies & ~unused))

    return jax.lax.fori_loop(0, len(atoms), one, jnp.zeros(len(atoms), bool))


def _replace(atoms: jax.Array, gone: jax.Array, x: jax.Array, left: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Atoms with those that are gone replaced by the signals of which most is left, and which were."""
    order = jnp.argsort(left, descending=True)[: len(atoms)]
    rank = jnp.cumsum(gone) - 1  # the first to go gets the worst signal
    place = order[jnp.clip(rank, 0, len(order) - 1)]
    there = gone & (rank < len(order)) & (left[place] > 0)
    return jnp.where(there[:, None], _unit(x[place]), atoms), there


def _unit(rows: jax.Array) -> jax.Array:
    largest = jnp.max(jnp.abs(rows), axis=1, keepdims=True)
    scaled = rows / jnp.where(largest > 0, largest, 1)
    norm = jnp.sqrt(jnp.sum(jnp.square(scaled), axis=1, keepdims=True))
    return scaled / jnp.where(norm > 0, norm, 1)


def _check_signals(x: jax.Array) -> jax.Array:
    check_precision("signals", x)
    if x.ndim != 2 or not x.size:
        raise ValueError(f"signals: expected shape [n_samples, n_features], neither 0, got {x.shape}")
    return x


def _check_options(forgetting: float, patience: int) -> None:
    if not forgetting >= 0:
        raise ValueError(f"forgetting: expected at least 0, got {forgetting}")
    if patience < 1:
        raise ValueError(f"patience: expected at least 1, got {patience}")
