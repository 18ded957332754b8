"""Damaged, cut off and odd videos: what decodes is read, the rest is counted; whole ones give no warning."""

import logging
import pathlib

import numpy as np
import pytest
from PIL import Image

import sfa_jax.data._video as video_module
from sfa_jax._errors import InputError, is_mistake
from sfa_jax.data import load

av = pytest.importorskip("av")

OPTIONS = {"image_size": (48, 64), "split_cuts": False}


@pytest.fixture
def warned(caplog):
    """`warned(path, **options)` loads and gives the runs and the warnings, without the path in these."""

    def read(path, **options):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "sfa_jax"):
            runs = load(path, **OPTIONS, **options)
        return runs, [record.message.replace(str(path), "CLIP") for record in caplog.records]

    return read


@pytest.fixture
def rewrite(tmp_path):
    """`rewrite(path, change)` copies a video, each packet after `change(number, data)`; None leaves it out."""

    def copy(path, change):
        source = pathlib.Path(path)
        target = tmp_path / f"changed{source.suffix}"
        with av.open(str(source)) as old, av.open(str(target), "w") as new:
            stream = new.add_stream_from_template(old.streams.video[0])
            for number, packet in enumerate(old.demux(video=0)):
                data = change(number, bytes(packet)) if packet.size else None
                if data is not None:
                    changed = av.Packet(data)
                    changed.pts, changed.dts, changed.time_base = packet.pts, packet.dts, packet.time_base
                    changed.duration, changed.is_keyframe, changed.stream = packet.duration, packet.is_keyframe, stream
                    new.mux(changed)
        return target

    return copy


