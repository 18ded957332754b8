"""The devices of all processes as one mesh, and what lies on which of them."""

import logging
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from sfa_jax._errors import InputError
from sfa_jax.data import Batch, FrameStore

_log = logging.getLogger("sfa_jax")
_OPTIONS = {1: "data.batch_size", 2: "data.clip_length"}


class Devices:
    """Equally many devices of every process, as many as share a batch evenly, on the mesh axis `data`.

    A process gives the parts of an array that lie on its own devices, and none of the others.

    Args:
      batch_shape: `(batch, time)`.
      axis: of stacked batches `[steps, batch, time]` that the devices share: 1, clips, or 2, frames of each clip.

    Attributes:
      everywhere: the sharding of what every device holds a copy of.

    Raises:
      InputError: the processes cannot share a batch evenly.
    """

    def __init__(self, batch_shape: tuple[int, ...], axis: int):
        name, size, processes = _OPTIONS[axis], batch_shape[axis - 1], _devices_of_processes()
        most = min(len(devices) for devices in processes)
        n = max((n for n in range(1, most + 1) if size % (n * len(processes)) == 0), default=0)
        if n == 0:
            raise InputError(f"{name}: expected a multiple of {len(processes)}, the number of processes, got {size}")
        if n * len(processes) < len(jax.devices()):
            _log.warning(
                "%d of %d devices are used: %s=%d is not a multiple of more",
                n * len(processes), len(jax.devices()), name, size,
            )  # fmt: skip
        chosen = [device for devices in processes for device in devices[:n]]
        mesh = jax.make_mesh((len(chosen),), ("data",), axis_types=(jax.sharding.AxisType.Auto,), devices=chosen)
        self.everywhere = NamedSharding(mesh, PartitionSpec())
        self._each = NamedSharding(mesh, PartitionSpec("data"))
        self._axis, self._shared = axis, NamedSharding(mesh, PartitionSpec(*[None] * axis, "data"))

    def copy(self, tree: Any) -> Any:
        """Arrays that all processes have alike, on every device."""
        return jax.tree.map(lambda leaf: _place(np.asarray(leaf), self.everywhere), tree)

    def share(self, batches: Batch, store: FrameStore | None) -> Batch:
        """Stacked batches, shared over the devices.

        Args:
          batches: as a `ClipSampler` gives them, with numbers of frames; `[steps, batch, time]`.
          store: the numbers become frames of it, each process gathering its own; None leaves the numbers.
        """
        placed = Batch(
            *(_place(field, self._shared if field.ndim > self._axis else self.everywhere) for field in batches)
        )
        if store is None:
            return placed
        numbers = batches.frames
        shape = (*numbers.shape, *store.shape)

        def gather(index: tuple[slice, ...] | None) -> np.ndarray:
            return store.gather(numbers[(index or ())[:3]])

        return placed._replace(frames=jax.make_array_from_callback(shape, self._shared, gather))

    def flags(self, flag: bool) -> jax.Array:
        """A bool for each device, each process's own."""
        return jax.make_array_from_callback((self._each.mesh.size,), self._each, lambda _: np.array([flag]))


def local(tree: Any) -> Any:
    """Arrays that every device holds, as arrays of this process's first device alone."""
    return jax.tree.map(lambda leaf: leaf.addressable_data(0), tree)


def _place(array: np.ndarray, sharding: NamedSharding) -> jax.Array:
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])


def _devices_of_processes() -> list[list[jax.Device]]:
    found: dict[int, list[jax.Device]] = {}
    for device in jax.devices():
        found.setdefault(device.process_index, []).append(device)
    return list(found.values())
