"""Slow features that can be drawn: `configs/sfa.py`, and FINOLA as a decoder of its code.

The slow network learns from slowness alone; a decoder learns to draw the frame from its output and, if that is not
enough, from a few more numbers that may change as fast as they like. Then one feature after the other is moved and the
frame drawn again. Wiskott & Sejnowski, Neural Computation 2002; Chen et al., "Exploring Invariance in Images through
One-way Wave Equations", arXiv 2310.12976. README.md lists which function computes which equation.

    python train.py --config=configs/sfa_finola.py
    python train.py --config=configs/sfa_finola.py --config.decoder.n_free=16
    python train.py --config=configs/sfa_finola.py:joint     the error of what is drawn shapes the slow network, too
    python train.py --config=configs/sfa_finola.py:smoke     seconds; shows that everything runs, nothing else

Held-out frames drawn from 32 slow features, in one room that chose no setting (`data.room.seed=11`): 18.1 dB (SSIM
0.55), PCA of as many numbers 17.4 dB (0.51); R^2 of x, z, cos(heading), sin(heading) 0.980, 0.967, 0.968, 0.977. 8
minutes on 2 CPU cores (AMD EPYC).
"""

from ml_collections import ConfigDict

from configs import sfa

ARGUMENTS = ("joint", "narrow", "smoke")


def get_config(arg: str = "") -> ConfigDict:
    """The config; `arg` is a comma-separated list of `ARGUMENTS`."""
    chosen = sfa.words(arg, ARGUMENTS)
    config = sfa.get_config("narrow" if "narrow" in chosen else "")
    config.name = "sfa_finola"
    config.job = "slow_autoencoder"
    config.objective.reconstruction_weight = 10.0  # of the mean squared error; the slowness is of the order of 0.1

    config.decoder = ConfigDict()
    config.decoder.n_free = 0  # numbers beside the slow code
    config.decoder.between = 1024  # units of the layer between the codes and the vectors that maps grow from
    config.decoder.detach = True  # the slow network learns from slowness alone
    config.decoder.n_paths = 1  # M
    config.decoder.channels = 256  # C
    config.decoder.map_size = 16  # cells a side
    config.decoder.generator = "finola"  # or "linear", "repeat", "dense"
    config.decoder.order = "average"  # or "x_first", "y_first", "neighbours"
    config.decoder.directions = "separate"  # or "negated", "shared"
    config.decoder.speeds = "free"  # or "real"
    config.decoder.scale = 0.2  # of random matrices
    config.decoder.start = "waves"  # or "random"
    config.decoder.hidden = 48
    config.decoder.blocks = 1
    config.decoder.hidden_pixels = 12
    config.decoder.dense_channels = 64
    config.decoder.rematerialise = False

    config.train.learning_rate = 2e-3
    config.train.wave_learning_rate = 0.01  # of what begins as plane waves, relative to the rest
    config.train.gradient_clip = 0.0  # the two parts have gradients of their own sizes

    if "joint" in chosen:
        config.decoder.detach = False
    if "smoke" in chosen:
        sfa.smoke(config)
        config.decoder.channels = 16
        config.decoder.map_size = 8
        config.decoder.hidden = 8
        config.decoder.hidden_pixels = 4
    return config
