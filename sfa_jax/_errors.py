"""The exceptions for bad input: their message is what the user reads instead of a stack trace."""

import os
import traceback

_PACKAGE = os.path.dirname(os.path.abspath(__file__))


class InputError(ValueError):
    """Something that the user gave cannot be used.

    The message names the argument or the file, what was expected, what came, and what to do. `train.py` and
    `python -m sfa_jax.embed` print it alone and exit with status 1.
    """


class DamagedError(InputError):
    """A frame, or another part of a source, cannot be read.

    Args:
      said: names it and says what is wrong, without what to do.
      repair: what to do.
      n_frames: how many frames are lost; None where nobody knows.
    """

    def __init__(self, said: str, repair: str, n_frames: int | None = 1) -> None:
        super().__init__(said, repair, n_frames)  # as they are, so that it can be sent to another process
        self.said, self.repair, self.n_frames = said, repair, n_frames

    def __str__(self) -> str:
        return f"{self.said}; {self.repair}"


def is_mistake(error: BaseException) -> bool:
    """Tells a mistake in the code or the installation from what a library raises on a damaged file.

    Libraries raise nearly anything on damaged files, `TypeError` among it, but deep inside; a call with a wrong
    argument and a wrong name fail in the package itself.
    """
    if isinstance(error, ImportError):
        return True
    if not isinstance(error, (TypeError, AttributeError, NameError, AssertionError)):
        return False
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and os.path.abspath(frames[-1].filename).startswith(_PACKAGE + os.sep)
