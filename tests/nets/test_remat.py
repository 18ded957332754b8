"""Rematerialised encoding against encoding all frames at once: the same values, gradients and statistics."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from sfa_jax._errors import InputError
from sfa_jax.nets import SlowNetwork
from sfa_jax.nets._conv import ConvBlock, conv_norm_relu_stack
from sfa_jax.nets._recurrent import driven_scan, init_head
from sfa_jax.nets._remat import rematerialised_stack

N = 24
VALID = np.arange(N) % 3 != 1
ONE_CHUNK_EMPTY = np.arange(N) % 6 != 2  # of chunks of 4 frames, the third holds no valid one


def assert_close(actual, expected, tolerance):
    """Norm of the difference against the norm of what is expected, leaf by leaf."""
    for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert a.shape == e.shape
        assert a.dtype == e.dtype
        a, e = np.asarray(a), np.asarray(e)
        assert np.linalg.norm(a - e) <= tolerance * (np.linalg.norm(e) + 1e-12)


def make_blocks(channels, dtype=np.float64):
    rng = np.random.default_rng(0)
    pairs = zip((3, *channels), channels, strict=False)
    shapes = [((3, 3, c_in, c_out), (c_out,), (c_out,)) for c_in, c_out in pairs]
    return [ConvBlock(*(jnp.asarray(rng.standard_normal(shape), dtype) for shape in block)) for block in shapes]


def make_frames(kind, size=12, dtype=np.float64):
    rng = np.random.default_rng(1)
    frames = rng.integers(0, 256, (N, size, size, 3), dtype=np.uint8)
    return jnp.asarray(frames if kind == "uint8" else frames / 255, jnp.uint8 if kind == "uint8" else dtype)


def read(y, kernel):
    return y.reshape(y.shape[0], -1) @ kernel


def whole(x, blocks, kernel, weight):
    y, moments = conv_norm_relu_stack(x, blocks, weight=weight)
    return read(y, kernel), moments


def in_chunks(x, blocks, kernel, weight, n_frames=4):
    return rematerialised_stack(x, blocks, read, kernel, n_frames=n_frames, weight=weight)


def values_and_gradients(encode, x, blocks, kernel, weight=None):
    """Outputs, moments, and the gradients of a function of all outputs, those of frames of weight 0, too."""

    def loss(blocks, kernel):
        out, moments = encode(x, blocks, kernel, weight)
        return jnp.sin(out).sum(), (out, moments)

    return jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(blocks, kernel)


@pytest.mark.parametrize(
    ("kind", "valid", "n_frames", "channels"),
    [
        ("uint8", ONE_CHUNK_EMPTY, 4, (4, 5, 6)),
        ("float", ONE_CHUNK_EMPTY, 7, (4, 5, 6)),  # 7 does not divide 24: chunks of 6
        ("float", None, N, (4, 5)),
        ("uint8", None, 1, (4,)),
    ],
)
def test_equals_encoding_all_frames_at_once(kind, valid, n_frames, channels):
    with jax.enable_x64(True):
        x, blocks = make_frames(kind), make_blocks(channels)
        weight = None if valid is None else jnp.asarray(valid, jnp.float64)
        if valid is not None and kind == "float":
            x = jnp.where(weight[:, None, None, None] > 0, x, 0)
        side = 12
        for _ in channels:
            side = -(-side // 2)
        kernel = jnp.asarray(np.random.default_rng(2).standard_normal((side * side * channels[-1], 3)))
        found = values_and_gradients(functools.partial(in_chunks, n_frames=n_frames), x, blocks, kernel, weight)
        assert_close(found, values_and_gradients(whole, x, blocks, kernel, weight), 1e-12)


def test_the_form_of_gpu_and_tpu_is_the_same(monkeypatch):
    with jax.enable_x64(True):
        x, blocks, weight = make_frames("uint8"), make_blocks((4, 5, 6)), jnp.asarray(VALID, jnp.float64)
        kernel = jnp.ones((2 * 2 * 6, 3))
        expected = values_and_gradients(whole, x, blocks, kernel, weight)
        monkeypatch.setattr(lax, "platform_dependent", lambda *args, cpu, default: default(*args))
        assert_close(values_and_gradients(in_chunks, x, blocks, kernel, weight), expected, 1e-12)


def test_exports_for_gpu_without_the_form_of_cpu():
    x, blocks, kernel = make_frames("uint8"), make_blocks((4, 5), np.float32), jnp.ones((3 * 3 * 5, 3))
    gradient = jax.jit(jax.grad(lambda blocks: in_chunks(x, blocks, kernel, None)[0].sum()))
    assert "stablehlo.convolution" in gradient.trace(blocks).lower(lowering_platforms=("cuda",)).as_text()
    assert "stablehlo.convolution" not in gradient.trace(blocks).lower().as_text()


def test_frames_of_weight_zero_may_hold_anything():
    x, blocks = make_frames("float", dtype=np.float32), make_blocks((4, 5), np.float32)
    kernel, weight = jnp.ones((3 * 3 * 5, 3)), jnp.asarray(VALID, jnp.float32)
    spoilt = jnp.where(weight[:, None, None, None] > 0, x, jnp.nan)
    found, expected = (values_and_gradients(in_chunks, frames, blocks, kernel, weight) for frames in (spoilt, x * 1))
    assert_close(found[0][1][1], expected[0][1][1], 1e-6)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))


def test_vmap_over_an_ensemble():
    x, blocks, kernel = make_frames("uint8"), make_blocks((4, 5), np.float32), jnp.ones((3 * 3 * 5, 3))
    ensemble = jax.tree.map(lambda p: jnp.stack([p, 2 * p]), blocks)

    def gradient(blocks):
        return jax.grad(lambda blocks: jnp.sin(in_chunks(x, blocks, kernel, None)[0]).sum())(blocks)

    found = jax.jit(jax.vmap(gradient))(ensemble)
    assert_close(jax.tree.map(lambda p: p[1], found), jax.jit(gradient)(jax.tree.map(lambda p: 2 * p, blocks)), 1e-4)


@pytest.mark.skipif(jax.device_count() < 2, reason="needs two (emulated) devices")
def test_sharded_batch_stays_sharded():
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:2])
    by_frame = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    x, blocks, kernel = make_frames("uint8"), make_blocks((4, 5), np.float32), jnp.ones((3 * 3 * 5, 3))
    weight = jnp.asarray(VALID, jnp.float32)

    def gradient(blocks, kernel, x, weight):
        return jax.value_and_grad(lambda *p: jnp.sin(in_chunks(x, *p, weight)[0]).sum(), (0, 1))(blocks, kernel)

    replicated = jax.device_put((blocks, kernel), jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec()))
    shared = jax.device_put((x, weight), by_frame)
    compiled = jax.jit(gradient).lower(*replicated, *shared).compile()
    assert_close(compiled(*replicated, *shared), jax.jit(gradient)(blocks, kernel, x, weight), 1e-4)
    text = compiled.as_text()
    assert "all-reduce" in text
    for collective in ("all-gather", "all-to-all", "collective-permute"):
        assert collective not in text


def test_bad_arguments_raise():
    x, blocks, kernel = make_frames("float", dtype=np.float32), make_blocks((4,), np.float32), jnp.ones((144, 3))
    with pytest.raises(InputError, match="at least one ConvBlock"):
        in_chunks(x, [], kernel, None)
    with pytest.raises(InputError, match="n_frames must be at least 1 frame a chunk, not 0"):
        in_chunks(x, blocks, kernel, None, n_frames=0)
    with pytest.raises(InputError, match="weight must be one number a frame"):
        in_chunks(x, blocks, kernel, jnp.ones(3))
    with pytest.raises(InputError, match=r"\[n, height, width, 3\]"):
        in_chunks(x[..., :2], blocks, kernel, None)
    with pytest.raises(InputError, match="x: expected frames in which no derivative is taken"):
        jax.grad(lambda x: in_chunks(x, blocks, kernel, None)[0].sum())(x)
    with pytest.raises(ValueError, match="remat_frames: expected at least 0 frames, got -1"):
        SlowNetwork(remat_frames=-1)


def network_case(kind, batch, n_frames, dtype, size=16):
    """Clips with a padded end and some resets; padding holds NaN where it can."""
    rng = np.random.default_rng(3)
    frames = rng.integers(0, 256, (batch, n_frames, size, size, 3), dtype=np.uint8)
    valid, reset = np.ones((batch, n_frames), bool), rng.random((batch, n_frames)) < 0.05
    valid[-1, -n_frames // 5 :] = False
    if kind == "float":
        frames = np.where(valid[..., None, None, None], frames / 255, np.nan).astype(dtype)
    return frames, valid, reset


def trained(network, variables, frames, valid, reset, y_init):
    """y where valid, y_last, new statistics, and the gradient of a function of them."""

    def loss(params):
        y, y_last, batch_stats = network.apply(
            variables | {"params": params}, frames, y_init, valid=valid, reset=reset, train=True
        )
        y = jnp.where(valid[..., None], y, 0)
        return jnp.sin(y).sum() + jnp.square(y[:, 1:] - y[:, :-1]).sum(), (y, y_last, batch_stats)

    return jax.jit(jax.value_and_grad(loss, has_aux=True))(variables["params"])


@pytest.mark.parametrize(
    ("recurrence", "kind", "batch", "pool"),
    [("full", "uint8", 1, "flatten"), ("detached", "float", 2, "mean"), ("none", "float", 1, "spatial_softmax")],
)
def test_network_learns_the_same(recurrence, kind, batch, pool):
    with jax.enable_x64(True):
        network = SlowNetwork(dim=3, channels=(4, 6), pool=pool, hidden=8, recurrence=recurrence)
        variables = jax.jit(lambda key: network.init(key, (16, 16, 3)))(jax.random.key(0))
        case = network_case(kind, batch, 60, np.float64)
        y_init = 0.1 * jnp.ones((batch, 3))
        expected = trained(network, variables, *case, y_init)
        found = trained(dataclasses.replace(network, remat_frames=16), variables, *case, y_init)
        assert_close(found, expected, 1e-12)


def on_256_frames(dtype, recurrence, bias=0.0):
    """`trained` with and without the option, all biases raised."""
    network = SlowNetwork(dim=4, channels=(8, 8, 16), pool="flatten", hidden=16, recurrence=recurrence)
    variables = jax.jit(lambda key: network.init(key, (32, 32, 3)))(jax.random.key(0))
    for block in variables["params"]["encoder"].values():
        block["bias"] += bias
    variables["params"]["head"]["hidden"]["bias"] += 10 * bias
    case, y_init = network_case("uint8", 1, 256, dtype, size=32), network.init_carry(1)
    return [trained(n, variables, *case, y_init) for n in (dataclasses.replace(network, remat_frames=64), network)]


def test_gradient_on_256_frames():
    with jax.enable_x64(True):
        assert_close(*on_256_frames(np.float64, "full"), 1e-12)


def test_gradient_on_256_frames_in_single_precision():
    """With all units active: else rounding may move one over the kink of its ReLU, worth 1e-3 of a bias's gradient."""
    assert_close(*on_256_frames(np.float32, "none", bias=10.0), 1e-5)


