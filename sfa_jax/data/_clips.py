"""From runs to batches of clips: which frames each batch holds is a pure function of the seed and the step."""

import functools
import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from sfa_jax._errors import InputError
from sfa_jax.data._checks import check_whole

_log = logging.getLogger("sfa_jax")
ORDERS = ("shuffled", "consecutive", "in_turn")


class Batch(NamedTuple):
    """The one batch that every job sees. A pair of frames is a clip of length 2.

    Attributes:
      frames: `[batch, time, height, width, channel]` uint8; as a `ClipSampler` gives it, int32 `[batch, time]`
        numbers of frames instead, for `FrameStore.gather` or a gather on the device.
      valid: `[batch, time]` bool, false where a frame is padding.
      reset: `[batch, time]` bool, true where a frame does not follow on the one before it: the carry is zeroed.
      run_id: `[batch]` int32, the run each clip comes from.
    """

    frames: Any
    valid: Any
    reset: Any
    run_id: Any


class _Clips(NamedTuple):
    """Clips as they are drawn: first frame, run, number of frames, and whether each follows on the one before."""

    start: np.ndarray
    run: np.ndarray
    length: np.ndarray
    follows: np.ndarray


class ClipSampler:
    """The order in which clips are drawn. Step k's batch depends on the arguments alone, so that resuming is exact.

    "shuffled": every epoch goes once through all pairs of consecutive frames, in clips that share one frame with the
    next, start at a random phase and come in random order; what does not fill a batch is left out of that epoch. Clips
    of one frame are single images: every epoch goes once through all frames.

    "consecutive": `batch_size` readers, spread evenly over the frames, each go through all runs without end, a clip a
    step, so that a carried state goes on. `reset` is set exactly where a clip does not begin right after the last
    frame of the reader's clip before: where it begins a run. Every second reader begins its clips half a clip later
    than the others, and each changes from one to the other when it has come round, so that a pair across the border
    of two clips lies inside a clip of the next reader that comes by: each pair of consecutive frames, and each up to
    half a clip apart, is in a batch at least once in any `3 * steps_per_epoch + 4` steps. The last clip of a run is
    padded. The seed plays no part.

    "in_turn": one reader goes through all runs, every frame once an epoch, and begins anew. The last clip of a run is
    padded, which may be all of a short one, `reset` is set where a clip begins a run. For moments, which are sums over
    all frames.

    Args:
      lengths: number of frames of each run.
      clip_length: frames of a clip, at least 2; "shuffled" also takes 1.
      batch_size: clips of a batch; fewer where the data do not give as many.
      order: "shuffled", "consecutive" or "in_turn".
      seed: of the order, at least 0.

    Attributes:
      batch_size: clips of a batch.
      steps_per_epoch: how many batches it takes to draw every clip about once.

    Raises:
      InputError: an argument is out of its range, or no run is as long as a clip ("in_turn": has two frames).
    """

    def __init__(
        self,
        lengths: Sequence[int] | np.ndarray,
        *,
        clip_length: int,
        batch_size: int,
        order: str = "shuffled",
        seed: int = 0,
    ):
        if order not in ORDERS:
            raise InputError(f"data.order: expected one of {ORDERS}, got {order!r}")
        if order == "shuffled":
            check_whole("data.clip_length", clip_length, 1, "frame (a single image; 2 are a pair)")
        else:
            check_whole("data.clip_length", clip_length, 2, f"frames (one pair) with data.order={order}")
        check_whole("data.batch_size", batch_size, 1, "clip")
        check_whole("seed", seed, 0)
        longest = int(max(lengths, default=0))
        if longest < (2 if order == "in_turn" else clip_length):
            raise InputError(
                f"data.clip_length: a clip of {clip_length} frames is longer than every run (the longest has {longest} "
                f"frames for training); set it to at most {longest} or give longer video"
            )
        self._lengths = np.asarray(lengths)
        self._clip_length, self._order, self._seed = clip_length, order, seed
        self._epoch = functools.lru_cache(maxsize=2)(self._shuffled)
        if order == "in_turn" and batch_size != 1:
            raise InputError(f"data.batch_size: expected 1 with data.order=in_turn, got {batch_size}")
        grids = [self._epoch(0)] if order == "shuffled" else self._grids()
        short = self._lengths[self._lengths < clip_length]
        if order == "shuffled" and len(short):  # in other orders a short one is one clip
            _log.warning(
                "data.clip_length: %d of %d training sequences are shorter than %d frames, and not trained on (%d of "
                "%d frames); lower it to use them",
                len(short), len(self._lengths), clip_length, short.sum(), self._lengths.sum(),
            )  # fmt: skip
        n_clips = len(grids[0].start)
        self.batch_size = min(batch_size, n_clips)
        if self.batch_size < batch_size:
            _log.warning(
                "data.batch_size: the data give only %d clips of %d frames, so a batch holds %d of them instead of %d",
                n_clips, clip_length, n_clips, batch_size,
            )  # fmt: skip
        self.steps_per_epoch = n_clips // self.batch_size
        if order == "consecutive":
            self._readers, self._circle = self._spread(grids)
        if order == "in_turn":
            first = np.diff(grids[0].run, prepend=-1) != 0
            self._readers, self._circle = np.zeros(1, int), grids[0]._replace(follows=~first)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_epoch"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        self._epoch = functools.lru_cache(maxsize=2)(self._shuffled)

    def at(self, step: int) -> Batch:
        """The batch of a step, counted from 0, with numbers of frames for `frames`."""
        if self._order == "shuffled":
            epoch, within = divmod(step, self.steps_per_epoch)
            clips, drawn = self._epoch(epoch), within * self.batch_size + np.arange(self.batch_size)
        else:
            clips, drawn = self._circle, (self._readers + step) % len(self._circle.start)
        start, run, length, follows = (field[drawn] for field in clips)
        offset = np.arange(self._clip_length)
        valid = offset < length[:, None]
        frames = start[:, None] + np.minimum(offset, length[:, None] - 1)
        reset = np.zeros_like(valid)
        reset[:, 0] = ~follows if step else True
        return Batch(frames.astype(np.int32), valid, reset, run.astype(np.int32))

    def _clips(self, firsts: Sequence[np.ndarray]) -> _Clips:
        """Clips that begin at the frames `firsts` of each run."""
        ends = np.cumsum(self._lengths)
        start = np.concatenate([end - n + first for end, n, first in zip(ends, self._lengths, firsts, strict=True)])
        run = np.repeat(np.arange(len(firsts)), [len(first) for first in firsts])
        length = np.minimum(self._clip_length, ends[run] - start)
        return _Clips(start, run, length, np.zeros(len(start), bool))

    def _shuffled(self, epoch: int) -> _Clips:
        """The clips of an epoch; their number is the same for all."""
        rng = np.random.default_rng((self._seed, epoch))
        hop = max(1, self._clip_length - 1)
        firsts = []
        for spare in self._lengths - self._clip_length:
            phase = int(rng.integers(min(hop, spare % hop + 1))) if spare >= 0 else 0
            firsts.append(np.arange(phase, spare + 1, hop))
        clips = self._clips(firsts)
        order = rng.permutation(len(clips.start))
        return _Clips(*(field[order] for field in clips))

    def _grids(self) -> list[_Clips]:
        """Clips end to end in every run, from its first frame and from half a clip later; a short run is one clip."""
        hop = self._clip_length
        if self._order == "in_turn":
            return [self._clips([np.arange(0, n, hop) for n in self._lengths])]
        return [
            self._clips([np.arange(shift if n > hop else 0, n - 1, hop) for n in self._lengths])
            for shift in (0, hop // 2)
        ]

    def _spread(self, grids: Sequence[_Clips]) -> tuple[np.ndarray, _Clips]:
        """Where each reader begins on the circle, which goes through the runs once in each grid."""
        even, odd = grids
        circle = _Clips(*(np.concatenate(fields) for fields in zip(even, odd, strict=True)))
        joined = (circle.run == np.roll(circle.run, 1)) & (circle.start == np.roll(circle.start + circle.length, 1))
        if joined.mean() < 0.5:
            _log.warning(
                "data.order=consecutive: only %d of %d clips follow on another one, so that a state is hardly carried; "
                "lower data.clip_length (now %d) or give longer runs",
                joined.sum(), len(joined), self._clip_length,
            )  # fmt: skip
        readers = np.arange(self.batch_size)
        begin = readers * len(even.start) // self.batch_size
        late = len(even.start) + np.searchsorted(odd.start, even.start[begin], side="right") - 1
        return np.where(readers % 2, late, begin), circle._replace(follows=joined)
