"""Check paths, hold folders for one process at a time, and write files whole."""

import contextlib
import json
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sfa_jax._errors import InputError

_log = logging.getLogger("sfa_jax")

try:
    import fcntl
except ImportError:  # Windows has no flock: there nothing keeps two processes apart
    fcntl = None  # type: ignore[assignment]


# A URL, a folder of another machine as rsync names it, and where it is none of this system's a drive of Windows.
_ELSEWHERE = re.compile(r"[\w.+@-]{2,}:/" if os.name == "nt" else r"[\w.+@-]+:[/\\]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_VARIABLE = re.compile(r"\$([A-Za-z_]\w*|\{\w+\})")
_NO_PATH = ("None", "none", "null")  # what templates and config files put where nothing was given
_LONGEST = 3800  # bytes; systems take 4095, and files below need some
_LONGEST_PART = 255


def as_path(given: Any, name: str) -> Path:
    """Brings a path that a user gave to its one form: absolute, `~` and `~user` replaced.

    What would silently become another folder than was meant is refused: a URL, a variable that no shell has replaced,
    the text "None", control characters, and spaces at an end of a path that does not exist.

    Args:
      given: text or a path, relative to the current folder.
      name: of the argument that gives it, for messages.

    Raises:
      InputError: it cannot be such a path.
    """
    try:
        text = os.fsdecode(given)
    except TypeError:
        raise InputError(f"{name}: expected a path, got {given!r}") from None
    try:
        n_bytes = [len(os.fsencode(part)) for part in (text, *text.split(os.sep))]
    except UnicodeEncodeError as error:
        raise InputError(f"{name}: {text!r} has characters that no name of a file here can have ({error})") from None

    def refuse(why: str) -> InputError:
        return InputError(f"{name}={text!r}: {why}")

    if not text.strip() or text in _NO_PATH:
        raise refuse("expected a path; leave the argument out if there is none")
    if _ELSEWHERE.match(text):
        raise refuse("expected a path of this machine, got an address; mount what it names, and give the path there")
    if _CONTROL.search(text):
        raise refuse("expected a path without line ends, tabs and other control characters; take them out")
    if n_bytes[0] > _LONGEST or max(n_bytes[1:]) > _LONGEST_PART:
        raise refuse(f"expected at most {_LONGEST} bytes, and {_LONGEST_PART} for each name in it; give a shorter path")
    try:
        path = Path(text).expanduser().absolute()
        path = path.resolve() if ".." in path.parts else path
    except (RuntimeError, OSError) as error:  # no such user, the current folder was removed, links in a circle
        raise refuse(f"cannot tell where this is ({error}); give an absolute path") from None
    if text != text.strip() and not os.path.exists(path):
        raise refuse("no such folder or file; a space stands at an end of this path: take it off")
    for folder in (path, *path.parents):
        variable = _VARIABLE.search(folder.name)
        if variable and not os.path.exists(folder):
            raise refuse(f"no such folder or file; {variable[0]} was not replaced by a value: give the value itself")
    return path


def is_utf8(path: Path) -> bool:
    """Says whether libraries in other languages, which take nothing else, can be given a path."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


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
