"""Tables of the run report: what was learned beside the baselines, with the better direction of each column."""

from collections.abc import Mapping

Summary = Mapping[str, float]

_DELTAS_SHOWN = 4
_HIGHER, _LOWER = ["higher"], ["lower"]
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


def table(summary: Summary) -> str:
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
    lines = [_code_lines(summary)]
    if few := _few_features_lines(summary):
        lines += ["", few]
    if "drawn/psnr" in summary:
        lines += ["", _image_lines(summary, "drawn/")]
    horizons = [k for k in range(1, 1000) if f"future/squared_error/{k}" in summary]
    if horizons:
        rows = [["squared error, frames after the last seen", *map(str, horizons)], ["better", *_LOWER * len(horizons)]]
        for label, where in _FUTURES.items():
            rows.append([label, *(_cell(summary.get(f"future/{where}squared_error/{k}"), ".4f") for k in horizons)])
        lines += ["", _lines(rows)]
    if "masked_psnr" in summary:
        values = summary["masked_psnr"], summary["masked_psnr_of_mean_image"]
        lines += ["", "PSNR of masked cells: predicted {:.2f}, by the mean image {:.2f}".format(*values)]
    return "\n".join(lines)


def _codes(summary: Summary) -> list[tuple[str, str]]:
    """Label, and prefix in the summary, of the learned code and of each baseline."""
    baselines = dict.fromkeys(name.split("/")[1] for name in summary if name.startswith("baseline/"))
    return [("learned code", ""), *((name.replace("_", " "), f"baseline/{name}/") for name in baselines)]


def _frames(summary: Summary) -> str:
    return "held-out frames" if summary.get("held_out_frames", 1) else "training frames"


def _code_lines(summary: Summary) -> str:
    latents = [name.removeprefix("r2/") for name in summary if name.startswith("r2/")]
    deltas = [k for k in range(_DELTAS_SHOWN) if f"delta/{k}" in summary]
    header = [_frames(summary), *(f"R2 {name}" for name in latents), *(f"Delta {k}" for k in deltas)]
    rows = [[*header, "slow", "eff. rank"]]
    rows.append(["better", *_HIGHER * len(latents), *_LOWER * len(deltas), *_HIGHER * 2])
    for label, prefix in _codes(summary):
        cells = [_cell(summary.get(f"{prefix}r2/{name}"), ".3f") for name in latents]
        cells += [_cell(summary.get(f"{prefix}delta/{k}"), ".2g") for k in deltas]
        cells += [_cell(summary.get(f"{prefix}slow_features"), ".0f")]
        rows.append([label, *cells, _cell(summary.get(f"{prefix}effective_rank"), ".1f")])
    return _lines(rows)


def _few_features_lines(summary: Summary) -> str:
    """R^2 of the latents read from the slowest features only."""
    counts = sorted({int(name.split("/")[0].removeprefix("r2_of_")) for name in summary if name.startswith("r2_of_")})
    if not counts:
        return ""
    latents = [name.removeprefix("r2/") for name in summary if name.startswith("r2/")]
    rows = [[f"R2 of the {', '.join(map(str, counts))} slowest", *latents], ["better", *_HIGHER * len(latents)]]
    for label, prefix in _codes(summary):
        names = [[f"{prefix}r2_of_{count}/{name}" for count in counts] for name in latents]
        rows.append([label, *(" ".join(_cell(summary.get(name), ".3f") for name in group) for group in names)])
    return _lines(rows)


def image_table(summary: Summary) -> str:
    """The learned autoencoder beside each baseline of as many numbers: PSNR, its lowest decile, and SSIM.

    Below, what was measured of the code: its use, likelihood, restorations, and classes read from it.
    """
    found = [f"{label} {summary[name]:.4g}" for name, label in _CODE_MEASURES.items() if name in summary]
    blocks = [_image_lines(summary, ""), "; ".join(found), _restored_lines(summary), _probe_lines(summary)]
    return "\n\n".join(block for block in blocks if block)


