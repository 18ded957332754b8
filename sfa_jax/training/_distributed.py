"""Joining a job of several processes, as the flags of `train.py` say."""

import contextlib
import errno
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

import jax

from sfa_jax._errors import InputError
from sfa_jax.training._processes import Processes

_log = logging.getLogger("sfa_jax")
_RESOLVE_SECONDS = 30.0  # the name of a machine that has just been started is known late


class JobFlags(NamedTuple):
    """Which job a process belongs to; by default, to none but its own.

    Attributes:
      coordinator: `HOST:PORT` where process 0 listens.
      num_processes: of the job.
      process_id: of this process, counted from 0.
      distributed: jax finds the three above out from the cluster.
      join_timeout: seconds until all processes must have come.
    """

    coordinator: str | None = None
    num_processes: int | None = None
    process_id: int | None = None
    distributed: bool = False
    join_timeout: int = 300


def join(job: JobFlags) -> Processes:
    """Joins the job of `jax.distributed` that the flags describe; to be called before jax is used in any other way.

    Of all processes but the first, only errors are shown on the screen.

    Args:
      job: the flags.

    Returns:
      The processes of the job; one where the flags are not given.

    Raises:
      InputError: a flag is wrong, or jax cannot join with them. Where not all processes come within the time limit,
        jax would abort the process with a stack trace: before that, it is ended with a line and status 1.
    """
    _check(job)
    if job.distributed or job.coordinator:
        with _time_limit(job):
            if job.coordinator:
                _check_address(job)
            try:
                jax.distributed.initialize(*job[:3], initialization_timeout=2 * job.join_timeout)
                jax.devices()  # the processes tell each other their devices
            except (RuntimeError, ValueError, KeyError, OSError, ImportError) as error:
                raise InputError(_refusal(job, error)) from error
        if jax.default_backend() == "cpu" and jax.process_count() > 1:
            jax.config.update("jax_enable_compilation_cache", False)  # see `_stoppable` in the driver
    processes = Processes()
    if not processes.first:
        logging.getLogger("sfa_jax").setLevel(logging.ERROR)
    return processes


def _check(job: JobFlags) -> None:
    given = {f"--{name}": value is not None for name, value in zip(job._fields[:3], job[:3], strict=True)}
    if job.distributed and any(given.values()):
        extra = next(name for name, is_given in given.items() if is_given)
        raise InputError(f"--distributed: expected alone, as the cluster tells the rest, got {extra} too; drop one")
    if any(given.values()) and not all(given.values()):
        missing = next(name for name, is_given in given.items() if not is_given)
        raise InputError(f"{missing}: expected all of {', '.join(given)} or none of them, this one is missing; add it")
    if job.join_timeout < 1:
        raise InputError(f"--join_timeout: expected seconds, at least 1, got {job.join_timeout}")
    if job.coordinator is None or job.num_processes is None or job.process_id is None:
        return
    _split(job.coordinator)
    if job.num_processes < 1:
        raise InputError(f"--num_processes: expected at least 1, got {job.num_processes}")
    if not 0 <= job.process_id < job.num_processes:
        raise InputError(
            f"--process_id: expected a number from 0 to {job.num_processes - 1}, as --num_processes="
            f"{job.num_processes}, got {job.process_id}"
        )


def _split(coordinator: str) -> tuple[str, int]:
    """Splits an address into the host, without the brackets of IPv6, and the port."""
    host, _, port = coordinator.rpartition(":")
    in_brackets = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if in_brackets else host
    number = int(port) if port.isascii() and port.isdigit() else 0
    if not host or host != host.strip() or "/" in host or (":" in host) != in_brackets or not 0 < number < 2**16:
        raise InputError(
            "--coordinator: expected HOST:PORT of process 0, such as 10.0.0.1:8476 or [fd00::1]:8476, with a port from "
            f"1 to 65535, got {coordinator!r}"
        )
    return host, number


def _check_address(job: JobFlags) -> None:
    """Says what is wrong with an address before jax uses it, which may crash where it cannot listen.

    Raises:
      InputError: process 0 cannot listen at the port, or nobody knows the host.
    """
    host, port = _split(job.coordinator or "")
    if job.process_id == 0:
        _check_port(job, port)
    deadline, told = time.monotonic() + min(_RESOLVE_SECONDS, job.join_timeout / 2), False
    while True:
        try:
            socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            return
        except (OSError, UnicodeError) as error:  # no name of a machine is longer than 63 characters between its dots
            said = f"--coordinator={job.coordinator}: no address is known for {host!r} ({error})"
        if time.monotonic() > deadline:
            raise InputError(f"{said}; give the name or the address of the machine of process 0")
        if not told:
            _log.warning("%s; trying for %.3g s", said, min(_RESOLVE_SECONDS, job.join_timeout / 2))
            told = True
        time.sleep(0.5)


def _check_port(job: JobFlags, port: int) -> None:
    """Listens for a moment where jax is going to: on all addresses of this machine."""
    family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
    with socket.socket(family) as probe:
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # IPv4 as well
        if os.name == "posix":  # a port that was just given up is free; on Windows it would mean to share it
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
            probe.listen()
        except OSError as error:
            why = {
                errno.EADDRINUSE: f"port {port} of this machine is taken by another program, or another job",
                errno.EACCES: f"this user may not listen at port {port}; those from 1024 on are free to all",
            }.get(error.errno or 0, f"process 0 cannot listen at port {port} ({error.strerror or error})")
            raise InputError(
                f"--coordinator={job.coordinator}: {why}; give another port, to all processes of the job"
            ) from None


@contextlib.contextmanager
def _time_limit(job: JobFlags) -> Iterator[None]:
    """Ends the process after the time limit, and at once on Ctrl-C: jax waits where no exception reaches it."""
    timer = threading.Timer(job.join_timeout, _give_up, [job])
    timer.daemon = True
    in_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, signal.SIG_DFL) if in_main else None
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if in_main:
            signal.signal(signal.SIGINT, before)


def _give_up(job: JobFlags) -> None:
    waited = f"waited {job.join_timeout} s (--join_timeout)"
    if job.distributed:
        said = f"--distributed: {waited} for all processes of the job that the cluster tells of; not all have come"
    elif job.process_id == 0:
        said = (
            f"--num_processes={job.num_processes}: process 0 {waited} at --coordinator={job.coordinator}, and not all "
            f"the others came; start every --process_id from 0 to {(job.num_processes or 1) - 1} with this address"
        )
    else:
        said = (
            f"--coordinator={job.coordinator}: process {job.process_id} {waited} to join there; see that all processes "
            "run, and that this address is that of process 0 and can be reached from here"
        )
    print(f"error: {said}", file=sys.stderr, flush=True)
    os._exit(1)


def _refusal(job: JobFlags, error: Exception) -> str:
    said = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    if job.distributed:
        return (
            f"--distributed: expected a cluster that jax recognises (Slurm, Open MPI, a TPU pod, ...), but {said}; "
            "give --coordinator, --num_processes and --process_id instead"
        )
    hint = "; is its port taken? Give another one to all processes" if job.process_id == 0 else ""
    return f"--coordinator={job.coordinator}: process {job.process_id} cannot join there: {said}{hint}"
