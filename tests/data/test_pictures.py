"""Pictures of all formats by one rule: 8 bits, sRGB, upright, alpha over black."""

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from sfa_jax._errors import InputError
from sfa_jax.data import load
from sfa_jax.data._pictures import read_picture

TURNS = {
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90,
}


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_16(values, color, *extra):
    """A PNG of 16 bits, which Pillow writes in gray only."""
    height, width = values.shape[:2]
    header = chunk(b"IHDR", struct.pack(">2I5B", width, height, 16, color, 0, 0, 0))
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def pnm(kind, values, top):
    head = f"{kind} {values.shape[1]} {values.shape[0]} {top}\n".encode()
    plain = " ".join(map(str, values.ravel())).encode()
    return head + (plain if kind in ("P2", "P3") else values.astype(">u2").tobytes())


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA", "P", "1", "I;16", "CMYK"])
def test_orientation(tmp_path, mode):
    """What a camera wrote is carried out in every mode and format."""
    base = np.zeros((12, 20, 3), np.uint8)
    base[:6, :6], base[6:, 14:] = (200, 40, 40), (40, 200, 40)
    picture = Image.fromarray(base)
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
    else:
        picture = picture.convert("RGBA" if mode == "LA" else "RGB").convert(mode)
    formats = {"PNG": {}, "WEBP": {"lossless": True}, "TIFF": {}, "JPEG": {"quality": 95, "subsampling": 0}}
    for name, options in formats.items():
        try:
            picture.save(tmp_path / "plain", name, **options)
        except OSError:  # the format has no such mode
            continue
        upright = np.asarray(read_picture(str(tmp_path / "plain")).convert("RGB")).astype(int)
        for orientation, turn in TURNS.items():
            exif = Image.Exif()
            exif[0x0112] = orientation
            picture.save(tmp_path / "turned", name, exif=exif, **options)
            found = np.asarray(read_picture(str(tmp_path / "turned")).convert("RGB")).astype(int)
            assert found.shape == turn(upright).shape
            assert np.abs(found - turn(upright)).max() < 40


GRAY = np.arange(48, dtype=np.uint16).reshape(6, 8) * 85  # 0 to 3995
COLORS = np.stack([GRAY, GRAY[::-1], GRAY[:, ::-1]], axis=-1)


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("a.png", png_16(COLORS, 2), COLORS),
        ("a.png", png_16(np.dstack([COLORS, np.full_like(GRAY, 65535)]), 6), COLORS),
        ("a.png", png_16(np.dstack([GRAY, np.full_like(GRAY, 65535)]), 4), GRAY),
        ("a.png", png_16(np.dstack([COLORS, 0 * GRAY]), 6), 0 * COLORS),
        ("a.png", png_16(GRAY, 0, chunk(b"tRNS", struct.pack(">H", 3995))), np.where(GRAY == 3995, 0, GRAY)),
        ("a.pgm", pnm("P5", GRAY, 4095), GRAY),
        ("a.pgm", pnm("P5", GRAY, 65535), GRAY),
        ("a.pgm", pnm("P2", GRAY, 4095), GRAY),
        ("a.ppm", pnm("P6", COLORS, 4095), COLORS),
        ("a.ppm", pnm("P6", COLORS, 65535), COLORS),
        ("a.ppm", pnm("P3", COLORS, 65535), COLORS),
    ],
)
def test_twelve_bits_of_sixteen(tmp_path, name, data, expected):
    """All 12 bits come through, of colors too, of which Pillow gives the upper 8."""
    for number in range(2):
        (tmp_path / f"{number}{name}").write_bytes(data)
    (run,) = load(tmp_path, image_size=0)
    expected = expected if expected.ndim == 3 else expected[..., np.newaxis].repeat(3, -1)
    assert np.abs(run.frames[1] - expected * (255 / 4095)).max() <= 0.51


