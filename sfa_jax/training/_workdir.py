"""The folder of a run: one job at a time holds it."""

import contextlib
import json
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sfa_jax._errors import InputError
from sfa_jax._folders import hold_folder
from sfa_jax.training._processes import Processes

# What may differ when a finished run is measured again, or between processes: it changes nothing of what is measured.
OUTPUT_OPTIONS = (
    *("evaluation.plots", "train.tensorboard"),
    *("data.cache_dir", "data.memory_limit_gb", "data.workers", "data.timeout"),
)
# What else changes nothing of a finished run; between processes it must not differ, whose programs would.
SAME_RESULT_OPTIONS = ("network.remat_frames",)
_VISIBLE_SECONDS = 10.0  # network file systems show a new file late


@contextlib.contextmanager
def hold_together(workdir: Path, processes: Processes) -> Iterator[None]:
    """Process 0 holds the folder, for all processes of the job.

    Raises:
      InputError: as `hold_folder`, or a process does not see the folder.
    """
    with hold_folder(workdir, "--workdir") if processes.first else contextlib.nullcontext():
        with contextlib.ExitStack() as until_seen:

            def leave_token() -> str:
                for left in workdir.glob(".token-*"):  # of a process 0 that was killed while the others looked
                    left.unlink(missing_ok=True)
                return until_seen.enter_context(tempfile.NamedTemporaryFile(prefix=".token-", dir=workdir)).name

            token = workdir / Path(processes.share(leave_token)).name
            deadline = time.monotonic() + _VISIBLE_SECONDS
            while not token.exists() and time.monotonic() < deadline:
                time.sleep(0.1)
            if not token.exists():
                raise InputError(
                    f"--workdir={workdir}: process {processes.index}, in {Path.cwd()} on {socket.gethostname()}, does "
                    "not see what process 0 writes there; expected one folder that all processes see under this path"
                )
            processes.gather(None)
        yield


def check_config_file(workdir: Path) -> None:
    """Raises `InputError` where the folder holds a `config.json` that no run has written: it would be overwritten."""
    path = workdir / "config.json"
    if not path.exists():
        return
    try:
        found = json.loads(path.read_text())
        if not isinstance(found, dict):
            raise ValueError(f"found {found!r}"[:60])
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: expected the config of a run as JSON, cannot read it ({error}); move it away to go on (each "
            "checkpoint has its own copy), or give another --workdir"
        ) from None


def differences(a: Any, b: Any, name: str = "") -> list[str]:
    """Names of the fields in which two nested dicts differ, `group.field`."""
    if isinstance(a, dict) and isinstance(b, dict):
        keys = sorted(a.keys() | b.keys())
        return [found for key in keys for found in differences(a.get(key), b.get(key), f"{name}.{key}".lstrip("."))]
    return [] if a == b else [name]
