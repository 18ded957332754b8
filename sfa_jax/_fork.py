"""Refuse to compute in a process that was forked from one that has computed with jax."""

import os

_user: int | None = None  # the process in which jax was first used from here, also as its forked children see it


def check_not_forked() -> None:
    """Raises where jax would wait forever; every function that computes on the host's side calls it first.

    A forked process has the locks of jax's threads, but not the threads.

    Raises:
      RuntimeError: this process was forked from one that had called this.
    """
    global _user
    _user = _user or os.getpid()
    if _user != os.getpid():
        raise RuntimeError(
            f"this process ({os.getpid()}) was forked from one that has used jax ({_user}), and jax does not work in "
            'it; start processes by "spawn" or "forkserver", as in multiprocessing.get_context("spawn").Pool(), or '
            "compute before the fork"
        )
