"""Convolution, moments and ReLU against the plain formulation: `lax.conv_general_dilated`, BatchNorm, ReLU."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from sfa_jax._errors import InputError
from sfa_jax.nets import _chunked
from sfa_jax.nets._conv import ConvBlock, conv2d, conv_affine_relu, conv_moments, conv_norm_relu, conv_norm_relu_stack

# n, height, width, c_in, c_out, k
SHAPES = [(6, 8, 8, 3, 4, 3), (5, 7, 9, 2, 3, 3), (4, 9, 6, 3, 2, 5), (3, 5, 4, 2, 3, 1)]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Small enough that every test runs over several chunks."""
    monkeypatch.setattr(_chunked, "_CHUNK_BYTES", 8_000)


def plain_conv(x, kernel, stride=2):
    pad = kernel.shape[0] // 2
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), ((pad, pad), (pad, pad)), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


@jax.numpy_rank_promotion("allow")
def plain_block(x, kernel, scale, bias, weight=None, epsilon=1e-5):
    z = plain_conv(x, kernel)
    if weight is None:
        mean, var = z.mean((0, 1, 2)), z.var((0, 1, 2))
    else:
        w = weight[:, None, None, None]
        total = weight.sum() * z.shape[1] * z.shape[2]
        mean = (w * z).sum((0, 1, 2)) / total
        var = (w * jnp.square(z - mean)).sum((0, 1, 2)) / total
    return jax.nn.relu((z - mean) / jnp.sqrt(var + epsilon) * scale + bias), mean, var


def arrays(seed, *shapes, dtype=np.float32):
    rng = np.random.default_rng(seed)
    return [jnp.asarray(rng.standard_normal(shape).astype(dtype)) for shape in shapes]


def block_inputs(n, height, width, c_in, c_out, k, dtype=np.float32):
    return arrays(0, (n, height, width, c_in), (k, k, c_in, c_out), (c_out,), (c_out,), dtype=dtype)


def assert_close(actual, expected, tolerance):
    """Norm of the difference against the norm of what is expected, leaf by leaf."""
    for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert a.shape == e.shape
        assert a.dtype == e.dtype
        a, e = np.asarray(a), np.asarray(e)  # in NumPy: nothing to compile for every shape
        assert np.linalg.norm(a - e) <= tolerance * (np.linalg.norm(e) + 1e-12)


def values_and_gradients(f, loss, *inputs):
    """f(*inputs), and the gradients of loss(first of them) in all inputs, in one program."""

    def both(*inputs):
        outputs = f(*inputs)
        return loss(outputs[0]), outputs

    (_, outputs), gradients = jax.jit(jax.value_and_grad(both, range(len(inputs)), has_aux=True))(*inputs)
    return outputs, gradients


def test_conv2d_by_hand():
    # 3x3 image 1..9, all-ones kernel, stride 2, padding 1: each output is the sum of a corner's 2x2 neighbourhood.
    x = jnp.arange(1.0, 10.0).reshape(1, 3, 3, 1)
    expected = jnp.array([[1 + 2 + 4 + 5, 2 + 3 + 5 + 6], [4 + 5 + 7 + 8, 5 + 6 + 8 + 9]], jnp.float32)
    np.testing.assert_array_equal(jax.jit(conv2d)(x, jnp.ones((3, 3, 1, 1)))[0, :, :, 0], expected)


@pytest.mark.parametrize(("shape", "stride"), [*((shape, 2) for shape in SHAPES), (SHAPES[1], 1)])
def test_conv2d_equals_lax_conv(shape, stride):
    x, kernel, _, _ = block_inputs(*shape)
    (dz,) = arrays(1, jax.eval_shape(functools.partial(plain_conv, stride=stride), x, kernel).shape)

    def value_and_vjp(conv, x, kernel, dz):
        z, vjp = jax.vjp(functools.partial(conv, stride=stride), x, kernel)
        return z, vjp(dz)

    found, expected = (jax.jit(value_and_vjp, static_argnums=0)(conv, x, kernel, dz) for conv in (conv2d, plain_conv))
    assert_close(found, expected, 1e-5)


