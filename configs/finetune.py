"""Classes from few labels, by the encoder of a finished autoencoder.

The head begins as a linear probe of the codes, and then head and encoder learn together. Kumar et al., "Fine-tuning can
distort pretrained features and underperform out-of-distribution", ICLR 2022.

    python train.py --config=configs/csae.py --workdir=runs/csae
    python train.py --config=configs/finetune.py --config.pretrained=runs/csae
    python train.py --config=configs/finetune.py:random --config.pretrained=runs/csae   from random weights, to compare
    python train.py --config=configs/finetune.py:smoke --config.pretrained=...     seconds; shows that everything runs
"""

from ml_collections import ConfigDict

from configs import autoencoder, sfa

ARGUMENTS = ("random", "smoke")


def get_config(arg: str = "") -> ConfigDict:
    """The config; `arg` is a comma-separated list of `ARGUMENTS`."""
    chosen = sfa.words(arg, ARGUMENTS)
    config = autoencoder.get_config("smoke" if "smoke" in chosen else "")
    config.name = "finetune"
    config.job = "classifier"
    config.pretrained = ""  # the --workdir of a run of configs/autoencoder.py or configs/csae.py; its network is taken
    config.start = "pretrained"  # or "random": the same network from random weights
    config.labels = ConfigDict()
    config.labels.name = "label"  # of what the data say of each image
    config.labels.per_class = 10  # labelled images of each class, drawn by the seed; 0 for all
    for name in ("network", "objective", "corruption"):
        del config[name]
    config.train.steps = 200
    config.train.learning_rate = 1e-4
    config.train.warmup_steps = 0
    config.train.evaluate_every = 100
    config.evaluation.baselines = ("probe", "untrained_probe", "pixel_probe")
    if "random" in chosen:
        config.start = "random"
        config.train.learning_rate = 3e-3  # its own best of 1e-4, 1e-3 and 3e-3
    if "smoke" in chosen:
        config.labels.per_class = 2
        config.train.steps = 20
        config.train.evaluate_every = 10
    return config
