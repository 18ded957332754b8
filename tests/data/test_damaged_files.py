"""Damaged and absurd pictures and arrays: refused or left out by a clear line, or read just as they were.

What no program can see is wrong bits in files without checksums that still make some picture: in all formats but
`.npz`, HDF5 with checksums, and parts of PNG.
"""

import ast
import contextlib
import io
import logging
import os
import pathlib
import pickle
import struct
import zipfile
import zlib

import h5py
import numpy as np
import pytest
from PIL import Image

import sfa_jax
from sfa_jax._errors import InputError
from sfa_jax.data import load

FRAMES = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)
PICTURES = {
    "png": {}, "png 16 bits": {}, "png palette": {}, "jpg": {}, "jpg progressive": {"progressive": True}, "bmp": {},
    "webp": {}, "webp lossless": {"lossless": True}, "tif": {}, "tif lzw": {"compression": "tiff_lzw"}, "ppm": {},
    "tif deflate": {"compression": "tiff_deflate"}, "pgm": {}, "tga": {"compression": "tga_rle"}, "jp2": {}, "gif": {},
}  # fmt: skip
ARRAYS = {
    "a.npy": lambda path: np.save(path, FRAMES),
    "float.npy": lambda path: np.save(path, (FRAMES / 255).astype(np.float32)),
    "fortran.npy": lambda path: np.save(path, np.asfortranarray(FRAMES)),
    "a.npz": lambda path: np.savez(path, frames=FRAMES, run_id=np.arange(6) // 3),
    "packed.npz": lambda path: np.savez_compressed(path, frames=FRAMES, run_id=np.arange(6) // 3),
    "a.h5": lambda path: h5py.File(path, "w").create_dataset("frames", data=FRAMES, fletcher32=True).file.close(),
}
DAMAGES = {
    "cut": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "text": lambda data: b"This is no picture.\n" * 20,
    "noise": lambda data: np.random.default_rng(1).bytes(len(data)),
}


def write_pictures(folder, kind):
    folder.mkdir()
    suffix, options = kind.split()[0], PICTURES[kind]
    for number, frame in enumerate(FRAMES):
        picture = Image.fromarray(frame).convert("P" if "palette" in kind else "L" if suffix == "pgm" else "RGB")
        picture = Image.fromarray(frame[..., 0].astype(np.uint16) * 257) if "16" in kind else picture
        picture.save(folder / f"f{number}.{suffix}", **options)
    return folder / f"f3.{suffix}"


@pytest.mark.parametrize("kind", PICTURES)
def test_damaged_pictures(tmp_path, kind, caplog):
    path = write_pictures(tmp_path / "walk", kind)
    options = {"image_size": 16, "split_cuts": False}
    good, data = load(tmp_path / "walk", **options)[0].frames, path.read_bytes()
    for name, damage in DAMAGES.items():
        path.write_bytes(damage(data))
        caplog.clear()
        with caplog.at_level(logging.WARNING, "sfa_jax"):
            runs = load(tmp_path / "walk", **options)
        assert [run.frame_index.tolist() for run in runs] == [[0, 1, 2], [4, 5]], name
        np.testing.assert_array_equal(np.concatenate([run.frames for run in runs]), good[[0, 1, 2, 4, 5]])
        assert (
            f"1 of 6 frames cannot be read; they are left out, and sequences end there (the first: {path} "
            in caplog.text
        )
        with pytest.raises(InputError, match=path.name):
            load(tmp_path / "walk", on_corrupt="raise", **options)
    rng = np.random.default_rng(2)
    for place in rng.integers(0, len(data), 8):  # nothing but InputError may come of it
        path.write_bytes(data[:place] + bytes([data[place] ^ int(rng.integers(1, 256))]) + data[place + 1 :])
        with contextlib.suppress(InputError):
            load(tmp_path / "walk", **options)


@pytest.mark.parametrize("name", ARRAYS)
def test_damaged_arrays(tmp_path, name):
    path = tmp_path / name
    ARRAYS[name](path)
    data = path.read_bytes()
    for damage in DAMAGES.values():
        path.write_bytes(damage(data))
        with pytest.raises(
            InputError, match=rf"{name}.* cannot be read (as a NumPy file|by h5py) .*; (save|copy) it again"
        ):
            load(path, image_size=0)
    for place in range(0, len(data), max(1, len(data) // 60)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
        with contextlib.suppress(InputError):
            runs = load(path, image_size=0)
            if name.endswith("z"):
                np.testing.assert_array_equal(np.concatenate([run.frames for run in runs]), FRAMES)


def test_a_damaged_array_among_others(tmp_path, caplog):
    np.save(tmp_path / "a.npy", FRAMES)
    (tmp_path / "b.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-5])
    for path in (tmp_path, [tmp_path / "a.npy", tmp_path / "b.npy"]):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "sfa_jax"):
            assert len(load(path, image_size=0)) == 1
        assert "b.npy cannot be read as a NumPy file" in caplog.text
        with pytest.raises(InputError, match=r"b.npy cannot be read as a NumPy file .*on_corrupt=skip"):
            load(path, image_size=0, on_corrupt="raise")


class Unpickled:
    """Makes a folder when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("unpickled",)


def array(shape="(6, 16, 16, 3)", descr="'|u1'", body=None, *, version=1, padding=0):
    """The bytes of an `.npy` whose header says what is given."""
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode() + b" " * padding + b"\n"
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + length + header + (FRAMES.tobytes() if body is None else body)


HEADERS = {
    "a shape of 10**12 frames": array("(1000000000000, 64, 64, 3)"),
    "a shape beyond 64 bits": array("(9223372036854775807, 9223372036854775807, 2, 3)"),
    "a shape that wraps to nothing": array("(4294967296, 4294967296, 16, 1)", body=b""),
    "a side of 4,000 digits": array(f"({'9' * 4000}, 16, 16, 3)"),
    "a negative side": array("(-6, 16, -16, 3)"),
    "a shape of text": array("('6', 16, 16, 3)"),
    "Python objects": array("(3,)", "'|O'", pickle.dumps([Unpickled()] * 3)),
    "a record with Python objects": array("(3,)", "[('a', '|O'), ('b', '<f8')]", pickle.dumps([Unpickled()] * 3)),
    "a header of 10 MB": array(version=2, padding=10_000_000),
    "a header length of 4 GB": b"\x93NUMPY\x02\x00\xff\xff\xff\xff{'descr': '|u1'}",
    "an unknown version": b"\x93NUMPY\x09\x09" + array()[8:],
    "a header that calls": array("__import__('os').mkdir('unpickled')"),
    "a header of minus signs": array(f"({'-' * 9_800}1,)"),
    "a header of brackets": array("[" * 4_900),
    "a number type of gigabytes": array(descr="'<U1000000000'"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_absurd_headers_of_arrays(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.npy").write_bytes(HEADERS[name])
    for key in ("frames", "run_id"):
        with zipfile.ZipFile(tmp_path / f"{key}.npz", "w") as archive:
            archive.writestr("frames.npy", array())
            archive.writestr(f"{key}.npy", HEADERS[name]) if key == "run_id" else None
        if key == "frames":
            with zipfile.ZipFile(tmp_path / f"{key}.npz", "w") as archive:
                archive.writestr("frames.npy", HEADERS[name])
    for path in ("a.npy", "frames.npz", "run_id.npz"):
        with pytest.raises(InputError, match=path) as raised:
            load(path)
        assert len(str(raised.value)) < 600
    assert not (tmp_path / "unpickled").exists()


def test_members_beyond_memory(tmp_path, monkeypatch):
    """Three gigabytes of zeros in three megabytes."""
    monkeypatch.setattr("sfa_jax.data._numpy_files.available_memory", lambda: 1 << 30)
    pack = zlib.compressobj(9, zlib.DEFLATED, -15)
    head = array("(262144, 64, 64, 3)", body=b"")
    start = pack.compress(head) + pack.flush(zlib.Z_FULL_FLUSH)
    packed = start + (pack.compress(bytes(1 << 20)) + pack.flush(zlib.Z_FULL_FLUSH)) * 3072 + pack.flush()
    fields = (20, 0, zipfile.ZIP_DEFLATED, 0, 0x21, 0, len(packed), len(head) + (3 << 30), 10, 0)
    local = struct.pack("<4s5H3I2H", b"PK\3\4", *fields) + b"frames.npy" + packed
    table = struct.pack("<4sH5H3I5H2I", b"PK\1\2", 20, *fields, 0, 0, 0, 0, 0) + b"frames.npy"
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, len(table), len(local), 0)
    (tmp_path / "a.npz").write_bytes(local + table + end)
    with pytest.raises(
        InputError, match=r"a.npz \[frames\] needs 3.2 GB of memory to be unpacked, and 1.1 GB are free"
    ):
        load(tmp_path / "a.npz")


def test_too_many_members(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for number in range(10_001):
            archive.writestr(f"{number}.npy", b"")
    with pytest.raises(InputError, match=r"a.npz .*it has 10001 members, and at most 10000 are read"):
        load(tmp_path / "a.npz")


def test_a_frame_of_an_array_beyond_the_limit(tmp_path):
    head = array("(2, 60000, 60000)", body=b"")
    (tmp_path / "a.npy").write_bytes(head)
    os.truncate(tmp_path / "a.npy", len(head) + 2 * 60_000 * 60_000)  # of holes
    with pytest.raises(InputError, match=r"a.npy has frames of 60000x60000 pixels, at most 89478485 pixels are read"):
        load(tmp_path / "a.npy")


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, *chunks, depth=8):
    """A PNG of black pixels."""
    header = chunk(b"IHDR", struct.pack(">2I5B", width, height, depth, 0, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + b"".join(chunks)
        + chunk(b"IDAT", zlib.compress(bytes(272)))
        + chunk(b"IEND", b"")
    )


def patched(name, place, data):
    """A good picture of a format with some bytes put over its own."""
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, name)
    good = buffer.getvalue()
    place = good.index(place) + 5 if isinstance(place, bytes) else place
    return good[:place] + data + good[place + len(data) :]


def tiff(width, height, strips=1):
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    tags += [(273, 4, strips, 200), (277, 3, 1, 1), (278, 4, 1, height), (279, 4, strips, 256)]
    entries = b"".join(struct.pack("<2H2I", *tag) for tag in tags)
    return (b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4)).ljust(456, b"\0")


HUGE = struct.pack("<2i", 60_000, 60_000)
ABSURD_PICTURES = {
    "of 60000x60000.png": png(60_000, 60_000),
    "of 9500x9500.png": png(9_500, 9_500),
    "of no pixels.png": png(0, 16),
    "of 3 bits.png": png(16, 16, depth=3),
    "with 20 MB of text.png": png(16, 16, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(20_000_000), 1))),
    "of 65535x65535.jpg": patched("JPEG", b"\xff\xc0", b"\xff\xff\xff\xff"),
    "of 60000x60000.bmp": patched("BMP", 18, HUGE),
    "of 60000x60000.tga": patched("TGA", 12, struct.pack("<2H", 60_000, 60_000)),
    "of 60000x60000.pgm": b"P5 60000 60000 255\n" + bytes(999),
    "of 4,000 digits.pgm": b"P5 " + b"9" * 4_000 + b" 16 255\n" + bytes(999),
    "of plain text.pgm": b"P2 9000 9000 255\n" + b"1 " * 999,
    "of 60000x60000.gif": b"GIF89a" + HUGE[::2] + b"\0\0\0,\0\0\0\0" + HUGE[::2] + b"\0\x08\x01\0\0;",
    "PostScript.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n(x) = quit\n",
    "of 60000x60000.jp2": patched("JPEG2000", 48, struct.pack(">2I", 60_000, 60_000)),
    "of 60000x60000.tif": tiff(60_000, 60_000),
    "of 4 G strips.tif": tiff(16, 16, 0xFFFFFFFF),
}


@pytest.mark.parametrize("name", ABSURD_PICTURES)
def test_absurd_pictures(tmp_path, name):
    for number in range(3):
        Image.new("RGB", (16, 16)).save(tmp_path / f"a{number}.png")
    (tmp_path / name).write_bytes(ABSURD_PICTURES[name])
    assert len(load(tmp_path, image_size=16)[0]) == 3
    with pytest.raises(InputError, match=name) as raised:
        load(tmp_path, image_size=16, on_corrupt="raise")
    assert len(str(raised.value)) < 900


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_no_pickle_is_read(tmp_path, name):
    class Leaves:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "unpickled"),)

    objects = np.array([Leaves()] * 4, dtype=object)
    if name == "a.npy":
        np.save(tmp_path / name, objects)
    else:
        np.savez(tmp_path / name, frames=np.zeros((4, 8, 8, 3), np.uint8), run_id=objects)
    with pytest.raises(InputError, match=r"holds Python objects"):
        load(tmp_path / name)
    assert not (tmp_path / "unpickled").exists()


def test_nothing_in_the_package_unpickles():
    found = []
    for path in pathlib.Path(sfa_jax.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
                banned = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "torch"}
                found += [(path.name, node.lineno) for name in names if name.split(".")[0] in banned]
            if isinstance(node, ast.Call) and ast.unparse(node.func) in (
                "np.load",
                "numpy.load",
                "np.lib.format.read_array",
            ):
                allowed = [word for word in node.keywords if word.arg == "allow_pickle"]
                if not (len(allowed) == 1 and ast.unparse(allowed[0].value) == "False"):
                    found.append((path.name, node.lineno))
    assert found == []


def test_header_of_python_2_is_read(tmp_path):
    frames = np.arange(4 * 8 * 8, dtype=np.uint8).reshape(4, 8, 8)
    data = io.BytesIO()
    np.save(data, frames)
    (tmp_path / "a.npy").write_bytes(data.getvalue().replace(b"(4, 8, 8), }  ", b"(4L, 8, 8), } "))
    np.testing.assert_array_equal(load(tmp_path / "a.npy", image_size=0)[0].frames[..., 0], frames)


def test_black_frames_are_no_bomb(tmp_path, caplog):
    """Deflate makes them a thousand times smaller, and rightly so."""
    np.savez_compressed(tmp_path / "a.npz", frames=np.zeros((2000, 32, 32, 3), np.uint8))
    assert (tmp_path / "a.npz").stat().st_size < 2000 * 32 * 32 * 3 / 500
    with caplog.at_level(logging.WARNING, "sfa_jax"):
        assert len(load(tmp_path / "a.npz", image_size=4)[0]) == 2000
    assert not caplog.records


def test_pipes_are_refused(tmp_path):
    os.mkfifo(tmp_path / "clip.mp4")
    with pytest.raises(InputError, match=r"clip.mp4 is a pipe or a device; give a file"):
        load(tmp_path / "clip.mp4")
