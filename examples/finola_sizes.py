"""PSNR against the size of FINOLA's code: more channels, more paths.

    python examples/finola_sizes.py [--seeds 0 1 2] [--workdir runs/finola_sizes]

`configs/finola.py` on crops of 32x32 pixels, at C = 32, 64, 128 with one path and at M = 1, 2, 4 paths of C = 32;
beside it PCA and the cosine transform of as many numbers. Prints a table and draws `psnr.png` in the workdir. Runs that
are finished are not trained again. About 1 minute a run on 2 CPU cores.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from configs import finola
from sfa_jax.training import train_and_evaluate

CHANNELS, PATHS = (32, 64, 128), (1, 2, 4)
SIZES = list(dict.fromkeys([*((1, c) for c in CHANNELS), *((m, CHANNELS[0]) for m in PATHS)]))
ROWS = {"FINOLA": "psnr", "PCA": "baseline/pca/psnr", "DCT": "baseline/dct/psnr"}


def run(n_paths, channels, seed, workdir):
    """The summary of one run."""
    config = finola.get_config()
    config.seed = seed
    config.data.image_size = 32
    config.network.n_paths, config.network.channels = n_paths, channels
    config.network.map_size = 8
    config.evaluation.plots = False
    config.evaluation.baselines = ("pca", "dct")
    return train_and_evaluate(config, workdir / f"m{n_paths}-c{channels}-seed{seed}")


def draw(found, path):
    """PSNR against C (left) and against M (right), the mean of the seeds and their range."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(8.4, 3.6), sharey=True, layout="constrained")
    for axis, sizes, label in (
        (axes[0], [(1, c) for c in CHANNELS], "channels C, one path"),
        (axes[1], [(m, CHANNELS[0]) for m in PATHS], f"paths M of C = {CHANNELS[0]}"),
    ):
        x = [c if label.startswith("channels") else m for m, c in sizes]
        for name, measure in ROWS.items():
            values = np.array([[summary[measure] for summary in found[size]] for size in sizes])
            axis.plot(x, values.mean(axis=1), "o-", label=name)
            axis.fill_between(x, values.min(axis=1), values.max(axis=1), alpha=0.2)
        axis.set_xscale("log", base=2)
        axis.set_xticks(x, [str(value) for value in x])
        axis.set_xlabel(label)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("PSNR of held-out images, dB")
    axes[0].legend(frameon=False)
    figure.suptitle("32x32 crops of three held-out photographs; equal numbers for all")
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--workdir", type=Path, default=Path("runs/finola_sizes"))
    args = parser.parse_args()
    found = {size: [run(*size, seed, args.workdir) for seed in args.seeds] for size in SIZES}
    print("  M    C  numbers  " + "  ".join(f"{name:>6s}" for name in ROWS))
    for (n_paths, channels), summaries in found.items():
        means = [np.mean([summary[measure] for summary in summaries]) for measure in ROWS.values()]
        print(f"{n_paths:3d}  {channels:3d}  {n_paths * channels:7d}  " + "  ".join(f"{mean:6.2f}" for mean in means))
    draw(found, args.workdir / "psnr.png")
    print(f"drawn: {args.workdir / 'psnr.png'}")


if __name__ == "__main__":
    main()
