"""Speed of sparse coding on CPU: matching pursuit, lasso codes and dictionaries, this library beside scikit-learn.

    python benchmarks/sparse_coding.py [--parts omp lasso dictionary] [--rounds 5] [--plot PATH]
    python benchmarks/sparse_coding.py --memory

Each contestant lives in a process of its own, warmed up, so that compilation is not counted; they take turns, the
others asleep; medians are printed. This library computes in float32. scikit-learn is given what it is fastest with,
of the forms named below, each timed here and printed, and one thread of BLAS a job: two make its small products no
faster, and spin.

  omp         10,000 signals of 64 features, 8 of 256 atoms in each, and noise: `jax.jit(sparse.omp)` of 8 atoms beside
              the faster of `orthogonal_mp` and `orthogonal_mp_gram`, in float32 and float64; the Gram matrix and its
              products with the signals are counted. The share of equal supports is printed.
  lasso       codes of the same signals at alpha = 0.1: `jax.jit(sparse.fista)` of several `tol` beside coordinate
              descent of several `tol` with a Gram matrix, which stops at each signal's gap as well: `Lasso(tol=,
              precompute=gram)` on all signals as targets, float32 and float64, one job and two, and its compiled loop
              without the Python around it (private), one thread and two. The duality gap of a code over half the
              squared norm of its signal is computed from the codes, in float64, for all; compared are the coarsest
              settings at which it is 1e-3, as the mean and as the largest of all signals. `--plot` draws all.
  dictionary  100 atoms of 20,000 whitened patches of photographs, 12 x 12 pixels, from the same first atoms, in batches
              of 256: passes of `sparse.learn_dictionary` until the objective of 5,000 other patches is at most that of
              `MiniBatchDictionaryLearning` after 1, 2 and 5 passes (coordinate descent, one job or two, whichever is
              faster, float64: in float32 it misses its own tolerance and takes twice as long; a pass of LARS is printed
              beside). Codes of the other patches are `sparse.fista`'s for both.

`--memory` codes and learns 100,000 signals, each in a process of its own, and prints the peaks.
"""

import argparse
import functools
import itertools
import json
import os
import platform
import resource
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import _sparse_contestants as sides
from benchmarks._contestants import PAUSE, Contestant, medians, serve
from benchmarks._sparse_contestants import ALPHA, N_ATOMS, N_FEATURES, N_NONZERO, N_SIGNALS, PATCH_ALPHA, objectives

GAP = 1e-3
TOLERANCE = 1e-5  # between the lowest objectives of lasso contestants, relative
PASSES = 1, 2, 5
N_FITS = 3  # of scikit-learn's, which take longest; this library's are as many as there are rounds
WORSE = 0.01  # of an objective at equal passes, relative
MEMORY_SIGNALS, MEMORY_LIMIT = 100_000, 1024  # MB
PEERS = (
    "peer: scikit-learn, each part in the forms of its table, all timed here in turns; the ratio is to the fastest. "
    "For lasso the coarsest tol of the table is taken whose codes have the gap; dictionaries have no tol to choose"
)
MEASURED = "omp", "fista", "learn_dictionary"


def serve_one(name, folder):
    """`name` is that of a contestant and its options, with commas between."""
    warnings.simplefilter("ignore")  # that a code has not converged, for each
    kind, *options = name.split(",")
    if kind == "memory":
        return serve(None, json.dumps(peaks(*options)))
    if kind in sides.LEARNERS:
        call = sides.LEARNERS[kind](dict(np.load(folder / "patches.npz")), *options)
        return serve(lambda: save(folder / name, call()))
    dictionary, signals = sides.make_signals()
    calls, result = sides.CODERS[kind](dictionary, signals, *options), {}
    for setting, call in calls.items():
        codes = np.asarray(call())  # compiles
        objective, gap = objectives(codes, dictionary, signals, ALPHA)
        gap /= 0.5 * np.sum(np.square(signals, dtype=np.float64), axis=1)
        result[setting] = {"mean": gap.mean(), "largest": gap.max(), "objective": objective.mean()}
    np.save(folder / name, codes != 0)
    turns = itertools.cycle(calls.values())
    serve(lambda: next(turns)(), json.dumps(result))


def save(path, saw):
    elapsed, dictionaries = zip(*saw, strict=True)
    np.savez(path, seconds=elapsed, dictionaries=np.array(dictionaries, np.float32))


