"""Good files of every kind, and what may happen to them: the seeded cases of `test_damaged.py`.

To add a kind, write a function that writes a good file or folder and gives its path, and put it into `KINDS`.
"""

import contextlib
import pathlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image

N_FRAMES = 20
_SIZE = 64, 48  # of a video's or an array's frame, (width, height)

Rng = np.random.Generator
Write = Callable[[pathlib.Path], pathlib.Path]


class Kind(NamedTuple):
    """A kind of file.

    Attributes:
      write: writes a good one into a folder and gives the path to load, that of a file or a folder of frames.
      checked: checksums cover all that is read, so that no changed byte may come through without a word.
      open_ended: nothing in it says how long it is, so that one that just stops cannot be told from a whole one.
      prefix: of the path that is loaded, such as `tfds:` before a folder; it has no renamed files then.
      victims: which files of a folder may be damaged.
    """

    write: Write
    checked: bool = False
    open_ended: bool = False
    prefix: str = ""
    victims: str = "*"


class Case(NamedTuple):
    """What is done to which file; `seed` is for the damage's own random numbers."""

    kind: str
    damage: str
    seed: int


def _view(n_frames: int, width: int, height: int) -> np.ndarray:
    """Frames uint8 `[time, height, width, 3]` that slide over coloured blobs."""
    blobs = np.random.default_rng(5).integers(0, 256, (4, 12, 3), dtype=np.uint8)
    wide = np.asarray(Image.fromarray(blobs).resize((4 * width, height), Image.Resampling.BICUBIC))
    return np.stack([wide[:, 2 * number : 2 * number + width] for number in range(n_frames)])


def _video(suffix: str, codec: str, pix_fmt: str = "yuv420p", options: dict[str, str] | None = None) -> Write:
    def write(folder: pathlib.Path) -> pathlib.Path:
        import av

        path = folder / f"clip{suffix}"
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=25, options={"threads": "1", **(options or {})})
            stream.bit_rate = 400_000
            (stream.width, stream.height), stream.pix_fmt = _SIZE, pix_fmt
            for frame in _view(N_FRAMES, *_SIZE):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
            container.mux(stream.encode())
        return path

    return write


