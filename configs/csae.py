"""A convolutional sparse autoencoder: convolutions, pooling, a fully connected sparse code, and back.

L = |x - f(g(x))|^2 + lambda |z|_1, with dropout on z. Masci et al., ICANN 2011; Olshausen & Field, Nature 1996.
README.md lists which function computes which equation.

    python train.py --config=configs/csae.py                    on five thousand digits
    python train.py --config=configs/csae.py:max                or :l2, instead of average pooling
    python train.py --config=configs/csae.py --config.objective.l1_weight=0
    python train.py --config=configs/csae.py:smoke              seconds; shows that everything runs, nothing else

Held-out digits of folds 1, 2 and 3 (fold 0 chose the settings): 21.3 dB from 59 active numbers of 512 (as many
principal components 20.9); holes of 10x10 pixels filled at 24.8 dB (mean digit 19.2), twice the size at 21.4 dB
(bicubic 20.0); ten labels a class, a linear probe: 79.9 % (pixels 71.8, PCA 72.9, the network untrained 81.9). One
minute on 2 CPU cores (AMD EPYC).
The digits need the extra `digits`: pip install -e '.[digits]'.
"""

from ml_collections import ConfigDict

from configs import autoencoder, sfa

ARGUMENTS = ("max", "average", "l2", "smoke")


def get_config(arg: str = "") -> ConfigDict:
    """The config; `arg` is a comma-separated list of `ARGUMENTS`."""
    chosen = sfa.words(arg, ARGUMENTS, either=("average", "max", "l2"))
    config = autoencoder.get_config("smoke" if "smoke" in chosen else "")
    config.name = "csae"
    config.network.body = "convolutional"
    config.network.channels = (16, 32)
    config.network.hidden = ()
    config.network.pool = "average"
    config.network.code = "sparse"
    config.network.code_size = 512
    config.network.dropout = 0.1
    config.objective.l1_weight = 0.3
    config.corruption.names = ("none", "random_erase", "downsample")  # it learns to fill holes and to sharpen, too
    config.train.learning_rate = 2e-3
    for pool in ("max", "l2"):
        if pool in chosen:
            config.network.pool = pool
    if "smoke" in chosen:
        config.network.channels = (4, 8)
        config.network.code_size = 32
        config.objective.l1_weight = 0.01  # the few steps would end in a dead code
    else:
        config.train.steps = 2000
        config.train.steps_per_dispatch = 20
    return config
