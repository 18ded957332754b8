"""Training of the published network on one device, several, and several processes: frames a second, and the same run.

    python benchmarks/scaling.py [--steps 40] [--batch 64] [--jobs 1x1 1x2 2x1 ...]

A job `PxD` is P processes of D emulated CPU devices each. All of them share the cores of this machine, so that nothing
is gained by more of them: what is measured is what sharing costs (the parts of a batch are smaller, sums are brought to
every device, and processes speak over the local network), and that it changes nothing: beside the frames a second
stands the largest relative difference of the losses from those of the first job. Each job is started anew, warms up,
and is timed over its last steps; medians of several rounds, in turns.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WARM_UP = 10  # steps that are not timed


def run(job, args, folder):
    """`(frames a second, losses)` of a job."""
    n_processes, n_devices = map(int, job.split("x"))
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    workdir = Path(tempfile.mkdtemp(dir=folder))
    command = [
        sys.executable, str(ROOT / "train.py"), f"--config={ROOT / 'configs' / 'sfa_gen.py'}", f"--workdir={workdir}",
        f"--config.train.steps={args.steps}", "--config.train.epochs=0", "--config.train.steps_per_dispatch=1",
        f"--config.train.evaluate_every={args.steps}", f"--config.data.batch_size={args.batch}",
        "--config.data.room.n_frames=2000", "--config.evaluation.plots=False", "--config.evaluation.baselines=()",
    ]  # fmt: skip
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": str(n_devices), "SFA_JAX_CACHE": str(folder / "cache")}
    processes = []
    for number in range(n_processes):
        joined = [f"--coordinator={address}", f"--num_processes={n_processes}", f"--process_id={number}"]
        flags = joined if n_processes > 1 else []
        processes.append(subprocess.Popen([*command, *flags], env=environment, stderr=subprocess.PIPE, text=True,
                                          stdout=subprocess.DEVNULL))  # fmt: skip
    for process in processes:
        _, said = process.communicate()
        if process.returncode:
            raise SystemExit(f"{job}: {said}")
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    records = [record for record in map(json.loads, lines) if record["split"] == "train"]
    timed = [args.batch * 2 / record["frames_per_second"] for record in records[WARM_UP:]]
    return args.batch * 2 / statistics.median(timed), [record["loss"] for record in records]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", nargs="+", default=["1x1", "1x2", "1x4", "2x1", "2x2"], help="processes x devices")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--batch", type=int, default=64, help="pairs")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    if args.steps <= WARM_UP:
        parser.error(f"--steps: expected more than {WARM_UP}, which are not timed, got {args.steps}")
    print("no peer: the same command on other numbers of devices and processes, at the settings of configs/sfa_gen.py")
    rates, losses = {job: [] for job in args.jobs}, {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(args.rounds):
            for job in args.jobs:
                rate, losses[job] = run(job, args, Path(folder))
                rates[job].append(rate)
    first = args.jobs[0]
    print("processes x devices   frames/s   of the first   largest relative difference of a loss")
    for job in args.jobs:
        rate = statistics.median(rates[job])
        apart = max(abs(a / b - 1) for a, b in zip(losses[job], losses[first], strict=True))
        share = rate / statistics.median(rates[first])
        print(f"{job:>19s}   {rate:8.0f}   {share:12.2f}   {apart:.1e}", flush=True)


if __name__ == "__main__":
    main()
