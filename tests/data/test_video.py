"""Video files: what decodes, what is refused."""

import pathlib
import re
import struct
import sys

import numpy as np
import pytest
from PIL import Image

from sfa_jax._errors import InputError
from sfa_jax.data._load import load

pytest.importorskip("av")

FORMATS = [
    ("clip.mp4", "libx264", "yuv420p"),
    ("clip.avi", "mpeg4", "yuv420p"),
    ("clip.mkv", "libx264", "yuv420p"),
    ("clip.webm", "libvpx-vp9", "yuv420p"),
    ("clip.mov", "mjpeg", "yuvj420p"),
]


@pytest.mark.parametrize(("name", "codec", "pix_fmt"), FORMATS, ids=[name for name, _, _ in FORMATS])
def test_frames_in_decode_order(write_video, pan, name, codec, pix_fmt):
    frames = pan(30)
    (run,) = load(write_video(name, frames, codec, pix_fmt), image_size=(24, 32))
    assert run.frames.shape == (30, 24, 32, 3)
    assert run.frames.dtype == np.uint8
    np.testing.assert_array_equal(run.frame_index, np.arange(30))
    expected = np.stack([np.asarray(Image.fromarray(f).resize((32, 24), Image.Resampling.BOX)) for f in frames])
    assert np.abs(run.frames.astype(int) - expected).mean() < 6


def test_lossless_downscaling_averages_areas(write_video):
    frame = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    (run,) = load(write_video("clip.mkv", [frame] * 2, "ffv1", "bgr0"), image_size=16)
    expected = np.asarray(Image.fromarray(frame).resize((16, 16), Image.Resampling.BOX))
    assert np.abs(run.frames[0].astype(int) - expected).max() <= 2


@pytest.mark.parametrize("image_size", [0, 16])
def test_colours(write_video, image_size):
    quadrants = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)
    path = write_video("clip.mp4", [np.kron(quadrants, np.ones((32, 32, 1), np.uint8))] * 2)
    frame = load(path, image_size=image_size)[0].frames[0]
    quarter = len(frame) // 4
    assert np.abs(frame[quarter :: 2 * quarter, quarter :: 2 * quarter].astype(int) - quadrants).max() < 5


def test_greyscale_and_stride(write_video, pan):
    path = write_video("clip.mp4", pan(20))
    (colour,) = load(path, image_size=32, stride=4)
    (grey,) = load(path, image_size=32, stride=4, greyscale=True)
    assert grey.frames.shape == (5, 32, 32, 1)
    assert grey.frame_index.tolist() == [0, 4, 8, 12, 16]
    weights = np.array([0.299, 0.587, 0.114])
    assert np.abs(grey.frames[..., 0] - colour.frames @ weights).max() <= 1


def test_own_size(write_video, pan):
    assert load(write_video("clip.mp4", pan(3)), image_size=None)[0].frames.shape == (3, 48, 64, 3)


def damage(path, change):
    file = pathlib.Path(path)
    file.write_bytes(change(bytearray(file.read_bytes())))
    return path


@pytest.mark.parametrize(
    "content", [b"", b"hello world\n" * 100, bytes(range(256)) * 40], ids=["empty", "text", "noise"]
)
def test_not_a_video(tmp_path, content):
    (tmp_path / "clip.mp4").write_bytes(content)
    with pytest.raises(InputError, match=r"clip.mp4 cannot be opened as a video"):
        load(tmp_path / "clip.mp4")


def test_no_frames(write_video, pan, tmp_path):
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "sound.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(InputError, match=r"sound.mkv has no video stream"):
        load(tmp_path / "sound.mkv")
    with pytest.raises(InputError, match=r"one.mp4 gives 1 frame\(s\)"):
        load(write_video("one.mp4", pan(1)))


def test_missing_pyav(write_video, pan, monkeypatch):
    path = write_video("clip.mp4", pan(3))
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match=r"pip install 'sfa_jax\[video\]'"):
        load(path)


def test_header_counts_are_not_trusted(write_video, pan):
    """A header that promises more frames than there are, over the same time, as in OpenCV's tree.avi."""

    def promise(data):
        place = data.index(b"avih") + 8 + 16
        data[place : place + 4] = struct.pack("<I", 99)
        return data

    assert len(load(damage(write_video("clip.avi", pan(20), "mpeg4"), promise))[0]) == 20


def test_frames_that_change_their_size(write_video, pan, tmp_path, caplog):
    """As a recording of several broadcasts."""
    large = [np.asarray(Image.fromarray(frame).resize((96, 80))) for frame in pan(8)]
    parts = [write_video("a.ts", pan(8), "mpeg2video"), write_video("b.ts", large, "mpeg2video")]
    path = tmp_path / "clip.ts"
    path.write_bytes(b"".join(pathlib.Path(part).read_bytes() for part in parts))
    assert sum(map(len, load(path, image_size=(24, 32)))) >= 14
    assert re.search(r"clip.ts: frame \d is 96x80 pixels, the frames before it 64x48; all are resized", caplog.text)
    with pytest.raises(
        InputError, match=r"clip.ts: frame \d is 96x80 pixels .* 64x48 .*; set image_size to bring them"
    ):
        load(path, image_size=0)


def test_further_video_streams_are_told(tmp_path, pan, caplog):
    av = pytest.importorskip("av")
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("mpeg4", rate=25) for _ in range(2)]
        for stream in streams:
            stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for frame in pan(5):
            for stream in streams:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        for stream in streams:
            container.mux(stream.encode())
    assert len(load(path)[0]) == 5
    assert f"{path} has 2 video streams; the first is read" in caplog.text
