"""Kills a run of train.py again and again, and compares what it ends as with a run that nobody killed.

python tests/kill_and_resume.py --kills=30 --seed=0 [--processes=2] [--devices=2] -- --config=configs/sfa.py:smoke ...

What follows `--` are flags of train.py, without --workdir. The moments of the kills are drawn: while the run starts, as
soon as a checkpoint is being written or has just been written, and in the last third, when most of the run may be over,
at any time, and while the run is measured at its end. A start that ends before its moment is not counted. After each
kill the checkpoints are looked at, and each start must go on from the newest whole one.
"""

import argparse
import collections
import json
import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

ROOT = pathlib.Path(__file__).parents[1]
EARLY = ("start", "writing", "written")
MOMENTS = (*EARLY, "time", "measuring")
_TIMEOUT = 600.0


class Kill(NamedTuple):
    """Where one kill fell.

    Attributes:
      moment: how it was drawn.
      seconds: since the start of the run's processes.
      stage: what the run was doing: "starting", "training" or "measuring".
      whole: the newest whole checkpoint afterwards, 0 for none.
      unfinished: names of what lies in the folder of checkpoints and is none.
      resumed: the step that this start said it went on from; 0 where it did not come so far, or began anew.
    """

    moment: str
    seconds: float
    stage: str
    whole: int
    unfinished: tuple[str, ...]
    resumed: int


class Job:
    """The processes of one start of train.py, each in a process group of its own.

    Args:
      flags: of train.py, with --workdir.
      processes: how many.
      env: of each.
      log: prefix of the files that take what they write.
    """

    def __init__(self, flags: Sequence[str], processes: int, env: dict[str, str], log: pathlib.Path):
        self.began = time.monotonic()
        self.logs = [log.with_name(f"{log.name}-{index}.txt") for index in range(processes)]
        with socket.socket() as free:
            free.bind(("localhost", 0))
            address = f"localhost:{free.getsockname()[1]}"
        self._processes = []
        for index, path in enumerate(self.logs):
            job = [f"--coordinator={address}", f"--num_processes={processes}", f"--process_id={index}"]
            command = [sys.executable, str(ROOT / "train.py"), *flags, *(job if processes > 1 else [])]
            with path.open("w") as file:
                self._processes.append(
                    subprocess.Popen(command, cwd=ROOT, env=env, stdout=file, stderr=file, start_new_session=True)
                )

    def said(self) -> str:
        """What the first process has written so far."""
        return self.logs[0].read_text(errors="replace")

    def seconds(self) -> float:
        return time.monotonic() - self.began

    def alive(self) -> bool:
        return all(process.poll() is None for process in self._processes)

    def kill(self, which: Sequence[int]) -> None:
        for index in which:
            if self._processes[index].poll() is None:
                os.killpg(self._processes[index].pid, signal.SIGKILL)
                self._processes[index].wait()

    def finish(self) -> None:
        """Waits for the end, which must be a good one."""
        try:
            statuses = [process.wait(timeout=_TIMEOUT) for process in self._processes]
        finally:
            self.kill(range(len(self._processes)))
        assert not any(statuses), "\n".join(path.read_text(errors="replace") for path in self.logs)

    def stage(self) -> str:
        said = self.said()
        if not self.alive():
            return "ended"
        for words, stage in (("measuring the run", "measuring"), ("step ", "training")):
            if re.search(rf"^{words}", said, flags=re.MULTILINE):
                return stage
        return "starting"


class Seconds(NamedTuple):
    """How long a run takes until its first step is told of, to train, and to be measured."""

    start: float
    training: float
    measuring: float


