"""Networks on frames that devices share, and in meshes of others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from sfa_jax.nets import SlowNetwork
from sfa_jax.nets._chunked import fewest_chunks


def two_devices():
    return jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:2])


@pytest.mark.parametrize(("recurrence", "remat_frames"), [("none", 0), ("full", 8)])
def test_network_and_its_gradient(rng, recurrence, remat_frames):
    network = SlowNetwork(
        dim=3, channels=(4, 8), pool="flatten", hidden=8, recurrence=recurrence, remat_frames=remat_frames
    )
    variables = network.init(jax.random.key(0), (16, 16, 3))
    frames = rng.integers(0, 256, (6, 4, 16, 16, 3), dtype=np.uint8)

    @jax.jit
    def step(variables, frames):
        def loss(variables):
            y, _, batch_stats = network.apply(variables, frames, network.init_carry(6), train=True)
            return jnp.sin(y).sum(), batch_stats

        return jax.value_and_grad(loss, has_aux=True)(variables)

    expected = step(variables, jnp.asarray(frames))
    mesh = two_devices()
    with jax.set_mesh(mesh):
        found = step(variables, jax.device_put(frames, NamedSharding(mesh, PartitionSpec("data"))))
    for leaf, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(leaf, other, rtol=1e-3, atol=1e-3)


def test_chunks_that_devices_share():
    """Of frames too large for more than one to fit, a chunk holds one of each device."""
    assert fewest_chunks(12, 1) == 12
    with jax.set_mesh(two_devices()):
        assert fewest_chunks(12, 1) == 6
        assert fewest_chunks(9, 1) == 9


def test_meshes_of_others(rng):
    """Whatever their axes are called, networks are plain functions in them."""
    name = "batch"
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
