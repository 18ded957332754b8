"""A start from plane waves: decoding begins as a sum of waves, encoding as the least squares fit of an image by them.

A network that starts at random takes thousands of steps to find what is known of natural images beforehand: most of
their power is in few low frequencies. So the matrices begin as `finola.plane_waves`, the linear part of the decoder
draws the waves inside each cell, and the encoder, beside its network, has a linear map from pixels to the code.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

from sfa_jax import finola

# A periodic image would have its left edge continue its right one: the period is longer.
_PERIOD = 1.1
# Share of the code's squared length that the waves of an average image have. The rest keeps the length as it is, which
# sets the speed of the waves.
_SHARE = 0.04
_DEVIATION = 0.25  # root mean square of an average image about grey, in its range
_RIDGE = 1e-3
_LUMA_AND_CHROMA = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])
_WAVE_PARTS = ("generator", "gain", "projection", "pool", "linear_kernel")
_POWER = (1.0, 0.15, 0.09)  # of luma and the two chroma directions in photographs


def wave_start(
    params: dict[str, Any], n_paths: int, channels: int, grid: tuple[int, int], frame_shape: tuple[int, ...]
) -> dict[str, Any]:
    """Parameters of a `FinolaAutoencoder` with its generator, gains, linear decoder and projection at their start.

    Paths differ by their gains, so that each has waves of its own: at gain s, those of about 1 / s the angle. The more
    of them, the wider the waves are spaced.

    Args:
      params: from the network's random initialisation.
      n_paths, channels: of the code.
      grid: rows and columns of the map.
      frame_shape: `(height, width, channel)` of the images.
    """
    height, width, image_channels = frame_shape
    factor = height // grid[0]
    colours = _LUMA_AND_CHROMA if image_channels == 3 else np.ones((1, 1))
    gains = np.geomspace(1, n_paths**0.35, n_paths)
    spacing = n_paths**0.35
    period = tuple(_PERIOD * side / spacing for side in reversed(grid))
    angles, colour = finola.lowest_waves((channels - 2) // 2, period, _POWER[: len(colours)])
    waves = finola.plane_waves(angles, channels)
    inside = (np.arange(factor) - (factor - 1) / 2) / factor  # places of a cell's pixels, in cells

    def drawn(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """exp(i angle . place), `[n_waves, rows, columns]`."""
        return np.exp(1j * (angles[:, 0, None, None] * columns + angles[:, 1, None, None] * rows[:, None]))

    def in_colour(wave: np.ndarray) -> np.ndarray:
        """Real and imaginary part of waves `[n, rows, columns]` in their colours, `[2 n, rows, columns, channel]`."""
        both = np.stack([wave.real, -wave.imag], axis=1)[..., None] * colours[colour][:, None, None, None]
        return both.reshape(-1, *both.shape[2:])

    def path(gain: float) -> np.ndarray:
        """What a unit of each wave of a path adds to the image, `[2 n_waves, height width channel]`."""
        turn = 1 + (np.exp(1j * angles) - 1) / gain
        along_y, along_x = (_powers(turn[:, k], n) for k, n in ((1, grid[0]), (0, grid[1])))
        cells = along_y[:, :, None, None, None] * along_x[:, None, None, :, None]
        full = cells * drawn(inside, inside)[:, None, :, None, :]
        return gain * in_colour(full.reshape(len(angles), height, width)).reshape(2 * len(angles), -1)

    atoms = np.concatenate([path(gain) for gain in gains])
    gram = atoms @ atoms.T
    size = np.trace(gram) / len(gram)
    fit = np.linalg.solve(gram + _RIDGE * size * np.eye(len(gram)), atoms).T  # pixels -> weights of the waves
    # The code's unit: waves of an average image have `_SHARE` of the squared length of all paths.
    power = _DEVIATION**2 * height * width * image_channels / size
    unit = np.sqrt(power / (_SHARE * n_paths * channels))
    spread = np.einsum("pmw,cw->pmc", fit.reshape(-1, n_paths, waves.basis.shape[1]) / unit, waves.basis)
    rest = np.sqrt(channels * (1 - _SHARE)) * waves.rest
    linear = np.einsum("wp,cw->cp", in_colour(drawn(inside, inside)).reshape(waves.basis.shape[1], -1), waves.basis)
    pool = {
        name: jnp.zeros_like(value) if name in ("kernel", "output") else value for name, value in params["pool"].items()
    }
    decoder = params["decoder"] | {"linear_kernel": jnp.asarray(linear * unit, jnp.float32)}
    found, names = waves.params, params["generator"].keys()
    return params | {
        "pool": pool,
        "decoder": decoder,
        "gain": jnp.asarray(gains, jnp.float32),
        "generator": {name: getattr(found, name) for name in names},
        "projection": {
            "kernel": jnp.asarray(spread.reshape(len(fit), -1), jnp.float32),
            "bias": jnp.asarray(np.tile(rest, n_paths), jnp.float32),
        },
    }


def _powers(turn: np.ndarray, length: int) -> np.ndarray:
    """Turns to each of `length` cells from the middle one, `[n_waves, length]`; backwards they turn back."""
    steps = np.arange(length) - length // 2
    ahead, back = turn[:, None] ** np.abs(steps), np.conj(turn)[:, None] ** np.abs(steps)
    return np.where(steps >= 0, ahead, back)


def is_wave_part(path: tuple[Any, ...]) -> bool:
    """Whether a parameter, by its path in the tree, is one of those that `wave_start` sets."""
    return any(getattr(key, "key", None) in _WAVE_PARTS for key in path)
