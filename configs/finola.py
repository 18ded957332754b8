"""Images drawn from one vector each: FINOLA on photographs.

Chen et al., "Exploring Invariance in Images through One-way Wave Equations", arXiv 2310.12976. README.md lists which
function computes which equation.

    python train.py --config=configs/finola.py           crops of packaged photographs, three photographs held out
    python train.py --config=configs/finola.py:conv      a convolutional autoencoder of the same code size instead
    python train.py --config=configs/finola.py:linear    no norm, z + A z;  :repeat  the code at every place
    python train.py --config=configs/finola.py:random    from random matrices, as published, not from plane waves
    python train.py --config=configs/finola.py:imagenet --config.data.path='tfds:imagenet2012?data_dir=DIR'
    python train.py --config=configs/finola.py:smoke     seconds; shows that everything runs, nothing else

Held-out PSNR, 256 numbers for 64x64x3 pixels, 3 seeds: 19.94 dB; PCA 19.47, DCT 19.42 (21.53 with the largest
coefficients of each image), :conv 17.13. 5 minutes on 2 CPU cores (AMD EPYC). The photographs need the extra `images`:
pip install -e '.[images]'.
"""

from ml_collections import ConfigDict

from configs import sfa

COLOURED = (
    "astronaut.png", "chelsea.png", "china.jpg", "coffee.png", "flower.jpg", "grace_hopper.jpg",
    "hubble_deep_field.jpg", "ihc.png", "motorcycle_left.png", "retina.jpg", "rocket.jpg",
)  # fmt: skip
GREY = ("brick.png", "camera.png", "coins.png", "grass.png", "gravel.png", "moon.png")  # of any photographs more help
HELD_OUT = ("astronaut.png", "flower.jpg", "motorcycle_left.png")  # looked at by none who chose the settings below
ARGUMENTS = ("conv", "linear", "repeat", "random", "imagenet", "smoke")


def get_config(arg: str = "") -> ConfigDict:
    """The config; `arg` is a comma-separated list of `ARGUMENTS`."""
    chosen = sfa.words(arg, ARGUMENTS, either=("conv", "linear", "repeat", "random"))
    config = sfa.get_config()
    config.name = "finola"
    config.job = "finola"
    del config.objective

    config.data.path = "photographs"
    config.data.clip_length = 1
    config.data.batch_size = 64
    config.data.photographs = ConfigDict()
    config.data.photographs.n_crops = 2000  # of each photograph
    config.data.photographs.n_held_out_crops = 64
    config.data.photographs.photographs = COLOURED + GREY
    config.data.photographs.held_out = HELD_OUT
    config.data.photographs.rotation = 3.141592653589793  # radians, either way
    config.data.photographs.flip = True
    config.data.photographs.seed = 0

    config.network = ConfigDict()
    config.network.n_paths = 1  # M
    config.network.channels = 256  # C; the code has M C numbers
    config.network.map_size = 16  # cells a side
    config.network.generator = "finola"  # or "linear", "repeat", "dense"
    config.network.order = "average"  # or "x_first", "y_first", "neighbours"
    config.network.directions = "separate"  # or "negated", "shared"
    config.network.speeds = "free"  # or "real"
    config.network.scale = 0.2  # of random matrices
    config.network.start = "fitted_waves"  # or "waves", "random"
    config.network.encoder_channels = (32, 64, 128)
    config.network.pooling = "flatten"  # or "attention", "reshape"
    config.network.hidden = 64
    config.network.blocks = 1
    config.network.hidden_pixels = 12
    config.network.dense_channels = 64
    config.network.rematerialise = False

    config.train.steps = 400
    config.train.learning_rate = 1e-3
    config.train.wave_learning_rate = 0.0005  # of what begins as plane waves, relative to the rest
    config.train.recolour = 0.3  # how far the colours of training images are changed; 0 for not at all
    config.train.warmup_steps = 40
    config.train.evaluate_every = 100
    config.train.weight_decay = 0.0
    config.evaluation.baselines = ("pca", "dct", "dct_best")

    if "conv" in chosen:
        _random(config, "dense")
    for generator in ("linear", "repeat"):
        if generator in chosen:
            _random(config, generator)
    if "random" in chosen:
        _random(config, "finola")
    if "imagenet" in chosen:
        imagenet(config)
    if "smoke" in chosen:
        sfa.smoke(config)
        config.data.photographs.n_crops = 40
        config.data.photographs.n_held_out_crops = 12
        config.data.batch_size = 16
        config.network.channels = 32
        config.network.map_size = 8
        config.network.encoder_channels = (8, 16)
        config.network.hidden = 16
        config.network.hidden_pixels = 4
    return config


def imagenet(config: ConfigDict) -> None:
    """The setting of the paper, as far as it is known; hours on accelerators, never run by us."""
    config.data.path = "tfds:imagenet2012"
    config.data.image_size = 256
    config.network.n_paths = 8
    config.network.channels = 1024
    config.network.map_size = 64
    config.network.start = "random"
    config.network.pooling = "attention"
    config.network.encoder_channels = (64, 128, 256, 512)
    config.network.hidden = 256
    config.network.hidden_pixels = 64
    config.network.rematerialise = True
    config.train.steps = 0
    config.train.epochs = 100.0
    config.train.wave_learning_rate = 1.0
    config.train.warmup_steps = 10_000
    config.train.weight_decay = 0.05
    config.train.evaluate_every = 5_000
    config.train.steps_per_dispatch = 20


def _random(config: ConfigDict, generator: str) -> None:
    config.network.generator = generator
    config.network.start = "random"
    config.train.steps = 1000
    config.train.learning_rate = 3e-3
