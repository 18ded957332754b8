"""From files and folders to the sources of frames in them."""

import collections
import contextlib
import itertools
import logging
import os
from collections.abc import Sequence
from typing import NamedTuple

from sfa_jax._errors import DamagedError, InputError
from sfa_jax.data._arrays import ArrayFile
from sfa_jax.data._cache import refused
from sfa_jax.data._files import FrameFolder, StackFile, open_pages
from sfa_jax.data._kinds import Kind, is_animated, is_webp_or_avif, kind_of, kind_of_content, reason_against
from sfa_jax.data._listing import LeftOut, list_folder
from sfa_jax.data._order import sort_frames
from sfa_jax.data._pictures import open_image, picture_errors, pillow_warnings
from sfa_jax.data._source import Source
from sfa_jax.data._video import VideoFile
from sfa_jax.data._webp import AnimatedWebp

_log = logging.getLogger("sfa_jax")

_PICTURES = (Kind.PICTURE, Kind.TIFF, Kind.GIF)
_TIFF = "TIFF"  # by whatever suffix


class Given(NamedTuple):
    """A file or folder that exists.

    Attributes:
      path: of it.
      dataset: that of an HDF5 file which holds the frames, or empty.
      matched: by a pattern, so that the order of several is ours to find.
    """

    path: str
    dataset: str = ""
    matched: bool = False


def sources_of(given: Sequence[Given], on_corrupt: str) -> list[Source]:
    """Finds the sources that some files and folders are, in order.

    Pictures of one folder that follow each other are one sequence.

    Args:
      given: the files and folders.
      on_corrupt: "raise" raises for a file that cannot be read, which is left out otherwise where there are others.

    Raises:
      InputError: one is no source of frames, or none can be read.
    """
    found: list[Source] = []
    wrong: list[DamagedError] = []
    for (folder, is_frame), items in itertools.groupby(_readable(given), key=_place):
        group = list(items)
        if is_frame:
            found.append(_frames(folder, group))
            continue
        for item in group:
            try:
                found += folder_sources(item.path, on_corrupt) if os.path.isdir(item.path) else [_file(item)]
            except DamagedError as error:
                if on_corrupt == "raise":
                    raise refused(error) from error
                wrong.append(error)
    if wrong and not found:
        raise wrong[0]
    for damage in wrong:
        _log.warning("%s; it is left out", damage.said)
    return found


def _readable(given: Sequence[Given]) -> list[Given]:
    """Those that may be read; what a pattern matches besides is told."""
    left_out, kept = LeftOut("the pattern"), []
    for item in given:
        if item.matched and os.path.isfile(item.path):
            with contextlib.suppress(OSError):  # is told when it is read
                kind = kind_of(item.path)
                if kind in (Kind.COMPANION, Kind.UNKNOWN):
                    left_out.add_file(os.path.basename(item.path), kind)
                    continue
        kept.append(item)
    if not kept:
        raise InputError(f"nothing that the pattern matches is read, such as {given[0].path}; {EXPECTED}")
    left_out.tell()
    return kept


def folder_sources(folder: str, on_corrupt: str) -> list[Source]:
    """Finds the sources in a folder and those below it, and tells what is left out.

    The pictures of a folder are one sequence; each stack, animation, video and array is a source of its own.

    Args:
      folder: where to look.
      on_corrupt: "raise" raises for a stack or an array that cannot be read, which is left out otherwise.

    Raises:
      InputError: there is none.
    """
    left_out = LeftOut(folder)
    found: list[Source] = []
    counts: collections.Counter[str] = collections.Counter()
    wrong: list[InputError] = []
    for where, files in list_folder(folder, left_out):
        frames: list[str] = []
        odd: list[str] = []
        others: list[Source] = []
        skipped = _single(where, files)
        for name, kind in files.items():
            path = os.path.join(where, name)
            try:
                if kind not in _PICTURES:
                    if not os.path.isfile(path):  # from a pipe nothing may ever come
                        said = f"{path} is a link to nothing, a pipe or a device"
                        raise DamagedError(said, "remove it from the folder", None)
                    others.append(ArrayFile(path) if kind is Kind.ARRAY else VideoFile(path))
                    counts["videos" if kind is Kind.VIDEO else "arrays"] += 1
                    continue
                source, note = (None, "") if name in skipped else _several(path)
            except InputError as error:
                if isinstance(error, DamagedError) and error.n_frames is not None:
                    frames.append(name)  # and is missing there, which is told when the frames are read
                    continue
                if isinstance(error, DamagedError) and on_corrupt == "raise":
                    raise refused(error) from error
                wrong.append(error)
                left_out.add(error.said if isinstance(error, DamagedError) else str(error))
                continue
            others += [source] if source else []
            frames += [] if source else [name]
            counts["stacks or animations" if source else "pictures"] += 1
            odd += [f"{name} {note}"] if note else []
        if frames:
            names, doubts = sort_frames(frames)
            found.append(FrameFolder(where, names, doubts + odd[:1]))
        found += others
    if not found:
        if len(wrong) == 1:
            raise wrong[0]
        said = f" ({left_out})" if str(left_out) else ""
        raise InputError(f"the folder {folder} holds no frames, videos or arrays{said}; {EXPECTED}")
    left_out.tell()
    if len(counts) > 1:
        _log.warning(
            "%s holds %s, and all are read; give one kind by a pattern such as %s if that is not meant",
            folder, " and ".join(f"{count} {kind}" for kind, count in counts.items()), os.path.join(folder, "*.png"),
        )  # fmt: skip
    return found


