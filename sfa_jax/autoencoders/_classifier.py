"""A classifier on the codes of an autoencoder: what few labels are for."""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import optax

from sfa_jax.autoencoders._autoencoder import Autoencoder, Variables


@dataclasses.dataclass(frozen=True)
class Classifier:
    """Images to classes, by the encoder of an autoencoder and one layer; holds sizes only.

    p(class given x) = softmax(W (f(x) - m) / s + b)

    f are the codes, Gaussian ones by their means; m and s, `mean` and `scale [code_size]`, are constants.

    Attributes:
      autoencoder: whose encoder f is.
      n_classes: at least 2.

    Raises:
      ValueError: there are fewer classes.
    """

    autoencoder: Autoencoder
    n_classes: int

    def __post_init__(self) -> None:
        if self.n_classes < 2:
            raise ValueError(f"n_classes: expected at least 2, got {self.n_classes}")

    def init(self, key: jax.Array, frame_shape: Sequence[int]) -> Variables:
        """`{"params": {"encoder", "head"}, "batch_stats": {"mean", "scale"}}`, the head 0: every class is as likely.

        Args:
          key: random key.
          frame_shape: `(height, width, channel)` of the images.

        Raises:
          ValueError: as `Autoencoder.init`.
        """
        encoder = self.autoencoder.init(key, frame_shape)["params"]["encoder"]
        size = self.autoencoder.code_size
        head = {"kernel": jnp.zeros((size, self.n_classes)), "bias": jnp.zeros(self.n_classes)}
        return {
            "params": {"encoder": encoder, "head": head},
            "batch_stats": {"mean": jnp.zeros(size), "scale": jnp.ones(size)},
        }

    def encode(self, variables: Variables, images: jax.Array) -> jax.Array:
        """The codes `[n, code_size]` of images `[n, height, width, channel]`, uint8 or in [0, 1]."""
        return jnp.asarray(self.autoencoder.posterior(variables["params"], images).mean)

    def logits(self, variables: Variables, images: jax.Array) -> jax.Array:
        """Logarithms of the classes' probabilities, but for a constant, `[n, n_classes]`."""
        statistics, head = variables["batch_stats"], variables["params"]["head"]
        z = (self.encode(variables, images) - statistics["mean"][None]) / statistics["scale"][None]
        return z @ head["kernel"] + head["bias"][None]

    def loss(self, variables: Variables, images: jax.Array, labels: jax.Array) -> jax.Array:
        """- log p(label given x) `[n]`, in nats.

        Args:
          variables: from `init`.
          images: `[n, height, width, channel]`, uint8 or in [0, 1].
          labels: int `[n]`, from 0 to n_classes - 1 (their values are not checked).

        Raises:
          ValueError: the labels are no whole numbers, one an image.
        """
        if labels.shape != (len(images),) or not jnp.issubdtype(labels.dtype, jnp.integer):
            raise ValueError(f"labels: expected int [{len(images)}], got {labels.dtype} {list(labels.shape)}")
        return optax.softmax_cross_entropy_with_integer_labels(self.logits(variables, images), labels)
