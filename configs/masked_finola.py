"""Features learned by predicting masked images: masked FINOLA on the embedded room, or on your own images.

A block of half the image's height and width is visible, anywhere; from it the rest is predicted. Chen et al.,
"Exploring Invariance in Images through One-way Wave Equations", arXiv 2310.12976. README.md lists which function
computes which equation.

    python train.py --config=configs/masked_finola.py            every visible cell predicts three masked ones
    python train.py --config=configs/masked_finola.py:element    one vector of the block predicts the whole image
    python train.py --config=configs/masked_finola.py --config.data.path=photographs
    python train.py --config=configs/masked_finola.py:smoke      seconds; shows that everything runs, nothing else

Linear probe of 128 features of held-out frames, R^2 of x, z, cos(heading), sin(heading), mean of three rooms that chose
no setting (`data.room.seed` 11, 12, 13): 0.972, 0.974, 0.896, 0.905; PCA of as many numbers 0.842, 0.835, 0.927, 0.928;
untrained 0.902, 0.923, 0.728, 0.734. PSNR of what is masked: 15.3 dB, by the mean image 13.6. 4 minutes on 2 CPU cores
(AMD EPYC).
"""

from ml_collections import ConfigDict

from configs import sfa

ARGUMENTS = ("element", "smoke")


def get_config(arg: str = "") -> ConfigDict:
    """The config; `arg` is a comma-separated list of `ARGUMENTS`."""
    chosen = sfa.words(arg, ARGUMENTS)
    config = sfa.get_config()
    config.name = "masked_finola"
    config.job = "masked_finola"
    del config.objective

    config.data.clip_length = 1
    config.data.batch_size = 64

    config.network = ConfigDict()
    config.network.variant = "block"  # or "element"
    config.network.features = 128  # channels of a cell
    config.network.encoder_channels = (32, 64)  # each block halves the image: cells of 4 x 4 pixels
    config.network.blocks = 3
    config.network.directions = "separate"  # or "negated", "shared"
    config.network.scale = 0.2  # of random matrices
    config.network.pooled_cells = 1  # cells a side that the map is averaged to where features are asked for

    config.train.steps = 600
    config.train.evaluate_every = 200
    config.train.weight_decay = 0.0
    config.evaluation.baselines = ("pca", "untrained")

    if "element" in chosen:
        config.network.variant = "element"
    if "smoke" in chosen:
        sfa.smoke(config)
        config.data.batch_size = 16
        config.network.features = 16
        config.network.encoder_channels = (8, 8)
        config.network.blocks = 1
    return config