@pytest.mark.parametrize(
    ("shape", "weighted", "dtype"),
    [*((shape, True, np.float64) for shape in SHAPES), (SHAPES[0], False, np.float64), (SHAPES[0], True, np.float32)],
)
def test_block_equals_plain_block(shape, weighted, dtype):
    tolerance = 1e-5 if dtype == np.float32 else 1e-10
    with jax.enable_x64(dtype == np.float64):
        inputs = block_inputs(*shape, dtype=dtype)
        weight = jnp.asarray((np.arange(shape[0]) % 3 != 1).astype(dtype)) if weighted else None
        (r,) = arrays(1, jax.eval_shape(plain_block, *inputs)[0].shape, dtype=dtype)
        (outputs, grads), (plain_outputs, plain_grads) = (
            values_and_gradients(functools.partial(block, weight=weight), lambda y: (y * r).sum(), *inputs)
            for block in (conv_norm_relu, plain_block)
        )
        assert_close(outputs, plain_outputs, tolerance)
        assert_close(grads, plain_grads, 2 * tolerance)


def stack_inputs(dtype=np.float32, n=8, size=12):
    x, k1, s1, b1, k2, s2, b2 = arrays(
        2, (n, size, size, 3), (3, 3, 3, 4), (4,), (4,), (3, 3, 4, 5), (5,), (5,), dtype=dtype
    )
    return x, [ConvBlock(k1, s1, b1), ConvBlock(k2, s2, b2)]


def plain_stack(x, blocks):
    moments = []
    for block in blocks:
        x, *found = plain_block(x, *block)
        moments.append(tuple(found))
    return x, moments


def test_stack_equals_plain_blocks():
    with jax.enable_x64(True):
        x, blocks = stack_inputs(np.float64)
        found, expected = (
            values_and_gradients(stack, lambda y: jnp.sin(y).sum(), x, blocks)
            for stack in (conv_norm_relu_stack, plain_stack)
        )
        assert_close(found, expected, 1e-10)


def test_constant_offset_does_not_spoil_the_variance():
    """Sums of squares would lose it: mean^2 is 1e8 times the variance here."""
    x = jnp.asarray(np.random.default_rng(4).standard_normal((8, 8, 8, 1)).astype(np.float32)) + 1e4
    mean, var = jax.jit(conv_moments)(x, jnp.ones((1, 1, 1, 1)))[1:]
    kept = np.asarray(x, np.float64)[:, ::2, ::2]
    np.testing.assert_allclose(mean, [kept.mean()], rtol=1e-6)
    np.testing.assert_allclose(var, [kept.var()], rtol=1e-3)


def test_frames_of_weight_zero_change_nothing():
    x, kernel, scale, bias = block_inputs(6, 8, 8, 3, 4, 3)
    weight = jnp.array([1.0, 0, 1, 1, 0, 1])
    block = jax.jit(conv_norm_relu)
    _, mean, var = block(x, kernel, scale, bias, weight=weight)
    spoilt = jnp.where(weight[:, None, None, None] > 0, x, 100.0)
    assert_close(block(spoilt, kernel, scale, bias, weight=weight)[1:], (mean, var), 1e-6)
    assert jnp.isfinite(block(x, kernel, scale, bias, weight=jnp.zeros(6))[0]).all()


def test_integer_images_are_scaled_to_unit_range():
    images = jnp.asarray(np.random.default_rng(5).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8))
    _, blocks = stack_inputs()

    def loss(blocks, x):
        return jnp.sin(conv_norm_relu_stack(x, blocks)[0]).sum()

    as_float = images.astype(jnp.float32) / 255
    gradient = jax.jit(jax.value_and_grad(loss))
    assert_close(gradient(blocks, images), gradient(blocks, as_float), 1e-4)

    @functools.partial(jax.jit, static_argnums=0)
    def value_and_vjp(conv, x, kernel):
        z, vjp = jax.vjp(functools.partial(conv, x), kernel)
        return z, vjp(z)

    kernel = blocks[0].kernel
    assert_close(value_and_vjp(conv2d, images, kernel), value_and_vjp(plain_conv, as_float, kernel), 1e-5)


