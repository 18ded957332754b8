"""Draw pictures one by one, after everything else is written. Matplotlib is imported here, and only to draw.

Figures are made without pyplot, which would open the window system that the user's settings name, or change the backend
of the notebook that calls.
"""

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

_log = logging.getLogger("sfa_jax")


class Picture(NamedTuple):
    """A picture that is still to be drawn.

    Attributes:
      name: of its file.
      draw: writes it into a folder, which it makes if needed.
    """

    name: str
    draw: Callable[[Path], Any]


def as_picture(name: str, make: Callable[["Figures"], Any]) -> Picture:
    """Names a figure that is still to be made, and then saved under that name."""

    def draw(folder: Path) -> None:
        plt, save, _ = open_folder(folder)
        save(make(plt), name)

    return Picture(name, draw)


def draw_pictures(folder: Path, pictures: Sequence[Picture], poll: Callable[[], None] = lambda: None) -> None:
    """Draws pictures one by one, with matplotlib's own settings; each that fails is left out with a warning.

    Args:
      folder: where to; made if it is not there.
      pictures: what to draw.
      poll: called before each, where it may raise to end the drawing.
    """
    for picture in pictures:
        poll()
        try:
            with import_matplotlib().rc_context():
                import_matplotlib().rcdefaults()  # a matplotlibrc may ask for LaTeX, or fonts that are not there
                picture.draw(folder)
        except Exception as error:  # the run is measured and saved: no picture is worth its end, whatever the reason
            said = " ".join(str(error).split())
            _log.warning("%s is left out: %s: %s", folder / picture.name, type(error).__name__, said[:300])
            _log.debug("%s", picture.name, exc_info=True)


def import_matplotlib() -> Any:
    """Imports matplotlib, also where `MPLBACKEND` names a backend that it does not know."""
    first, backend = "matplotlib" not in sys.modules, os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib
    finally:
        if backend is not None:
            os.environ["MPLBACKEND"] = backend
    if first and backend:
        with contextlib.suppress(ValueError):
            matplotlib.rcParams["backend"] = backend  # for the pyplot of the program that calls
    return matplotlib


class Figures:
    """Makes figures as pyplot does, with neither its window system nor its list of open figures."""

    @staticmethod
    def figure(**options: Any) -> Any:
        from matplotlib.figure import Figure

        return Figure(**options)

    @staticmethod
    def subplots(rows: int = 1, columns: int = 1, *, figsize: Any, layout: str, **options: Any) -> tuple[Any, Any]:
        figure = Figures.figure(figsize=figsize, layout=layout)
        return figure, figure.subplots(rows, columns, **options)


def open_folder(folder: Path) -> tuple[Figures, Callable[[Any, str], None], list[Path]]:
    """Makers of figures, a function that saves a figure in the folder under a name, and the files it has written."""
    import_matplotlib()
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []

    def save(figure: Any, name: str) -> None:
        temporary = folder / f".tmp-{name}"
        figure.savefig(temporary, dpi=110)
        os.replace(temporary, folder / name)  # whole or not at all
        written.append(folder / name)

    return Figures(), save, written
