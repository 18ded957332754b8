"""Slow features in closed form: of principal components of the frames, or of their products.

No network and no gradients: passes over the video find the principal components, one more adds up the moments of their
monomials, and a generalised eigenproblem gives the slowest combinations. Wiskott & Sejnowski, Neural Computation 2002.
What any network has to beat.

    python train.py --config=configs/linear_sfa.py
    python train.py --config=configs/linear_sfa.py:quadratic
    python train.py --config=configs/linear_sfa.py --config.data.path=walk.mp4
    python train.py --config=configs/linear_sfa.py:smoke

Held-out R^2 of x, z, cos(heading), sin(heading), mean of three embedded rooms (`data.room.seed` 11, 12, 13): 0.802,
0.810, 0.918, 0.916; quadratic 0.990, 0.991, 0.958, 0.951. About a minute on 2 CPU cores. README.md has the other rows.
"""

from ml_collections import ConfigDict

from configs import sfa

ARGUMENTS = ("smoke", "narrow", "quadratic")


def get_config(arg: str = "") -> ConfigDict:
    """The config; `arg` is a comma-separated list of `ARGUMENTS`."""
    chosen = sfa.words(arg, ARGUMENTS)
    base = sfa.get_config("narrow" if "narrow" in chosen else "")
    config = ConfigDict()
    config.name, config.job, config.seed = "linear_sfa", "closed_form_sfa", 0
    config.data = base.data
    config.data.order = "in_turn"  # frames are added up one after another
    config.data.batch_size = 1
    config.data.clip_length = 256

    config.sfa = ConfigDict()
    config.sfa.n_components = 32
    config.sfa.degree = 1  # of the monomials: 1 is linear, 2 quadratic slow feature analysis
    config.sfa.n_inputs = 128  # principal components that they are made of

    config.objective = ConfigDict()
    config.objective.lag = 1  # frames

    config.train = ConfigDict()
    config.train.evaluate_every = 100  # steps, of one clip each; a checkpoint is written as often
    config.train.steps_per_dispatch = 5
    config.train.tensorboard = False

    config.evaluation = base.evaluation
    config.evaluation.baselines = ("pca", "linear_sfa", "quadratic_sfa")
    if "quadratic" in chosen:
        config.sfa.degree, config.sfa.n_inputs = 2, 64
    if "smoke" in chosen:
        config.data.image_size = 32
        config.data.room.n_frames = 600
        config.data.clip_length = 64
        config.sfa.n_components, config.sfa.n_inputs = 8, 16
    return config
