"""What there is to be trained, by the name that a config gives it."""

from typing import Any

from sfa_jax._errors import InputError
from sfa_jax.training._autoencoder_job import AutoencoderJob
from sfa_jax.training._classifier_job import ClassifierJob
from sfa_jax.training._closed_form import ClosedFormJob
from sfa_jax.training._finola_job import FinolaJob
from sfa_jax.training._masked_job import MaskedFinolaJob
from sfa_jax.training._slow_autoencoder import SlowAutoencoderJob
from sfa_jax.training._slow_network import SlowNetworkJob
from sfa_jax.training._sparse_job import SparseCodingJob
from sfa_jax.training._video_job import VideoAutoencoderJob

JobClass = (
    type[SlowNetworkJob]
    | type[ClosedFormJob]
    | type[FinolaJob]
    | type[AutoencoderJob]
    | type[ClassifierJob]
    | type[VideoAutoencoderJob]
    | type[MaskedFinolaJob]
    | type[SlowAutoencoderJob]
    | type[SparseCodingJob]
)
JOBS: dict[str, JobClass] = {
    "slow_network": SlowNetworkJob,
    "closed_form_sfa": ClosedFormJob,
    "finola": FinolaJob,
    "autoencoder": AutoencoderJob,
    "classifier": ClassifierJob,
    "video_autoencoder": VideoAutoencoderJob,
    "masked_finola": MaskedFinolaJob,
    "slow_autoencoder": SlowAutoencoderJob,
    "sparse_coding": SparseCodingJob,
}


def job_of(config: Any) -> JobClass:
    """The job that `config.job` names.

    Raises:
      InputError: there is none of this name.
    """
    if config.job not in JOBS:
        raise InputError(f"job: expected one of {tuple(JOBS)}, got {config.job!r}")
    return JOBS[config.job]
