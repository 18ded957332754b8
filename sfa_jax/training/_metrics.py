"""Where the numbers of a run go: one JSON object a line, flushed, and TensorBoard where it is asked for."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from sfa_jax._errors import InputError


class MetricsFile:
    """Appends records `{"step": ..., "split": "train" | "eval", ...}` to a file.

    Args:
      path: the file; records after `step` are dropped from it, as the steps will be done again.
      step: the step that the run goes on from.
      tensorboard: folder for TensorBoard event files, None for none.

    Raises:
      InputError: TensorBoard is asked for and its writer is not installed.
    """

    def __init__(self, path: Path, *, step: int, tensorboard: Path | None = None):
        self.records = [record for record in _read(path) if record["step"] <= step]
        kept = path.with_suffix(".tmp")
        kept.write_text("".join(json.dumps(record) + "\n" for record in self.records))
        os.replace(kept, path)  # a reader, or a kill, never sees half a file
        self._file = path.open("a")
        self._board = _open_board(tensorboard) if tensorboard else None

    def write(self, step: int, split: str, values: Mapping[str, float]) -> None:
        record = {"step": step, "split": split, **{name: _number(value) for name, value in values.items()}}
        self.records.append(record)
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()
        if self._board:
            for name, value in values.items():
                self._board.add_scalar(f"{split}/{name}", value, step)

    def close(self) -> None:
        self._file.close()
        if self._board:
            self._board.close()

    def __enter__(self) -> "MetricsFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _read(path: Path) -> list[dict[str, Any]]:
    """The whole records of a file; a last line cut short by a kill is passed over."""
    records = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(record, dict) and "step" in record:
            records.append(record)
    return records


def _number(value: float) -> float | None:
    """JSON has no nan: it becomes null."""
    value = float(value)
    return float(f"{value:.7g}") if math.isfinite(value) else None


def _open_board(folder: Path) -> Any:
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        raise InputError(
            "train.tensorboard: needs tensorboardX; install it with pip install 'sfa_jax[tensorboard]'"
        ) from None
    return SummaryWriter(str(folder))
