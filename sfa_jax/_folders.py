"""Folders that commands write: one process at a time holds one, and files are written whole."""

import contextlib
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sfa_jax._errors import InputError

_log = logging.getLogger("sfa_jax")

try:
    import fcntl
except ImportError:  # Windows has no flock: there nothing keeps two processes apart
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def hold_folder(folder: Path, name: str) -> Iterator[None]:
    """Makes the folder, and keeps other processes out of it while inside.

    Args:
      folder: what is made and held.
      name: of the argument that gives it, for messages.

    Raises:
      InputError: it cannot be made or written, or another process holds it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError("not writable")
        lock = (folder / ".lock").open("a+")
    except OSError as error:
        raise InputError(
            f"{name}={folder}: cannot make or write this folder ({error.strerror or error}); give a path below a "
            "folder that exists and is writable"
        ) from None
    with lock:
        if fcntl:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                raise InputError(
                    f"{name}={folder}: another run (process {lock.read().strip() or 'unknown'}) is writing there; "
                    f"wait for its end, stop it, or give another {name}"
                ) from None
            except OSError as error:
                _log.warning("%s: its file system has no locks (%s); start no other run there", folder, error.strerror)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield  # the system lets go of the lock with the process, however that ends


def write_json(path: Path, value: Any) -> None:
    """Writes a file whole or not at all."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(value, indent=2) + "\n")
    os.replace(temporary, path)
