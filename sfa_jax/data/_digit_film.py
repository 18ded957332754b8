"""A film of handwritten digits that come and go: its parts are known, and few of them are there at a time."""

import numpy as np

from sfa_jax._errors import InputError
from sfa_jax.data._cache import available_memory, size_text
from sfa_jax.data._checks import check_number, check_whole
from sfa_jax.data._digits import digits
from sfa_jax.data._runs import Run

_CLASSES = 10


def digit_film(
    *,
    image_size: int | tuple[int, int] = 28,
    n_frames: int = 1000,
    n_digits: int = 10,
    period: float = 60.0,
    share: float = 0.2,
    seed: int = 0,
) -> list[Run]:
    """Sums of digits of MNIST whose weights change slowly, each 0 most of the time.

    x_t = sum_k w_k(t) digit_k / max over t of the brightest pixel of the sum
    w_k(t) = max(0, g_k(t) - theta_k),  g_k a smooth random function that is above theta_k for a share of the time

    Args:
      image_size: as of `digits`.
      n_frames: at least 2.
      n_digits: at least 1, classes in turn, drawn from those that `digits` trains on.
      period: frames, above 0: how long a smooth function takes to come round on average, about.
      share: of the frames a digit is in, in (0, 1).
      seed: of the digits and their weights, at least 0.

    Returns:
      One run of one channel; `truth["weight_K"]` the weight of digit K, as a share of its full brightness.

    Raises:
      InputError: an option is out of its range, the package is not installed, or the film does not fit in memory.

    References:
      Neuromatch Academy, NeuroAI, "Sparsity and sparse coding", exercise 4 (a film of digits of MNIST).

    Example:
      >>> (film,) = digit_film(n_frames=50, n_digits=3)
      >>> film.frames.shape, sorted(film.truth)
      ((50, 28, 28, 1), ['weight_0', 'weight_1', 'weight_2'])
    """
    check_whole("digit_film.n_frames", n_frames, 2)
    check_whole("digit_film.n_digits", n_digits, 1)
    check_number("digit_film.period", period, "(0, inf)", "in frames")
    check_number("digit_film.share", share, "(0, 1)", "of the frames that a digit is in")
    check_whole("digit_film.seed", seed, 0)
    images = digits(image_size=image_size)[0]
    labels, pictures = images.truth["label"], images.frames[..., 0] / np.float32(255)
    rng = np.random.default_rng(seed)
    chosen = [rng.choice(np.flatnonzero(labels == k % _CLASSES)) for k in range(n_digits)]
    needed = 5 * n_frames * pictures[0].size  # float32, and bytes
    if needed > (free := available_memory()):
        raise InputError(
            f"digit_film.n_frames: {n_frames} frames need {size_text(needed)} of memory, and {size_text(free)} are "
            "free; lower n_frames or image_size"
        )
    smooth = _smooth(rng, n_frames, n_digits, period)
    weights = np.maximum(0, smooth - np.quantile(smooth, 1 - share, axis=0)).astype(np.float32)
    frames = np.tensordot(weights, pictures[chosen], axes=1)
    brightest = frames.max()
    if not brightest > 0:
        raise InputError(
            f"digit_film.period: over {n_frames} frames no weight changes; lower the period of {period:g} frames, or "
            "give more frames"
        )
    frames, weights = np.rint(frames * (255 / brightest)).astype(np.uint8)[..., None], weights / brightest
    truth = {f"weight_{k}": weights[:, k] for k in range(n_digits)}
    return [Run(frames, "film of digits", np.arange(n_frames, dtype=np.int64), truth)]


def _smooth(rng: np.random.Generator, n_frames: int, n: int, period: float) -> np.ndarray:
    """Gaussian noise `[n_frames, n]` that cross 0 twice a period on average."""
    f = np.fft.rfftfreq(n_frames)[:, None] * period
    spectrum = rng.standard_normal((2, len(f), n)) * np.exp(-0.25 * f**2)
    return np.fft.irfft(spectrum[0] + 1j * spectrum[1], n=n_frames, axis=0)
