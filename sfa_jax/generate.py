"""Draws images that no image gave, by a finished autoencoder: `python -m sfa_jax.generate WORKDIR`.

Writes into `WORKDIR/generated` (or `--output`): `samples.png` and `samples.npz` (`codes [n, code_size]`, `images` uint8
`[n, height, width, channel]`), drawn from the prior of a variational autoencoder, of others from a Gaussian copula of
the codes of training images; and `interpolations.png` between held-out images of the run's own data.
"""

import argparse
import logging
import os
from pathlib import Path

import numpy as np

from sfa_jax import _cli
from sfa_jax._errors import InputError


def generate(workdir: str | Path, output: str | Path | None = None, *, n: int = 60, seed: int = 0) -> None:
    """Writes pictures and an `.npz` file of sampled images, and interpolations between held-out ones.

    Args:
      workdir: of a run of `train.py` with the job "autoencoder".
      output: the folder to write to; `WORKDIR/generated` if None.
      n: images to draw, at least 1.
      seed: of what is drawn, at least 0.

    Raises:
      InputError: there is no such run, or an argument is out of its range.
    """
    from sfa_jax.training import AutoencoderModel, load_runs, restore_run

    for name, value, least in (("n", n, 1), ("seed", seed, 0)):
        if value < least:
            raise InputError(f"--{name}: expected at least {least}, got {value}")
    model, config = restore_run(workdir)
    if not isinstance(model, AutoencoderModel):
        raise InputError(f"{workdir}: expected a run of the job 'autoencoder', got one of {config.job!r}")
    folder = Path(output) if output is not None else Path(workdir) / "generated"
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--output: expected a folder, got the file {folder}")
    folder.mkdir(parents=True, exist_ok=True)
    codes = model.sample(n, seed=seed)
    images = np.round(255 * np.clip(model.decode(codes), 0, 1)).astype(np.uint8)
    temporary = folder / "samples.tmp.npz"
    np.savez(temporary, codes=codes, images=images)
    os.replace(temporary, folder / "samples.npz")
    runs = load_runs(config.data)
    held_out = [run.frames for run in runs if run.held_out] or [run.frames[-max(2, len(run) // 5) :] for run in runs]
    model.plot_generated(folder, np.concatenate(held_out), n=n, seed=seed)
    logging.getLogger("sfa_jax").info("%d images, and interpolations between held-out ones: %s", n, folder)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m sfa_jax.generate", description=str(__doc__).splitlines()[0])
    parser.add_argument("workdir", metavar="WORKDIR", help="of a run of train.py with configs/autoencoder.py")
    parser.add_argument("--output", help="the folder to write to; by default WORKDIR/generated")
    parser.add_argument("--n", type=int, default=60, help="images to draw")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    _cli.run(lambda: generate(arguments.workdir, arguments.output, n=arguments.n, seed=arguments.seed))


if __name__ == "__main__":
    main()
