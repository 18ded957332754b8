"""Training speed of the neural SFA network on CPU: this library beside PyTorch.

    python benchmarks/neural_sfa.py [--cases pairs32 pairs128 clips4x64] [--rounds 9] [--steps 10]

Network: three blocks of 3x3 stride-2 convolution, batch normalisation, ReLU (32, 64, 128 channels), global mean, a
recurrent head [h_t, y_{t-1}] -> 256 -> ReLU -> 32; slowness + variance + correlation loss; Adam. Both sides get the
same 64x64 uint8 frames and turn them into float within the step. Before the clock starts, loss and gradients of both
are compared for the same parameters. Rounds alternate between the contestants; medians are printed.

Ours takes its `--steps` steps a call in one `lax.scan` with donated state, as the library's training loop does. PyTorch
runs step by step. Each contestant lives in a process of its own, as it does for whoever trains with it; they take
turns, the others asleep. What the allocator of a process has seen before matters: PyTorch's large tensors are
page-faulted in anew at every step until the heap has grown past them. `--one-process` puts all contestants into one
process, whose heap the others keep large for PyTorch; `--keep-heap` tells glibc to keep freed memory, for all.
"""

import argparse
import ctypes
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks._contestants import Contestant, medians, seconds, serve

CASES = {"pairs32": (32, 2), "pairs128": (128, 2), "clips4x64": (4, 64)}
CHANNELS = (3, 32, 64, 128)
HIDDEN, DIM, SIZE, LEARNING_RATE = 256, 32, 64, 1e-3
N_THREADS = 2

# --- Ours -------------------------------------------------------------------------------------------------------------


def init_parameters(seed=0):
    """Parameters as the library nests them, NumPy arrays uniform in +-1/sqrt(fan_in)."""
    import numpy as np

    rng = np.random.default_rng(seed)

    def uniform(shape, fan_in):
        return (rng.uniform(-1, 1, shape) / fan_in**0.5).astype(np.float32)

    blocks = {
        f"block_{i}": {
            "kernel": uniform((3, 3, c_in, c_out), 9 * c_in),
            "scale": np.ones(c_out, np.float32),
            "bias": np.zeros(c_out, np.float32),
        }
        for i, (c_in, c_out) in enumerate(itertools.pairwise(CHANNELS))
    }
    fan_in = CHANNELS[-1] + DIM
    head = {
        "hidden": {"kernel": uniform((CHANNELS[-1], HIDDEN), fan_in), "bias": uniform((HIDDEN,), fan_in)},
        "memory": {"kernel": uniform((DIM, HIDDEN), fan_in)},
        "output": {"kernel": uniform((HIDDEN, DIM), HIDDEN), "bias": uniform((DIM,), HIDDEN)},
    }
    return {"encoder": blocks, "head": head}


def seed_network(batch, time_):
    """The network, objective and valid/reset marks of `configs/sfa_gen.py`, and its config."""
    import numpy as np

    from configs import sfa_gen
    from sfa_jax import training
    from sfa_jax.nets import SlowNetwork

    config = sfa_gen.get_config()
    reset = np.zeros((batch, time_), bool)
    reset[:, 0] = True
    return SlowNetwork(), training.make_objective(config.objective, DIM), np.ones_like(reset), reset, config


def jax_loss(params, frames):
    """The seed's loss of frames `[batch, time, height, width, 3]` uint8."""
    network, objective, valid, reset, _ = seed_network(*frames.shape[:2])
    y, _, _ = network.apply(
        {"params": params, "batch_stats": batch_stats()}, frames, network.init_carry(len(frames)), valid=valid,
        reset=reset, train=True,
    )  # fmt: skip
    return objective(y, valid, reset)[0]


def batch_stats():
    import jax.numpy as jnp

    return {f"block_{i}": {"mean": jnp.zeros(c), "var": jnp.ones(c)} for i, c in enumerate(CHANNELS[1:])}


