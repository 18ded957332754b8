"""Ranges of the options of a config, checked before anything is read or made."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from sfa_jax._errors import InputError
from sfa_jax.data import HOLDOUTS


class _Range(NamedTuple):
    expected: str
    holds: Callable[[Any], bool]


_COUNT = _Range("a whole number of at least 1", lambda x: _is_whole(x) and x >= 1)
_COUNT_OR_0 = _Range("a whole number of at least 0", lambda x: _is_whole(x) and x >= 0)
_SEED = _Range("a whole number from 0 to 2^32 - 1", lambda x: _is_whole(x) and 0 <= x < 2**32)
_POSITIVE = _Range("a finite number above 0", lambda x: math.isfinite(x) and x > 0)
_NOT_NEGATIVE = _Range("a finite number of at least 0", lambda x: math.isfinite(x) and x >= 0)
_SHARE = _Range("a number from 0 to 1", lambda x: 0 <= x <= 1)
_PAIR = _Range(
    "a whole number of at least 2 frames (one pair), for slowness is a change", lambda x: _is_whole(x) and x >= 2
)
_CLIP = _Range("a whole number of at least 2 frames", lambda x: _is_whole(x) and x >= 2)
_SIZES_OR_NONE = _Range("whole numbers of at least 1, or ()", lambda x: all(map(_COUNT.holds, x)))
_SIZES = _Range("one or more whole numbers of at least 1", lambda x: len(x) > 0 and all(map(_COUNT.holds, x)))

_COMMON = {
    "seed": _SEED,
    "train.evaluate_every": _COUNT,
    "train.steps_per_dispatch": _COUNT,
    "data.memory_limit_gb": _NOT_NEGATIVE,
    "data.workers": _COUNT_OR_0,
    "data.timeout": _POSITIVE,
    "evaluation.holdout_by": _Range(f"one of {HOLDOUTS}", lambda x: x in HOLDOUTS),
    "evaluation.n_blocks": _COUNT,
}
_TRAINING = {
    "train.steps": _COUNT_OR_0,
    "train.epochs": _NOT_NEGATIVE,
    "train.learning_rate": _POSITIVE,
    "train.warmup_steps": _COUNT_OR_0,
    "train.gradient_clip": _NOT_NEGATIVE,
    "train.weight_decay": _NOT_NEGATIVE,
}
_DECODER = {
    "n_paths": _COUNT,
    "channels": _Range("a whole number of at least 4", lambda x: _is_whole(x) and x >= 4),
    "map_size": _COUNT,
    "scale": _NOT_NEGATIVE,
    "hidden": _COUNT,
    "blocks": _COUNT_OR_0,
    "hidden_pixels": _COUNT,
    "dense_channels": _COUNT,
}
_IMAGES = {
    **{f"network.{name}": allowed for name, allowed in _DECODER.items()},
    "network.encoder_channels": _SIZES,
    "train.wave_learning_rate": _NOT_NEGATIVE,
    "train.recolour": _NOT_NEGATIVE,
}
_AUTOENCODER = {
    "network.code_size": _COUNT,
    "network.hidden": _SIZES_OR_NONE,
    "network.channels": _SIZES_OR_NONE,
    "objective.l1_weight": _NOT_NEGATIVE,
    "objective.l1_warmup": _SHARE,
    "objective.beta": _NOT_NEGATIVE,
    "corruption.sigma": _NOT_NEGATIVE,
    "corruption.share": _SHARE,
    "corruption.size": _COUNT,
    "corruption.value": _SHARE,
    "corruption.factor": _COUNT,
}
_CLASSIFIER = {"labels.per_class": _COUNT_OR_0}
_VIDEO = {
    "data.clip_length": _CLIP,
    "network.code_size": _COUNT,
    "network.channels": _SIZES,
    "network.hidden": _COUNT,
    "objective.n_future": _COUNT_OR_0,
    "objective.future_weight": _NOT_NEGATIVE,
}
_SPARSE = {
    "train.steps": _COUNT_OR_0,
    "train.epochs": _NOT_NEGATIVE,
    "signals.size": _COUNT,
    "signals.number": _COUNT,
    "signals.cutoff": _POSITIVE,
    "signals.contrast_floor": _NOT_NEGATIVE,
    "dictionary.n_atoms": _COUNT,
    "dictionary.alpha": _NOT_NEGATIVE,
    "dictionary.forgetting": _NOT_NEGATIVE,
    "dictionary.patience": _COUNT,
    "dictionary.largest_cosine": _POSITIVE,
    "dictionary.replace_steps": _COUNT_OR_0,
}
_DRAWING = {
    **{f"decoder.{name}": allowed for name, allowed in _DECODER.items()},
    "decoder.n_free": _COUNT_OR_0,
    "decoder.between": _COUNT,
    "objective.reconstruction_weight": _NOT_NEGATIVE,
    "train.wave_learning_rate": _NOT_NEGATIVE,
}
_MASKED = {
    "network.features": _Range("a whole number of at least 2", lambda x: _is_whole(x) and x >= 2),
    "network.encoder_channels": _SIZES,
    "network.blocks": _COUNT_OR_0,
    "network.scale": _NOT_NEGATIVE,
    "network.pooled_cells": _COUNT,
}
_CLOSED_FORM = {
    "objective.lag": _COUNT,
    "sfa.n_components": _COUNT,
    "sfa.n_inputs": _COUNT,
    "sfa.degree": _COUNT,
}
_NETWORK = {
    "objective.lag": _COUNT,
    "data.clip_length": _PAIR,
    "network.dim": _COUNT,
    "network.channels": _SIZES,
    "network.hidden": _COUNT,
    "objective.whitened.epsilon": _POSITIVE,
    "objective.whitened.log_variance_weight": _NOT_NEGATIVE,
    "objective.vamp2.epsilon": _POSITIVE,
    "objective.vamp2.log_variance_weight": _NOT_NEGATIVE,
}


def check_closed_form(config: Any) -> None:
    """Raises on the first option of closed-form slow feature analysis that is out of its range.

    Raises:
      InputError: names the option, what was expected and what came.
    """
    _check(config, _COMMON | _CLOSED_FORM)
    if config.data.order != "in_turn" or config.data.batch_size != 1:
        raise InputError(
            "data.order, data.batch_size: expected 'in_turn' and 1, as moments are added up frame after frame, got "
            f"{config.data.order!r} and {config.data.batch_size}"
        )


def check_network(config: Any) -> None:
    """Raises on the first option of neural slow feature analysis that is out of its range, or does not fit another.

    The names of choices and the options of the data are checked where they are used.

    Raises:
      InputError: names the option, what was expected and what came.
    """
    _check(config, _COMMON | _TRAINING | _NETWORK)
    if "remat_frames" in config.network:  # younger than the other options
        _check(config, {"network.remat_frames": _COUNT_OR_0})
        check_chunks(config.network, config.data.batch_size * config.data.clip_length)
    train, data = config.train, config.data
    _check_length(train)
    if config.objective.lag >= data.clip_length:
        raise InputError(
            f"objective.lag: expected less than data.clip_length = {data.clip_length}, got {config.objective.lag}"
        )
    pairs = data.batch_size * (data.clip_length - config.objective.lag)
    if config.objective.name == "sfa" and config.objective.sfa.two_batch and pairs < 4:
        raise InputError(
            f"objective.sfa.two_batch: needs two halves of at least 2 pairs, but a batch has {pairs}; raise "
            "data.batch_size or data.clip_length"
        )


def check_images(config: Any) -> None:
    """Raises on the first option of an image autoencoder that is out of its range.

    Raises:
      InputError: names the option, what was expected and what came.
    """
    _check(config, _COMMON | _TRAINING | _IMAGES)
    _check_single_images(config)


def check_autoencoder(config: Any) -> None:
    """Raises on the first option of a plain autoencoder that is out of its range.

    Raises:
      InputError: names the option, what was expected and what came.
    """
    _check(config, _COMMON | _TRAINING | _AUTOENCODER)
    _check_single_images(config)
    code, weight = config.network.code, config.objective.l1_weight
    if weight and code != "sparse":
        raise InputError(f"objective.l1_weight: expected 0 with network.code={code}, got {weight}; take 'sparse'")
    if config.objective.beta != 1 and code != "gaussian":
        beta = config.objective.beta
        raise InputError(f"objective.beta: expected 1 with network.code={code}, got {beta}; take 'gaussian'")


def check_classifier(config: Any) -> None:
    """Raises on the first option of a classifier that is out of its range.

    Raises:
      InputError: names the option, what was expected and what came.
    """
    _check(config, _COMMON | _TRAINING | _CLASSIFIER)
    _check_single_images(config)


def check_video(config: Any) -> None:
    """Raises on the first option of a video autoencoder that is out of its range.

    Raises:
      InputError: names the option, what was expected and what came.
    """
    _check(config, _COMMON | _TRAINING | _VIDEO)
    _check_length(config.train)
    length, future = config.data.clip_length, config.objective.n_future
    if length - future < 2:
        raise InputError(
            f"objective.n_future: expected at least two frames of a clip to be left, of data.clip_length = {length} at "
            f"most {length - 2}, got {future}"
        )


def check_sparse(config: Any) -> None:
    """Raises on the first option of dictionary learning that is out of its range, or does not fit another.

    Raises:
      InputError: names the option, what was expected and what came.
    """
    _check(config, _COMMON | _SPARSE)
    _check_length(config.train)
    kind, length = config.signals.kind, config.data.clip_length
    if kind == "windows" and length < 2:
        raise InputError(f"data.clip_length: expected at least 2 frames, the length of a window, got {length}")
    if kind != "windows" and length != 1:
        raise InputError(f"data.clip_length: expected 1 with signals.kind={kind}, got {length}")
    if config.data.order != "shuffled":
        raise InputError(f"data.order: expected 'shuffled', got {config.data.order!r}")


def check_drawing(config: Any) -> None:
    """Raises on the first option of the decoder of a slow code that is out of its range.

    Raises:
      InputError: names the option, what was expected and what came.
    """
    _check(config, _DRAWING)


def check_masked(config: Any) -> None:
    """Raises on the first option of masked FINOLA that is out of its range.

    Raises:
      InputError: names the option, what was expected and what came.
    """
    _check(config, _COMMON | _TRAINING | _MASKED)
    _check_single_images(config)


def check_chunks(network: Any, n_frames: int) -> None:
    """Raises `InputError` unless the frames of a batch come in equal chunks of `remat_frames`."""
    remat_frames = network.get("remat_frames", 0)
    if remat_frames and n_frames % remat_frames:
        near = max(n for n in range(1, min(remat_frames, n_frames) + 1) if n_frames % n == 0)
        raise InputError(
            f"network.remat_frames: expected 0 or a divisor of {n_frames}, the frames of a batch (data.batch_size, or "
            f"the fewer clips that the data give, times data.clip_length), which come in equal chunks, got "
            f"{remat_frames}; the next smaller one is {near}"
        )


def _check_single_images(config: Any) -> None:
    _check_length(config.train)
    if config.data.clip_length != 1:
        came = config.data.clip_length
        raise InputError(f"data.clip_length: expected 1, as every frame is an image by itself, got {came}")


def _check_length(train: Any) -> None:
    if (train.steps > 0) == (train.epochs > 0):
        raise InputError(
            f"train.steps, train.epochs: expected exactly one above 0, got {train.steps} and {train.epochs}; "
            "set the other to 0"
        )


def _check(config: Any, ranges: dict[str, _Range]) -> None:
    for name, allowed in ranges.items():
        value = config
        for part in name.split("."):
            if part not in value:
                raise InputError(f"{name}: the config has no such field; expected {allowed.expected}")
            value = value[part]
        if not allowed.holds(value):
            raise InputError(f"{name}: expected {allowed.expected}, got {value!r}")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
