"""The one driver: resume, steps, metrics, checkpoints, evaluation, whatever the job.

Order of resume: (1) the workdir is locked, (2) the data are loaded and split, (3) the latest checkpoint is restored and
the config compared with its own, (4) metrics after its step are dropped, (5) the clips go on from that
step, which alone decides them, (6) after the last step the run is measured, again if it was before; the
measures are written first, pictures last.

Of several processes each loads the data, draws the same batches and trains on its part of them; process 0 alone
measures, and writes all but the checkpoints, which all write together.
"""

import functools
import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from sfa_jax._errors import InputError
from sfa_jax._folders import as_path, write_json
from sfa_jax._fork import check_not_forked
from sfa_jax.data import Batch
from sfa_jax.training._agreement import agree_on_frames, check_same_config
from sfa_jax.training._checkpoints import Checkpoints
from sfa_jax.training._feed import feeding
from sfa_jax.training._finished import Finished, write_finished
from sfa_jax.training._inputs import Inputs, load_inputs
from sfa_jax.training._jobs import job_of
from sfa_jax.training._mesh import Devices, local
from sfa_jax.training._metrics import MetricsFile, mean_rate
from sfa_jax.training._plain_path import plain_path
from sfa_jax.training._pretrained import with_pretrained_network
from sfa_jax.training._processes import Processes
from sfa_jax.training._progress import Progress
from sfa_jax.training._signals import StopSignals, stopped
from sfa_jax.training._steps import Metrics, TrainState, make_update
from sfa_jax.training._workdir import (
    OUTPUT_OPTIONS,
    SAME_RESULT_OPTIONS,
    check_config_file,
    differences,
    hold_together,
)

_log = logging.getLogger("sfa_jax")


class Job(Protocol):
    """What the driver asks of a job. Only `update` is pure and runs inside the driver's `jit`.

    Attributes:
      n_steps: until its end.
      shared_axis: of stacked batches `[steps, batch, time]` that the devices share, 1 or 2.
      fixed: fields of the config, or the beginnings of their names, that must not change within a run: what the
        state means depends on them.
    """

    n_steps: int
    shared_axis: int
    fixed: tuple[str, ...]

    def init(self) -> TrainState: ...
    def update(self, state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]: ...
    def evaluate(self, state: TrainState, *, final: bool) -> tuple[dict[str, np.ndarray], Any, dict[str, float]]: ...
    def finish(
        self,
        state: TrainState,
        measured: Any,
        records: Sequence[Mapping[str, Any]],
        poll: Callable[[], None],
    ) -> Finished: ...


class DivergedError(RuntimeError):
    """The loss or its gradient is no longer finite; the last good checkpoint is kept."""


def train_and_evaluate(
    config: Any, workdir: str | Path, *, report: Callable[[dict[str, float]], None] = lambda summary: None
) -> dict[str, float]:
    """Runs a config to its end, from where the workdir stands.

    In a job of `jax.distributed` every process calls it with the same arguments.

    Args:
      config: an `ml_collections.ConfigDict` as the files in `configs/` make it.
      workdir: where everything is written; made if it is not there.
      report: called with the measures, in process 0, once `summary.json` is written and before pictures are drawn.

    Returns:
      The measures that `summary.json` holds, in every process.

    Raises:
      InputError: the config, the data or the workdir cannot be used, or they are not the same for all processes.
      PeerError: another process has failed.
      DivergedError: training met a value that is not finite.
      Stopped: a signal asked for the end; the state is saved.
      RuntimeError: this process was forked from one that has used jax.
    """
    check_not_forked()
    workdir = as_path(workdir, "--workdir")
    with StopSignals() as signals, Processes(signals) as processes:  # first, so that what fails in one ends all
        check_same_config(config, processes)
        kind = job_of(config)
        config = with_pretrained_network(config)
        kind.check(config)
        check_same_config(config, processes)  # each has read the pretrained one by itself
        with hold_together(workdir, processes), plain_path(workdir):
            processes.share(lambda: check_config_file(workdir))
            inputs = load_inputs(config)
            in_memory = agree_on_frames(inputs, processes)  # all have come here before a collective waits for them
            job = kind(config, inputs)
            with signals.held(), Checkpoints(workdir / "checkpoints") as checkpoints:
                return _run(job, config, workdir, inputs, in_memory, checkpoints, signals, processes, report)


