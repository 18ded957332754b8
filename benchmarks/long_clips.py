"""Memory and time of a training step on one long clip, with and without rematerialisation.

    python benchmarks/long_clips.py [--frames 4096] [--remat-frames 64] [--rounds 5]

The step is the driver's: the network and the whitened objective of `configs/sfa.py` on frames of 32 x 32 pixels, Adam,
one step a dispatch, the state donated. Before the clock starts the gradients of both ways on 256 frames are compared.
Each contestant lives in a process of its own, warmed up, and they take turns, the others asleep; medians are printed.

  kept       what lives from forward to backward: all arrays of the function that `jax.vjp` of the loss returns, each
             once, without the parameters
  peak       by XLA's `memory_analysis`: temporary, output and argument buffers, aliased ones once. Frames, parameters,
             both moments of Adam and the gradient are in it
  resident   growth of the process's resident memory, from before the clip and the state exist to the peak during the
             first step on such a clip (after one on a short clip, which starts the threads). On Linux alone
"""

import argparse
import ctypes
import functools
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks._contestants import Contestant, medians, serve

SIZE, CHECKED_FRAMES, WARM_FRAMES = 32, 256, 256
RECURRENCES = ("none", "full")
TOLERANCE = 1e-5


def make_config(recurrence, remat_frames):
    from configs import sfa

    config = sfa.get_config()
    config.network.recurrence, config.network.remat_frames = recurrence, remat_frames
    return config


class Step:
    """The driver's program for a config and clips of `n_frames` frames, not yet compiled.

    Attributes:
      network, loss: the loss is a function of (parameters, state, batch).
    """

    def __init__(self, config, n_frames, size=SIZE):
        from sfa_jax import training
        from sfa_jax.training._model import make_network
        from sfa_jax.training._steps import make_update

        self.network = make_network(config.network)
        self._objective = training.make_objective(config.objective, config.network.dim)
        self._optimizer = training.make_optimizer(config.train, 100)
        self._update = make_update(training.make_train_step(self.network, self._objective, self._optimizer))
        self._shape = (1, n_frames, size, size, 3)

    def inputs(self):
        """(state, stacked batches of one step)."""
        import jax
        import jax.numpy as jnp

        from sfa_jax import training
        from sfa_jax.data import Batch

        state = training.init_state(jax.random.key(0), self.network, self._optimizer, self._shape[2:], 1)
        frames = jax.random.bits(jax.random.key(1), (1, *self._shape), jnp.uint8)
        reset = jnp.zeros(frames.shape[:3], bool).at[..., 0].set(True)
        return state, Batch(frames, jnp.ones_like(reset), reset, jnp.zeros(frames.shape[:2], jnp.int32))

    def compiled(self):
        import jax

        state, batches = jax.eval_shape(self.inputs)
        return jax.jit(self._update, donate_argnums=0).lower(state, None, batches).compile()

    def loss(self, params, state, batch):
        variables = {"params": params, "batch_stats": state.batch_stats}
        y, _, _ = self.network.apply(
            variables, batch.frames, state.carry, valid=batch.valid, reset=batch.reset, train=True
        )
        return self._objective(y, batch.valid, batch.reset)[0]

    def kept_bytes(self):
        """Bytes of all arrays that the gradient needs of the forward pass, each once, without the parameters."""
        import jax
        from jax.extend.core import Var

        def backward(params, state, batches):
            batch = jax.tree.map(lambda x: x[0], batches)
            return jax.vjp(functools.partial(self.loss, state=state, batch=batch), params)[1]

        state, batches = jax.eval_shape(self.inputs)
        jaxpr = jax.make_jaxpr(backward)(state.params, state, batches).jaxpr
        params = jaxpr.invars[: len(jax.tree.leaves(state.params))]
        kept = {var for var in jaxpr.outvars if isinstance(var, Var)} - set(params)
        return sum(var.aval.size * var.aval.dtype.itemsize for var in kept)


def peak_bytes(compiled):
    """Peak of a compiled program by XLA's account."""
    found = compiled.memory_analysis()
    return (
        found.temp_size_in_bytes + found.output_size_in_bytes + found.argument_size_in_bytes - found.alias_size_in_bytes
    )


