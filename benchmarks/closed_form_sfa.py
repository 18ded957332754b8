"""Speed of linear SFA in closed form on CPU: this library beside plain NumPy and SciPy, deeptime, sklearn-sfa and MDP.

    python benchmarks/closed_form_sfa.py [--cases 100000x64 ...] [--rounds 9] [--mdp-python PATH]
    python benchmarks/closed_form_sfa.py --stream

All find the ten slowest features of the same frames, `frames x features`, in the same precision: AR(1) signals of
different time constants, mixed by a random matrix. Before the clock starts, the Delta values of all are compared with
those of NumPy. Each contestant lives in a process of its own, warmed up, so that compilation is not counted; they
take turns, the others asleep; medians are printed.

  core      `solve(update_moments(init_moments(n), x), 10)` under one `jit`, for frames on the device
  fit       `slowness.fit(x, 10)`: checks, float64 whatever the input, streamed from the host
  numpy     mean and differences taken, two products X'X (which NumPy computes by BLAS's symmetric product), and
            `scipy.linalg.eigh` of the two matrices for ten eigenvectors
  deeptime  `TICA(lagtime=1, dim=10)`
  sksfa     `sksfa.SFA(10)`
  mdp       `SFANode(output_dim=10)`; it needs NumPy below 1.24: `--mdp-python` names an interpreter that has both

`--stream` adds up 1e7 frames of 64 features, made on the way, and prints the time and the peak of memory.
"""

import argparse
import json
import math
import resource
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks._contestants import Contestant, medians, seconds, serve

CASES = ("100000x64", "20000x512", "50000x256")
N_COMPONENTS = 10
TOLERANCE = {
    "float32": 1e-2,
    "float64": 1e-6,
}  # of Delta values, relative; all but numpy's own may differ by edge terms
EDGE_TERMS = 5e-3
PEERS = (
    "peers: deeptime, sklearn-sfa and MDP as their documentation calls them, for ten features; NumPy by the fastest "
    "of what was tried (eigh of ten vectors, driver gvx; from 256 features on gv, gvd and a Cholesky factor are slower)"
)


def make_frames(case, dtype):
    """`[frames, features]`: AR(1) signals with time constants from 2 to 200 frames, mixed and scaled."""
    n_frames, n_features = map(int, case.split("x"))
    rng = np.random.default_rng(0)
    keep = np.exp(-1 / np.geomspace(200, 2, n_features))
    sources = rng.standard_normal((n_frames, n_features))
    sources[1:] *= np.sqrt(1 - keep**2)
    for t in range(1, n_frames):
        sources[t] += keep * sources[t - 1]
    mixing = np.linalg.qr(rng.standard_normal((n_features, n_features)))[0]
    return ((sources @ mixing) * np.geomspace(0.1, 10, n_features) + 3).astype(dtype)


# --- Contestants: each gives a call, and the Delta values in what a call returns --------------------------------------


def core(x):
    import jax
    import jax.numpy as jnp

    from sfa_jax import slowness

    jax.config.update("jax_enable_x64", x.dtype == np.float64)

    def run(x):
        empty = slowness.init_moments(x.shape[1], dtype=x.dtype)
        return slowness.solve(slowness.update_moments(empty, x), N_COMPONENTS)

    run, x = jax.jit(run), jnp.asarray(x)
    return lambda: jax.block_until_ready(run(x)), lambda model: model.delta


def fit(x):
    from sfa_jax import slowness

    return lambda: slowness.fit(x, N_COMPONENTS), lambda model: model.delta


def numpy(x):
    import scipy.linalg

    def run():
        centred = x - x.mean(axis=0)
        change = np.diff(x, axis=0)
        covariance, slow = centred.T @ centred / len(centred), change.T @ change / len(change)
        return scipy.linalg.eigh(slow, covariance, subset_by_index=[0, N_COMPONENTS - 1])

    return run, lambda found: found[0]


def deeptime(x):
    from deeptime.decomposition import TICA

    return (
        lambda: TICA(lagtime=1, dim=N_COMPONENTS).fit(x).fetch_model(),
        lambda model: 2 * (1 - model.singular_values[:N_COMPONENTS]),
    )


def sksfa(x):
    import sksfa

    return lambda: sksfa.SFA(N_COMPONENTS).fit(x), lambda model: model.delta_values_


