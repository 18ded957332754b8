"""A finished run as the function from frames to code that it learned."""

import logging
from pathlib import Path

from ml_collections import ConfigDict

from sfa_jax._errors import InputError
from sfa_jax.training._autoencoder_job import AutoencoderModel, make_plain_autoencoder
from sfa_jax.training._checkpoints import Checkpoints
from sfa_jax.training._closed_form import ClosedFormModel
from sfa_jax.training._finola_job import FinolaModel, make_autoencoder
from sfa_jax.training._masked_job import MaskedModel, make_masked
from sfa_jax.training._model import SlowModel, make_network
from sfa_jax.training._slow_autoencoder import SlowDrawer, make_slow_autoencoder
from sfa_jax.training._video_job import VideoModel, make_video_autoencoder

_log = logging.getLogger("sfa_jax")

FrameModel = SlowModel | ClosedFormModel | FinolaModel | AutoencoderModel | MaskedModel | VideoModel


def restore_run(workdir: str | Path, *, best: bool = False) -> tuple[FrameModel, ConfigDict]:
    """Rebuilds what a run learned from its checkpoint.

    Args:
      workdir: of a run of `train.py`.
      best: the checkpoint of the lowest held-out loss instead of the latest.

    Returns:
      The function frames -> code, and the config that the checkpoint was made with.

    Raises:
      InputError: there is no run, or no finished checkpoint in it.
    """
    folder = Path(workdir) / "checkpoints"
    with Checkpoints(folder, read_only=True) as checkpoints:
        step = checkpoints.best_step if best else checkpoints.latest_step
        if step is None:
            raise InputError(f"{folder}: no finished checkpoint; run train.py with --workdir={workdir} to go on")
        state, config, data = checkpoints.restore_items(step)
    if data["readout_step"] != step:
        solved = data["readout_step"]
        readout = f"is that of step {solved}: the code is not quite" if solved else "is not solved yet: the code is not"
        _log.warning(
            "%s: the run was stopped at step %d and its readout %s white and ordered; run train.py with "
            "--workdir=%s to go on",
            folder / str(step), step, readout, workdir,
        )  # fmt: skip
    config = ConfigDict(config)
    if config.get("job") == "closed_form_sfa":
        return ClosedFormModel(state["params"], config.sfa.degree, state["readout"], data["frame_shape"]), config
    variables = {"params": state["params"], "batch_stats": state["batch_stats"]}
    if config.get("job") == "finola":
        return FinolaModel(make_autoencoder(config.network), variables, state["readout"], data["frame_shape"]), config
    if config.get("job") == "autoencoder":
        plain = make_plain_autoencoder(config.network)
        return AutoencoderModel(plain, variables, state["readout"], data["frame_shape"]), config
    if config.get("job") == "masked_finola":
        return MaskedModel(make_masked(config.network), variables, state["readout"], data["frame_shape"]), config
    if config.get("job") == "video_autoencoder":
        return VideoModel(
            make_video_autoencoder(config.network), variables, state["readout"], data["frame_shape"]
        ), config
    network = make_network(config.network)
    if config.get("job") == "slow_autoencoder":
        autoencoder = make_slow_autoencoder(config, network)
        return SlowDrawer(autoencoder, variables, state["readout"], data["frame_shape"]), config
    return SlowModel(network, variables, state["readout"], data["frame_shape"]), config


def restore_model(workdir: str | Path, *, best: bool = False) -> FrameModel:
    """The function frames -> code of a run: the first of `restore_run`, which says the rest."""
    return restore_run(workdir, best=best)[0]
