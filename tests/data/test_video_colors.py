"""Colors, transparency and orientation: one rule for pictures and videos, whatever the container says."""

import pathlib
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from sfa_jax.data import load

av = pytest.importorskip("av")

HEIGHT, WIDTH = 48, 64
_Y, _X = np.mgrid[:HEIGHT, :WIDTH]
RGB = np.stack([40 + 3 * _X, 250 - 4 * _Y, 20 + 2 * _X + _Y], -1).clip(0, 255).astype(np.uint8)
MATRICES = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 9: (0.2627, 0.0593)}  # BT.709, BT.601, BT.2020: red and blue


@pytest.fixture
def write_frames(tmp_path):
    """`write_frames(name, codec, frames, **attributes)` encodes frames as they are; attributes of the codec context."""

    def write(name, codec, frames, options=None, **attributes):
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=25, options=options or {})
            stream.width, stream.height, stream.pix_fmt = frames[0].width, frames[0].height, frames[0].format.name
            stream.bit_rate = 20_000_000
            for attribute, value in attributes.items():
                setattr(stream.codec_context, attribute, value)
            for frame in frames:
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path

    return write


def frame_of(pixels, pix_fmt):
    return av.VideoFrame.from_ndarray(pixels, format="rgba" if pixels.shape[2] == 4 else "rgb24").reformat(
        format=pix_fmt
    )


def yuv_frame(rgb, matrix, full):
    """The frame `yuv444p` of a picture, by the definition of a matrix and a range."""
    red, blue = MATRICES[matrix]
    r, g, b = np.moveaxis(rgb / 255, -1, 0)
    y = red * r + (1 - red - blue) * g + blue * b
    u, v = (b - y) / (2 * (1 - blue)), (r - y) / (2 * (1 - red))
    planes = (255 * y, 255 * u + 128, 255 * v + 128) if full else (219 * y + 16, 224 * u + 128, 224 * v + 128)
    return av.VideoFrame.from_ndarray(np.rint(np.stack(planes).clip(0, 255)).astype(np.uint8), format="yuv444p")


def read_first(path, **options):
    (run,) = load(path, **{"image_size": 0, "split_cuts": False, **options})
    return run.frames[0].astype(int)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", MATRICES)
def test_matrix_and_range_of_the_stream(write_frames, matrix, full):
    frames = [yuv_frame(RGB, matrix, full) for _ in range(2)]
    for frame in frames:
        frame.colorspace, frame.color_range = matrix, 2 if full else 1
    path = write_frames("clip.mkv", "ffv1", frames, {"level": "3"}, colorspace=matrix, color_range=2 if full else 1)
    assert np.abs(read_first(path) - RGB).max() <= 3


@pytest.mark.parametrize(("width", "matrix"), [(WIDTH, 5), (1280, 1)], ids=["small", "HD"])
def test_matrix_that_players_take_where_none_is_named(write_frames, width, matrix):
    rgb = np.asarray(Image.fromarray(RGB).resize((width, 16)))
    path = write_frames("clip.mkv", "ffv1", [yuv_frame(rgb, matrix, full=False) for _ in range(2)])
    assert np.abs(read_first(path) - rgb).max() <= 3


FORMATS = [
    ("gray.mkv", "ffv1", "gray", 1),
    ("gray16.mkv", "ffv1", "gray16le", 1),
    ("gbrp10.mkv", "ffv1", "gbrp10le", 1),
    ("rgb48.mov", "png", "rgb48be", 1),
    ("jpeg.mov", "mjpeg", "yuvj444p", 8),
    ("raw.avi", "rawvideo", "bgr24", 0),
    ("clip.apng", "apng", "rgb24", 0),
]
WITH_ALPHA = [
    ("bgra.mkv", "ffv1", "bgra", 0),
    ("yuva.mkv", "ffv1", "yuva444p", 3),
    ("rgba.mov", "png", "rgba", 0),
    ("argb.mov", "qtrle", "argb", 0),
    ("ya8.mov", "png", "ya8", 1),
    ("vp9.webm", "libvpx-vp9", "yuva420p", 12),  # FFmpeg's own decoder does not see its alpha
    ("clip.apng", "apng", "rgba", 1),
]


