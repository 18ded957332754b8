"""A dense layer as a function of its parameters."""

from typing import Any

import jax
import jax.numpy as jnp

Dense = dict[str, Any]  # "kernel" [n_in, n_out], "bias" [n_out]


def dense(layer: Dense, x: jax.Array) -> jax.Array:
    """x W + b, `[..., n_in]` -> `[..., n_out]`."""
    return add_bias(layer, x @ layer["kernel"])


def add_bias(layer: Dense, x: jax.Array) -> jax.Array:
    """x + b of a product `[..., n_out]`."""
    return x + jnp.expand_dims(layer["bias"], tuple(range(x.ndim - 1)))
