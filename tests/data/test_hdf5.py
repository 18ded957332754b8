"""Frames in HDF5 files, also as MATLAB writes them."""

import logging

import h5py
import numpy as np
import pytest

from sfa_jax._errors import InputError
from sfa_jax.data import load

FRAMES = np.random.default_rng(0).integers(0, 256, (12, 6, 8, 3), dtype=np.uint8)


def write(path, datasets, matlab=""):
    with h5py.File(path, "w", userblock_size=512 if matlab else 0) as file:
        for key, values in datasets.items():
            dataset = file.create_dataset(key, data=values)
            if matlab:
                dataset.attrs["MATLAB_class"] = np.bytes_(matlab)
    if matlab:
        with path.open("r+b") as file:
            file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116) + bytes(8) + b"\0\2IM")
    return path


def test_frames_with_what_is_known_of_them(tmp_path, caplog):
    labels = {"rec/run_id": np.repeat([1.0, 2.0], 6), "rec/truth/x": np.arange(12.0), "rec/speed": np.zeros(12)}
    path = write(tmp_path / "a.h5", {"rec/frames": FRAMES, **labels, "other": np.zeros((2, 3, 4, 3))})
    with caplog.at_level(logging.WARNING, "sfa_jax"):
        runs = load(path, image_size=0)
    assert [run.frame_index.tolist() for run in runs] == [[*range(6)], [*range(6, 12)]]
    np.testing.assert_array_equal(np.concatenate([run.frames for run in runs]), FRAMES)
    assert runs[1].truth["x"].tolist() == [6, 7, 8, 9, 10, 11]
    assert "a.h5: not read are rec/speed, of one row a frame" in caplog.text


def test_one_dataset_of_several(tmp_path):
    path = write(
        tmp_path / "a.hdf5", {"left/movie": FRAMES, "right/movie": 255 - FRAMES, "right/run_id": np.arange(12) // 4}
    )
    with pytest.raises(InputError, match=r"nor just one .*left/movie \(12, 6, 8, 3\).*by .*a.hdf5\?frames=left/movie"):
        load(path)
    runs = load(f"{path}?frames=/right/movie", image_size=0)
    np.testing.assert_array_equal(np.concatenate([run.frames for run in runs]), 255 - FRAMES)
    assert [len(run) for run in runs] == [4, 4, 4]
    np.testing.assert_array_equal(load(f"{path}?frames=left/movie", image_size=0)[0].frames, FRAMES)  # another entry
    with pytest.raises(InputError, match=r"has no dataset 'middle'; it has left/movie"):
        load(f"{path}?frames=middle")
    with pytest.raises(InputError, match=r"expected \?frames=DATASET after an HDF5 file, got \?dataset=a"):
        load(f"{path}?dataset=a")


@pytest.mark.parametrize(
    ("theirs", "expected"),
    [
        (np.moveaxis(FRAMES, 0, -1), FRAMES),  # height, width, channel, time
        (FRAMES, FRAMES),
        (np.moveaxis(FRAMES[..., 0], 0, -1), FRAMES[..., :1]),
    ],
    ids=["HWCT", "THWC", "HWT"],
)
def test_matlab(tmp_path, caplog, theirs, expected):
    """MATLAB stores its axes in reverse, and vectors as matrices."""
    x = np.arange(12.0)[np.newaxis]
    path = write(tmp_path / "a.mat", {"v": theirs.T, "truth/x": x, "run_id": x.T // 6}, "uint8")
    with caplog.at_level(logging.INFO, "sfa_jax"):
        runs = load(path, image_size=0)
    np.testing.assert_array_equal(np.concatenate([run.frames for run in runs]), expected)
    assert [run.truth["x"].tolist() for run in runs] == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]
    assert "the array of MATLAB is taken as [" in caplog.text


def test_logical_and_deep_arrays_of_matlab(tmp_path):
    mask = np.moveaxis(FRAMES[..., 0] > 127, 0, -1)
    path = write(tmp_path / "a.mat", {"mask": mask.T.astype(np.uint8)}, "logical")
    np.testing.assert_array_equal(load(path, image_size=0)[0].frames[..., 0], 255 * (FRAMES[..., 0] > 127))
    path = write(tmp_path / "b.h5", {"v": (FRAMES[..., 0] * 16.0).astype(">u2")})
    assert np.abs(load(path, image_size=0)[0].frames[..., 0] - FRAMES[..., 0] * (16 * 255 / 4095)).max() < 0.51


def test_streamed_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr("sfa_jax.data._arrays._CHUNK_BYTES", 500)
    path = write(tmp_path / "a.h5", {"v": FRAMES})
    np.testing.assert_array_equal(load(path, image_size=0)[0].frames, FRAMES)


def test_files_that_are_no_hdf5(tmp_path):
    (tmp_path / "old.mat").write_bytes(b"MATLAB 5.0 MAT-file, Platform: GLNXA64".ljust(200))
    with pytest.raises(
        InputError, match=r"old.mat is no file of MATLAB 7.3, which is HDF5: save it by save\(..., '-v7.3"
    ):
        load(tmp_path / "old.mat")
    whole = write(tmp_path / "a.h5", {"v": FRAMES}).read_bytes()
    for keep in (0, 4, 600, len(whole) - 100):
        (tmp_path / "cut.h5").write_bytes(whole[:keep])
        with pytest.raises(InputError, match=r"cut.h5.* cannot be read by h5py \(.*; copy it again"):
            load(tmp_path / "cut.h5")
    write(tmp_path / "b.h5", {"x": np.zeros((4, 2))})
    with pytest.raises(InputError, match=r"b.h5 has no dataset called frames, nor just one .*: it has x \(4, 2\)"):
        load(tmp_path / "b.h5")


def test_without_h5py(tmp_path, monkeypatch):
    path = write(tmp_path / "a.h5", {"v": FRAMES})
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(InputError, match=r"HDF5 files need h5py; install it with `pip install 'sfa_jax\[hdf5\]'`"):
        load(path)
