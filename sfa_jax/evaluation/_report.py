"""The run report: a table beside the baselines, and in words what the controls say."""

import math
from collections.abc import Mapping

# A code that keeps this little of its slowness on shuffled frames, or loses this much without y_{t-1}, is memory.
MEMORY_DELTA = 1.0
MEMORY_RELIANCE = 0.5
COLLAPSE_SHARE = 0.25
OVERFIT_GAP = 2.0
MANY_FRAMES = 20  # held-out frames below which a measure is chance
SHIFTED_WHITENESS = 2.0  # of a code that is white on the training frames
_DELTAS_SHOWN = 4
_FUTURES = {"learned": "", "the last frame": "baseline/last_frame/", "the mean frame": "baseline/mean_frame/"}
_CODE_MEASURES = {
    "elbo": "ELBO, nats",
    "held_out/kl": "KL, nats",
    "active_units": "active units",
    "live_units": "live units",
    "active_share_of_live": "share of these active on an image",
}
_WITHOUT_LEARNING = {"random_erase": "mean_filled", "downsample": "bicubic"}
_PROBED = {
    "learned code": "",
    "pixels": "baseline/pixels/",
    "PCA": "baseline/pca/",
    "the network, untrained": "baseline/untrained/",
}
_IMAGE_COLUMNS = (("psnr", ".2f"), ("psnr_worst_tenth", ".2f"), ("ssim", ".3f"))


def verdicts(summary: Mapping[str, float], dim: int) -> list[str]:
    """What the controls say about a run, one sentence each; empty where there is nothing to warn of.

    Args:
      summary: the run's measures.
      dim: size of the embedding.
    """
    if "psnr" in summary or "accuracy" in summary:
        return _unused(summary)
    if "omp/elbow" in summary:
        return _unused_atoms(summary)
    said = []
    rank = summary.get("effective_rank_train", summary.get("effective_rank", 0.0))
    if rank < 1:
        said.append("COLLAPSED: the code is constant (effective rank 0); it tells nothing about the frames.")
    elif "masked_psnr" in summary:
        pass  # features that nothing has asked to be white
    elif rank < max(min(2.0, 0.55 * dim), COLLAPSE_SHARE * dim) and dim > 1:
        said.append(
            f"COLLAPSED: the embedding uses {rank:.1f} of its {dim} dimensions (effective rank, training frames); "
            "the others are copies or noise. Either the frames hold no more, or the objective gave them up."
        )
    shuffled, reliance = summary.get("shuffle_control_delta"), summary.get("memory_reliance")
    reasons = []
    if shuffled is not None and shuffled < MEMORY_DELTA:
        reasons.append(
            f"shown the frames in random order it stays slow (Delta {shuffled:.2f}; an instantaneous code has 2)"
        )
    if reliance is not None and reliance > MEMORY_RELIANCE:
        reasons.append(f"without y_{{t-1}} it loses {reliance:.0%} of its variance")
    if reasons:
        said.append(
            f"MEMORY: the slowness of this code comes from its recurrence, not from the frames: "
            f"{' and '.join(reasons)}. Its Delta values are no evidence; compare a network without memory "
            "(network.recurrence=none, where there is the choice)."
        )
    if rank >= 1 > summary.get("effective_rank", 1.0):
        said.append(
            "STILL: on the held-out frames the code does not change, so that nothing is measured there. Does the video "
            "end in a still picture? Hold out more of it (evaluation.holdout), or cut the end off."
        )
    few = summary.get("held_out_frames", math.inf) < MANY_FRAMES
    if few:
        said.append(
            f"FEW: {summary['held_out_frames']:.0f} held-out frames are too few to tell slowness from chance; give "
            "longer video, or raise evaluation.holdout."
        )
    gap = summary.get("slowness_gap", 0.0)
    if gap > OVERFIT_GAP and not few:
        said.append(
            f"OVERFIT: held-out frames are {gap:.1f} times less slow than training frames; more video or fewer "
            "steps help."
        )
    whiteness = summary.get("whiteness_error", 0.0)
    if whiteness > SHIFTED_WHITENESS and not few:
        said.append(
            f"SHIFTED: white on the training frames, the code is far from white on the held-out ones (whiteness error "
            f"{whiteness:.2g}, near 0 where the two are alike). They show what training did not, or it has hardly "
            "begun: more runs, longer ones or more steps help."
        )
    finite = summary.get("finite_share", 1.0)
    if finite < 1:
        said.append(
            f"NOT FINITE: {100 * (1 - finite):.2g} % of the held-out frames have a code that is infinite or not a "
            "number, and measures that need it are left out. A recurrence that runs away does this; compare a network "
            "without memory."
        )
    return said


