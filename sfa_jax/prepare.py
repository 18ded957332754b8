"""Writes any source as a sharded set of TFDS: `python -m sfa_jax.prepare SOURCE OUT [--image_size=64 ...]`.

A long video is decoded once and can be read at any place ever after, also by several machines:

    python -m sfa_jax.prepare walk.mp4 sets/walk --image_size=64
    python train.py --config=configs/sfa.py --config.data.path=sets/walk

Killed, it goes on where it was when it is run again. OUT is read by TensorFlow Datasets as well
(`tfds.builder_from_directory(OUT)`): an example is a frame, with its `run_id` and `frame_index`.
"""

import argparse
import ast
import math
from typing import Any

from sfa_jax import _cli
from sfa_jax._errors import InputError


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m sfa_jax.prepare", description="Writes any source of frames as a sharded set of TFDS."
    )
    parser.add_argument("source", metavar="SOURCE", nargs="+", help="what --config.data.path takes, or several")
    parser.add_argument("out", metavar="OUT", help="the folder to write")
    parser.add_argument("--image_size", default="64", help="pixels a side, height,width, or 0 for the source's own")
    parser.add_argument("--stride", type=int, default=1, help="keep every so many frames")
    parser.add_argument("--greyscale", action="store_true", help="one channel")
    parser.add_argument("--keep_cuts", action="store_true", help="hard cuts end no run")
    parser.add_argument("--on_corrupt", default="skip", help="or raise: stop at the first frame that cannot be read")
    parser.add_argument("--shard_mb", type=float, default=128.0, help="megabytes of frames in a shard")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME.OPTION=VALUE",
        help="an option of room, photo_pan, photographs, digits, digit_film or tfds, such as room.n_frames=100000",
    )
    arguments = parser.parse_args()
    _cli.run(lambda: _prepare(arguments))


def _prepare(arguments: argparse.Namespace) -> None:
    from sfa_jax.data import prepare

    grouped: dict[str, dict[str, Any]] = {}
    for given in arguments.set:
        name, equals, value = given.partition("=")
        group, dot, option = name.partition(".")
        if not equals or not dot:
            raise InputError(f"--set: expected NAME.OPTION=VALUE, such as room.n_frames=100000, got {given!r}")
        grouped.setdefault(group, {})[option] = _value(value)
    known = ("room", "photo_pan", "photographs", "digits", "digit_film", "tfds")
    for group in grouped:
        if group not in known:
            raise InputError(f"--set: expected an option of one of {', '.join(known)}, got {group!r}")
    if not 0 < arguments.shard_mb < math.inf:
        raise InputError(f"--shard_mb: expected megabytes above 0, got {arguments.shard_mb}")
    source = arguments.source
    prepare(
        source[0] if len(source) == 1 else source,
        arguments.out,
        shard_bytes=max(1, round(arguments.shard_mb * 1e6)),
        image_size=_size(arguments.image_size),
        stride=arguments.stride,
        greyscale=arguments.greyscale,
        split_cuts=not arguments.keep_cuts,
        on_corrupt=arguments.on_corrupt,
        **grouped,
    )


def _size(text: str) -> int | tuple[int, int]:
    try:
        sides = tuple(int(part) for part in text.split(","))
    except ValueError:
        sides = ()
    if len(sides) not in (1, 2):
        raise InputError(f"--image_size: expected pixels such as 64, height,width such as 48,64, or 0, got {text!r}")
    return sides[0] if len(sides) == 1 else (sides[0], sides[1])


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


if __name__ == "__main__":
    main()
