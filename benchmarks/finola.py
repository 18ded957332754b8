"""Speed of FINOLA on CPU, forward and gradient: this library beside the same recurrence in PyTorch, and its products.

    python benchmarks/finola.py [--cases 4,256,32,1 ...] [--rounds 9]
    python benchmarks/finola.py --memory

A case is (batch, C, N, M): M paths of C channels each grow a map of N x N cells, both orders averaged, separate
matrices in all four directions, float32; the gradient of a weighted sum of the map is taken in the matrices and in q.
Before the clock starts the maps and the gradients of all are compared with those of a plain loop in float64. Each
contestant lives in a process of its own, warmed up (so that compilation is not counted; it is printed beside), and they
take turns, the others asleep; medians are printed.

  ours      `jax.jit(jax.value_and_grad(...))` of `finola.multipath`
  lockstep  PyTorch, eager: both orders and both directions in one `baddbmm` a step, `layer_norm` for the norm
  loop      PyTorch, eager: order after order, direction after direction, one `addmm` a step
  products  nothing but the matrix products that map and gradient cannot do without, of their own shapes, in jax or in
            PyTorch, whichever is faster: the ceiling

`--memory` trains a map of 256 x 256 cells at C = 256 with rematerialisation, and prints time and peak memory.
"""

import argparse
import json
import math
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks._contestants import Contestant, medians, serve

CASES = ("4,256,32,1", "2,512,32,4", "1,1024,64,1", "16,128,16,4")
N_THREADS = 2
N_CALLS = 5  # a turn, one after the other, as in training
EPSILON = 1e-6
TOLERANCE = 2e-3  # of a map and of gradients in float32, relative to their lengths


def make_inputs(case):
    """Matrices `[4, C, C]` (right, left, down, up), q `[batch, M, C]`, and the weight of each number of the map."""
    batch, channels, side, n_paths = map(int, case.split(","))
    rng = np.random.default_rng(0)
    matrices = 0.2 / math.sqrt(channels) * rng.standard_normal((4, channels, channels))
    q = rng.standard_normal((batch, n_paths, channels))
    weight = rng.standard_normal((batch, side, side, channels)) / math.sqrt(channels)
    return [x.astype(np.float32) for x in (matrices, q, weight)]


def flops(case):
    """Additions and multiplications of the products: forward, and twice as many for the gradient."""
    batch, channels, side, n_paths = map(int, case.split(","))
    steps_of_a_row = 2 * (side - 1) * (side + 1)  # both orders: a line, and all lines across it
    return 3 * 2 * channels**2 * batch * n_paths * steps_of_a_row


# --- Contestants: each gives a call that returns the map's weighted sum and the gradients of matrices and q -----------


def ours(matrices, q, weight):
    import jax
    import jax.numpy as jnp

    from sfa_jax import finola

    def total(matrices, q, weight):
        right, left, down, up = matrices
        params = finola.FinolaParams(a=right, b=down, a_minus=left, b_minus=up)
        return jnp.sum(weight * finola.multipath(params, q, *weight.shape[1:3]))

    run = jax.jit(jax.value_and_grad(total, (0, 1)))
    matrices, q, weight = map(jnp.asarray, (matrices, q, weight))
    return lambda: jax.block_until_ready(run(matrices, q, weight))


def lockstep(matrices, q, weight):
    import torch
    from torch.nn.functional import layer_norm

    side, channels = weight.shape[1], q.shape[-1]
    n_after, n_before = side - 1 - side // 2, side // 2

    def march(rows, matrices):
        """Every step of rows `[4, n, C]`: `[steps + 1, 4, n, C]`."""
        z, seen = rows, [rows]
        for _ in range(n_before):
            z = torch.baddbmm(z, layer_norm(z, (channels,), eps=EPSILON), matrices)
            seen.append(z)
        return torch.stack(seen)

    def join(z, forward, backward):
        return torch.cat([z[1:, backward].flip(0), z[: n_after + 1, forward]])

    def total(matrices, q, weight):
        transposed, flat = matrices.transpose(1, 2), q.flatten(0, 1)
        z = march(flat.expand(4, *flat.shape), transposed)
        row, column = join(z, 0, 1).flatten(0, 1), join(z, 2, 3).flatten(0, 1)  # [side * batch * paths, C]
        z = march(torch.stack([row, row, column, column]), transposed[[2, 3, 0, 1]])
        across = [join(z, k, k + 1).unflatten(1, (side, *q.shape[:2])).sum(3) for k in (0, 2)]
        z = across[0].permute(2, 0, 1, 3) + across[1].permute(2, 1, 0, 3)
        return (weight * (0.5 * z)).sum()

    return _torch_call(total, matrices, q, weight)


