"""Derivatives of every kind through convolutions: forward, reverse, and one over the other."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from sfa_jax.nets import UpsamplingDecoder, _chunked, conv2d
from sfa_jax.nets._conv import ConvBlock, conv_moments, conv_norm_relu_stack
from sfa_jax.nets._remat import rematerialised_stack


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(_chunked, "_CHUNK_BYTES", 4_000)  # several of them


def normal(rng, *shapes):
    return [jnp.asarray(rng.normal(size=shape)) for shape in shapes]


@pytest.mark.parametrize("plain", [False, True], ids=["cpu", "gpu"])
def test_convolution_against_finite_differences(rng, monkeypatch, plain):
    if plain:
        monkeypatch.setattr(jax.lax, "platform_dependent", lambda *args, cpu, default: default(*args))
    with jax.enable_x64(True):
        x, kernel, gain, offset = normal(rng, (4, 5, 4, 2), (3, 3, 2, 3), (2,), (2,))
        weight = jnp.array([1.0, 0, 1, 1])
        moments = jax.jit(lambda x, k, a, c: conv_moments(x, k, affine=(a, c), weight=weight))
        check_grads(moments, (x, kernel, gain, offset), 2, modes=["fwd", "rev"])
        images = jnp.asarray(rng.integers(0, 256, (4, 5, 4, 2)), jnp.uint8)
        check_grads(jax.jit(lambda k: conv2d(images, k, stride=1)), (kernel,), 2, modes=["fwd", "rev"])


def test_derivatives_agree_with_each_other(rng):
    """`jvp`, `linearize`, `jacfwd` and `vmap` of them, against reverse mode, which `test_conv` compares."""
    x, kernel = normal(rng, (4, 4, 4, 2), (3, 3, 2, 3))
    conv = jax.jit(functools.partial(conv2d, x))
    by_reverse = jax.jit(jax.jacrev(conv))(kernel)
    np.testing.assert_allclose(jax.jit(jax.jacfwd(conv))(kernel), by_reverse, atol=1e-5)
    moves = jnp.eye(kernel.size).reshape(-1, *kernel.shape)
    rows = jax.vmap(lambda move: jax.jvp(conv, (kernel,), (move,))[1])(moves)
    np.testing.assert_allclose(jnp.moveaxis(rows, 0, -1).reshape(by_reverse.shape), by_reverse, atol=1e-5)
    _, tangent = jax.linearize(conv, kernel)
    np.testing.assert_allclose(tangent(moves[0]), rows[0], atol=1e-5)


def test_rematerialized_derivatives_are_those_of_the_stack(rng):
    """Of a tangent of all parameters, and of a Hessian-vector product."""
    with jax.enable_x64(True):
        x = jnp.asarray(rng.integers(0, 256, (6, 8, 8, 3)), jnp.uint8)
        shapes = [((3, 3, a, b), (b,), (b,)) for a, b in ((3, 2), (2, 3), (3, 2))]
        blocks, moves = ([ConvBlock(*normal(rng, *shape)) for shape in shapes] for _ in range(2))
        weight, (kernel, move) = jnp.array([1.0, 1, 0, 1, 1, 1]), normal(rng, (2, 2), (2, 2))

        def read(y, kernel):
            return y.mean((1, 2)) @ kernel

        def in_chunks(blocks, kernel):
            out, _ = rematerialised_stack(x, blocks, read, kernel, n_frames=2, weight=weight)
            return jnp.sin(out).sum()

        def whole(blocks, kernel):
            return jnp.sin(read(conv_norm_relu_stack(x, blocks, weight=weight)[0], kernel)).sum()

        @functools.partial(jax.jit, static_argnums=0)
        def derivatives(loss, point, move):
            product = jax.jvp(jax.grad(loss, (0, 1)), point, move)[1]
            return jax.jvp(loss, point, move)[1], product

        found, expected = (derivatives(loss, (blocks, kernel), (moves, move)) for loss in (in_chunks, whole))
    for leaf, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(leaf, other, rtol=1e-9, atol=1e-9)


def test_tangents_of_a_decoder(rng):
    """How an image moves with each number of its code: one forward pass a number."""
    decoder = UpsamplingDecoder(factor=2, image_channels=1, hidden=4, hidden_pixels=2)
    (z,) = normal(rng, (1, 2, 2, 3))
    variables = jax.jit(decoder.init)(jax.random.key(0), z)
    kernel = variables["params"]["pixels_2_kernel"]
    variables["params"]["pixels_2_kernel"] = kernel + 0.1  # zero at first
    decode = functools.partial(decoder.apply, variables)
    found, expected = jax.jit(jax.jacfwd(decode))(z), jax.jit(jax.jacrev(decode))(z)
    np.testing.assert_allclose(found, expected, atol=1e-5)
