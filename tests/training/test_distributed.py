"""Several processes train as one: the same numbers, one writer, one end for all."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from configs import linear_sfa
from sfa_jax._errors import InputError
from sfa_jax.data import ClipSampler, FrameStore, Run
from sfa_jax.training import JobFlags, join, train_and_evaluate
from sfa_jax.training import _agreement as agreement
from sfa_jax.training import _workdir as workdirs
from sfa_jax.training._inputs import Inputs
from sfa_jax.training._mesh import Devices, local


def free_address():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return f"localhost:{free.getsockname()[1]}"


def end(processes, timeout=120):
    """(exit status, stdout, stderr) of each process."""
    answers = [process.communicate(timeout=timeout) for process in processes]
    return [(process.returncode, *answer) for process, answer in zip(processes, answers, strict=True)]


def summary_of(workdir):
    summary = json.loads((workdir / "summary.json").read_text())
    assert summary.pop("frames_per_second") > 0
    return summary


def assert_alike(found, expected, tolerance):
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.fixture(scope="module")
def config(tiny_config, tmp_path_factory):
    config = tiny_config(tmp_path_factory.mktemp("cache"))
    config.evaluation.baselines = ()
    return config


@pytest.fixture(scope="module")
def alone(config, tmp_path_factory):
    """The workdir of a run of one process with one device."""
    workdir = tmp_path_factory.mktemp("alone")
    train_and_evaluate(config, workdir)
    return workdir


PROCESS = """
import json, sys, time
from pathlib import Path
import jax, numpy as np
from ml_collections import ConfigDict
from sfa_jax._errors import InputError
from sfa_jax.training import JobFlags, PeerError, Processes, Stopped, join, train_and_evaluate
from sfa_jax.training import _processes
from sfa_jax.training._mesh import Devices

address, index, config, workdir = sys.argv[1], int(sys.argv[2]), ConfigDict(json.loads(sys.argv[3])), Path(sys.argv[4])
processes = join(JobFlags(address, 2, index, False, 60))
for turn in range(3):
    assert processes.gather({"from": index, "turn": turn}) == [{"from": i, "turn": turn} for i in range(2)]
assert processes.share(lambda: {0: "mine"}[index]) == "mine"
assert processes.first_of(None) is None
assert processes.first_of("here" if index else None) == "here"

given = config.copy_and_resolve_references()
if index:
    config.network.pool = "nothing"
try:
    train_and_evaluate(config, workdir)
except (InputError, PeerError) as error:
    print(error)
config = given
print(json.dumps(train_and_evaluate(config, workdir)))
config.train.steps = config.train.evaluate_every = 100_000
try:
    train_and_evaluate(config, workdir)
except Stopped as stopped:
    print(stopped)

try:
    with Processes() as processes:
        if index:
            raise ValueError("no such file")
        processes.gather(None)
except (ValueError, PeerError) as error:
    print(error)
_processes.GRACE_SECONDS = 0.0
with Processes() as processes:
    if index:
        time.sleep(0.5)
        raise SystemExit("error: it broke")
    devices = Devices((2, 2), 1)
    np.asarray(jax.jit(lambda x: x.sum(), out_shardings=devices.everywhere)(devices.flags(True)))
    print("not reached")