@pytest.mark.parametrize(("name", "codec", "pix_fmt", "tolerance"), FORMATS + WITH_ALPHA)
def test_video_is_as_the_same_picture_in_a_folder(write_frames, tmp_path, name, codec, pix_fmt, tolerance):
    """Also when it shrinks, and in one channel, which is the luma of three."""
    alpha = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
    if (name, codec, pix_fmt, tolerance) in WITH_ALPHA:
        alpha[:24], alpha[24:36] = 128, 0
    pixels = np.concatenate([RGB, alpha], -1)
    gray = Image.fromarray(RGB).convert("L")
    picture = Image.fromarray(pixels)
    if pix_fmt.startswith("gray"):
        picture = gray
    elif pix_fmt == "ya8":
        picture = Image.merge("LA", (gray, Image.fromarray(alpha[..., 0])))
    path = write_frames(name, codec, [frame_of(pixels, pix_fmt), frame_of(pixels[::-1].copy(), pix_fmt)])
    (tmp_path / "folder").mkdir()
    for number in range(2):
        picture.save(tmp_path / "folder" / f"{number}.png")
    for options in ({}, {"image_size": (20, 30)}, {"greyscale": True}):
        video, folder = read_first(path, **options), read_first(tmp_path / "folder", **options)
        assert video.shape == folder.shape
        assert np.abs(video - folder).max() <= tolerance


PALETTE = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (9, 90, 200), (250, 250, 250), (7, 7, 7)])


def _lzw(indices):
    """GIF's packing of numbers below 8 without any packing."""
    codes = [code for start in range(0, len(indices), 6) for code in (8, *indices[start : start + 6])] + [9]
    bits = sum(code << 4 * place for place, code in enumerate(codes)).to_bytes(len(codes) // 2 + 1, "little")
    blocks = [bits[start : start + 255] for start in range(0, len(bits), 255)]
    return b"\x03" + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"


def _gif(width, height, parts):
    """A GIF of parts (left, top, indices, hundredths of a second, disposal, transparent index)."""
    data = b"GIF89a" + struct.pack("<HH3B", width, height, 0xF2, 0, 0) + bytes(PALETTE.astype(np.uint8)) + bytes(3)
    for left, top, indices, delay, disposal, transparent in parts:
        data += b"!\xf9\x04" + struct.pack("<BHBB", disposal << 2 | 1, delay, transparent, 0)
        data += b"," + struct.pack("<4HB", left, top, *indices.shape[::-1], 0) + _lzw(indices.reshape(-1).tolist())
    return data + b";"


def _drawn(height, width, parts):
    """Each frame of a GIF, drawn by hand over black."""
    canvas, frames = np.zeros((height, width, 3), np.uint8), []
    for left, top, indices, _, disposal, transparent in parts:
        before = canvas.copy()
        part = canvas[top : top + indices.shape[0], left : left + indices.shape[1]]
        part[indices != transparent] = PALETTE[indices[indices != transparent]]
        frames.append(canvas.copy())
        if disposal == 2:
            part[:] = 0
        elif disposal == 3:
            canvas = before
    return np.stack(frames)


@pytest.mark.parametrize("disposal", [1, 2, 3], ids=["kept", "cleared", "restored"])
def test_gif_with_parts_and_transparency(tmp_path, rng, disposal):
    parts = [(0, 0, rng.integers(0, 7, (16, 24)), 5, 1, 6)]
    parts += [(left, 2, rng.integers(0, 7, (6, 9)), 5 * left, disposal, 3) for left in (4, 9, 2, 1)]
    (tmp_path / "a.gif").write_bytes(_gif(24, 16, parts))
    (run,) = load(tmp_path / "a.gif", image_size=0, split_cuts=False)
    np.testing.assert_array_equal(run.frames, _drawn(16, 24, parts))
    np.testing.assert_allclose(run.time, [0, 0.05, 0.25, 0.7, 0.8])


@pytest.mark.parametrize("suffix", [".webp", ".png"])
def test_animated_pictures_given_alone(tmp_path, pan, suffix):
    pictures = [Image.fromarray(frame).convert("RGBA") for frame in pan(5)]
    for number, picture in enumerate(pictures):
        picture.putalpha(255 - 50 * number)
    path = tmp_path / f"a{suffix}"
    options = {"lossless": True, "exact": True} if suffix == ".webp" else {"blend": 0}
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=[40, 40, 90, 40, 40], **options)
    (run,) = load(path, image_size=0, split_cuts=False)
    black = Image.new("RGBA", pictures[0].size, (0, 0, 0, 255))
    expected = [np.asarray(Image.alpha_composite(black, picture).convert("RGB")).astype(int) for picture in pictures]
    assert np.abs(run.frames - np.stack(expected)).max() <= 1
    np.testing.assert_allclose(run.time, [0, 0.04, 0.08, 0.17, 0.21])


