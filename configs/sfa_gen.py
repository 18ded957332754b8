"""Neural SFA as first published (noskill/sfa-gen): its network, its loss, its pairs.

Three convolutions with global average pooling, the recurrent head, Adam; slowness, variance and correlation with
weights 1. 142,912 parameters at 64x64x3. Kept as the reference that `configs/sfa.py` is measured against, not as
advice.

    python train.py --config=configs/sfa_gen.py --config.data.path=frames --config.train.epochs=20
    python train.py --config=configs/sfa_gen.py:smoke

The formula of its README (`objective.sfa.scaling=readme`) sums slowness over dimensions, its code (`author`) averages
it. On three embedded rooms (`data.room.seed` 11, 12, 13; 7,300 steps, 10 to 25 minutes on 2 shared CPU cores) held-out
R^2 of x, z, cos(heading), sin(heading): 0.717, 0.585, 0.062, 0.094 by the formula, which keeps 3 to 4 of 32 dimensions;
0.916, 0.899, 0.033, 0.025 by the code, which keeps 11. The slowness of both is memory.
"""

from ml_collections import ConfigDict

from configs import sfa

ARGUMENTS = ("smoke",)


def get_config(arg: str = "") -> ConfigDict:
    """The config; `arg` is a comma-separated list of `ARGUMENTS`."""
    config = sfa.get_config()
    config.name = "sfa_gen"
    config.data.batch_size = 32
    config.network.pool = "mean"
    config.network.recurrence = "full"
    config.objective.name = "sfa"
    config.objective.sfa.scaling = "readme"
    config.train.steps = 0
    config.train.epochs = 20.0
    config.train.schedule = "constant"
    config.train.warmup_steps = 0
    config.train.gradient_clip = 0.0
    if "smoke" in sfa.words(arg, ARGUMENTS):
        sfa.smoke(config)
    return config
