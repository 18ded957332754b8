"""TIFF files of many pictures."""

import logging
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from sfa_jax._errors import InputError
from sfa_jax.data import load

STACK = np.random.default_rng(0).integers(0, 65535, (5, 12, 16)).astype(np.uint16)


def imagej(path, stack, order="<", about="", keep=1.0):
    """A stack as ImageJ writes it above 4 GB: one page, and a description that speaks of the others."""
    count, height, width = stack.shape[:3]
    text = (about or f"ImageJ=1.53t\nimages={count}\nframes={count}\nhyperstack=true\n").encode() + b"\0"
    colors = stack.ndim == 4
    bits = 8 * stack.dtype.itemsize
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, bits), (259, 3, 1, 1), (262, 3, 1, 2 if colors else 1)]
    tags += [(270, 2, len(text), -1), (273, 4, 1, -2), (277, 3, 1, 3 if colors else 1), (278, 4, 1, height)]
    tags += [(279, 4, 1, stack[0].nbytes), (339, 3, 1, 3 if stack.dtype.kind == "f" else 1)]
    start = 8 + 2 + 12 * len(tags) + 4
    entries = b""
    for tag, kind, n, value in tags:
        value = {-1: start, -2: start + len(text)}.get(value, value)
        entries += struct.pack(order + ("HHIHH" if kind == 3 else "HHII"), tag, kind, n, value, *[0][: kind == 3])
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(tags)) + entries + bytes(4)
    pixels = stack.astype(stack.dtype.newbyteorder(order)).tobytes()
    path.write_bytes(head + text + pixels[: int(keep * len(pixels))])


def frames_of(stack):
    """What 16-bit gray becomes."""
    return np.rint(stack / 257).astype(int)[..., np.newaxis]


def same(run, stack):
    assert np.abs(run.frames.astype(int) - frames_of(stack)).max() <= 1


@pytest.mark.parametrize("order", "<>")
def test_one_page_heads_many_pictures(tmp_path, order):
    """Alone, and each of several in a folder as a sequence of its own."""
    for number in range(3):
        imagej(tmp_path / f"rec{number}.tif", STACK + number, order)
    (run,) = load(tmp_path / "rec0.tif", image_size=0)
    same(run, STACK)
    runs = load(tmp_path, image_size=0)
    assert [run.name.endswith(f"rec{number}.tif") for number, run in enumerate(runs)] == [True] * 3
    for number, run in enumerate(runs):
        same(run, STACK + number)


def test_bytes_colors_and_floats(tmp_path):
    imagej(tmp_path / "bytes.tif", (STACK >> 8).astype(np.uint8))
    same(load(tmp_path / "bytes.tif", image_size=0)[0], (STACK >> 8) * 257)
    imagej(tmp_path / "float.tif", (STACK / 65535).astype(np.float32))
    same(load(tmp_path / "float.tif", image_size=0)[0], STACK)
    colors = np.repeat((STACK >> 8).astype(np.uint8)[..., None], 3, -1)
    tifffile.imwrite(tmp_path / "colors.tif", colors, imagej=True, metadata={"axes": "TYXS"})
    same(load(tmp_path / "colors.tif", image_size=0)[0], (STACK >> 8) * 257)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bigtiff": True},
        {"compression": "zlib"},
        {"imagej": True, "metadata": {"axes": "TYX"}},
        {"ome": True, "metadata": {"axes": "TYX"}},
        {"metadata": {"axes": "ZYX"}},
        {"metadata": None},
        {"truncate": True},  # one page
        {"byteorder": ">"},
    ],
    ids=str,
)
def test_pages(tmp_path, options):
    tifffile.imwrite(tmp_path / "a.tif", STACK, photometric="minisblack", **options)
    (run,) = load(tmp_path / "a.tif", image_size=0)
    same(run, STACK)
    assert run.frame_index.tolist() == [0, 1, 2, 3, 4]


def test_beyond_4_gb(tmp_path):
    """Pixels are found behind 4 GB; the file is sparse."""
    count, side = 4200, 1024
    imagej(tmp_path / "a.tif", np.zeros((1, side, side), np.uint8), about=f"ImageJ=1.53t\nimages={count}\n")
    start = (tmp_path / "a.tif").stat().st_size - side * side
    with (tmp_path / "a.tif").open("r+b") as file:
        file.truncate(start + count * side * side)
        file.seek(start + (count - 1) * side * side)
        file.write(bytes([156]) * side * side)
    (run,) = load(tmp_path / "a.tif", image_size=8, stride=count - 1, split_cuts=False)
    assert run.frames[:, 0, 0, 0].tolist() == [0, 156]


