"""What lambda does to a sparse code, and beta to a Gaussian one.

    python examples/autoencoder_sweeps.py lambda [--seeds 0 1 2] [--pool max] [--workdir runs/sweeps]
    python examples/autoencoder_sweeps.py beta

lambda: `configs/csae.py` at several lambda; active units against PSNR, live units, the linear probe. beta:
`configs/autoencoder.py:variational` at several beta; reconstruction against KL, and the units that are active. Prints a
table and draws `lambda.png` or `beta.png` in the workdir. Runs that are finished are not trained again. About a minute
and a half a run on 2 CPU cores. The digits need the extra `digits`.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from configs import autoencoder, csae
from sfa_jax.training import train_and_evaluate

LAMBDAS = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)
BETAS = (0.1, 0.3, 1.0, 3.0, 10.0)
COLUMNS = {
    "lambda": {
        "PSNR, dB": "psnr",
        "live": "live_units",
        "active of live": "active_share_of_live",
        "probe, 10 a class": "probe/10_a_class",
        "hole, dB": "restored/random_erase/psnr",
        "2x, dB": "restored/downsample/psnr",
    },
    "beta": {
        "reconstruction, nats": "held_out/reconstruction",
        "KL, nats": "held_out/kl",
        "ELBO, nats": "elbo",
        "active units": "active_units",
        "PSNR, dB": "psnr",
    },
}


def run(which, value, seed, pool, workdir):
    """The summary of one run."""
    config = csae.get_config(pool) if which == "lambda" else autoencoder.get_config("variational")
    config.seed, config.data.digits.fold = seed, 1 + seed % 4  # fold 0 chose the settings
    if which == "lambda":
        config.objective.l1_weight = value
    else:
        config.objective.beta = value
    name = f"{which}-{pool}-{value:g}" if which == "lambda" else f"{which}-{value:g}"
    return train_and_evaluate(config, workdir / f"{name}-seed{seed}")


def draw(which, found, path):
    """One measure against another, a point a value, the mean of the seeds and their range."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    if which == "lambda":
        axes_of = [("active_share_of_live", "psnr"), ("active_share_of_live", "live_units")]
        labels = {
            "active_share_of_live": "share of the live units that is active on an image",
            "psnr": "PSNR of held-out digits, dB",
            "live_units": "live units (active on 1 % of the digits)",
        }
    else:
        axes_of = [("held_out/kl", "held_out/reconstruction"), ("held_out/kl", "active_units")]
        labels = {
            "held_out/kl": "KL, nats a digit",
            "held_out/reconstruction": "- log p(x given z), nats a digit",
            "active_units": "active units",
        }
    figure, axes = plt.subplots(1, 2, figsize=(8.8, 3.8), layout="constrained")
    for axis, (across, up) in zip(axes, axes_of, strict=True):
        x, y = (np.array([[s[name] for s in summaries] for summaries in found.values()]) for name in (across, up))
        axis.plot(x.mean(axis=1), y.mean(axis=1), "o-", color="tab:blue")
        axis.errorbar(
            x.mean(axis=1), y.mean(axis=1), yerr=[y.mean(axis=1) - y.min(axis=1), y.max(axis=1) - y.mean(axis=1)],
            fmt="none", color="tab:blue", capsize=2,
        )  # fmt: skip
        for value, a, b in zip(found, x.mean(axis=1), y.mean(axis=1), strict=True):
            axis.annotate(f"{value:g}", (a, b), textcoords="offset points", xytext=(6, -11), fontsize=8)
        axis.set(xlabel=labels[across], ylabel=labels[up])
        axis.spines[["top", "right"]].set_visible(False)
        axis.margins(x=0.12, y=0.1)
        if up.endswith("units"):
            axis.set_ylim(0, 1.1 * y.max())
    title = {
        "lambda": "Convolutional sparse autoencoder; beside each point its lambda",
        "beta": "Variational autoencoder; beside each point its beta",
    }
    figure.suptitle(title[which])
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("which", choices=("lambda", "beta"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--values", type=float, nargs="+", help="other values of lambda or beta")
    parser.add_argument("--pool", choices=("average", "max", "l2"), default="average", help="with lambda")
    parser.add_argument("--workdir", type=Path, default=Path("runs/sweeps"))
    args = parser.parse_args()
    values = args.values or {"lambda": LAMBDAS, "beta": BETAS}[args.which]
    found = {value: [run(args.which, value, seed, args.pool, args.workdir) for seed in args.seeds] for value in values}
    columns = COLUMNS[args.which]
    print(f"{args.which:>7s}  " + "  ".join(columns))
    for value, summaries in found.items():
        means = [np.mean([summary[measure] for summary in summaries]) for measure in columns.values()]
        print(f"{value:7g}  " + "  ".join(f"{mean:{len(name)}.3f}" for name, mean in zip(columns, means, strict=True)))
    draw(args.which, found, args.workdir / f"{args.which}.png")
    print(f"drawn: {args.workdir / f'{args.which}.png'}")


if __name__ == "__main__":
    main()
