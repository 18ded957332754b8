"""The folder of a run: one process at a time holds it, and its config is compared with the one before."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sfa_jax._errors import InputError

try:
    import fcntl
except ImportError:  # Windows has no flock: there nothing keeps two processes apart
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def hold_workdir(workdir: Path) -> Iterator[None]:
    """Makes the folder, and keeps other processes out of it while inside.

    Raises:
      InputError: it cannot be made or written, or another process holds it.
    """
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        if not os.access(workdir, os.W_OK):
            raise PermissionError("not writable")
        lock = (workdir / ".lock").open("a+")
    except OSError as error:
        raise InputError(
            f"--workdir={workdir}: cannot make or write this folder ({error.strerror or error}); give a path below a "
            "folder that exists and is writable"
        ) from None
    with lock:
        if fcntl:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                raise InputError(
                    f"--workdir={workdir}: another run (process {lock.read().strip() or 'unknown'}) is writing there; "
                    "wait for its end, stop it, or give another --workdir"
                ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield  # the system lets go of the lock with the process, however that ends


def config_differences(workdir: Path, config: Any) -> list[str]:
    """Names of the fields in which a config differs from the one that the run in the folder was last given.

    Raises:
      InputError: what the folder holds cannot be read.
    """
    path = workdir / "config.json"
    if not path.exists():
        return []
    try:
        before = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: expected the config of a run as JSON, cannot read it ({error}); move it away to go on (each "
            "checkpoint has its own copy), or give another --workdir"
        ) from None
    return _differences(before, json.loads(config.to_json()))


def write_json(path: Path, value: Any) -> None:
    """Writes a file whole or not at all."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(value, indent=2) + "\n")
    os.replace(temporary, path)


def _differences(a: Any, b: Any, name: str = "") -> list[str]:
    if isinstance(a, dict) and isinstance(b, dict):
        keys = sorted(a.keys() | b.keys())
        return [found for key in keys for found in _differences(a.get(key), b.get(key), f"{name}.{key}".lstrip("."))]
    return [] if a == b else [name]