def _restored_lines(summary: Summary) -> str:
    names = [name.split("/")[1] for name in summary if name.startswith("restored/") and name.endswith("/psnr")]
    rows = [["PSNR of held-out images", "corrupted", "restored", "without learning"], ["better", *_HIGHER * 3]]
    for name in names:
        values = [summary.get(f"restored/{name}/{measure}") for measure in ("corrupted_psnr", "psnr")]
        rival = _WITHOUT_LEARNING.get(name, "")
        told = f"{summary[f'restored/{name}/{rival}_psnr']:.2f}, {rival.replace('_', ' ')}" if rival else "-"
        rows.append([name.replace("_", " "), *(_cell(value, ".2f") for value in values), told])
    return _lines(rows) if names else ""


def _probe_lines(summary: Summary) -> str:
    names = [name for name in summary if name.startswith("probe/")]
    rows = [["classes right, by a linear probe", *(name.split("/")[1].replace("_", " ") for name in names)]]
    rows.append(["better", *_HIGHER * len(names)])
    for label, where in _PROBED.items():
        rows.append([label, *(_cell(summary.get(f"{where}{name}"), ".3f") for name in names)])
    return _lines(rows) if names else ""


def _image_lines(summary: Summary, prefix: str) -> str:
    """The measures of drawn images, whose names begin with `prefix`."""
    frames = "held-out images" if summary.get("held_out_images", 1) else "training images"
    size = summary[f"{prefix}code_size"]
    numbers = summary.get(f"{prefix}numbers", size)
    what = f"{numbers:.0f} numbers each" if numbers == size else f"{numbers:.0f} of {size:.0f} numbers active on each"
    rows = [[f"{frames}, {what}", "PSNR", "worst tenth", "SSIM"], ["better", *_HIGHER * 3]]
    start = f"{prefix}baseline/"
    drawn = [name for name in summary if name.startswith(start) and name.endswith("/psnr")]
    baselines = dict.fromkeys(name[len(start) :].split("/")[0] for name in drawn)
    for label, where in [("learned", prefix), *((name, f"{start}{name}/") for name in baselines)]:
        values = [(summary.get(f"{where}{name}"), form) for name, form in _IMAGE_COLUMNS]
        rows.append([label.replace("_", " "), *(_cell(value, form) for value, form in values)])
    return _lines(rows)


def _sparse_lines(summary: Summary) -> str:
    frames = "held-out signals" if summary.get("held_out_frames", 1) else "training signals"
    numbers = [name.split("/")[-1] for name in summary if name.startswith("omp/left/")]
    shown = [k for k in numbers if int(k) in (1, 4, 16)]
    cells = "gabor/share" in summary
    rows = [[frames, "objective", "left", "non-zeros", "kurtosis", *(f"left, OMP {k}" for k in shown), "elbow"]]
    rows[0] += ["like simple cells"] * cells
    rows.append(["better", *_LOWER * 3, *_HIGHER, *_LOWER * (len(shown) + 1), *_HIGHER * cells])
    for label, where in (("learned", ""), ("pca", "baseline/pca/")):
        if f"{where}objective" in summary:
            names = ("objective", ".4g"), ("left", ".3f"), ("n_nonzero", ".1f"), ("kurtosis", ".0f")
            line = [_cell(summary.get(f"{where}{name}"), form) for name, form in names]
            line += [_cell(summary.get(f"{where}omp/left/{k}"), ".3f") for k in shown]
            line += [_cell(summary.get(f"{where}omp/elbow"), ".0f")]
            line += [_cell(summary.get(f"{where}gabor/share"), ".0%")] * cells
            rows.append([label, *line])
    return _lines(rows)


def _accuracy_lines(summary: Summary) -> str:
    images = "held-out images" if summary.get("held_out_images", 1) else "training images"
    rows = [[f"{images}, learned from {summary['labelled_images']:.0f} labels", "accuracy"], ["better", "higher"]]
    rows.append(["learned", _cell(summary["accuracy"], ".3f")])
    for name in summary:
        if name.startswith("baseline/") and name.endswith("/accuracy"):
            rows.append([name.split("/")[1].replace("_", " "), _cell(summary[name], ".3f")])
    return _lines(rows)


def _lines(rows: list[list[str]]) -> str:
    """Aligned columns: the header, which direction is better, and the rows."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
    return "\n".join([*lines[:2], "-" * len(lines[0]), *lines[2:]])


def _cell(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