def test_default_picture_of_an_apng_is_no_frame(tmp_path, pan):
    """That is for programs which cannot show animations."""
    first, *frames = pan(4)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    def packed(frame):
        return zlib.compress(b"".join(b"\0" + row.tobytes() for row in frame))

    data = chunk(b"IHDR", struct.pack(">2I5B", 64, 48, 8, 2, 0, 0, 0)) + chunk(b"acTL", struct.pack(">2I", 3, 0))
    data += chunk(b"IDAT", packed(first))
    for number, frame in enumerate(frames):
        data += chunk(b"fcTL", struct.pack(">5I2H2B", 2 * number, 64, 48, 0, 0, 1, 10, 0, 0))
        data += chunk(b"fdAT", struct.pack(">I", 2 * number + 1) + packed(frame))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + data + chunk(b"IEND", b""))
    np.testing.assert_array_equal(load(tmp_path / "a.png", image_size=0)[0].frames, np.stack(frames))


# EXIF's number of each orientation, and the display matrix (a, b, c, d) that says the same of a video.
ORIENTATIONS = {1: (1, 0, 0, 1), 2: (-1, 0, 0, 1), 3: (-1, 0, 0, -1), 4: (1, 0, 0, -1),
                5: (0, 1, 1, 0), 6: (0, 1, -1, 0), 7: (0, -1, -1, 0), 8: (0, -1, 1, 0)}  # fmt: skip


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_orientation_as_that_of_pictures(write_video, pan, tmp_path, orientation):
    path = pathlib.Path(write_video("clip.mp4", pan(2)))
    (plain,) = load(path, image_size=0)
    data = bytearray(path.read_bytes())
    a, b, c, d = (value << 16 for value in ORIENTATIONS[orientation])
    place = data.index(b"tkhd") + 44  # the track header's display matrix follows its tag by 40 bytes
    data[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    exif = Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "folder").mkdir()
    for number, frame in enumerate(plain.frames):
        Image.fromarray(frame).save(tmp_path / "folder" / f"{number}.png", exif=exif)
    (video,), (folder,) = load(path, image_size=0), load(tmp_path / "folder", image_size=0)
    np.testing.assert_array_equal(video.frames, folder.frames)


def test_changed_shape_is_told(write_frames, write_folder, caplog):
    wide = np.zeros((48, 96, 3), np.uint8)
    paths = [write_folder("a", [wide] * 2), write_folder("b", [wide] * 2), write_folder("c", [wide[:, :48]] * 2)]
    load(paths, image_size=32)
    load(paths[0], image_size=(32, 66))  # nobody sees that
    (said,) = [record.message for record in caplog.records if "shown at" in record.message]
    assert said == (
        f"{paths[0]}: frames shown at 96x48 are read at 32x32, 2.00 times as high; image_size=(16, 32) keeps their "
        "shape (so are those of 1 other files or folders)"
    )


def test_pixels_that_are_not_square(write_frames, caplog):
    frames = [frame_of(RGB, "yuv420p") for _ in range(2)]
    path = write_frames("dv.mkv", "mpeg4", frames, sample_aspect_ratio=2)
    assert load(path, image_size=0)[0].frames.shape[1:3] == (48, 64)
    assert "dv.mkv: frames shown at 128x48 are read at 64x48, 2.00 times as high; image_size=(24, 64)" in caplog.text
    caplog.clear()
    load(path, image_size=(24, 64))
    assert "shown at" not in caplog.text
