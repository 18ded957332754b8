"""What a network is trained for: each objective maps embedded clips to a loss and its terms."""

from collections.abc import Callable
from typing import Any

import jax

from sfa_jax._errors import InputError
from sfa_jax.slowness import (
    SFALoss,
    log_variance_penalty,
    sfa_loss,
    sfa_weights,
    two_batch_penalties,
    vamp2_loss,
    whitened_slowness_loss,
)

# (y [batch, time, dim], valid [batch, time], reset [batch, time]) -> (loss, its weighted terms, whose sum it is)
Objective = Callable[[jax.Array, jax.Array, jax.Array], tuple[jax.Array, dict[str, jax.Array]]]
OBJECTIVES = ("whitened", "sfa", "vamp2")


def make_objective(config: Any, dim: int) -> Objective:
    """The objective that `config.objective` names.

    Args:
      config: `name`, `lag`, and a sub-config of the objective's name: `whitened` and `vamp2` have `epsilon` and
        `log_variance_weight`, `sfa` has `scaling` and `two_batch`.
      dim: size of the embedding.

    Raises:
      InputError: an unknown name or a value out of range.
    """
    if config.lag < 1:
        raise InputError(f"objective.lag: expected at least 1 frame, got {config.lag}")
    if config.name == "whitened":
        return _held_in_scale("slowness", whitened_slowness_loss, config.whitened, config.lag)
    if config.name == "vamp2":
        return _held_in_scale("vamp2", vamp2_loss, config.vamp2, config.lag)
    if config.name == "sfa":
        return _sfa(config.sfa, config.lag, dim)
    raise InputError(f"objective.name: expected one of {OBJECTIVES}, got {config.name!r}")


def pair_mask(valid: jax.Array, reset: jax.Array, lag: int) -> jax.Array:
    """Which pairs (t, t - lag) lie within one run: `[batch, time - lag]` bool."""
    joined = valid[:, lag:] & valid[:, :-lag]
    n_frames = valid.shape[1]
    for back in range(lag):  # no run may start at t, t - 1, ..., t - lag + 1
        joined &= ~reset[:, lag - back : max(n_frames, lag) - back]
    return joined


def _held_in_scale(name: str, loss: Callable[..., jax.Array], config: Any, lag: int) -> Objective:
    """A loss that no linear map of the embedding changes, with a price on its drift."""

    def objective(y: jax.Array, valid: jax.Array, reset: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        mask = pair_mask(valid, reset, lag)
        value = loss(y[:, lag:], y[:, :-lag], epsilon=config.epsilon, mask=mask)
        scale = config.log_variance_weight * log_variance_penalty(y, mask=valid)
        return value + scale, {name: value, "log_variance": scale}

    return objective


def _sfa(config: Any, lag: int, dim: int) -> Objective:
    try:
        weights = sfa_weights(config.scaling, dim)
    except ValueError as error:
        raise InputError(f"objective.sfa.{error}") from None

    def objective(y: jax.Array, valid: jax.Array, reset: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        mask = pair_mask(valid, reset, lag)
        found = sfa_loss(y[:, lag:], y[:, :-lag], mask=mask, **weights)
        if config.two_batch:
            found = _unbiased(found, y[:, lag:], mask)
        names = ("slowness", "variance", "correlation")
        return found.total, {name: weights[f"{name}_weight"] * getattr(found, name) for name in names}

    def _unbiased(terms: SFALoss, y_t: jax.Array, mask: jax.Array) -> SFALoss:
        y_t, mask = y_t.reshape(-1, dim), mask.reshape(-1)  # one long held-out clip has two halves as well
        half = len(y_t) // 2
        variance, correlation = two_batch_penalties(y_t[:half], y_t[half:], mask_a=mask[:half], mask_b=mask[half:])
        total = (
            weights["slowness_weight"] * terms.slowness
            + weights["variance_weight"] * variance
            + weights["correlation_weight"] * correlation
        )
        return SFALoss(total, terms.slowness, variance, correlation)

    return objective
