"""`conv_norm_relu_stack` for clips of any length: rematerialized in chunks of frames, with the moments of all of them.

For the gradient nothing is kept but the frames and the raw convolution of the last block, the smallest; what lies
between is taken again. A normalization over the batch allows no plain `jax.checkpoint` of chunks: what becomes of a
chunk depends on the moments of all frames. So every block has a pass over all chunks:

- Pass l takes the moments of block l, when those of the blocks below are known.
- Its tangents come from the parameters of block l and from the moments below it, and go up to the last block: what they
  add to the moments of the blocks between, and to the last convolution, is summed over the passes. (The first block,
  whose own pass ends at its moments, goes up with the second.) Transposed, pass l comes from the top down to block l.

So of no block but the last there is ever more than a chunk, nor is there of any gradient. Passes forward take
L (L + 1) / 2 convolutions for L blocks, and about as many again backward: for three small ones, on CPU, 1.5 times the
time of keeping all.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from sfa_jax._errors import InputError
from sfa_jax.nets._chunked import fewest_chunks, merge, put, split, take
from sfa_jax.nets._conv import ConvBlock, check, conv_moments, fold, moving
from sfa_jax.nets._normalise import Affine, Moments, activate, moment_tangents, pool_moments, without_nan

# (y of the last block [n, height', width', c_out], params) -> [n, ...], every frame by itself.
Read = Callable[[jax.Array, Any], jax.Array]


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
    z, found = _convolve(n_chunks, epsilon, frames, weights, tuple(ConvBlock(*block) for block in blocks))
    moments = [(mean, var) for _, mean, var in found]
    out = _read(read, z, fold(*blocks[-1][1:], *moments[-1], epsilon), read_params)
    return merge(out), lax.stop_gradient(moments)


# In a scan nothing can be merged with the first time, so that the check for it may be left out.
_again = functools.partial(jax.checkpoint, prevent_cse=False)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _convolve(
    n_chunks: int, epsilon: float, frames: jax.Array, weights: jax.Array | None, blocks: tuple[ConvBlock, ...]
) -> tuple[jax.Array, list[Moments]]:
    """The raw convolution of the last block, split into chunks as frames and weights are; (count, mean, var) of all."""
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
            parts = lax.map(lambda i, convolve=convolve: convolve(i)[1], jnp.arange(n_chunks))
        else:
            z, parts = _fill(convolve, n_chunks)
        moments.append(pool_moments(*parts))
        affines.append(fold(scale, bias, *moments[-1][1:], epsilon))
    return z, moments


@functools.partial(_convolve.defjvp, symbolic_zeros=True)
def _convolve_jvp(n_chunks: int, epsilon: float, primals: tuple, tangents: tuple) -> tuple:
    frames, weights, blocks = primals
    if moving(tangents[0]) is not None:
        raise InputError(
            "x: expected frames in which no derivative is taken, as rematerialized convolutions have none; take it "
            "with conv_norm_relu_stack (remat_frames=0)."
        )
    dblocks: Any = jax.tree.map(lambda leaf, d: jnp.zeros_like(leaf) if moving(d) is None else d, blocks, tangents[2])
    whole, moments = _convolve(n_chunks, epsilon, *primals)
    affines: list[Affine] = [None]
    for (_, scale, bias), (_, mean, var) in zip(blocks, moments, strict=True):
        affines.append(fold(scale, bias, mean, var, epsilon))
    last = len(blocks) - 1

    def of_chunk(i: jax.Array, low: int, constants: Any, dkernels: Any, daffine: Affine) -> tuple[Any, list[Any]]:
        """What `dkernels` up to block `low` and `daffine` before it move: the last convolution, moments from it on."""
        frames, weights, whole, blocks, affines, moments = constants
        first, top = (low if low > 1 else 0), (last if low else 0)
        x, weight = _through(i, frames, weights, blocks[:first], affines), take(weights, i)

        def up(kernels: list[jax.Array], affine: Affine) -> list[jax.Array]:
            z, found = x, []
            for k in range(first, top + 1):
                kernel = kernels[k - first] if k <= low else blocks[k].kernel
                z, _, _ = conv_moments(z, kernel, affine=affine if k == low else affines[k])
                found.append(z)
            return found[low - first :]

        kernels = [block.kernel for block in blocks[first : low + 1]]
        zs, dzs = jax.jvp(up, (kernels, affines[low]), (dkernels, daffine))
        zs = [*zs[:-1], take(whole, i)] if top == last else zs
        means = [mean for _, mean, _ in moments[low : top + 1]]
        sums = [moment_tangents(dz, z, weight, mean) for dz, z, mean in zip(dzs, zs, means, strict=True)]
        return dzs[-1] if top == last else None, sums

    def chunk(low: int, dkernels: Any, daffine: Affine) -> Callable[[jax.Array], Any]:
        constants = frames, weights, whole, blocks, affines, moments
        return lambda i: _again(of_chunk, static_argnums=1)(i, low, constants, dkernels, daffine)

    dwhole, daffine, dmoments = jnp.zeros_like(whole), None, []
    sums: list[Any] = [jax.tree.map(jnp.zeros_like, (mean, var)) for _, mean, var in moments]
    for low, (block, dblock) in enumerate(zip(blocks, dblocks, strict=True)):
        move = chunk(low, [d.kernel for d in dblocks[low if low > 1 else 0 : low + 1]], daffine)
        if low == 0 < last:
            _, parts = lax.map(move, jnp.arange(n_chunks))
        else:
            moved, parts = _fill(move, n_chunks)
            dwhole = dwhole + moved
        for k, part in enumerate(parts):
            sums[low + k] = jax.tree.map(lambda total, x: total + x.sum(0), sums[low + k], part)
        count, mean, var = moments[low]
        dmean, dvar = sums[low][0] / count, 2 * sums[low][1] / count
        dmoments.append((jnp.zeros_like(count), dmean, dvar))
        refold = functools.partial(fold, epsilon=epsilon)
        daffine = jax.jvp(refold, (*block[1:], mean, var), (*dblock[1:], dmean, dvar))[1]
    return (whole, moments), (dwhole, dmoments)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _read(read: Read, z: jax.Array, affine: Affine, read_params: Any) -> jax.Array:
    """`read` of chunks of the last convolution, split as they are; by hand only so that no copy of z is kept."""
    return _fill(lambda i: (read(activate(take(z, i), affine, z.dtype), read_params), None), z.shape[1])[0]


@_read.defjvp
def _read_jvp(read: Read, primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    @_again
    def of_chunk(i: jax.Array, primals: tuple, dz: jax.Array, *tangents: Any) -> jax.Array:
        def top(z: jax.Array, affine: Affine, read_params: Any) -> jax.Array:
            return read(activate(z, affine, z.dtype), read_params)

        return jax.jvp(top, (take(primals[0], i), *primals[1:]), (dz, *tangents))[1]

    def chunk(i: jax.Array) -> tuple[jax.Array, None]:
        return of_chunk(i, primals, take(tangents[0], i), *tangents[1:]), None

    return _read(read, *primals), _fill(chunk, primals[0].shape[1])[0]


def _through(
    i: jax.Array, frames: jax.Array, weights: jax.Array | None, blocks: Sequence[ConvBlock], affines: list[Affine]
) -> jax.Array:
    """Chunk i through the convolutions of the first blocks."""
    z = without_nan(*take((frames, weights), i))
    for block, affine in zip(blocks, affines, strict=False):
        z, _, _ = conv_moments(z, block.kernel, affine=affine)
    return z


def _fill(of_chunk: Callable[[jax.Array], tuple[jax.Array, Any]], n_chunks: int) -> tuple[jax.Array, Any]:
    """What `of_chunk` gives of each chunk, put where the chunk was split from; and beside it, stacked."""
    chunk, _ = jax.eval_shape(of_chunk, jnp.zeros((), int))

    def step(whole: jax.Array, i: jax.Array) -> tuple[jax.Array, Any]:
        x, beside = of_chunk(i)
        return put(whole, x, i), beside

    return lax.scan(step, jnp.zeros((chunk.shape[0], n_chunks, *chunk.shape[1:]), chunk.dtype), jnp.arange(n_chunks))