def peaks(name):
    """Peak memory in MB before and after a function of many signals, and the seconds that it takes with compilation."""
    import jax

    from sfa_jax import sparse

    dictionary, signals = jax.device_put(sides.make_signals(MEMORY_SIGNALS))
    run = {
        "omp": lambda d, x: sparse.omp(d, x, n_nonzero_coefs=N_NONZERO),
        "fista": lambda d, x: sparse.fista(d, x, ALPHA),
        "learn_dictionary": lambda d, x: sparse.learn_dictionary(jax.random.key(0), x, len(d), ALPHA, n_passes=1),
    }[name]
    before, start = peak_megabytes(), time.perf_counter()
    jax.block_until_ready(jax.jit(run)(dictionary, signals))
    return before, peak_megabytes(), time.perf_counter() - start


def peak_megabytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


# --- Comparisons: each prints a table, and returns lines of the summary -----------------------------------------------


def start(names, folder):
    command = [sys.executable, __file__, "--folder", str(folder), "--serve"]
    return {name: Contestant([*command, name]) for name in names}


def compare_omp(args, folder):
    theirs = [f"{name},{dtype}" for name in ("orthogonal_mp", "orthogonal_mp_gram") for dtype in ("float32", "float64")]
    median = medians(start(["omp", *theirs], folder), args.rounds)
    supports = {name: np.load(folder / f"{name}.npy") for name in median}
    print("omp                         milliseconds   over ours   equal supports")
    for name, value in median.items():
        equal = np.mean(np.all(supports[name] == supports["omp"], axis=1))
        print(f"{name:26s} {1e3 * value:13.1f} {value / median['omp']:11.2f} {equal:16.2%}", flush=True)
    best = min(theirs, key=median.get)
    return [f"omp: {median[best] / median['omp']:.1f} x against {best}, the fastest of {len(theirs)} forms"]


def compare_lasso(args, folder):
    names = {"fista": "sfa_jax fista", "lasso,float32,1": "sklearn Lasso"}
    contestants = start(names, folder)
    found = {name: json.loads(contestant.result) for name, contestant in contestants.items()}
    lowest = [min(row["objective"] for row in rows.values()) for rows in found.values()]
    if not abs(lowest[1] / lowest[0] - 1) < TOLERANCE:
        raise SystemExit(f"the lowest objectives differ, {lowest}: no speed comparison.")
    needed = ",".join(dict.fromkeys(first_setting(found["lasso,float32,1"], size) for size in ("mean", "largest")))
    others = {
        f"lasso,float64,1,{needed}": "sklearn Lasso, float64",
        f"lasso,float32,2,{needed}": "sklearn Lasso, two jobs",
        f"solver,float32,1,{needed}": "sklearn loop",
        f"solver,float32,2,{needed}": "sklearn loop, two threads",
    }
    names |= others
    contestants |= start(others, folder)
    found |= {name: json.loads(contestants[name].result) for name in others}
    times = {name: [] for name in found}
    for _, position in itertools.product(range(args.rounds), range(max(map(len, found.values())))):
        for name, rows in found.items():
            if position < len(rows):
                time.sleep(PAUSE)
                times[name].append(contestants[name].seconds())
    for contestant in contestants.values():
        contestant.close()
    print("\nlasso                       setting   milliseconds   mean gap   largest gap   objective")
    for name, rows in found.items():
        for (setting, row), value in zip(rows.items(), np.reshape(times[name], (args.rounds, -1)).T, strict=True):
            row["seconds"] = np.median(value)
            print(
                f"{names[name]:26s} {setting:>8s} {1e3 * row['seconds']:14.1f} {row['mean']:10.1e} "
                f"{row['largest']:13.1e} {row['objective']:11.6f}",
                flush=True,
            )
    if args.plot:
        plot({names[name]: rows for name, rows in found.items()}, args.plot)
    lines = []
    for size in ("mean", "largest"):
        chosen = {names[name]: rows[first_setting(rows, size)]["seconds"] for name, rows in found.items()}
        ours = chosen.pop("sfa_jax fista")
        best = min(chosen, key=chosen.get)
        estimator = min((name for name in chosen if "Lasso" in name), key=chosen.get)
        lines.append(
            f"lasso, {size} gap at most {GAP}: {chosen[estimator] / ours:.2f} x against {estimator}, "
            f"{chosen[best] / ours:.2f} x against {best}, the fastest of {len(chosen)} forms at the coarsest tol that "
            "reaches the gap"
        )
    return lines


def first_setting(rows, size):
    """Return the coarsest setting at which the mean or the largest gap is small enough."""
    return next(setting for setting, row in rows.items() if row[size] <= GAP)


