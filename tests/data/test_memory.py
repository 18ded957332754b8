"""Limits of control groups, on made-up files of theirs: the smallest on the way up counts."""

import pytest

from sfa_jax.data import _memory
from sfa_jax.data._cache import available_memory
from sfa_jax.data._memory import _left_by_groups

MB = 1 << 20
NONE = {"memory.max": "max", "memory.limit_in_bytes": 9223372036854771712}
V2 = "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw"
V1 = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,cpu,memory"


@pytest.fixture
def system(tmp_path):
    """`system(names of groups, mounts, {folder: {file: value}})`: least that the groups leave, in MB."""

    def build(groups, mounts, files):
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/cgroup").write_text("".join(f"{line}\n" for line in groups))
        (tmp_path / "proc/self/mountinfo").write_text("".join(f"{line}\n" for line in mounts))
        for folder, values in files.items():
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            for name, value in values.items():
                (tmp_path / folder / name).write_text(f"{value}\n")
        left = list(_left_by_groups(tmp_path))
        return min(left) // MB if left else None

    return build


def v2(limit, used=0, **more):
    return {"memory.max": limit, "memory.current": used, **{f"memory.{name}": value for name, value in more.items()}}


def v1(limit, used=0, **more):
    files = {"memory.limit_in_bytes": limit, "memory.usage_in_bytes": used}
    return files | {f"memory.{name}": value for name, value in more.items()}


GROUP = "sys/fs/cgroup"
CASES = {
    "v2: of a group around it": (
        ["0::/job/step"], [V2], {f"{GROUP}/job": v2(900 * MB, 100 * MB), f"{GROUP}/job/step": v2("max", MB)}, 800,
    ),
    "v2: its own is smaller": (
        ["0::/job/step"], [V2], {f"{GROUP}/job": v2(900 * MB), f"{GROUP}/job/step": v2(300 * MB)}, 300,
    ),
    "v2: memory.high": (["0::/job"], [V2], {f"{GROUP}/job": v2(900 * MB, 0, high=400 * MB)}, 400),
    "v2: cached files give way": (
        ["0::/job"], [V2],
        {f"{GROUP}/job": v2(900 * MB, 850 * MB, stat=f"anon 5\ninactive_file {800 * MB}\nactive_file 9")}, 850,
    ),
    "v2: a container sees its own group as the root": (["0::/"], [V2], {GROUP: v2(500 * MB)}, 500),
    "v2: a group outside of what is shown": (["0::/../../other"], [V2], {GROUP: v2(500 * MB)}, 500),
    "v2: no limit": (["0::/job"], [V2], {f"{GROUP}/job": v2("max", MB)}, None),
    "v2: mounted elsewhere": (
        ["0::/job"], [r"31 23 0:28 / /my\040groups rw - cgroup2 none rw"], {"my groups/job": v2(500 * MB)}, 500,
    ),
    "v2: the mount begins at a group": (
        ["0::/pod/job"], ["31 23 0:28 /pod /sys/fs/cgroup rw - cgroup2 none rw"],
        {f"{GROUP}/job": v2(500 * MB), f"{GROUP}/pod/job": v2(1)}, 500,
    ),
    "v1: of a group around it": (
        ["4:cpu,memory:/slurm/job/step", "1:name=systemd:/x"], [V1],
        {f"{GROUP}/memory/slurm/job": v1(900 * MB, 100 * MB),
         f"{GROUP}/memory/slurm/job/step": v1(NONE["memory.limit_in_bytes"])}, 800,
    ),
    "v1: a container that is told its name outside": (
        ["4:memory:/docker/abc"], [V1.replace(" / /sys", " /docker/abc /sys")], {f"{GROUP}/memory": v1(500 * MB)}, 500,
    ),
    "v1: a container that is not told where its mount begins": (
        ["4:memory:/docker/abc"], [V1], {f"{GROUP}/memory": v1(500 * MB)}, 500,
    ),
    "v1: a limit of a group that is not shown": (
        ["4:memory:/"], [V1],
        {f"{GROUP}/memory": v1(NONE["memory.limit_in_bytes"], 9 * MB, stat=f"hierarchical_memory_limit {300 * MB}\n"
                               f"inactive_file 1\ntotal_inactive_file {5 * MB}")}, 296,
    ),
    "both: version 1 has memory": (
        ["4:memory:/job", "0::/job"], [V1, "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw"],
        {f"{GROUP}/memory/job": v1(500 * MB), f"{GROUP}/unified/job": {"cgroup.procs": 1}}, 500,
    ),
    "no such system": ([], [], {}, None),
    "other lines": (["nonsense", "0::", "3:cpuset:/a"], [V2], {GROUP: v2("", "")}, None),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_groups(system, name):
    groups, mounts, files, left = CASES[name]
    assert system(groups, mounts, files) == left


def test_least_of_all(monkeypatch):
    assert 0 < available_memory() <= _memory._free_of_machine() + 2**30
    monkeypatch.setattr(_memory, "_left_by_groups", lambda root: iter([7 * MB]))
    assert available_memory() == 7 * MB
    monkeypatch.setattr(_memory, "_left_by_groups", lambda root: iter([-MB]))  # more is in use than was allowed
    assert available_memory() == 0


def test_ulimit(monkeypatch):
    resource = pytest.importorskip("resource")
    if not list(_memory.Path("/proc/self").glob("statm")):
        pytest.skip("this system does not say what it uses")
    limits = {resource.RLIMIT_AS: (resource.RLIM_INFINITY, 0), resource.RLIMIT_DATA: (2**50, 2**50)}
    monkeypatch.setattr(resource, "getrlimit", limits.__getitem__)
    (left,) = _memory._left_by_ulimit()
    assert 2**49 < left < 2**50
