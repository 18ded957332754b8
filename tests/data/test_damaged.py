"""Damaged, renamed and absurd videos and sets of TFDS.

Each is read as it was, read in part with a warning, or refused by a clear error.

What no program can see is wrong bits in files without checksums that still make some picture: in GIF, raw and coded
video. These are counted as changed. Nothing is changed without a word in a kind whose checksums cover all of it, nor in
any by being cut off, emptied, swapped, renamed or replaced; but a stream that does not say its length exactly (`.ts`,
`.mpg`, `.h264`, `.y4m`, `.flv`) may stop between two frames.
"""

import collections
import json
import os
import pathlib
import queue
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import IO

import pytest

import sfa_jax

pytest.importorskip("av")
pytest.importorskip("resource")

_WORKER = pathlib.Path(__file__).parent / "damage" / "worker.py"
_LIMIT_SECONDS = 30
_N_WORKERS = 2


def _run(folder: pathlib.Path, seed: int, worker: int) -> list[dict[str, str]]:
    """What came of every `_N_WORKERS`-th case; a process that crashes or hangs is replaced by another."""
    results: list[dict[str, str]] = []
    start, n_starts = worker, 0
    while start is not None:
        n_starts += 1
        place = folder / f"{worker}-{n_starts}"
        place.mkdir()
        start = _run_from(place, [seed, start, _N_WORKERS], results)
    return results


def _forward(stream: IO[str], lines: queue.Queue[str]) -> None:
    for line in stream:
        lines.put(line)
    lines.put("")


def _run_from(folder: pathlib.Path, numbers: list[int], results: list[dict[str, str]]) -> int | None:
    """Adds what came of the cases from START on; gives where to go on, or None at the end."""
    command = [sys.executable, str(_WORKER), str(folder), *map(str, numbers)]
    root = pathlib.Path(sfa_jax.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=_forward, args=(process.stdout, lines), daemon=True).start()
        begun: dict[str, str] = {}
        while True:
            try:
                line = lines.get(timeout=_LIMIT_SECONDS)
            except queue.Empty:
                process.kill()
                results.append({**begun, "outcome": "HANG", "detail": f"more than {_LIMIT_SECONDS} s"})
                return int(begun["begins"]) + _N_WORKERS
            if not line:
                break
            said = json.loads(line)
            if "begins" in said:
                begun = said
            else:
                results.append(said)
                begun = {}
    if begun:
        results.append({**begun, "outcome": "CRASH", "detail": f"exit status {process.returncode}"})
        return int(begun["begins"]) + _N_WORKERS
    assert process.returncode == 0
    return None


def _check(folder: pathlib.Path, seed: int) -> collections.Counter[str]:
    with ThreadPoolExecutor(_N_WORKERS) as pool:
        parts = pool.map(lambda worker: _run(folder, seed, worker), range(_N_WORKERS))
    results = [result for part in parts for result in part]
    bad = [result for result in results if result["outcome"] not in ("refused", "read", "changed", "said")]
    assert not bad, "\n".join(
        f"{r['outcome']}: {r['kind']}, {r['damage']}, seed {r['seed']}: {r['detail']}" for r in bad
    )
    return collections.Counter(result["outcome"] for result in results)


def test_damaged_and_absurd_files(tmp_path):
    counts = _check(tmp_path, seed=0)
    assert counts.total() > 70
    assert counts["refused"] + counts["said"] > 0.8 * counts.total()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 6))
def test_more_damaged_files(tmp_path, seed):
    _check(tmp_path, seed=seed)
