"""wip"""

from ml_collections import ConfigDict

from configs import sfa


def get_config(arg: str = "") -> ConfigDict:
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
    if arg == "smoke":
        sfa.smoke(config)
    elif arg:
        raise ValueError(f"config argument: expected smoke, got {arg!r}")
    return config
