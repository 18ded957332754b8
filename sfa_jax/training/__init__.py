"""Training: the driver, its jobs, checkpoints, and finished runs as functions."""

from sfa_jax.training._autoencoder_job import AutoencoderModel as AutoencoderModel
from sfa_jax.training._classifier_job import ClassifierModel as ClassifierModel
from sfa_jax.training._closed_form import ClosedFormModel as ClosedFormModel
from sfa_jax.training._distributed import JobFlags as JobFlags
from sfa_jax.training._distributed import join as join
from sfa_jax.training._driver import DivergedError as DivergedError
from sfa_jax.training._driver import train_and_evaluate as train_and_evaluate
from sfa_jax.training._embeddings import write_embeddings as write_embeddings
from sfa_jax.training._inputs import held_out_frames as held_out_frames
from sfa_jax.training._inputs import load_runs as load_runs
from sfa_jax.training._model import SlowModel as SlowModel
from sfa_jax.training._objectives import make_objective as make_objective
from sfa_jax.training._processes import PeerError as PeerError
from sfa_jax.training._processes import Processes as Processes
from sfa_jax.training._restore import restore_model as restore_model
from sfa_jax.training._restore import restore_run as restore_run
from sfa_jax.training._signals import Stopped as Stopped
from sfa_jax.training._steps import TrainState as TrainState
from sfa_jax.training._steps import init_state as init_state
from sfa_jax.training._steps import make_optimizer as make_optimizer
from sfa_jax.training._steps import make_train_step as make_train_step
from sfa_jax.training._steps import make_update as make_update
from sfa_jax.training._video_job import VideoModel as VideoModel

__all__ = [
    "AutoencoderModel",
    "ClassifierModel",
    "ClosedFormModel",
    "DivergedError",
    "JobFlags",
    "PeerError",
    "Processes",
    "SlowModel",
    "Stopped",
    "TrainState",
    "VideoModel",
    "held_out_frames",
    "init_state",
    "join",
    "load_runs",
    "make_objective",
    "make_optimizer",
    "make_train_step",
    "make_update",
    "restore_model",
    "restore_run",
    "train_and_evaluate",
    "write_embeddings",
]
