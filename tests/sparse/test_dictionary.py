"""Online dictionary learning: the update against a loop, recovery of planted atoms, scikit-learn's objective."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sfa_jax import sparse
from sfa_jax.sparse._dictionary import _copies

KEY = jax.random.key(0)
update = jax.jit(
    sparse.update_dictionary,
    static_argnums=2,
    static_argnames=("positive", "forgetting", "patience", "largest_cosine", "tol", "max_iter"),
)
learn = jax.jit(sparse.learn_dictionary, static_argnums=(2, 3), static_argnames=("n_passes", "batch_size"))


def planted(rng, n_features, n_atoms, k, n, decibels=30.0):
    """Atoms of norm 1, and signals of k of them each with noise."""
    atoms = rng.standard_normal((n_atoms, n_features))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    codes = np.zeros((n, n_atoms))
    which = np.argsort(rng.random((n, n_atoms)), axis=1)[:, :k]
    np.put_along_axis(codes, which, rng.standard_normal((n, k)), axis=1)
    signals = codes @ atoms
    noise = np.sqrt(np.mean(signals**2) / 10 ** (decibels / 10))
    return atoms.astype(np.float32), (signals + noise * rng.standard_normal(signals.shape)).astype(np.float32)


def objective(dictionary, signals, alpha):
    codes = jax.jit(lambda d, x: sparse.fista(d, x, alpha, tol=1e-5).codes)(dictionary, signals)
    return float(np.mean(0.5 * np.sum((signals - codes @ dictionary) ** 2, 1) + alpha * np.abs(codes).sum(1)))


def recovered(dictionary, atoms):
    return np.mean(np.abs(np.asarray(dictionary) @ atoms.T).max(axis=0) >= 0.98)


def test_an_update_is_the_loop(rng):
    """The formulas, atom by atom in NumPy, over three batches; one signal counts twice, one not at all."""
    _, signals = planted(rng, 6, 5, 2, 24)
    alpha, forgetting = 0.1, 2.0
    weight = np.ones(8)
    weight[1], weight[2] = 2.0, 0.0
    with jax.enable_x64(True):
        state = sparse.init_dictionary(KEY, signals.astype(np.float64), 5)
        d = np.array(state.dictionary)
        a, b = np.zeros((5, 5)), np.zeros((5, 6))
        for t, x in enumerate(signals.astype(np.float64).reshape(3, 8, 6), start=1):
            options = {"tol": 1e-9, "max_iter": 5000}
            state, found = update(state, x, alpha, weight=weight, forgetting=forgetting, largest_cosine=2.0, **options)
            z = np.asarray(sparse.fista(d, x, alpha, **options).codes)
            share = weight / weight.sum()
            value = 0.5 * np.sum((x - z @ d) ** 2, 1) + alpha * np.abs(z).sum(1)
            np.testing.assert_allclose(found.objective, share @ value, rtol=1e-10)
            np.testing.assert_allclose(found.n_nonzero, share @ (z != 0).sum(1), rtol=1e-10)
            a = (1 - 1 / t) ** forgetting * a + (z * share[:, None]).T @ z
            b = (1 - 1 / t) ** forgetting * b + (z * share[:, None]).T @ x
            for j in range(5):
                if a[j, j] > 0:
                    d[j] += (b[j] - a[j] @ d) / a[j, j]
                d[j] /= max(np.linalg.norm(d[j]), 1)
            np.testing.assert_allclose(state.dictionary, d, atol=1e-10)
    assert found.n_signals == 7
    assert state.n_updates == 3


@pytest.mark.parametrize("seed", [0, 1])
def test_planted_atoms_are_found(seed):
    """64 features, 100 atoms, 4 of them a signal, 20,000 signals, 30 dB."""
    atoms, signals = planted(np.random.default_rng(seed), 64, 100, 4, 20_000)
    state, found = learn(jax.random.key(seed), signals, 100, 0.2, n_passes=4)
    assert recovered(state.dictionary, atoms) >= 0.95
    assert found.objective.shape == (312,)
    assert found.objective[-20:].mean() < found.objective[:20].mean()


def test_no_worse_than_scikit_learns_on_held_out_signals(rng):
    from sklearn.decomposition import MiniBatchDictionaryLearning

    _, signals = planted(rng, 16, 40, 3, 3000)
    train, held_out = signals[:2000], signals[2000:]
    start = np.asarray(sparse.init_dictionary(KEY, train, 30).dictionary)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = MiniBatchDictionaryLearning(
            30, alpha=0.2, batch_size=100, max_iter=5, fit_algorithm="cd", dict_init=start, random_state=0, tol=0,
            max_no_improvement=None,
        ).fit(train)  # fmt: skip
    state, _ = learn(KEY, train, 30, 0.2, n_passes=5, batch_size=100)
    assert objective(state.dictionary, held_out, 0.2) <= 1.01 * objective(
        theirs.components_.astype(np.float32), held_out, 0.2
    )


def test_unused_atoms_are_replaced(rng):
    atoms, signals = planted(rng, 8, 4, 1, 64)
    state = sparse.init_dictionary(KEY, signals, 4)
    state = state._replace(dictionary=jnp.concatenate([atoms[:3], np.zeros((1, 8), np.float32)]))
    options = {"patience": 2, "max_iter": 200, "tol": 1e-4}
    once, found = update(state, signals, 0.05, **options)
    assert found.n_replaced == 0
    assert once.idle[3] == 1
    state, found = update(once, signals, 0.05, **options)
    assert found.n_replaced == 1
    assert state.idle[3] == 0
    assert state.code_moment[3, 3] == 0
    for _ in range(10):
        state, found = update(state, signals, 0.05, **options)
    assert recovered(state.dictionary, atoms) == 1
    assert found.n_replaced == 0


def test_copies_are_replaced(rng):
    """All signals but one lie on a line: two atoms on it are copies, unless they and codes have signs."""
    line = rng.standard_normal((30, 1)) * np.eye(4)[:1]
    signals = np.concatenate([line, 0.3 * np.eye(4)[1:2]]).astype(np.float32)
    state = sparse.init_dictionary(KEY, signals, 2)._replace(dictionary=jnp.array([[1.0, 0, 0, 0], [-1, 0, 0, 0]]))
    replaced, found = update(state, signals, 0.1)
    assert found.n_replaced == 1
    np.testing.assert_allclose(replaced.dictionary[1], np.eye(4)[1], atol=1e-6)  # by what was coded worst
    both, found = update(state, line.astype(np.float32), 0.1, positive=True)
    assert found.n_replaced == 0
    np.testing.assert_allclose(both.dictionary, state.dictionary, atol=1e-6)
    for kept in ({"largest_cosine": 1.0}, {"replace": False}):
        assert update(state, signals, 0.1, **kept)[1].n_replaced == 0
    _, found = learn(KEY, line.astype(np.float32), 2, 0.1, n_passes=3, batch_size=10)
    assert found.n_replaced[:6].sum() > 0
    assert found.n_replaced[6:].sum() == 0  # none ends as the signal that replaced it


def test_zeros_copies_and_broken_signals_end_finite(rng):
    _, signals = planted(rng, 6, 5, 2, 40)
    for x in (np.zeros_like(signals), np.ones_like(signals), 1e20 * signals, 1e-20 * signals, signals[:2]):
        state, found = learn(KEY, x, 7, 0.1, n_passes=2, batch_size=10)
        assert np.isfinite(state.dictionary).all()
        assert (np.linalg.norm(state.dictionary, axis=1) <= 1 + 1e-5).all()
        assert np.isfinite(found.objective).all() or x.max() > 1e15
    state = sparse.init_dictionary(KEY, signals, 7)
    broken = np.where(np.arange(40)[:, None] % 4 == 0, np.nan, signals)
    with_broken, found = update(state, broken, 0.1, weight=np.ones(40, np.float32))
    without, _ = update(state, signals, 0.1, weight=(np.arange(40) % 4 != 0).astype(np.float32))
    assert found.n_signals == 30
    np.testing.assert_allclose(with_broken.dictionary, without.dictionary, atol=1e-5)
    nothing, found = update(state, signals, 0.1, weight=np.zeros(40, np.float32))
    np.testing.assert_allclose(nothing.dictionary, state.dictionary, atol=1e-6)
    assert found.objective == 0


def test_going_on_and_sharding_change_nothing(rng):
    _, signals = planted(rng, 6, 5, 2, 40)
    state = sparse.init_dictionary(KEY, signals, 5)
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    here, there = update(state, signals, 0.1), update(state, jax.device_put(signals, rows), 0.1)
    for one, other in zip(jax.tree.leaves(here), jax.tree.leaves(there), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    more, _ = learn(KEY, signals, 5, 0.1, state=here[0], n_passes=3, batch_size=20)
    assert more.n_updates == 7


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: sparse.init_dictionary(KEY, x, 0), "n_atoms: expected at least 1"),
        (lambda x: sparse.init_dictionary(KEY, x[0], 2), "signals: expected shape"),
        (lambda x: sparse.learn_dictionary(KEY, x, 2, -1.0), "alpha: expected"),
        (lambda x: sparse.learn_dictionary(KEY, x, 2, 0.1, n_passes=0), "n_passes, batch_size"),
        (lambda x: sparse.learn_dictionary(KEY, x, 2, 0.1, forgetting=-1.0), "forgetting: expected"),
        (lambda x: sparse.learn_dictionary(KEY, x, 2, 0.1, patience=0), "patience: expected"),
        (lambda x: sparse.learn_dictionary(KEY, x, 3, 0.1, state=sparse.init_dictionary(KEY, x, 2)), "state: expected"),
        (
            lambda x: sparse.update_dictionary(sparse.init_dictionary(KEY, x, 2), x, 0.1, weight=jnp.ones(3)),
            "weight: expected shape",
        ),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call(jnp.ones((5, 4)))


def test_whole_numbers_are_no_signals():
    with pytest.raises(TypeError, match="signals: expected float32 or float64"):
        sparse.init_dictionary(KEY, jnp.ones((5, 4), jnp.int32), 2)


def test_a_chain_of_neighbours_keeps_every_other(rng):
    """Each atom is near the next, but the first and the third are not copies of each other."""
    turn = np.deg2rad(15 * np.arange(6))
    atoms = np.stack([np.cos(turn), np.sin(turn)], axis=1).astype(np.float32)
    state = sparse.init_dictionary(KEY, atoms, 6)._replace(dictionary=jnp.asarray(atoms))
    gone = _copies(state.dictionary, jnp.zeros(6, bool), 0.95, False)
    assert gone.tolist() == [False, True, False, True, False, True]
    unused = jnp.arange(6) == 0  # it goes, so that its neighbour may stay
    assert _copies(state.dictionary, unused, 0.95, False).tolist() == [False, False, True, False, True, False]


def test_batches_that_hold_nothing_change_nothing(rng):
    _, signals = planted(rng, 6, 5, 2, 40)
    state, _ = update(sparse.init_dictionary(KEY, signals, 7), signals, 0.1, weight=np.ones(40, np.float32))
    for x, weight in ((signals, 0 * signals[:, 0]), (np.nan * signals, 0 * signals[:, 0] + 1)):
        after, found = update(state, x, 0.1, weight=weight)
        assert found.n_signals == 0
        for one, other in zip(after, state, strict=True):
            np.testing.assert_array_equal(one, other)
    spoiled = np.concatenate([signals[:39], np.full((1, 6), 1e25, np.float32)])
    for weight in (np.ones(40), np.where(np.arange(40) < 39, 1, 0), np.where(np.arange(40) < 39, 1, -3)):
        after, found = update(state, spoiled, 0.1, weight=weight.astype(np.float32))
        assert found.n_signals == 39
        assert np.isfinite(after.dictionary).all()