def test_a_stack_that_ends_early(tmp_path, caplog):
    imagej(tmp_path / "a.tif", STACK, keep=0.7)
    with caplog.at_level(logging.WARNING, "sfa_jax"):
        (run,) = load(tmp_path / "a.tif", image_size=0)
    same(run, STACK[:3])
    assert [line for line in caplog.messages if "2 of 5 frames cannot be read" in line and "ends after 3 of 5" in line]
    with pytest.raises(InputError, match=r"a.tif ends after 3 of 5 pictures; copy it again"):
        load(tmp_path / "a.tif", image_size=0, on_corrupt="raise")


@pytest.mark.parametrize(
    "write",
    [
        lambda path: tifffile.imwrite(path, np.zeros((2, 3, 8, 8), np.uint8), imagej=True, metadata={"axes": "TCYX"}),
        lambda path: tifffile.imwrite(path, np.zeros((2, 3, 8, 8), np.uint8), imagej=True, metadata={"axes": "TZYX"}),
        lambda path: tifffile.imwrite(path, np.zeros((4, 8, 8), np.uint8), ome=True, metadata={"axes": "CYX"}),
        lambda path: tifffile.imwrite(path, np.zeros((4, 3, 8, 8), np.uint8), photometric="minisblack"),
        lambda path: imagej(path, STACK, about="ImageJ=1\nimages=5\nchannels=5\n"),
    ],
)
def test_pictures_that_may_not_be_frames(tmp_path, caplog, write):
    write(tmp_path / "a.tif")
    with pytest.raises(InputError, match=r"a.tif holds \d .*, and which are frames in time is not known; save the"):
        load(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "b.tif", STACK, photometric="minisblack")
    with caplog.at_level(logging.WARNING, "sfa_jax"):
        (run,) = load(tmp_path, image_size=0)
    same(run, STACK)
    assert "which are frames in time is not known" in caplog.messages[0]


def test_copies_are_no_frames(tmp_path, caplog):
    """A small copy and a mask behind each picture, as scanners write them."""
    (tmp_path / "scans").mkdir()
    for number in range(3):
        with tifffile.TiffWriter(tmp_path / "scans" / f"{number}.tif") as file:
            file.write(STACK[number], metadata=None)
            file.write(STACK[number, ::4, ::4], metadata=None, subfiletype=1)
    with caplog.at_level(logging.WARNING, "sfa_jax"):
        (run,) = load(tmp_path / "scans", image_size=0)
    same(run, STACK[:3])
    assert not caplog.messages


def test_frames_beside_stacks(tmp_path, caplog):
    for number in range(3):
        Image.fromarray(STACK[number]).save(tmp_path / f"f{number}.tif")
    tifffile.imwrite(tmp_path / "stack.tif", STACK, photometric="minisblack")
    with caplog.at_level(logging.WARNING, "sfa_jax"):
        runs = load(tmp_path, image_size=0)
    assert [len(run) for run in runs] == [3, 5]
    assert "3 pictures and 1 stacks or animations, and all are read" in caplog.text


def test_room_behind_one_picture_is_told(tmp_path, caplog):
    """As programs leave it that say in no known way how many pictures there are."""
    for number in range(2):
        imagej(tmp_path / f"{number}.tif", STACK, about="MetaMorph")
    with caplog.at_level(logging.WARNING, "sfa_jax"):
        load(tmp_path, image_size=0)
    assert "0.tif is read as one picture, and has room for 4 more behind it" in caplog.text


def test_many_channels_are_frames(tmp_path, caplog):
    """As tifffile writes a stack for ImageJ when nobody says what its axes are."""
    stack = np.concatenate([STACK, STACK])
    tifffile.imwrite(tmp_path / "a.tif", stack, imagej=True)
    with caplog.at_level(logging.WARNING, "sfa_jax"):
        (run,) = load(tmp_path / "a.tif", image_size=0, split_cuts=False)
    same(run, stack)
    assert "a.tif says that its 10 pictures are channels, and they are read as frames" in caplog.text
