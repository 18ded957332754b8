"""Write TensorBoard event files; needs the extra `tensorboard`."""

import contextlib
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sfa_jax._errors import InputError

_log = logging.getLogger("sfa_jax")


class Board:
    """Writes scalars to an event file, in the thread that calls.

    The `SummaryWriter` of tensorboardX writes in a thread of its own: where that ends on a full disk, a run that goes
    on logging waits for it forever. Here it is one warning, and the run goes on without a board.

    Args:
      folder: of the event files; made if it is not there.
      step: what the run goes on from; TensorBoard hides what earlier files have after it.

    Raises:
      InputError: tensorboardX is not installed.
    """

    def __init__(self, folder: Path, step: int):
        try:
            from tensorboardX.event_file_writer import EventsWriter
            from tensorboardX.proto import event_pb2
        except ImportError as error:
            raise InputError(
                f"train.tensorboard: needs tensorboardX ({error}); install it with pip install 'sfa_jax[tensorboard]'"
            ) from None
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._make = folder, event_pb2.Event
        self._events: Any = EventsWriter(os.path.join(folder, "events"))
        self._events.write_event(self._make(step=step, session_log={"status": event_pb2.SessionLog.START}))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        if self._events is None:
            return
        scalars = [{"tag": name, "simple_value": float(value)} for name, value in values.items()]
        try:
            self._events.write_event(self._make(step=step, wall_time=time.time(), summary={"value": scalars}))
            self._events.flush()
        except OSError as error:
            _log.warning("%s: no more is written for TensorBoard (%s)", self._folder, error.strerror or error)
            self.close()

    def close(self) -> None:
        if self._events is not None:
            with contextlib.suppress(OSError):  # every record was flushed, or else told of
                self._events.close()
            self._events = None
