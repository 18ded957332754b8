"""Times of frames: kept where the file has them, and told where they are far from even."""

import logging

import numpy as np
import pytest

from sfa_jax.data import load
from sfa_jax.training import write_embeddings

av = pytest.importorskip("av")

OPTIONS = {"image_size": (48, 64), "split_cuts": False}


@pytest.fixture
def write_timed(tmp_path, pan):
    """`write_timed(name, milliseconds)` writes a video with a frame at each time."""

    def write(name, milliseconds):
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mpeg4", rate=1000)
            stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
            for frame, time in zip(pan(len(milliseconds)), milliseconds, strict=True):
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
                picture.pts = time
                container.mux(stream.encode(picture))
            container.mux(stream.encode())
        return path

    return write


def test_uneven_times_are_kept_and_told(write_timed, caplog):
    times = np.cumsum([0, *[40] * 9, 400, *[40] * 4, 80, *[40] * 4])
    path = write_timed("clip.mkv", times.tolist())
    for _ in range(2):  # the second is from the cache
        caplog.clear()
        with caplog.at_level(logging.WARNING, "sfa_jax"):
            (run,) = load(path, **OPTIONS)
        np.testing.assert_allclose(run.time, times / 1000)
        assert [record.message for record in caplog.records] == [
            f"{path}: its frames are not evenly spaced in time: 11 % of the intervals differ by more than a quarter "
            "from the median of 0.04 s, the longest is 0.4 s (before frame 10); slowness takes them as even"
        ]
    (run,) = load(path, stride=3, **OPTIONS)
    np.testing.assert_allclose(run.part(1, 5, 2).time, times[3:15:6] / 1000)


def test_times_that_are_rounded_are_even(write_timed, caplog):
    path = write_timed("clip.mkv", np.rint(np.arange(60) * 1000 / 240).astype(int).tolist())  # 4 or 5 ms
    with caplog.at_level(logging.WARNING, "sfa_jax"):
        (run,) = load(path, **OPTIONS)
    assert run.time[-1] == 0.246
    assert not caplog.records


def test_times_out_of_order_are_not_kept(tmp_path, pan, caplog):
    """As in a file that another program has cut or repaired wrongly."""
    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuvj420p"
        for number, frame in enumerate(pan(20)):
            (packet,) = stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24"))
            packet.pts, packet.dts = (number ^ 1) + 1, number
            container.mux(packet)
    with caplog.at_level(logging.WARNING, "sfa_jax"):
        (run,) = load(path, **OPTIONS)
    assert len(run) == 20
    assert run.time is None
    assert np.abs(run.frames.astype(int) - pan(20)).mean() < 9  # in the order of decoding
    (said,) = [record.message for record in caplog.records]
    assert "frames are not after those of the frames before them, so no times are kept" in said


def test_embeddings_have_times_where_all_runs_have(write_timed, write_folder, pan, tmp_path):
    (timed,), (folder,) = load(write_timed("clip.mkv", [0, 40, 90]), **OPTIONS), load(write_folder("a", pan(3)))
    assert folder.time is None
    code = np.zeros((3, 2), np.float32)
    write_embeddings(tmp_path / "one.npz", [code], [timed])
    write_embeddings(tmp_path / "two.npz", [code] * 2, [timed, folder])
    with np.load(tmp_path / "one.npz") as one, np.load(tmp_path / "two.npz") as two:
        np.testing.assert_allclose(one["time"], [0, 0.04, 0.09])
        assert "time" not in two.files
