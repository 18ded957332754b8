"""What all processes of a job must have alike, or else would train on different things without an error."""

import json
from typing import Any

from sfa_jax._errors import InputError
from sfa_jax.training._inputs import Inputs
from sfa_jax.training._processes import Processes
from sfa_jax.training._workdir import OUTPUT_OPTIONS, differences


def check_same_config(config: Any, processes: Processes) -> None:
    """Raises `InputError`, in all processes, where one was started with another config than process 0."""
    first, *others = processes.gather(json.loads(config.to_json()))
    for number, other in enumerate(others, 1):
        changed = [name for name in differences(first, other) if name not in OUTPUT_OPTIONS]
        if changed:
            raise InputError(
                f"--config: process {number} was started with another {', '.join(changed)} than process 0; start all "
                "processes of a job with the same flags"
            )


def agree_on_frames(inputs: Inputs, processes: Processes) -> bool:
    """Whether the frames of all processes are in memory.

    Raises:
      InputError: in all processes, where one has found other frames than process 0.
    """
    store = inputs.store
    mine = {"frames": store.lengths.tolist(), "shape": list(store.shape), "in_memory": store.in_memory}
    first, *others = found = processes.gather(mine)
    for number, other in enumerate(others, 1):
        if (other["frames"], other["shape"]) != (first["frames"], first["shape"]):
            raise InputError(
                f"data.path: process {number} has found {_describe(other)}, process 0 {_describe(first)}; give all "
                "processes the same files"
            )
    return all(each["in_memory"] for each in found)


def _describe(found: dict[str, Any]) -> str:
    return f"{len(found['frames'])} run(s) of {sum(found['frames'])} training frames of {found['shape']}"