"""


@pytest.fixture(scope="module")
def pair(config, tmp_path_factory):
    """Two processes that did what `PROCESS` says, the second one sent SIGTERM: their workdir and their answers."""
    workdir = tmp_path_factory.mktemp("pair")
    address, arguments = free_address(), (config.to_json(), str(workdir))
    env = os.environ | {"JAX_NUM_CPU_DEVICES": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": env}
    processes = [
        subprocess.Popen([sys.executable, "-c", PROCESS, address, str(index), *arguments], **pipes)
        for index in range(2)
    ]
    try:
        deadline, metrics = time.monotonic() + 120, workdir / "metrics.jsonl"
        while not (metrics.exists() and '"step": 30' in metrics.read_text()):
            assert time.monotonic() < deadline
            assert all(process.poll() is None for process in processes), end(processes)
            time.sleep(0.05)
        processes[1].send_signal(signal.SIGTERM)
        return workdir, end(processes)
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_two_processes_are_one(alone, pair):
    workdir, ((_, out, _), (_, out_1, _)) = pair
    summary, summary_1 = (json.loads(answer.splitlines()[-3]) for answer in (out, out_1))
    assert summary == summary_1
    assert summary == json.loads((workdir / "summary.json").read_text())
    assert_alike(summary_of(workdir), summary_of(alone), 1e-3)
    records = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()][:6]
    splits = [(10, "train"), (10, "eval"), (15, "train"), (20, "train"), (20, "eval")]
    assert [(record["step"], record["split"]) for record in records] == [(5, "train"), *splits]


def test_a_bad_flag_of_one_ends_all(pair):
    _, answers = pair
    for _, out, err in answers:
        assert "--config: process 1 was started with another network.pool than process 0" in out.splitlines()[0], err


def test_a_signal_to_one_stops_all(config, alone, pair, two_devices):
    """What two processes of one device have saved, one process takes up on two devices."""
    workdir, ((_, out, err), (_, out_1, err_1)) = pair
    said, said_1 = (re.findall(r"stopped by SIGTERM: step (\d+) of 100000 is saved", each) for each in (out, out_1))
    assert said == said_1, err + err_1
    step = int(said[0])
    assert step >= 30
    assert str(step) in os.listdir(workdir / "checkpoints")

    config = config.copy_and_resolve_references()
    config.train.steps = step + 5
    summary = train_and_evaluate(config, workdir)
    assert str(step + 5) in os.listdir(workdir / "checkpoints")
    expected = summary_of(alone)
    assert summary.keys() - expected.keys() == {"frames_per_second"}
    assert summary["held_out_frames"] == expected["held_out_frames"]
    assert summary["finite_share"] == 1


def test_a_failure_of_one_ends_all(pair):
    """While the other waits for an answer, and while it is in a collective."""
    _, ((status, out, err), (status_1, out_1, err_1)) = pair
    assert (status, status_1) == (1, 1), err + err_1
    assert out_1.splitlines()[-1] == "no such file"
    assert out.splitlines()[-1] == "process 1 failed: no such file"
    assert err_1.splitlines()[-1] == "error: it broke"
    assert err.splitlines()[-1] == "error: process 1 failed: error: it broke"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"coordinator": "a:1"}, "--num_processes: expected all of --coordinator, --num_processes, --process_id or"),
        ({"num_processes": 2, "process_id": 0}, "--coordinator: expected all of"),
        ({"distributed": True, "process_id": 0}, "--distributed: expected alone, .* got --process_id too"),
        ({"coordinator": "a", "num_processes": 2, "process_id": 0}, "--coordinator: expected HOST:PORT .* got 'a'"),
        ({"coordinator": "a:x", "num_processes": 2, "process_id": 0}, "--coordinator: expected HOST:PORT .* got 'a:x'"),
        *(({"coordinator": address, "num_processes": 2, "process_id": 1}, r"HOST:PORT .* got ")
          for address in ("a:0", "a:65536", "a:-1", ":80", "http://a:80", "::1:80", "[::1]", " a:80", "a:\u0663")),
        ({"coordinator": "a:1", "num_processes": 0, "process_id": 0}, "--num_processes: expected at least 1, got 0"),
        ({"coordinator": "a:1", "num_processes": 2, "process_id": 2}, "--process_id: expected .* 0 to 1, .* got 2"),
        ({"join_timeout": 0}, "--join_timeout: expected seconds, at least 1, got 0"),
    ],
)  # fmt: skip
def test_flags(flags, message):
    with pytest.raises(InputError, match=message):
        join(JobFlags(**flags))


@pytest.fixture
def asked(monkeypatch):
    """What jax is asked to join, in its place."""
    asked = []

    def initialize(*args, **options):
        asked.append(args)
        raise RuntimeError("no jax in this test")

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    return asked


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::1", "::"])
def test_a_taken_port(asked, address):
    """Jax, which may crash there, is not asked; process 1 does not listen, and may be on this machine."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as taken:
        try:
            taken.bind((address, 0))
        except OSError:
            pytest.skip("this machine has no such address")
        taken.listen()
        job = JobFlags(f"localhost:{taken.getsockname()[1]}", 2, 0, False, 20)
        with pytest.raises(InputError, match=r"port \d+ of this machine is taken by another program"):
            join(job)
        assert not asked
        with pytest.raises(InputError, match="no jax in this test"):
            join(job._replace(process_id=1))
    with pytest.raises(InputError, match="no jax in this test"):
        join(job)  # it is free again
    assert [args[2] for args in asked] == [1, 0]


