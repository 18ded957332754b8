"""The job of neural slow feature analysis: what is trained, and how its state is measured."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from sfa_jax import evaluation
from sfa_jax.evaluation import Picture
from sfa_jax.training._inputs import Inputs
from sfa_jax.training._measured_job import (
    Codes,
    Measured,
    MeasuredJob,
    Readout,
    check_baselines,
)
from sfa_jax.training._model import SlowModel, make_network
from sfa_jax.training._objectives import make_objective
from sfa_jax.training._options import check_chunks, check_network
from sfa_jax.training._steps import TrainState, init_state, make_optimizer, make_train_step, steps_of

_CALIBRATION_FRAMES = 512  # frames that give the untrained encoder its batch statistics


class SlowNetworkJob(MeasuredJob):
    """`init`, `update` and `evaluate` of a network trained for slowness.

    Args:
      config: the resolved config.
      inputs: the data.

    Raises:
      InputError: a choice has an unknown name.
    """

    def __init__(self, config: Any, inputs: Inputs):
        super().__init__(config, inputs, config.network.dim)
        self._batch_size = inputs.sampler.batch_size
        check_chunks(config.network, self._batch_size * config.data.clip_length)
        self.n_steps = steps_of(config.train, inputs.sampler)
        self._network = make_network(config.network)
        self._objective = make_objective(config.objective, config.network.dim)
        self._optimizer = make_optimizer(config.train, self.n_steps)
        self.update = make_train_step(self._network, self._objective, self._optimizer)
        self._loss = jax.jit(self._objective)
        self._init = jax.jit(  # compiled once for the run and for its untrained baseline
            lambda key: init_state(key, self._network, self._optimizer, self._frame_shape, self._batch_size)
        )

    baselines = (*MeasuredJob.baselines, "untrained")
    shared_axis = 1  # devices share the clips of a batch

    @staticmethod
    def check(config: Any) -> None:
        """Raises what the constructor would of the config alone, before any data are read.

        Raises:
          InputError: an option is out of its range, or a choice has an unknown name.
        """
        check_network(config)
        check_baselines(config, SlowNetworkJob.baselines)
        make_network(config.network)
        make_objective(config.objective, config.network.dim)
        make_optimizer(config.train, n_steps=1)

    @staticmethod
    def restore(config: Any, state: Mapping[str, Any], frame_shape: tuple[int, ...]) -> "SlowModel":
        """What a run has learned, from the state that its checkpoint holds."""
        variables = {"params": state["params"], "batch_stats": state["batch_stats"]}
        return SlowModel(make_network(config.network), variables, state["readout"], frame_shape)

    def init(self) -> TrainState:
        return self._init(jax.random.key(self._config.seed))

    def evaluate(self, state: TrainState, *, final: bool) -> tuple[Readout, Measured, dict[str, float]]:
        """Solves the readout on the training frames and measures the loss on the held-out ones.

        During training (`final` false) only the first training frames are looked at where there are very many; the
        held-out ones always all, so that losses can be compared.

        Raises:
          FloatingPointError: the embedding of the training frames is not finite, so that nothing can be solved.
        """
        measured = self._measure(self._model(state), final)
        y = np.concatenate(measured.held_out)[None]
        reset = np.zeros(y.shape[:2], bool)
        reset[0, np.cumsum([0, *(len(part) for part in measured.held_out[:-1])])] = True
        loss, _ = self._loss(y, np.ones_like(reset), reset)
        metrics = {"loss": float(loss), "effective_rank": evaluation.effective_rank_of(y[0])}
        return self._readout(measured), measured, metrics

    def _filter_pictures(self, state: TrainState) -> list[Picture]:
        return evaluation.filter_pictures(np.asarray(state.params["encoder"]["block_0"]["kernel"]))

    def _untrained_codes(self, train: list[np.ndarray], held_out: list[np.ndarray]) -> tuple[Codes, Codes]:
        every = -(-sum(len(part) for part in train) // _CALIBRATION_FRAMES)
        untrained = self._untrained(np.concatenate([part[::every] for part in train]))
        return [untrained.embed(part) for part in train], [untrained.embed(part) for part in held_out]

    def _untrained(self, frames: np.ndarray) -> SlowModel:
        """The network as initialised, its batch statistics taken from `frames` as a trained one's would be."""
        state = self.init()
        encoder = self._network.encoder.clone(momentum=0.0, remat_frames=0)  # there is no gradient to keep for
        collections = {"params": state.params["encoder"], "batch_stats": state.batch_stats}
        calibrate = jax.jit(lambda x: encoder.apply(collections, x, train=True, mutable=["batch_stats"])[1])
        variables = {"params": state.params, **calibrate(frames)}
        return SlowModel(self._network, variables, state.readout, self._frame_shape)
