"""Hierarchical slow feature analysis: layers of small receptive fields over an image, each as slow as it can be."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from sfa_jax.slowness._batch import as_whole, check_floating
from sfa_jax.slowness._closed_form import LinearSFA, as_unit_range, solve_jitted, transform_linear
from sfa_jax.slowness._expansion import check_degree, check_expansion, n_monomials, polynomial_expansion
from sfa_jax.slowness._moments import Moments, update_moments
from sfa_jax.slowness._runs import as_image_runs, as_rcond, no_moments, stream


class Layer(NamedTuple):
    """One layer of a hierarchy, as it is asked for.

    Attributes:
      field: side of the square receptive field, in pixels of the layer below; 0 for all of it.
      stride: step from one field to the next.
      n_inputs: slowest linear features of a field that are expanded.
      n_components: slowest features of the expansion, the layer's channels.
      degree: of the expansion.
    """

    field: int
    stride: int
    n_inputs: int
    n_components: int
    degree: int = 2


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SolvedLayer:
    """One layer, solved: the same functions at every position.

    Attributes:
      reduction: linear SFA of the pixels of a field.
      slow: linear SFA of the monomials of the reduced field.
      layer: what was asked for.
    """

    reduction: LinearSFA
    slow: LinearSFA
    layer: Layer = dataclasses.field(metadata={"static": True})


class HierarchicalSFA(NamedTuple):
    """A solved hierarchy: its layers, the first one next to the image."""

    layers: tuple[SolvedLayer, ...]


_CLIP = 4.0  # white outputs beyond are extrapolations, which the next layer would square


def fields(x: jax.Array, size: int, stride: int) -> jax.Array:
    """`[..., height, width, channel]` -> `[..., rows, columns, n_seen]`: the fields that lie within the image."""
    rows, columns = ((n - size) // stride + 1 for n in x.shape[-3:-1])
    shifted = [
        x[..., r : r + (rows - 1) * stride + 1 : stride, c : c + (columns - 1) * stride + 1 : stride, :]
        for r in range(size)
        for c in range(size)
    ]
    return jnp.concatenate(shifted, axis=-1)


def transform_layer(solved: SolvedLayer, x: jax.Array) -> jax.Array:
    """`[..., height, width, channel]` -> `[..., rows, columns, n_components]`."""
    inputs = transform_linear(solved.reduction, _seen(solved.layer, x))
    slow = transform_linear(solved.slow, polynomial_expansion(inputs, solved.layer.degree))
    return jnp.clip(slow, -_CLIP, _CLIP)


def transform_hierarchical(model: HierarchicalSFA, x: ArrayLike) -> jax.Array:
    """`[..., height, width, channel]` -> `[..., n_components]`, or `[..., rows * columns * n_components]`."""
    x = jnp.asarray(x)
    if x.dtype == jnp.uint8:
        x = as_unit_range(x, model.layers[0].reduction)
    check_floating(x.dtype, "x")
    if x.ndim < 3:
        raise ValueError(f"x: expected shape [..., height, width, channel], got {x.shape}")
    frame = x.shape[-3:]
    for number, solved in enumerate(model.layers):
        n_seen = solved.reduction.mean.shape[0]
        height, width, channel = x.shape[-3:]
        field = solved.layer.field
        if field > min(height, width) or n_seen != (field**2 if field else height * width) * channel:
            raise ValueError(
                f"x: expected frames of the size that the model was fitted to, got {frame}: layers[{number}] was "
                f"fitted to {n_seen} values and would see some of {(height, width, channel)}"
            )
        x = transform_layer(solved, x)
    return x.reshape(*x.shape[:-3], -1)


def fit_hierarchical(
    runs: ArrayLike | Sequence[ArrayLike], layers: Sequence[Layer], *, lag: int = 1, rcond: float | None = None
) -> HierarchicalSFA:
    """Fits a hierarchy of slow feature analyses over images, layer by layer, in float64.

    Each layer looks at the one below through square receptive fields. In every field: linear slow feature analysis,
    expansion to monomials, slow feature analysis again, outputs clipped at 4 standard deviations. All positions of a
    layer share one set of functions, found on the frames of all of them. Nothing larger than one chunk of frames is
    held besides the data. A last layer of `field=0` sees everything and gives one vector.

    Args:
      runs: one array or a list, `[time, height, width, channel]`, uint8 (divided by 255) or floating.
      layers: what each layer is, the first one next to the image.
      lag: distance of the two frames of a pair, in frames.
      rcond: as in `solve`, in [0, 1).

    Returns:
      `HierarchicalSFA` of NumPy float64 arrays, to be applied with `transform`.

    Raises:
      ValueError: a field is larger than what it looks at, an option is out of its range, or as `fit`.
      TypeError: as `fit`.

    References:
      Wiskott & Sejnowski, Neural Computation 2002, section 6; Franzius, Sprekeler & Wiskott, PLoS Computational Biology
      2007, "Model architecture and training".
    """
    rcond = as_rcond(rcond)
    arrays = as_image_runs(runs, lag=lag)
    layers = [layers] if isinstance(layers, Layer) else layers
    if not layers:
        raise ValueError("layers: expected at least one Layer, got none")
    shape = tuple(arrays[0].shape[1:])
    solved: tuple[SolvedLayer, ...] = ()
    with jax.enable_x64(True):
        for number, layer in enumerate(layers):
            layer = _checked(layer, f"layers[{number}]", shape)
            found = _fit_layer(arrays, solved, layer, shape, lag, rcond)
            if found.slow.rank == 0:
                raise ValueError(f"runs: what layers[{number}] sees is constant; give input that varies")
            solved = (*solved, found)
            shape = jax.eval_shape(functools.partial(transform_layer, found), jax.ShapeDtypeStruct(shape, float)).shape
        return jax.tree.map(np.asarray, HierarchicalSFA(solved))


def _fit_layer(
    arrays: list[np.ndarray],
    below: tuple[SolvedLayer, ...],
    layer: Layer,
    shape: tuple[int, ...],
    lag: int,
    rcond: float | None,
) -> SolvedLayer:
    seen = jax.eval_shape(functools.partial(_seen, layer), jax.ShapeDtypeStruct(shape, float)).shape
    n_fields, n_seen = seen[0] * seen[1], seen[2]
    n_expanded = n_monomials(layer.n_inputs, layer.degree)

    def moments(n_features: int, reduction: LinearSFA | None) -> Moments:
        """Over all positions: frames of one position follow each other at a distance of `n_fields`."""
        empty = no_moments(n_features, lag=lag * n_fields)
        add = functools.partial(_add_fields, below, layer, reduction)
        return stream(arrays, empty, add, width=n_fields * (n_seen + n_features))

    reduction = solve_jitted(moments(n_seen, None), layer.n_inputs, rcond=rcond)
    slow = solve_jitted(moments(n_expanded, reduction), layer.n_components, rcond=rcond)
    return SolvedLayer(reduction, slow, layer)


@functools.partial(jax.jit, static_argnums=1)
def _add_fields(
    below: tuple[SolvedLayer, ...],
    layer: Layer,
    reduction: LinearSFA | None,
    moments: Moments,
    x: jax.Array,
    *,
    new_run: ArrayLike,
    mask: jax.Array,
) -> Moments:
    seen = _seen(layer, _through(below, x))
    if reduction is not None:
        seen = polynomial_expansion(transform_linear(reduction, seen), layer.degree)
    n_fields = seen.shape[-3] * seen.shape[-2]
    mask = jnp.repeat(mask, n_fields)
    return update_moments(moments, seen.reshape(-1, seen.shape[-1]), new_run=new_run, mask=mask)


def _through(solved: Sequence[SolvedLayer], x: jax.Array) -> jax.Array:
    for layer in solved:
        x = transform_layer(layer, x)
    return x


def _seen(layer: Layer, x: jax.Array) -> jax.Array:
    if layer.field:
        return fields(x, layer.field, layer.stride)
    return x.reshape(*x.shape[:-3], 1, 1, -1)


def _checked(layer: Layer, name: str, shape: tuple[int, ...]) -> Layer:
    """The layer, if it fits what it looks at."""
    layer = Layer(*(as_whole(value, f"{name}.{field}") for field, value in Layer(*layer)._asdict().items()))
    height, width, channel = shape
    check_degree(layer.degree)
    if not 0 <= layer.field <= min(height, width):
        raise ValueError(
            f"{name}.field: expected 0 to {min(height, width)}, the size of what it sees, got {layer.field}"
        )
    if layer.stride < 1:
        raise ValueError(f"{name}.stride: expected at least 1, got {layer.stride}")
    n_seen = layer.field**2 * channel if layer.field else height * width * channel
    if not 1 <= layer.n_inputs <= n_seen:
        raise ValueError(f"{name}.n_inputs: expected 1 to {n_seen}, the values of a field, got {layer.n_inputs}")
    n_expanded = check_expansion(layer.n_inputs, layer.degree)
    if not 1 <= layer.n_components <= n_expanded:
        raise ValueError(
            f"{name}.n_components: expected 1 to {n_expanded}, the monomials of its inputs, got {layer.n_components}"
        )
    return layer
