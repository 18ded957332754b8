"""Frames in NumPy files."""

import logging
import zipfile

import numpy as np
import pytest

from sfa_jax._errors import InputError
from sfa_jax.data._load import load


@pytest.fixture
def frames():
    return np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)


def save(tmp_path, array, name="a.npy"):
    np.save(tmp_path / name, array)
    return tmp_path / name


def test_npy_as_it_is(tmp_path, frames, cache_dir):
    (run,) = load(save(tmp_path, frames), image_size=8)
    np.testing.assert_array_equal(run.frames, frames)
    assert not cache_dir.exists()


def test_npy_is_memory_mapped_above_the_limit(tmp_path, frames):
    (run,) = load(save(tmp_path, frames), image_size=0, stride=2, memory_limit_bytes=100)
    assert isinstance(run.frames.base, np.memmap)
    assert not run.frames.flags.writeable
    np.testing.assert_array_equal(run.frames, frames[::2])
    assert run.frame_index.tolist() == [0, 2, 4, 6, 8, 10]


def test_grey_arrays_have_one_channel(tmp_path, frames):
    assert load(save(tmp_path, frames[..., 0]), image_size=8)[0].frames.shape == (12, 8, 8, 1)
    assert load(save(tmp_path, frames[..., :1]), image_size=4)[0].frames.shape == (12, 4, 4, 1)
    assert load(save(tmp_path, frames), image_size=4, greyscale=True)[0].frames.shape == (12, 4, 4, 1)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
def test_floats(tmp_path, frames, dtype):
    (run,) = load(save(tmp_path, (frames / 255).astype(dtype)), image_size=0)
    np.testing.assert_array_equal(run.frames, frames)


def test_bools(tmp_path):
    (run,) = load(save(tmp_path, np.eye(4, dtype=bool)[:, :, None] & np.ones((4, 4, 4), bool)), image_size=0)
    assert set(run.frames.ravel().tolist()) == {0, 255}


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("fortran", [False, True])
def test_npz(tmp_path, frames, compressed, fortran):
    write = np.savez_compressed if compressed else np.savez
    stored = np.asfortranarray(frames) if fortran else frames
    x = np.arange(12) / 10
    write(
        tmp_path / "a.npz",
        frames=stored,
        run_id=np.repeat([3, 1, 3], 4),
        **{"truth/x": x, "other": np.zeros((2, 2, 2))},
    )
    runs = load(tmp_path / "a.npz", image_size=0)
    assert [run.frame_index.tolist() for run in runs] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    np.testing.assert_array_equal(np.concatenate([run.frames for run in runs]), frames)
    np.testing.assert_array_equal(np.concatenate([run.truth["x"] for run in runs]), x.astype(np.float32))
    assert runs[0].truth["x"].dtype == np.float32
    assert "run_id 3" in runs[2].name


def test_npz_stride_and_short_runs(tmp_path, frames):
    np.savez(tmp_path / "a.npz", anything=frames, run_id=[0] * 6 + [1] * 2 + [2] * 4, **{"truth/x": np.arange(12)})
    runs = load(tmp_path / "a.npz", image_size=4, stride=2)
    assert [run.frame_index.tolist() for run in runs] == [[0, 2, 4], [8, 10]]
    assert runs[1].truth["x"].tolist() == [8, 10]


def test_streamed_in_chunks(tmp_path, monkeypatch, frames):
    monkeypatch.setattr("sfa_jax.data._arrays._CHUNK_BYTES", 500)
    np.savez_compressed(tmp_path / "a.npz", frames)
    np.testing.assert_array_equal(load(tmp_path / "a.npz", image_size=0)[0].frames, frames)


