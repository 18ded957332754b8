"""Frames to train on and held-out frames, by time, blocks and sequence."""

import itertools

import numpy as np
import pytest

from sfa_jax._errors import InputError
from sfa_jax.data import Split, split_sequences


@pytest.mark.parametrize(
    ("n_frames", "holdout", "gap", "expected"),
    [
        (1000, 0.2, 0.02, (780, 800)),
        (5, 0.2, 0.0, (5, 5)),
        (24, 0.2, 0.02, (18, 19)),
        (1000, 0, 0.02, (1000, 1000)),
        (100, 0.99, 0, (100, 100)),
    ],
)
def test_by_time(n_frames, holdout, gap, expected):
    (split,) = split_sequences([n_frames], holdout=holdout, gap=gap)
    assert split.train == ((0, expected[0]),)
    assert split.held_out == (() if expected[1] == n_frames else ((expected[1], n_frames),))


@pytest.mark.parametrize(("n_frames", "n_blocks", "found"), [(1000, 5, 5), (1000, 1, 1), (60, 5, 5), (20, 5, 2)])
def test_blocks_are_interleaved_with_gaps(n_frames, n_blocks, found):
    (split,) = split_sequences([n_frames], holdout=0.2, gap=0.01, by="blocks", n_blocks=n_blocks)
    assert len(split.held_out) == found
    assert split.n_held_out == pytest.approx(0.2 * n_frames, abs=found)
    assert split.is_held_out(n_frames).sum() == split.n_held_out
    bounds = sorted([*split.train, *split.held_out])
    assert bounds[0][0] == 0
    assert bounds[-1][1] == n_frames
    for (_, stop), (start, _) in itertools.pairwise(bounds):
        assert start - stop == np.ceil(0.01 * n_frames)
    assert len(split.train) == found + 1


def test_a_sequence_too_short_for_blocks_is_all_training():
    assert split_sequences([6], holdout=0.2, gap=0.0, by="blocks") == [Split(((0, 6),), ())]


def test_by_sequence():
    splits = split_sequences([10, 20, 30, 40, 50], holdout=0.4, gap=0.0, by="sequence")
    assert [split.n_held_out for split in splits] == [0, 20, 0, 40, 0]
    assert [split.train for split in splits] == [((0, 10),), (), ((0, 30),), (), ((0, 50),)]
    assert [s.n_held_out for s in split_sequences([7, 8], holdout=0.1, gap=0.0, by="sequence")] == [0, 8]
    with pytest.raises(InputError, match=r"holdout_by=sequence: expected at least two sequences, got one; .*blocks"):
        split_sequences([10], holdout=0.2, gap=0.0, by="sequence")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"holdout": 1.0}, r"evaluation.holdout: expected a number in \[0, 1\), a share of each sequence, got 1.0"),
        ({"holdout": -0.1}, r"evaluation.holdout: .*got -0.1"),
        ({"holdout": np.nan}, r"evaluation.holdout: .*got nan"),
        ({"holdout": "0.2"}, r"evaluation.holdout: .*got '0.2'"),
        ({"gap": 0.8}, r"evaluation.gap: expected a number in \[0, 0.8\), .*below 1 - evaluation.holdout, got 0.8"),
        ({"gap": -0.1}, r"evaluation.gap: .*got -0.1"),
        ({"gap": np.nan}, r"evaluation.gap: .*got nan"),
        ({"by": "run"}, r"evaluation.holdout_by: expected one of \('time', 'sequence', 'blocks'\), got 'run'"),
        ({"n_blocks": 0}, r"evaluation.n_blocks: .*got 0"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(InputError, match=message):
        split_sequences([10], **{"holdout": 0.2, "gap": 0.0, **options})
