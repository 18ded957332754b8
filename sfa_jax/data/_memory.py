"""Tell how much memory this process can still have, within the limits that its system sets for it."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_UNKNOWN = 4 << 30  # where the system does not say
# Names of a control group's files: limits, memory in use, and what of that is cached files that give way when needed.
_FILES = {
    2: (("memory.max", "memory.high"), "memory.current", "inactive_file"),
    1: (("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_inactive_file"),
}
_USUAL = {2: "/sys/fs/cgroup", 1: "/sys/fs/cgroup/memory"}


def available_memory() -> int:
    """Bytes of physical memory that can still be had.

    The least of what the machine has free, what the control groups of this process (of Slurm, systemd or a container,
    version 1 or 2) and all groups around them leave, and what `ulimit -v` and `ulimit -d` leave.
    """
    return max(0, min([_free_of_machine(), *_left_by_groups(Path("/")), *_left_by_ulimit()]))


def _free_of_machine() -> int:
    with contextlib.suppress(OSError, ValueError, IndexError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
    with contextlib.suppress(AttributeError, OSError, ValueError):  # Windows has no sysconf
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return _UNKNOWN


def _left_by_ulimit() -> Iterator[int]:
    with contextlib.suppress(ImportError, OSError, ValueError, IndexError):
        import resource  # not on Windows

        pages = Path("/proc/self/statm").read_text().split()
        for which, used in ((resource.RLIMIT_AS, pages[0]), (resource.RLIMIT_DATA, pages[5])):
            limit = resource.getrlimit(which)[0]
            if limit != resource.RLIM_INFINITY:
                yield limit - int(used) * os.sysconf("SC_PAGE_SIZE")


def _left_by_groups(root: Path) -> Iterator[int]:
    """Yields what each control group of this process, and each around it, leaves; `root` is "/" but in tests."""
    for version, group in _groups(root):
        for mount, top in _mounts(root, version):
            # A container is shown the groups from `top` on, which its own name may or may not begin with.
            below = PurePosixPath(group)
            below = below.relative_to(top) if below.is_relative_to(top) else below.relative_to("/")
            for part in (below, *below.parents):
                if ".." not in part.parts:
                    yield from _left_by(root / mount.lstrip("/") / part, version)


def _groups(root: Path) -> Iterator[tuple[int, str]]:
    """Yields version and name of the groups that limit memory: lines `0::/name` (2) and `4:cpu,memory:/name` (1)."""
    lines: list[str] = []
    with contextlib.suppress(OSError):
        lines = (root / "proc/self/cgroup").read_text(errors="surrogateescape").splitlines()
    for number, controllers, name in (line.split(":", 2) for line in lines if line.count(":") >= 2):
        if name.startswith("/") and number == "0" and not controllers:
            yield 2, name
        elif name.startswith("/") and "memory" in controllers.split(","):
            yield 1, name


def _mounts(root: Path, version: int) -> list[tuple[str, str]]:
    """Lists where the groups of a version are mounted, and the group that each mount begins with."""
    found: list[tuple[str, str]] = []
    with contextlib.suppress(OSError):
        for line in (root / "proc/self/mountinfo").read_text(errors="surrogateescape").splitlines():
            fields, _, kind = line.partition(" - ")
            top, mount = fields.split()[3:5]
            system, _, options = kind.split(maxsplit=2)
            if (system == "cgroup2" and version == 2) or (
                system == "cgroup" and version == 1 and "memory" in options.split(",")
            ):
                found.append((_unescape(mount), _unescape(top)))
    usual = _USUAL[version]
    return found if usual in dict(found) else [*found, (usual, "/")]


def _unescape(text: str) -> str:
    r"""Restores a path of mountinfo, where a space stands as `\040`."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def _left_by(group: Path, version: int) -> Iterator[int]:
    limits, used, cached = _FILES[version]
    stat = dict(line.split()[:2] for line in _read(group / "memory.stat").splitlines() if len(line.split()) > 1)
    given = [_read(group / name).strip() for name in limits] + [stat.get("hierarchical_memory_limit", "")]
    numbers = [int(text) for text in given if text.isdigit()]  # others are "max", or not there
    if numbers:
        in_use = _read(group / used).strip()
        reclaimable = int(stat.get(cached, 0))
        yield min(numbers) - max(0, (int(in_use) if in_use.isdigit() else 0) - reclaimable)


def _read(path: Path) -> str:
    with contextlib.suppress(OSError, ValueError):
        return path.read_text()
    return ""
