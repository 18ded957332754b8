"""Kinds of files, recognized by their suffix or else by their first bytes."""

import enum
import os
import re
import stat

from sfa_jax.data._video import VIDEO_SUFFIXES

_HEAD_BYTES = 4096


class Kind(enum.Enum):
    """Kinds of files."""

    PICTURE = "picture"
    TIFF = "TIFF"  # one picture or a stack of them
    GIF = "GIF"  # one picture or an animation
    VIDEO = "video"
    ARRAY = "array"
    COMPANION = "companion"  # lies beside frames, and is none
    UNKNOWN = "unknown"


_BY_SUFFIX = {
    Kind.PICTURE: (
        ".png .jpg .jpeg .jpe .jfif .jif .jfi .pjpeg .pjp .jp2 .j2k .j2c .jpc .jpf .jpx .bmp .dib .webp .pgm .ppm .pbm "
        ".pnm .pfm .tga .avif .apng"
    ),
    Kind.TIFF: ".tif .tiff .btf .tf2 .tf8",
    Kind.GIF: ".gif",
    Kind.VIDEO: " ".join(sorted(VIDEO_SUFFIXES - {".gif"})),
    Kind.ARRAY: ".npy .npz .h5 .hdf5 .hdf .he5 .mat",
    Kind.COMPANION: (
        ".txt .md .rst .log .csv .tsv .json .jsonl .xml .yaml .yml .toml .ini .cfg .conf .html .htm .pdf .py .ipynb .m "
        ".sh .sha256 .md5 .srt .vtt .ass .nfo .url .ds_store .wav .mp3 .flac .m4a .aac .oga .opus"
    ),
}
_SUFFIXES = {suffix: kind for kind, suffixes in _BY_SUFFIX.items() for suffix in suffixes.split()}
_COMPANIONS = ("license", "licence", "readme", "copying", "authors", "makefile", "desktop.ini", "thumbs.db")
# What lies in these may begin as a kind that is read and is another: copies, raw photographs with a small preview,
# and pyramids of one slide.
_UNREAD = (
    ".bak .old .orig .tmp .temp .part .partial .crdownload .download .swp .lock .dng .nef .nrw .cr2 .cr3 .arw .srf "
    ".orf .rw2 .raf .pef .srw .3fr .iiq .svs .ndpi .scn .qptiff .lsm .stk ~"
)
_NEVER = tuple(_UNREAD.split())
_MAGIC: tuple[tuple[bytes, Kind], ...] = (
    (rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|P[1-6]\s|Pf\n|\0\0\0\x0cjP  |\xff\x4f\xff\x51|RIFF....WEBP", Kind.PICTURE),
    (rb"....ftypavi[fs]|BM....\0\0\0\0....[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", Kind.PICTURE),
    (rb"II[*+]\0|MM\0[*+]", Kind.TIFF),
    (rb"GIF8[79]a", Kind.GIF),
    (rb"\x93NUMPY|\x89HDF\r\n\x1a\n", Kind.ARRAY),
    (rb"....ftyp(?!hei|hev|mif1|msf1|M4A|M4B|crx)|....(?:moov|mdat|wide)|RIFF....AVI ", Kind.VIDEO),
    (
        rb"\x1a\x45\xdf\xa3|FLV\x01|\.RMF|\x30\x26\xb2\x75\x8e\x66\xcf\x11|\0\0\x01[\xba\xb3]|YUV4MPEG2 |DKIF",
        Kind.VIDEO,
    ),
    (rb"\x06\x0e\x2b\x34\x02\x05\x01\x01|nut/|OggS.{22}(?:.\x80theora|.BBCD|.\x01video)", Kind.VIDEO),
    (rb"\x47.{187}\x47.{187}\x47|.{4}\x47.{191}\x47.{191}\x47", Kind.VIDEO),
)
_PATTERNS = tuple((re.compile(pattern, re.DOTALL), kind) for pattern, kind in _MAGIC)


def kind_of(path: str) -> Kind:
    """Recognizes a file by its suffix, and by its content where the suffix is of no known kind.

    Raises:
      OSError: it cannot be read.
    """
    return kind_of_name(path) or kind_of_content(path)


def kind_of_name(path: str) -> Kind | None:
    """Recognizes a file by its name alone; None where that says nothing."""
    name = os.path.basename(path).lower()
    suffix = os.path.splitext(name)[1]
    if name.endswith(_NEVER):
        return Kind.UNKNOWN
    return _SUFFIXES.get(suffix) or (Kind.COMPANION if name.startswith(_COMPANIONS) else None)


def kind_of_content(path: str) -> Kind:
    """Recognizes a file by its first bytes; a pipe or a device is not opened.

    Raises:
      OSError: it cannot be read.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        return Kind.UNKNOWN
    with open(path, "rb") as file:
        head = file.read(_HEAD_BYTES)
    return next((kind for pattern, kind in _PATTERNS if pattern.match(head)), Kind.UNKNOWN)


def is_animated(path: str) -> bool:
    """Tells whether a PNG, WebP or AVIF file holds several pictures, from its first bytes."""
    with open(path, "rb") as file:
        head = file.read(_HEAD_BYTES)
    if head[:8] == b"\x89PNG\r\n\x1a\n":
        return b"acTL" in head[: head.find(b"IDAT")]
    if head[4:12] == b"ftypavis":
        return True
    return head[12:16] == b"VP8X" and len(head) > 20 and bool(head[20] & 2)


def is_webp_or_avif(path: str) -> bool:
    """Tells whether a file begins as WebP or AVIF does."""
    with open(path, "rb") as file:
        head = file.read(12)
    return head[8:] == b"WEBP" or head[4:11] == b"ftypavi"


def reason_against(path: str) -> str:
    """Says why a file that is no source of frames is none, and what to do; empty where nothing is known."""
    name = path.lower().rstrip("/")
    return next((said for suffixes, said in _REASONS if name.endswith(suffixes)), "")


_SAVE = "save the frames [time, height, width, channel] by numpy.save, or as frames in an .npz or .h5 file"
_PICKLE = "pickles can run programs and are never read: load it where you trust it, and"
_REASONS: tuple[tuple[tuple[str, ...], str], ...] = (
    ((".csv", ".tsv", ".txt", ".json", ".xlsx"), f"tables and text hold no frames: {_SAVE}"),
    ((".pt", ".pth", ".pkl", ".pickle", ".joblib", ".ckpt"), f"{_PICKLE} {_SAVE}; a tensor as tensor.cpu().numpy()"),
    ((".parquet", ".feather", ".arrow", ".safetensors"), f"tables and tensors of this kind are not read: {_SAVE}"),
    ((".zarr", ".n5", ".zarr.zip"), f"zarr is not read: take numpy.asarray of its array, and {_SAVE}"),
    ((".tfrecord", ".tfrecords"), "records of TensorFlow are read from a set of TFDS in array_record, as tfds:NAME"),
    ((".dcm", ".nii", ".nii.gz", ".fits", ".fit", ".exr"), f"it is not read: open it by its own library, and {_SAVE}"),
    ((".czi", ".lif", ".nd2", ".oib", ".oif"), f"it is not read: open it by its own library, and {_SAVE}"),
    ((".zip", ".tar", ".tar.gz", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar"), "unpack it first, and give the folder"),
    ((".heic", ".heif", ".jxl", ".dng", ".nef", ".cr2", ".cr3", ".arw"), "convert such pictures to PNG or JPEG first"),
    ((".svs", ".ndpi", ".scn", ".qptiff", ".lsm", ".stk"), "save its frames as a plain TIFF stack first"),
)  # fmt: skip
