"""Shows or clears the cache of decoded frames: `python -m sfa_jax.data [--clear] [--cache-dir DIR]`."""

import argparse
import shutil
from collections.abc import Sequence

from sfa_jax._errors import InputError
from sfa_jax.data._cache import cache_root, find_entries, find_leftovers, size_text
from sfa_jax.data._record_index import FOLDER as INDEXES


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints where the cache is and what it holds, after removing what killed processes left behind."""
    parser = argparse.ArgumentParser(prog="python -m sfa_jax.data", description="The cache of decoded frames.")
    parser.add_argument(
        "--clear", action="store_true", help="remove all entries (frames are decoded again when needed)"
    )
    parser.add_argument("--cache-dir", help="by default $SFA_JAX_CACHE, $XDG_CACHE_HOME/sfa_jax or ~/.cache/sfa_jax")
    options = parser.parse_args(arguments)
    try:
        root = cache_root(options.cache_dir)
    except InputError as error:
        parser.error(str(error))
    print(f"cache: {root}")
    leftovers = find_leftovers(root)
    for path in leftovers:
        shutil.rmtree(path, ignore_errors=True)
    if leftovers:
        print(f"removed {len(leftovers)} unfinished entries that killed processes left")
    entries = find_entries(root)
    for entry in entries:
        if options.clear:
            shutil.rmtree(entry.path, ignore_errors=True)
        else:
            height, width, channels = entry.shape[1:]
            shape = f"{entry.shape[0]} frames of {height}x{width}x{channels}"
            print(f"  {size_text(entry.n_bytes):>12}  {shape}, {len(entry.runs)} run(s)  {entry.name}")
    indexes = [path.stat().st_size for path in (root / INDEXES).glob("*") if path.is_file()]
    if options.clear:
        shutil.rmtree(root / INDEXES, ignore_errors=True)
    elif indexes:
        print(f"  {size_text(sum(indexes)):>12}  where the frames of {len(indexes)} split(s) of sets are")
    done, n_bytes = "removed" if options.clear else "total", sum(entry.n_bytes for entry in entries) + sum(indexes)
    print(f"{done}: {len(entries)} entries, {size_text(n_bytes)}")


if __name__ == "__main__":
    main()
