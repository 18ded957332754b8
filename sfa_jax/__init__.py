"""Slow features of unlabelled video in JAX: see `sfa_jax.slowness`, `nets`, `data`, `training` and `evaluation`."""

__version__ = "0.1.0"
