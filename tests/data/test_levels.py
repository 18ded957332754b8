"""Values of more than 8 bits: what is done with each type and range, or advised, is right."""

import logging
import re

import numpy as np
import pytest

from sfa_jax._errors import InputError
from sfa_jax.data import load

TOPS = (1, 255, 1023, 4095, 16383, 65535)


def ramp(low, high, dtype):
    values = np.linspace(low, high, 6 * 8 * 8).reshape(6, 8, 8)
    return (values if np.dtype(dtype).kind == "f" else values.round()).astype(dtype)


def read(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    return load(tmp_path / "a.npy", image_size=0)[0].frames[..., 0]


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", ["u2", "i2", "i4", "u8", "f2", "f4", "f8"])
def test_white_is_the_smallest_that_holds_all(tmp_path, caplog, kind, order):
    dtype = np.dtype(order + kind)
    for top in TOPS:
        if top > 32000 and kind in ("i2", "f2"):  # the largest of these types
            continue
        array = ramp(0, top, dtype)
        caplog.clear()
        with caplog.at_level(logging.WARNING, "sfa_jax"):
            frames = read(tmp_path, array)
        assert np.abs(frames - array.astype(float) * (255 / top)).max() <= 0.51
        usual = top == (65535 if kind == "u2" else 1 if kind[0] == "f" else None)
        assert [f"{top} white" in line or "1 white" in line for line in caplog.messages] == [True] * (not usual)


def test_dark_frames_do_not_change_the_others(tmp_path):
    """White is that of the whole array, not of a frame."""
    array = ramp(0, 4095, np.uint16)
    array[:3] //= 8
    assert read(tmp_path, array)[:3].max() < 20


@pytest.mark.parametrize(
    "array",
    [
        ramp(-300, 4000, np.int16),
        ramp(-(2**15), 2**15 - 1, np.int16),
        ramp(-100, 120, np.int8),
        ramp(0, 2**20, np.int64),
        ramp(-5, 2**40, np.int64),
        ramp(0, 2**31, np.uint32),
        ramp(-1, 1, np.float64),
        ramp(-3, 255, np.float32),
        ramp(-3, 4, np.float64),
        ramp(0, 1.5, np.float32),
        ramp(0, 1e6, np.float32),
        ramp(-6e4, 6e4, np.float16),
    ],
    ids=lambda array: f"{array.dtype} to {array.max():g}",
)
def test_advice_neither_wraps_nor_overflows(tmp_path, array):
    """Each expression that is advised gives frames that are read, and in the same order of brightness."""
    with pytest.raises(InputError, match=r"which of them are black and white is not known") as raised:
        read(tmp_path, array)
    advised = re.findall(
        r"(\(frames.*? / [\d.e+]+|frames\.astype.*? / [\d.e+]+|\(frames \+ 1\) / 2|numpy\.clip\(.*?\))",
        str(raised.value),
    )
    assert advised
    for expression in advised:
        with np.errstate(all="raise"):
            values = eval(expression, {"frames": array, "numpy": np})
        frames = read(tmp_path, values)
        assert (np.diff(frames.ravel().astype(int)) >= 0).all()
        assert np.ptp(frames) >= 200


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((5, 4, 4), complex), r"dtype complex128; integers, bool or floating point .* absolute value"),
        (np.zeros((5, 4, 4), "M8[s]"), r"dtype datetime64\[s\]; integers"),
        (np.zeros((5, 4, 4), "U3"), r"dtype <U3; integers"),
        (np.zeros((5, 4, 4), [("r", "u1")]), r"integers, bool or floating point are expected"),
    ],
)
def test_no_numbers(tmp_path, array, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, array)


def test_masks_of_uint8_are_told(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "sfa_jax"):
        read(tmp_path, (ramp(0, 1, np.float64) > 0.5).astype(np.uint8))
    assert [line for line in caplog.messages if "values of 0 and 1 alone" in line and "save a mask as bool" in line]


def test_one_white_for_all_files_of_a_load(tmp_path, caplog):
    """A dark recording beside a bright one of the same camera stays dark."""
    for name, top in (("bright", 4095), ("dark", 1000)):
        np.save(tmp_path / f"{name}.npy", ramp(0, top, np.uint16))
    for _ in range(2):  # the second from the cache
        caplog.clear()
        with caplog.at_level(logging.WARNING, "sfa_jax"):
            bright, dark = load(tmp_path, image_size=0)
        assert bright.frames.max() == 255
        assert dark.frames.max() == round(1000 * 255 / 4095)
        assert len([line for line in caplog.messages if "4095 white" in line]) == 2
        assert len(caplog.messages) == 2
    assert load(tmp_path / "dark.npy", image_size=0)[0].frames.max() == round(1000 * 255 / 1023)
