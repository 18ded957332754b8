"""Sparse coding: a dictionary is learned of patches of photographs, of a film of digits, or of pixels over time.

min over D, z of 1/2 |x - z D|^2 + alpha |z|_1. Olshausen & Field, Nature 1996; Mairal et al., JMLR 2010; the questions
after Neuromatch Academy, NeuroAI, "Sparsity and sparse coding". README.md lists which function computes which equation.

    python train.py --config=configs/sparse_coding.py                  patches of whitened photographs
    python train.py --config=configs/sparse_coding.py:mnist_video      a film of digits that come and go
    python train.py --config=configs/sparse_coding.py:time_series      pixels of a video, over 32 frames
    python train.py --config=configs/sparse_coding.py:time_series --config.data.path=walk.mp4
    python train.py --config=configs/sparse_coding.py:smoke            seconds; shows that everything runs, nothing else

Held out, 3 seeds: of 192 atoms of patches 88.0, 86.5, 88.0 % are localised and oriented (of the principal components
none), objective 51.7 (PCA 67.6); film of digits 1.31 (1.37); pixels over time 2.23 (3.20). 64 s for the patches, 10 and
15 s for the others, on 2 CPU cores (AMD EPYC). Photographs, digits and the video come with packages: pip install -e
'.[images,digits,clips]'.
"""

from ml_collections import ConfigDict

from configs import sfa

ARGUMENTS = ("patches", "mnist_video", "time_series", "smoke")


def get_config(arg: str = "") -> ConfigDict:
    """The config; `arg` is a comma-separated list of `ARGUMENTS`."""
    chosen = sfa.words(arg, ARGUMENTS, either=("patches", "mnist_video", "time_series"))
    base = sfa.get_config()
    config = ConfigDict()
    config.name, config.job, config.seed = "sparse_coding", "sparse_coding", 0

    config.data = base.data
    config.data.path = "photographs"
    config.data.image_size = 96
    config.data.greyscale = True
    config.data.clip_length = 1
    config.data.batch_size = 32
    config.data.photographs = ConfigDict()
    config.data.photographs.photographs = (
        "astronaut.png", "chelsea.png", "china.jpg", "coffee.png", "flower.jpg", "grace_hopper.jpg",
        "motorcycle_left.png", "rocket.jpg", "brick.png", "camera.png", "coins.png", "grass.png", "gravel.png",
        "moon.png",
    )  # fmt: skip
    config.data.photographs.held_out = ("chelsea.png", "china.jpg", "coffee.png")
    config.data.photographs.n_crops = 64
    config.data.photographs.n_held_out_crops = 64
    config.data.photographs.view = (0.9, 1.0)
    config.data.photographs.rotation = 3.14159  # so that the upright lines of what people build are not all there is
    config.data.photographs.seed = 0
    config.data.digit_film = ConfigDict()
    config.data.digit_film.n_frames = 2000
    config.data.digit_film.n_digits = 10
    config.data.digit_film.period = 60.0  # frames
    config.data.digit_film.share = 0.2  # of the frames that a digit is in
    config.data.digit_film.seed = 0

    config.signals = ConfigDict()
    config.signals.kind = "patches"  # or "frames", "windows" (pixels over data.clip_length frames)
    config.signals.size = 16  # pixels a side of a patch
    config.signals.number = 16  # patches of a frame, or pixels of a clip, drawn in a step; of frames there is one
    config.signals.log_intensity = True
    config.signals.whiten = True  # the filter f exp(-(f / cutoff)^4) of whole frames
    config.signals.cutoff = 0.5  # cycles a pixel
    config.signals.centre = True  # the mean of each signal is taken away
    config.signals.contrast_floor = 0.1  # signals over sqrt(variance + floor^2); 0 leaves their contrast as it is

    config.dictionary = ConfigDict()
    config.dictionary.n_atoms = 192
    config.dictionary.alpha = 0.7  # weight of the l1 norm
    config.dictionary.positive = False  # codes of at least 0
    config.dictionary.forgetting = 10.0  # weight of codes s steps old at step t: ((t - s) / t)^forgetting
    config.dictionary.patience = 10  # steps after which an atom that none used is replaced
    config.dictionary.largest_cosine = 0.95  # between atoms, at which one is replaced
    config.dictionary.replace_steps = 600  # the first ones, so that no atom ends as the signal that replaced it

    config.train = ConfigDict()
    config.train.steps = 800
    config.train.epochs = 0.0  # instead of steps
    config.train.evaluate_every = 200  # steps; a checkpoint is written as often
    config.train.steps_per_dispatch = 20
    config.train.tensorboard = False

    config.evaluation = ConfigDict()
    config.evaluation.holdout = 0.2  # last share of each run; photographs are held out whole
    config.evaluation.gap = 0.02  # share of each sequence left out beside it
    config.evaluation.holdout_by = "time"  # the last share of each sequence; or "blocks" between, or a "sequence" whole
    config.evaluation.n_blocks = 5  # held-out blocks of each sequence, with holdout_by=blocks
    config.evaluation.plots = True
    config.evaluation.baselines = ("pca",)

    if "mnist_video" in chosen:
        _plain(config, "frames")
        config.data.path = "digit_film"
        config.data.image_size = 28
        config.data.batch_size = 128
        config.dictionary.n_atoms = 15
        config.dictionary.alpha = 0.9
        config.signals.centre = False
        config.signals.contrast_floor = 0.0
        config.train.steps, config.dictionary.replace_steps = 400, 300
    if "time_series" in chosen:
        _plain(config, "windows")
        config.data.path = "bikes.mp4"
        config.data.image_size = (68, 160)
        config.data.split_cuts = False  # of 250 frames with five cuts
        config.data.clip_length = 32
        config.data.batch_size = 4
        config.signals.number = 128
        config.dictionary.n_atoms = 64
        config.train.steps, config.dictionary.replace_steps = 400, 300
    if "smoke" in chosen:
        config.data.image_size = 24
        config.data.photographs.n_crops = config.data.photographs.n_held_out_crops = 4
        config.data.digit_film.n_frames = 120
        config.data.batch_size = 8
        config.signals.size = 8
        config.dictionary.n_atoms, config.dictionary.replace_steps = 12, 15
        config.train.steps, config.train.evaluate_every, config.train.steps_per_dispatch = 20, 10, 5
        if "time_series" in chosen:
            config.data.clip_length, config.data.batch_size, config.signals.number = 8, 2, 16
    return config


def _plain(config: ConfigDict, kind: str) -> None:
    """Signals as the frames show them, without what photographs are prepared by."""
    config.signals.kind = kind
    config.signals.log_intensity = config.signals.whiten = False
