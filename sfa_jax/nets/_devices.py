"""Sums over a batch that devices share, in an order that does not depend on how many they are.

Float sums depend on their order, and training amplifies the rounding up to tenfold a step: with an all-reduce of each
device's own sum, every number of devices would make another run. Here a device computes what is large for its own
samples, in parts of one size however many devices there are. What is left to sum is small: it is brought to every
device, and each sums all of it, in one order.

The devices are those of the mesh axis `AXIS` of the context (`jax.set_mesh`), which share the leading axis of a batch
in order. The axis is the driver's: without it all of this is the plain computation, so that no mesh, `pmap` or
`shard_map` of a user, whatever its axes are called, changes what functions of his own do.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

AXIS = "sfa_jax_data"
# Devices that divide this number make the same sums as one. As many as it is still round otherwise: a loop of one turn
# is no loop to the compiler.
_PARTS = 8
_SMALL = 2**24  # multiplications of a product that every device does whole
# A CPU splits a long sum of few outputs over its threads, of which there are no fewer than devices. It does not
# where the work is less than this, nor where the outputs are as many.
_FEW_OUTPUTS, _LEAST_ROWS, _ONE_THREAD = 2**14, 128, 2**19


def n_devices() -> int:
    """How many devices share the batch."""
    return int(jax.sharding.get_abstract_mesh().shape[AXIS]) if has_mesh() else 1


def has_mesh() -> bool:
    """Whether the context says which devices share the batch, be it one."""
    return AXIS in jax.sharding.get_abstract_mesh().axis_names


def everywhere(x: jax.Array) -> jax.Array:
    """An array, whole on every device."""
    return x if n_devices() == 1 else jax.lax.with_sharding_constraint(x, PartitionSpec())


def on_every_device(compute: Callable[..., Any]) -> Callable[..., Any]:
    """`compute` on whole arrays, done in full by every device: the compiler may not share it out again.

    So it is for one device, to be compiled alike.
    """
    if not has_mesh():
        return compute
    return jax.shard_map(compute, in_specs=PartitionSpec(), out_specs=PartitionSpec())


def sharers(n: int) -> int:
    """How many devices share n samples: all, or where that is not even, none with another."""
    return n_devices() if n % n_devices() == 0 else 1


def on_own_samples(compute: Callable[..., Any], n: int) -> Callable[..., Any]:
    """`compute(samples, shared)`, done by each device for its own of n samples, be it one device.

    Compiled so, what is computed of a sample does not depend on how many samples a device has.

    Args:
      compute: of arrays `samples [n, ...]` and others that devices have alike; gives arrays of samples or of parts.
      n: how many samples.
    """
    if not has_mesh():
        return compute
    spec = PartitionSpec(AXIS) if n % n_devices() == 0 else PartitionSpec()
    return jax.shard_map(compute, in_specs=(spec, PartitionSpec()), out_specs=spec, check_vma=False)


def spread(x: jax.Array, axis: int = 0) -> jax.Array:
    """An array, each device with its part along an axis."""
    return x if n_devices() == 1 else jax.lax.with_sharding_constraint(x, PartitionSpec(*[None] * axis, AXIS))


def least_parts(n: int) -> int:
    """Of what the number of parts of a batch of n samples must be a multiple."""
    return math.lcm(math.gcd(n, _PARTS), sharers(n)) if has_mesh() else 1


def pair_up(x: jax.Array, axis: int = 0, *, least: int = 1) -> jax.Array:
    """Sums of neighbours along an axis, again and again as long as they are even in number and more than `least`.

    The sums are the same whether devices pair up what they have first, or one device all of it.
    """
    while x.shape[axis] > least and x.shape[axis] % 2 == 0:
        pairs = x.reshape(*x.shape[:axis], x.shape[axis] // 2, 2, *x.shape[axis + 1 :])
        x = jax.lax.index_in_dim(pairs, 0, axis + 1, False) + jax.lax.index_in_dim(pairs, 1, axis + 1, False)
    return x


def total_of_parts(parts: jax.Array) -> jax.Array:
    """Sum over the parts of all devices."""
    return on_every_device(lambda parts: pair_up(parts).sum(0))(parts) if has_mesh() else parts.sum(0)


def total(x: jax.Array) -> jax.Array:
    """Sum over the leading axis, on one device: of its halves, again and again, and of what is odd in number."""
    while has_mesh() and len(x) > 1 and len(x) % 2 == 0:
        x = x[: len(x) // 2] + x[len(x) // 2 :]
    return x.sum(0)


def inner_parts(a: jax.Array, b: jax.Array) -> jax.Array:
    """a'b of `[n, p]` and `[n, q]` of one device."""
    n, outputs = len(a), a.shape[1] * b.shape[1]
    rows = max(_ONE_THREAD // outputs, _LEAST_ROWS) if outputs < _FEW_OUTPUTS else n
    parts = next(parts for parts in range(1, n + 1) if n % parts == 0 and n // parts <= rows)
    if parts == 1 or not has_mesh():
        return a.T @ b
    a, b = (x.reshape(parts, n // parts, -1) for x in (a, b))
    return pair_up(jnp.einsum("pni,pnj->pij", a, b)).sum(0)


def product(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`x @ kernel` on one device, the sum over the batch in the gradient of the kernel in parts."""
    return _product(x, kernel) if has_mesh() else x @ kernel


@jax.custom_vjp
def _product(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return x @ kernel


def _product_fwd(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return x @ kernel, (x, kernel)


def _product_bwd(saved: tuple[jax.Array, jax.Array], dz: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = saved
    rows = (each.reshape(-1, each.shape[-1]) for each in (x, dz))
    return dz @ kernel.T, inner_parts(*rows)


_product.defvjp(_product_fwd, _product_bwd)


def shared_product(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`x @ kernel` of a batch `[..., n_features]`, whole on every device; so is the gradient of the kernel.

    Where it is large each device does its own rows, and of the gradient of the kernel its own features.
    """
    rows, devices = math.prod(x.shape[:-1]), n_devices()
    if devices == 1 or rows % devices or x.shape[-1] % devices or rows * kernel.size < _SMALL:
        return on_every_device(product)(x, kernel)
    return _large_product(x.reshape(rows, -1), kernel).reshape(*x.shape[:-1], -1)


@jax.custom_vjp
def _large_product(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return everywhere(spread(spread(x) @ kernel))


def _large_product_fwd(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _large_product(x, kernel), (x, kernel)


def _large_product_bwd(saved: tuple[jax.Array, jax.Array], dz: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = saved
    (dx,) = jax.linear_transpose(lambda x: x @ kernel, x)(spread(dz))
    (dkernel,) = jax.linear_transpose(lambda kernel: spread(x, axis=1) @ kernel, kernel)(everywhere(dz))
    return spread(dx), everywhere(spread(dkernel))


_large_product.defvjp(_large_product_fwd, _large_product_bwd)
