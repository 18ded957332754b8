"""Damaged, renamed and absurd files: each is read as it was, read in part with a warning, or refused by a clear error.

What no program can see is wrong bits in files without checksums that still make some picture: in JPEG, BMP, WebP, TIFF,
PNM, TGA, JPEG 2000, GIF, raw and coded video, and `.npy`. These are counted as changed. Nothing is changed without a
word in a kind whose checksums cover all of it (PNG, `.npz`), nor in any by being cut off, emptied, swapped, renamed or
replaced; but a stream that does not say its length exactly (`.ts`, `.mpg`, `.h264`, `.y4m`, `.flv`) may stop between
two frames.
"""

import ast
import collections
import io
import json
import logging
import os
import pathlib
import queue
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import IO

import numpy as np
import pytest

import sfa_jax
from sfa_jax._errors import InputError
from sfa_jax.data import load

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
    environment = {**os.environ, "PYTHONPATH": str(root), "SFA_JAX_TEST_UNPICKLED": str(folder / "unpickled")}
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
    assert not (folder / "unpickled").exists()
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
    assert counts.total() > 200
    assert counts["refused"] + counts["said"] > 0.8 * counts.total()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 6))
def test_more_damaged_files(tmp_path, seed):
    _check(tmp_path, seed=seed)


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_no_pickle_is_read(tmp_path, name):
    class Leaves:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "unpickled"),)

    objects = np.array([Leaves()] * 4, dtype=object)
    if name == "a.npy":
        np.save(tmp_path / name, objects)
    else:
        np.savez(tmp_path / name, frames=np.zeros((4, 8, 8, 3), np.uint8), run_id=objects)
    with pytest.raises(InputError, match=r"holds Python objects"):
        load(tmp_path / name)
    assert not (tmp_path / "unpickled").exists()


def test_nothing_in_the_package_unpickles():
    found = []
    for path in pathlib.Path(sfa_jax.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
                banned = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "torch"}
                found += [(path.name, node.lineno) for name in names if name.split(".")[0] in banned]
            if isinstance(node, ast.Call) and ast.unparse(node.func) in (
                "np.load",
                "numpy.load",
                "np.lib.format.read_array",
            ):
                allowed = [word for word in node.keywords if word.arg == "allow_pickle"]
                if not (len(allowed) == 1 and ast.unparse(allowed[0].value) == "False"):
                    found.append((path.name, node.lineno))
    assert found == []


def test_header_of_python_2_is_read(tmp_path):
    frames = np.arange(4 * 8 * 8, dtype=np.uint8).reshape(4, 8, 8)
    data = io.BytesIO()
    np.save(data, frames)
    (tmp_path / "a.npy").write_bytes(data.getvalue().replace(b"(4, 8, 8), }  ", b"(4L, 8, 8), } "))
    np.testing.assert_array_equal(load(tmp_path / "a.npy", image_size=0)[0].frames[..., 0], frames)


def test_memory_is_asked_for_first(tmp_path, monkeypatch):
    monkeypatch.setattr("sfa_jax.data._numpy_files.available_memory", lambda: 1000)
    np.savez(tmp_path / "a.npz", np.asfortranarray(np.zeros((4, 8, 8, 3), np.uint8)))
    with pytest.raises(
        InputError, match=r"a.npz \[arr_0\] needs 10.8 kB of memory to be read, and 1.0 kB are free: .*C"
    ):
        load(tmp_path / "a.npz")


def test_black_frames_are_no_bomb(tmp_path, caplog):
    """Deflate makes them a thousand times smaller, and rightly so."""
    np.savez_compressed(tmp_path / "a.npz", frames=np.zeros((2000, 32, 32, 3), np.uint8))
    assert (tmp_path / "a.npz").stat().st_size < 2000 * 32 * 32 * 3 / 500
    with caplog.at_level(logging.WARNING, "sfa_jax"):
        assert len(load(tmp_path / "a.npz", image_size=4)[0]) == 2000
    assert not caplog.records


def test_pipes_are_refused(tmp_path, write_folder):
    os.mkfifo(tmp_path / "clip.mp4")
    with pytest.raises(InputError, match=r"clip.mp4 is a pipe or a device; give a file"):
        load(tmp_path / "clip.mp4")
    folder = write_folder("walk", [np.zeros((8, 8, 3), np.uint8)] * 2)
    os.mkfifo(tmp_path / "walk" / "frame9.png")
    with pytest.raises(InputError, match=r"frame9.png is a pipe or a device, not a picture: remove it"):
        load(folder)
