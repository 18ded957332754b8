"""Verdicts on a run in words: what its controls say, and whether a baseline does as well."""

import math
from collections.abc import Callable, Mapping

from sfa_jax.evaluation._better_baseline import better_baseline

Summary = Mapping[str, float]

JUDGED = 4  # slowest features that are judged one by one, or a quarter of all if that is more
MEMORY_DELTA = 1.0  # on shuffled frames: an instantaneous feature has 2
MEMORY_RELIANCE = 0.5
MEMORY_SLOWING = 2.0  # times that memory may lower a Delta
BETWEEN_SHARE = 0.5  # of a feature's variance between sequences
COLLAPSE_SHARE = 0.25
OVERFIT_RATIO = 2.0  # of held-out over training Delta
SHIFT = 1.0  # standard deviations of training
SPREAD = 2.0  # factor between the standard deviations
OUTSIDE_SHARE = 0.05  # of held-out values of a latent
STILL_TRUTH = 0.25  # spread of a held-out latent, in that of training
MANY_FRAMES = 20  # held-out frames below which a measure is chance
SHIFTED_WHITENESS = 2.0  # of a code that is white on the training frames


def verdicts(summary: Summary, dim: int) -> list[str]:
    """Say what the measures of a run warn of, one sentence each; empty where there is nothing.

    Features are judged one by one: the slowest quarter, at least 4.

    Args:
      summary: measures of the run.
      dim: size of the embedding.
    """
    checks: list[Callable[[Summary, int], str]]
    if "psnr" in summary or "accuracy" in summary:
        checks = [_unused]
    elif "omp/elbow" in summary:
        checks = [_unused_atoms]
    else:
        checks = [_collapsed, _noise, _memory, _sequences, _still, _few, _overfit, _shifted, _outside, _not_finite]
    said = [*(check(summary, dim) for check in checks), better_baseline(summary)]
    return [sentence for sentence in said if sentence]


def conclusion(summary: Summary, dim: int) -> list[str]:
    """Say the verdicts on a run, or which checks it has passed.

    Args:
      summary: measures of the run.
      dim: size of the embedding.
    """
    said = verdicts(summary, dim)
    if [sentence for sentence in said if not sentence.startswith("BASELINE")]:
        return said
    if "delta/0" not in summary:
        return said or ["All checks passed: the code is used, and no baseline beside it does better."]
    passed = "no collapse, no noise for features, no memory, no sequence identity, no overfitting, no shift"
    if not summary.get("held_out_frames", 1):
        passed += " (all on training frames: nothing is held out)"
    return [f"Checks passed: {passed}.", *said]


