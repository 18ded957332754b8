"""Slow features of the embedded room, or of your own video: the best recipe we found.

Whitened slowness on pairs of frames, with a network that keeps positions (`pool="flatten"`) and has no memory.
Wiskott & Sejnowski, Neural Computation 2002; the room after Franzius et al., PLoS Computational Biology 2007; the
objective after Schueler et al., ACML 2019. README.md lists which function computes which equation.

    python train.py --config=configs/sfa.py
    python train.py --config=configs/sfa.py --config.data.path=walk.mp4
    python train.py --config=configs/sfa.py:narrow       the room seen through 60 degrees instead of 300
    python train.py --config=configs/sfa.py:smoke        seconds; shows that everything runs, nothing else

Held-out R^2 of x, z, cos(heading), sin(heading), mean of three rooms that chose no setting (`data.room.seed` 11, 12,
13): 0.971, 0.963, 0.967, 0.968; PCA of the same size 0.591, 0.579, 0.874, 0.868, quadratic slow features 0.961, 0.967,
0.970, 0.967. About 4 minutes on 2 CPU cores (AMD EPYC). README.md has the other rows.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import FieldReference, placeholder

ARGUMENTS = ("smoke", "narrow")


def get_config(arg: str = "") -> ConfigDict:
    """The config; `arg` is a comma-separated list of `ARGUMENTS`."""
    chosen = words(arg, ARGUMENTS)
    config = ConfigDict()
    config.name = "sfa"
    config.job = "slow_network"
    config.seed = 0

    config.data = ConfigDict()
    config.data.source = "auto"  # or "tfds": path is the name or directory of a set of TFDS or sfa_jax.prepare
    config.data.path = (
        "room"  # or "photo_pan", a folder of frames, videos (comma-separated), a TIFF stack, .npy, .npz, .h5
    )
    config.data.image_size = FieldReference(64, field_type=object)  # side, (height, width), or 0 for the source's own
    config.data.stride = 1  # every how many frames
    config.data.greyscale = False
    config.data.split_cuts = True  # a hard cut inside a video ends a run
    config.data.cache_dir = ""  # where decoded frames are kept; the user's cache folder if empty
    config.data.memory_limit_gb = 0.0  # frames above it stay on disk and are read as training goes; 0: half of the free
    config.data.workers = 0  # processes that read what stays on disk; 0 for threads
    config.data.timeout = 300.0  # seconds to wait for a batch from disk
    config.data.on_corrupt = "skip"  # leave out and count frames that cannot be read; or "raise": stop at the first
    config.data.tfds = ConfigDict()  # what is left empty is guessed, and told; "none" for none
    config.data.tfds.data_dir = ""  # where a set lies that is given by its name
    config.data.tfds.split = ""
    config.data.tfds.held_out = ""
    config.data.tfds.frames = ""  # the feature that holds them
    config.data.tfds.label = ""
    config.data.tfds.run = ""  # of which run a frame is
    config.data.tfds.frame_index = ""  # which frame of its run it is
    config.data.tfds.truth = ()  # features whose numbers are known of each frame, such as ("pose",)
    config.data.clip_length = 2  # frames; 2 is a pair
    config.data.batch_size = 128  # clips
    config.data.order = "shuffled"  # or "consecutive": the state is carried from clip to clip
    config.data.room = ConfigDict()
    config.data.room.preset = "place"  # or "head_direction"
    config.data.room.n_frames = 15_000
    config.data.room.n_runs = 1
    config.data.room.field_of_view = 300.0  # degrees
    config.data.room.size = (1.2, 1.0)  # metres
    config.data.room.speed = placeholder(float)  # metres a frame; the preset's if None
    config.data.room.turning = placeholder(float)  # radians a frame; the preset's if None
    config.data.room.smoothness = placeholder(float)  # of turning, in [0, 1); the preset's if None
    config.data.room.seed = 0
    config.data.photo_pan = ConfigDict()
    config.data.photo_pan.n_frames = 10_000
    config.data.photo_pan.n_runs = 1
    config.data.photo_pan.view = 0.6  # side of the view over the shorter side of the photograph
    config.data.photo_pan.zoom_range = 1.5
    config.data.photo_pan.translation_speed = 0.02
    config.data.photo_pan.rotation_speed = 0.03
    config.data.photo_pan.zoom_speed = 0.01
    config.data.photo_pan.seed = 0

    config.network = ConfigDict()
    config.network.dim = 32
    config.network.channels = (32, 64, 128)
    config.network.pool = "flatten"  # or "mean", "spatial_softmax"
    config.network.hidden = 256
    config.network.recurrence = "none"  # or "full", "detached"
    config.network.remat_frames = 0  # for long clips, 64 say: frames encoded at once, and again for the gradient

    config.objective = ConfigDict()
    config.objective.name = "whitened"  # or "sfa", "vamp2"
    config.objective.lag = 1  # frames; what is measured afterwards is always the change from frame to frame
    config.objective.whitened = ConfigDict()
    config.objective.whitened.epsilon = 1e-3  # variance of added white noise, relative to the mean variance
    config.objective.whitened.log_variance_weight = 0.01
    config.objective.vamp2 = ConfigDict()
    config.objective.vamp2.epsilon = 1e-3  # as above
    config.objective.vamp2.log_variance_weight = 0.01
    config.objective.sfa = ConfigDict()
    config.objective.sfa.scaling = "readme"  # or "author", "equal"
    config.objective.sfa.two_batch = False  # unbiased penalties from two halves of the batch

    config.train = ConfigDict()
    config.train.steps = 600
    config.train.epochs = 0.0  # instead of steps
    config.train.learning_rate = 1e-3
    config.train.schedule = "cosine"  # or "constant"
    config.train.warmup_steps = 50
    config.train.gradient_clip = 1.0  # of the global norm; 0 for none
    config.train.weight_decay = 0.0
    config.train.evaluate_every = 200  # steps; a checkpoint is written as often
    config.train.steps_per_dispatch = 5
    config.train.tensorboard = False

    config.evaluation = ConfigDict()
    config.evaluation.holdout = 0.2  # share that is held out
    config.evaluation.gap = 0.02  # share of each sequence left out beside it
    config.evaluation.holdout_by = "time"  # the last share of each sequence; or "blocks" between, or a "sequence" whole
    config.evaluation.n_blocks = 5  # held-out blocks of each sequence, with holdout_by=blocks
    config.evaluation.plots = True
    config.evaluation.baselines = ("pca", "linear_sfa", "quadratic_sfa", "untrained")  # rows beside the learned code

    if "narrow" in chosen:
        config.data.room.field_of_view = 60.0
    if "smoke" in chosen:
        smoke(config)
    return config


def words(arg: str, allowed: tuple[str, ...], *, either: tuple[str, ...] = ()) -> list[str]:
    """The words of a config's argument, each one of `allowed`, at most one of `either`."""
    chosen = [word for word in arg.split(",") if word]
    for word in chosen:
        if word not in allowed:
            raise ValueError(f"config argument: expected some of {', '.join(allowed)}, got {word!r}")
    both = [word for word in chosen if word in either]
    if len(set(both)) > 1:
        raise ValueError(f"config argument: expected one of {', '.join(either)}, got {' and '.join(both)}")
    return chosen


def smoke(config: ConfigDict) -> None:
    """Shrinks a config to seconds: it shows that everything runs, nothing else."""
    config.data.image_size = 32
    config.data.room.n_frames = 600
    config.data.batch_size = 32
    config.train.steps = 20
    config.train.epochs = 0.0
    config.train.warmup_steps = 0
    config.train.evaluate_every = 10
