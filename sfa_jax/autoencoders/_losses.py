"""Losses of autoencoders, one value an image: the caller reduces.

Half precision is computed, and given back, in float32: sums over an image leave its range, or its digits.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

Scalar = float | jax.Array
"""A number, or a scalar array, which may be traced."""


def reconstruction_loss(reconstruction: ArrayLike, images: ArrayLike) -> jax.Array:
    """The mean squared error of each image.

    L_n = mean over rows, columns and channels of (reconstruction_n - images_n)^2

    The mean, not the sum, so that images of all sizes compare; what is added to it, such as lambda times `l1_penalty`,
    has another weight than beside a sum (`Autoencoder.loss`), by the number of pixels.

    Args:
      reconstruction: `[n, height, width, channel]`, or `[n, ...]`.
      images: of the same shape, floating point in [0, 1].

    Returns:
      `[n]`, in squared units of the image's range.

    Raises:
      ValueError: the shapes differ.
      TypeError: the images are not floating point.

    >>> reconstruction_loss(jnp.zeros((1, 2, 2, 1)), jnp.full((1, 2, 2, 1), 0.5)).tolist()
    [0.25]
    """
    reconstruction, images = _alike("reconstruction", reconstruction, images)
    return jnp.mean(jnp.square(reconstruction - images), axis=_inner(images))


def l1_penalty(codes: ArrayLike) -> jax.Array:
    """The l1 norm of each code.

    P_n = sum_k |z_nk|

    Args:
      codes: `[n, ...]`, floating point.

    Returns:
      `[n]`, in units of the code.

    Raises:
      TypeError: the codes are not floating point.
      ValueError: they have fewer than two axes.

    References:
      Olshausen & Field, Nature 1996 (sparse codes); lambda times this, beside the squared error summed over the image,
      is the loss of the convolutional sparse autoencoder, L = ||x - f(g(x))||^2 + lambda ||z||_1.

    >>> l1_penalty(jnp.array([[1.0, -2.0, 0.0]])).tolist()
    [3.0]
    """
    codes = _floating("codes", codes)
    return jnp.sum(jnp.abs(codes), axis=_inner(codes))


def kl_to_standard_normal(mean: ArrayLike, log_variance: ArrayLike) -> jax.Array:
    """The Kullback-Leibler divergence of diagonal Gaussians from the standard normal.

    KL_n = 1/2 sum_k (mean_nk^2 + exp(v_nk) - v_nk - 1),  v the logarithm of the variance

    Args:
      mean: `[n, ...]`, floating point.
      log_variance: of the same shape.

    Returns:
      `[n]`, in nats, at least 0.

    Raises:
      ValueError: the shapes differ.
      TypeError: not floating point.

    References:
      Kingma & Welling, "Auto-encoding variational Bayes", arXiv 1312.6114, appendix B.

    >>> kl_to_standard_normal(jnp.array([[1.0, 0.0]]), jnp.zeros((1, 2))).tolist()
    [0.5]
    """
    log_variance, mean = _alike("log_variance", log_variance, mean, "mean")
    # expm1: near variance 1 the difference of exp(v) - 1 and v is all there is.
    return 0.5 * jnp.sum(jnp.square(mean) + jnp.expm1(log_variance) - log_variance, axis=_inner(mean))


def bernoulli_log_likelihood(logits: ArrayLike, images: ArrayLike) -> jax.Array:
    """The logarithm of the probability of each image, its pixels independent Bernoulli variables.

    log p(x_n) = sum over pixels of x log s(l) + (1 - x) log(1 - s(l)),  s the logistic function

    For pixels between 0 and 1 this is the cross-entropy, the expectation over images drawn by their greys.

    Args:
      logits: l, `[n, ...]`.
      images: x, of the same shape, floating point in [0, 1].

    Returns:
      `[n]`, in nats, at most 0.

    Raises:
      ValueError: the shapes differ.
      TypeError: the images are not floating point.

    References:
      Kingma & Welling, arXiv 1312.6114, appendix C.1.

    >>> round(bernoulli_log_likelihood(jnp.zeros((1, 4)), jnp.ones((1, 4))).item(), 4)
    -2.7726
    """
    logits, images = _alike("logits", logits, images)
    # Of confident logits log s(l) is small: as a difference of large numbers it would be lost to rounding.
    each = images * jax.nn.log_sigmoid(logits) + (1 - images) * jax.nn.log_sigmoid(-logits)
    return jnp.sum(each, axis=_inner(images))


def gaussian_log_likelihood(reconstruction: ArrayLike, images: ArrayLike, *, sigma: Scalar) -> jax.Array:
    """The logarithm of the density of each image, its pixels independent Gaussian variables of one deviation.

    log p(x_n) = -1/2 sum over pixels of ((x - x^) / sigma)^2 + log(2 pi sigma^2)

    Args:
      reconstruction: x^, `[n, ...]`.
      images: x, of the same shape, floating point.
      sigma: the deviation, in units of the image's range, a number or a scalar array above 0; may be learned.

    Returns:
      `[n]`, in nats.

    Raises:
      ValueError: the shapes differ, or sigma is not a scalar or not above 0.
      TypeError: the images are not floating point.

    >>> round(gaussian_log_likelihood(jnp.zeros((1, 2)), jnp.zeros((1, 2)), sigma=1.0).item(), 4)
    -1.8379
    """
    reconstruction, images = _alike("reconstruction", reconstruction, images)
    if jnp.ndim(sigma) or (is_known(sigma) and not np.asarray(sigma) > 0):
        raise ValueError(f"sigma: expected a number above 0, got {sigma}")
    sigma = jnp.asarray(sigma, images.dtype)
    squared = jnp.square((images - reconstruction) / sigma)
    return -0.5 * jnp.sum(squared + 2 * jnp.log(sigma) + math.log(2 * math.pi), axis=_inner(images))


def elbo(log_likelihood: ArrayLike, kl: ArrayLike, *, beta: Scalar = 1.0) -> jax.Array:
    """The evidence lower bound of each image, for one draw of its code.

    ELBO_n = log p(x_n given z_n) - beta KL(q(z given x_n), p(z)),  z_n drawn from q

    Args:
      log_likelihood: `[n]`, in nats, of images given codes that were drawn.
      kl: `[n]`, in nats, as `kl_to_standard_normal` gives it.
      beta: weight of the divergence; 1 is the bound, any other a trade-off.

    Returns:
      `[n]`, in nats. To be maximised.

    Raises:
      ValueError: the shapes differ, or beta is not a scalar.

    References:
      Kingma & Welling, arXiv 1312.6114, eq. 3; Higgins et al., ICLR 2017 (beta).

    >>> elbo(jnp.array([-90.0]), jnp.array([10.0])).tolist()
    [-100.0]
    """
    log_likelihood, kl = jnp.asarray(log_likelihood), jnp.asarray(kl)
    check_scalar("beta", beta)
    if log_likelihood.shape != kl.shape:
        raise ValueError(f"kl: expected the shape {log_likelihood.shape} of log_likelihood, got {kl.shape}")
    return log_likelihood - beta * kl


def draw_gaussian(key: jax.Array, mean: ArrayLike, log_variance: ArrayLike) -> jax.Array:
    """A draw from diagonal Gaussians that gradients pass through.

    z = mean + exp(log_variance / 2) e,  e standard normal

    Args:
      key: random key.
      mean: `[n, ...]`, floating point.
      log_variance: of the same shape.

    Returns:
      z, of the same shape.

    Raises:
      ValueError: the shapes differ.
      TypeError: not floating point.

    References:
      Kingma & Welling, arXiv 1312.6114, section 2.4 (the reparameterisation trick).

    >>> draw_gaussian(jax.random.key(0), jnp.ones((1, 2)), jnp.full((1, 2), -jnp.inf)).tolist()
    [[1.0, 1.0]]
    """
    dtype = jnp.asarray(mean).dtype
    log_variance, mean = _alike("log_variance", log_variance, mean, "mean")
    z = mean + jnp.exp(0.5 * log_variance) * jax.random.normal(key, mean.shape, mean.dtype)
    return z.astype(dtype)


def check_scalar(name: str, x: ArrayLike) -> None:
    """Raises on what is no single number, and would be broadcast.

    Raises:
      ValueError: names it, and its shape.
    """
    if jnp.ndim(x):
        raise ValueError(f"{name}: expected one number, got shape {jnp.shape(x)}")


def is_known(x: Scalar) -> bool:
    """Whether a number's value can be looked at: not one that `jit`, `vmap` or `grad` traces."""
    return not isinstance(x, jax.core.Tracer)


def _alike(name: str, x: ArrayLike, images: ArrayLike, of: str = "images") -> tuple[jax.Array, jax.Array]:
    images, x = _floating(of, images), _floating(name, x)
    if x.shape != images.shape:
        raise ValueError(f"{name}: expected the shape {images.shape} of {of}, got {x.shape}")
    return x, images


def _floating(name: str, x: ArrayLike) -> jax.Array:
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        hint = "; divide uint8 by 255 first" if name == "images" else ""
        raise TypeError(f"{name}: expected floating point, got {x.dtype}{hint}")
    if x.ndim < 2:
        raise ValueError(f"{name}: expected shape [n, ...], an image or a code a row, got {x.shape}")
    return x.astype(jnp.float32) if x.dtype.itemsize < 4 else x


def _inner(x: jax.Array) -> tuple[int, ...]:
    return tuple(range(1, x.ndim))