def _place(given: Given) -> tuple[str, bool]:
    """The folder of a file, and whether the file is one picture; each of the others is its own place."""
    if not os.path.isdir(given.path) and not given.dataset:
        kind = _kind(given.path)
        try:
            single = kind in _PICTURES and _several(given.path)[0] is None
        except DamagedError as error:
            single = error.n_frames is not None  # and is missing among its like
        if single:
            return os.path.dirname(given.path) or ".", True
    return given.path, False


def _frames(folder: str, group: Sequence[Given]) -> Source:
    names = [os.path.basename(item.path) for item in group]
    if len(names) == 1:
        raise InputError(
            f"{group[0].path} is one picture; slowness needs a sequence: give the folder that holds the frames"
        )
    names, doubts = sort_frames(names) if all(item.matched for item in group) else (names, [])
    return FrameFolder(folder, names, doubts)


def _file(given: Given) -> Source:
    path, kind = given.path, _kind(given.path)
    if kind is Kind.ARRAY or given.dataset:
        return ArrayFile(path, given.dataset)
    source = _several(path)[0] if kind in _PICTURES else None
    return source or VideoFile(path)


def _kind(path: str) -> Kind:
    """The kind of a file that is given by its own path.

    Raises:
      InputError: it is of a kind that is known not to be read.
    """
    if os.path.exists(path) and not os.path.isfile(path):  # from a pipe nothing may ever come
        raise InputError(f"{path} is a pipe or a device; give a file")
    try:
        kind = kind_of(path)
        if kind in (Kind.UNKNOWN, Kind.COMPANION):
            reason = reason_against(path)
            if reason:
                raise InputError(f"{path}: {reason}")
            kind = kind_of_content(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); give another file") from error
    return kind


def _several(path: str) -> tuple[Source | None, str]:
    """The source that a file of several pictures is, None of one picture; and what is odd about it.

    Raises:
      DamagedError: it cannot be read, or which of its pictures are frames in time is not known (`n_frames` is None).
    """
    try:
        kind = kind_of_content(path)  # names of files may be wrong
    except OSError:
        return None, ""  # it is told when it is to be read
    if kind is Kind.TIFF:
        pages = open_pages(path)
        return StackFile(path, pages) if len(pages.pages) + pages.n_missing > 1 else None, pages.note
    if kind is Kind.GIF:
        with pillow_warnings(), picture_errors(path), open_image(path, path) as opened:
            animated = bool(getattr(opened, "is_animated", False))
    else:
        animated = kind is Kind.VIDEO or (kind is Kind.PICTURE and is_animated(path))
    if not animated:
        return None, ""
    return AnimatedWebp(path) if is_webp_or_avif(path) else VideoFile(path), ""


def _single(where: str, files: dict[str, Kind]) -> set[str]:
    """Pictures of a folder that need not be looked into, as many of them would take long.

    Where the first file of a suffix has one picture, so have others, but for TIFF files that are half as large again.
    One that has several all the same is left out when it is read, and told.
    """
    by_suffix: dict[str, list[str]] = {}
    for name, kind in files.items():
        if kind in _PICTURES:
            by_suffix.setdefault(_TIFF if kind is Kind.TIFF else os.path.splitext(name)[1].lower(), []).append(name)
    single: set[str] = set()
    for suffix, names in by_suffix.items():
        with contextlib.suppress(OSError, DamagedError):  # are told when they are read
            if _several(os.path.join(where, names[0]))[0] is None:
                single.update(_not_larger(where, names)[1:] if suffix == _TIFF else names[1:])
    return single


def _not_larger(where: str, names: list[str]) -> list[str]:
    sizes = [os.path.getsize(os.path.join(where, name)) for name in names]
    return [name for name, size in zip(names, sizes, strict=True) if 2 * size <= 3 * sizes[0]]


EXPECTED = (
    "path is 'room', 'photo_pan', 'photographs', 'digits', 'digit_film', 'tfds:NAME', a folder of frames, a video "
    "file, a TIFF stack, a .npy, .npz or .h5 array, a folder or list of them, or a pattern with *"
)