def _run(
    job: Job,
    config: Any,
    workdir: Path,
    inputs: Inputs,
    in_memory: bool,
    checkpoints: Checkpoints,
    signals: StopSignals,
    processes: Processes,
    report: Callable[[dict[str, float]], None],
) -> dict[str, float]:
    store, sampler, n_steps = inputs.store, inputs.sampler, job.n_steps
    devices = Devices(sampler.at(0).valid.shape, job.shared_axis)
    resolved = json.loads(config.to_json())
    state = devices.copy(job.init())
    start, readout_step = processes.share(lambda: checkpoints.latest_step) or 0, 0
    if start:
        changed = differences(checkpoints.restore_config(start), resolved)
        _check_fixed(changed, job, workdir, start)  # before the arrays are compared, whose names say less
        state, _, data = checkpoints.restore(start, state)
        readout_step = data["readout_step"]
        if data.get("frames", [*inputs.size]) != [*inputs.size]:
            _log.warning(
                "data.path: %d training frames of %d runs, where the run in %s had %d of %d: its clips are others from "
                "here on, and its earlier measures of other frames",
                *inputs.size, workdir, *data["frames"],
            )  # fmt: skip
        _log.info("resumed at step %d of %d from %s", start, n_steps, workdir)
        _say_changes(changed, job, workdir, start, "steps" in config.train)
    processes.share(lambda: write_json(workdir / "config.json", resolved))
    update = jax.jit(_stoppable(make_update(job.update)), donate_argnums=0, out_shardings=devices.everywhere)
    on_device = in_memory and all(processes.gather(devices.fits(store.nbytes)))
    frames = devices.copy(store.all()) if on_device else None

    def save(state: TrainState, held_out_loss: float | None) -> None:
        if held_out_loss is not None and not math.isfinite(held_out_loss):
            _log.warning("the held-out loss is %s: the recurrence runs away over a long run", held_out_loss)
            held_out_loss = None  # never the best checkpoint
        data = {"step": int(state.step), "readout_step": readout_step, "frame_shape": list(store.shape)}
        data["frames"] = [*inputs.size]
        checkpoints.save(state, resolved, data, held_out_loss)

    board = workdir / "tensorboard" if config.train.tensorboard else None
    frames_a_step = sampler.batch_size * config.data.clip_length
    with (
        MetricsFile(
            workdir / "metrics.jsonl",
            step=start,
            measured_again=start >= n_steps,
            tensorboard=board,
            written=processes.first,
        ) as metrics,
        Progress(start, n_steps, frames_a_step, shown=processes.first) as progress,
        feeding(config, inputs, devices, on_device, start, n_steps) as feed,
    ):
        _stop_together(signals, processes, "no step was taken")
        step = start
        while step < n_steps:
            stop = _next_stop(step, n_steps, config.train)
            batches = feed.take(step, stop)
            with jax.set_mesh(devices.mesh):
                state, found, stopping = update(state, frames, batches, devices.flags(bool(signals.requested)))
            feed.prepare(stop, _next_stop(stop, n_steps, config.train))  # while the devices work
            means, step = _check_finite(found, step, checkpoints), stop
            metrics.write(step, "train", means | {"frames_per_second": progress.advance(step, means)})
            if step < n_steps and step % config.train.evaluate_every == 0:
                with progress.paused():
                    try:
                        state, _, measured = _measure(job, state, devices, processes, final=False)
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
                said = f"step {saved} of {n_steps} is saved in {workdir}" if saved else "no step is saved"
                _stop_together(signals, processes, said)
        _log.info("measuring the run")
        try:
            state, found_at_end, measured = _measure(job, state, devices, processes, final=True)
        except FloatingPointError as error:
            raise _diverged(step, str(error), checkpoints) from None
        readout_step = step
        metrics.write(step, "eval", measured)
        save(state, measured.get("loss"))
        checkpoints.wait()

        def finish() -> dict[str, float]:
            said = f"all {step} steps are saved in {workdir}, the last measures are not"
            poll = functools.partial(signals.check, said)
            poll()
            finished = job.finish(local(state), found_at_end, metrics.records, poll)
            finished.summary["frames_per_second"] = mean_rate(metrics.records, frames_a_step)
            poll = functools.partial(signals.check, f"the measures are written in {workdir}, pictures are missing")
            plots = config.evaluation.plots
            write_finished(workdir, finished, inputs.runs, report=report, plots=plots, poll=poll)
            return finished.summary

        return processes.share(finish)


