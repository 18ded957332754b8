"""From text, a list or a pattern to the files and folders that it stands for."""

import difflib
import glob
import logging
import os
import re
from collections.abc import Iterator, Sequence

from sfa_jax._errors import InputError
from sfa_jax._folders import as_path
from sfa_jax.data._kinds import reason_against
from sfa_jax.data._packaged import VIDEOS, find_video
from sfa_jax.data._source import Source, natural_key
from sfa_jax.data._sources import EXPECTED, Given, sources_of
from sfa_jax.data._tfds_open import PREFIX, is_set

_log = logging.getLogger("sfa_jax")

PathLike = str | os.PathLike[str]
WORLDS = "room", "photo_pan", "photographs", "digits", "digit_film"
"""What is drawn, not read; each name is a path, and the option of `load` that holds its options."""


def find_sources(path: PathLike | Sequence[PathLike], on_corrupt: str) -> list[Source]:
    """Finds the sources that a path stands for, in order, none of them read yet.

    Args:
      path: as of `load`.
      on_corrupt: as of `load`.

    Raises:
      InputError: one does not exist, or cannot be a source of frames.
    """
    given = _paths(path)
    for item in given:
        if is_set(item.path):
            raise _alone(item.path, "a set of TFDS")
        if os.path.isdir(item.path) and reason_against(item.path):
            raise InputError(f"{item.path}: {reason_against(item.path)}")
    return sources_of(given, on_corrupt)


def _paths(path: PathLike | Sequence[PathLike]) -> list[Given]:
    """Every path that `path` stands for; all of them exist."""
    if isinstance(path, str):
        return _split(path)
    if isinstance(path, os.PathLike):
        return _expand(os.fspath(path))
    if not isinstance(path, Sequence) or not path or not all(isinstance(item, (str, os.PathLike)) for item in path):
        raise InputError(f"path must be text, a path or a list of them; got {path!r}")
    return [found for item in path for found in _expand(os.fspath(item))]


def _split(text: str) -> list[Given]:
    """Splits at commas, but never inside a path that exists."""
    pieces = text.split(",")
    found: list[Given] = []
    while pieces:
        for count in range(len(pieces), 0, -1):
            candidate = ",".join(pieces[:count]).strip()
            if os.path.exists(os.path.expanduser(candidate)) or count == 1:
                break
        pieces = pieces[count:]
        if candidate or not text.strip():
            found.extend(_expand(candidate))
    return found


def _expand(path: str) -> list[Given]:
    expanded = os.path.expanduser(path)
    if path and os.path.exists(expanded):
        return [Given(expanded)]
    if path in WORLDS or path.startswith(PREFIX):
        raise _alone(path, "drawn" if path in WORLDS else "a set of TFDS")
    if path in VIDEOS:
        return [Given(find_video(path))]
    as_path(path, "path")  # refuses addresses, and variables that no shell has replaced
    option = re.fullmatch(r"(.+)\?(\w+)=(.*)", expanded)
    if option and os.path.isfile(option[1]):
        if option[2] != "frames" or not option[3]:
            raise InputError(
                f"path {path!r}: expected ?frames=DATASET after an HDF5 file, got ?{option[2]}={option[3]}"
            )
        return [Given(option[1], option[3])]
    if glob.has_magic(expanded):
        return list(_matches(path, expanded))
    raise InputError(f"path {path!r} does not exist{_suggestion(expanded)}; {EXPECTED}")


def _matches(path: str, pattern: str) -> Iterator[Given]:
    """What a pattern matches, in natural order; brackets that may be meant literally are told."""
    matches = sorted(glob.glob(pattern, recursive=True), key=natural_key)
    if "**" in pattern:  # matches folders and also all that is in them
        matches = [match for match in matches if not os.path.isdir(match)]
    literal = pattern.replace("[", "[[]")
    others = glob.glob(literal) if literal != pattern else []
    hint = (
        f"; in a pattern, [...] stands for one of the characters in it: for {others[0]} and its like write "
        f"{path.replace('[', '[[]')!r}"
        if others
        else ""
    )
    if not matches:
        raise InputError(f"no file matches the pattern {path!r}{hint or '; give a pattern that does'}")
    if hint:
        _log.warning("%s matches %s%s", path, matches[0], hint)
    yield from (Given(match, matched=True) for match in matches)


def _alone(path: str, what: str) -> InputError:
    return InputError(f"path: {path!r} is {what}, which is given alone; expected files and folders where several are")


def _suggestion(path: str) -> str:
    """The existing neighbor whose name is nearest, as a question."""
    folder, name = os.path.split(os.path.abspath(path))
    names = [entry.name for entry in os.scandir(folder)] if os.path.isdir(folder) else []
    if not names:
        while not os.path.isdir(folder):
            folder = os.path.dirname(folder)
        return f" ({folder} does, with nothing of that name)"
    near = difflib.get_close_matches(name, names, n=1)
    return f" (did you mean {os.path.join(os.path.dirname(path), near[0])!r}?)" if near else ""