def plot(curves, path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib import ticker

    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    colors = "#0072B2", "#D55E00", "#E69F00", "#CC79A7", "#009E73", "#56B4E9"
    for (name, rows), color, marker in zip(curves.items(), colors, "osD^vP", strict=True):
        for size, style, face in (("mean", "-", color), ("largest", ":", "white")):
            x, y = ([row[key] for row in rows.values()] for key in ("seconds", size))
            style = style if len(x) > 2 else ""  # two settings are no curve
            axes.loglog(x, y, marker + style, color=color, mfc=face, ms=5, lw=1.2, label=f"{name}: {size} gap")
    axes.axhline(GAP, color="0.6", lw=0.8, zorder=0)
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    axes.set(xlabel="seconds", ylabel="duality gap / half the squared norm of the signal")
    title = f"Lasso codes of {N_SIGNALS:,} signals, {N_FEATURES} features, {N_ATOMS} atoms, alpha = {ALPHA}"
    axes.set_title(f"{title}\n{machine()}", fontsize=10)
    axes.legend(fontsize=7)
    figure.savefig(path, dpi=150)


def machine():
    """What computes, for a title."""
    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), name)
    return f"{name}, {os.cpu_count()} cores"


def compare_dictionary(args, folder):
    patches = sides.make_patches()
    np.savez(folder / "patches.npz", **patches)
    ours, *theirs = f"learn,{PASSES[-1]}", f"minibatch,{PASSES[-1]},cd,1", f"minibatch,{PASSES[-1]},cd,2"
    turns = {ours: args.rounds} | dict.fromkeys(theirs, N_FITS) | {"minibatch,1,lars,1": 1}
    contestants = start(turns, folder)
    elapsed, dictionaries = {name: [] for name in contestants}, {}
    for number in range(args.rounds):
        for name, contestant in contestants.items():
            if number < turns[name]:
                time.sleep(PAUSE)
                contestant.seconds()
                found = np.load(folder / f"{name}.npz")
                elapsed[name].append(found["seconds"])
                dictionaries[name] = found["dictionaries"]
    for contestant in contestants.values():
        contestant.close()
    print("\ndictionary            pass   seconds   objective of others   not 0")
    print(f"first atoms              0         -{'':10s}{score(patches['first'], patches['held_out'])[0]:12.4f}")
    reached, lines = {name: [] for name in contestants}, []
    for name, values in elapsed.items():
        for value, dictionary in zip(np.median(values, axis=0), dictionaries[name], strict=True):
            objective, share = score(dictionary, patches["held_out"])
            reached[name].append((value, objective))
            print(f"{name:20s} {len(reached[name]):5d} {value:9.2f} {objective:21.4f} {share:7.1%}", flush=True)
    best = min(theirs, key=lambda name: reached[name][-1][0])
    for number in PASSES:
        there, goal = reached[best][number - 1]
        same = reached[ours][number - 1][1] / goal - 1
        if not same <= WORSE:
            raise SystemExit(f"the objective is {same:.1%} above scikit-learn's after {number}: no speed comparison.")
        here = next((value for value, objective in reached[ours] if objective <= goal), np.inf)
        lines.append(
            f"dictionary, objective of pass {number} of {best}, the fastest of {len(theirs)} forms: "
            f"{there / here:.1f} x ({here:.2f} s for {there:.2f}; at equal passes the objective is {same:+.2%})"
        )
    return lines


def score(dictionary, held_out):
    """The mean objective of codes, and the share of them that is not 0."""
    import jax

    from sfa_jax import sparse

    codes = jax.jit(functools.partial(sparse.fista, alpha=PATCH_ALPHA, tol=1e-5))(dictionary, held_out).codes
    return np.mean(objectives(codes, dictionary, held_out, PATCH_ALPHA)[0]), np.mean(np.asarray(codes) != 0)


def compare_memory():
    """A process for each; its peak is at least that of this one on Linux, so this one stays small."""
    print(f"MB at peak, {MEMORY_SIGNALS} signals, {N_FEATURES} features, {N_ATOMS} atoms    before   after   seconds")
    found = []
    for name in MEASURED:
        contestant = start([f"memory,{name}"], ".")[f"memory,{name}"]
        contestant.close()
        before, after, elapsed = json.loads(contestant.result)
        print(f"{name:57s} {before:8.0f} {after:7.0f} {elapsed:9.1f}", flush=True)
        found.append(after)
    if not max(found) < MEMORY_LIMIT:
        raise SystemExit(f"more than {MEMORY_LIMIT} MB.")


PARTS = {"omp": compare_omp, "lasso": compare_lasso, "dictionary": compare_dictionary}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--plot", type=Path, help="a PNG of the gap of lasso codes against time")
    parser.add_argument("--memory", action="store_true", help="peaks of memory, nothing else")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        return serve_one(args.serve, args.folder)
    if args.memory:
        return compare_memory()
    for library in ("OPENBLAS", "MKL"):  # those of the contestants; XLA has threads of its own
        os.environ[f"{library}_NUM_THREADS"] = "1"
    print(machine())
    print(PEERS)
    with tempfile.TemporaryDirectory() as folder:
        lines = [line for part in args.parts for line in PARTS[part](args, Path(folder))]
    print("\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