def _stoppable(
    update: Callable[..., tuple[TrainState, Metrics]],
) -> Callable[..., tuple[TrainState, Metrics, jax.Array]]:
    """`update`, which also tells every process whether any was asked to stop: so they stop at one step."""

    def stoppable(
        state: TrainState, frames: jax.Array | None, batches: Batch, asked: jax.Array
    ) -> tuple[TrainState, Metrics, jax.Array]:
        state, found = update(state, frames, batches)
        # Made to depend on the steps, so that it comes after them in every process. With nothing to order them, CPU
        # programs from jax's compilation cache were seen to run this collective and those of the steps either first.
        return state, found, jnp.any(asked | (state.step < 0))

    return stoppable


def _stop_together(signals: StopSignals, processes: Processes, saved: str) -> None:
    """Raises `Stopped` in all processes if one has noted a signal."""
    if name := processes.first_of(signals.requested):
        raise stopped(name, saved)


def _measure(
    job: Job, state: TrainState, devices: Devices, processes: Processes, *, final: bool
) -> tuple[TrainState, Any, dict[str, float]]:
    """The state with a solved readout, what process 0 found (None in the others), and the metrics.

    Raises:
      FloatingPointError: process 0 found nothing finite.
    """
    kept = None

    def measure() -> dict[str, Any]:
        nonlocal kept
        try:
            readout, kept, metrics = job.evaluate(local(state), final=final)
        except FloatingPointError as error:
            return {"error": str(error)}
        return {"readout": {name: value.tolist() for name, value in readout.items()}, "metrics": metrics}

    answer = processes.share(measure)
    if "error" in answer:
        raise FloatingPointError(answer["error"])
    readout = {name: np.asarray(value, np.float32) for name, value in answer["readout"].items()}
    return state._replace(readout=devices.copy(readout)), kept, answer["metrics"]


def _check_fixed(changed: Sequence[str], job: Job, workdir: Path, start: int) -> None:
    """Raises `InputError` if a field of the config has changed that what the job has learned so far depends on."""
    matter = [name for name in changed if name not in OUTPUT_OPTIONS]
    fixed = [name for name in matter if name == "job" or name.startswith(job.fixed)]
    if not fixed:
        return
    came = f"--workdir={workdir}: the run there has come to step {start} of {job.n_steps}"
    if start >= job.n_steps:
        raise InputError(
            f"{came}, with another {', '.join(fixed)}; give another --workdir, or apply the run to other video with "
            "python -m sfa_jax.embed"
        )
    raise InputError(
        f"{came}, and what it has learned cannot go on with another {', '.join(fixed)}; give another --workdir, or the "
        f"values of {workdir / 'config.json'}"
    )


def _say_changes(changed: Sequence[str], job: Job, workdir: Path, start: int, may_train_on: bool) -> None:
    """Tells which fields of the config are not those of the run that is resumed.

    Raises:
      InputError: nothing is left to train, so that the run would be measured as what it is not.
    """
    matter = [name for name in changed if name not in (*OUTPUT_OPTIONS, *SAME_RESULT_OPTIONS)]
    if start >= job.n_steps and matter:
        train_on = "set --config.train.steps higher to train on, " if may_train_on else ""
        raise InputError(
            f"--workdir={workdir}: the run there has come to step {start} of {job.n_steps}, with another "
            f"{', '.join(matter)}; give another --workdir, {train_on}or apply the run to other video with python -m "
            "sfa_jax.embed"
        )
    for name in matter:
        _log.warning("config: %s differs from the run in %s; the new value is used", name, workdir)


def _next_stop(step: int, n_steps: int, config: Any) -> int:
    """Where the dispatch that starts at `step` ends: at a multiple of its length, or where something is due."""
    due = (step // config.evaluate_every + 1) * config.evaluate_every
    whole = (step // config.steps_per_dispatch + 1) * config.steps_per_dispatch
    return min(whole, due, n_steps)


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