def bad(value, index):
    array = np.zeros((6, 4, 4, 3), np.float32)
    array[index, 1, 2, 0] = value
    return array


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (bad(np.nan, 4), r"a.npy has NaN or infinite values, first in frame 4"),
        (bad(-np.inf, 2), r"a.npy has NaN or infinite values, first in frame 2"),
        (bad(-1, 3), r"values from -1 to 0 \(-1 in frame 3\), .* \[0, 1\]: .*\(frames \+ 1\) / 2"),
        (bad(1.5, 2), r"values from 0 to 1.5 \(1.5 in frame 2\), .*clip"),
        (np.zeros((3, 5, 8, 8, 3), np.uint8), r"of clips .*numpy.repeat"),
        (np.zeros((5, 4, 4), complex), r"dtype complex128"),
        (np.zeros((100, 16)), r"shape \(100, 16\): vectors in time, not images"),
        (np.zeros(5), r"shape \(5,\); frames \[time, height, width, channel\]"),
        (np.zeros((5, 3, 8, 8), np.uint8), r"shape \(5, 3, 8, 8\).*numpy.moveaxis\(frames, 1, -1\)"),
        (np.zeros((5, 8, 8, 4), np.uint8), r"leave the alpha channel out"),
        (np.zeros((64, 64, 3), np.uint8), r"shape \(64, 64, 3\): one picture .*, or points in time; .*numpy.stack"),
        (np.zeros((0, 8, 8, 3), np.uint8), r"shape \(0, 8, 8, 3\) and so no pixels"),
        (np.zeros((1, 64, 64, 3), np.uint8), r"a.npy gives 1 frame\(s\).*at least two"),
        (np.array([{}, 1], dtype=object), r"a.npy cannot be read as a NumPy file \(it holds Python objects"),
    ],
)
def test_bad_arrays(tmp_path, array, message):
    with pytest.raises(InputError, match=message):
        load(save(tmp_path, array))


def test_bad_frame_in_a_later_chunk_of_an_npz(tmp_path, monkeypatch):
    monkeypatch.setattr("sfa_jax.data._arrays._CHUNK_BYTES", 300)
    np.savez(tmp_path / "a.npz", frames=bad(np.nan, 5))
    with pytest.raises(InputError, match=r"a.npz \[frames\] has NaN or infinite values, first in frame 5"):
        load(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"y": np.zeros((9, 3))}, r"has no array called frames.*it holds y \(9, 3\)"),
        ({"a": np.zeros((9, 3, 3)), "b": np.zeros((9, 3, 3))}, r"has no array called frames, nor just one"),
        ({}, r"it holds nothing"),
        ({"run_id": np.zeros(5, int)}, r"\[run_id\] has shape \(5,\); one value a frame, \(12,\)"),
        ({"run_id": np.array([0.0] * 6 + [np.nan] * 6)}, r"\[run_id\] is nan at frame 6; expected whole numbers"),
        ({"run_id": np.linspace(0, 2, 12)}, r"\[run_id\] is 0.18.* at frame 1; expected whole numbers"),
        ({"run_id": np.arange(12)}, r"\[run_id\] changes at every frame, and so no two frames follow each other"),
        ({"run_id": np.zeros(12, complex)}, r"\[run_id\] has dtype complex128; numbers are expected"),
        ({"truth/x": np.zeros((12, 2))}, r"\[truth/x\] has shape \(12, 2\)"),
        ({"truth/x": np.full(12, np.nan)}, r"\[truth/x\] has NaN or infinite values, first at frame 0"),
        ({"truth/x": np.array(["a"] * 12)}, r"\[truth/x\] has dtype <U1; numbers are expected"),
        ({"run_id": np.array([None] * 12)}, r"a.npz \[run_id\] .*it holds Python objects, .*save plain numbers"),
        ({"truth/x": np.array([{}] * 12)}, r"a.npz \[truth/x\] .*it holds Python objects"),
    ],
)
def test_bad_npz(tmp_path, frames, arrays, message):
    if "run_id" in arrays or "truth/x" in arrays:
        arrays = {"frames": frames, **arrays}
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(InputError, match=message):
        load(tmp_path / "a.npz")


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
@pytest.mark.parametrize("keep", [0, 0.5])
def test_damaged_file(tmp_path, frames, name, keep):
    if name == "a.npy":
        np.save(tmp_path / name, frames)
    else:
        np.savez(tmp_path / name, frames)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(keep * len(data))])
    with pytest.raises(InputError, match=rf"{name} cannot be read as a NumPy file"):
        load(tmp_path / name, image_size=0)