@pytest.mark.parametrize("packed", [None, "zlib"])
@pytest.mark.parametrize("order", "<>")
def test_sixteen_bits_of_tiff(tmp_path, packed, order):
    cases = {
        "colors": (COLORS, {"photometric": "rgb"}),
        "inverted": (GRAY, {"photometric": "miniswhite"}),
        "signed": (GRAY.astype(np.int16), {}),
        "float": ((GRAY / 4095).astype(np.float32), {}),
    }
    for name, (values, options) in cases.items():
        if name == "inverted" and order == ">":  # Pillow reads none
            continue
        (tmp_path / name).mkdir()
        for number in range(2):
            tifffile.imwrite(tmp_path / name / f"{number}.tif", values, byteorder=order, compression=packed, **options)
        (run,) = load(tmp_path / name, image_size=0)
        expected = np.atleast_3d(values / (1 if name == "float" else 4095))
        expected = 1 - expected if name == "inverted" else expected
        assert np.abs(run.frames[0] / 255 - expected).max() < 0.003, name


def test_what_pillow_reads_wrongly_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.moveaxis(COLORS, -1, 0), photometric="rgb", planarconfig="separate")
    with pytest.raises(InputError, match=r"a.tif has the planes of its 16-bit colors apart; save it with"):
        read_picture(str(tmp_path / "a.tif"))
    tifffile.imwrite(tmp_path / "b.tif", np.full((4, 4), -3, np.int8))
    with pytest.raises(InputError, match=r"b.tif has signed values of 8 bits; save it with values from 0 to 255"):
        read_picture(str(tmp_path / "b.tif"))


def saved(picture, name, **options):
    file = io.BytesIO()
    picture.save(file, name, **options)
    return file.getvalue()


def test_alpha_and_modes(tmp_path):
    bits = Image.new("1", (4, 4), 1)
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 90, 90, 90])
    lab = Image.new("LAB", (4, 4), (255, 128, 128))
    premultiplied = io.BytesIO()
    values = np.full((4, 4, 4), (100, 50, 0, 128), np.uint8)
    tifffile.imwrite(premultiplied, values, photometric="rgb", extrasamples=["assocalpha"])
    cases = [
        (saved(bits, "PNG"), (255, 255, 255)),
        (saved(bits, "PNG", transparency=1), (0, 0, 0)),
        (saved(Image.new("L", (4, 4), 77), "PNG", transparency=77), (0, 0, 0)),
        (saved(palette, "PNG", transparency=1), (0, 0, 0)),
        (saved(palette, "PNG", transparency=b"\xff\x80"), (45, 45, 45)),
        (saved(Image.new("LA", (4, 4), (200, 128)), "PNG"), (100, 100, 100)),
        (saved(Image.new("RGBA", (4, 4), (200, 100, 0, 128)), "WEBP", lossless=True, exact=True), (100, 50, 0)),
        (premultiplied.getvalue(), (100, 50, 0)),
        (saved(Image.new("CMYK", (4, 4), (0, 255, 255, 0)), "JPEG", quality=95), (255, 0, 0)),  # as Adobe inverts it
        (saved(lab, "TIFF"), (255, 255, 255)),
        (saved(Image.new("RGB", (4, 4), (9, 8, 7)), "GIF"), (9, 8, 7)),
    ]
    for number, (data, expected) in enumerate(cases):
        (tmp_path / "a").write_bytes(data)
        found = np.asarray(read_picture(str(tmp_path / "a")).convert("RGB")).astype(int)
        assert np.abs(found - expected).max() <= 3, (number, found[0, 0])


def test_colors_of_a_profile(tmp_path, caplog):
    """A file says by a profile that its red and blue are exchanged; sRGB's own changes nothing."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    (red,), (blue,) = (
        {srgb[i + 4 : i + 12] for i in range(128, 400, 4) if srgb[i : i + 4] == tag} for tag in (b"rXYZ", b"bXYZ")
    )
    other = srgb.replace(b"rXYZ" + red, b"????").replace(b"bXYZ" + blue, b"rXYZ" + blue).replace(b"????", b"bXYZ" + red)
    other = other.replace("sRGB".encode("utf-16-be"), "mine".encode("utf-16-be")).replace(b"sRGB", b"mine")
    picture = Image.new("RGB", (4, 4), (200, 100, 50))
    found = []
    for profile in (None, srgb, other, b"no profile"):
        picture.save(tmp_path / "a.png", icc_profile=profile)
        found.append(read_picture(str(tmp_path / "a.png")).getpixel((0, 0)))
    assert found[0] == found[1] == found[3] == (200, 100, 50)
    assert np.abs(np.subtract(found[2], (50, 100, 200))).max() <= 3
    assert [line[:34] for line in caplog.messages] == ["a color profile of pictures cannot"]
