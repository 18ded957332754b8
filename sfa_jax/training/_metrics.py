"""Where the numbers of a run go: one JSON object a line, flushed, and TensorBoard where it is asked for."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from sfa_jax._errors import InputError
from sfa_jax.training._tensorboard import Board


class MetricsFile:
    """Appends records `{"step": ..., "split": "train" | "eval", ...}` to a file.

    Args:
      path: the file; records after `step` are dropped from it, as the steps will be done again.
      step: the step that the run goes on from.
      measured_again: nothing is left but the last measure: the one there was is dropped as well.
      tensorboard: folder for TensorBoard event files, None for none.
      written: whether anything is read and written; else the records are only kept, where another process writes.

    Raises:
      InputError: the file is not one of records, or TensorBoard is asked for and its writer is not installed.
    """

    def __init__(
        self,
        path: Path,
        *,
        step: int,
        measured_again: bool = False,
        tensorboard: Path | None = None,
        written: bool = True,
    ):
        self.records: list[dict[str, Any]] = []
        self._file: TextIO | None = None
        self._board: Board | None = None
        if not written:
            return
        self._board = Board(tensorboard, step) if tensorboard else None
        self.records = [
            record
            for record in _read(path)
            if record["step"] <= step and not (measured_again and record["step"] == step and record["split"] == "eval")
        ]
        kept = path.with_suffix(".tmp")
        kept.write_text("".join(json.dumps(record) + "\n" for record in self.records))
        os.replace(kept, path)  # a reader, or a kill, never sees half a file
        self._file = path.open("a")

    def write(self, step: int, split: str, values: Mapping[str, float]) -> None:
        record = {"step": step, "split": split, **{name: _number(value) for name, value in values.items()}}
        self.records.append(record)
        if self._file:
            self._file.write(json.dumps(record) + "\n")
            self._file.flush()
        if self._board:
            self._board.write(step, {f"{split}/{name}": value for name, value in values.items()})

    def close(self) -> None:
        if self._file:
            self._file.close()
        if self._board:
            self._board.close()

    def __enter__(self) -> "MetricsFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def mean_rate(records: Sequence[Mapping[str, Any]], frames_a_step: int) -> float:
    """Frames trained on a second over all training records that were timed; 0 where none was.

    The first record after each start holds compilation and is not timed (its rate is 0).
    """
    frames = seconds = 0.0
    before = 0
    for record in records:
        if record["split"] == "train":
            if record.get("frames_per_second"):
                frames += (record["step"] - before) * frames_a_step
                seconds += (record["step"] - before) * frames_a_step / record["frames_per_second"]
            before = record["step"]
    return frames / seconds if seconds else 0.0


def _read(path: Path) -> list[dict[str, Any]]:
    """The records of a file; a last line cut short by a kill is passed over."""
    try:
        lines = path.read_text().splitlines() if path.exists() else []
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot read the records of the run ({error}); move it away to go on") from None
    records = []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            whole = isinstance(record["step"], int) and isinstance(record["split"], str)
        except (ValueError, TypeError, KeyError):
            whole = False
        if whole:
            records.append(record)
        elif number < len(lines):
            raise InputError(
                f'{path}, line {number}: expected {{"step": ..., "split": ...}} as JSON, got {line[:60]!r}; mend or '
                "move the file away to go on"
            )
    return records


def _number(value: float) -> float | None:
    """JSON has no nan: it becomes null."""
    value = float(value)
    return float(f"{value:.7g}") if math.isfinite(value) else None