def kill_and_resume(
    flags: Sequence[str],
    folder: pathlib.Path,
    *,
    kills: int,
    seed: int,
    processes: int = 1,
    devices: int = 1,
    moments: Sequence[str] | None = None,
    tell: Any = lambda line: None,
) -> list[Kill]:
    """Runs train.py whole and killed, and compares the two.

    Args:
      flags: of train.py, without --workdir.
      folder: takes the workdirs `whole` and `killed`, their caches and what the processes wrote.
      kills: how many.
      seed: of the moments.
      processes: of each run; one of them, or all, are killed.
      devices: emulated ones of each process.
      moments: of the kills; drawn if None.
      tell: called with a line on each kill.

    Returns:
      Where the kills fell.

    Raises:
      AssertionError: a start went on from another step than that of the newest whole checkpoint or failed, or
        something differs in the end.
    """
    draw = random.Random(seed)

    def start(name: str, number: int) -> Job:
        own = {"JAX_NUM_CPU_DEVICES": str(devices), "SFA_JAX_CACHE": str(folder / f"{name}-cache")}
        own = os.environ | {"PYTHONUNBUFFERED": "1"} | own
        return Job([*flags, f"--workdir={folder / name}"], processes, own, folder / f"{name}-{number}")

    takes = _time_whole(start("whole", 0))
    n_steps = whole_steps(folder / "whole")[-1]
    tell(f"nobody kills it: {takes.start:.1f} s to start, {takes.training:.1f} s to train {n_steps} steps, "
         f"{takes.measuring:.1f} s to be measured")  # fmt: skip
    workdir, found, starts = folder / "killed", list[Kill](), 0
    while len(found) < kills:
        assert starts < 3 * kills, "runs end before they are killed"
        before = max(whole_steps(workdir), default=0)
        job = start("killed", starts)
        starts += 1
        drawn = EARLY if 3 * len(found) < 2 * kills else MOMENTS
        if before == n_steps:  # and nothing is left to train
            drawn = ("start", "time", "measuring")
        moment = drawn[starts % len(drawn)]
        moment = moments[len(found)] if moments else moment
        try:
            began = _wait_for(moment, job, workdir, takes, 1 - before / n_steps, draw)
            takes = takes._replace(start=min(takes.start, began or takes.start))  # compiled programs are kept
            stage, seconds, said = job.stage(), job.seconds(), job.said()  # before others tell of a killed one
            victims = list(range(processes)) if draw.random() < 0.5 else [draw.randrange(processes)]
            job.kill(victims)
            if len(victims) < processes:  # as a cluster's manager does, which sees one of a job end
                time.sleep(draw.uniform(0, 2))
        finally:
            job.kill(range(processes))
        resumed = _check_resumed(said, before)
        unfinished = tuple(sorted(set(_names(workdir)) - {str(step) for step in whole_steps(workdir)}))
        _check_readable(workdir)
        if stage != "ended":
            found.append(Kill(moment, seconds, stage, max(whole_steps(workdir), default=0), unfinished, resumed))
            tell(f"kill {len(found)}: {found[-1]}")
    before = max(whole_steps(workdir), default=0)
    last = start("killed", starts)
    last.finish()
    _check_resumed(last.said(), before)
    compare(folder / "whole", workdir)
    check_tidy(workdir)
    return found


def whole_steps(workdir: pathlib.Path) -> list[int]:
    """Steps of the checkpoints that were written to their end: Orbax renames a folder then."""
    return sorted(int(name) for name in _names(workdir) if name.isdigit())


def compare(workdir: pathlib.Path, other: pathlib.Path) -> None:
    """Asserts that two finished runs left the same, but for their speed."""
    from sfa_jax.training._checkpoints import read_run

    summaries = [json.loads((each / "summary.json").read_text()) for each in (workdir, other)]
    for summary in summaries:
        summary.pop("frames_per_second")
    assert summaries[0] == summaries[1], _different(*summaries)
    lines = [(each / "metrics.jsonl").read_text().splitlines() for each in (workdir, other)]
    records = [[json.loads(line) for line in each] for each in lines]
    for each in records:
        for record in each:
            record.pop("frames_per_second", None)
    assert len(records[0]) == len(records[1])
    for mine, theirs in zip(*records, strict=True):
        assert mine == theirs
    (state, config, data), other_run = read_run(workdir), read_run(other)
    assert (config, data) == other_run[1:]
    flat, tree = jax.tree_util.tree_flatten_with_path(state)
    other_flat, other_tree = jax.tree_util.tree_flatten_with_path(other_run[0])
    assert tree == other_tree
    for (path, leaf), (_, other_leaf) in zip(flat, other_flat, strict=True):
        np.testing.assert_array_equal(leaf, other_leaf, err_msg=jax.tree_util.keystr(path))
    with np.load(workdir / "embeddings.npz") as arrays, np.load(other / "embeddings.npz") as other_arrays:
        assert sorted(arrays) == sorted(other_arrays)
        for name in arrays:
            np.testing.assert_array_equal(arrays[name], other_arrays[name], err_msg=name)
    for each in (workdir, other):
        assert json.loads((each / "config.json").read_text()) == config
    assert sorted(path.name for path in (workdir / "plots").glob("*")) == sorted(
        path.name for path in (other / "plots").glob("*")
    )


