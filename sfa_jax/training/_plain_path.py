"""Reach a folder by a path of plain characters."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from sfa_jax._errors import InputError

_PLAIN = re.compile(r"[\w./ +,=@%-]*", re.ASCII)


@contextlib.contextmanager
def plain_path(folder: Path) -> Iterator[Path]:
    """Gives a path to a folder that holds no other characters than letters, digits and a few signs.

    Orbax takes `[`, `*` and `?` anywhere in a path for a pattern, and `gs:` for an address; tensorstore takes a
    backslash for a slash, and no name that is not UTF-8. Both then read or write elsewhere, without an error. So they
    are shown such a folder as a handle of this process, which Linux lists as `/proc/self/fd/NUMBER`.

    Args:
      folder: absolute, and there.

    Yields:
      The folder itself where its path is plain, else a path that is valid while inside, in this process.

    Raises:
      InputError: the path is not plain, and this system has no other to offer.
    """
    if os.name == "nt" or _PLAIN.fullmatch(str(folder)):
        yield folder
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        alias = Path(f"/proc/self/fd/{handle}")
        if not (alias / ".").is_dir():
            odd = sorted(set(_PLAIN.sub("", str(folder))) or set(str(folder)))
            raise InputError(
                f"{str(folder)!r}: checkpoints cannot be kept below a path with {' '.join(map(ascii, odd))}; give one "
                "of letters, digits and . _ - + , = @ % only"
            )
        yield alias
    finally:
        os.close(handle)