def judged(summary: Summary, dim: int) -> list[int]:
    """Numbers of the slowest features that are judged one by one."""
    return [k for k in range(max(JUDGED, -(-dim // 4))) if f"delta/{k}" in summary]


def _rank(summary: Summary) -> float:
    return summary.get("effective_rank_train", summary.get("effective_rank", 0.0))


def _collapsed(summary: Summary, dim: int) -> str:
    rank = _rank(summary)
    if rank < 1:
        return "COLLAPSED: the code is constant (effective rank 0); it tells nothing about the frames."
    if "masked_psnr" in summary:  # nothing has asked these features to be white
        return ""
    if rank < max(min(2.0, 0.55 * dim), COLLAPSE_SHARE * dim) and dim > 1:
        learned = " or batches of too few pairs for so many dimensions (data.batch_size)"
        return (
            f"COLLAPSED: the embedding uses {rank:.1f} of its {dim} dimensions (effective rank, training frames); "
            f"the others are copies or noise. Either the frames hold no more, or the objective gave them up"
            f"{'' if summary.get('closed_form') else ',' + learned}."
        )
    return ""


def _noise(summary: Summary, dim: int) -> str:
    slow, count = summary.get("slow_features", math.inf), min(dim, summary.get("rank", dim))
    if slow < max(1.0, COLLAPSE_SHARE * count) and not _is_few(summary) and _rank(summary) >= 1:
        return (
            f"NOISE: {slow:.0f} of {count:.0f} features are slow on held-out frames (Delta below 1; white noise has "
            "2): the others tell nothing that lasts from frame to frame, and the effective rank counts them all the "
            "same."
        )
    return ""


def _memory(summary: Summary, dim: int) -> str:
    """One reason for each control; the means over all features are judged where single ones are not known."""
    slowest = judged(summary, dim)
    reasons = []
    found = _worst(summary, "shuffle_control_delta", slowest, least=True)
    if found and found[1] < MEMORY_DELTA:
        reasons.append(
            f"on frames in random order, {found[0]} stays slow (Delta {found[1]:.2f}; an instantaneous one has 2)"
        )
    slowed = []
    for k in slowest:
        if f"memory_reliance/{k}" not in summary:
            continue  # the control was not taken
        with_memory, without = summary[f"delta/{k}"], summary.get(f"ablated_delta/{k}", math.inf)
        if without > MEMORY_SLOWING * with_memory:
            slowed.append((without / max(with_memory, 1e-300), k))
    if slowed:
        k = max(slowed)[1]
        without = summary.get(f"ablated_delta/{k}", math.nan)
        instead = "is constant" if math.isnan(without) else f"has Delta {without:.2g}"
        reasons.append(
            f"without y_{{t-1}}, feature {k} {instead} instead of {summary[f'delta/{k}']:.2g}"
            f"{_more(len(slowed) - 1, len(slowest))}"
        )
    found = _worst(summary, "memory_reliance", slowest, least=False)
    if found and found[1] > MEMORY_RELIANCE:
        reasons.append(f"without y_{{t-1}}, {found[0]} loses {found[1]:.0%} of its variance")
    if not reasons:
        return ""
    return (
        f"MEMORY: the slowness of this code comes from its recurrence, not from the frames: {', and '.join(reasons)}. "
        "Its Delta values are no evidence; compare a network without memory (network.recurrence=none, where there is "
        "the choice)."
    )


def _worst(summary: Summary, name: str, slowest: list[int], *, least: bool) -> tuple[str, float] | None:
    values = {f"feature {k}": summary[f"{name}/{k}"] for k in slowest if f"{name}/{k}" in summary}
    if not values and name in summary:
        values = {"the code": summary[name]}
    if not values:
        return None
    chosen = (min if least else max)(values, key=lambda label: values[label])
    return chosen, values[chosen]


def _more(count: int, of: int) -> str:
    return f" (and {count} more of the {of} slowest)" if count else ""


def _sequences(summary: Summary, dim: int) -> str:
    slowest = judged(summary, dim)
    shares = {k: summary[f"between_sequences/{k}"] for k in slowest if f"between_sequences/{k}" in summary}
    high = [k for k, share in shares.items() if share > BETWEEN_SHARE]
    if not high:
        return ""
    k = max(high, key=lambda k: shares[k])
    delta, within = summary.get(f"delta/{k}", math.nan), summary.get(f"delta_within/{k}", math.nan)
    moves = f"; within held-out sequences its Delta is {within:.2g}, not {delta:.2g}" if within > 1.05 * delta else ""
    return (
        f"SEQUENCES: {len(high)} of the {len(slowest)} slowest features mostly tell which sequence a frame is of: "
        f"{shares[k]:.0%} of the variance of feature {k} lies between training sequences{moves}. That is no slowness "
        "within sequences: they may differ in light and color, or be short beside how slowly it changes; give longer "
        "sequences, or more that are alike."
    )


def _still(summary: Summary, dim: int) -> str:
    if _rank(summary) >= 1 > summary.get("effective_rank", 1.0):
        return (
            "STILL: on the held-out frames the code does not change, so that nothing is measured there. Does the video "
            "end in a still picture? Hold out more of it (evaluation.holdout), or cut the end off."
        )
    return ""


def _is_few(summary: Summary) -> bool:
    return summary.get("held_out_frames", math.inf) < MANY_FRAMES


def _few(summary: Summary, dim: int) -> str:
    if _is_few(summary):
        return (
            f"FEW: {summary['held_out_frames']:.0f} held-out frames are too few to tell slowness from chance; give "
            "longer video, or raise evaluation.holdout."
        )
    return ""


def _unshrunk_delta(summary: Summary, k: int) -> float:
    """Held-out Delta in the larger of the two variances: a feature that merely shrinks is shifted, not overfit."""
    return summary[f"delta/{k}"] * min(1.0, summary.get(f"spread/{k}", 1.0) ** 2)


def _overfit(summary: Summary, dim: int) -> str:
    if _is_few(summary):
        return ""
    trained = {k: summary[f"delta_train/{k}"] for k in range(dim) if summary.get(f"delta_train/{k}", 0.0) > 0}
    held = {k: _unshrunk_delta(summary, k) for k in trained if f"delta/{k}" in summary}
    slowest = judged(summary, dim)
    ratios = {k: held[k] / trained[k] for k in slowest if k in held}
    high = [k for k, ratio in ratios.items() if ratio > OVERFIT_RATIO]
    gap = sum(held.values()) / sum(trained[k] for k in held) if held else summary.get("slowness_gap", 0.0)
    help_ = "more video helps" if summary.get("closed_form") else "more video or fewer steps help"
    if high:
        k = max(high, key=lambda k: ratios[k])
        return (
            f"OVERFIT: feature {k} has Delta {summary[f'delta/{k}']:.2g} on held-out frames and "
            f"{summary[f'delta_train/{k}']:.2g} on training frames{_more(len(high) - 1, len(slowest))}; {help_}."
        )
    if gap > OVERFIT_RATIO:
        return f"OVERFIT: held-out frames are {gap:.1f} times less slow than training frames; {help_}."
    return ""


def _shifted(summary: Summary, dim: int) -> str:
    if _is_few(summary):
        return ""
    slowest = range(JUDGED)  # also those that are constant there, and so have no Delta
    moved = {k: abs(summary[f"shift/{k}"]) for k in slowest if f"shift/{k}" in summary}
    spread = {k: summary[f"spread/{k}"] for k in slowest if f"spread/{k}" in summary}
    reasons = []
    if moved and max(moved.values()) > SHIFT:
        k = max(moved, key=lambda k: moved[k])
        reasons.append(f"the mean of feature {k} moves by {moved[k]:.1f} standard deviations of training")
    odd = {k: max(ratio, 1 / max(ratio, 1e-12)) for k, ratio in spread.items()}
    if odd and max(odd.values()) > SPREAD:
        k = max(odd, key=lambda k: odd[k])
        reasons.append(f"feature {k} varies {spread[k]:.2g} times as much as in training")
    whiteness = summary.get("whiteness_error", 0.0)
    if whiteness > SHIFTED_WHITENESS:
        reasons.append(f"the code is far from white (whiteness error {whiteness:.2g}, near 0 where the two are alike)")
    if not reasons:
        return ""
    return (
        f"SHIFTED: on held-out frames {', and '.join(reasons)}. They show what training did not, or training "
        "has too few frames to see all of what is slow: give longer or more sequences, or hold out blocks between "
        "training frames (evaluation.holdout_by=blocks)."
    )


def _outside(summary: Summary, dim: int) -> str:
    names = [name.split("/", 1)[1] for name in summary if name.startswith("outside_range/")]
    reasons = [
        f"{summary[f'outside_range/{name}']:.0%} of the held-out values of {name} lie outside those of training"
        for name in names
        if summary[f"outside_range/{name}"] > OUTSIDE_SHARE
    ]
    reasons += [
        f"{name} varies {summary[f'truth_spread/{name}']:.2g} times as much on held-out frames as in training"
        for name in names
        if summary.get(f"truth_spread/{name}", 1.0) < STILL_TRUTH
    ]
    if not reasons:
        return ""
    return (
        f"RANGE: {'; '.join(reasons)}. An R2 there says how a readout extrapolates, not what the code holds; hold out "
        "blocks between training frames (evaluation.holdout_by=blocks)."
    )


def _not_finite(summary: Summary, dim: int) -> str:
    finite = summary.get("finite_share", 1.0)
    if finite < 1:
        return (
            f"NOT FINITE: {100 * (1 - finite):.3g} % of the held-out frames have a code that is infinite or not a "
            "number, and measures that need it are left out. A recurrence that runs away does this; compare a network "
            "without memory."
        )
    return ""


def _unused(summary: Summary, dim: int) -> str:
    size = summary.get("code_size", 0.0)
    for name, what, why in (
        ("live_units", "active on 1 % of the held-out images", "lower objective.l1_weight, or train for longer"),
        ("active_units", "varying over the held-out images", "lower objective.beta, or take a smaller code"),
    ):
        if summary.get(name, size) < COLLAPSE_SHARE * size:
            return f"UNUSED: {summary[name]:.0f} of the {size:.0f} numbers of the code are {what}; {why}."
    return ""


def _unused_atoms(summary: Summary, dim: int) -> str:
    used, size = summary["used_atoms"], summary["dim"]
    if used >= 0.5 * size:
        return ""
    return (
        f"UNUSED: only {used:.0f} of the {size:.0f} atoms are in the code of some held-out signal; lower "
        "dictionary.alpha or dictionary.n_atoms."
    )
