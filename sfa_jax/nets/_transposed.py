"""The transposed convolution, as one product and a few shifted sums."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike


def conv_transpose2d(x: ArrayLike, kernel: ArrayLike, *, stride: int = 2) -> jax.Array:
    """Every input spreads its kernel over the output, `stride` pixels further than its neighbour.

    y[n, stride i + r - p, stride j + s - p] += x[n, i, j] @ kernel[r, s],  p = (k - stride) / 2

    What falls outside is cut off. Computed as one product of all inputs and the kernel, and (k / stride)^2 sums of what
    it gives, shifted.

    Args:
      x: `[n, height, width, c_in]`, floating point.
      kernel: `[k, k, c_in, c_out]`, k a multiple of the stride with k - stride even.
      stride: pixels of the output for one of the input.

    Returns:
      `[n, stride height, stride width, c_out]`.

    Raises:
      ValueError: the shapes do not fit each other.

    References:
      Zeiler et al., CVPR 2010 (deconvolutional networks); Dumoulin & Visin, arXiv 1603.07285, section 4.

    >>> conv_transpose2d(jnp.ones((1, 1, 1, 1)), jnp.ones((2, 2, 1, 3))).shape
    (1, 2, 2, 3)
    """
    x, kernel = jnp.asarray(x), jnp.asarray(kernel)
    if x.ndim != 4 or kernel.ndim != 4 or kernel.shape[2] != x.shape[3] or kernel.shape[0] != kernel.shape[1]:
        raise ValueError(
            f"x, kernel: expected [n, height, width, c_in] and [k, k, c_in, c_out], got {x.shape} and {kernel.shape}"
        )
    k, _, c_in, c_out = kernel.shape
    if stride < 1 or k % stride or (k - stride) % 2:
        raise ValueError(f"kernel: expected a side that is a multiple of stride {stride}, by an even rest, got {k}")
    n, height, width, _ = x.shape
    reach = k // stride
    # [n, height, width, reach, stride, reach, stride, c_out]: each kernel in squares of stride pixels.
    spread = jnp.matmul(x, kernel.transpose(2, 0, 1, 3).reshape(c_in, k * k * c_out))
    spread = spread.reshape(n, height, width, reach, stride, reach, stride, c_out)
    total = jnp.zeros((n, height + reach - 1, width + reach - 1, stride, stride, c_out), spread.dtype)
    for r in range(reach):
        for s in range(reach):
            pads = ((0, 0), (r, reach - 1 - r), (s, reach - 1 - s), (0, 0), (0, 0), (0, 0))
            total = total + jnp.pad(spread[:, :, :, r, :, s], pads)
    y = total.transpose(0, 1, 3, 2, 4, 5)
    y = y.reshape(n, (height + reach - 1) * stride, (width + reach - 1) * stride, c_out)
    cut = (k - stride) // 2
    return y[:, cut : cut + stride * height, cut : cut + stride * width]


def transposed_init(*, stride: int = 2, relu: bool = True) -> jax.nn.initializers.Initializer:
    """Normal numbers for the kernel of `conv_transpose2d` that keep the variance from its input to its output.

    Only one of stride^2 parts of the kernel reaches a pixel of the output, which He's scaling takes no account of: it
    would make an image fainter with every layer, by the stride.

    Args:
      stride: as in `conv_transpose2d`.
      relu: whether the output goes through a ReLU, which halves it.

    Returns:
      `(key, shape [k, k, c_in, c_out], dtype) -> kernel`, of variance 2 stride^2 / (k^2 c_in), half without ReLU.

    References:
      He et al., "Delving deep into rectifiers", ICCV 2015, equation 10.
    """
    return jax.nn.initializers.variance_scaling((2.0 if relu else 1.0) * stride**2, "fan_in", "normal")
