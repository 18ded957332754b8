"""A start from plane waves: decoding begins as a sum of waves, encoding as the least squares fit of an image by them.

A network that starts at random takes thousands of steps to find what is known of natural images beforehand: most of
their power is in few low frequencies. So the matrices begin as `finola.plane_waves`, the linear part of the decoder
draws the waves inside each cell, and the encoder, beside its network, has a linear map from pixels to the code.

Which waves, and in which colours: those of the lowest frequencies, or those fitted to images.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from sfa_jax import finola

# A periodic image would have its left edge continue its right one: the period is longer.
_PERIOD = 1.08
# Share of the code's squared length that the waves of an average image have. The rest keeps the length as it is, which
# sets the speed of the waves.
_SHARE = 0.0005
_DEVIATION = 0.25  # root mean square of an average image about grey, in its range
_RIDGE = 1e-4  # large weights of nearly equal waves would change the length of the code
_LUMA_AND_CHROMA = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])
_WAVE_PARTS = ("generator", "gain", "projection", "pool", "linear_kernel")
_POWER = (1.0, 0.1, 0.05)  # of luma and the two chroma directions in photographs
_SLOWEST = 0.02  # radians a cell: of no turn at all, the imaginary part would draw nothing
_FIT_STEPS, _FIT_IMAGES, _FIT_RATE = 80, 512, 0.01
_matmul = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)  # least squares of nearly equal waves


class Waves(NamedTuple):
    """The waves that a code is made of.

    Attributes:
      angles: radians a cell along x and along y, `[n_waves, 2]`.
      colours: what a unit of each adds to a pixel, `[n_waves, channel]`.
    """

    angles: jax.Array
    colours: jax.Array


class Layout(NamedTuple):
    """Sizes that the waves are drawn in.

    Attributes:
      gains: of the paths; at gain s, a path has the waves of about 1 / s the angle.
      grid: rows and columns of the map.
      frame_shape: `(height, width, channel)` of the images.
    """

    gains: tuple[float, ...]
    grid: tuple[int, int]
    frame_shape: tuple[int, int, int]

    @property
    def factor(self) -> int:
        """Pixels a cell, along each side."""
        return self.frame_shape[0] // self.grid[0]


def layout(n_paths: int, grid: tuple[int, int], frame_shape: tuple[int, ...]) -> Layout:
    """Paths differ by their gains, so that each has waves of its own: the more of them, the wider they are spaced."""
    height, width, channel = frame_shape
    return Layout(tuple(np.geomspace(1, n_paths**0.35, n_paths)), grid, (height, width, channel))


def lattice(n_waves: int, sizes: Layout) -> Waves:
    """The waves of the lowest frequencies.

    Raises:
      ValueError: images have neither 1 nor 3 channels.
    """
    image_channels = sizes.frame_shape[2]
    if image_channels not in (1, 3):
        raise ValueError(f"start: expected images of 1 or 3 channels to start from waves, got {image_channels}")
    colours = _LUMA_AND_CHROMA if image_channels == 3 else np.ones((1, 1))
    rows, columns = (_PERIOD * side / sizes.gains[-1] for side in sizes.grid)
    angles, colour = finola.lowest_waves(n_waves, (columns, rows), _POWER[: len(colours)])
    angles = np.where(np.all(angles == 0, axis=1, keepdims=True), _SLOWEST, angles)
    return Waves(jnp.asarray(angles, jnp.float32), jnp.asarray(colours[colour], jnp.float32))


def fit_waves(waves: Waves, images: np.ndarray, sizes: Layout, *, seed: int = 0) -> Waves:
    """Waves whose least squares fits of images have the largest PSNR, found by gradient descent from others.

    The code of an image is the best there is at every step (variable projection), so that only the angles and the
    colours are learned: few numbers, which do not overfit.

    Args:
      waves: to start from.
      images: `[n, height, width, channel]` uint8.
      sizes: of the map and the images.
      seed: of the order of the images.
    """

    def loss(waves: Waves, x: jax.Array) -> jax.Array:
        atoms = drawn_waves(waves, sizes)
        atoms = atoms / jnp.linalg.norm(atoms, axis=1, keepdims=True)
        gram = _matmul(atoms, atoms.T) + _RIDGE * jnp.eye(len(atoms))
        codes = jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(gram), _matmul(atoms, x.T))
        left = jnp.sum((x - _matmul(codes.T, atoms)) ** 2, axis=1)
        return jnp.mean(jnp.log(left + 1e-4 * x.shape[1]))  # the PSNR, up to a constant and a factor

    optimizer = optax.adam(optax.cosine_decay_schedule(_FIT_RATE, _FIT_STEPS))

    @jax.jit
    def step(waves: Waves, state: Any, part: jax.Array) -> tuple[Waves, Any]:
        gradient = jax.grad(loss)(waves, part.reshape(len(part), -1).astype(jnp.float32) / 255 - 0.5)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(waves, updates), state

    state, rng = optimizer.init(waves), np.random.default_rng(seed)
    for _ in range(_FIT_STEPS):
        waves, state = step(waves, state, images[rng.integers(0, len(images), min(_FIT_IMAGES, len(images)))])
    # The loss does not see their lengths, which drift.
    return waves._replace(colours=waves.colours / jnp.linalg.norm(waves.colours, axis=1, keepdims=True))


def drawn_waves(waves: Waves, sizes: Layout) -> jax.Array:
    """What a unit of the real and of the imaginary part of each wave of each path adds to an image.

    Returns:
      `[n_paths * n_waves * 2, height * width * channel]`.
    """
    height, width, _ = sizes.frame_shape
    inside = _inside(sizes)

    def path(gain: float) -> jax.Array:
        # At gain s a step multiplies by 1 + (exp(i angle) - 1) / s.
        along_x, along_y = (
            _powers(1 + (jnp.exp(1j * waves.angles[:, k]) - 1) / gain, side)[:, :, None]
            * jnp.exp(1j * waves.angles[:, k, None, None] * inside[None, None])
            for k, side in ((0, sizes.grid[1]), (1, sizes.grid[0]))
        )
        full = along_y.reshape(-1, height, 1) * along_x.reshape(-1, 1, width)
        return gain * _in_colour(full, waves.colours).reshape(2 * len(full), -1)

    return jnp.concatenate([path(gain) for gain in sizes.gains])


class Start(NamedTuple):
    """Parameters that begin as waves.

    Attributes:
      decoder: the `generator` and the `linear_kernel` of a decoder, and the `gain [n_paths]` of its paths.
      projection: from pixels (about grey) to codes that are normalised afterwards, `kernel [n_pixels, code_size]` and
        `bias [code_size]`.
    """

    decoder: dict[str, Any]
    projection: dict[str, jax.Array]


def wave_start(waves: Waves, channels: int, sizes: Layout, images: np.ndarray | None = None) -> Start:
    """Matrices and linear maps that decode to, and encode as, plane waves.

    Args:
      waves: `(channels - 2) // 2` of them.
      channels: of the code's vectors.
      sizes: of the map and the images.
      images: uint8 `[n, height, width, channel]`, whose waves set the unit of the code; if None, waves of an average
        image are taken to have nothing in common.
    """
    n_paths, n_pixels = len(sizes.gains), int(np.prod(sizes.frame_shape))
    found = finola.plane_waves(np.asarray(waves.angles), channels)
    atoms = np.asarray(jax.jit(drawn_waves, static_argnums=1)(waves, sizes), np.float64)
    gram = atoms @ atoms.T
    size = np.trace(gram) / len(gram)
    fit = np.linalg.solve(gram + _RIDGE * size * np.eye(len(gram)), atoms).T  # pixels -> weights of the waves
    # The code's unit: waves of an average image have `_SHARE` of the squared length of all paths.
    if images is None:
        energy = _DEVIATION**2 * n_pixels / size
    else:  # nearly equal waves of several paths have weights much larger than that
        some = images[:: -(-len(images) // _FIT_IMAGES)].reshape(-1, n_pixels) / 255 - 0.5
        energy = np.mean(np.sum((some @ fit) ** 2, axis=1))
    unit = np.sqrt(energy / (_SHARE * n_paths * channels))
    # Before it is normalised it may have any length: the weights of the waves are of order 1, as a network's are.
    spread = np.einsum("pmw,cw->pmc", fit.reshape(-1, n_paths, found.basis.shape[1]) / unit, found.basis) / _SHARE**0.5
    rest = np.sqrt(channels * (1 - _SHARE) / _SHARE) * found.rest
    inside, angles = np.asarray(_inside(sizes)), np.asarray(waves.angles)
    cell = np.exp(1j * (angles[:, 0, None, None] * inside + angles[:, 1, None, None] * inside[:, None]))
    drawn = np.asarray(_in_colour(jnp.asarray(cell, jnp.complex64), waves.colours)).reshape(2 * len(cell), -1)
    right, down, left, up = (found.params.a, found.params.b, found.params.a_minus, found.params.b_minus)
    return Start(
        decoder={
            "generator": {"a": right, "b": down, "a_minus": left, "b_minus": up},
            "linear_kernel": jnp.asarray(found.basis @ drawn * unit, jnp.float32),
            "gain": jnp.asarray(sizes.gains, jnp.float32),
        },
        projection={
            "kernel": jnp.asarray(spread.reshape(len(fit), -1), jnp.float32),
            "bias": jnp.asarray(np.tile(rest, n_paths), jnp.float32),
        },
    )


def is_wave_part(path: tuple[Any, ...]) -> bool:
    """Whether a parameter, by its path in the tree, is one of those that `wave_start` sets."""
    return any(getattr(key, "key", None) in _WAVE_PARTS for key in path)


def _inside(sizes: Layout) -> jax.Array:
    """Places of a cell's pixels along one side, in cells, 0 in its middle."""
    return jnp.asarray((np.arange(sizes.factor) - (sizes.factor - 1) / 2) / sizes.factor, jnp.float32)


def _in_colour(wave: jax.Array, colours: jax.Array) -> jax.Array:
    """Real and imaginary part of waves `[n, rows, columns]` in their colours, `[2 n, rows, columns, channel]`."""
    both = jnp.stack([wave.real, -wave.imag], axis=1)[..., None] * colours[:, None, None, None]
    return both.reshape(-1, *both.shape[2:])


def _powers(turn: jax.Array, length: int) -> jax.Array:
    """Turns to each of `length` cells from the middle one, `[n_waves, length]`; backwards they turn back."""
    steps = np.arange(length) - length // 2
    ahead = jnp.cumprod(jnp.concatenate([jnp.ones_like(turn)[:, None], jnp.repeat(turn[:, None], length, 1)], 1), 1)
    return jnp.where(steps >= 0, ahead[:, np.abs(steps)], jnp.conj(ahead)[:, np.abs(steps)])
