"""Held-out measures on signals whose values are known, the report's words, and the pictures."""

import numpy as np
import pytest

from sfa_jax import evaluation


@pytest.fixture
def signals():
    """Two runs of (slow sine, fast sine, noise), mixed by one matrix; the truth is the slow sine."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(3, 3))

    def run(n, phase):
        t = np.arange(n)
        latents = np.stack([np.sin(t / 40 + phase), np.sin(t / 7 + phase), rng.normal(size=n)], axis=1)
        return (latents @ mixing + 5).astype(np.float32), {"slow": latents[:, 0].astype(np.float32)}

    train, held_out = [run(900, 0.0), run(700, 1.0)], [run(500, 2.0), run(300, 0.5)]
    return tuple([part[i] for part in parts] for parts in (train, held_out) for i in (0, 1))


def test_code_measures(signals):
    train, train_truth, held_out, held_truth = signals
    measures = evaluation.code_measures(train, held_out, train_truth, held_truth)
    assert measures["rank"] == 3
    expected = [2 * (1 - np.cos(1 / 40)), 2 * (1 - np.cos(1 / 7)), 2.0]
    np.testing.assert_allclose([measures[f"delta/{k}"] for k in range(3)], expected, rtol=0.15)
    assert measures["eta/0"] == pytest.approx(400 / (2 * np.pi) / 40, rel=0.1)  # T is the mean length of a run
    assert measures["r2/slow"] > 0.99
    assert measures["slowness_gap"] == pytest.approx(1.0, abs=0.1)
    assert measures["whiteness_error"] < 0.1
    assert all(isinstance(value, float) for value in measures.values())


def test_held_out_frames_without_a_finite_code_are_counted(signals):
    train, train_truth, held_out, held_truth = signals
    held_out[0] = held_out[0].copy()
    held_out[0][:80, 1] = np.nan
    measures = evaluation.code_measures(train, held_out, train_truth, held_truth)
    assert measures["finite_share"] == pytest.approx(0.9)
    assert measures["delta_train/0"] < 0.01
    assert all(np.isfinite(value) for value in measures.values())
    assert "r2/slow" not in measures


def test_pairs_do_not_cross_runs():
    y = [np.zeros((5, 1)), np.ones((5, 1)) * 100, np.array([[0.0], [1.0]])]
    assert evaluation.run_deltas(y)[0] == pytest.approx((1 / 9) / np.concatenate(y).var())


def test_a_still_code_has_no_delta(rng):
    still = np.full((30, 2), 0.1, np.float32) + np.float32(1e-8) * rng.normal(size=(30, 2)).astype(np.float32)
    assert np.isnan(evaluation.run_deltas([still])).all()
    code = rng.normal(size=(300, 3)).astype(np.float32)
    measures = evaluation.code_measures([code], [np.repeat(code[:1], 40, axis=0)], [{}], [{}])
    assert measures["effective_rank"] == 0
    assert not any(name.startswith(("delta/", "eta/")) or name == "slowness_gap" for name in measures)


def test_linear_r2_can_be_negative(rng):
    code, latent = rng.normal(size=(50, 2)), rng.normal(size=50)
    assert evaluation.linear_r2(code, code[:, 0], code, code[:, 0]) == pytest.approx(1.0)
    assert evaluation.linear_r2(code, latent, code, -10 * latent) < 0
    assert np.isnan(evaluation.linear_r2(code, latent, code, np.ones(50)))
    for bad in (latent[:, None], latent[:-1]):
        with pytest.raises(ValueError, match=r"code, latent: expected \[time, 2\] and \[time\]"):
            evaluation.linear_r2(code, bad, code, latent)
        with pytest.raises(ValueError, match="code, latent"):
            evaluation.linear_r2(code, latent, code, bad)


def test_pca_equals_numpy(rng):
    frames = rng.integers(0, 256, (60, 4, 5, 3), dtype=np.uint8)
    (train,), (held_out,) = evaluation.pca_codes([frames[:40]], [frames[40:]], 3)
    flat = frames.reshape(60, -1) / 255.0
    mean = flat[:40].mean(axis=0)
    _, _, axes = np.linalg.svd(flat[:40] - mean, full_matrices=False)
    expected = (flat - mean) @ axes[:3].T
    found = np.concatenate([train, held_out])
    signs = np.sign(np.sum(found * expected, axis=0))
    np.testing.assert_allclose(found * signs[None], expected, atol=1e-4)


def test_sfa_codes(signals):
    train, _, held_out, _ = signals
    mixed = [[np.stack([run[:, 0], run[:, 1] ** 2], axis=1) for run in part] for part in (train, held_out)]
    for degree, n_components in [(1, 2), (2, 4)]:
        found = evaluation.sfa_codes(*mixed, n_components, degree=degree)
        assert [[len(run) for run in part] for part in found] == [[len(run) for run in part] for part in mixed]
        code = np.concatenate(found[0])
        np.testing.assert_allclose(np.cov(code, rowvar=False, bias=True), np.eye(n_components), atol=1e-5)
        deltas = evaluation.run_deltas(found[0])
        assert np.all(np.diff(deltas) > 0)
    assert evaluation.sfa_codes(*mixed, 99, degree=1)[0][0].shape[1] == 2


def test_whiteness_error(rng):
    white = rng.normal(size=(20_000, 4))
    assert evaluation.whiteness_error(white) < 0.02
    assert evaluation.whiteness_error(2 * white) == pytest.approx(np.sqrt(4 * 9 / 16), rel=0.05)


def test_table_and_verdicts():
    summary = {"delta/0": 0.01, "r2/x": 0.9, "effective_rank": 20.0, "effective_rank_train": 21.0, "slowness_gap": 1.1,
               "shuffle_control_delta": 2.0, "memory_reliance": 0.0,
               "baseline/pca/r2/x": 0.5, "baseline/pca/delta/0": 0.2, "baseline/pca/effective_rank": 9.0}  # fmt: skip
    lines = evaluation.table(summary).splitlines()
    assert lines[0].split() == ["held-out", "frames", "R2", "x", "Delta", "0", "eff.", "rank"]
    assert lines[2].split() == ["learned", "code", "0.900", "0.01", "20.0"]
    assert lines[3].split() == ["pca", "0.500", "0.2", "9.0"]
    assert evaluation.verdicts(summary, 32) == []
    for change, word in [
        ({"shuffle_control_delta": 0.2}, "MEMORY"),
        ({"memory_reliance": 0.9}, "MEMORY"),
        ({"effective_rank_train": 3.0}, "COLLAPSED"),
        ({"effective_rank_train": 0.0}, "constant"),
        ({"slowness_gap": 4.0}, "OVERFIT"),
        ({"whiteness_error": 3.0}, "SHIFTED"),
        ({"effective_rank": 0.0}, "STILL"),
        ({"held_out_frames": 2.0, "slowness_gap": 4.0, "whiteness_error": 3.0}, "FEW: 2 held-out frames"),
        ({"finite_share": 0.9}, "NOT FINITE: 10 % of"),
    ]:
        (said,) = evaluation.verdicts(summary | change, 32)
        assert word in said
    for dim, rank, flagged in [(2, 1.0, True), (2, 1.6, False), (3, 1.0, True), (1, 1.0, False)]:
        assert bool(evaluation.verdicts(summary | {"effective_rank_train": rank}, dim)) == flagged
    lines = evaluation.table(summary | {"held_out_frames": 0.0}).splitlines()
    assert lines[0].startswith("training frames")


def test_plots(tmp_path, rng):
    truth = {name: rng.random(90) for name in ("x", "z", "cos_heading", "sin_heading")}
    records = [{"step": s, "split": "train", "loss": 1.0 / s, "slowness": 1.0, "frames_per_second": 9} for s in (1, 2)]
    code = rng.normal(size=(90, 3))
    pictures = evaluation.code_pictures([code], [truth]) + evaluation.loss_pictures(records)
    evaluation.draw_pictures(tmp_path, pictures)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {picture.name for picture in pictures} == {"traces.png", "covariance.png", "losses.png", "maps.png"}
    assert all((tmp_path / name).stat().st_size > 5000 for name in names)
    assert evaluation.code_pictures([code[:, :0]], [{}]) == evaluation.loss_pictures([]) == []
