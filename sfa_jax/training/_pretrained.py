"""What a run takes from one that is finished: the sizes of its network, and its encoder."""

import logging
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from sfa_jax._errors import InputError
from sfa_jax._folders import as_path
from sfa_jax.training._checkpoints import read_config, read_run

_log = logging.getLogger("sfa_jax")


class Pretrained(NamedTuple):
    """An autoencoder that a run has trained.

    Attributes:
      params: of its encoder.
      frame_shape: `(height, width, channel)` of the images it takes.
    """

    params: Any
    frame_shape: tuple[int, ...]


def read_pretrained(workdir: str) -> Pretrained:
    """The autoencoder of a run that `with_pretrained_network` has taken the network of.

    Raises:
      InputError: its checkpoint is damaged.
    """
    state, config, data = read_run(workdir)
    step, n_steps = int(np.asarray(state["step"])), config["train"]["steps"]
    if step < n_steps:
        _log.warning("pretrained: %s has come to step %d of %d; its encoder is taken as it is", workdir, step, n_steps)
    return Pretrained(state["params"]["encoder"], tuple(data["frame_shape"]))


def with_pretrained_network(config: Any) -> Any:
    """A config whose `network` is that of the run which its `pretrained` names; others as they are.

    So the config that a run keeps describes its network whole: restoring it needs that other run no more, training
    does.

    Raises:
      InputError: there is no such run of the job "autoencoder", or no finished checkpoint in it.
    """
    if "pretrained" not in config:
        return config
    if not config.pretrained:
        raise InputError(
            "pretrained: expected the --workdir of a run of configs/autoencoder.py or csae.py, got nothing"
        )
    config = config.copy_and_resolve_references()
    config.pretrained = str(as_path(config.pretrained, "pretrained"))  # however it is written, the same run
    try:
        theirs = read_config(config.pretrained)
    except InputError as error:
        raise InputError(f"pretrained={config.pretrained}: {error}") from None
    if theirs.get("job") != "autoencoder":
        raise InputError(
            f"pretrained: expected a run of the job 'autoencoder', {config.pretrained} is one of {theirs.get('job')!r}"
        )
    with config.unlocked():
        config.network = ConfigDict(theirs["network"])
    return config