def loop(matrices, q, weight):
    import torch
    from torch.nn.functional import layer_norm

    side, channels = weight.shape[1], q.shape[-1]
    n_after, n_before = side - 1 - side // 2, side // 2

    def march(z, matrix, n_steps):
        seen = [z]
        for _ in range(n_steps):
            z = torch.addmm(z, layer_norm(z, (channels,), eps=EPSILON), matrix)
            seen.append(z)
        return seen

    def line(z, forward, backward):
        return torch.stack(march(z, backward, n_before)[:0:-1] + march(z, forward, n_after))

    def total(matrices, q, weight):
        right, left, down, up = matrices.transpose(1, 2)
        flat = q.flatten(0, 1)
        row, column = line(flat, right, left).flatten(0, 1), line(flat, down, up).flatten(0, 1)
        across = [
            line(z, *pair).unflatten(1, (side, *q.shape[:2])).sum(3)
            for z, pair in ((row, (down, up)), (column, (right, left)))
        ]
        z = across[0].permute(2, 0, 1, 3) + across[1].permute(2, 1, 0, 3)
        return (weight * (0.5 * z)).sum()

    return _torch_call(total, matrices, q, weight)


def products_jax(matrices, q, weight):
    import jax
    import jax.numpy as jnp

    matrices = jnp.asarray(rotations(matrices))

    def chain(rows, n_steps):
        """Forward products, and those that carry the gradient back: each needs the last one's result."""

        def step(z, _):
            return tuple(map(jnp.matmul, z, matrices)), None

        return jax.lax.scan(step, rows, None, length=2 * n_steps)[0]

    def run(rows, seen):
        return [chain(tuple(x), q_steps(weight)) for x in rows], [[x.T @ x for x in lanes] for lanes in seen]

    run, shapes = jax.jit(run), row_shapes(q, weight)
    rows, seen = ([jnp.ones(shape, jnp.float32) for shape in x] for x in shapes)
    return lambda: jax.block_until_ready(run(rows, seen))


def products_torch(matrices, q, weight):
    import torch

    torch.set_num_threads(N_THREADS)
    matrices = torch.from_numpy(rotations(matrices))
    rows, seen = ([torch.ones(shape) for shape in x] for x in row_shapes(q, weight))

    def call():
        with torch.no_grad():
            for z in rows:
                for _ in range(2 * q_steps(weight)):
                    z = torch.bmm(z, matrices)
            return [torch.bmm(x.transpose(1, 2), x) for x in seen]

    return call


def rotations(matrices):
    """Matrices of the same shapes that keep lengths: products of products neither vanish nor overflow."""
    return np.stack([np.linalg.qr(matrix)[0] for matrix in matrices])


def q_steps(weight):
    """Steps that the lines take: as many as there are cells before the middle."""
    return weight.shape[1] // 2


def row_shapes(q, weight):
    """What is multiplied with the four matrices in a step of either line phase; and all rows of it, for a gradient."""
    n, channels = q.shape[0] * q.shape[1], q.shape[2]
    phases = [n, n * weight.shape[1]]
    return [(4, x, channels) for x in phases], [(4, q_steps(weight) * x, channels) for x in phases]


def _torch_call(total, *arrays):
    import torch

    torch.set_num_threads(N_THREADS)
    matrices, q, weight = (torch.from_numpy(x) for x in arrays)
    matrices.requires_grad_()
    q.requires_grad_()

    def call():
        value = total(matrices, q, weight)
        return value.detach(), torch.autograd.grad(value, (matrices, q))

    return call


CONTESTANTS = {function.__name__: function for function in (ours, lockstep, loop, products_jax, products_torch)}


