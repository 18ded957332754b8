"""The devices of all processes as one mesh, and what lies on which of them."""

import logging
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from sfa_jax._errors import InputError
from sfa_jax.data import Batch

AXIS = "data"
_log = logging.getLogger("sfa_jax")
_OPTIONS = {1: ("data.batch_size", "clips"), 2: ("data.clip_length", "frames")}


class Devices:
    """Equally many devices of every process, as many as share a batch evenly, on the mesh axis `AXIS`.

    A process gives the parts of an array that lie on its own devices, and none of the others.

    Args:
      batch_shape: `(batch, time)`.
      axis: of stacked batches `[steps, batch, time]` that the devices share: 1, clips, or 2, frames of each clip.

    Attributes:
      mesh: of the devices that are used; the context of what they compute together.
      everywhere: the sharding of what every device holds a copy of.

    Raises:
      InputError: the processes cannot share a batch evenly.
    """

    def __init__(self, batch_shape: tuple[int, ...], axis: int):
        (name, what), size, processes = _OPTIONS[axis], batch_shape[axis - 1], _devices_of_processes()
        found = f"{size} {what} ({name}, or the fewer that the data give)"
        most = min(len(devices) for devices in processes)
        n = max((n for n in range(1, most + 1) if size % (n * len(processes)) == 0), default=0)
        if n == 0:
            raise InputError(f"{name}: expected a multiple of {len(processes)}, the number of processes, got {found}")
        if n * len(processes) < len(jax.devices()):
            _log.warning(
                "%d of %d devices are used: a batch of %s is not a multiple of more",
                n * len(processes), len(jax.devices()), found,
            )  # fmt: skip
        chosen = [device for devices in processes for device in devices[:n]]
        # Not by `jax.make_mesh`, which may take them in another order than processes have them.
        self.mesh = mesh = Mesh(np.array(chosen), (AXIS,), axis_types=(AxisType.Auto,))
        self.everywhere = NamedSharding(mesh, PartitionSpec())
        self._each = NamedSharding(mesh, PartitionSpec(AXIS))
        self._axis, self._shared = axis, NamedSharding(mesh, PartitionSpec(*[None] * axis, AXIS))

    def copy(self, tree: Any) -> Any:
        """Arrays that all processes have alike, on every device."""
        return jax.tree.map(lambda leaf: _place(np.asarray(leaf), self.everywhere), tree)

    def part(self, batch_shape: tuple[int, ...]) -> tuple[slice, ...]:
        """Which part of `[batch, time]` lies on the devices of this process."""
        held = self._shared.addressable_devices_indices_map((1, *batch_shape)).values()
        bounds = [index[self._axis].indices(batch_shape[self._axis - 1])[:2] for index in held if index]
        mine = slice(min(start for start, _ in bounds), max(stop for _, stop in bounds))
        return tuple(mine if axis == self._axis - 1 else slice(None) for axis in range(len(batch_shape)))

    def share(self, batches: Batch) -> Batch:
        """Stacked batches `[steps, batch, time]`, shared over the devices.

        Args:
          batches: all of it in every process, but of frames (not their numbers) each process's own `part`.
        """
        placed = [_place(field, self._shared if field.ndim > self._axis else self.everywhere) for field in batches[1:]]
        frames = batches.frames
        if frames.ndim == 3:
            return Batch(_place(frames, self._shared), *placed)
        shape = (*batches.valid.shape, *frames.shape[3:])
        return Batch(jax.make_array_from_process_local_data(self._shared, frames, shape), *placed)

    def fits(self, n_bytes: int) -> bool:
        """Whether this much may lie on each device of this process: half of its memory, where it tells how much."""
        limits = [(device.memory_stats() or {}).get("bytes_limit") for device in self._each.mesh.local_devices]
        return all(limit is None or n_bytes <= limit // 2 for limit in limits)

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
    for device in sorted(jax.devices(), key=lambda device: (device.process_index, device.id)):
        found.setdefault(device.process_index, []).append(device)
    return list(found.values())
