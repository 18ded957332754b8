"""Listing of a folder: files that may hold frames by their kind, and what is left out, which is told."""

import collections
import logging
import os
from collections.abc import Iterator

from sfa_jax.data._kinds import Kind, kind_of, kind_of_name
from sfa_jax.data._source import natural_key

_log = logging.getLogger("sfa_jax")

_TOOLS = frozenset({".git", ".svn", ".hg", ".ipynb_checkpoints", ".idea", ".vscode", ".cache", ".frames"})
_MOST = 5  # named in a message
Files = dict[str, Kind]


class LeftOut:
    """What is left out of a folder.

    Args:
      folder: that messages name.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._unknown: collections.Counter[str] = collections.Counter()
        self._companions: collections.Counter[str] = collections.Counter()
        self._odd: list[str] = []

    def add(self, said: str) -> None:
        """Adds something by what messages say of it, where its path need not be whole."""
        self._odd.append(said.replace(os.path.join(self._folder, ""), ""))

    def add_file(self, name: str, kind: Kind) -> None:
        """Adds a file that is a companion, or of a kind that is not known."""
        suffix = os.path.splitext(name)[1].lower()
        suffix = "of numbers as suffix" if suffix[1:].isdigit() else suffix or "without suffix"
        (self._companions if kind is Kind.COMPANION else self._unknown)[suffix] += 1

    def __str__(self) -> str:
        """One sentence of what is not usual; empty if there is none."""
        said = self._odd[:_MOST] + ([f"{len(self._odd) - _MOST} more"] if len(self._odd) > _MOST else [])
        n_unknown = self._unknown.total()
        if n_unknown:
            said.insert(0, f"{n_unknown} file(s) of no known kind ({_counted(self._unknown)})")
        return f"{self._folder}: left out are {', '.join(said)}" if said else ""

    def tell(self) -> None:
        """Logs it: usual companions as information, the rest as one warning."""
        if self._companions:
            _log.info(
                "%s: left out are %d companions (%s)",
                self._folder, self._companions.total(), _counted(self._companions),
            )  # fmt: skip
        if str(self):
            _log.warning("%s", self)


def list_folder(folder: str, left_out: LeftOut) -> Iterator[tuple[str, Files]]:
    """Gives each folder below one, itself first, with its files that may hold frames, in natural order.

    Links are followed, but each folder comes once. Hidden files and folders are left out.
    """
    seen: set[str] = set()

    def unreadable(error: OSError) -> None:
        where = os.path.relpath(error.filename, folder)
        left_out.add(f"the folder {where} that cannot be read ({error.strerror})")

    for where, folders, names in os.walk(folder, onerror=unreadable, followlinks=True):
        real = os.path.realpath(where)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        inside = os.path.relpath(where, folder)
        for name in sorted(name for name in folders if name.startswith(".") and name not in _TOOLS):
            n_files = _count_media(os.path.join(where, name))
            if n_files:
                left_out.add(f"the hidden folder {os.path.normpath(os.path.join(inside, name))} ({n_files} files)")
        folders[:] = sorted((name for name in folders if not name.startswith(".")), key=natural_key)
        if not folders and not names and where != folder:
            left_out.add(f"the empty folder {inside}")
        files = {}
        for name in sorted(names, key=natural_key):
            kind = _kind(where, inside, name, left_out)
            if kind is not None:
                files[name] = kind
        yield where, files


def _kind(where: str, inside: str, name: str, left_out: LeftOut) -> Kind | None:
    """The kind of a file that may hold frames; None of others, which are noted."""
    shown = os.path.normpath(os.path.join(inside, name))
    try:
        kind = kind_of(os.path.join(where, name))
    except OSError as error:
        broken = os.path.islink(os.path.join(where, name))
        left_out.add(f"the broken link {shown}" if broken else f"{shown} that cannot be read ({error.strerror})")
        return None
    if name.startswith("._"):  # of macOS, beside each file on other disks
        left_out.add_file(name, Kind.COMPANION)
        return None
    if name.startswith("."):
        if kind not in (Kind.COMPANION, Kind.UNKNOWN):
            left_out.add(f"the hidden file {shown}")
        return None
    if kind in (Kind.COMPANION, Kind.UNKNOWN):
        left_out.add_file(name, kind)
        return None
    return kind


def _count_media(folder: str) -> int:
    """How many files of a folder itself may hold frames by their suffix."""
    try:
        names = os.listdir(folder)
    except OSError:
        return 0
    return sum(kind_of_name(name) not in (None, Kind.COMPANION, Kind.UNKNOWN) for name in names)


def _counted(counts: collections.Counter[str]) -> str:
    said = [f"{count} {suffix}" for suffix, count in counts.most_common(_MOST)]
    return ", ".join(said) + (", ..." if len(counts) > _MOST else "")
