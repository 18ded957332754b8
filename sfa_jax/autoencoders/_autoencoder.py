"""The family of plain autoencoders: dense or convolutional, with a code that is free, sparse or a Gaussian variable."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from sfa_jax.autoencoders._finola_decoder import check_choices, check_sizes
from sfa_jax.autoencoders._image_autoencoder import as_float
from sfa_jax.autoencoders._losses import (
    bernoulli_log_likelihood,
    check_scalar,
    draw_gaussian,
    kl_to_standard_normal,
    l1_penalty,
)
from sfa_jax.nets import POOL_KINDS, conv2d, conv_transpose2d, pool2d, transposed_init, without_nan

BODIES = ("dense", "convolutional")
ACTIVATIONS = ("relu", "sigmoid")
CODES = ("free", "sigmoid", "sparse", "gaussian")
LIKELIHOODS = ("squared", "bernoulli")
Variables = dict[str, Any]


class Posterior(NamedTuple):
    """What the encoder knows of the codes.

    Attributes:
      mean: `[n, code_size]`; of a code that is no random variable, the code.
      log_variance: `[n, code_size]`, or None.
    """

    mean: ArrayLike
    log_variance: ArrayLike | None


@dataclasses.dataclass(frozen=True)
class Autoencoder:
    """Images to codes and back; holds sizes only, the parameters are passed in.

    z = f(x), x^ = g(z). With `body="dense"`, `hidden=()`, `activation="sigmoid"` and `code="sigmoid"` it is
    z = s(W_e x + b_e), x^ = s(W_d z + b_d), the form whose gradients are derived by hand in every textbook.

    Attributes:
      code_size: numbers of the code.
      code: "free"; "sigmoid": in (0, 1); "sparse": at least 0, to be penalised (`l1_penalty`), and each of its numbers
        draws with weights of norm 1, or the penalty would make the codes small and the weights large instead;
        "gaussian": a mean and a variance each, of which codes are drawn in training.
      body: "dense", or "convolutional": blocks of [3x3 convolution -> ReLU -> pooling], a dense code, and
        back by transposed convolutions 4x4 that double the image.
      hidden: sizes of the dense layers between images (or the last block) and the code; in reverse on the way back.
      activation: of dense layers.
      channels, pool: of the blocks, each of which halves the image; "max", "average" or "l2".
      dropout: share of the code's numbers that are set to 0 in training, the others grown by 1 / (1 - dropout).
      likelihood: what the decoder's output means: "squared": the image, through a sigmoid; "bernoulli": the logits of
        independent pixels.

    References:
      Hinton & Salakhutdinov, Science 2006; Vincent et al., JMLR 2010; Kingma & Welling, arXiv 1312.6114; Masci et al.,
      ICANN 2011 (convolutional); Srivastava et al., JMLR 2014 (dropout); Olshausen & Field, Nature 1996 (unit
      norm).
    """

    code_size: int = 32
    code: Literal["free", "sigmoid", "sparse", "gaussian"] = "free"
    body: Literal["dense", "convolutional"] = "dense"
    hidden: Sequence[int] = (256,)
    activation: Literal["relu", "sigmoid"] = "relu"
    channels: Sequence[int] = (16, 32)
    pool: Literal["max", "average", "l2"] = "max"
    dropout: float = 0.0
    likelihood: Literal["squared", "bernoulli"] = "squared"

    def __post_init__(self) -> None:
        for name in ("hidden", "channels"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # hashable, whatever was given
        choices = {
            "code": CODES,
            "body": BODIES,
            "activation": ACTIVATIONS,
            "pool": POOL_KINDS,
            "likelihood": LIKELIHOODS,
        }
        check_choices(self, choices)
        check_sizes(self, {"code_size": 1})
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout: expected at least 0 and below 1, got {self.dropout}")
        if self.body == "convolutional" and not self.channels:
            raise ValueError("channels: expected at least one block, got none")
        if min((*self.hidden, *self.channels), default=1) < 1:
            raise ValueError(f"hidden, channels: expected sizes of at least 1, got {self.hidden} and {self.channels}")

    @property
    def code_shape(self) -> tuple[int]:
        """Of a code, as `decode` takes it."""
        return (self.code_size,)

    def check(self, frame_shape: Sequence[int]) -> None:
        """Raises on images that the network does not take.

        Raises:
          ValueError: blocks cannot halve them.
        """
        if len(frame_shape) != 3:
            raise ValueError(f"frame_shape: expected (height, width, channel), got {tuple(frame_shape)}")
        factor = 2 ** len(self.channels)
        if self.body == "convolutional" and (frame_shape[0] % factor or frame_shape[1] % factor):
            raise ValueError(
                f"channels: {len(self.channels)} blocks halve the image as often, but {frame_shape[0]} x "
                f"{frame_shape[1]} pixels are no multiple of {factor}; take fewer blocks or another image size"
            )

    def init(self, key: jax.Array, frame_shape: Sequence[int], images: np.ndarray | None = None) -> Variables:
        """`{"params": {"encoder", "decoder"}, "batch_stats": {}}` for images of shape `(height, width, channel)`.

        Args:
          key: random key.
          frame_shape: of the images.
          images: not used; others of this room begin at images.

        Raises:
          ValueError: blocks cannot halve the images.
        """
        del images
        self.check(frame_shape)
        encoder_key, decoder_key = jax.random.split(key)
        encoder = _Encoder(self).init(encoder_key, jnp.zeros((1, *frame_shape)))
        decoder = _Decoder(self, tuple(frame_shape)).init(decoder_key, jnp.zeros((1, self.code_size)))
        return {"params": {"encoder": encoder["params"], "decoder": decoder["params"]}, "batch_stats": {}}

    def posterior(self, params: Any, images: jax.Array) -> Posterior:
        """What the encoder says of images `[n, height, width, channel]`, uint8 or in [0, 1]."""
        z: Any = _Encoder(self).apply({"params": params["encoder"]}, as_float(images))
        if self.code == "gaussian":
            return Posterior(z[:, : self.code_size], z[:, self.code_size :])
        return Posterior(z, None)

    def encode(
        self, variables: Variables, images: jax.Array, weight: jax.Array | None = None, *, train: bool = False
    ) -> tuple[jax.Array, Variables]:
        """The codes `[n, code_size]` of images, Gaussian ones by their means; batch statistics there are none.

        Images with `weight` `[n]` 0 may hold NaN, which is taken as 0.
        """
        del train
        images = without_nan(images, weight)
        return jnp.asarray(self.posterior(variables["params"], images).mean), variables["batch_stats"]

    def sample(self, key: jax.Array, posterior: Posterior, *, train: bool = True) -> jax.Array:
        """Codes `[n, code_size]`: Gaussian ones drawn, and in training numbers dropped."""
        draw_key, drop_key = jax.random.split(key)
        z = jnp.asarray(posterior.mean)
        if posterior.log_variance is not None:
            z = draw_gaussian(draw_key, z, posterior.log_variance)
        if self.dropout and train:
            kept = jax.random.bernoulli(drop_key, 1 - self.dropout, z.shape)
            z = jnp.where(kept, z / (1 - self.dropout), 0)
        return z

    def logits(self, params: Any, z: jax.Array, frame_shape: Sequence[int]) -> jax.Array:
        """The decoder's output `[n, height, width, channel]` before the sigmoid."""
        out: Any = _Decoder(self, tuple(frame_shape)).apply({"params": params["decoder"]}, z)
        return out

    def decode(self, params: Any, z: jax.Array, frame_shape: Sequence[int]) -> jax.Array:
        """Images `[n, height, width, channel]` in [0, 1] of the codes `[n, code_size]`."""
        return jax.nn.sigmoid(self.logits(params, z, frame_shape))

    def loss(
        self,
        params: Any,
        key: jax.Array,
        images: jax.Array,
        target: jax.Array,
        *,
        l1_weight: ArrayLike = 0.0,
        beta: ArrayLike = 1.0,
        train: bool = True,
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """What training lowers, of each image.

        L = E + l1_weight |z|_1 + beta KL,  E the squared error summed over the image, or with likelihood "bernoulli"
        - log p(x given z), in nats; the l1 norm of sparse codes alone, KL of Gaussian ones. At beta 1 the latter is
        - ELBO.

        Args:
          params: from `init`.
          key: random key, of what is drawn and dropped.
          images: `[n, height, width, channel]`, uint8 or in [0, 1]: what the encoder sees.
          target: clean images of the same shape, in [0, 1].
          l1_weight: lambda, a number or a scalar array.
          beta: of the divergence, likewise.
          train: drop numbers of the code.

        Returns:
          L `[n]`, and its terms by name, `[n]` each.

        Raises:
          ValueError: the target has another shape than the images or is not floating point, or a weight is no number.
        """
        if images.shape != target.shape or not jnp.issubdtype(target.dtype, jnp.floating):
            raise ValueError(
                f"target: expected the shape {images.shape} of images, floating point in [0, 1], got {target.shape} "
                f"of {target.dtype}"
            )
        check_scalar("l1_weight", l1_weight)
        check_scalar("beta", beta)
        posterior = self.posterior(params, images)
        z = self.sample(key, posterior, train=train)
        out = self.logits(params, z, target.shape[1:])
        if self.likelihood == "bernoulli":
            error = -bernoulli_log_likelihood(out, target)
        else:
            error = jnp.sum(jnp.square(jax.nn.sigmoid(out) - target), axis=(1, 2, 3))
        terms = {"reconstruction": error}
        total = error
        if posterior.log_variance is not None:
            terms["kl"] = kl_to_standard_normal(posterior.mean, posterior.log_variance)
            total = total + beta * terms["kl"]
        if self.code == "sparse":
            terms["l1"] = l1_penalty(posterior.mean)
            total = total + l1_weight * terms["l1"]
        return total, terms


class _Encoder(nn.Module):
    sizes: Autoencoder

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        sizes = self.sizes
        if sizes.body == "convolutional":
            for k, features in enumerate(sizes.channels):
                kernel = self.param(
                    f"block_{k}_kernel", nn.initializers.he_normal(), (3, 3, x.shape[-1], features), jnp.float32
                )
                bias = self.param(f"block_{k}_bias", nn.initializers.zeros, (features,), jnp.float32)
                x = jax.nn.relu(conv2d(x, kernel, stride=1) + bias[None, None, None])
                x = pool2d(x, kind=sizes.pool)
        x = x.reshape(len(x), math.prod(x.shape[1:]))
        for k, size in enumerate(sizes.hidden):
            x = _activation(sizes.activation)(_dense(sizes.activation, size, f"hidden_{k}")(x))
        z = nn.Dense((1 + (sizes.code == "gaussian")) * sizes.code_size, name="code")(x)
        return {"sigmoid": jax.nn.sigmoid, "sparse": jax.nn.relu}.get(sizes.code, lambda z: z)(z)


class _Decoder(nn.Module):
    sizes: Autoencoder
    frame_shape: tuple[int, ...]

    @nn.compact
    def __call__(self, z: jax.Array) -> jax.Array:
        sizes, (height, width, image_channels) = self.sizes, self.frame_shape
        layers: list[tuple[str, int, str]]
        layers = [(f"hidden_{k}", size, sizes.activation) for k, size in enumerate(reversed(sizes.hidden))]
        grid = self.frame_shape
        if sizes.body == "dense":
            layers.append(("pixels", height * width * image_channels, ""))
        else:
            factor = 2 ** len(sizes.channels)
            grid = (height // factor, width // factor, sizes.channels[-1])
            layers.append(("map", grid[0] * grid[1] * grid[2], "relu"))
        x = z
        for k, (name, size, activation) in enumerate(layers):
            layer = _UnitRows(size, name=name) if sizes.code == "sparse" and k == 0 else _dense(activation, size, name)
            x = _activation(activation)(layer(x))
        x = x.reshape(len(z), *grid)
        if sizes.body == "dense":
            return x
        outputs = (*reversed(sizes.channels[:-1]), image_channels)
        for k, features in enumerate(outputs):
            init = transposed_init(relu=k + 1 < len(outputs))
            kernel = self.param(f"up_{k}_kernel", init, (4, 4, x.shape[-1], features), jnp.float32)
            bias = self.param(f"up_{k}_bias", nn.initializers.zeros, (features,), jnp.float32)
            x = conv_transpose2d(x, kernel) + bias[None, None, None]
            x = jax.nn.relu(x) if k + 1 < len(outputs) else x
        return x


class _UnitRows(nn.Module):
    """A dense layer in which the weights of each input have norm 1."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param(
            "kernel", nn.initializers.normal(self.features**-0.5), (x.shape[-1], self.features), jnp.float32
        )
        bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
        unit = kernel * jax.lax.rsqrt(jnp.sum(jnp.square(kernel), axis=1, keepdims=True) + 1e-24)
        return jnp.matmul(x, unit) + bias[None]


def _activation(name: str) -> Any:
    return {"relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid}.get(name, lambda x: x)


def _dense(activation: str, size: int, name: str) -> nn.Dense:
    init = nn.initializers.he_normal() if activation == "relu" else nn.initializers.lecun_normal()
    return nn.Dense(size, kernel_init=init, name=name)
