"""How much an atom is like a simple cell: the Gabor function that is nearest to it."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from sfa_jax.sparse._checks import Size, check_precision, pair
from sfa_jax.sparse._products import matmul

_STEPS = 60  # of Levenberg and Marquardt
_START_SIGMAS = 0.1, 0.18  # shares of the smaller side
_SPECTRUM = 32  # samples a side of an atom's spectrum, at least
_N_PARAMS = 6


class Gabor(NamedTuple):
    """Gabor functions, an array `[...]` each; lengths in pixels, angles in radians.

    amplitude exp(-(u / sigma_along)^2 / 2 - (v / sigma_across)^2 / 2) cos(2 pi frequency u + phase)
    u = (x - centre_x) cos(angle) + (y - centre_y) sin(angle)
    v = -(x - centre_x) sin(angle) + (y - centre_y) cos(angle)

    Attributes:
      centre_x, centre_y: from the middle of the first pixel, x to the right, y down.
      angle: of the wave vector, in [0, pi): 0 is a grating of upright bars.
      frequency: cycles a pixel, at least 0.
      sigma_along, sigma_across: of the envelope, along the wave vector and across it.
      phase: at the centre, in [-pi, pi]: 0 is even, with a bright bar in the middle, and +-pi/2 odd, an edge.
      amplitude: at least 0, in units of the atom.
      r2: share of the atom's power that the function holds, 1 - |atom - function|^2 / |atom|^2.
    """

    centre_x: jax.Array
    centre_y: jax.Array
    angle: jax.Array
    frequency: jax.Array
    sigma_along: jax.Array
    sigma_across: jax.Array
    phase: jax.Array
    amplitude: jax.Array
    r2: jax.Array

    @property
    def n_periods(self) -> jax.Array:
        """Of the wave within the envelope, two sigmas to each side."""
        return 4 * self.sigma_along * self.frequency

    @property
    def odd_share(self) -> jax.Array:
        """The odd part's share of the function's power: 0 of a bar or a blob, 1 of an edge.

        sin^2(phase) (1 - e) / (sin^2(phase) (1 - e) + cos^2(phase) (1 + e)),  e = exp(-(2 pi frequency sigma_along)^2)
        """
        e = jnp.exp(-((2 * math.pi * self.frequency * self.sigma_along) ** 2))
        odd, even = jnp.sin(self.phase) ** 2 * (1 - e), jnp.cos(self.phase) ** 2 * (1 + e)
        return odd / jnp.maximum(odd + even, jnp.finfo(jnp.float32).tiny)

    @property
    def orientation_bandwidth(self) -> jax.Array:
        """Full width at half height of the tuning to orientation, in radians; pi where it answers to all.

        Of gratings of the function's own frequency along its wave vector; what answers at another one is left out.
        """
        return 2 * jnp.arctan2(math.sqrt(2 * math.log(2)), 2 * math.pi * self.sigma_across * self.frequency)

    @property
    def frequency_bandwidth(self) -> jax.Array:
        """Width at half height of the tuning to frequency, in octaves; inf of what passes frequency 0: a low-pass."""
        half = math.sqrt(2 * math.log(2)) / (2 * math.pi * self.sigma_along)
        lower = self.frequency - half
        return jnp.where(lower > 0, jnp.log2((self.frequency + half) / jnp.where(lower > 0, lower, 1)), jnp.inf)


def draw_gabor(gabor: Gabor, size: Size) -> jax.Array:
    """Gabor functions as images.

    Args:
      gabor: arrays `[...]`.
      size: side, or `(height, width)`, in pixels.

    Returns:
      `[..., height, width]`.

    Raises:
      ValueError: the arrays are not of one shape (or numbers).

    References:
      Daugman, J. Opt. Soc. Am. A 1985.

    >>> draw_gabor(Gabor(1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 2.0, 1.0), 3)[1, 1].item()
    2.0
    """
    height, width = pair(size)
    _check_fields(gabor)
    parts = [jnp.asarray(part)[..., None, None] for part in gabor]
    envelope, turn = _envelope_and_turn(_Shape(*parts[:6]), height, width)
    return parts[7] * envelope * jnp.cos(turn + parts[6])


def fit_gabor(atoms: ArrayLike) -> Gabor:
    """The Gabor function nearest to each atom, least squares.

    min over centre, angle, frequency, both sigmas, phase and amplitude of |atom - function|^2

    Phase and amplitude are linear (of a cosine and a sine) and solved for in each step; the others move by Levenberg
    and Marquardt from four starts: two peaks of the spectrum, each with two sizes, about the middle of the power.
    Sigmas stay between a third of a pixel and the longer side of the patch, frequencies below that of the finest
    grating, and the centre within a side of the middle: it may lie outside the patch.

    Args:
      atoms: `[n, height, width]`, float32 or float64, at least 4 pixels a side; the mean belongs to the atom.

    Returns:
      `Gabor` of arrays `[n]`; r2 is nan where the atom is 0 or not finite.

    Raises:
      TypeError: the atoms are not float32 or float64.
      ValueError: the shape is another.

    References:
      Jones & Palmer, J. Neurophysiology 1987; Ringach, J. Neurophysiology 2002 (sigma times frequency); Golub &
      Pereyra, SIAM J. Num. Anal. 1973 (variable projection).

    >>> cell = Gabor(5.0, 6.0, 0.5, 0.2, 2.0, 2.5, 1.0, 1.0, 1.0)
    >>> found = jax.jit(fit_gabor)(draw_gabor(cell, 12)[None])
    >>> [round(value.item(), 3) for value in (found.angle[0], found.frequency[0], found.sigma_across[0], found.r2[0])]
    [0.5, 0.2, 2.5, 1.0]
    """
    x = jnp.asarray(atoms)
    check_precision("atoms", x)
    if x.ndim != 3 or min(x.shape[1:]) < 4:
        raise ValueError(f"atoms: expected shape [n, height, width], at least 4 pixels a side, got {x.shape}")
    return jax.vmap(_fit_one)(x)


def is_simple_cell_like(gabor: Gabor, size: Size, *, r2: float = 0.7, largest_sigma: float = 0.25) -> jax.Array:
    """Whether atoms are localised and oriented: fitted well, by a small envelope with a wave or an edge in it.

    r2 and both sigmas within the limits, the centre in the patch, and at least one period within two sigmas to each
    side of it or an odd phase: `odd_share` at least a half. (Of a low frequency the sine of the phase tells nothing.)

    Args:
      gabor: from `fit_gabor`.
      size: side, or `(height, width)`, of the patch in pixels.
      r2: at least.
      largest_sigma: as a share of the smaller side of the patch.

    Returns:
      bool, of the shape of the arrays in `gabor`.

    Raises:
      ValueError: as `draw_gabor`.

    >>> cell = Gabor(5.0, 6.0, 0.5, 0.2, 2.0, 2.5, 1.0, 1.0, 1.0)
    >>> bool(is_simple_cell_like(cell, 12)), bool(is_simple_cell_like(cell._replace(frequency=0.0, phase=0.0), 12))
    (True, False)
    """
    height, width = pair(size)
    _check_fields(gabor)
    most = largest_sigma * min(height, width)
    across, down = (jnp.asarray(part) for part in (gabor.centre_x, gabor.centre_y))
    inside = (across >= -0.5) & (across <= width - 0.5) & (down >= -0.5) & (down <= height - 0.5)
    small = (jnp.asarray(gabor.sigma_along) <= most) & (jnp.asarray(gabor.sigma_across) <= most)
    return small & inside & (jnp.asarray(gabor.r2) >= r2) & ((gabor.n_periods >= 1) | (gabor.odd_share >= 0.5))


def _check_fields(gabor: Gabor) -> None:
    shapes = {jnp.shape(part) for part in gabor} - {()}
    if len(shapes) > 1:
        raise ValueError(f"gabor: expected arrays of one shape, or numbers, got {sorted(shapes)}")


class _Shape(NamedTuple):
    centre_x: jax.Array
    centre_y: jax.Array
    angle: jax.Array
    frequency: jax.Array
    sigma_along: jax.Array
    sigma_across: jax.Array


def _envelope_and_turn(shape: _Shape, height: int, width: int) -> tuple[jax.Array, jax.Array]:
    """Envelope and phase from the centre on, of each pixel."""
    dtype = shape.angle.dtype
    y, x = jnp.meshgrid(jnp.arange(height, dtype=dtype), jnp.arange(width, dtype=dtype), indexing="ij")
    y, x = (jnp.broadcast_to(part, (*jnp.shape(shape.angle)[:-2], height, width)) for part in (y, x))
    across, down = x - shape.centre_x, y - shape.centre_y
    cos, sin = jnp.cos(shape.angle), jnp.sin(shape.angle)
    u, v = across * cos + down * sin, down * cos - across * sin
    envelope = jnp.exp(-0.5 * (u / shape.sigma_along) ** 2 - 0.5 * (v / shape.sigma_across) ** 2)
    return envelope, 2 * math.pi * shape.frequency * u


def _fit_one(atom: jax.Array) -> Gabor:
    (height, width), dtype = atom.shape, atom.dtype
    largest_value = jnp.max(jnp.abs(atom))
    told = jnp.isfinite(largest_value) & (largest_value > 0)
    scaled = jnp.where(told, atom / jnp.where(told, largest_value, 1), 0)  # squares of it neither overflow nor vanish
    unit = jnp.sqrt(jnp.sum(jnp.square(scaled)))
    norm = unit * largest_value
    target = scaled / jnp.where(told, unit, 1)
    largest = float(max(height, width))

    def shape_of(p: jax.Array) -> _Shape:
        """From six unbounded numbers: the centre within a patch of the middle, the rest within its bounds."""
        middle = (width - 1) / 2, (height - 1) / 2
        sigmas = [_between(p[k], 1 / 3, largest) for k in (4, 5)]
        wave = jnp.sqrt(p[2] ** 2 + p[3] ** 2 + 1e-12)
        frequency = 0.5 * math.sqrt(2) * jnp.tanh(wave)
        return _Shape(
            middle[0] + width * jnp.tanh(p[0]),
            middle[1] + height * jnp.tanh(p[1]),
            jnp.arctan2(p[3], p[2] + jnp.where(wave < 1e-5, 1e-5, 0)),
            frequency,
            *sigmas,
        )

    def best(p: jax.Array) -> tuple[jax.Array, jax.Array]:
        """What is left of the atom, and the weights of cosine and sine."""
        shape = _Shape(*(part[None, None] for part in shape_of(p)))
        envelope, turn = _envelope_and_turn(shape, height, width)
        basis = jnp.stack([envelope * jnp.cos(turn), envelope * jnp.sin(turn)]).reshape(2, -1)
        gram = matmul(basis, basis.T)
        ridge = 1e-6 * (gram[0, 0] + gram[1, 1]) + jnp.finfo(dtype).tiny
        a, b, d = gram[0, 0] + ridge, gram[0, 1], gram[1, 1] + ridge
        right = matmul(basis, target.reshape(-1))
        weights = jnp.stack([d * right[0] - b * right[1], a * right[1] - b * right[0]]) / (a * d - b * b)
        return target.reshape(-1) - matmul(weights, basis), weights

    def cost(p: jax.Array) -> jax.Array:
        return jnp.sum(jnp.square(best(p)[0]))

    def step(_: jax.Array, state: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        p, damping, now = state
        rest, jacobian = best(p)[0], jax.jacfwd(lambda p: best(p)[0])(p)
        normal = matmul(jacobian.T, jacobian)
        scaled = normal + damping * (jnp.diag(jnp.diagonal(normal)) + 1e-6 * jnp.eye(_N_PARAMS, dtype=dtype))
        trial = p - jnp.clip(jnp.linalg.solve(scaled, matmul(jacobian.T, rest)), -0.5, 0.5)
        there = cost(trial)
        better = there < now
        return jnp.where(better, trial, p), damping * jnp.where(better, 0.3, 5.0), jnp.where(better, there, now)

    starts = _starts(target)
    begin = starts, jnp.full(len(starts), 1e-2, dtype), jax.vmap(cost)(starts)
    p, _, costs = jax.vmap(lambda *state: jax.lax.fori_loop(0, _STEPS, step, state))(*begin)
    costs = jnp.where(jnp.isfinite(costs), costs, jnp.inf)
    p = p[jnp.argmin(costs)]
    rest, (cosine, sine) = best(p)
    shape, phase = shape_of(p), jnp.arctan2(-sine, cosine)
    angle = jnp.mod(shape.angle, math.pi)
    turned = (shape.angle < 0) | (shape.angle >= math.pi)  # the same function, its wave vector the other way
    return Gabor(
        centre_x=shape.centre_x,
        centre_y=shape.centre_y,
        angle=jnp.where(angle < jnp.asarray(math.pi, dtype), angle, 0),
        frequency=shape.frequency,
        sigma_along=shape.sigma_along,
        sigma_across=shape.sigma_across,
        phase=jnp.where(turned, -phase, phase),
        amplitude=jnp.hypot(cosine, sine) * jnp.where(told, norm, jnp.nan),
        r2=jnp.where(told, 1 - jnp.sum(jnp.square(rest)), jnp.nan),
    )


def _starts(target: jax.Array) -> jax.Array:
    """Numbers to start from `[n_starts, 6]`: peaks of the spectrum, sizes of envelopes, the middle of the power."""
    (height, width), dtype = target.shape, target.dtype
    n = max(_SPECTRUM, 2 * max(height, width))
    power = jnp.square(target)
    total = jnp.maximum(jnp.sum(power), jnp.finfo(dtype).tiny)
    middle_x = jnp.sum(power * jnp.arange(width, dtype=dtype)[None]) / total
    middle_y = jnp.sum(power * jnp.arange(height, dtype=dtype)[:, None]) / total
    centre = [
        jnp.arctanh((middle_x - (width - 1) / 2) / width),
        jnp.arctanh((middle_y - (height - 1) / 2) / height),
    ]
    spectrum = jnp.abs(jnp.fft.rfft2(target, s=(n, n)))
    f_y, f_x = np.meshgrid(np.fft.fftfreq(n), np.fft.rfftfreq(n), indexing="ij")
    starts = []
    taken = jnp.zeros(spectrum.shape, bool)
    for _ in range(2):  # the highest peak, and the highest away from it
        peak = jnp.argmax(jnp.where(taken, -1, spectrum))
        wave_x, wave_y = jnp.asarray(f_x, dtype).reshape(-1)[peak], jnp.asarray(f_y, dtype).reshape(-1)[peak]
        taken = taken | (
            jnp.hypot(jnp.asarray(f_x, dtype) - wave_x, jnp.asarray(f_y, dtype) - wave_y) < 1 / max(height, width)
        )
        length = jnp.maximum(jnp.hypot(wave_x, wave_y), 0.02)
        stretch = jnp.arctanh(jnp.minimum(length / (0.5 * math.sqrt(2)), 0.98)) / length
        for sigma in _START_SIGMAS:
            bounds = 1 / 3, float(max(height, width))
            size = jnp.asarray(_inverse_between(sigma * min(height, width), *bounds), dtype)
            starts.append(jnp.stack([*centre, wave_x * stretch, wave_y * stretch, size, size]))
    return jnp.stack(starts)


def _between(p: jax.Array, low: float, high: float) -> jax.Array:
    """A positive number between bounds, even in its logarithm."""
    return low * jnp.exp(math.log(high / low) * jax.nn.sigmoid(p))


def _inverse_between(value: float, low: float, high: float) -> float:
    share = math.log(value / low) / math.log(high / low)
    return math.log(share / (1 - share))
