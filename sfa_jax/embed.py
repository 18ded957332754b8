"""Applies a finished run to new video: `python -m sfa_jax.embed WORKDIR INPUT OUTPUT.npz`.

OUTPUT.npz holds, like the run's own `embeddings.npz`, `y [frames, dim]` (slow codes in order of slowness, of an image
autoencoder the codes as they are), `run_id`, `frame_index`, and `truth/<name>` where INPUT knows it.
"""

import argparse
import logging
import zipfile
from pathlib import Path

import numpy as np

from sfa_jax import _cli
from sfa_jax._errors import InputError
from sfa_jax._folders import as_path


def embed(workdir: str | Path, path: str, output: str | Path, *, best: bool = False) -> None:
    """Writes the slow code of a video.

    The video is read as the run's own was: image size, stride and colour come from its config.

    Args:
      workdir: of a run of `train.py`.
      path: whatever `--config.data.path` takes.
      output: the `.npz` file to write.
      best: the checkpoint of the lowest held-out loss instead of the latest.

    Raises:
      InputError: the run, the video or the output cannot be used.
    """
    from sfa_jax.training import load_runs, restore_run, write_embeddings

    workdir, output = as_path(workdir, "WORKDIR"), as_path(output, "OUTPUT")
    if output.suffix != ".npz":
        raise InputError(f"OUTPUT: expected a name that ends in .npz, got {output}")
    if output.is_dir():
        raise InputError(f"OUTPUT: expected a file to write, got the folder {output}")
    if output.exists() and not _holds_codes(output):
        raise InputError(f"OUTPUT: {output} exists and was not written by this command; move it away or choose another")
    if not output.parent.is_dir():
        raise InputError(f"OUTPUT: the folder {output.parent} does not exist; make it first")
    model, config = restore_run(workdir, best=best)
    height, width, channels = model.frame_shape
    config.data.greyscale = config.data.greyscale or channels == 1
    runs = load_runs(config.data, path=path, image_size=(height, width))
    for run in runs:
        if run.frames.shape[1:] != model.frame_shape:
            raise InputError(
                f"{run.name}: frames of {run.frames.shape[1:]} (height, width, channel), but {workdir} was trained on "
                f"{model.frame_shape}"
            )
    code = [model(run.frames) for run in runs]
    write_embeddings(output, code, runs)
    log = logging.getLogger("sfa_jax")
    log.info("%d frames of %d runs: %s", sum(map(len, runs)), len(runs), output)
    lost = sum(int((~np.isfinite(y).all(axis=1)).sum()) for y in code)
    if lost:
        log.warning(
            "the code of %d frames is infinite or not a number: the network ran away on frames unlike its own", lost
        )


def _holds_codes(path: Path) -> bool:
    """Whether a file is one that may be written over: not the frames themselves, nor anything else of the user's."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {"y", "run_id", "frame_index"} <= set(arrays.files)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return False


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m sfa_jax.embed", description="Applies a finished run to new video.")
    parser.add_argument("workdir", metavar="WORKDIR", help="of a run of train.py")
    parser.add_argument("input", metavar="INPUT", help="a folder of frames, video files, an .npy or .npz file, or room")
    parser.add_argument("output", metavar="OUTPUT.npz", help="the file to write")
    parser.add_argument(
        "--best", action="store_true", help="the checkpoint of the lowest held-out loss, not the latest"
    )
    arguments = parser.parse_args()
    _cli.run(lambda: embed(arguments.workdir, arguments.input, arguments.output, best=arguments.best))


if __name__ == "__main__":
    main()