def check_tidy(workdir: pathlib.Path) -> None:
    """Asserts that no kill has left anything behind that the last start did not clean."""
    left = [str(path.relative_to(workdir)) for path in workdir.rglob("*") if _is_temporary(path.name)]
    assert not left, left


def _is_temporary(name: str) -> bool:
    return "tmp" in name or name.startswith(".token-")


def _names(workdir: pathlib.Path) -> list[str]:
    folder = workdir / "checkpoints"
    return os.listdir(folder) if folder.is_dir() else []


def _time_whole(job: Job) -> Seconds:
    first = measuring = 0.0
    while job.alive():
        stage = job.stage()
        first = first or (job.seconds() if stage in ("training", "measuring") else 0.0)
        measuring = measuring or (job.seconds() if stage == "measuring" else 0.0)
        time.sleep(0.02)
    seconds = job.seconds()
    job.finish()
    return Seconds(first, measuring - first, seconds - measuring)


def _wait_for(
    moment: str, job: Job, workdir: pathlib.Path, takes: Seconds, left: float, draw: random.Random
) -> float | None:
    """Returns at the moment, or where the run has ended before it: after how long it had started, if it had."""
    seen, times, delay = set(_names(workdir)), draw.choice((1, 1, 2, 4)), draw.choice((0.0, draw.uniform(0, 0.05)))
    share = draw.random()
    after = {"start": 1.2 * takes.start, "time": takes.start + left * takes.training + takes.measuring}.get(moment)
    began = None
    while job.alive() and (after is None or job.seconds() < share * after):
        stage = job.stage()
        began = began or (job.seconds() if stage in ("training", "measuring") else None)
        new = {name for name in _names(workdir) if name.isdigit() == (moment == "written")} - seen
        seen |= new
        times -= bool(new)
        if moment in ("writing", "written") and times <= 0:
            time.sleep(delay)
            break
        if moment == "measuring" and stage == "measuring":
            time.sleep(share * takes.measuring)
            break
        time.sleep(0.001 if moment in ("writing", "written") else 0.02)
    return began


def _check_resumed(said: str, newest: int) -> int:
    """The step that a start said it went on from, which must be the newest one; 0 where it did not say."""
    assert "Traceback" not in said, said
    assert not re.search("^error:", said, flags=re.MULTILINE), said
    resumed = re.search(r"^resumed at step (\d+) ", said, flags=re.MULTILINE)
    if resumed is None:
        assert not newest or not re.search("^(step |measuring)", said, flags=re.MULTILINE), said
        return 0
    assert int(resumed[1]) == newest, said
    return newest


def _check_readable(workdir: pathlib.Path) -> None:
    """Reads the newest checkpoint, and the best one, as a user of a killed run would."""
    from sfa_jax.training._checkpoints import read_run

    if steps := whole_steps(workdir):
        assert int(read_run(workdir)[0]["step"]) == steps[-1]
        assert int(read_run(workdir, best=True)[0]["step"]) in steps


def _different(a: dict[str, float], b: dict[str, float]) -> dict[str, tuple[Any, Any]]:
    return {name: (a.get(name), b.get(name)) for name in a.keys() | b.keys() if a.get(name) != b.get(name)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--devices", type=int, default=1, help="emulated ones of each process")
    parser.add_argument(
        "--folder", type=pathlib.Path, help="where to work, not there yet; a temporary one if not given"
    )
    parser.add_argument("flags", nargs="+", help="flags of train.py, after --")
    asked = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    folder = asked.folder or pathlib.Path(tempfile.mkdtemp(prefix="kill_and_resume-"))
    folder.mkdir(parents=True, exist_ok=asked.folder is None)  # an old run there would be taken for a new one
    found = kill_and_resume(
        asked.flags, folder, kills=asked.kills, seed=asked.seed, processes=asked.processes, devices=asked.devices,
        tell=lambda line: print(line, flush=True),
    )  # fmt: skip
    stages = collections.Counter(kill.stage for kill in found)
    cut_short = sum(any("tmp" in name for name in kill.unfinished) for kill in found)
    print(f"{len(found)} kills: {dict(stages)}; {cut_short} left a checkpoint half written")
    print(f"the run in {folder / 'killed'} is the same as the one that nobody killed")


if __name__ == "__main__":
    main()