def test_evaluation_with_the_batch_moments_equals_training():
    inputs = block_inputs(6, 8, 8, 3, 4, 3)
    y, mean, var = jax.jit(conv_norm_relu)(*inputs)
    assert_close(jax.jit(conv_affine_relu)(*inputs, mean, var), y, 1e-5)


def test_moments_carry_no_gradient_out_of_the_stack():
    x, blocks = stack_inputs()
    grads = jax.grad(lambda x: sum(m.sum() + v.sum() for m, v in conv_norm_relu_stack(x, blocks)[1]))
    np.testing.assert_array_equal(jax.jit(grads)(x), 0)


def test_vmap_over_an_ensemble():
    x, blocks = stack_inputs()
    ensemble = jax.tree.map(lambda p: np.stack([p, 2 * p, p - 1]), jax.tree.map(np.asarray, blocks))

    def gradient(blocks, x):
        return jax.grad(lambda b: jnp.sin(conv_norm_relu_stack(x, b)[0]).sum())(blocks)

    one_by_one = [jax.jit(gradient)(jax.tree.map(lambda p: p[i], ensemble), x) for i in range(3)]  # noqa: B023
    expected = jax.tree.map(lambda *g: np.stack(g), *one_by_one)
    assert_close(jax.jit(jax.vmap(gradient, (0, None)))(ensemble, x), expected, 1e-4)
    assert_close(jax.jit(jax.vmap(gradient))(ensemble, np.stack([x] * 3)), expected, 1e-4)


@pytest.mark.skipif(jax.device_count() < 2, reason="needs two (emulated) devices")
def test_sharded_batch_stays_sharded():
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:2])
    by_frame = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    x, blocks = stack_inputs()

    def gradient(blocks, x):
        return jax.value_and_grad(lambda b: jnp.sin(conv_norm_relu_stack(x, b)[0]).sum())(blocks)

    replicated = jax.device_put(blocks, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec()))
    compiled = jax.jit(gradient).lower(replicated, jax.device_put(x, by_frame)).compile()
    assert_close(compiled(replicated, jax.device_put(x, by_frame)), jax.jit(gradient)(blocks, x), 1e-4)
    text = compiled.as_text()
    assert "all-reduce" in text
    for collective in ("all-gather", "all-to-all", "collective-permute"):
        assert collective not in text


def test_exports_for_cpu_and_gpu_from_one_machine():
    x, blocks = stack_inputs()

    def gradient(blocks, x):
        return jax.grad(lambda b: conv_norm_relu_stack(x, b)[0].sum())(blocks)

    text = jax.jit(gradient).trace(blocks, x).lower(lowering_platforms=("cuda",)).as_text()
    assert "stablehlo.convolution" in text
    assert "stablehlo.while" not in text
    assert "stablehlo.convolution" not in jax.jit(gradient).trace(blocks, x).lower().as_text()


def test_chunks_divide_the_batch_and_fit():
    kernel = jnp.zeros((3, 3, 32, 64))
    frame_bytes = 16 * 16 * 9 * 32 * 4
    for n in (1, 7, 12, 64):
        m = _chunked._n_chunks(2, jnp.zeros((n, 32, 32, 32)), kernel)
        assert n % m == 0
        assert n // m * frame_bytes <= _chunked._CHUNK_BYTES or m == n


def test_bad_shapes_raise():
    x, kernel, scale, bias = block_inputs(4, 8, 8, 3, 4, 3)
    with pytest.raises(InputError, match="odd k"):
        conv2d(x, kernel[:2, :2])
    with pytest.raises(InputError, match="Fold time"):
        conv2d(x[None], kernel)
    with pytest.raises(InputError, match=r"\[n, height, width, 3\]"):
        conv2d(x[..., :2], kernel)
    with pytest.raises(InputError, match="weight must be one number a frame"):
        conv_norm_relu(x, kernel, scale, bias, weight=jnp.ones(3))
    with pytest.raises(InputError, match="at least one ConvBlock"):
        conv_norm_relu_stack(x, [])
    for dtype in (jnp.int32, jnp.uint16, bool):
        with pytest.raises(InputError, match=r"x must be uint8 in 0\.\.255.*, or floating point"):
            conv2d(x.astype(dtype), kernel)
