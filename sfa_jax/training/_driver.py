"""The one driver: resume, steps, metrics, checkpoints, evaluation, whatever the job.

Order of resume: (1) the workdir is locked, (2) the data are loaded and split, (3) the latest checkpoint is restored and
the config compared with its own, (4) metrics after its step are dropped, (5) the clips go on from that
step, which alone decides them, (6) after the last step the run is measured and written, again if it was before.
"""

import functools
import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from sfa_jax._errors import InputError
from sfa_jax.data import Batch, FrameStore
from sfa_jax.training._checkpoints import Checkpoints
from sfa_jax.training._closed_form import ClosedFormJob
from sfa_jax.training._inputs import Inputs, load_inputs
from sfa_jax.training._metrics import MetricsFile, mean_rate
from sfa_jax.training._progress import Progress
from sfa_jax.training._signals import StopSignals
from sfa_jax.training._slow_network import SlowNetworkJob
from sfa_jax.training._steps import Metrics, TrainState, make_update
from sfa_jax.training._workdir import check_config_file, differences, hold_workdir, write_json

_log = logging.getLogger("sfa_jax")

JOBS: dict[str, type[SlowNetworkJob] | type[ClosedFormJob]] = {
    "slow_network": SlowNetworkJob,
    "closed_form_sfa": ClosedFormJob,
}

# What may differ when a finished run is measured again: it changes nothing of what is measured.
_OUTPUT_OPTIONS = ("evaluation.plots", "train.tensorboard", "data.cache_dir")


class Job(Protocol):
    """What the driver asks of a job. Only `update` is pure and runs inside the driver's `jit`."""

    n_steps: int
    summed: tuple[str, ...]  # fields of the config, or the beginning of their names, that must not change within a run

    def init(self) -> TrainState: ...
    def update(self, state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]: ...
    def evaluate(self, state: TrainState, *, final: bool) -> tuple[TrainState, Any, dict[str, float]]: ...
    def finish(
        self,
        state: TrainState,
        measured: Any,
        workdir: Path,
        records: Sequence[Mapping[str, Any]],
        poll: Callable[[], None],
    ) -> dict[str, float]: ...


class DivergedError(RuntimeError):
    """The loss or its gradient is no longer finite; the last good checkpoint is kept."""


def train_and_evaluate(config: Any, workdir: str | Path) -> dict[str, float]:
    """Runs a config to its end, from where the workdir stands.

    Args:
      config: an `ml_collections.ConfigDict` as the files in `configs/` make it.
      workdir: where everything is written; made if it is not there.

    Returns:
      The measures that `summary.json` holds.

    Raises:
      InputError: the config, the data or the workdir cannot be used.
      DivergedError: training met a value that is not finite.
      Stopped: a signal asked for the end; the state is saved.
    """
    workdir = Path(workdir)
    kind = _job_of(config)
    kind.check(config)
    with StopSignals() as signals, hold_workdir(workdir):
        check_config_file(workdir)
        inputs = load_inputs(config)
        job = kind(config, inputs)
        with signals.held(), Checkpoints(workdir / "checkpoints") as checkpoints:
            return _run(job, config, workdir, inputs, checkpoints, signals)


def _job_of(config: Any) -> type[SlowNetworkJob] | type[ClosedFormJob]:
    if config.job not in JOBS:
        raise InputError(f"job: expected one of {tuple(JOBS)}, got {config.job!r}")
    return JOBS[config.job]


def _run(
    job: Job,
    config: Any,
    workdir: Path,
    inputs: Inputs,
    checkpoints: Checkpoints,
    signals: StopSignals,
) -> dict[str, float]:
    store, sampler, n_steps = inputs.store, inputs.sampler, job.n_steps
    mesh = _mesh(sampler.batch_size)
    everywhere, shared = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec(None, "data"))
    resolved = json.loads(config.to_json())
    state = jax.device_put(job.init(), everywhere)
    start, readout_step = checkpoints.latest_step or 0, 0
    if start:
        state, before, data = checkpoints.restore(start, state)
        readout_step = data["readout_step"]
        _log.info("resumed at step %d of %d from %s", start, n_steps, workdir)
        _say_changes(differences(before, resolved), job, workdir, start)
    write_json(workdir / "config.json", resolved)
    signals.check("no step was taken")
    update = jax.jit(make_update(job.update), donate_argnums=0, out_shardings=everywhere)
    frames = jax.device_put(store.all(), everywhere) if store.in_memory else None

    def save(state: TrainState, held_out_loss: float | None) -> None:
        if held_out_loss is not None and not math.isfinite(held_out_loss):
            _log.warning("the held-out loss is %s: the recurrence runs away over a long run", held_out_loss)
            held_out_loss = None  # never the best checkpoint
        data = {"step": int(state.step), "readout_step": readout_step, "frame_shape": list(store.shape)}
        checkpoints.save(state, resolved, data, held_out_loss)

    board = workdir / "tensorboard" if config.train.tensorboard else None
    frames_a_step = sampler.batch_size * config.data.clip_length
    with (
        MetricsFile(
            workdir / "metrics.jsonl", step=start, measured_again=start >= n_steps, tensorboard=board
        ) as metrics,
        Progress(start, n_steps, frames_a_step) as progress,
    ):
        step = start
        while step < n_steps:
            stop = _next_stop(step, n_steps, config.train)
            batches = _stack([sampler.at(k) for k in range(step, stop)], store if frames is None else None)
            state, found = update(state, frames, jax.device_put(batches, shared))
            means = _check_finite(found, step, checkpoints)
            step, stopping = stop, bool(signals.requested)
            metrics.write(step, "train", means | {"frames_per_second": progress.advance(step, means)})
            if step < n_steps and step % config.train.evaluate_every == 0:
                with progress.paused():
                    try:
                        state, _, measured = job.evaluate(state, final=False)
                    except FloatingPointError as error:  # if it is more than a passing state, the loss will tell
                        _log.warning("step %d: %s; not saved", step, error)
                    else:
                        readout_step = step
                        metrics.write(step, "eval", measured)
                        save(state, measured.get("loss"))
            elif step < n_steps and stopping:
                save(state, None)
            if step < n_steps and stopping:
                checkpoints.wait()
                saved = checkpoints.latest_step
                signals.check(f"step {saved} of {n_steps} is saved in {workdir}" if saved else "no step is saved")
        _log.info("measuring the run")
        try:
            state, found_at_end, measured = job.evaluate(state, final=True)
        except FloatingPointError as error:
            raise _diverged(step, str(error), checkpoints) from None
        readout_step = step
        metrics.write(step, "eval", measured)
        save(state, measured.get("loss"))
        checkpoints.wait()
        poll = functools.partial(signals.check, f"all {step} steps are saved in {workdir}, the last measures are not")
        poll()
        summary = job.finish(state, found_at_end, workdir, metrics.records, poll)
        summary["frames_per_second"] = mean_rate(metrics.records, frames_a_step)
    write_json(workdir / "summary.json", summary)
    return summary


