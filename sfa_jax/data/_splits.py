"""Ranges of frames to train on and ranges that are held out."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sfa_jax._errors import InputError
from sfa_jax.data._checks import check_number, check_whole

HOLDOUTS = ("time", "sequence", "blocks")

Range = tuple[int, int]


class Split(NamedTuple):
    """Ranges `[start, stop)` of the frames of one sequence, in order and apart; frames in neither are left out.

    Attributes:
      train: ranges to train on.
      held_out: ranges to measure on.
    """

    train: tuple[Range, ...]
    held_out: tuple[Range, ...]

    @property
    def n_held_out(self) -> int:
        """Number of held-out frames."""
        return sum(stop - start for start, stop in self.held_out)

    def is_held_out(self, n_frames: int) -> np.ndarray:
        """Mask of the held-out frames of the sequence, bool `[n_frames]`."""
        mask = np.zeros(n_frames, bool)
        for start, stop in self.held_out:
            mask[start:stop] = True
        return mask


def train_all(n_frames: int) -> Split:
    """Split that holds nothing out."""
    return Split(((0, n_frames),), ())


def hold_out_all(n_frames: int) -> Split:
    """Split that trains on nothing."""
    return Split((), ((0, n_frames),))


def split_sequences(
    lengths: Sequence[int], *, holdout: float, gap: float, by: str = "time", n_blocks: int = 5
) -> list[Split]:
    """Split each sequence into frames to train on and frames to measure on.

    Neighboring frames are near copies of each other: frames in the gap are neither trained nor measured on.

    "time" holds out the last share of each sequence. It asks whether the code holds for what comes later; a feature as
    slow as the sequence is long has another mean there.
    "blocks" holds out `n_blocks` evenly spaced blocks of each sequence, with a gap on both sides of each, so that
    held-out frames are of the same times as the training frames.
    "sequence" holds out whole sequences, evenly spaced, and needs at least two.

    A sequence too short to give two held-out and two training frames is all training; one too short for all blocks
    gives fewer.

    Args:
      lengths: frames of each sequence.
      holdout: share that is held out, in [0, 1), of each sequence or of the sequences; 0 holds nothing out.
      gap: share of each sequence that is left out between training and held-out frames, in [0, 1 - holdout).
      by: "time", "blocks" or "sequence".
      n_blocks: held-out blocks of each sequence, with "blocks".

    Returns:
      One `Split` a sequence.

    Raises:
      InputError: a share is out of its range, `by` is unknown, or "sequence" is asked of one sequence.
    """
    if by not in HOLDOUTS:
        raise InputError(f"evaluation.holdout_by: expected one of {HOLDOUTS}, got {by!r}")
    check_number("evaluation.holdout", holdout, "[0, 1)", "a share of each sequence")
    check_number(
        "evaluation.gap", gap, f"[0, {1 - holdout:g})", "a share of each sequence, below 1 - evaluation.holdout"
    )
    check_whole("evaluation.n_blocks", n_blocks, 1)
    if not holdout:
        return [train_all(n) for n in lengths]
    if by == "sequence":
        return _by_sequence(lengths, holdout)
    if by == "blocks":
        return [_by_blocks(n, holdout, gap, n_blocks) for n in lengths]
    return [_by_time(n, holdout, gap) for n in lengths]


def _by_time(n_frames: int, holdout: float, gap: float) -> Split:
    n_held, n_gap = round(holdout * n_frames), math.ceil(gap * n_frames)  # a short sequence needs its gap most
    if n_held < 2 or n_frames - n_held - n_gap < 2:
        return train_all(n_frames)
    return Split(((0, n_frames - n_held - n_gap),), ((n_frames - n_held, n_frames),))


def _by_blocks(n_frames: int, holdout: float, gap: float, n_blocks: int) -> Split:
    n_gap = math.ceil(gap * n_frames)
    for count in range(n_blocks, 0, -1):
        size = round(holdout * n_frames / count)
        middles = [(k + 0.5) * n_frames / count for k in range(count)]
        held_out = [(start := round(middle - size / 2), start + size) for middle in middles]
        bounds = [0, *(edge for start, stop in held_out for edge in (start - n_gap, stop + n_gap)), n_frames]
        train = list(zip(bounds[::2], bounds[1::2], strict=True))
        if size >= 2 and all(stop - start >= 2 for start, stop in train):
            return Split(tuple(train), tuple(held_out))
    return _by_time(n_frames, holdout, gap)


def _by_sequence(lengths: Sequence[int], holdout: float) -> list[Split]:
    count = len(lengths)
    if count < 2:
        raise InputError(
            "evaluation.holdout_by=sequence: expected at least two sequences, got one; give several videos or folders, "
            "or set --config.evaluation.holdout_by=blocks"
        )
    n_held = min(max(1, round(holdout * count)), count - 1)
    chosen = {int((k + 0.5) * count / n_held) for k in range(n_held)}
    return [hold_out_all(n) if index in chosen else train_all(n) for index, n in enumerate(lengths)]
