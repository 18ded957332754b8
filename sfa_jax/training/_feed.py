"""Batches on the devices, each made ready while the devices still work on the one before."""

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import numpy as np

from sfa_jax.data import Batch, ClipSampler, Reader, ReadOptions
from sfa_jax.data._cache import size_text
from sfa_jax.training._inputs import Inputs
from sfa_jax.training._mesh import Devices

_log = logging.getLogger("sfa_jax")


class Feed:
    """Stacked batches `[steps, batch, ...]` of the steps of one dispatch.

    Args:
      sampler: of clips.
      devices: that share them.
      reader: of frames that are not on the devices; None where they are, and batches hold their numbers.
    """

    def __init__(self, sampler: ClipSampler, devices: Devices, reader: Reader | None):
        self._sampler, self._devices, self._reader = sampler, devices, reader
        self._ready: tuple[int, int, Batch | Exception] | None = None

    def prepare(self, start: int, stop: int) -> None:
        """Reads the batches of the steps `start` to `stop` ahead; what goes wrong is raised when they are taken."""
        if start >= stop:
            return
        try:
            self._ready = start, stop, self._make(start, stop)
        except Exception as error:
            self._ready = start, stop, error

    def take(self, start: int, stop: int) -> Batch:
        """The batches of the steps `start` to `stop`; steps are taken in order.

        Raises:
          InputError: frames are damaged.
          ReaderError: a worker died, or no batch came in time.
        """
        if self._ready is None or self._ready[:2] != (start, stop):
            self.prepare(start, stop)
        assert self._ready is not None
        found, self._ready = self._ready[2], None
        if isinstance(found, Exception):
            raise found
        return found

    def _make(self, start: int, stop: int) -> Batch:
        batches = [
            self._sampler.at(step) if self._reader is None else self._reader.next() for step in range(start, stop)
        ]
        return self._devices.share(Batch(*(np.stack(field) for field in zip(*batches, strict=True))))


@contextlib.contextmanager
def feeding(config: Any, inputs: Inputs, devices: Devices, on_device: bool, start: int, n_steps: int) -> Iterator[Feed]:
    """The feed of a run, from where it stands; says where frames come from, and why.

    Args:
      config: the resolved config.
      inputs: the data.
      devices: that share batches.
      on_device: whether all frames lie on every device.
      start, n_steps: the first step, and the one after the last.
    """
    store, data = inputs.store, config.data
    if on_device or start >= n_steps:
        if start < n_steps:
            _log.info("frames: %s, which fit in memory, lie on the devices", size_text(store.nbytes))
        yield Feed(inputs.sampler, devices, None)
        return
    options = ReadOptions(data.get("workers", 0), data.get("timeout", ReadOptions().timeout))
    who = f"{options.workers} processes" if options.workers else "threads"
    why = "are above the limit of memory" if not store.in_memory else "do not fit beside a model on a device"
    _log.info("frames: %s %s; Grain reads them by %s as training goes", size_text(store.nbytes), why, who)
    part = devices.part(inputs.sampler.at(0).valid.shape)
    with Reader(store, inputs.sampler, start, n_steps, part, options) as reader:
        yield Feed(inputs.sampler, devices, reader)