def _say_changes(changed: Sequence[str], job: Job, workdir: Path, start: int) -> None:
    """Tells which fields of the config are not those of the run that is resumed.

    Raises:
      InputError: nothing is left to train, so that the run would be measured as what it is not; or what the job has
        summed so far is of other data.
    """
    n_steps = job.n_steps
    matter = [name for name in changed if name not in _OUTPUT_OPTIONS]
    summed = [name for name in matter if name.startswith(job.summed)]
    if start >= n_steps and matter:
        raise InputError(
            f"--workdir={workdir}: the run there has come to step {start} of {n_steps}, with another "
            f"{', '.join(matter)}; give another --workdir, "
            f"{'' if job.summed else 'set --config.train.steps higher to train on, '}or apply the run to other video "
            "with python -m sfa_jax.embed"
        )
    if start and summed:
        raise InputError(
            f"--workdir={workdir}: the run there has come to step {start} of {n_steps} and adds up its frames, so that "
            f"it cannot go on with another {', '.join(summed)}; give another --workdir, or the values of "
            f"{workdir / 'config.json'}"
        )
    for name in matter:
        _log.warning("config: %s differs from the run in %s; the new value is used", name, workdir)


def _next_stop(step: int, n_steps: int, config: Any) -> int:
    """Where the dispatch that starts at `step` ends: at a multiple of its length, or where something is due."""
    due = (step // config.evaluate_every + 1) * config.evaluate_every
    whole = (step // config.steps_per_dispatch + 1) * config.steps_per_dispatch
    return min(whole, due, n_steps)


def _stack(batches: Sequence[Batch], store: FrameStore | None) -> Batch:
    stacked = Batch(*(np.stack(field) for field in zip(*batches, strict=True)))
    return stacked if store is None else stacked._replace(frames=store.gather(stacked.frames))


def _check_finite(found: Metrics, start: int, checkpoints: Checkpoints) -> dict[str, float]:
    values = {name: np.asarray(value, np.float64) for name, value in found.items()}
    told = [name for name in ("loss", "gradient_norm") if name in values]
    bad = np.any([~np.isfinite(values[name]) for name in told], axis=0)
    if bad.any():
        first = [values[name][bad][0] for name in told]
        norm = f" and the norm of its gradient {first[1]:g}" if len(first) > 1 else ""
        said = f"the loss is {first[0]:g}{norm}; expected finite values"
        raise _diverged(start + int(np.argmax(bad)) + 1, said, checkpoints)
    return {name: float(value.mean()) for name, value in values.items()}


def _diverged(step: int, said: str, checkpoints: Checkpoints) -> DivergedError:
    checkpoints.wait()
    kept = checkpoints.latest_step
    return DivergedError(
        f"step {step}: {said}. "
        + (f"The checkpoint of step {kept} is kept. " if kept else "No checkpoint had been written yet. ")
        + "Lower --config.train.learning_rate, or set --config.train.gradient_clip=1"
    )


def _mesh(batch_size: int) -> jax.sharding.Mesh:
    """All local devices, or as many of them as divide a batch evenly."""
    devices = jax.local_devices()
    n = max(n for n in range(1, len(devices) + 1) if batch_size % n == 0)
    if n < len(devices):
        _log.warning(
            "%d of %d devices are used: data.batch_size=%d is not a multiple of more", n, len(devices), batch_size
        )
    return jax.make_mesh((n,), ("data",), axis_types=(jax.sharding.AxisType.Auto,), devices=devices[:n])