@pytest.mark.parametrize("compression", ["ZIP_BZIP2", "ZIP_LZMA"])
def test_other_compression_is_refused(tmp_path, frames, compression):
    """What unpacks these gives all that a few bytes say at once, which may be gigabytes."""
    with zipfile.ZipFile(tmp_path / "a.npz", "w", getattr(zipfile, compression)) as archive:
        archive.write(save(tmp_path, frames, "frames.npy"), "frames.npy")
    with pytest.raises(InputError, match=r"a.npz .*frames.npy is packed in a way that NumPy does not write\); save"):
        load(tmp_path / "a.npz", image_size=0)


def test_bools_of_other_bytes_are_refused(tmp_path):
    array = np.zeros((4, 8, 8), np.uint8)
    array[2, 3, 4] = 6
    with pytest.raises(InputError, match=r"a.npy has dtype bool, but other bytes than 0 and 1: it is damaged; save"):
        load(save(tmp_path, array.view(bool)))


def test_truth_beyond_float32_is_refused(tmp_path, frames):
    np.savez(tmp_path / "a.npz", frames=frames, **{"truth/x": np.full(12, 1e300)})
    with pytest.raises(InputError, match=r"a.npz \[truth/x\] has NaN or infinite values, first at frame 0: repair"):
        load(tmp_path / "a.npz")


def test_member_that_ends_early(tmp_path, frames):
    np.save(tmp_path / "frames.npy", frames)
    data = (tmp_path / "frames.npy").read_bytes()
    for keep in (0, 5, 50, 1000, len(data) - 1):
        with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("frames.npy", data[:keep])
        with pytest.raises(InputError, match=r"a.npz \[frames\] cannot be read as a NumPy file"):
            load(tmp_path / "a.npz", image_size=0)


@pytest.mark.parametrize(
    "run_id",
    [[3, 3, 1, 1, 3, 3], [-1, -1, 2**60, 2**60, 0, 0], [0.0, 0, 1, 1, 5, 5], list("aabbcc"), [0, 0, 255, 255, 0, 0]],
)
def test_run_ids_of_every_kind(tmp_path, frames, run_id):
    """A sequence ends where the id changes, also where it comes back."""
    values = np.array(run_id, np.uint8 if 255 in run_id else None)
    np.savez(tmp_path / "a.npz", frames=frames[:6], run_id=values)
    assert [run.frame_index.tolist() for run in load(tmp_path / "a.npz", image_size=0)] == [[0, 1], [2, 3], [4, 5]]


def test_keys_that_are_not_read_are_told(tmp_path, frames, caplog):
    np.savez(tmp_path / "a.npz", frames=frames, speed=np.zeros(12), camera=np.eye(3), **{"truth/x": np.arange(12)})
    with caplog.at_level(logging.INFO, "sfa_jax"):
        (run,) = load(tmp_path / "a.npz", image_size=0)
    assert list(run.truth) == ["x"]
    warned = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert [message.split("a.npz: ")[1][:50] for message in warned] == [
        "not read are speed, of one row a frame; what is kn"
    ]
    assert "such as truth/speed" in warned[0]
    assert "a.npz: not read are camera" in caplog.messages[1]


def test_arrays_are_not_cut_by_content(tmp_path, pan):
    (run,) = load(save(tmp_path, np.concatenate([pan(20, seed=1), pan(20, seed=2)])), image_size=32)
    assert len(run) == 40