def _unused(summary: Mapping[str, float]) -> list[str]:
    """What is to be said of an image autoencoder whose code is hardly used."""
    size = summary.get("code_size", 0.0)
    for name, what, why in (
        ("live_units", "active on 1 % of the held-out images", "lower objective.l1_weight, or train for longer"),
        ("active_units", "varying over the held-out images", "lower objective.beta, or take a smaller code"),
    ):
        if summary.get(name, size) < COLLAPSE_SHARE * size:
            return [f"UNUSED: {summary[name]:.0f} of the {size:.0f} numbers of the code are {what}; {why}."]
    return []


def _unused_atoms(summary: Mapping[str, float]) -> list[str]:
    used, size = summary["used_atoms"], summary["dim"]
    if used >= 0.5 * size:
        return []
    return [
        f"UNUSED: only {used:.0f} of the {size:.0f} atoms are in the code of some held-out signal; lower "
        "dictionary.alpha or dictionary.n_atoms."
    ]


def table(summary: Mapping[str, float]) -> str:
    """The learned code beside each baseline: R^2 of the latents, Delta of the slowest features, effective rank.

    Of an image autoencoder: `image_table`. Of a classifier: its accuracy beside that of each baseline. Of a
    dictionary: how well and how sparsely it codes.
    """
    if "accuracy" in summary:
        return _accuracy_lines(summary)
    if "psnr" in summary:
        return image_table(summary)
    if "omp/elbow" in summary:
        return _sparse_lines(summary)
    latents = [name.removeprefix("r2/") for name in summary if name.startswith("r2/")]
    deltas = [k for k in range(_DELTAS_SHOWN) if f"delta/{k}" in summary]
    frames = "held-out frames" if summary.get("held_out_frames", 1) else "training frames"
    header = [frames, *(f"R2 {name}" for name in latents), *(f"Delta {k}" for k in deltas), "eff. rank"]
    rows = [header]
    baselines = dict.fromkeys(name.split("/")[1] for name in summary if name.startswith("baseline/"))
    for label, prefix in [("learned code", ""), *((name, f"baseline/{name}/") for name in baselines)]:
        cells = [_cell(summary.get(f"{prefix}r2/{name}"), ".3f") for name in latents]
        cells += [_cell(summary.get(f"{prefix}delta/{k}"), ".2g") for k in deltas]
        rows.append([label.replace("_", " "), *cells, _cell(summary.get(f"{prefix}effective_rank"), ".1f")])
    lines = [_lines(rows)]
    if "drawn/psnr" in summary:
        lines += ["", _image_lines(summary, "drawn/")]
    horizons = [k for k in range(1, 1000) if f"future/squared_error/{k}" in summary]
    if horizons:
        rows = [["squared error, frames after the last seen", *map(str, horizons)]]
        for label, where in _FUTURES.items():
            rows.append([label, *(_cell(summary.get(f"future/{where}squared_error/{k}"), ".4f") for k in horizons)])
        lines += ["", _lines(rows)]
    if "masked_psnr" in summary:
        values = summary["masked_psnr"], summary["masked_psnr_of_mean_image"]
        lines += ["", "PSNR of masked cells: predicted {:.2f}, by the mean image {:.2f}".format(*values)]
    return "\n".join(lines)


def image_table(summary: Mapping[str, float]) -> str:
    """The learned autoencoder beside each baseline of as many numbers: PSNR, its lowest decile, and SSIM.

    Below, what was measured of the code: its use, likelihood, restorations, and classes read from it.
    """
    found = [f"{label} {summary[name]:.4g}" for name, label in _CODE_MEASURES.items() if name in summary]
    blocks = [_image_lines(summary, ""), "; ".join(found), _restored_lines(summary), _probe_lines(summary)]
    return "\n\n".join(block for block in blocks if block)


