"""The sides that `sparse_coding.py` compares, and the problems that it gives them."""

import functools
import inspect
import time

import numpy as np

N_SIGNALS, N_FEATURES, N_ATOMS, N_NONZERO = 10_000, 64, 256, 8
NOISE = 0.1  # its deviation over that of the signals
ALPHA = 0.1
TOLS = 1e-1, 3e-2, 1e-2, 3e-3, 2e-3, 1e-3, 3e-4, 1e-4, 1e-5
THEIR_TOLS = 5e-2, 2e-2, 1e-2, 5e-3, 2e-3, 1e-3, 5e-4, 1e-4, 1e-5  # of the squared norm of a signal; ours of half of it

N_TRAIN, N_HELD_OUT, SIDE, N_PATCH_ATOMS = 20_000, 5_000, 12, 100
_MOST_SWEEPS = 5000  # of coordinate descent
PATCH_ALPHA = 2.0  # of patches of variance 1 a pixel: 6 % of a code is not 0
BATCH = 256


def make_signals(n_signals=N_SIGNALS):
    """A dictionary of norm 1 `[atom, feature]` and signals `[signal, feature]`, float32; a few at a time."""
    rng = np.random.default_rng(0)
    dictionary = rng.standard_normal((N_ATOMS, N_FEATURES))
    dictionary /= np.linalg.norm(dictionary, axis=1, keepdims=True)
    signals = np.empty((n_signals, N_FEATURES), np.float32)
    for some in np.array_split(signals, n_signals // 1000):
        codes = np.zeros((len(some), N_ATOMS))
        support = rng.random(codes.shape).argsort(axis=1)[:, :N_NONZERO]
        np.put_along_axis(codes, support, rng.standard_normal(support.shape), axis=1)
        some[:] = codes @ dictionary + NOISE * np.sqrt(N_NONZERO / N_FEATURES) * rng.standard_normal(some.shape)
    return dictionary.astype(np.float32), signals


def make_patches():
    """Patches to learn from and others, `[patch, pixel]`, and the first atoms."""
    import jax

    from sfa_jax import data, sparse

    crops = {"held_out": 0, "n_crops": 8}
    runs = data.load("photographs", image_size=128, greyscale=True, photographs=crops)
    images = np.concatenate([run.frames for run in runs]).astype(np.float32) / 255
    white = sparse.whiten_images(sparse.log_intensity(images))
    patches = np.array(sparse.random_patches(jax.random.key(0), white, N_TRAIN + N_HELD_OUT, size=SIDE))
    patches = patches.reshape(len(patches), -1)
    patches -= patches.mean(axis=1, keepdims=True)
    first = sparse.init_dictionary(jax.random.key(1), patches[:N_TRAIN], N_PATCH_ATOMS).dictionary
    return {"train": patches[:N_TRAIN], "held_out": patches[N_TRAIN:], "first": np.asarray(first)}


def objectives(codes, dictionary, signals, alpha):
    """1/2 ||x - z D||^2 + alpha |z|_1 of each signal, and how much lower it may be, at most; both in float64."""
    codes, dictionary, signals = (np.asarray(x, np.float64) for x in (codes, dictionary, signals))
    rest = signals - codes @ dictionary
    feasible = rest * np.minimum(1, alpha / np.abs(rest @ dictionary.T).max(axis=1))[:, None]
    objective = 0.5 * np.sum(rest**2, axis=1) + alpha * np.sum(np.abs(codes), axis=1)
    return objective, objective - np.sum(signals * feasible, axis=1) + 0.5 * np.sum(feasible**2, axis=1)


# --- Of codes: each gives `{setting: call}`, and a call returns codes `[signal, atom]` --------------------------------


def omp(dictionary, signals):
    from sfa_jax import sparse

    return {N_NONZERO: compiled(sparse.omp, dictionary, signals, n_nonzero_coefs=N_NONZERO)}


def fista(dictionary, signals):
    from sfa_jax import sparse

    return {tol: compiled(sparse.fista, dictionary, signals, alpha=ALPHA, tol=tol) for tol in TOLS}


def compiled(function, dictionary, signals, **options):
    import jax

    run, arrays = jax.jit(functools.partial(function, **options)), jax.device_put((dictionary, signals))
    return lambda: jax.block_until_ready(run(*arrays)).codes


def orthogonal_mp(dictionary, signals, dtype):
    from sklearn.linear_model import orthogonal_mp

    atoms, x = dictionary.T.astype(dtype), signals.T.astype(dtype)
    return {N_NONZERO: lambda: orthogonal_mp(atoms, x, n_nonzero_coefs=N_NONZERO, precompute=False).T}


def orthogonal_mp_gram(dictionary, signals, dtype):
    from sklearn.linear_model import orthogonal_mp_gram

    atoms, x = dictionary.astype(dtype), signals.astype(dtype)
    options = {"n_nonzero_coefs": N_NONZERO, "copy_Gram": False, "copy_Xy": False}
    return {N_NONZERO: lambda: orthogonal_mp_gram(atoms @ atoms.T, (x @ atoms.T).T, **options).T}


def lasso(dictionary, signals, dtype, n_jobs, *tols):
    """scikit-learn's estimator, which stops at each signal's gap; jobs share signals as those of `sparse_encode` do."""
    from joblib import Parallel, delayed
    from sklearn.linear_model import Lasso
    from sklearn.utils import gen_even_slices

    atoms, targets = np.asfortranarray(dictionary.T.astype(dtype)), np.asfortranarray(signals.T.astype(dtype))

    def fit(some, gram, tol):
        model = Lasso(ALPHA / N_FEATURES, tol=tol, precompute=gram, fit_intercept=False, max_iter=_MOST_SWEEPS)
        return model.fit(atoms, targets[:, some], check_input=False).coef_

    def code(tol):
        gram = np.ascontiguousarray(atoms.T @ atoms)
        slices = gen_even_slices(len(signals), int(n_jobs))
        return np.concatenate(Parallel(int(n_jobs))(delayed(fit)(some, gram, tol) for some in slices))

    return {tol: functools.partial(code, tol) for tol in map(float, tols or THEIR_TOLS)}


def solver(dictionary, signals, dtype, n_threads, *tols):
    """The compiled loop of that estimator, called for each signal without the Python around it; it is private."""
    from concurrent.futures import ThreadPoolExecutor

    from sklearn.linear_model import _cd_fast

    solve = _cd_fast.enet_coordinate_descent_gram
    options = {"do_screening": False} if "do_screening" in inspect.signature(solve).parameters else {}  # slower with it
    atoms, x, rng = dictionary.astype(dtype), np.ascontiguousarray(signals.astype(dtype)), np.random.RandomState(0)

    def code(tol):
        codes = np.zeros((len(x), len(atoms)), dtype)
        gram, correlations = np.ascontiguousarray(atoms @ atoms.T), np.ascontiguousarray(x @ atoms.T)

        def some(places):
            for k in places:
                solve(codes[k], ALPHA, 0, gram, correlations[k], x[k], _MOST_SWEEPS, tol, rng, False, False, **options)

        with ThreadPoolExecutor(int(n_threads)) as pool:
            list(pool.map(some, np.array_split(np.arange(len(x)), int(n_threads))))
        return codes

    return {tol: functools.partial(code, tol) for tol in map(float, tols or THEIR_TOLS)}


# --- Of dictionaries: each gives a call that returns seconds and dictionary after each pass ---------------------------


def learn(patches, n_passes):
    import jax

    from sfa_jax import sparse

    @jax.jit
    def one_pass(key, train, state):
        options = {"state": state, "n_passes": 1, "batch_size": BATCH}
        return sparse.learn_dictionary(key, train, N_PATCH_ATOMS, PATCH_ALPHA, **options)[0]

    train = jax.device_put(patches["train"])
    first = sparse.init_dictionary(jax.random.key(1), train, N_PATCH_ATOMS)
    keys = jax.random.split(jax.random.key(2), int(n_passes))

    def call():
        state, saw, start = first, [], time.perf_counter()
        for key in keys:
            state = jax.block_until_ready(one_pass(key, train, state))
            saw.append((time.perf_counter() - start, np.asarray(state.dictionary)))
        return saw

    one_pass(keys[0], train, first)
    return call


def minibatch(patches, n_passes, algorithm, n_jobs):
    from sklearn.decomposition import MiniBatchDictionaryLearning

    patches = {name: x.astype(np.float64) for name, x in patches.items()}
    options = {"fit_algorithm": algorithm, "batch_size": BATCH, "tol": 0, "max_no_improvement": None, "random_state": 0}
    options |= {"alpha": PATCH_ALPHA, "max_iter": int(n_passes), "n_jobs": int(n_jobs)}

    def call(train=patches["train"]):
        saw, n_batches, start = [], -(-len(train) // BATCH), time.perf_counter()

        def look(variables):
            if (variables["i"] + 1) % n_batches == 0:
                saw.append((time.perf_counter() - start, variables["dictionary"].copy()))

        first = patches["first"].copy()  # it is learned in place
        MiniBatchDictionaryLearning(N_PATCH_ATOMS, dict_init=first, callback=look, **options).fit(train)
        return saw

    call(patches["train"][:BATCH])
    return call


CODERS = {function.__name__: function for function in (omp, fista, orthogonal_mp, orthogonal_mp_gram, lasso, solver)}
LEARNERS = {function.__name__: function for function in (learn, minibatch)}
