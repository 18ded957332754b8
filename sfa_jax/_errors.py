"""The one exception for bad input: its message is what the user reads instead of a stack trace."""


class InputError(ValueError):
    """Something that the user gave cannot be used.

    The message names the argument or the file, what was expected, what came, and what to do. `train.py` and
    `python -m sfa_jax.embed` print it alone and exit with status 1.
    """
