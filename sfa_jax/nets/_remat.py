"""`conv_norm_relu_stack` for clips of any length: rematerialized in chunks of frames, with the moments of all of them.

For the gradient nothing is kept but the frames and the raw convolution of the last block, the smallest; what lies
between is taken again. A normalization over the batch allows no plain `jax.checkpoint` of chunks: what becomes of a
chunk depends on the moments of all frames. So every block has a pass over all chunks:

- Pass l takes the moments of block l, when those of the blocks below are known.
- Its tangents come from the parameters of block l and from the moments below it, and go up to what is read: what they
  add to the moments of the blocks between, and at the end, is summed over the passes. (The first block, whose own pass
  ends at its moments, goes up with the second.) Transposed, pass l comes from the top down to block l.

So of no block but the last there is ever more than a chunk, nor is there of any gradient. Passes forward take
L (L + 1) / 2 convolutions for L blocks, and about as many again backward: for three small ones, on CPU, 1.5 times the
time of keeping all.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from sfa_jax._errors import InputError
from sfa_jax.nets._chunked import fewest_chunks, merge, put, split, take
from sfa_jax.nets._conv import ConvBlock, check, conv_moments, fold, moving
from sfa_jax.nets._normalise import Affine, Moments, activate, moment_tangents, pool_moments, without_nan

# (y of the last block [n, height', width', c_out], params) -> [n, ...], every frame by itself.
Read = Callable[[jax.Array, Any], jax.Array]


class _How(NamedTuple):
    """What is static."""

    n_chunks: int
    epsilon: float
    read: Read


class _Inputs(NamedTuple):
    """Frames and weights, split into chunks, which are data and have no derivative; and the blocks."""

    frames: jax.Array
    weights: jax.Array | None
    blocks: tuple[ConvBlock, ...]


def rematerialised_stack(
    x: jax.Array,
    blocks: Sequence[ConvBlock],
    read: Read,
    read_params: Any,
    *,
    n_frames: int,
    weight: jax.Array | None = None,
    epsilon: float = 1e-5,
) -> tuple[jax.Array, list[tuple[jax.Array, jax.Array]]]:
    """`read` of `conv_norm_relu_stack`, in chunks of frames whose activations are taken again for the gradient.

    out = read(y, read_params),  y, moments = conv_norm_relu_stack(x, blocks, weight=weight, epsilon=epsilon)

    Values and derivatives are those of this line up to rounding: the moments are of all frames, whatever the chunks.

    Args:
      x: frames, `[n, height, width, c_in]`; uint8 (divided by 255) or floating. Has no derivative.
      blocks: parameters, first block first.
      read: what is made of y, `(y [m, height', width', c_out], read_params) -> [m, ...]`, every frame by itself.
      read_params: arrays that `read` depends on.
      n_frames: frames of a chunk: the largest divisor of n that is not larger.
      weight, epsilon: as in `conv_norm_relu_stack`.

    Returns:
      out `[n, ...]`, and `(mean, var)` of each block, `[c_out]` each, for running averages (variance biased; without
      derivatives).

    Raises:
      InputError: for shapes that do not fit each other, no frame a chunk, or where a derivative in x is asked for.

    References:
      Chen et al., "Training deep nets with sublinear memory cost", arXiv 1604.06174, for rematerialization.
    """
    if not blocks:
        raise InputError("blocks is empty: give at least one ConvBlock.")
    if n_frames < 1:
        raise InputError(f"n_frames must be at least 1 frame a chunk, not {n_frames}.")
    if weight is not None and weight.shape != x.shape[:1]:
        raise InputError(f"weight must be one number a frame, shape {x.shape[:1]}, not {weight.shape}.")
    check(x, blocks[0].kernel)
    n_chunks = fewest_chunks(x.shape[0], n_frames)
    frames, weights = split((x, weight), n_chunks)
    inputs = _Inputs(frames, weights, tuple(ConvBlock(*block) for block in blocks))
    out, moments = _encode(_How(n_chunks, epsilon, read), inputs, read_params)
    return merge(out), [(lax.stop_gradient(mean), lax.stop_gradient(var)) for _, mean, var in moments]


# In a scan nothing can be merged with the first time, so that the check for it may be left out; zeros may be merged.
_again = functools.partial(jax.checkpoint, prevent_cse=False)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _encode(how: _How, inputs: _Inputs, read_params: Any) -> tuple[jax.Array, list[Moments]]:
    """What is read of each frame, split into chunks as the frames are, and (count, mean, var) of each block."""
    z, moments = _convolve(how, inputs)
    return _read_all(how, z, _fold_all(how, inputs, moments)[-1], read_params), moments


@functools.partial(_encode.defjvp, symbolic_zeros=True)
def _encode_jvp(how: _How, primals: tuple, tangents: tuple) -> tuple[tuple, tuple]:
    (inputs, read_params), (dinputs, dread) = primals, tangents
    if moving(dinputs.frames) is not None:
        raise InputError(
            "x: expected frames in which no derivative is taken, as rematerialized convolutions have none; take it "
            "with conv_norm_relu_stack (remat_frames=0)."
        )
    z, moments = _convolve(how, inputs)
    affine = _fold_all(how, inputs, moments)[-1]

    def read(z: jax.Array, affine: Affine, read_params: Any) -> jax.Array:
        return how.read(activate(z, affine, z.dtype), read_params)

    def end(z: jax.Array, dz: jax.Array, affine: Affine, read_params: Any) -> jax.Array:
        return jax.jvp(lambda z: read(z, affine, read_params), (z,), (dz,))[1]

    dout, dmoments, daffine = _push(
        how, inputs, _instantiated(inputs.blocks, dinputs.blocks), z, moments, end, affine, read_params
    )

    @_again
    def last(i: jax.Array, z: jax.Array, affine: Affine, read_params: Any, *tangents: Any) -> jax.Array:
        return jax.jvp(functools.partial(read, take(z, i)), (affine, read_params), tangents)[1]

    moved = daffine, _instantiated(read_params, dread)
    more, _ = _fill(lambda i: (last(i, z, affine, read_params, *moved), None), how.n_chunks)
    return (_read_all(how, z, affine, read_params), moments), (dout + more, dmoments)


def _read_all(how: _How, z: jax.Array, affine: Affine, read_params: Any) -> jax.Array:
    def of_chunk(i: jax.Array) -> tuple[jax.Array, None]:
        return how.read(activate(take(z, i), affine, z.dtype), read_params), None

    return _fill(of_chunk, how.n_chunks)[0]


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _convolve(how: _How, inputs: _Inputs) -> tuple[jax.Array, list[Moments]]:
    """The raw convolution of the last block, and all moments."""
    frames, weights, blocks = inputs
    affines: list[Affine] = [None]
    moments: list[Moments] = []

    def of_chunk(i: jax.Array, layer: int) -> tuple[jax.Array, Moments]:
        x, weight = _through(i, frames, weights, blocks[:layer], affines), take(weights, i)
        z, mean, var = conv_moments(x, blocks[layer].kernel, affine=affines[layer], weight=weight)
        n_valid = len(z) if weight is None else weight.sum()  # a chunk without a valid frame has no say
        count = jnp.asarray(n_valid * (z.shape[1] * z.shape[2]), z.dtype)
        return z, (count, count * mean, count * var)

    for layer, (_, scale, bias) in enumerate(blocks):
        convolve = functools.partial(of_chunk, layer=layer)
        if layer < len(blocks) - 1:
            parts = lax.map(lambda i, convolve=convolve: convolve(i)[1], jnp.arange(how.n_chunks))
        else:
            z, parts = _fill(convolve, how.n_chunks)
        moments.append(pool_moments(*parts))
        affines.append(fold(scale, bias, *moments[-1][1:], how.epsilon))
    return z, moments


@functools.partial(_convolve.defjvp, symbolic_zeros=True)
def _convolve_jvp(how: _How, primals: tuple, tangents: tuple) -> tuple[tuple, tuple]:
    """Only for derivatives of derivatives: the first ones go on to what is read, and keep no tangent of z."""
    (inputs,), (dinputs,) = primals, tangents
    z, moments = _convolve(how, inputs)
    dz, dmoments, _ = _push(how, inputs, _instantiated(inputs.blocks, dinputs.blocks), z, moments, lambda z, dz: dz)
    return (z, moments), (dz, dmoments)


def _push(
    how: _How,
    inputs: _Inputs,
    dblocks: Any,
    z: jax.Array,
    moments: list[Moments],
    end: Callable[..., jax.Array],
    *of_end: Any,
) -> tuple[jax.Array, list[Moments], Affine]:
    """The passes of tangents.

    Args:
      how, inputs: as in `_encode`.
      dblocks: tangents of the blocks.
      z, moments: what the blocks give.
      end: `(z, dz, *of_end)` of a chunk of the last convolution to what is summed over the passes.
      of_end: arrays that `end` depends on.

    Returns:
      The sum, split into chunks; tangents of the moments; and of the affine map that follows the last block.
    """
    blocks, last = inputs.blocks, len(inputs.blocks) - 1
    affines = _fold_all(how, inputs, moments)

    def of_chunk(i: jax.Array, low: int, constants: Any, dkernels: Any, daffine: Affine) -> tuple[Any, list[Any]]:
        """What `dkernels` up to block `low` and `daffine` before it move: the end, and moments from `low` on."""
        (frames, weights, blocks), z, affines, moments, of_end = constants
        first, top = (low if low > 1 else 0), (last if low else 0)
        x, weight = _through(i, frames, weights, blocks[:first], affines), take(weights, i)

        def up(kernels: list[jax.Array], affine: Affine) -> list[jax.Array]:
            y, found = x, []
            for k in range(first, top + 1):
                kernel = kernels[k - first] if k <= low else blocks[k].kernel
                y, _, _ = conv_moments(y, kernel, affine=affine if k == low else affines[k])
                found.append(y)
            return found[low - first :]

        kernels = [block.kernel for block in blocks[first : low + 1]]
        zs, dzs = jax.jvp(up, (kernels, affines[low]), (dkernels, daffine))
        zs = [*zs[:-1], take(z, i)] if top == last else zs
        means = [mean for _, mean, _ in moments[low : top + 1]]
        sums = [moment_tangents(dz, z, weight, mean) for dz, z, mean in zip(dzs, zs, means, strict=True)]
        return end(zs[-1], dzs[-1], *of_end) if top == last else None, sums

    def chunk(low: int, dkernels: Any, daffine: Affine) -> Callable[[jax.Array], Any]:
        constants = inputs, z, affines, moments, of_end
        return lambda i: _again(of_chunk, static_argnums=1)(i, low, constants, dkernels, daffine)

    daffine: Affine = None
    total: Any = None
    dmoments: list[Moments] = []
    sums: list[Any] = [jax.tree.map(jnp.zeros_like, (mean, var)) for _, mean, var in moments]
    for low, (block, dblock) in enumerate(zip(blocks, dblocks, strict=True)):
        move = chunk(low, [d.kernel for d in dblocks[low if low > 1 else 0 : low + 1]], daffine)
        moved, parts = _fill(move, how.n_chunks, sum_beside=True)
        total = moved if total is None else total + moved
        for k, part in enumerate(parts):
            sums[low + k] = jax.tree.map(jnp.add, sums[low + k], part)
        count, mean, var = moments[low]
        dmean, dvar = sums[low][0] / count, 2 * sums[low][1] / count
        dmoments.append((jnp.zeros_like(count), dmean, dvar))
        refold = functools.partial(fold, epsilon=how.epsilon)
        daffine = jax.jvp(refold, (*block[1:], mean, var), (*dblock[1:], dmean, dvar))[1]
    return total, dmoments, daffine


def _fold_all(how: _How, inputs: _Inputs, moments: list[Moments]) -> list[Affine]:
    """What is applied to the input of each block, and to the last convolution."""
    affines: list[Affine] = [None]
    for (_, scale, bias), (_, mean, var) in zip(inputs.blocks, moments, strict=True):
        affines.append(fold(scale, bias, mean, var, how.epsilon))
    return affines


def _instantiated(values: Any, tangents: Any) -> Any:
    return jax.tree.map(lambda x, d: jnp.zeros_like(x) if moving(d) is None else d, values, tangents)


def _through(
    i: jax.Array, frames: jax.Array, weights: jax.Array | None, blocks: Sequence[ConvBlock], affines: list[Affine]
) -> jax.Array:
    """Chunk i through the convolutions of the first blocks."""
    z = without_nan(*take((frames, weights), i))
    for block, affine in zip(blocks, affines, strict=False):
        z, _, _ = conv_moments(z, block.kernel, affine=affine)
    return z


def _fill(of_chunk: Callable[[jax.Array], tuple[Any, Any]], n_chunks: int, *, sum_beside: bool = False) -> Any:
    """What `of_chunk` gives of each chunk, put where the chunk was split from; and beside it, stacked or summed.

    Either may be None.
    """
    chunk, beside = jax.eval_shape(of_chunk, jnp.zeros((), int))

    def step(state: tuple[Any, Any], i: jax.Array) -> tuple[tuple[Any, Any], Any]:
        (whole, total), (x, y) = state, of_chunk(i)
        whole = jax.tree.map(lambda whole, x: put(whole, x, i), whole, x)
        return (whole, jax.tree.map(jnp.add, total, y) if sum_beside else None), None if sum_beside else y

    @_again  # or zeros as many as there are values would be kept for the gradient
    def fill() -> tuple[Any, Any]:
        whole = jax.tree.map(lambda x: jnp.zeros((x.shape[0], n_chunks, *x.shape[1:]), x.dtype), chunk)
        total = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), beside) if sum_beside else None
        (whole, total), stacked = lax.scan(step, (whole, total), jnp.arange(n_chunks))
        return whole, total if sum_beside else stacked

    return fill()
