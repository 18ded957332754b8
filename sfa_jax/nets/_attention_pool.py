"""Attention pooling: a feature map as a few vectors, each from the places its query looks at."""

import flax.linen as nn
import jax
import jax.numpy as jnp


class AttentionPool(nn.Module):
    """Learned queries attend to the cells of a feature map.

    q_m = W_o concat_h( sum_p softmax_p(query_mh . (W_k x_p + e_p)) (W_v x_p) )

    e_p is a learned vector of each place, so that a query can look for places as well as for contents.

    Attributes:
      n_queries: M, how many vectors.
      features: size of each.
      heads: how many places each query can look at by itself; each gives `features // heads` numbers, at least 1.

    References:
      Chen et al., arXiv 2310.12976, section 3 (attentional pooling of the encoder's map); M queries for its paths.
    """

    n_queries: int
    features: int
    heads: int = 8

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Pools maps.

        Args:
          x: `[n, height, width, channels]`.

        Returns:
          `[n, n_queries, features]`.
        """
        n, height, width, channels = x.shape
        size = max(1, self.features // self.heads)
        init = nn.initializers.lecun_normal()
        cells = x.reshape(n, height * width, channels)
        place = self.param("place", nn.initializers.normal(0.02), (height * width, self.heads, size))
        query = self.param("query", nn.initializers.normal(1.0), (self.n_queries, self.heads, size))
        keys = jnp.einsum("npc,chd->nphd", cells, self.param("key", init, (channels, self.heads, size))) + place[None]
        values = jnp.einsum("npc,chd->nphd", cells, self.param("value", init, (channels, self.heads, size)))
        looks = jax.nn.softmax(jnp.einsum("mhd,nphd->nmhp", query, keys) / jnp.sqrt(size).astype(x.dtype), axis=-1)
        seen = jnp.einsum("nmhp,nphd->nmhd", looks, values).reshape(n, self.n_queries, -1)
        kernel = self.param("output", init, (self.heads * size, self.features))
        return jnp.matmul(seen, kernel) + self.param("bias", nn.initializers.zeros, (self.features,))
