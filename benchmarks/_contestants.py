"""Contestants of a benchmark: each in a process of its own, measured in turns, the others asleep."""

import statistics
import subprocess
import sys
import time

PAUSE = 0.2  # seconds before each turn: the threads of a BLAS spin for a while after their work, on everybody's cores


class Contestant:
    """A process that ends up in `serve`, warmed up.

    Args:
      command: the process's command line.

    Raises:
      RuntimeError: it ended before it was ready; the message is the last line it wrote.
    """

    def __init__(self, command):
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        word, _, self.result = self._process.stdout.readline().strip().partition(" ")
        if word != "ready":
            said = self._process.communicate()[1].strip().splitlines()
            raise RuntimeError(said[-1][:120] if said else "no word")

    def seconds(self):
        """How long one more call took."""
        print("go", file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline())

    def close(self):
        self._process.communicate()


def serve(call, result=""):
    """What the process of a `Contestant` does: says `result`, then measures one call a line of its input."""
    print(f"ready {result}", flush=True)
    for _ in sys.stdin:
        print(seconds(call), flush=True)


def seconds(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def medians(contestants, rounds):
    """The median seconds of a call of each of `{name: contestant}`, over rounds in which all take their turn."""
    times = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, contestant in contestants.items():
            time.sleep(PAUSE)
            times[name].append(contestant.seconds())
    for contestant in contestants.values():
        contestant.close()
    return {name: statistics.median(values) for name, values in times.items()}
