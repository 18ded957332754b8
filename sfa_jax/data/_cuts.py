"""Hard cuts in a stream of thumbnails, found with constant memory.

Two frames are compared by the smallest root-mean-square difference over all translations that leave a third of the
picture in common (a fifth, at a price, for a level or upright pan), so that camera motion is no change. A cut at frame
t is a change that

1. is large: no frame just before t resembles any frame just after it (a flash comes back to where it was);
2. stands out: it is well above the changes around it (noise, shaking and fast turning change all the time); and
3. is no change of brightness: the frames before and after are not copies up to gain and offset.

Slow fades are not cut: each of their steps is small.
"""

import collections
import functools

import numpy as np

from sfa_jax.data._source import THUMBNAIL_SIZE

_FLASH = 4  # frames on each side that must all differ: a disturbance shorter than this is no cut
_NEAR = 4  # neighbouring changes that a cut must exceed, each of them
_FAR = 24  # neighbouring changes on each side, of which all but _OTHER_CUTS must be exceeded
_OTHER_CUTS = 3
_LEAST_CONTEXT = 3  # with fewer changes to compare with, nothing can be told
# All in grey levels of 255 or as ratios; tuned on real shots, their 2- to 8-fold speed-ups, photo pans and room walks.
_STILL = 8.0  # below this, the plain difference is as good as the one over translations
_LEAST_CHANGE = 24.0
_ABOVE_NEAR = 1.35
_ABOVE_CALM_SIDE = 2.0  # the calmer of the two sides
_ABOVE_FAR = 1.5
_SAME_UP_TO_LIGHT = 0.85  # correlation; different shots stay below 0.7, the same shot in another light above 0.9

_PADDED = 2 * THUMBNAIL_SIZE  # shifts do not wrap around
_LEAST_OVERLAP = 1 / 3
_PAN_SHIFT, _PAN_DRIFT = 26, 2  # pixels along and across a fast level or upright pan
_PAN_PRICE = 1.5  # a smaller overlap agrees more easily by chance: its difference counts more, by this power


class _Frame:
    """A thumbnail, its change from the frame before it, and, when they are needed, its spectra."""

    def __init__(self, number: int, thumbnail: np.ndarray, before: "_Frame | None") -> None:
        self.number = number
        self.pixels = np.ascontiguousarray(np.moveaxis(thumbnail, -1, 0), dtype=np.float32)
        self.change = 0.0 if before is None else _change(before, self)

    @functools.cached_property
    def spectrum(self) -> np.ndarray:
        return _spectrum(self.pixels)

    @functools.cached_property
    def energy_spectrum(self) -> np.ndarray:
        return _spectrum((self.pixels**2).sum(0))


class CutFinder:
    """Takes thumbnails in order and says at which frame numbers a new shot begins."""

    def __init__(self) -> None:
        self._window: collections.deque[_Frame] = collections.deque(maxlen=2 * _FAR + 1)
        self._undecided = 0  # place in the window of the next frame to decide on
        self._cuts: list[int] = []

    def update(self, thumbnail: np.ndarray, number: int) -> None:
        """Takes the next thumbnail, uint8 `[THUMBNAIL_SIZE, THUMBNAIL_SIZE, 3]`, of frame `number`."""
        frame = _Frame(number, thumbnail, self._window[-1] if self._window else None)
        if len(self._window) == self._window.maxlen:
            self._undecided -= 1
        self._window.append(frame)
        if len(self._window) - self._undecided > _FAR:
            self._decide()

    def finish(self) -> list[int]:
        """The numbers of the first frames of new shots, ascending."""
        while self._undecided < len(self._window):
            self._decide()
        return self._cuts

    def _decide(self) -> None:
        place, frames = self._undecided, self._window
        self._undecided += 1
        change = frames[place].change
        if place == 0 or change < _LEAST_CHANGE:
            return
        # The first frame of the window has no change, or one that lies too far back.
        before = [frames[index].change for index in range(place - 1, 0, -1)]
        after = [frames[index].change for index in range(place + 1, len(frames))]
        if not _stands_out(change, before, after):
            return
        old = [frames[index] for index in range(max(0, place - _FLASH), place)]
        new = [frames[index] for index in range(place, min(len(frames), place + _FLASH))]
        if min(_difference(a, b) for a in old for b in new) < _LEAST_CHANGE:
            return
        if _correlation(old[-1].pixels, new[0].pixels) < _SAME_UP_TO_LIGHT:
            self._cuts.append(frames[place].number)