def make_jax_trainer(frames, n_steps):
    """`(run, state)`: `state, losses = run(state)` takes `n_steps` steps of the library on device-resident frames."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from sfa_jax import training
    from sfa_jax.data import Batch

    batch, time_ = frames.shape[:2]
    network, objective, valid, reset, config = seed_network(batch, time_)
    optimizer = training.make_optimizer(config.train, n_steps)
    init = jax.jit(lambda key: training.init_state(key, network, optimizer, (SIZE, SIZE, 3), batch))
    state = init(jax.random.key(0))._replace(params=jax.tree.map(jnp.asarray, init_parameters()))
    step = training.make_train_step(network, objective, optimizer)
    update = jax.jit(training.make_update(step), donate_argnums=0)
    numbers = np.arange(batch * time_, dtype=np.int32).reshape(batch, time_)
    one = Batch(numbers, valid, reset, np.zeros(batch, np.int32))
    batches = jax.tree.map(lambda field: jnp.asarray(np.broadcast_to(field, (n_steps, *field.shape))), one)
    resident = jnp.asarray(frames.reshape(-1, *frames.shape[2:]))

    def run(state):
        state, metrics = update(state, resident, batches)
        return state, metrics["loss"]

    return run, state


# --- PyTorch ----------------------------------------------------------------------------------------------------------


def make_torch_model(channels_last=False):
    import torch
    from torch import nn

    class NeuralSFA(nn.Module):
        def __init__(self):
            super().__init__()
            layers = []
            for c_in, c_out in itertools.pairwise(CHANNELS):
                layers += [nn.Conv2d(c_in, c_out, 3, 2, 1, bias=False), nn.BatchNorm2d(c_out), nn.ReLU(inplace=True)]
            self.encoder = nn.Sequential(*layers)
            self.head = nn.Sequential(nn.Linear(CHANNELS[-1] + DIM, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, DIM))

        def forward(self, frames):
            batch, time_ = frames.shape[:2]
            features = self.encoder(frames.flatten(0, 1)).mean((2, 3)).unflatten(0, (batch, time_))
            y, codes = features.new_zeros(batch, DIM), []
            for t in range(time_):
                y = self.head(torch.cat([features[:, t], y], dim=1))
                codes.append(y)
            return torch.stack(codes, dim=1)

    model = NeuralSFA()
    params = init_parameters()
    with torch.no_grad():
        for target, source in zip(torch_leaves(model), jax_leaves(params), strict=True):
            target.copy_(torch.from_numpy(source))
    return model.to(memory_format=torch.channels_last) if channels_last else model


def torch_leaves(model, of=lambda parameter: parameter):
    """The parameters (or what `of` makes of them) in the order and layout of `jax_leaves`."""
    leaves = []
    for i in range(len(CHANNELS) - 1):
        conv, norm = model.encoder[3 * i], model.encoder[3 * i + 1]
        leaves += [of(conv.weight).permute(2, 3, 1, 0), of(norm.weight), of(norm.bias)]
    for layer in (model.head[0], model.head[2]):
        leaves += [of(layer.weight).T, of(layer.bias)]
    return leaves


def jax_leaves(params):
    """Kernel, scale and bias of each block, then kernel and bias of both layers of the head."""
    import numpy as np

    leaves = [params["encoder"][block][name] for block in params["encoder"] for name in ("kernel", "scale", "bias")]
    head = params["head"]
    kernel = np.concatenate([head["hidden"]["kernel"], head["memory"]["kernel"]])
    return [*leaves, kernel, head["hidden"]["bias"], head["output"]["kernel"], head["output"]["bias"]]


def torch_loss(model, frames):
    import torch

    y = model(frames.to(model.head[0].weight.dtype) / 255)
    slowness = (y[:, 1:] - y[:, :-1]).square().sum(-1).mean()
    centred = y[:, 1:].flatten(0, 1)  # the covariance is that of y_t
    centred = centred - centred.mean(0)
    covariance = centred.T @ centred / len(centred)
    variance = (torch.diagonal(covariance) - 1).square().mean()
    return slowness + variance + (covariance * (1 - torch.eye(DIM))).square().mean()


def make_torch_trainer(frames, channels_last=False, compiled=False):
    import torch

    model = make_torch_model(channels_last)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    frames = torch.from_numpy(frames).permute(0, 1, 4, 2, 3)
    if not channels_last:
        frames = frames.contiguous()
    loss_fn = torch.compile(torch_loss) if compiled else torch_loss

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = loss_fn(model, frames)
        loss.backward()
        optimizer.step()
        return loss

    return step


# --- Comparison -------------------------------------------------------------------------------------------------------


def random_frames(batch, time_):
    import numpy as np

    return np.random.default_rng(1).integers(0, 256, (batch, time_, SIZE, SIZE, 3), dtype=np.uint8)


def check_same_computation(frames, tolerance=1e-8):
    """Raises unless both sides have the same loss and gradients; returns the largest relative difference.

    In float64: in float32 a rounding error now and then moves an activation over the kink of a ReLU, and on noise
    frames one such activation among a million is worth 1e-3 of a gradient.
    """
    import jax
    import numpy as np
    import torch

    with jax.enable_x64(True):
        params = jax.tree.map(lambda array: array.astype(np.float64), init_parameters())
        loss, grads = jax.jit(jax.value_and_grad(jax_loss))(params, frames)
    model = make_torch_model().double()
    reference = torch_loss(model, torch.from_numpy(frames).permute(0, 1, 4, 2, 3))
    reference.backward()
    theirs = torch_leaves(model, lambda parameter: parameter.grad)
    pairs = [(loss, reference.detach()), *zip(jax_leaves(grads), theirs, strict=True)]
    worst = 0.0
    for ours, theirs in pairs:
        ours, theirs = np.asarray(ours), theirs.numpy()
        worst = max(worst, float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)))
    if not worst < tolerance:
        raise SystemExit(f"The two networks differ by {worst:.1e} (relative): no speed comparison.")
    return worst


def flops_per_frame():
    """Multiplications and additions of one training step, a frame: forward, kernel and input gradients."""
    total, side = 0, SIZE
    for i, (c_in, c_out) in enumerate(itertools.pairwise(CHANNELS)):
        side //= 2
        total += (2 if i == 0 else 3) * 2 * 9 * c_in * c_out * side**2  # images need no gradient
    return total + 3 * 2 * ((CHANNELS[-1] + DIM) * HIDDEN + HIDDEN * DIM)


def make_contestant(name, case, n_steps):
    """`call()` trains `n_steps` steps of a case and returns when they are done."""
    frames = random_frames(*CASES[case])
    if name == "ours":
        import jax

        run, state = make_jax_trainer(frames, n_steps)

        def call():
            nonlocal state
            state, losses = run(state)
            jax.block_until_ready(losses)

        return call
    import torch

    torch.set_num_threads(N_THREADS)
    compiled = name == "compile"
    step = make_torch_trainer(frames, channels_last=compiled or name == "channels_last", compiled=compiled)
    return lambda: [step() for _ in range(n_steps)]


class Here:
    """A contestant of this process."""

    def __init__(self, call):
        self._call = call

    def seconds(self):
        return seconds(self._call)

    def close(self):
        pass


def start(name, case, args):
    """A contestant, warmed up."""
    if args.one_process:
        call = make_contestant(name, case, args.steps)
        call()
        return Here(call)
    command = [sys.executable, __file__, "--contestant", name, "--cases", case, "--steps", str(args.steps)]
    return Contestant(command + (["--keep-heap"] if args.keep_heap else []))


def compare(case, args):
    difference = check_same_computation(random_frames(*CASES[case]))
    contestants, note = {}, ""
    for name in ("ours", "default", "channels_last", "compile"):
        if name == "compile" and args.no_compile:
            continue
        try:
            contestants[name] = start(name, case, args)
        except Exception as error:
            if name != "compile":  # that one needs a compiler that this machine may not have
                raise
            note = f"   torch.compile: {error}"
    median = {name: value / args.steps for name, value in medians(contestants, args.rounds).items()}
    batch, time_ = CASES[case]
    n_frames = batch * time_
    best = min((name for name in median if name != "ours"), key=median.get)
    cells = [
        f"{n_frames / median[name]:8.0f}" if name in median else "       -"
        for name in ("ours", "default", "channels_last", "compile")
    ]
    gflops = flops_per_frame() * n_frames / median["ours"] / 1e9
    print(
        f"{case:10s} {' '.join(cells)}   {median[best] / median['ours']:5.2f}x {best:13s}   {gflops:5.0f}   "
        f"{difference:.0e}{note}",
        flush=True,
    )
    return gflops


def matmul_gflops(size=2048, repeats=9):
    """Rates of a large float32 matrix product: (jax, torch), GFLOP/s."""
    import jax
    import jax.numpy as jnp
    import torch

    a, product, t = jnp.ones((size, size)), jax.jit(jnp.matmul), torch.ones(size, size)
    rates = []
    for call in (lambda: product(a, a).block_until_ready(), lambda: t @ t):
        call()
        rates.append(2e-9 * size**3 / statistics.median(seconds(call) for _ in range(repeats)))
    return rates


def first_step(case):
    """What the subprocess of `time_to_first_step` runs: build the trainer, take one call, print the compile time."""
    run, state = make_jax_trainer(random_frames(*CASES[case]), 10)
    import jax

    print(f"{seconds(lambda: jax.block_until_ready(run(state))):.2f}")


def time_to_first_step(case):
    with tempfile.TemporaryDirectory() as cache:
        env = os.environ | {
            "JAX_COMPILATION_CACHE_DIR": cache,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }
        for name in ("cold", "warm"):
            command = [sys.executable, __file__, "--first-step", case]
            start = time.perf_counter()
            out = subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout
            total = time.perf_counter() - start
            print(
                f"{case}, {name} cache: {total:.1f} s from process start to the end of the first call of 10 steps, "
                f"of which trace, compile and run {out.strip()} s",
                flush=True,
            )


def keep_heap():
    """Tells glibc to keep freed memory instead of giving it back and faulting it in again at every step."""
    if sys.platform.startswith("linux"):
        mmap_threshold, trim_threshold = -3, -1
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(mmap_threshold, 1 << 30)
        libc.mallopt(trim_threshold, 2**31 - 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=10, help="steps a call")
    parser.add_argument("--no-compile", action="store_true", help="skip torch.compile")
    parser.add_argument("--no-startup", action="store_true", help="skip the time to first step")
    parser.add_argument("--keep-heap", action="store_true", help="glibc keeps freed memory (all contestants)")
    parser.add_argument("--one-process", action="store_true", help="all contestants share one process and its heap")
    parser.add_argument("--first-step", choices=CASES, help=argparse.SUPPRESS)
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.keep_heap:
        keep_heap()
    if args.first_step:
        return first_step(args.first_step)
    if args.contestant:
        call = make_contestant(args.contestant, args.cases[0], args.steps)
        call()
        return serve(call)
    print(
        "peer: PyTorch, eager, channels last, and that compiled, all timed here in turns; the ratio is to the fastest"
    )
    print("frames/s   |     ours  default  ch.last  compile   | ours / best peer    | GFLOP/s | largest difference")
    best = max(compare(case, args) for case in args.cases)
    ours, theirs = matmul_gflops()
    ceiling = max(ours, theirs)
    print(f"matrix product 2048^3: jax {ours:.0f}, torch {theirs:.0f} GFLOP/s; ours reaches {best / ceiling:.0%}")
    if not args.no_startup:
        time_to_first_step(args.cases[0])


if __name__ == "__main__":
    main()
