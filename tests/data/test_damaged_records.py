"""Damaged records of a set of TFDS: left out, named and counted, or refused and named."""

import logging
import re

import numpy as np
import pytest

from sfa_jax._errors import InputError
from sfa_jax.data import load, prepare

pytest.importorskip("tensorflow_datasets")


@pytest.fixture
def made(tmp_path):
    """A set of two runs of 30 frames in four shards, and its frames."""
    options = {"image_size": 8, "room": {"n_frames": 30, "n_runs": 2}}
    out = prepare("room", tmp_path / "walk", shard_bytes=15 * 8 * 8 * 3, **options)
    return out, load("room", **options)


def damage(out, number):
    """Changes some bytes of one record of a shard."""
    (path,) = out.glob(f"*array_record-0000{number}")
    content = bytearray(path.read_bytes())
    filled = np.flatnonzero(np.frombuffer(content, np.uint8))
    place = int(filled[len(filled) // 3])
    content[place : place + 20] = bytes(x ^ 0xFF for x in content[place : place + 20])
    path.write_bytes(content)


@pytest.mark.parametrize("memory", [None, 0])
def test_skipped(made, memory, caplog):
    out, expected = made
    damage(out, 1)
    options = {"source": "tfds", "image_size": 0, "memory_limit_bytes": memory}
    for _ in range(2):  # found by the first, read from the cache by the second
        with pytest.raises(InputError, match=r"record \d+ \(in walk-train.array_record-00001\) cannot be read .*skip"):
            load(out, on_corrupt="raise", **options)
    with caplog.at_level(logging.WARNING, logger="sfa_jax"):
        runs = load(out, **options)
    (said,) = [record.message for record in caplog.records]
    assert re.match(
        r"tfds:walk/1.0.0 train: 1 of 60 frames cannot be read; they are left out, and sequences end there "
        r"\(the first: tfds:walk/1.0.0 train, record \d+ ",
        said,
    )
    assert len(runs) == 3  # the first of the two is cut where a frame is missing
    assert sum(map(len, runs)) == 59
    for run in runs:
        whole = expected[0] if "(run 0)" in run.name else expected[1]
        np.testing.assert_array_equal(np.diff(run.frame_index), 1)
        np.testing.assert_array_equal(np.asarray(run.frames), whole.frames[run.frame_index])
        np.testing.assert_array_equal(run.truth["x"], whole.truth["x"][run.frame_index])


def test_what_was_found_is_kept(made, caplog, cache_dir):
    out, _ = made
    damage(out, 2)
    options = {"source": "tfds", "image_size": 0}
    first = load(out, **options)
    (index,) = (cache_dir / "indexes").iterdir()
    written = index.stat().st_mtime_ns
    with caplog.at_level(logging.WARNING, logger="sfa_jax"):
        again = load(out, **options)
    assert "1 of 60 frames" in caplog.text
    assert index.stat().st_mtime_ns == written
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.frames, other.frames)
    index.write_bytes(b"no index")  # made again
    assert [len(run) for run in load(out, **options)] == [len(run) for run in first]
    damage(out, 3)  # another set
    assert sum(map(len, load(out, **options))) == 58


def test_a_shard_is_missing(made):
    out, _ = made
    (out / "walk-train.array_record-00002").unlink()
    for on_corrupt in ("raise", "skip"):
        with pytest.raises(InputError, match=r"array_record-00002 cannot be read \(No such file"):
            load(out, source="tfds", image_size=0, on_corrupt=on_corrupt)


def test_a_shard_of_other_length(made):
    out, _ = made
    info = out / "dataset_info.json"
    info.write_text(info.read_text().replace('"15"', '"14"', 1))
    with pytest.raises(InputError, match=r"array_record-00000 has 15 records, dataset_info.json speaks of 14"):
        load(out, source="tfds", image_size=0)


def test_nothing_is_left(made):
    out, _ = made
    for path in out.glob("*array_record*"):
        path.write_bytes(b"")
    with pytest.raises(InputError, match=r"gives 0 frame\(s\) at stride 1"):
        load(out, source="tfds", image_size=0, on_corrupt="skip")


def test_unknown_choices():
    with pytest.raises(InputError, match=r"on_corrupt: expected one of \('skip', 'raise'\), got 'ignore'"):
        load("room", on_corrupt="ignore")
    with pytest.raises(InputError, match=r"source: expected one of \('auto', 'tfds'\), got 'video'"):
        load("room", source="video")