def _restored_lines(summary: Mapping[str, float]) -> str:
    names = [name.split("/")[1] for name in summary if name.startswith("restored/") and name.endswith("/psnr")]
    rows = [["PSNR of held-out images", "corrupted", "restored", "without learning"]]
    for name in names:
        values = [summary.get(f"restored/{name}/{measure}") for measure in ("corrupted_psnr", "psnr")]
        rival = _WITHOUT_LEARNING.get(name, "")
        told = f"{summary[f'restored/{name}/{rival}_psnr']:.2f}, {rival.replace('_', ' ')}" if rival else "-"
        rows.append([name.replace("_", " "), *(_cell(value, ".2f") for value in values), told])
    return _lines(rows) if names else ""


def _probe_lines(summary: Mapping[str, float]) -> str:
    names = [name for name in summary if name.startswith("probe/")]
    rows = [["classes right, by a linear probe", *(name.split("/")[1].replace("_", " ") for name in names)]]
    for label, where in _PROBED.items():
        rows.append([label, *(_cell(summary.get(f"{where}{name}"), ".3f") for name in names)])
    return _lines(rows) if names else ""


def _image_lines(summary: Mapping[str, float], prefix: str) -> str:
    """The measures of drawn images, whose names begin with `prefix`."""
    frames = "held-out images" if summary.get("held_out_images", 1) else "training images"
    size = summary[f"{prefix}code_size"]
    rows = [[f"{frames}, {size:.0f} numbers each", "PSNR", "worst tenth", "SSIM"]]
    start = f"{prefix}baseline/"
    drawn = [name for name in summary if name.startswith(start) and name.endswith("/psnr")]
    baselines = dict.fromkeys(name[len(start) :].split("/")[0] for name in drawn)
    for label, where in [("learned", prefix), *((name, f"{start}{name}/") for name in baselines)]:
        values = [(summary.get(f"{where}{name}"), form) for name, form in _IMAGE_COLUMNS]
        rows.append([label.replace("_", " "), *(_cell(value, form) for value, form in values)])
    return _lines(rows)


def _sparse_lines(summary: Mapping[str, float]) -> str:
    frames = "held-out signals" if summary.get("held_out_frames", 1) else "training signals"
    numbers = [name.split("/")[-1] for name in summary if name.startswith("omp/left/")]
    shown = [k for k in numbers if int(k) in (1, 4, 16)]
    cells = "gabor/share" in summary
    rows = [[frames, "objective", "left", "non-zeros", "kurtosis", *(f"left, OMP {k}" for k in shown), "elbow"]]
    rows[0] += ["like simple cells"] * cells
    for label, where in (("learned", ""), ("pca", "baseline/pca/")):
        if f"{where}objective" in summary:
            names = ("objective", ".4g"), ("left", ".3f"), ("n_nonzero", ".1f"), ("kurtosis", ".0f")
            line = [_cell(summary.get(f"{where}{name}"), form) for name, form in names]
            line += [_cell(summary.get(f"{where}omp/left/{k}"), ".3f") for k in shown]
            line += [_cell(summary.get(f"{where}omp/elbow"), ".0f")]
            line += [_cell(summary.get(f"{where}gabor/share"), ".0%")] * cells
            rows.append([label, *line])
    return _lines(rows)


def _accuracy_lines(summary: Mapping[str, float]) -> str:
    images = "held-out images" if summary.get("held_out_images", 1) else "training images"
    rows = [[f"{images}, learned from {summary['labelled_images']:.0f} labels", "accuracy"]]
    rows.append(["learned", _cell(summary["accuracy"], ".3f")])
    for name in summary:
        if name.startswith("baseline/") and name.endswith("/accuracy"):
            rows.append([name.split("/")[1].replace("_", " "), _cell(summary[name], ".3f")])
    return _lines(rows)


def _lines(rows: list[list[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def _cell(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
