"""Folders of frames."""

import logging
import re

import numpy as np
import pytest
from PIL import Image

from sfa_jax._errors import InputError
from sfa_jax.data._load import load
from sfa_jax.data._source import natural_key


def grey_frames(levels, size=(8, 8)):
    return [np.full((*size, 3), level, np.uint8) for level in levels]


def test_frames_come_in_natural_order(write_folder):
    folder = write_folder("walk", grey_frames(range(0, 240, 20)))
    (run,) = load(folder, image_size=8)
    np.testing.assert_array_equal(run.frames[:, 0, 0, 0], range(0, 240, 20))
    np.testing.assert_array_equal(run.frame_index, range(12))
    assert run.frames.shape == (12, 8, 8, 3)
    assert run.frames.dtype == np.uint8
    assert not run.truth


def test_natural_key_orders_numbers_then_text():
    names = ["b", "a10", "a2", "a02", "A1", "10", "9"]
    assert sorted(names, key=natural_key) == ["9", "10", "A1", "a02", "a2", "a10", "b"]


@pytest.mark.parametrize("suffix", ["png", "jpg", "jpeg", "bmp", "webp", "ppm", "tif", "TIFF"])
def test_formats(write_folder, suffix):
    levels = [10, 200]
    options = write_folder("walk", grey_frames(levels), "f{}." + suffix)
    (run,) = load(options, image_size=0)
    assert np.abs(run.frames[:, 4, 4].astype(int) - np.array(levels)[:, None]).max() <= 2


def test_other_files_are_ignored(write_folder, tmp_path):
    folder = write_folder("walk", grey_frames([1, 2]))
    for name in ("notes.txt", ".hidden.png", "Thumbs.db"):
        (tmp_path / "walk" / name).write_text("not a picture")
    assert len(load(folder)[0]) == 2


def test_sub_folders_are_runs(write_folder, tmp_path):
    write_folder("walks", grey_frames([1, 2, 3]))
    write_folder("walks/b10", grey_frames([10, 11]))
    write_folder("walks/b9", grey_frames([20, 21]))
    write_folder("walks/.hidden", grey_frames([30, 31]))
    write_folder("walks/b11", grey_frames([40]))  # a run of one frame is left out
    runs = load(tmp_path / "walks", image_size=8)
    assert [run.frames[:, 0, 0, 0].tolist() for run in runs] == [[1, 2, 3], [20, 21], [10, 11]]
    assert runs[1].name.endswith("b9")


def test_shrinking_averages_areas(write_folder):
    board = np.indices((8, 8)).sum(0) % 2 * 255
    (run,) = load(write_folder("walk", [np.repeat(board[..., None], 3, 2).astype(np.uint8)] * 2), image_size=(2, 4))
    assert run.frames.shape == (2, 2, 4, 3)
    assert np.abs(run.frames.astype(float) - 127.5).max() < 1


def test_jpeg_draft_keeps_the_picture(write_folder, pan):
    big = [np.asarray(Image.fromarray(frame).resize((640, 480))) for frame in pan(2)]
    (run,) = load(write_folder("walk", big, "f{}.jpg"), image_size=32)
    expected = np.asarray(Image.fromarray(big[1]).resize((32, 32), Image.Resampling.BOX))
    assert np.abs(run.frames[1].astype(int) - expected).mean() < 4


def test_mixed_sizes_are_resized_and_said_once(write_folder, caplog):
    folder = write_folder("walk", grey_frames([1, 2]))
    write_folder("walk", grey_frames([3, 4], (6, 10)), "later{}.png")
    with caplog.at_level(logging.WARNING, "sfa_jax"):
        (run,) = load(folder, image_size=8)
    assert len(run) == 4
    assert [record.message for record in caplog.records] == [
        f"{folder}/later0.png is 10x6 pixels, the frames before it are 8x8; all are resized to 8x8"
    ]
    with pytest.raises(InputError, match=r"later0.png is 10x6 pixels.*set image_size"):
        load(folder, image_size=0)


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (Image.fromarray(np.full((4, 4), 40000, np.uint16)), 156),  # 40000 / 257 = 155.6
        (Image.new("L", (4, 4), 77), 77),
        (Image.new("LA", (4, 4), (200, 0)), 0),  # clear, over black
        (Image.new("RGBA", (4, 4), (200, 200, 200, 128)), 100),
        (Image.new("RGB", (4, 4), (90, 90, 90)).convert("P", palette=Image.Palette.ADAPTIVE), 90),
        (Image.new("1", (4, 4), 1), 255),
    ],
    ids=["16-bit", "grey", "clear", "half clear", "palette", "bits"],
)
def test_pixel_modes(tmp_path, picture, expected):
    for number in range(2):
        picture.save(tmp_path / f"f{number}.png")
    (run,) = load(tmp_path, image_size=0)
    assert run.frames.shape == (2, 4, 4, 3)
    assert set(run.frames.ravel().tolist()) == {expected}
    (run,) = load(tmp_path, image_size=0, greyscale=True)
    assert run.frames.shape == (2, 4, 4, 1)
    assert set(run.frames.ravel().tolist()) == {expected}