def _stands_out(change: float, before: list[float], after: list[float]) -> bool:
    near_before = max(before[:_NEAR], default=None)
    near_after = max(after[:_NEAR], default=None)
    sides = [side for side in (near_before, near_after) if side is not None]
    around = sorted(before + after, reverse=True)
    if len(around) < _LEAST_CONTEXT or change < _ABOVE_NEAR * max(sides) or change < _ABOVE_CALM_SIDE * min(sides):
        return False
    return len(around) <= _OTHER_CUTS or change >= _ABOVE_FAR * around[_OTHER_CUTS]


def _change(a: _Frame, b: _Frame) -> float:
    plain = float(np.sqrt(np.mean((a.pixels - b.pixels) ** 2)))
    return plain if plain < _STILL else _difference(a, b)


def _difference(a: _Frame, b: _Frame) -> float:
    """The least root-mean-square difference over translations: sum (a - b)^2 = sum a^2 + sum b^2 - 2 sum a b."""
    window_spectrum, allowed, weight = _translations()
    cross = (np.conj(a.spectrum) * b.spectrum).sum(0)
    energy = np.conj(a.energy_spectrum) * window_spectrum + np.conj(window_spectrum) * b.energy_spectrum
    squares = np.fft.irfft2(energy - 2 * cross, (_PADDED, _PADDED))
    return float(np.sqrt(max(0.0, (squares[allowed] * weight).min())))


@functools.cache
def _translations() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The spectrum that counts pixels in common, which translations are allowed, and the weight of their sums."""
    spectrum = _spectrum(np.ones((THUMBNAIL_SIZE, THUMBNAIL_SIZE), np.float32))
    overlap = np.fft.irfft2(np.abs(spectrum) ** 2, (_PADDED, _PADDED))
    wide = overlap >= _LEAST_OVERLAP * THUMBNAIL_SIZE**2
    shift = np.abs(np.fft.fftfreq(_PADDED, 1 / _PADDED))
    along, across = shift <= _PAN_SHIFT, shift <= _PAN_DRIFT
    allowed = wide | np.outer(along, across) | np.outer(across, along)
    price = np.maximum(1, _LEAST_OVERLAP * THUMBNAIL_SIZE**2 / overlap[allowed]) ** _PAN_PRICE
    return spectrum, allowed, price**2 / (3 * overlap[allowed])


def _spectrum(pixels: np.ndarray) -> np.ndarray:
    return np.fft.rfft2(pixels, (_PADDED, _PADDED))


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation of two thumbnails about each channel's mean, the best of small shifts of the camera."""
    best, side = -1.0, THUMBNAIL_SIZE
    for y in range(-2, 3):
        for x in range(-2, 3):
            moved_a = a[:, max(0, y) : side + min(0, y), max(0, x) : side + min(0, x)]
            moved_b = b[:, max(0, -y) : side + min(0, -y), max(0, -x) : side + min(0, -x)]
            centred_a = moved_a - moved_a.mean((1, 2), keepdims=True)
            centred_b = moved_b - moved_b.mean((1, 2), keepdims=True)
            scale = float(np.sqrt((centred_a**2).sum() * (centred_b**2).sum()))
            if scale > 0:
                best = max(best, float((centred_a * centred_b).sum()) / scale)
    return best