def _npz(change: Callable[[np.ndarray], np.ndarray], packed: bool = False) -> Write:
    def write(folder: pathlib.Path) -> pathlib.Path:
        frames = change(_view(N_FRAMES, *_SIZE))
        labels = {"run_id": np.repeat([4, 7], N_FRAMES // 2), "truth/x": np.linspace(0, 1, N_FRAMES)}
        (np.savez_compressed if packed else np.savez)(folder / "clip.npz", frames=frames, **labels)
        return folder / "clip.npz"

    return write


def _records(folder: pathlib.Path) -> pathlib.Path:
    """A set that `prepare` writes: tensors, three shards, two runs."""
    from sfa_jax.data import prepare

    source = _npz(_same)(folder.parent)
    prepare(source, folder, image_size=16, shard_bytes=8 * 16 * 16 * 3)
    source.unlink()
    for name in (".lock", "prepare.json"):
        (folder / name).unlink()
    return folder


def _image_records(folder: pathlib.Path) -> pathlib.Path:
    """A set whose examples are runs of PNG files, of 16x16 pixels."""
    import io

    import tensorflow_datasets as tfds

    def png(frame: np.ndarray) -> bytes:
        file = io.BytesIO()
        Image.fromarray(frame).resize((16, 16)).save(file, "PNG")
        return file.getvalue()

    class Clips(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            video = tfds.features.Sequence(tfds.features.Image(shape=(16, 16, 3)))
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict({"video": video}))

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for number, part in enumerate(np.split(_view(N_FRAMES, *_SIZE), 4)):
                yield number, {"video": [png(frame) for frame in part]}

    with contextlib.redirect_stdout(io.StringIO()):
        tfds.disable_progress_bar()
        builder = Clips(data_dir=folder.parent / "made", file_format="array_record")
        builder.download_and_prepare()
    for path in pathlib.Path(builder.data_dir).iterdir():
        path.rename(folder / path.name)
    return folder


def _same(frames: np.ndarray) -> np.ndarray:
    return frames


KINDS: dict[str, Kind] = {
    "mp4": Kind(_video(".mp4", "libx264")),
    "mp4-hevc": Kind(_video(".mp4", "libx265", options={"x265-params": "log-level=none:pools=1"})),
    "mov-mjpeg": Kind(_video(".mov", "mjpeg", "yuvj420p")),
    "mov-png": Kind(_video(".mov", "png", "rgb24")),
    "avi-mpeg4": Kind(_video(".avi", "mpeg4")),
    "avi-raw": Kind(_video(".avi", "rawvideo")),
    "mkv": Kind(_video(".mkv", "libx264")),
    "mkv-ffv1": Kind(
        _video(".mkv", "ffv1", "bgr0", {"level": "3", "slicecrc": "1"})
    ),  # its frames, not their times, have checksums
    "webm-vp9": Kind(_video(".webm", "libvpx-vp9")),
    "webm-vp8": Kind(_video(".webm", "libvpx")),
    "wmv": Kind(_video(".wmv", "wmv2")),
    "flv": Kind(_video(".flv", "flv"), open_ended=True),  # its length is told to a tenth only
    "gif": Kind(_video(".gif", "gif", "rgb8")),
    "mpg": Kind(_video(".mpg", "mpeg1video"), open_ended=True),
    "ts": Kind(_video(".ts", "mpeg2video"), open_ended=True),
    "h264": Kind(_video(".h264", "libx264"), open_ended=True),
    "y4m": Kind(_video(".y4m", "wrapped_avframe"), open_ended=True),
    "records": Kind(_records, checked=True, prefix="tfds:", victims="*array_record*"),
    "records-png": Kind(_image_records, checked=True, prefix="tfds:", victims="*array_record*"),
    "records-metadata": Kind(_records, prefix="tfds:", victims="*.json"),  # text without a checksum
}


def _flip(data: bytes, rng: Rng, low: float, high: float, whole_bytes: bool = False) -> bytes:
    """One to eight bits or bytes changed between two shares of the file."""
    changed = bytearray(data)
    start, stop = int(low * len(data)), max(int(high * len(data)), 1)
    for place in rng.integers(start, stop, rng.integers(1, 9)):
        changed[place] ^= int(rng.integers(1, 256)) if whole_bytes else 1 << int(rng.integers(8))
    return bytes(changed)


def _start(data: bytes, rng: Rng) -> bytes:
    return _flip(data, rng, 0, min(1, 200 / len(data)), whole_bytes=bool(rng.integers(2)))


def _zeros(data: bytes, rng: Rng) -> bytes:
    start, count = int(rng.integers(len(data))), int(rng.choice([8, 64, 512, 4096]))
    return data[:start] + bytes(len(data[start : start + count])) + data[start + count :]


def _insert(data: bytes, rng: Rng) -> bytes:
    place = int(rng.integers(len(data)))
    return data[:place] + rng.bytes(int(rng.integers(1, 300))) + data[place:]


def _lose(data: bytes, rng: Rng) -> bytes:
    place = int(rng.integers(len(data)))
    return data[:place] + data[place + int(rng.integers(1, 300)) :]


def _swap(data: bytes, rng: Rng) -> bytes:
    return data[len(data) // 2 :] + data[: len(data) // 2]


def _text(data: bytes, rng: Rng) -> bytes:
    return b"This is no picture and no video.\n" * int(rng.integers(1, 40))


DAMAGES: dict[str, Callable[[bytes, Rng], bytes]] = {
    "bits of the header": _start,
    "bits of the body": lambda data, rng: _flip(data, rng, 0.1, 0.9),
    "bytes of the body": lambda data, rng: _flip(data, rng, 0, 1, whole_bytes=True),
    "bits of the tail": lambda data, rng: _flip(data, rng, max(0, 1 - 200 / len(data)), 1),
    "zeros": _zeros,
    "inserted": _insert,
    "lost": _lose,
    "cut": lambda data, rng: data[: int(rng.integers(1, len(data)))],
    "cut at the tail": lambda data, rng: data[: -int(rng.integers(1, 100))],
    "empty": lambda data, rng: b"",
    "appended": lambda data, rng: data + rng.bytes(int(rng.integers(1, 2000))),
    "swapped": _swap,
    "noise": lambda data, rng: rng.bytes(len(data)),
    "text": _text,
}
RENAMED = "renamed"
"""The damage of a file that has another kind's suffix, which needs that other file."""

PLAIN = "cut", "cut at the tail", "empty", "appended", "swapped", "noise", "text", RENAMED
"""What is seen in all kinds but the open-ended ones: not one wrong pixel may come through."""


def cases(seed: int) -> Iterator[Case]:
    """Yields each format with each of the few damages that differ most for seed 0, with all damages for others."""
    rng = np.random.default_rng(seed)
    for kind in KINDS:
        for damage in ("bytes of the body", "cut", "noise") if seed == 0 else (*DAMAGES, RENAMED):
            if damage != RENAMED or not KINDS[kind].prefix:
                yield Case(kind, damage, int(rng.integers(1 << 32)))