def test_float_pixels(tmp_path):
    for number, level in enumerate((0.0, 1.0)):
        Image.fromarray(np.full((4, 4), level, np.float32)).save(tmp_path / f"f{number}.tiff")
    assert load(tmp_path, image_size=0)[0].frames[:, 0, 0, 0].tolist() == [0, 255]
    Image.fromarray(np.full((4, 4), 80.0, np.float32)).save(tmp_path / "f2.tiff")
    assert load(tmp_path, image_size=0)[0].frames[:, 0, 0, 0].tolist() == [0, 1, 80]
    Image.fromarray(np.full((4, 4), -80.0, np.float32)).save(tmp_path / "f3.tiff")
    with pytest.raises(
        InputError, match=r"values from -80 to 80 \(-80 in .*f3.tiff\), .*: save \(frames.*\+ 80\) / 160"
    ):
        load(tmp_path, image_size=0)
    Image.fromarray(np.full((4, 4), np.nan, np.float32)).save(tmp_path / "f3.tiff")
    assert len(load(tmp_path, image_size=0)[0]) == 3
    with pytest.raises(InputError, match=r"f3.tiff has NaN or infinite values; repair it, or remove it"):
        load(tmp_path, image_size=0, on_corrupt="raise")


def test_greyscale_is_itu_601_luma(write_folder, pan):
    frames = pan(2)
    (run,) = load(write_folder("walk", frames), image_size=0, greyscale=True)
    expected = np.stack([np.asarray(Image.fromarray(frame).convert("L")) for frame in frames])
    np.testing.assert_array_equal(run.frames[..., 0], expected)


def test_stride_keeps_original_numbers(write_folder):
    (run,) = load(write_folder("walk", grey_frames(range(0, 100, 10))), image_size=8, stride=3)
    assert run.frame_index.tolist() == [0, 3, 6, 9]
    assert run.frames[:, 0, 0, 0].tolist() == [0, 30, 60, 90]


def truncated_png(path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:6000])


def stack(path):
    one = Image.new("L", (4, 4))
    one.save(path, format="TIFF", save_all=True, append_images=[one, one])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_text("hello"), r"frame1.png cannot be read as an image .*remove it"),
        (lambda path: path.write_bytes(b""), r"frame1.png cannot be read as an image .*remove it"),
        (truncated_png, r"frame1.png cannot be read as an image .*remove it"),
        (stack, r"frame1.png holds 3 pictures among files that hold one"),
    ],
    ids=["text", "empty", "truncated", "stack"],
)
def test_bad_frame_is_named(write_folder, tmp_path, damage, message):
    folder = write_folder("walk", grey_frames([1, 2, 3]))
    damage(tmp_path / "walk" / "frame1.png")
    with pytest.raises(InputError, match=message):
        load(folder, on_corrupt="raise")


def test_damaged_frames_are_left_out(write_folder, tmp_path, caplog):
    folder = write_folder("walk", grey_frames([1, 2, 3, 4, 5, 6]))
    for number in (0, 3):
        truncated_png(tmp_path / "walk" / f"frame{number}.png")
    said = rf"{folder}: 2 of 6 frames cannot be read; they are left out, .* \(the first: {folder}/frame0.png cannot be"
    for _ in range(2):  # the second is from the cache
        caplog.clear()
        with caplog.at_level(logging.WARNING, "sfa_jax"):
            runs = load(folder, image_size=0)
        assert [run.frame_index.tolist() for run in runs] == [[1, 2], [4, 5]]
        assert [run.frames[:, 0, 0, 0].tolist() for run in runs] == [[2, 3], [5, 6]]
        assert [bool(re.match(said, record.message)) for record in caplog.records] == [True]
    with pytest.raises(InputError, match=r"frame0.png cannot be read as an image .*, or leave out .*on_corrupt=skip"):
        load(folder, image_size=0, on_corrupt="raise")


def test_a_folder_without_a_readable_frame(write_folder, tmp_path, caplog):
    whole, broken = write_folder("a", grey_frames([1, 2, 3])), write_folder("b", grey_frames([1, 2]))
    for number in range(2):
        truncated_png(tmp_path / "b" / f"frame{number}.png")
    with pytest.raises(InputError, match=rf"{broken} has no frame that can be read: {broken}/frame0.png .*make the"):
        load(broken)
    with caplog.at_level(logging.WARNING, "sfa_jax"):
        (run,) = load([whole, broken])
    assert run.name == whole
    assert [record.message[: len(broken) + 12] for record in caplog.records] == [f"{broken} is left out"]


def test_animations_of_another_name(tmp_path, write_folder):
    pytest.importorskip("av")
    frames = [Image.new("L", (8, 8), level) for level in (0, 100, 200)]
    for number in range(2):
        frames[0].save(tmp_path / f"f{number}.png", "GIF", save_all=True, append_images=frames[1:])
    assert [len(run) for run in load(tmp_path)] == [3, 3]
    folder = write_folder("walk", grey_frames([1, 2, 3]))
    frames[0].save(tmp_path / "walk" / "frame2.png", "GIF", save_all=True, append_images=frames[1:])
    assert len(load(folder)[0]) == 2
    with pytest.raises(InputError, match=r"frame2.png holds 3 pictures among files that hold one; give it alone"):
        load(folder, on_corrupt="raise")


def test_too_many_pixels(write_folder, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    with pytest.raises(InputError, match=r"frame0.png has too many pixels"):
        load(write_folder("walk", grey_frames([1, 2])))


def test_one_frame_is_too_few(write_folder):
    with pytest.raises(InputError, match=r"walk gives 1 frame\(s\) .*at least two consecutive frames"):
        load(write_folder("walk", grey_frames([1])))
    with pytest.raises(InputError, match=r"1 frame\(s\) at stride 5.*smaller stride"):
        load(write_folder("longer", grey_frames([1, 2, 3])), stride=5)


def test_empty_folder(tmp_path):
    with pytest.raises(InputError, match=r"holds no frames, videos or arrays; path is"):
        load(tmp_path)


def test_cut_in_a_folder(write_folder, pan):
    folder = write_folder("film", [*pan(20, seed=1), *pan(20, seed=2)])
    assert [run.frame_index[0] for run in load(folder)] == [0, 20]
    (whole,) = load(folder, split_cuts=False)
    assert len(whole) == 40
