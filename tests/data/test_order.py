"""The order of frames, from their names."""

import random

import pytest

from sfa_jax.data._order import sort_frames


def shuffled(names):
    return random.Random(0).sample(names, len(names))


@pytest.mark.parametrize(
    "stems",
    [
        [f"{0.05 * i:g}" for i in range(30)],
        [f"{0.05 * i}" for i in range(30)],  # 0.15000000000000002
        [f"{i / 30:g}" for i in range(90)],
        [f"frame_{0.25 * i:g}" for i in range(9)],
        [f"1403636579.{part}" for part in ("76", "8", "84", "88")],
        [f"0,{part}" for part in ("05", "1", "15", "2")],
        [f"{1e-5 * i:g}" for i in range(30)],
        [f"{0.1 * i:g}" for i in range(-15, 12)],
        [f"f_{i}" for i in range(-3, 3)],
        [f"img-{i}" for i in (1, 2, 3, 10, 11, 12, 13)][:3],  # a hyphen behind a letter is no sign
        [f"2024-01-01_10-00-0{part}" for part in ("0", "0.25", "0.5", "0.75", "1", "1.25")],
        ["2024-1-1", "2024-1-2", "2024-1-10", "2024-2-1"],
        [f"shot{shot}.{i}" for shot in (1, 2) for i in range(1, 13)],  # no decimals: 1.10 comes after 1.9
        ["v1.2.3", "v1.2.10", "v1.10.1"],
        [f"{i:x}" for i in range(1, 40)],
        [f"frame_{i:02x}" for i in range(40)],
        ["frame", "frame1", "frame2"],
        ["b", "c1", "c02", "c2", "c10"],
    ],
    ids=lambda stems: stems[1],
)
def test_order_by_value(stems):
    names = [f"{stem}.png" for stem in stems]
    assert sort_frames(shuffled(names)) == (names, [])


def test_suffixes_are_no_part_of_the_number():
    for names in (["1.jfif", "2.jpg", "3.jfif"], ["0", "0.05", "0.1", "0.15"], ["img.0009", "img.0010"]):
        assert sort_frames(shuffled(names)) == (names, [])


@pytest.mark.parametrize(
    ("stems", "said"),
    [
        (["0.25", "0.5", "1.75", "3.125"], r"taken as decimals \(0.25.png before 0.5.png\)"),
        (["-3", "-2", "-1"], "after a hyphen is taken as negative"),
        (["1", "2", "3", "7", "8"], r"go on by 1, but by more in 1 place\(s\), first from 3.png to 7.png"),
        (["01-01-2024", "31-12-2023"], "begin with the day or month"),
        (["10 AM", "11 AM", "1 PM"], "times in their names are of 12 hours"),
        (["9e107d9d372bb682", "d41d8cd98f00b204"], "look random"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_doubts_are_told(stems, said):
    import re

    _, doubts = sort_frames([f"{stem}.png" for stem in stems])
    assert [bool(re.search(said, doubt)) for doubt in doubts] == [True]
