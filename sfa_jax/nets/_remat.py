"""`conv_norm_relu_stack` for clips of any length: rematerialised in chunks of frames, with the moments of all of them.

For the gradient nothing is kept but the frames and the raw convolution of the last block, the smallest; what lies
between is taken again. A normalisation over the batch allows no plain `jax.checkpoint` of chunks: what becomes of a
chunk depends on the moments of all frames, and its gradient on sums over all frames. Both are found one block after the
other, each in a pass of its own over all chunks:

- Forward, pass l takes the moments of block l, when those of the blocks below are known.
- Backward, pass l comes from the top down to block l and sums the gradient in its moments, when those of the blocks
  above are known. The gradient in the kernel above is complete by then, and summed on the way.
- The first kernel takes no pass from the top of its own. Its gradient is linear in that of its output, of which pass 0
  knows all but what comes through the moments; that part is found from the frames alone.

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
from jax.custom_derivatives import SymbolicZero

from sfa_jax._errors import InputError
from sfa_jax.nets._chunked import fewest_chunks, merge, put, split, take
from sfa_jax.nets._conv import ConvBlock, backward, check, fold, forward
from sfa_jax.nets._devices import sharers
from sfa_jax.nets._normalise import Affine, Moments, activate, is_image, pool_moments

# (y of the last block [n, height', width', c_out], params) -> [n, ...], every frame by itself.
Read = Callable[[jax.Array, Any], jax.Array]

_STRIDE = 2


class _How(NamedTuple):
    """What is static."""

    read: Read
    n_chunks: int
    epsilon: float


class _Inputs(NamedTuple):
    """All that the result depends on. Frames and weight are split into chunks; they are data, without gradient."""

    frames: jax.Array
    weight: jax.Array | None
    blocks: tuple[ConvBlock, ...]
    read_params: Any


class _Found(NamedTuple):
    """What the forward passes leave.

    z: raw convolution of the last block, split into chunks.
    moments: (count, mean, variance) of the raw convolution of each block.
    affines: what is applied to the input of each block, and to z.
    """

    z: jax.Array
    moments: list[Moments]
    affines: list[Affine]


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

    Values and gradients are those of this line up to rounding: the moments are of all frames, whatever the chunks.

    Args:
      x: frames, `[n, height, width, c_in]`; float, or integer in 0..255 (divided by 255). Has no gradient.
      blocks: parameters, first block first.
      read: what is made of y, `(y [m, height', width', c_out], read_params) -> [m, ...]`, every frame by itself.
      read_params: arrays that `read` depends on.
      n_frames: frames of a chunk: the largest divisor of n that is not larger.
      weight: `[n]` in {0, 1}; frames of weight 0 are left out of the moments, whatever they hold, and encoded as black
        ones if they are float. None counts all. Has no gradient.
      epsilon: added to the variance.

    Returns:
      out `[n, ...]`, and `(mean, var)` of each block, `[c_out]` each, for running averages (variance biased; without
      gradient).

    Raises:
      InputError: for shapes that do not fit each other, no frame a chunk, or where a gradient in x is asked for.

    References:
      Chen et al., "Training deep nets with sublinear memory cost", arXiv 1604.06174, for rematerialisation.
    """
    if not blocks:
        raise InputError("blocks is empty: give at least one ConvBlock.")
    if n_frames < 1:
        raise InputError(f"n_frames must be at least 1 frame a chunk, not {n_frames}.")
    if weight is not None and weight.shape != x.shape[:1]:
        raise InputError(f"weight must be one number a frame, shape {x.shape[:1]}, not {weight.shape}.")
    check(x, blocks[0].kernel)
    each = sharers(x.shape[0])  # devices, of which none is idle where a chunk has as many frames
    n_chunks = fewest_chunks(x.shape[0] // each, max(n_frames // each, 1))
    frames, weight = split((x, weight), x.shape[0] // n_chunks)
    inputs = _Inputs(frames, weight, tuple(ConvBlock(*block) for block in blocks), read_params)
    out, moments = _encode(_How(read, n_chunks, epsilon), inputs)
    return merge(out), lax.stop_gradient(moments)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _encode(how: _How, inputs: _Inputs) -> tuple[jax.Array, list[tuple[jax.Array, jax.Array]]]:
    out, found = _forward_passes(how, inputs)
    return out, [(mean, var) for _, mean, var in found.moments]


def _encode_fwd(how: _How, marked: Any) -> tuple:
    if marked.frames.perturbed:
        raise InputError(
            "x: expected frames in which no gradient is taken, as rematerialised convolutions have none; take it with "
            "conv_norm_relu_stack (remat_frames=0)."
        )
    inputs = jax.tree.map(lambda leaf: leaf.value, marked)
    out, found = _forward_passes(how, inputs)
    return (out, [(mean, var) for _, mean, var in found.moments]), (inputs, found)


def _encode_bwd(how: _How, residuals: tuple[_Inputs, _Found], cotangents: tuple) -> tuple:
    inputs, found = residuals
    dout, _ = cotangents  # nothing comes through the moments
    if isinstance(dout, SymbolicZero):
        dout = jnp.zeros(dout.shape, dout.dtype)
    return (_Inputs(None, None, *_backward_passes(how, inputs, found, dout)),)  # type: ignore[arg-type]


_encode.defvjp(_encode_fwd, _encode_bwd, symbolic_zeros=True)


def _forward_passes(how: _How, inputs: _Inputs) -> tuple[jax.Array, _Found]:
    chunks, last = jnp.arange(how.n_chunks), len(inputs.blocks) - 1
    moments: list[Moments] = []
    affines: list[Affine] = [None]

    def convolve(i: jax.Array, layer: int) -> tuple[jax.Array, Moments]:
        weight = take(inputs.weight, i)
        z, _, mean, var = forward(
            _STRIDE, _below(inputs, affines, i, layer)[-1], affines[layer], inputs.blocks[layer].kernel, weight
        )
        n_valid = z.shape[0] if weight is None else weight.sum().astype(z.dtype)
        # Not the count that `forward` gives, which is 1 where no frame is valid: such a chunk has no say.
        count = jnp.asarray(n_valid * (z.shape[1] * z.shape[2]), z.dtype)
        return z, (count, count * mean, count * var)

    for layer, (_, scale, bias) in enumerate(inputs.blocks):
        of_chunk = functools.partial(convolve, layer=layer)
        if layer == last:
            z, parts = _fill(of_chunk, chunks)
        else:
            parts = lax.map(lambda i, of_chunk=of_chunk: of_chunk(i)[1], chunks)
        moments.append(pool_moments(*parts))
        affines.append(fold(scale, bias, *moments[-1][1:], how.epsilon))

    def read(i: jax.Array) -> tuple[jax.Array, None]:
        return how.read(activate(take(z, i), affines[-1], z.dtype), inputs.read_params), None

    return _fill(read, chunks)[0], _Found(z, moments, affines)


def _backward_passes(how: _How, inputs: _Inputs, found: _Found, dout: jax.Array) -> tuple[tuple[ConvBlock, ...], Any]:
    """Gradients in the blocks and in `read_params`."""
    last = len(inputs.blocks) - 1
    above: list[Any] = []  # gradients in what follows each block, last block first: `read_params`, then kernels
    normalisations: list[tuple[jax.Array, jax.Array]] = []  # gradients in scale and bias, last block first
    through: dict[int, Moments] = {}  # by block, what `through_moments` takes

    def descend(i: jax.Array, low: int) -> tuple[jax.Array, jax.Array, Affine, Any]:
        """From the top of chunk i down to the raw convolution z of block `low`.

        Returns:
          z, the gradient in it but for what comes through its moments, and the gradients in the affine map that follows
          it and in the parameters of what follows next.
        """

        def top(z: jax.Array, affine: Affine, read_params: Any) -> jax.Array:
            return how.read(activate(z, affine, z.dtype), read_params)

        z, weight = take((found.z, inputs.weight), i)
        dz, daffine, dnext = jax.vjp(top, z, found.affines[-1], inputs.read_params)[1](take(dout, i))
        below = _below(inputs, found.affines, i, last) if low < last else []
        for layer in range(last, low, -1):
            x, kernel = below[layer], inputs.blocks[layer].kernel
            dz, daffine, dnext = backward(_STRIDE, x, found.affines[layer], kernel, weight, z, dz, through[layer])
            z = x
        return z, dz, daffine, dnext

    def first_kernel(i: jax.Array, z: jax.Array, dz: jax.Array, moments: Moments) -> jax.Array:
        [frames], weight = _below(inputs, found.affines, i, 0), take(inputs.weight, i)
        return backward(_STRIDE, frames, None, inputs.blocks[0].kernel, weight, z, dz, moments)[2]

    def sums(i: jax.Array, low: int) -> tuple[Affine, Any, jax.Array | None]:
        z, dz, daffine, dnext = descend(i, low)
        if low > 0:
            return daffine, dnext, None
        mean = found.moments[0][1]
        return daffine, dnext, first_kernel(i, z, dz, (mean, jnp.zeros_like(mean), jnp.zeros_like(mean)))

    for layer in range(last, -1, -1):
        daffine, dnext, direct = _sum(functools.partial(sums, low=layer), how.n_chunks)
        count, mean, var = found.moments[layer]
        _, scale, bias = inputs.blocks[layer]
        refold = functools.partial(fold, epsilon=how.epsilon)
        dscale, dbias, dmean, dvar = jax.vjp(refold, scale, bias, mean, var)[1](daffine)
        through[layer] = mean, dmean / count, 2 * dvar / count
        above.append(dnext)
        normalisations.append((dscale, dbias))

    def by_moments(i: jax.Array) -> jax.Array:
        z = _below(inputs, found.affines, i, 1)[1]
        return first_kernel(i, z, jnp.zeros_like(z), through[0])

    dread, *dkernels = *above, direct + _sum(by_moments, how.n_chunks)
    dblocks = [ConvBlock(dkernel, *rest) for dkernel, rest in zip(dkernels, normalisations, strict=True)]
    return tuple(reversed(dblocks)), dread


def _below(inputs: _Inputs, affines: list[Affine], i: jax.Array, n_blocks: int) -> list[jax.Array]:
    """Chunk i: its frames, and the raw convolution of each of the first blocks."""
    x, weight = take((inputs.frames, inputs.weight), i)
    if weight is not None and not is_image(x):
        x = jnp.where(weight.reshape(-1, 1, 1, 1) > 0, x, 0)  # NaN times weight 0 would be NaN
    raw = [x]
    for block, affine in zip(inputs.blocks[:n_blocks], affines, strict=False):
        raw.append(forward(_STRIDE, raw[-1], affine, block.kernel, None)[0])
    return raw


def _fill(of_chunk: Callable[[jax.Array], tuple[jax.Array, Any]], chunks: jax.Array) -> tuple[jax.Array, Any]:
    """What `of_chunk` gives of each chunk, put where the chunk was split from; and beside it, stacked."""
    chunk, _ = jax.eval_shape(of_chunk, chunks[0])
    whole = jnp.zeros((chunk.shape[0], len(chunks), *chunk.shape[1:]), chunk.dtype)

    def step(whole: jax.Array, i: jax.Array) -> tuple[jax.Array, Any]:
        x, beside = of_chunk(i)
        return put(whole, x, i), beside

    return lax.scan(step, whole, chunks)


def _sum(of_chunk: Callable[[jax.Array], Any], n_chunks: int) -> Any:
    """The sum over chunks of a tree of arrays."""

    def step(total: Any, i: jax.Array) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, of_chunk(i)), None

    chunks = jnp.arange(n_chunks)
    shapes = jax.eval_shape(of_chunk, chunks[0])
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    return lax.scan(step, zeros, chunks)[0]
