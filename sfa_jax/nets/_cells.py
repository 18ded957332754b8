"""Recurrent cells as pure functions, and their scan over frames."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

CellKind = Literal["plain", "lstm"]
CELLS = ("plain", "lstm")
CellParams = dict[str, jax.Array]


def init_cell(key: jax.Array, n_inputs: int, size: int, *, kind: CellKind = "plain") -> CellParams:
    """Parameters of a cell.

    Args:
      key: random key.
      n_inputs: size of what it sees of a frame.
      size: of its output.
      kind: "plain", or "lstm", whose forget gate begins open (bias 1).

    Returns:
      `{"kernel" [n_inputs, g size], "recurrent" [size, g size], "bias" [g size]}`, g = 4 gates of an LSTM (input,
      forget, candidate, output), else 1. The kernel is LeCun-normal, each recurrent matrix orthogonal.

    Raises:
      ValueError: an unknown kind.
    """
    _check_kind(kind)
    kernel_key, recurrent_key = jax.random.split(key)
    gates = 4 if kind == "lstm" else 1
    square = jax.nn.initializers.orthogonal()
    recurrent = [square(k, (size, size)) for k in jax.random.split(recurrent_key, gates)]
    bias = jnp.zeros((gates, size)).at[1:2].set(1.0)
    return {
        "kernel": jax.nn.initializers.lecun_normal()(kernel_key, (n_inputs, gates * size)),
        "recurrent": jnp.concatenate(recurrent, axis=1),
        "bias": bias.reshape(-1),
    }


def init_cell_carry(params: CellParams, batch: int, *, kind: CellKind = "plain") -> jax.Array:
    """What a cell carries before the first frame: zeros `[batch, size]`, of an LSTM `[batch, 2 size]` (h, then c)."""
    _check_kind(kind)
    size = params["recurrent"].shape[0]
    return jnp.zeros((batch, 2 * size if kind == "lstm" else size), params["recurrent"].dtype)


def cell_step(
    params: CellParams, carry: ArrayLike, x_t: ArrayLike, *, kind: CellKind = "plain"
) -> tuple[jax.Array, jax.Array]:
    """One frame through a cell.

    plain: h_t = s(W x_t + U h_{t-1} + b), s the logistic function.
    lstm: i, f, o = s(.), g = tanh(.) of W x_t + U h_{t-1} + b;  c_t = f c_{t-1} + i g;  h_t = o tanh(c_t)

    Args:
      params: from `init_cell`.
      carry: `[batch, size]`, of an LSTM `[batch, 2 size]`, h beside c.
      x_t: `[batch, n_inputs]`.
      kind: as in `init_cell`.

    Returns:
      `(carry, h_t [batch, size])`.

    Raises:
      ValueError: an unknown kind, or sizes that do not fit the parameters.

    References:
      Hochreiter & Schmidhuber, Neural Computation 1997; Gers et al., Neural Computation 2000 (the forget gate).
    """
    carry, x_t = jnp.asarray(carry), jnp.asarray(x_t)
    _check(params, carry, x_t, kind)
    return _advance(params, carry, jnp.matmul(x_t, params["kernel"]), kind)


def cell_scan(
    params: CellParams, carry: ArrayLike, x: ArrayLike, *, kind: CellKind = "plain", reset: ArrayLike | None = None
) -> tuple[jax.Array, jax.Array]:
    """A cell over all frames of clips: `cell_step` under `lax.scan`; W x_t is one product before it.

    Args:
      params: from `init_cell`.
      carry: before the first frame, from `init_cell_carry` or the clip before.
      x: `[batch, time, n_inputs]`.
      kind: as in `init_cell`.
      reset: `[batch, time]`, true where a frame starts a run: the carry is 0 there.

    Returns:
      `(carry, h [batch, time, size])`.

    Raises:
      ValueError: as `cell_step`.
    """
    carry, x = jnp.asarray(carry), jnp.asarray(x)
    if x.ndim != 3:
        raise ValueError(f"x: expected shape [batch, time, n_inputs], got {x.shape}")
    _check(params, carry, jnp.zeros_like(x, shape=(len(x), x.shape[2])), kind)
    keep = jnp.ones(x.shape[:2], bool) if reset is None else ~jnp.asarray(reset).astype(bool)
    if keep.shape != x.shape[:2]:
        raise ValueError(f"reset: expected shape {x.shape[:2]}, one entry a frame, got {keep.shape}")

    def step(carry: jax.Array, now: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        drive, kept = now
        return _advance(params, jnp.where(kept[:, None], carry, 0), drive, kind)

    drives = jnp.matmul(x, params["kernel"])
    last, h = jax.lax.scan(step, jnp.asarray(carry), (jnp.moveaxis(drives, 1, 0), keep.T))
    return last, jnp.moveaxis(h, 0, 1)


def _advance(params: CellParams, carry: jax.Array, drive: jax.Array, kind: str) -> tuple[jax.Array, jax.Array]:
    size = params["recurrent"].shape[0]
    total = drive + jnp.matmul(carry[:, :size], params["recurrent"]) + params["bias"][None]
    if kind == "plain":
        h = jax.nn.sigmoid(total)
        return h, h
    write, keep, candidate, show = jnp.split(total, 4, axis=1)
    c = jax.nn.sigmoid(keep) * carry[:, size:] + jax.nn.sigmoid(write) * jnp.tanh(candidate)
    h = jax.nn.sigmoid(show) * jnp.tanh(c)
    return jnp.concatenate([h, c], axis=1), h


def _check_kind(kind: Any) -> None:
    if kind not in CELLS:
        raise ValueError(f"kind: expected one of {CELLS}, got {kind!r}")


def _check(params: CellParams, carry: jax.Array, x_t: jax.Array, kind: str) -> None:
    _check_kind(kind)
    size, wide = params["recurrent"].shape
    if wide != size * (4 if kind == "lstm" else 1):
        raise ValueError(f"params: expected those of a {kind} cell, got a recurrent matrix {params['recurrent'].shape}")
    n_inputs, held = params["kernel"].shape[0], size * (2 if kind == "lstm" else 1)
    if x_t.ndim != 2 or x_t.shape[1] != n_inputs:
        raise ValueError(f"x: expected {n_inputs} numbers a frame as the parameters, got shape {x_t.shape}")
    if carry.dtype != params["recurrent"].dtype or x_t.dtype != carry.dtype:
        raise ValueError(
            f"carry, x: expected {params['recurrent'].dtype} as the parameters, got {carry.dtype} and {x_t.dtype}"
        )
    if carry.shape != (len(x_t), held):
        raise ValueError(f"carry: expected shape {(len(x_t), held)}, got {carry.shape}")
