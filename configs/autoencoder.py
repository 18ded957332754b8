"""Autoencoders of single images: dense, denoising and variational, on five thousand digits or your own images.

Hinton & Salakhutdinov, Science 2006; Vincent et al., JMLR 2010; Kingma & Welling, "Auto-encoding variational Bayes",
arXiv 1312.6114. README.md lists which function computes which equation.

    python train.py --config=configs/autoencoder.py             dense: pixels, 256, 32, 256, pixels
    python train.py --config=configs/autoencoder.py:denoising   encodes noisy images, draws the clean ones
    python train.py --config=configs/autoencoder.py:variational Gaussian codes, Bernoulli pixels; samples new images
    python train.py --config=configs/autoencoder.py:sigmoid     one layer each way, s(W x + b), as in textbooks
    python train.py --config=configs/autoencoder.py:patches     of photographs, 16x16 pixels, three photographs held out
    python train.py --config=configs/autoencoder.py --config.data.path='tfds:mnist?data_dir=DIR&held_out=test'
    python train.py --config=configs/autoencoder.py:smoke       seconds; shows that everything runs, nothing else

Held-out digits (1,000 of 5,000) of folds 1, 2 and 3 (fold 0 chose the settings): :dense squared error 0.0099 a pixel,
PCA of as many numbers 0.0158, :sigmoid 0.0265; :denoising 19.7 dB from noise at 13.3 dB, :dense from the same 13.3 dB;
:variational, 16 numbers, an evidence lower bound of -109.5 nats. Half a minute each on 2 CPU cores (AMD EPYC),
:variational a minute and a half. README.md has the other rows. The digits need the extra `digits`, the photographs
`images`: pip install -e '.[digits,images]'.
"""

from ml_collections import ConfigDict

from configs import finola, sfa

ARGUMENTS = ("dense", "denoising", "variational", "sigmoid", "patches", "smoke")


def get_config(arg: str = "") -> ConfigDict:
    """The config; `arg` is a comma-separated list of `ARGUMENTS`."""
    chosen = sfa.words(arg, ARGUMENTS, either=("dense", "variational", "sigmoid"))
    config = sfa.get_config()
    config.name = "autoencoder"
    config.job = "autoencoder"

    config.data.path = "digits"
    config.data.image_size = 28
    config.data.clip_length = 1
    config.data.batch_size = 100
    config.data.digits = ConfigDict()
    config.data.digits.n_train = 400  # of each class
    config.data.digits.n_held_out = 100
    config.data.digits.fold = 0  # which are held out, 0 to 4; the settings below were chosen on fold 0

    config.network = ConfigDict()
    config.network.body = "dense"  # or "convolutional"
    config.network.hidden = (256,)  # units of the layers before the code, and in reverse after it
    config.network.activation = "relu"  # or "sigmoid"
    config.network.channels = (16, 32)  # of a convolutional body's blocks, each of which halves the image
    config.network.pool = "max"  # or "average", "l2"
    config.network.code = "free"  # or "sigmoid", "sparse", "gaussian"
    config.network.code_size = 32
    config.network.dropout = 0.0  # share of the code that training sets to 0
    config.network.likelihood = "squared"  # or "bernoulli"

    config.objective = ConfigDict()
    config.objective.l1_weight = 0.0  # lambda: of the l1 norm of a sparse code, beside the squared error of the image
    config.objective.l1_warmup = 0.5  # share of the training in which lambda grows to that
    config.objective.beta = 1.0  # of the divergence of Gaussian codes

    config.corruption = ConfigDict()
    # One or more of "none", "gaussian_noise", "masking_noise", "salt_and_pepper", "random_erase", "downsample"; each
    # image has one of them.
    config.corruption.names = ("none",)
    config.corruption.sigma = 0.3  # of the noise, in units of the image's range
    config.corruption.share = 0.5  # of pixels that are masked, or salt and pepper
    config.corruption.size = 10  # pixels a side of what is erased
    config.corruption.value = 0.0  # what it is set to
    config.corruption.factor = 2  # pixels a side that downsampling averages

    config.train.steps = 6000
    config.train.learning_rate = 1e-3
    config.train.warmup_steps = 100
    config.train.weight_decay = 0.0
    config.train.evaluate_every = 1000
    config.train.steps_per_dispatch = 50
    config.evaluation.baselines = ("pca", "dct")

    if "denoising" in chosen:
        config.corruption.names = ("gaussian_noise",)
    if "variational" in chosen:
        config.network.code = "gaussian"
        config.network.code_size = 16
        config.network.likelihood = "bernoulli"
        config.network.body = "convolutional"
        config.network.channels = (32, 64)
        config.train.steps = 2000
        config.train.steps_per_dispatch = 20
    if "sigmoid" in chosen:
        config.network.hidden = ()
        config.network.activation = "sigmoid"
        config.network.code = "sigmoid"
    if "patches" in chosen:
        config.data.path = "photographs"
        config.data.image_size = 16
        config.data.photographs = finola.get_config().data.photographs
    if "smoke" in chosen:
        sfa.smoke(config)
        config.data.image_size = 16 if "patches" in chosen else 28
        config.data.digits.n_train = 20
        config.data.digits.n_held_out = 5
        config.network.hidden = config.network.hidden and (32,)
        config.network.channels = (4, 8)
        config.network.code_size = 8
        config.train.steps_per_dispatch = 10
    return config
