"""The same sums, bit for bit, on one device and on two.

Of some very small shapes XLA compiles the loop over chunks in another way for another number of turns; these are none.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from sfa_jax.nets import SlowNetwork, _devices


def on_devices(n, compute, *batch):
    """What `compute` gives where n devices share the arrays of a batch."""
    mesh = jax.make_mesh((n,), (_devices.AXIS,), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:n])
    batch = [jax.device_put(x, NamedSharding(mesh, PartitionSpec(_devices.AXIS))) for x in batch]
    with jax.set_mesh(mesh):
        return jax.tree.map(np.asarray, jax.jit(compute)(*batch))


def assert_equal(found, expected):
    for leaf, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(leaf, other)


@pytest.mark.parametrize("recurrence", ["none", "full"])
@pytest.mark.parametrize(("batch", "channels"), [(16, (8, 16)), (6, (4, 8))])
def test_network_and_its_gradient(rng, recurrence, batch, channels):
    network = SlowNetwork(dim=3, channels=channels, pool="flatten", hidden=8, recurrence=recurrence)
    variables = network.init(jax.random.key(0), (16, 16, 3))
    frames = jnp.asarray(rng.integers(0, 256, (batch, 4, 16, 16, 3)), jnp.uint8)
    weights = jnp.asarray(rng.normal(size=(batch, 4, 3)), jnp.float32)

    def loss(variables, frames):
        y, _, batch_stats = network.apply(variables, frames, network.init_carry(batch), train=True)
        return _devices.on_every_device(lambda y: jnp.vdot(jnp.sin(y), weights))(y), batch_stats

    step = jax.value_and_grad(loss, has_aux=True)
    one, two = (on_devices(n, lambda frames: step(variables, frames), frames) for n in (1, 2))
    assert_equal(one, two)
    plain = jax.jit(step)(variables, frames)
    for leaf, other in zip(jax.tree.leaves(one), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(leaf, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["data", "batch"])
def test_meshes_of_others(rng, name):
    """Whatever their axes are called, networks are plain functions in them."""
    network = SlowNetwork(dim=3, channels=(4, 8), pool="flatten", hidden=8, recurrence="full")
    variables = network.init(jax.random.key(0), (16, 16, 3))
    frames = jnp.asarray(rng.integers(0, 256, (2, 4, 4, 16, 16, 3)), jnp.uint8)

    def gradient(variables, frames):
        return jax.grad(lambda v: jnp.sin(network.apply(v, frames, network.init_carry(4), train=True)[0]).sum())(
            variables
        )

    each = [jax.jit(gradient)(variables, x) for x in frames]
    mean = jax.tree.map(lambda a, b: (a + b) / 2, *each)

    def assert_close(found, expected):
        for leaf, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(leaf, other, rtol=1e-4, atol=1e-4)

    def mean_gradient(variables, frames):
        return jax.lax.pmean(gradient(variables, frames), name)

    found = jax.pmap(mean_gradient, axis_name=name, in_axes=(None, 0))(variables, frames)
    assert_close(jax.tree.map(lambda leaf: leaf[0], found), mean)
    mesh = jax.make_mesh((2,), (name,), axis_types=(jax.sharding.AxisType.Auto,))
    split = jax.shard_map(
        lambda v, x: mean_gradient(v, x[0]),
        mesh=mesh,
        in_specs=(PartitionSpec(), PartitionSpec(name)),
        out_specs=PartitionSpec(),
        check_vma=False,
    )
    assert_close(jax.jit(split)(variables, frames), mean)
    for kind in (jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit):
        with jax.set_mesh(jax.make_mesh((2,), (name,), axis_types=(kind,))):
            assert_close(jax.jit(gradient)(variables, frames[0]), each[0])
    with jax.set_mesh(mesh):
        x = network.init_carry(4)
        tangents = jax.jvp(lambda x: network.apply(variables, frames[0], x)[0], (x,), (jnp.ones_like(x),))[1]
    assert np.isfinite(tangents).all()


def test_large_product(rng, monkeypatch):
    """Each device does its rows, and its features of the gradient of the kernel."""
    monkeypatch.setattr(_devices, "_SMALL", 0)
    x, kernel = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in ((8, 2, 64), (64, 16)))

    def loss(x, kernel):
        z = _devices.shared_product(x, kernel)
        return _devices.on_every_device(lambda z: jnp.sum(jnp.sin(z)))(z)

    gradient = jax.value_and_grad(loss, argnums=(0, 1))
    one, two = (on_devices(n, lambda x: gradient(x, kernel), x) for n in (1, 2))
    for found in (one, two):
        value, (dx, dkernel) = gradient(x, kernel)
        np.testing.assert_allclose(found[0], value, rtol=1e-4)
        np.testing.assert_allclose(found[1][0], dx, atol=1e-5)
        np.testing.assert_allclose(found[1][1], dkernel, atol=1e-4)


@pytest.mark.parametrize("n", [1, 6, 8, 24])
def test_sums_of_parts(rng, n):
    parts = jnp.asarray(rng.normal(size=(n, 3)), jnp.float32)
    expected = np.asarray(parts, np.float64).sum(0)
    found = on_devices(1, _devices.total_of_parts, parts)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(on_devices(1, _devices.total, parts), expected, rtol=1e-5, atol=1e-6)
    if n % 2 == 0:
        halves = on_devices(2, _devices.total_of_parts, parts)
        np.testing.assert_array_equal(found, halves)


def test_inner_products_in_parts(rng):
    """So long and so small that a CPU would share the sum out over its threads."""
    a, b = (jnp.asarray(rng.normal(size=(16384, size)), jnp.float32) for size in (32, 9))
    found = on_devices(1, lambda a, b: _devices.inner_parts(a, b), a, b)
    expected = np.asarray(a, np.float64).T @ np.asarray(b, np.float64)
    np.testing.assert_allclose(found, expected, atol=1e-2)
