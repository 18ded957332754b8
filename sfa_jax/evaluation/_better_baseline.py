"""Baselines that do better than what was learned, in words."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

Summary = Mapping[str, float]

_SLOWEST = 4  # features whose Deltas are compared
_SLOWER = 0.9  # mean Delta of a baseline that wins, in that of the code
_READS_MORE = 0.005  # mean R^2 by which a baseline wins
_DRAWS_BETTER = 0.05  # dB
_CLASSIFIES_BETTER = 0.005
_BOUNDS = ("dct_best",)  # chooses for each image, which is not counted

_UNTRAINED = "training gains nothing: train for longer, or take another objective"


class _Baseline(NamedTuple):
    label: str
    advice: str


_BASELINES = {
    "linear_sfa": _Baseline("linear SFA", "take configs/linear_sfa.py"),
    "quadratic_sfa": _Baseline("quadratic SFA", "take configs/linear_sfa.py:quadratic, sfa.n_inputs=32"),
    "pca": _Baseline("PCA", "take the principal components"),
    "dct": _Baseline("the cosine transform", "take the cosine transform"),
    "untrained": _Baseline("the network, untrained,", _UNTRAINED),
    "pixels": _Baseline("the raw picture", "take the pixels"),
    "probe": _Baseline("the probe", "take the probe"),
    "untrained_probe": _Baseline("the probe of the untrained network", _UNTRAINED),
    "pixel_probe": _Baseline("the probe of the pixels", "take the pixels"),
    "last_frame": _Baseline("the last frame", "repeat the last frame"),
    "mean_frame": _Baseline("the mean frame", "take the mean frame"),
}


class _Comparison(NamedTuple):
    """A measure of the code and of baselines.

    Attributes:
      value: of what has a prefix in the summary, "" being the code; None where it was not measured.
      wins: whether a baseline's value is better than the code's by a margin that counts.
      least: whether lower is better.
      reason: sentence with the places `{label}`, `{best}` and `{own}`.
      where: prefix of the names of the measure's baselines.
    """

    value: Callable[[str], float | None]
    wins: Callable[[float, float], bool]
    least: bool
    reason: str
    where: str = ""


def better_baseline(summary: Summary) -> str:
    """Name the baselines that win on held-out data, by how much, and what to take instead; empty where none does.

    Args:
      summary: measures of the run.
    """
    if not summary.get("held_out_frames", summary.get("held_out_images", 1)):
        return ""
    reasons, advice = [], []
    for comparison in _comparisons(summary):
        found = {name: comparison.value(f"{comparison.where}baseline/{name}/") for name in _names(summary, comparison)}
        values = {name: value for name, value in found.items() if value is not None}
        own = comparison.value(comparison.where)
        if own is None or not values:
            continue
        winner = (min if comparison.least else max)(values, key=lambda name: values[name])
        if comparison.wins(values[winner], own):
            label, what = _BASELINES.get(winner, _Baseline(winner, f"take {winner}"))
            reasons.append(comparison.reason.format(label=label, best=values[winner], own=own))
            advice.append(what)
    if not reasons:
        return ""
    said = ", or ".join(dict.fromkeys(advice))
    return f"BASELINE: on held-out data {'; '.join(reasons)}. {said[0].upper()}{said[1:]}."


def _names(summary: Summary, comparison: _Comparison) -> list[str]:
    start = f"{comparison.where}baseline/"
    names = dict.fromkeys(name[len(start) :].split("/")[0] for name in summary if name.startswith(start))
    return [name for name in names if name not in _BOUNDS]


def _comparisons(summary: Summary) -> Iterator[_Comparison]:
    latents = [name for name in summary if name.startswith("r2/")]

    # A baseline whose features tell sequences apart is not slower for it.
    kind, where = ("delta_within", " within sequences") if "delta_within/0" in summary else ("delta", "")

    def mean_delta(prefix: str) -> float | None:
        """Geometric mean: each of the slowest counts alike, however slow."""
        deltas = [summary.get(f"{prefix}{kind}/{k}") for k in range(_SLOWEST)]
        logs = [math.log(max(delta, 1e-300)) for delta in deltas if delta is not None]
        return math.exp(sum(logs) / len(logs)) if logs else None

    def mean_r2(prefix: str) -> float | None:
        """Mean of what is told; a readout that is worse than the mean tells nothing, however much worse."""
        values = [max(0.0, summary[prefix + name]) for name in latents if prefix + name in summary]
        return sum(values) / len(values) if values and len(values) == len(latents) else None

    def measure(name: str) -> Callable[[str], float | None]:
        return lambda prefix: summary.get(f"{prefix}{name}")

    if "masked_psnr" not in summary:  # features that were not asked to be slow
        yield _Comparison(
            mean_delta,
            lambda best, own: best < _SLOWER * own,
            True,
            f"{{label}} is slower (mean Delta of the slowest{where} {{best:.2g}}, the code {{own:.2g}})",
        )
    yield _Comparison(
        mean_r2,
        lambda best, own: best > own + _READS_MORE,
        False,
        "{label} tells more of what is known (mean R2 {best:.3f}, the code {own:.3f})",
    )
    for where in ("", "drawn/"):
        yield _Comparison(
            measure("psnr"),
            lambda best, own: best > own + _DRAWS_BETTER,
            False,
            "{label} of as many numbers draws better ({best:.2f} dB, the code {own:.2f} dB)",
            where,
        )
    for name in summary:
        if name == "accuracy" or name.startswith("probe/"):
            said = "" if name == "accuracy" else f" from {name.split('/')[1].replace('_', ' ')}"
            yield _Comparison(
                measure(name),
                lambda best, own: best > own + _CLASSIFIES_BETTER,
                False,
                f"{{label}} classifies better{said} ({{best:.1%}}, the code {{own:.1%}})",
            )
        if name.startswith("future/squared_error/"):
            yield _Comparison(
                measure(name.removeprefix("future/")),
                lambda best, own: best < own,
                True,
                f"{{label}} is nearer to frame {name.split('/')[-1]} ahead ({{best:.4f}}, the code {{own:.4f}})",
                "future/",
            )
