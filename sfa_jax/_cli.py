"""What the commands share: log lines on the screen, errors without a stack trace, the compilation cache."""

import contextlib
import errno
import io
import itertools
import logging
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import absl.logging

from sfa_jax._errors import InputError
from sfa_jax._folders import is_utf8


def run(main: Callable[[], None]) -> None:
    """Runs a command and ends it with its exit status.

    0 at the end, also where SIGTERM asked for it; 130 after Ctrl-C, so that a shell does not go on to the next
    command; 1 and one line for a user's error.
    """
    try:
        _run(main)
    except KeyboardInterrupt:  # before or after the part of a command that stops in order
        print("stopped by SIGINT", file=sys.stderr)
        sys.exit(130)


def _run(main: Callable[[], None]) -> None:
    from sfa_jax.data import ReaderError, StalledError
    from sfa_jax.training import DivergedError, PeerError, Stopped

    _make_printable()
    _log_to_screen()
    sys.unraisablehook = _show_unraisable
    try:
        _use_compilation_cache()
        main()
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(130 if stopped.signal_name == "SIGINT" else 0)
    except StalledError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        os._exit(1)  # a thread waits in the file system, and an orderly end would wait for it
    except (InputError, DivergedError, PeerError, ReaderError) as error:
        _fail(str(error))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            _fail_full(error)
        where = f"{error.filename}: " if error.filename else ""
        _fail(f"{where}{error.strerror or error}; what was written before is whole")
    except MemoryError as error:
        _fail(f"not enough memory: {error}; lower data.image_size, the number of frames or data.batch_size")
    except Exception as error:
        if not _says_full(error):  # tensorstore wraps the system's error in one of its own
            raise
        _fail_full(error)


def show(text: str) -> None:
    """Prints; where nothing can be printed (a closed pipe, a full disk), says so and goes on."""
    try:
        print(text, flush=True)
    except OSError as error:
        logging.getLogger("sfa_jax").warning("cannot print what follows the run: %s", error.strerror or error)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left in its buffer goes there


def _make_printable() -> None:
    """Shows characters that the terminal's encoding lacks, or that a path has and no encoding, as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def parse_flags(argv: list[str]) -> list[str]:
    """Parses the flags as absl does, but answers a wrong one with a line instead of a stack trace."""
    from absl import flags

    _check_config_file(argv)
    try:
        rest = flags.FLAGS(argv)
        _ = flags.FLAGS.config.name  # a config file that failed to load says so only now
        return rest
    except (AttributeError, KeyError) as error:  # how ml_collections says that a field is unknown
        if "ml_collections" not in Path(traceback.extract_tb(error.__traceback__)[-1].filename).parts:
            raise  # a mistake in the config file, to which the stack trace leads
        said = str(error.args[0] if error.args else error).replace("\\n", " ").replace("\n", " ").replace("\\'", "'")
        unknown, _, hint = said.strip("'\"").partition("' ")
        flag = next((word for word in argv[1:] if unknown in word.split("=")[0].split(".")), "--config")
        _fail(f"{flag}: the config has no field {unknown!r}. {hint}")
    except (flags.Error, OSError, ValueError, TypeError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        _fail(f"{lines[0]} {lines[-1] if len(lines) > 1 else ''}".strip())
    raise AssertionError("not reached")


def _check_config_file(argv: list[str]) -> None:
    """Ends the command where --config names no file; ml_collections would say that much later and less clearly."""
    for word, after in itertools.pairwise([*argv, ""]):
        name, _, value = word.lstrip("-").partition("=")
        if word.startswith("-") and name == "config":
            path = Path((value or after).split(":")[0])
            if not path.is_file():
                recipes = Path(argv[0]).resolve().parent / "configs"
                _fail(f"--config={path}: no such file in {Path.cwd()}; expected a config, such as {recipes / 'sfa.py'}")


def refuse_arguments(words: list[str]) -> None:
    """Ends a command that was given words where it takes flags only."""
    if words:
        hint = f"; did you mean --{words[0]}?" if "=" in words[0] else ""
        _fail(f"unexpected argument {words[0]!r}: expected flags, which start with --{hint}")


def _fail_full(error: Exception) -> None:
    _fail(
        f"the disk is full: {error}. What was written before is whole; free some space and run again, for training "
        "with the same --workdir to go on from the last checkpoint"
    )


def _show_unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
    """As Python does, but for the threads of a writer that met a full disk: what they met is told in `_fail_full`."""
    if not (isinstance(unraisable.exc_value, RuntimeError) and str(unraisable.exc_value) == "Event loop is closed"):
        sys.__unraisablehook__(unraisable)


def _says_full(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if "No space left on device" in str(error) or "RESOURCE_EXHAUSTED: Error writing" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _fail(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.stderr.flush()
    sys.exit(1)


class _ScreenHandler(logging.Handler):
    """Writes above a progress bar, if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        with contextlib.suppress(OSError):  # a terminal that was closed, or a full disk, is no reason to end a run
            tqdm.write(self.format(record), file=sys.stderr)


def _log_to_screen() -> None:
    # Orbax tells of every save, and prints the stack of an error in its threads, which it then raises here too.
    absl.logging.set_verbosity(absl.logging.FATAL)
    logger = logging.getLogger("sfa_jax")
    if not logger.handlers:
        handler = _ScreenHandler()
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


def _use_compilation_cache() -> None:
    """Compiled programs are kept between runs, unless the user has set a place for them."""
    import jax

    from sfa_jax.data import cache_root

    if jax.config.values["jax_compilation_cache_dir"] is None:
        folder = cache_root() / "compiled"
        if not is_utf8(folder):
            logging.getLogger("sfa_jax").info("compiled programs are not kept: the name of %s is not UTF-8", folder)
            return
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