def test_encodings_without_projection_are_the_same():
    """As other networks take them from the encoder."""
    network = SlowNetwork(dim=3, channels=(4, 6), pool="flatten", hidden=8, recurrence="none")
    variables = jax.jit(lambda key: network.init(key, (16, 16, 3)))(jax.random.key(0))
    frames, valid, _ = network_case("uint8", 2, 12, np.float32)

    def encode(network):
        return jax.jit(lambda: network.encode(variables, frames, valid, train=True))()

    assert_close(encode(dataclasses.replace(network, remat_frames=8)), encode(network), 1e-5)


def test_head_in_chunks_of_time_equals_the_scan(rng):
    head = init_head(jax.random.key(0), 6, 3, hidden=8)
    drive, y_init = jnp.asarray(rng.normal(size=(2, 12, 8)), jnp.float32), jnp.ones((2, 3))
    reset = jnp.zeros((2, 12), bool).at[0, 5].set(True)

    @functools.partial(jax.jit, static_argnums=0)
    def gradient(remat_frames, drive, head):
        def loss(drive, head):
            y, y_last = driven_scan(head, y_init, drive, reset=reset, remat_frames=remat_frames)
            return jnp.sin(y).sum() + y_last.sum(), y

        return jax.value_and_grad(loss, (0, 1), has_aux=True)(drive, head)

    expected = gradient(0, drive, head)
    for remat_frames in (1, 10, 24):  # 1, 4 and 12 frames of both clips
        assert_close(gradient(remat_frames, drive, head), expected, 1e-5)
    with pytest.raises(ValueError, match=r"reset: expected shape \(2, 12\)"):
        driven_scan(head, y_init, drive, reset=reset[:1])