def noise(data):
    return data[: len(data) // 3] + np.random.default_rng(0).bytes(len(data) - len(data) // 3)


DAMAGED = [  # name, codec, pixels, options, whether frames are predicted from others
    ("clip.mp4", "libx264", "yuv420p", {"bf": "0"}, True),
    ("clip.avi", "mpeg4", "yuv420p", {}, True),
    ("clip.mpg", "mpeg2video", "yuv420p", {"bf": "0"}, True),
    ("clip.mov", "mjpeg", "yuvj420p", {}, False),
    ("clip.mkv", "ffv1", "bgr0", {"level": "3", "slicecrc": "1", "g": "1"}, False),
    ("png.mov", "png", "rgb24", {}, False),
]


@pytest.mark.parametrize(("name", "codec", "pix_fmt", "options", "predicted"), DAMAGED)
def test_a_damaged_packet(write_video, pan, rewrite, warned, name, codec, pix_fmt, options, predicted):
    path = write_video(name, pan(20), codec, pix_fmt, **{"g": "8", **options})
    whole, said = warned(path)
    assert said == []
    damaged = rewrite(path, lambda number, data: noise(data) if number == 5 else data)
    for _ in range(2):  # decoded, and from the cache
        runs, said = warned(damaged)
        assert [run.frame_index.tolist() for run in runs] == [list(range(5)), list(range(6, 20))]
        assert said[0].startswith(
            "CLIP: 1 of 20 frames cannot be read; they are left out, and sequences end there (the first: CLIP is "
            "damaged at frame 5 ("
        )
        assert ["2 frames that follow damage, up to the next key frame" in line for line in said[1:]] == [
            True
        ] * predicted
    good = np.r_[0:5, (8 if predicted else 6) : 20]  # frame 8 is a key frame
    numbers, frames = (np.concatenate([getattr(run, of) for run in runs]) for of in ("frame_index", "frames"))
    np.testing.assert_array_equal(frames[np.isin(numbers, good)], whole[0].frames[good])
    with pytest.raises(InputError, match=r"is damaged at frame 5 \(.*leave out what cannot be read by .*=skip"):
        load(damaged, on_corrupt="raise", **OPTIONS)


def test_a_damaged_packet_among_frames_in_another_order(write_video, pan, rewrite, warned):
    """B-frames: packets come before frames that are shown earlier."""
    path = write_video("clip.mp4", pan(24), g="12", bf="2", sc_threshold="0")
    with av.open(path) as container:
        packets = [packet.pts for packet in container.demux(video=0) if packet.size]
    lost = 7
    shown = sorted(packets).index(packets[lost])
    runs, _ = warned(rewrite(path, lambda number, data: data[: len(data) // 2] if number == lost else data))
    assert [run.frame_index.tolist() for run in runs] == [list(range(shown)), list(range(shown + 1, 24))]


@pytest.mark.parametrize(("name", "codec", "pix_fmt", "options", "predicted"), DAMAGED[:1] + DAMAGED[3:4])
def test_first_frames_and_all(write_video, pan, rewrite, warned, name, codec, pix_fmt, options, predicted):
    path = write_video(name, pan(20), codec, pix_fmt, **{"g": "8", **options})
    (run,), said = warned(rewrite(path, lambda number, data: data[:30] if number == 0 else data))
    assert run.frame_index.tolist() == list(range(8 if predicted else 1, 20))
    assert f"CLIP: {8 if predicted else 1} of 20 frames cannot be read" in said[0]
    with pytest.raises(InputError, match=r"no frame that can be read: .* is damaged at frame 0 \(.*re-encode it"):
        load(rewrite(path, lambda number, data: data[:30]), **OPTIONS)


def test_complaints_about_every_frame_are_a_habit(write_video, pan, rewrite, warned):
    """Some cameras write JPEG pictures without their end, which players show."""
    path = write_video("clip.mov", pan(20), "mjpeg", "yuvj420p")
    runs, said = warned(rewrite(path, lambda number, data: data[: 2 * len(data) // 3]))
    assert sum(map(len, runs)) >= 18
    assert any("the decoder complains about" in line for line in said)


CUT = [  # name, codec, pixels, whether the file says itself that it is cut off
    ("clip.mkv", "libx264", "yuv420p"),
    ("clip.webm", "libvpx-vp9", "yuv420p"),
    ("clip.avi", "mjpeg", "yuvj420p"),
    ("clip.gif", "gif", "rgb8"),
    ("clip.ts", "mpeg2video", "yuv420p"),
]


@pytest.mark.parametrize(("name", "codec", "pix_fmt"), CUT)
def test_cut_off(write_video, pan, warned, name, codec, pix_fmt):
    path = pathlib.Path(write_video(name, pan(40), codec, pix_fmt, g="8"))
    (whole,), said = warned(path)
    assert (len(whole), said) == (40, [])
    data = path.read_bytes()
    path.write_bytes(data[: int(0.6 * len(data))])
    (run,), said = warned(path)
    assert 10 < len(run) < 36
    n_same = len(run) - 2  # the last ones may be parts, or refer to what is lost
    np.testing.assert_array_equal(run.frames[:n_same], whole.frames[:n_same])
    assert bool(said) == (name != "clip.ts")  # which says nothing of its length


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mov"])
def test_cut_off_before_the_index(write_video, pan, name):
    path = pathlib.Path(write_video(name, pan(20)))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(InputError, match=rf"{name} cannot be opened as a video \(Invalid data.*a whole one.*re-encode"):
        load(path)
    whole = write_video("whole.mp4", pan(20, seed=1))
    (run,) = load([str(path), whole], **OPTIONS)  # beside others it is left out
    assert run.name == whole


def test_cut_off_after_the_index(tmp_path, pan, warned):
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("mpeg4", rate=25, options={"g": "8"})
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for frame in pan(40):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode())
    data = path.read_bytes()
    path.write_bytes(data[: len(data) - (len(data) - data.index(b"mdat")) // 3])
    (run,), said = warned(path)
    assert 10 < len(run) < 40
    assert said


def test_recording_that_starts_amid_a_broadcast(write_video, pan, rewrite, warned):
    path = write_video("clip.ts", pan(24), g="8", bf="0")
    (run,), said = warned(rewrite(path, lambda number, data: data if number >= 3 else None))
    assert len(run) == 16
    assert said[0].startswith("CLIP: 5 frames before the first key frame cannot be decoded")


HELD = [
    ("clip.mp4", "mpeg4"),
    ("clip.mov", "mpeg4"),
    ("clip.mkv", "mpeg4"),
    ("clip.webm", "libvpx"),
    ("clip.avi", "mpeg4"),
]


@pytest.mark.parametrize(("name", "codec"), HELD)
def test_last_frame_is_held(tmp_path, pan, warned, name, codec):
    """Screen recordings and slides: the header promises the time of the last frame as well."""
    path = tmp_path / name
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        packets = []
        for frame in pan(12):
            packets += stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24"))
        packets += stream.encode()
        packets[-1].duration = int(3 / packets[-1].time_base)
        container.mux(packets)
    (run,), said = warned(path)
    assert (len(run), said) == (12, [])


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_last_picture_is_held(tmp_path, pan, warned, suffix):
    pictures = [Image.fromarray(frame) for frame in pan(8)]
    path = tmp_path / f"clip{suffix}"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=[100] * 7 + [5000])
    (run,), said = warned(path)
    assert (len(run), said) == (8, [])


def test_mistakes_are_not_blamed_on_files(write_video, write_folder, pan, monkeypatch):
    """As when a newer PyAV no longer knows an argument: every file would be called damaged."""
    path, folder = write_video("clip.mp4", pan(3)), write_folder("walk", pan(3))

    def refuse(*_, **options):
        raise TypeError(f"open() got an unexpected keyword argument {min(options)!r}")

    monkeypatch.setattr(av, "open", refuse)
    with pytest.raises(TypeError, match="unexpected keyword"):
        load(path)
    monkeypatch.setattr("sfa_jax.data._pictures.find_pages", None)
    monkeypatch.setattr("sfa_jax.data._pictures._over_black", None)
    with pytest.raises(TypeError, match="'NoneType' object is not callable"):
        load(folder)


def test_mistakes_are_told_from_damage():
    def raised(function, *arguments):
        try:
            function(*arguments)
        except Exception as error:
            return error

    assert is_mistake(raised(video_module._codec, None))  # which has no attribute that it uses
    assert not is_mistake(raised(Image.open, 3))  # deep inside Pillow
    assert not is_mistake(ValueError("damaged"))
    assert is_mistake(ImportError("no module"))
