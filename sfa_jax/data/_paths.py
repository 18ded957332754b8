"""From a path, a list or a pattern to the sources that it stands for."""

import difflib
import glob
import os
from collections.abc import Iterator, Sequence

from sfa_jax._errors import InputError
from sfa_jax.data._arrays import ARRAY_SUFFIXES, ArrayFile
from sfa_jax.data._files import IMAGE_SUFFIXES, FrameFolder, walk
from sfa_jax.data._packaged import VIDEOS, find_video
from sfa_jax.data._source import Source, natural_key
from sfa_jax.data._tfds_open import PREFIX, is_set
from sfa_jax.data._video import VIDEO_SUFFIXES, VideoFile

PathLike = str | os.PathLike[str]
WORLDS = "room", "photo_pan", "photographs", "digits", "digit_film"
"""What is drawn, not read; each name is a path, and the option of `load` that holds its options."""

_EXPECTED = (
    "path is 'room', 'photo_pan', 'photographs', 'digits', 'digit_film', 'tfds:NAME', a folder of frames, a video "
    "file, a .npy or .npz array, a folder or list of videos, or a pattern with *"
)


def find_sources(path: PathLike | Sequence[PathLike]) -> list[Source]:
    """The files and folders that a path stands for, in order, none of them read yet.

    Raises:
      InputError: one does not exist, or cannot be a source of frames.
    """
    return list(_sources(_paths(path)))


def _paths(path: PathLike | Sequence[PathLike]) -> list[str]:
    """Every path that `path` stands for; all of them exist."""
    if isinstance(path, str):
        return _split(path)
    if isinstance(path, os.PathLike):
        return _expand(os.fspath(path))
    if not isinstance(path, Sequence) or not path or not all(isinstance(item, (str, os.PathLike)) for item in path):
        raise InputError(f"path must be text, a path or a list of them; got {path!r}")
    return [found for item in path for found in _expand(os.fspath(item))]


def _split(text: str) -> list[str]:
    """Splits at commas, but never inside a path that exists."""
    pieces = text.split(",")
    found: list[str] = []
    while pieces:
        for count in range(len(pieces), 0, -1):
            candidate = ",".join(pieces[:count]).strip()
            if os.path.exists(os.path.expanduser(candidate)) or count == 1:
                break
        pieces = pieces[count:]
        if candidate or not text.strip():
            found.extend(_expand(candidate))
    return found


def _expand(path: str) -> list[str]:
    expanded = os.path.expanduser(path)
    if path and os.path.exists(expanded):
        return [expanded]
    if path in WORLDS or path.startswith(PREFIX):
        raise _alone(path, "drawn" if path in WORLDS else "a set of TFDS")
    if path in VIDEOS:
        return [find_video(path)]
    if glob.has_magic(expanded):
        matches = sorted(glob.glob(expanded), key=natural_key)
        if not matches:
            raise InputError(f"no file matches the pattern {path!r}; give a pattern that does")
        return matches
    raise InputError(f"path {path!r} does not exist{_suggestion(expanded)}; {_EXPECTED}")


def _alone(path: str, what: str) -> InputError:
    return InputError(f"path: {path!r} is {what}, which is given alone; expected files and folders where several are")


def _suggestion(path: str) -> str:
    """The existing neighbour whose name is nearest, as a question."""
    folder, name = os.path.split(os.path.abspath(path))
    names = [entry.name for entry in os.scandir(folder)] if os.path.isdir(folder) else []
    if not names:
        while not os.path.isdir(folder):
            folder = os.path.dirname(folder)
        return f" ({folder} does, with nothing of that name)"
    near = difflib.get_close_matches(name, names, n=1)
    return f" (did you mean {os.path.join(os.path.dirname(path), near[0])!r}?)" if near else ""


def _sources(paths: Sequence[str]) -> Iterator[Source]:
    for path in paths:
        if is_set(path):
            raise _alone(path, "a set of TFDS")
        if os.path.isdir(path):
            yield from _folder(path)
        else:
            yield _file(path)


def _file(path: str) -> Source:
    if os.path.exists(path) and not os.path.isfile(path):  # from a pipe nothing may ever come
        raise InputError(f"{path} is a pipe or a device; give a file")
    suffix = os.path.splitext(path)[1].lower()
    if suffix in ARRAY_SUFFIXES:
        return ArrayFile(path)
    if suffix in IMAGE_SUFFIXES:
        raise InputError(f"{path} is one picture; slowness needs a sequence: give the folder that holds the frames")
    return VideoFile(path)


def _folder(folder: str) -> list[Source]:
    """The sources in a folder and its sub-folders: one for each folder of frames, or one for each video or array."""
    frames: list[Source] = []
    files: list[str] = []
    for where, names in walk(folder):
        images = [name for name in names if os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES]
        if images:
            frames.append(FrameFolder(where, images))
        others = VIDEO_SUFFIXES | ARRAY_SUFFIXES
        files += [os.path.join(where, name) for name in names if os.path.splitext(name)[1].lower() in others]
    if frames and files:
        raise InputError(
            f"the folder {folder} holds frames (in {frames[0].name}) and also files such as {files[0]}: give one kind, "
            f"for instance by the pattern {os.path.join(folder, '*' + os.path.splitext(files[0])[1])!r}"
        )
    if not frames and not files:
        raise InputError(f"the folder {folder} holds no frames, videos or arrays; {_EXPECTED}")
    return frames or [_file(path) for path in files]