def resident_growth(inputs, compiled):
    """Bytes from the resident memory before there are inputs to its peak during a step; None but on Linux."""
    import jax

    if sys.platform != "linux":
        return None
    trim = ctypes.CDLL(None).malloc_trim  # what the compiler has left is no memory to build in unseen
    trim(0)
    before = _status_bytes("VmRSS")
    arguments = jax.block_until_ready(_arguments(inputs()))
    trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
    jax.block_until_ready(compiled(*arguments))
    # Not `ru_maxrss`, which a new process begins with its parent's.
    return _status_bytes("VmHWM") - before


def _status_bytes(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name))


def _arguments(inputs):
    state, batches = inputs
    return state, None, batches


def serve_one(recurrence, remat_frames, n_frames):
    import jax

    config = make_config(recurrence, remat_frames)
    warm, step = Step(config, WARM_FRAMES), Step(config, n_frames)
    jax.block_until_ready(warm.compiled()(*_arguments(jax.jit(warm.inputs)())))
    compiled, inputs = step.compiled(), jax.jit(step.inputs).lower().compile()
    result = {"kept": step.kept_bytes(), "peak": peak_bytes(compiled), "resident": resident_growth(inputs, compiled)}
    state, batches = inputs()

    def call():
        nonlocal state
        state, _ = jax.block_until_ready(compiled(state, None, batches))

    call()
    serve(call, json.dumps(result))


def gradient_difference(recurrence, remat_frames):
    """Relative difference of the gradient in all parameters on 256 frames between both ways, in float64.

    In float32 a rounding error now and then moves an activation over the kink of a ReLU, in either way.
    """
    import jax
    import optax

    with jax.enable_x64(True):
        steps = [Step(make_config(recurrence, n), CHECKED_FRAMES) for n in (remat_frames, 0)]
        state, batches = jax.jit(steps[0].inputs)()
        batch = jax.tree.map(lambda x: x[0], batches)
        ours, theirs = (jax.jit(jax.grad(step.loss))(state.params, state, batch) for step in steps)
        return float(optax.tree.norm(optax.tree.sub(ours, theirs)) / optax.tree.norm(theirs))


def compare(recurrence, args):
    difference = gradient_difference(recurrence, args.remat_frames)
    if not difference < TOLERANCE:
        raise SystemExit(f"{recurrence}: the gradients differ by {difference:.1e} (relative): no comparison.")
    contestants = {}
    for remat_frames in (0, args.remat_frames):
        command = [sys.executable, __file__, "--serve", recurrence, str(remat_frames), "--frames", str(args.frames)]
        contestants[remat_frames] = Contestant(command)
    found = {name: json.loads(contestant.result) for name, contestant in contestants.items()}
    for remat_frames, seconds in medians(contestants, args.rounds).items():
        kept, peak, resident = (found[remat_frames][name] for name in ("kept", "peak", "resident"))
        grown = f"{resident / 1e6:8.0f} {resident / kept:6.2f}" if resident else "       -      -"
        print(
            f"{recurrence:10s} {remat_frames or 'keep all':>12} {kept / 1e6:6.0f} {peak / 1e6:6.0f} {peak / kept:6.2f} "
            f"{grown} {seconds:9.2f}   {difference:.0e}",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=4096)
    parser.add_argument("--remat-frames", type=int, default=64)
    parser.add_argument("--recurrences", nargs="+", choices=(*RECURRENCES, "detached"), default=RECURRENCES)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        return serve_one(args.serve[0], int(args.serve[1]), args.frames)
    print("no peer: the same step with and without rematerialization, otherwise at the settings of configs/sfa.py")
    print(f"one clip of {args.frames} frames of {SIZE} x {SIZE}; MB = 1e6 bytes")
    print("recurrence remat_frames   kept   peak  /kept resident  /kept    s/step   difference of gradients")
    for recurrence in args.recurrences:
        compare(recurrence, args)


if __name__ == "__main__":
    main()