def test_a_port_that_is_not_allowed(asked, monkeypatch):
    def refuse(*args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(InputError, match="this user may not listen at port 80; those from 1024 on"):
        join(JobFlags("localhost:80", 2, 0))
    assert not asked


def test_a_host_that_nobody_knows(asked, caplog):
    """It is asked for again for a while: the name of a machine that has just been started is known late."""
    with pytest.raises(InputError, match=r"no address is known for 'no-such-host\.invalid' .*; give the name"):
        join(JobFlags("no-such-host.invalid:8476", 2, 1, False, 1))
    assert not asked
    assert "trying for 0.5 s" in caplog.text


def test_nobody_comes():
    """Jax would abort; here it ends with a line. Also: a cluster that is none."""
    code = """
import sys
from sfa_jax.training import JobFlags, join
try:
    join(JobFlags(distributed=True))
except ValueError as error:
    print(error, file=sys.stderr)
join(JobFlags(sys.argv[1], 2, 1, False, 1))
"""
    done = subprocess.run([sys.executable, "-c", code, free_address()], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    no_cluster, nobody = done.stderr.splitlines()
    assert "--distributed: expected a cluster that jax recognises" in no_cluster
    assert "process 1 waited 1 s (--join_timeout) to join there" in nobody


class Told:
    """Stands for `Processes`, with the answers of the other one given."""

    index, count, first = 1, 2, False

    def __init__(self, other):
        self.other = other

    def gather(self, value):
        return [self.other, value]

    def share(self, compute):
        return self.other


def test_processes_with_other_flags_or_files(config, tmp_path, monkeypatch):
    first = json.loads(config.to_json())
    first["data"]["cache_dir"] = "elsewhere"
    agreement.check_same_config(config, Told(first))
    first["data"]["batch_size"] = 7
    with pytest.raises(
        InputError, match=r"--config: process 1 was started with another data.batch_size than process 0"
    ):
        agreement.check_same_config(config, Told(first))

    store = FrameStore([Run(np.zeros((9, 4, 4, 3), np.uint8), "run", np.arange(9))])
    inputs = Inputs([], [], store, ClipSampler([9], clip_length=2, batch_size=2))
    answer = {"frames": [9], "shape": [4, 4, 3], "in_memory": False}
    assert not agreement.agree_on_frames(inputs, Told(answer))
    with pytest.raises(
        InputError, match=r"process 1 has found 1 run\(s\) of 9 training frames of \[4, 4, 3\], process 0"
    ):
        agreement.agree_on_frames(inputs, Told(answer | {"frames": [8]}))

    monkeypatch.setattr(workdirs, "_VISIBLE_SECONDS", 0.0)
    match = f"--workdir={tmp_path}: process 1, in .* does not see what process 0 writes"
    with pytest.raises(InputError, match=match), workdirs.hold_together(tmp_path, Told(".token-x")):
        pass


@pytest.fixture
def two_devices(one_device, monkeypatch):
    """Both devices of the tests' own process."""
    monkeypatch.setattr(jax, "devices", jax.local_devices)


@pytest.mark.parametrize("axis", [1, 2])
def test_what_lies_where(two_devices, axis):
    store = FrameStore([Run(np.arange(9 * 12, dtype=np.uint8).reshape(9, 2, 2, 3), "run", np.arange(9))])
    batch = ClipSampler([9], clip_length=4, batch_size=2).at(0)
    stacked = type(batch)(*(field[None] for field in batch))
    devices = Devices(batch.valid.shape, axis)
    part = devices.part(batch.valid.shape)
    assert batch.frames[part].shape == batch.frames.shape  # one process has all devices
    for placed in (devices.share(stacked), devices.share(stacked._replace(frames=store.gather(stacked.frames)))):
        np.testing.assert_array_equal(placed.valid, stacked.valid)
        np.testing.assert_array_equal(placed.run_id, stacked.run_id)
        size = placed.frames.shape[axis]
        assert [shard.data.shape[axis] for shard in placed.frames.addressable_shards] == [size // 2] * 2
    np.testing.assert_array_equal(placed.frames, store.gather(stacked.frames))
    assert local(devices.copy(stacked)).valid.sharding.device_set == {jax.local_devices()[0]}


def test_closed_form_on_two_devices(two_devices, tmp_path, monkeypatch):
    """The frames of a chunk are shared, with the pairs across the border; also the last, padded chunk of a run."""
    config = linear_sfa.get_config("smoke")
    config.data.cache_dir = str(tmp_path / "cache")
    config.data.image_size, config.data.room.n_frames, config.data.room.n_runs = 16, 200, 2
    config.data.clip_length, config.sfa.n_inputs, config.sfa.n_components = 60, 6, 4
    config.evaluation.plots, config.evaluation.baselines = False, ()
    found = train_and_evaluate(config, tmp_path / "two")
    one = jax.local_devices()[:1]
    monkeypatch.setattr(jax, "devices", lambda: one)
    expected = train_and_evaluate(config, tmp_path / "one")
    for summary in (found, expected):
        assert summary.pop("frames_per_second") > 0
    assert_alike(found, expected, 1e-4)
