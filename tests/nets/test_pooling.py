"""Pooling and the transposed convolution against NumPy, a plain loop and lax."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from sfa_jax import nets


def test_pooling_is_numpys(rng):
    x = rng.standard_normal((2, 6, 9, 4)).astype(np.float32)
    squares = x.reshape(2, 2, 3, 3, 3, 4)
    np.testing.assert_array_equal(nets.pool2d(x, size=3), squares.max(axis=(2, 4)))
    np.testing.assert_allclose(nets.pool2d(x, size=3, kind="average"), squares.mean(axis=(2, 4)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        nets.pool2d(x, size=3, kind="l2"), np.sqrt((squares.astype(float) ** 2).sum(axis=(2, 4))), rtol=1e-5
    )


def test_squares_stay_in_the_range_of_their_type():
    x = jnp.full((1, 2, 2, 1), 300.0, jnp.float16)
    assert nets.pool2d(x, kind="l2").ravel().tolist() == [600.0]
    assert nets.pool2d(x, kind="l2").dtype == jnp.float16
    with pytest.raises(TypeError, match="x: expected floating point, got uint8; divide uint8 by 255 first"):
        nets.pool2d(jnp.full((1, 2, 2, 1), 200, jnp.uint8), kind="l2")


@pytest.mark.parametrize("kind", nets.POOL_KINDS)
def test_pooling_of_zeros_and_of_what_is_no_number(kind):
    x = np.zeros((4, 28, 28, 8), np.float32)
    x[1, :2, :2] = 1e-7
    x[2, 3, 5, 1] = np.nan
    squares = x.reshape(4, 14, 2, 14, 2, 8).astype(np.float64)
    expected = {
        "max": squares.max(axis=(2, 4)), "average": squares.mean(axis=(2, 4)),
        "l2": np.sqrt((squares**2).sum(axis=(2, 4))),
    }[kind]  # fmt: skip
    np.testing.assert_allclose(nets.pool2d(x, kind=kind), expected, rtol=1e-5)


@pytest.mark.parametrize("kind", nets.POOL_KINDS)
def test_gradient_of_pooling(kind):
    with jax.enable_x64(True):
        x = jax.random.normal(jax.random.key(0), (1, 4, 4, 2))
        check_grads(lambda x: nets.pool2d(x, kind=kind), (x,), order=1)
    zeros = jax.grad(lambda x: nets.pool2d(x, kind=kind).sum())(jnp.zeros((1, 2, 2, 1)))
    assert np.isfinite(zeros).all()


@pytest.mark.parametrize(("k", "stride"), [(2, 2), (4, 2), (3, 1), (6, 2), (3, 3)])
def test_transposed_convolution_is_a_loop_and_laxs(k, stride, rng):
    x = rng.standard_normal((2, 3, 4, 5)).astype(np.float32)
    kernel = rng.standard_normal((k, k, 5, 2)).astype(np.float32)
    found = nets.conv_transpose2d(x, kernel, stride=stride)
    cut = (k - stride) // 2
    whole = np.zeros((2, 3 * stride + 2 * cut, 4 * stride + 2 * cut, 2))
    for i, j, r, s in np.ndindex(3, 4, k, k):
        whole[:, stride * i + r, stride * j + s] += x[:, i, j] @ kernel[r, s]
    expected = whole[:, cut : cut + 3 * stride, cut : cut + 4 * stride]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    strides = (stride, stride)
    by_lax = jax.lax.conv_transpose(x, kernel[::-1, ::-1], strides, "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    np.testing.assert_allclose(found, by_lax, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: nets.pool2d(x, kind="min"), "kind: expected one of"),
        (lambda x: nets.pool2d(x, size=3), "size: expected a divisor"),
        (lambda x: nets.pool2d(x[0]), "x: expected shape"),
        (lambda x: nets.conv_transpose2d(x, jnp.ones((2, 2, 5, 1))), "x, kernel: expected"),
        (lambda x: nets.conv_transpose2d(x, jnp.ones((3, 3, 1, 1))), "kernel: expected a side"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call(jnp.ones((1, 4, 4, 1)))