def serve_one(name, case, reference):
    call = CONTESTANTS[name](*make_inputs(case))
    start = time.perf_counter()
    found = call()
    result = {"first": time.perf_counter() - start}
    if reference:
        value, gradients = found
        expected = np.load(reference)
        for key, array in zip(("value", "matrices", "q"), (value, *gradients), strict=True):
            difference = np.linalg.norm(np.asarray(array, np.float64) - expected[key])
            result[key] = float(difference / np.linalg.norm(expected[key]))
    serve(lambda: [call() for _ in range(N_CALLS)], json.dumps(result))


# --- Comparison -------------------------------------------------------------------------------------------------------


def write_reference(case, path):
    """The map's weighted sum and the gradients, by `loop` in float64."""
    value, (matrices, q) = loop(*(x.astype(np.float64) for x in make_inputs(case)))()
    np.savez(path, value=value.numpy(), matrices=matrices.numpy(), q=q.numpy())


def compare(case, args):
    """Prints a row; returns the ratios of PyTorch's lock step and of the ceiling to ours."""
    contestants = {}
    with tempfile.TemporaryDirectory() as folder:
        reference = Path(folder) / "reference.npz"
        write_reference(case, reference)
        for name in CONTESTANTS:
            command = [sys.executable, __file__, "--serve", name, "--cases", case]
            command += [] if name.startswith("products") else ["--reference", str(reference)]
            contestants[name] = Contestant(command)
    found = {name: json.loads(contestant.result) for name, contestant in contestants.items()}
    worst = max(value for result in found.values() for key, value in result.items() if key != "first")
    if not worst < TOLERANCE:
        raise SystemExit(f"{case}: the results differ by {worst:.1e} (relative): no speed comparison.")
    median = {name: value / N_CALLS for name, value in medians(contestants, args.rounds).items()}
    ceiling = min(median["products_jax"], median["products_torch"])
    row = [1e3 * median[name] for name in ("ours", "lockstep", "loop", "products_jax", "products_torch")]
    print(
        f"{case:>12s} {' '.join(f'{x:9.1f}' for x in row)}   {median['lockstep'] / median['ours']:5.2f}"
        f"   {median['loop'] / median['ours']:5.2f}   {ceiling / median['ours']:5.0%}"
        f"   {1e-9 * flops(case) / median['ours']:6.0f}   {found['ours']['first']:7.1f}   {worst:.0e}",
        flush=True,
    )
    return median["lockstep"] / median["ours"], median["loop"] / median["ours"]


def memory(side=256, channels=256, steps=3):
    """Steps of gradient descent on a large map with rematerialisation, its time and the peak memory of this process."""
    import jax
    import jax.numpy as jnp

    from sfa_jax import finola

    def loss(params, q, target):
        z = finola.autoregress(params, q, side, side, rematerialise=True)
        return jnp.mean(jnp.square(z - target))

    @jax.jit
    def step(params, q, target):
        value, gradient = jax.value_and_grad(loss)(params, q, target)
        return value, jax.tree.map(lambda x, dx: x - 1e-5 * dx, params, gradient)

    params = finola.init_params(jax.random.key(0), channels)
    q, target = jax.random.normal(jax.random.key(1), (1, channels)), jnp.zeros((1, side, side, channels))
    before = peak_megabytes()
    for number in range(steps):
        start = time.perf_counter()
        value, params = jax.block_until_ready(step(params, q, target))
        print(
            f"{side} x {side}, C = {channels}, rematerialised: step {number}, loss {value:.4f}, "
            f"{time.perf_counter() - start:.1f} s, peak {peak_megabytes():.0f} MB ({before:.0f} MB before it; the map "
            f"has {target.nbytes / 2**20:.0f})",
            flush=True,
        )


def peak_megabytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", default=CASES, help="batch,C,N,M; N even")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--memory", action="store_true", help="a map of 256 x 256 cells, nothing else")
    parser.add_argument("--serve", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--reference", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        return serve_one(args.serve, args.cases[0], args.reference)
    if args.memory:
        return memory()
    print("peer: PyTorch, eager, in two forms, both timed here in turns, a ratio to each; torch.compile is not timed")
    print("milliseconds      ours  lockstep      loop prod. jax prod. torch  lockstep/ours  loop/ours ...")
    ratios = np.array([compare(case, args) for case in args.cases])
    means = np.exp(np.mean(np.log(ratios), axis=0))
    print(f"geometric means: lockstep {means[0]:.2f} x, loop {means[1]:.2f} x; least {ratios.min(axis=0).round(2)}")


if __name__ == "__main__":
    main()