def mdp(x):
    import mdp

    def run():
        node = mdp.nodes.SFANode(output_dim=N_COMPONENTS, dtype=x.dtype)
        node.train(x)
        node.stop_training()
        return node

    return run, lambda node: node.d


CONTESTANTS = {function.__name__: function for function in (core, fit, numpy, deeptime, sksfa, mdp)}


def serve_one(name, case, dtype):
    call, delta = CONTESTANTS[name](make_frames(case, dtype))
    call()  # compiles
    serve(call, json.dumps(np.asarray(delta(call()), float)[:N_COMPONENTS].tolist()))


# --- Comparison -------------------------------------------------------------------------------------------------------


def compare(case, dtype, args):
    """Prints a row; returns `{contestant: its time over that of core}`."""
    contestants, notes = {}, []
    for name in args.contestants:
        if name == "fit" and dtype == "float32":
            continue  # it computes in float64
        python = args.mdp_python if name == "mdp" else sys.executable
        command = [python, "-W", "ignore", __file__, "--serve", name, "--cases", case, "--dtypes", dtype]
        try:
            contestants[name] = Contestant(command)
        except RuntimeError as error:  # not installed, or it cannot do this
            notes.append(f"{name}: {error}")
    expected = np.array(json.loads(contestants["numpy"].result))
    for name in list(contestants):
        found = np.array(json.loads(contestants[name].result))
        tolerance = TOLERANCE[dtype] + (EDGE_TERMS if name in ("deeptime", "sksfa", "mdp") else 0)
        error = np.max(np.abs(found / expected - 1)) if found.shape == expected.shape else math.inf
        if not error < tolerance:
            contestants.pop(name).close()
            notes.append(f"{name}: other Delta values, by {error:.1e} (relative)")
    time = medians(contestants, args.rounds)
    cells = " ".join(f"{1e3 * time[name]:8.1f}" if name in time else "       -" for name in CONTESTANTS)
    print(f"{case:>10s} {dtype}  {cells}   " + "; ".join(notes), flush=True)
    ratios = {name: time[name] / time["core"] for name in time}
    if "fit" in time:
        ratios |= {f"{name} / fit": time[name] / time["fit"] for name in time}
    return ratios


def geometric_means(rows):
    names = {name: None for row in rows for name in row if name not in ("core", "fit", "fit / fit", "core / fit")}
    return {name: math.exp(np.mean([math.log(row[name]) for row in rows if name in row])) for name in names}


def stream(n_frames=10_000_000, n_features=64, chunk=16_384):
    import jax

    from sfa_jax import slowness

    update = jax.jit(slowness.update_moments, donate_argnums=0)
    noise = np.random.default_rng(0).standard_normal((chunk, n_features), np.float32)
    chunks = [chunk] * (n_frames // chunk) + ([n_frames % chunk] if n_frames % chunk else [])
    moments = jax.jit(slowness.init_moments, static_argnums=0)(n_features)

    def run():
        nonlocal moments
        for number, length in enumerate(chunks):
            moments = update(moments, np.roll(noise, number, axis=1)[:length])
        jax.block_until_ready(moments)

    elapsed = seconds(run)
    model = jax.jit(slowness.solve)(moments)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    print(
        f"{n_frames} x {n_features} float32 in chunks of {chunk}: {elapsed:.1f} s with compilation and making them, "
        f"peak {peak:.0f} MB; rank {int(model.rank)}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", default=CASES, help="frames x features")
    parser.add_argument("--dtypes", nargs="+", choices=TOLERANCE, default=list(TOLERANCE))
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--mdp-python", default=sys.executable, help="an interpreter that has MDP and NumPy < 1.24")
    parser.add_argument("--stream", action="store_true", help="time and memory of 1e7 x 64 streamed, nothing else")
    parser.add_argument("--serve", choices=CONTESTANTS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        return serve_one(args.serve, args.cases[0], args.dtypes[0])
    if args.stream:
        return stream()
    print(PEERS)
    args.contestants = list(dict.fromkeys(["core", *args.contestants, "numpy"]))
    print("milliseconds        " + " ".join(f"{name:>8s}" for name in CONTESTANTS))
    for dtype in args.dtypes:
        means = geometric_means([compare(case, dtype, args) for case in args.cases])
        said = ", ".join(f"{name if '/' in name else name + ' / core'} {mean:.2f}" for name, mean in means.items())
        print(f"{dtype}, geometric mean of the ratios: {said}", flush=True)


if __name__ == "__main__":
    main()
