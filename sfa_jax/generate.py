"""Draws what no image gave, by a finished autoencoder: `python -m sfa_jax.generate WORKDIR`.

Writes into `WORKDIR/generated` (or `--output`). Of an autoencoder of images: `samples.png` and `samples.npz` (`codes
[n, code_size]`, `images` uint8 `[n, height, width, channel]`), drawn from the prior of a variational autoencoder, of
others from a Gaussian copula of the codes of training images; and `interpolations.png` between held-out images of the
run's own data. Of a video autoencoder: `clips.png`, `clips.gif` and `clips.npz`, held-out clips and how they go on
after their last frame (`seen` uint8 `[clip, time, height, width, channel]`, `continued`, and `true`, what came in
fact).
"""

import argparse
import logging
from pathlib import Path
from typing import Any

import numpy as np

from sfa_jax import _cli
from sfa_jax._errors import InputError
from sfa_jax._folders import as_path

_IMAGES = 60
_CLIPS = 3  # drawn; of each run's held-out frames as many as fit are written
_HELD_OUT, _MOST_CLIPS = 1000, 512  # held-out images and clips that are read, at most


def generate(workdir: str | Path, output: str | Path | None = None, *, n: int | None = None, seed: int = 0) -> None:
    """Writes pictures and an `.npz` file: sampled images and interpolations, or clips that go on.

    Args:
      workdir: of a run of `train.py` with the job "autoencoder" or "video_autoencoder".
      output: the folder to write to; `WORKDIR/generated` if None.
      n: images to draw, 60 if None; or frames after each clip, those that the run was trained on if None. At least 1.
      seed: of what is drawn, at least 0; a clip goes on in one way.

    Raises:
      InputError: there is no such run, or an argument is out of its range.
    """
    from sfa_jax.training import AutoencoderModel, VideoModel, restore_run

    if n is not None and n < 1:
        raise InputError(f"--n: expected at least 1, got {n}")
    if not 0 <= seed < 2**32:
        raise InputError(f"--seed: expected 0 to 2^32 - 1, got {seed}")
    workdir = as_path(workdir, "WORKDIR")
    folder = workdir / "generated" if output is None else as_path(output, "--output")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--output: expected a folder, got the file {folder}")
    model, config = restore_run(workdir)
    if not isinstance(model, AutoencoderModel | VideoModel):
        raise InputError(
            f"{workdir}: expected a run of the job 'autoencoder' or 'video_autoencoder', got one of {config.job!r}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(model, AutoencoderModel):
        _images(model, config, folder, n or _IMAGES, seed)
    else:
        if not config.objective.n_future:
            raise InputError(f"{workdir}: it was trained with objective.n_future=0 and has not learned how clips go on")
        _clips(model, config, folder, n or config.objective.n_future)


def _images(model: Any, config: Any, folder: Path, n: int, seed: int) -> None:
    from sfa_jax import evaluation
    from sfa_jax.data import evenly_spaced
    from sfa_jax.training import held_out_frames
    from sfa_jax.training._embeddings import write_arrays

    codes = model.sample(n, seed=seed)
    write_arrays(folder / "samples.npz", {"codes": codes, "images": _bytes(model.decode(codes))})
    held_out = evenly_spaced(held_out_frames(config), _HELD_OUT)
    evaluation.draw_pictures(
        folder,
        [
            evaluation.Picture("samples.png", lambda folder: model.plot_samples(folder, n=n, seed=seed)),
            evaluation.Picture("interpolations.png", lambda folder: model.plot_interpolations(folder, held_out)),
        ],
    )
    logging.getLogger("sfa_jax").info("%d images, and interpolations between held-out ones: %s", n, folder)


def _clips(model: Any, config: Any, folder: Path, n: int) -> None:
    from sfa_jax import evaluation
    from sfa_jax.training import held_out_frames
    from sfa_jax.training._embeddings import write_arrays

    n_seen = config.data.clip_length - config.objective.n_future
    length, runs = n_seen + n, held_out_frames(config)
    starts = [(run, start) for run in runs for start in range(0, len(run) - length + 1, length)]
    if not starts:
        raise InputError(
            f"--n: expected at most {max(map(len, runs)) - n_seen}, so that a held-out run of {max(map(len, runs))} "
            f"frames has {n_seen} to be seen and as many to compare with, got {n}"
        )
    every = np.stack([np.asarray(run[i : i + length]) for run, i in starts[:: -(-len(starts) // _MOST_CLIPS)]])
    seen, true = every[:, :n_seen], every[:, n_seen:]
    continued = np.clip(model.go_on(seen, n), 0, 1)
    write_arrays(folder / "clips.npz", {"seen": seen, "continued": _bytes(continued), "true": true})
    shown = np.linspace(0, len(every) - 1, min(_CLIPS, len(every))).astype(int)
    drawn = np.concatenate([np.clip(model.reconstruct(seen[shown]), 0, 1), continued[shown]], axis=1)
    films = every[shown] / np.float32(255), drawn
    evaluation.draw_pictures(
        folder,
        [
            evaluation.Picture("clips.png", lambda folder: evaluation.plot_clips(folder, *films, n_seen)),
            evaluation.Picture("clips.gif", lambda folder: evaluation.plot_film(folder, *films)),
        ],
    )
    logging.getLogger("sfa_jax").info("%d held-out clips, each gone on with for %d frames: %s", len(every), n, folder)


def _bytes(images: np.ndarray) -> np.ndarray:
    """Images in [0, 1] as uint8."""
    return np.round(255 * np.clip(images, 0, 1)).astype(np.uint8)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m sfa_jax.generate", description=str(__doc__).splitlines()[0])
    parser.add_argument(
        "workdir", metavar="WORKDIR", help="of a run of train.py with an autoencoder, of images or video"
    )
    parser.add_argument("--output", help="the folder to write to; by default WORKDIR/generated")
    parser.add_argument("--n", type=int, help="images to draw (60), or frames after each clip (as trained)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    _cli.run(lambda: generate(arguments.workdir, arguments.output, n=arguments.n, seed=arguments.seed))


if __name__ == "__main__":
    main()
