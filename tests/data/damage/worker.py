"""Loads damaged files and says what came of each, a JSON line a case: `worker.py FOLDER SEED START STEP`.

A process of its own, so that a decoder that crashes or hangs, or takes more memory than is allowed, fails a test and
not the whole suite.
"""

import functools
import gc
import json
import logging
import os
import pathlib
import re
import resource
import shutil
import sys
import time
import traceback
import warnings

import absurd_files
import damaged_files
import numpy as np
from damaged_files import DAMAGES, KINDS, PLAIN, RENAMED, Case

from sfa_jax._errors import InputError
from sfa_jax.data import Run, load

MEMORY_BYTES = 4 << 30
# One of these is in every message: it says what to do.
_ADVICE = re.compile(r"\b(again|re-encode|remove|give|save|set|make|copy|scale|divide|clip|leave|lower)\b")


class _Log(logging.Handler):
    """Keeps what the library said."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


class Worker:
    """Damages files in a folder, loads them and compares."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self._log = _Log()
        logging.getLogger("sfa_jax").addHandler(self._log)
        self.good = functools.cache(self._good)
        self._late: list[str] = []
        sys.unraisablehook = lambda raised: self._late.append(repr(raised.exc_value))

    def run(self, case: Case) -> dict[str, object]:
        """What came of a case: `outcome`, and `detail` of it."""
        place = self._folder / "case"
        place.mkdir()
        started = time.monotonic()
        try:
            if case.kind == "absurd":
                absurd = absurd_files.ABSURD[case.damage]
                path = bad = absurd.write(place)
                expected, plain = None, True
            else:
                path, bad, expected, plain = self._damage(case, place)
            # Other colours of one frame in a folder may be taken for a cut.
            split_cuts = not (case.damage == RENAMED and path == place)
            prefix = KINDS[case.kind].prefix if case.kind in KINDS else ""
            outcome, detail = self._load(prefix, path, bad.name, expected, plain, split_cuts)
            if case.kind == "absurd" and outcome == "read":
                outcome = "read" if absurd.may_be_read else "WRONG DATA"
        finally:
            shutil.rmtree(place)
        gc.collect()
        if self._late:
            outcome, detail, self._late = "TRACEBACK", str(self._late), []
        return {**case._asdict(), "outcome": outcome, "detail": detail, "seconds": time.monotonic() - started}

    def _good(self, kind: str) -> tuple[pathlib.Path, list[Run]]:
        """A good file or folder, and its runs."""
        folder = self._folder / "good" / kind
        folder.mkdir(parents=True, exist_ok=True)
        path = KINDS[kind].write(folder)
        runs = self._runs(KINDS[kind].prefix + str(path))
        return path, [Run(np.array(run.frames), run.name, run.frame_index, run.truth) for run in runs]

    def _runs(self, path: str, split_cuts: bool = True) -> list[Run]:
        cache = self._folder / "cache"
        try:
            runs = load(path, image_size=16, cache_dir=cache, split_cuts=split_cuts)
            if any(np.isnan(run.frames).any() for run in runs):  # touches every page
                raise AssertionError("not reached")
            return runs
        finally:
            shutil.rmtree(cache, ignore_errors=True)

    def _damage(self, case: Case, place: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path, list[Run], bool]:
        """The path to load, the damaged file, what the runs were, and whether nothing else may come through."""
        rng = np.random.default_rng(case.seed)
        kind, (path, expected) = KINDS[case.kind], self.good(case.kind)
        plain = kind.checked or (case.damage in PLAIN and not kind.open_ended)
        if path.is_dir():
            for name in path.iterdir():
                os.link(name, place / name.name)
            names = sorted(path.glob(kind.victims))
            victim = names[int(rng.integers(len(names)))]
        else:
            victim = path
        bad = place / victim.name
        bad.unlink(missing_ok=True)
        if case.damage != RENAMED:
            bad.write_bytes(DAMAGES[case.damage](victim.read_bytes(), rng))
            return (place if path.is_dir() else bad), bad, expected, plain
        others = [name for name, other in KINDS.items() if not other.prefix]
        other = others[int(rng.integers(len(others)))]
        other_path, other_runs = self.good(other)
        number = int(victim.stem.removeprefix("frame")) if path.is_dir() else 0
        source = sorted(other_path.iterdir())[number] if other_path.is_dir() else other_path
        bad.write_bytes(source.read_bytes())
        if not path.is_dir():
            return bad, bad, other_runs, True
        if other_path.is_dir():
            frames = expected[0].frames.copy()
            frames[number] = other_runs[0].frames[number]
            expected = [Run(frames, "", expected[0].frame_index)]
        return place, bad, expected, True

    def _load(
        self, prefix: str, path: pathlib.Path, bad: str, expected: list[Run] | None, plain: bool, split_cuts: bool
    ) -> tuple[str, str]:
        self._log.lines.clear()
        try:
            runs = self._runs(prefix + str(path), split_cuts)
        except InputError as error:
            message = str(error)
            named = bad in message or (path.is_dir() and str(path) in message)
            advised = _ADVICE.search(message)
            clear = named and advised and "\n" not in message and len(message) < 900
            return ("refused" if clear else "UNCLEAR"), message
        except BaseException:
            return "TRACEBACK", traceback.format_exc()
        if self._log.lines:
            return "said", "; ".join(self._log.lines)
        if expected is None or _alike(runs, expected):
            return "read", ""
        for run in runs:
            assert run.frames.dtype == np.uint8
            assert run.frames.shape[1:3] == (16, 16)
        lengths = [len(run) for run in runs], [len(run) for run in expected]
        return ("WRONG DATA" if plain else "changed"), f"runs of {lengths[0]} frames for {lengths[1]}"


def _alike(runs: list[Run], expected: list[Run]) -> bool:
    return len(runs) == len(expected) and all(
        np.array_equal(run.frames, other.frames)
        and np.array_equal(run.frame_index, other.frame_index)
        and run.truth.keys() == other.truth.keys()
        and all(np.array_equal(run.truth[name], other.truth[name]) for name in run.truth)
        for run, other in zip(runs, expected, strict=True)
    )


def main() -> None:
    """Runs every STEP-th case from START."""
    folder = pathlib.Path(sys.argv[1])
    seed, start, step = map(int, sys.argv[2:])
    absurd = [Case("absurd", name, 0) for name in absurd_files.ABSURD]
    chosen = [*absurd, *damaged_files.cases(seed)]
    worker = Worker(folder)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    warnings.simplefilter("error")
    gc.freeze()  # so that the collections after each case are short
    for index in range(start, len(chosen), step):
        print(json.dumps({"begins": index, **chosen[index]._asdict()}), flush=True)
        try:
            result = worker.run(chosen[index])
        except BaseException:  # a mistake of the test's own
            result = {**chosen[index]._asdict(), "outcome": "BROKEN TEST", "detail": traceback.format_exc()}
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
