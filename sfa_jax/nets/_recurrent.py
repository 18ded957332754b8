"""The recurrent head: a small multilayer perceptron that sees the present frame and its own last output."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from sfa_jax.nets._chunked import fewest_chunks
from sfa_jax.nets._dense import Dense, add_bias

HeadParams = dict[str, Dense]


def init_head(key: jax.Array, n_features: int, dim: int, *, hidden: int = 256, memory: bool = True) -> HeadParams:
    """Parameters of the head `[h_t, y_{t-1}] -> hidden -> ReLU -> dim`.

    Args:
      key: random key.
      n_features: size of the encoder's output h.
      dim: size of the embedding y.
      hidden: units of the hidden layer.
      memory: whether the head sees y_{t-1}.

    Returns:
      `{"hidden": {"kernel" [n_features, hidden], "bias"}, "memory": {"kernel" [dim, hidden]}, "output": {"kernel"
      [hidden, dim], "bias"}}`, without "memory" where there is none. Kernels are LeCun-normal in all that a unit sees.
    """
    hidden_key, output_key = jax.random.split(key)
    init = jax.nn.initializers.lecun_normal()
    kernel = init(hidden_key, (n_features + (dim if memory else 0), hidden))
    params = {
        "hidden": {"kernel": kernel[:n_features], "bias": jnp.zeros(hidden)},
        "output": {"kernel": init(output_key, (hidden, dim)), "bias": jnp.zeros(dim)},
    }
    return {**params, "memory": {"kernel": kernel[n_features:]}} if memory else params


def apply_head(params: HeadParams, h: ArrayLike) -> jax.Array:
    """A head without memory, of each encoding by itself: y = W_2 relu(W_1 h + b_1) + b_2.

    Args:
      params: from `init_head` with `memory=False`.
      h: `[..., n_features]`.

    Returns:
      y, `[..., dim]`.

    Raises:
      ValueError: the head has a memory, or the sizes do not fit.
    """
    if "memory" in params:
        raise ValueError("params: expected a head without memory; apply one with it by recurrent_scan")
    h = jnp.asarray(h)
    _check_sizes(params, params["output"]["bias"], h)
    return _advance(params, h, _drive(params, h))


def recurrent_step(params: HeadParams, y_tm1: ArrayLike, h_t: ArrayLike) -> jax.Array:
    """One frame through the head: y_t = W_2 relu(W_1 [h_t, y_{t-1}] + b_1) + b_2.

    Args:
      params: from `init_head`; without memory `y_tm1` is not read.
      y_tm1: embedding of the frame before, `[..., dim]`; zeros at the start of a run.
      h_t: encoding of this frame, `[..., n_features]`.

    Returns:
      y_t, `[..., dim]`.

    Raises:
      ValueError: the sizes do not fit the parameters.

    References:
      noskill/sfa-gen, README, "Recurrent MLP head".
    """
    y_tm1, h_t = jnp.asarray(y_tm1), jnp.asarray(h_t)
    _check_sizes(params, y_tm1, h_t)
    if y_tm1.shape[:-1] != h_t.shape[:-1]:
        raise ValueError(f"h_t: expected the leading axes of y_tm1, {y_tm1.shape[:-1]}, got shape {h_t.shape}")
    return _advance(params, y_tm1, _drive(params, h_t))


def recurrent_scan(
    params: HeadParams,
    y_init: ArrayLike,
    h: ArrayLike,
    *,
    reset: ArrayLike | None = None,
    detach: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """The head over all frames of a clip: `recurrent_step` under `lax.scan`.

    What comes from the frames is computed for all of them in one product before the scan, so that only the product
    with y_{t-1} is sequential; without memory nothing is.

    Args:
      params: from `init_head`.
      y_init: embedding before the first frame, `[..., dim]`: zeros, or what the clip before returned.
      h: encodings `[..., time, n_features]`, with the leading axes of `y_init`.
      reset: `[..., time]`, non-zero where a frame starts a run: y_{t-1} is 0 there.
      detach: no gradient flows back through y_{t-1}.

    Returns:
      `(y [..., time, dim], y_last [..., dim])`; y_last is the carry for the clip that follows.

    Raises:
      ValueError: the shapes do not fit each other or the parameters.
    """
    y_init, h = jnp.asarray(y_init), jnp.asarray(h)
    _check_sizes(params, y_init, h)
    if h.ndim < 2 or h.shape[:-2] != y_init.shape[:-1]:
        raise ValueError(f"h: expected shape {y_init.shape[:-1]} + (time, n_features) as y_init's, got {h.shape}")
    return driven_scan(params, y_init, _drive(params, h), reset=reset, detach=detach)


def driven_scan(
    params: HeadParams,
    y_init: jax.Array,
    drive: jax.Array,
    *,
    reset: ArrayLike | None = None,
    detach: bool = False,
    remat_frames: int = 0,
) -> tuple[jax.Array, jax.Array]:
    """`recurrent_scan` of what the hidden layer gets from the frames, `W_h h + b_1`, in place of h.

    Args:
      params, y_init, reset, detach: as in `recurrent_scan`.
      drive: `[..., time, hidden]`.
      remat_frames: frames (of all clips together) whose hidden units are taken again at once for the gradient, from
        y before the first of them; the chunks are as long as divides time. 0 keeps the units of all frames.

    Returns, Raises:
      As `recurrent_scan`.

    References:
      Chen et al., "Training deep nets with sublinear memory cost", arXiv 1604.06174.
    """
    keep = jnp.ones(drive.shape[:-1], bool) if reset is None else ~jnp.asarray(reset).astype(bool)
    if keep.shape != drive.shape[:-1]:
        raise ValueError(f"reset: expected shape {drive.shape[:-1]}, one entry a frame, got {keep.shape}")
    late = {name: layer for name, layer in params.items() if name != "hidden"}
    return _along_time(late, y_init, drive, keep, detach=detach, remat_frames=remat_frames)


def _along_time(
    params: HeadParams, y_init: jax.Array, drive: jax.Array, keep: jax.Array, *, detach: bool, remat_frames: int
) -> tuple[jax.Array, jax.Array]:
    """What of `recurrent_scan` waits for y_{t-1}, and the output layer; it is small, and done by every device."""
    n_frames = drive.shape[-2]
    if "memory" not in params:
        y = _advance(params, y_init, drive)
        return y, y[..., -1, :]

    def step(y_tm1: jax.Array, now: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        drive_t, keep_t = now
        if detach:
            y_tm1 = jax.lax.stop_gradient(y_tm1)
        y_t = _advance(params, jnp.where(keep_t[..., None], y_tm1, 0), drive_t)
        return y_t, y_t

    def scan(y_tm1: jax.Array, frames: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        return jax.lax.scan(step, y_tm1, frames, unroll=min(len(frames[0]), _UNROLL))

    frames = (jnp.moveaxis(drive, -2, 0), jnp.moveaxis(keep, -1, 0))
    if remat_frames:
        most = max(remat_frames * n_frames // keep.size, 1)
        n_chunks = fewest_chunks(n_frames, most)
        chunks = jax.tree.map(lambda x: x.reshape(n_chunks, -1, *x.shape[1:]), frames)
        # In a scan nothing can be merged with the first time, so that the check for it may be left out.
        y_last, y = jax.lax.scan(jax.checkpoint(scan, prevent_cse=False), y_init, chunks)
        y = y.reshape(n_frames, *y.shape[2:])
    else:
        y_last, y = scan(y_init, frames)
    return jnp.moveaxis(y, 0, -2), y_last


_UNROLL = 4  # frames in one turn of the loop: the product is so small that the loop itself shows


def _drive(params: HeadParams, h: jax.Array) -> jax.Array:
    """The part of the hidden layer that does not wait for y_{t-1}."""
    return add_bias(params["hidden"], h @ params["hidden"]["kernel"])


def _advance(params: HeadParams, y_tm1: jax.Array, drive_t: jax.Array) -> jax.Array:
    if "memory" in params:
        drive_t = drive_t + y_tm1 @ params["memory"]["kernel"]
    return add_bias(params["output"], jax.nn.relu(drive_t) @ params["output"]["kernel"])


def _check_sizes(params: HeadParams, y_tm1: jax.Array, h: jax.Array) -> None:
    n_features, dim = params["hidden"]["kernel"].shape[0], params["output"]["kernel"].shape[1]
    if h.ndim < 1 or h.shape[-1] != n_features:
        raise ValueError(f"h: expected a last axis of {n_features} as the head's parameters, got shape {h.shape}")
    if y_tm1.ndim < 1 or y_tm1.shape[-1] != dim:
        raise ValueError(f"y: expected a last axis of {dim} as the head's parameters, got shape {y_tm1.shape}")
