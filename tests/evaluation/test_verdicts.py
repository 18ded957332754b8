"""Cheating models, and what the report says of them."""

import jax
import numpy as np
import pytest

from sfa_jax import evaluation
from sfa_jax.evaluation import code_measures, control_measures, verdicts

DIM = 32


def words(measures, dim=DIM):
    """First words of the verdicts."""
    return [sentence.split(":")[0] for sentence in verdicts(measures, dim)]


def walk(rng, n_frames, dim, smooth):
    """Signals of unit variance, correlated by `smooth` from frame to frame."""
    x = np.empty((n_frames, dim))
    x[0] = rng.normal(size=dim)
    for t in range(1, n_frames):
        x[t] = smooth * x[t - 1] + np.sqrt(1 - smooth**2) * rng.normal(size=dim)
    return x


def measured(code, code_without_memory, frames):
    """Measures of a model of frames `[time, ...]`: the first two thirds are training."""
    y, cut = code(frames), 2 * len(frames) // 3
    measures = code_measures([y[:cut]], [y[cut:]], [{}], [{}])
    readout = evaluation.solve_readout([y[:cut]])

    def read_out(values):
        return (values - readout.mean) @ readout.components[: int(readout.rank)].T

    return measures | control_measures(
        lambda x: read_out(code(x)),
        lambda x: read_out(code_without_memory(x)),
        [frames[cut:]],
        [read_out(y[cut:])],
        key=jax.random.key(0),
    )


def recurrent(step, dim):
    """A model y_t = step(y_{t-1}, x_t), and the same with y_{t-1} = 0."""

    def code(x):
        y, out = np.zeros(dim), []
        for x_t in x:
            y = step(y, x_t)
            out.append(y)
        return np.stack(out)

    return code, lambda x: np.stack([step(np.zeros(dim), x_t) for x_t in x])


@pytest.fixture
def honest(rng):
    """Frames of slow signals, which the model passes on as they are."""
    return walk(rng, 1500, DIM, 0.95)


def test_an_honest_code_passes(honest):
    measures = measured(lambda x: x, lambda x: x, honest)
    assert verdicts(measures, DIM) == []
    (said,) = evaluation.conclusion(measures, DIM)
    assert said.startswith("Checks passed: no collapse")
    for k in range(DIM):
        assert measures[f"ablated_delta/{k}"] == pytest.approx(measures[f"delta/{k}"])
        assert measures[f"shuffle_control_delta/{k}"] == pytest.approx(2, abs=0.2)


def test_a_gated_average_is_memory(rng):
    """It averages while frames agree and starts anew at jumps, so that shuffled frames find it without memory."""
    frames = walk(rng, 1500, 4, 0.995) + 0.3 * rng.normal(size=(1500, 4))

    def gate(y, x):
        return np.where(np.abs(x - y).max() < 1.2, 0.9 * y + 0.1 * x, x)

    code, _ = recurrent(gate, 4)
    measures = measured(code, lambda x: x, frames)
    assert measures["shuffle_control_delta/0"] > 1
    assert measures["memory_reliance/0"] < 0.5
    assert measures["ablated_delta/0"] > 5 * measures["delta/0"]
    (said,) = [sentence for sentence in verdicts(measures, 4) if "MEMORY" in sentence]
    assert "without y_{t-1}, feature" in said


@pytest.mark.parametrize("n_integrators", [1, 8])
def test_few_integrators_among_honest_outputs_are_memory(honest, n_integrators):
    def step(y, x):
        return np.where(np.arange(DIM) < n_integrators, 0.999 * y + 0.01 * x, x)

    measures = measured(*recurrent(step, DIM), honest)
    assert measures["shuffle_control_delta"] > 1  # the mean over outputs, which passes
    assert "MEMORY" in words(measures)


def test_a_constant_without_memory_is_memory(honest):
    code, _ = recurrent(lambda y, x: 0.999 * y + 0.01 * x, DIM)
    measures = measured(code, lambda x: np.zeros((len(x), DIM)), honest)
    assert "ablated_delta/0" not in measures
    (said,) = [sentence for sentence in verdicts(measures, DIM) if "MEMORY" in sentence]
    assert "is constant instead of" in said


def test_sequence_identity(rng):
    """A tint for each sequence, beside fast signals; and the same signals without it."""
    tints = rng.normal(size=(6, 4))
    for tint, flagged in ((5.0, True), (0.0, False)):
        parts = [walk(rng, 300, 8, 0.7) + tint * np.pad(one, (0, 4)) for one in tints]
        train, held_out = [y[:200] for y in parts], [y[220:] for y in parts]
        ids = range(6)
        measures = code_measures(train, held_out, [{}] * 6, [{}] * 6, sequences=(ids, ids))
        assert (measures["between_sequences/0"] > 0.9) == flagged
        assert measures["delta_within/0"] > 0.3
        assert ("SEQUENCES" in words(measures, 8)) == flagged


def test_parts_of_one_sequence_are_no_sequences(rng):
    parts = [walk(rng, 50, 3, 0.99) for _ in range(4)]
    measures = code_measures(parts, parts, [{}] * 4, [{}] * 4, sequences=([0] * 4, [0] * 4))
    assert not any(name.startswith("between_sequences") for name in measures)


def test_overfit_slow_features(rng):
    """Of many noise signals the slowest directions are slow on the training frames only; most features are honest."""
    honest = walk(rng, 900, 28, 0.9)
    train, held_out = (np.concatenate([honest, walk(rng, 900, 4, smooth)], axis=1) for smooth in (0.995, 0.95))
    measures = code_measures([train], [held_out], [{}], [{}])
    assert measures["slowness_gap"] < 2  # the mean over dimensions, which passes
    assert "OVERFIT" in words(measures)
    assert "fewer steps" in str(verdicts(measures, DIM))
    assert "fewer steps" not in str(verdicts(measures | {"closed_form": 1.0}, DIM))


def test_noise_dimensions(rng):
    y = np.concatenate([walk(rng, 1500, 2, 0.95), rng.normal(size=(1500, 30))], axis=1)
    measures = code_measures([y[:1000]], [y[1000:]], [{}], [{}])
    assert measures["effective_rank"] > 29
    assert measures["slow_features"] == 2
    assert words(measures) == ["NOISE"]


@pytest.mark.parametrize(("moved", "scale", "word"), [(1.5, 1.0, "moves by 1.5"), (0.0, 0.2, "varies 0.2 times")])
def test_a_slow_feature_that_moves_or_shrinks_is_shifted(rng, moved, scale, word):
    y = np.concatenate([walk(rng, 3000, 1, 0.98), walk(rng, 3000, 7, 0.5)], axis=1)
    y -= y.mean(axis=0)
    held_out = y.copy()
    held_out[:, 0] = scale * held_out[:, 0] + moved * held_out[:, 0].std()
    (said,) = verdicts(code_measures([y], [held_out], [{}], [{}]), 8)
    assert said.startswith("SHIFTED")
    assert word in said


def test_truth_outside_the_training_range(rng):
    train, held_out = [{"x": rng.random(200), "z": rng.random(200)}], [{"x": 1 + rng.random(90), "z": rng.random(90)}]
    measures = evaluation.truth_range_measures(train, held_out)
    assert measures["outside_range/x"] > 0.9
    assert measures["outside_range/z"] < 0.05
    (said,) = verdicts(measures | {"effective_rank_train": 9.0}, 8)
    assert "of the held-out values of x lie outside" in said
    assert "of z" not in said
    still = evaluation.truth_range_measures(train, [{"x": 0.5 + 0.01 * rng.random(90), "z": rng.random(90)}])
    assert "x varies 0.009 times as much" in str(verdicts(still | {"effective_rank_train": 9.0}, 8))


def test_r2_of_the_slowest(rng):
    y = walk(rng, 900, 12, 0.5) + 0
    slow = walk(rng, 900, 1, 0.99)
    y[:, 0] = slow[:, 0]
    truth = [{"slow": slow[:, 0], "fast": rng.normal(size=900)}]
    measures = code_measures([y], [y], truth, truth)
    assert measures["r2_of_2/slow"] > 0.99
    assert measures["r2_of_2/fast"] < measures["r2_of_8/fast"] < measures["r2/fast"] < 0.2


BASE = {"delta/0": 0.01, "r2/x": 0.9, "effective_rank": 20.0, "effective_rank_train": 21.0, "slowness_gap": 1.1,
        "shuffle_control_delta": 2.0, "memory_reliance": 0.0, "baseline/pca/r2/x": 0.5,
        "baseline/pca/delta/0": 0.2, "baseline/pca/effective_rank": 9.0}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"shuffle_control_delta": 0.2}, "MEMORY"),
        ({"memory_reliance": 0.9}, "MEMORY"),
        ({"effective_rank_train": 3.0}, "COLLAPSED"),
        ({"effective_rank_train": 3.0}, "batches of too few pairs for so many dimensions (data.batch_size)"),
        ({"effective_rank_train": 0.0}, "constant"),
        ({"slowness_gap": 4.0}, "OVERFIT"),
        ({"whiteness_error": 3.0}, "SHIFTED"),
        ({"effective_rank": 0.0}, "STILL"),
        ({"held_out_frames": 2.0, "slowness_gap": 4.0, "whiteness_error": 3.0}, "FEW: 2 held-out frames"),
        ({"finite_share": 0.9}, "NOT FINITE: 10 % of"),
        ({"slow_features": 3.0}, "NOISE: 3 of 32"),
        (
            {"baseline/linear_sfa/delta/0": 0.002},
            "linear SFA is slower (mean Delta of the slowest 0.002, the code 0.01)",
        ),
        ({"baseline/linear_sfa/delta/0": 0.002}, "Take configs/linear_sfa.py."),
        ({"baseline/quadratic_sfa/r2/x": 0.95}, "quadratic SFA tells more of what is known (mean R2 0.950"),
        ({"baseline/untrained/r2/x": 0.95}, "Training gains nothing"),
    ],
)
def test_one_sentence_each(change, said):
    assert verdicts(BASE, 32) == []
    (sentence,) = verdicts(BASE | change, 32)
    assert said in sentence


@pytest.mark.parametrize(("dim", "rank", "flagged"), [(2, 1.0, True), (2, 1.6, False), (3, 1.0, True), (1, 1.0, False)])
def test_collapse_of_small_codes(dim, rank, flagged):
    assert bool(verdicts(BASE | {"effective_rank_train": rank}, dim)) == flagged


@pytest.mark.parametrize(
    ("summary", "said"),
    [
        (
            {"psnr": 20.0, "baseline/pca/psnr": 20.5, "baseline/dct_best/psnr": 30.0},
            "PCA of as many numbers draws better",
        ),
        ({"accuracy": 0.8, "baseline/untrained_probe/accuracy": 0.82}, "the probe of the untrained network classifies"),
        ({"psnr": 9.0, "probe/all_labels": 0.7, "baseline/untrained/probe/all_labels": 0.8}, "better from all labels"),
        (
            {"future/squared_error/2": 0.3, "future/baseline/last_frame/squared_error/2": 0.2} | BASE,
            "the last frame is",
        ),
        ({"drawn/psnr": 9.0, "drawn/baseline/pca/psnr": 9.5} | BASE, "PCA of as many numbers"),
    ],
)
def test_a_winning_baseline_is_named(summary, said):
    (sentence,) = verdicts(summary, 32)
    assert sentence.startswith("BASELINE: on held-out data")
    assert said in sentence
    assert evaluation.conclusion(summary, 32)[-1] == sentence
    nothing_held_out = {"held_out_frames": 0.0, "held_out_images": 0.0}
    assert not [s for s in verdicts(summary | nothing_held_out, 32) if "BASELINE" in s]


def test_a_run_without_a_warning_says_so():
    assert evaluation.conclusion({"psnr": 20.0, "baseline/pca/psnr": 19.0}, 32)[0].startswith("All checks passed")
    assert evaluation.conclusion(BASE | {"baseline/pca/r2/x": 0.95}, 32)[0].startswith("Checks passed")


def test_a_feature_that_is_constant_on_held_out_frames_is_shifted(rng):
    """It has no held-out Delta, and is not passed over for that."""
    t = np.arange(1200)[:, None]
    y = np.sin(2 * np.pi * np.array([1, 8, 20, 40, 60]) * t / 1200)  # uncorrelated, so that they are the features
    held_out = y * np.array([0, 1, 1, 1, 1])
    measures = code_measures([y], [held_out], [{}], [{}])
    (said,) = verdicts({name: v for name, v in measures.items() if name not in ("delta/0", "eta/0")}, 5)
    assert said.startswith("SHIFTED")
    assert "feature 0 varies" in said


def test_what_shrinks_is_not_overfit_on_average(rng):
    y = walk(rng, 3000, 1, 0.98)
    held_out = 0.6 * y + 0.02 * rng.normal(size=(3000, 1))
    measures = code_measures([y], [held_out], [{}], [{}])
    measures |= {"slowness_gap": 2.2, "delta/0": 2.2 * measures["delta_train/0"]}
    assert verdicts(measures, 1) == []


def test_features_that_are_not_there_are_no_noise(rng):
    y = walk(rng, 1500, 3, 0.95) @ rng.normal(size=(3, 16))
    measures = code_measures([y], [y], [{}], [{}])
    assert measures["rank"] == 3
    assert words(measures, 16) == ["COLLAPSED"]


def test_one_held_out_sequence_has_one_delta(rng):
    """No sentence compares its Delta with itself."""
    parts = [walk(rng, 200, 8, 0.7) + 5 * np.pad(rng.normal(size=4), (0, 4)) for _ in range(6)]
    measures = code_measures(parts[:5], parts[5:], [{}] * 5, [{}], sequences=(range(5), [5]))
    said = next(sentence for sentence in verdicts(measures, 8) if sentence.startswith("SEQUENCES"))
    assert "within held-out sequences" not in said


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_code_that_is_not_finite_is_counted(rng, bad):
    y, held_out = walk(rng, 400, 4, 0.9), walk(rng, 200, 4, 0.9)
    held_out[::2, 1] = bad
    assert "NOT FINITE: 50 %" in str(verdicts(code_measures([y], [held_out], [{}], [{}]), 4))
    held_out[:, 1] = bad
    assert "NOT FINITE: 100 %" in str(verdicts(code_measures([y], [held_out], [{}], [{}]), 4))


def test_a_baseline_does_not_win_by_what_it_does_not_tell():
    """Neither by telling sequences apart, nor where both readouts are worse than the mean."""
    tinted = {"delta_within/0": 0.02, "baseline/pca/delta/0": 0.001, "baseline/pca/delta_within/0": 0.5}
    assert verdicts(BASE | tinted, 32) == []
    slower = BASE | tinted | {"baseline/pca/delta_within/0": 0.01}
    assert "(mean Delta of the slowest within sequences 0.01, the code 0.02)" in str(verdicts(slower, 32))
    assert verdicts(BASE | {"r2/x": -9.0, "baseline/pca/r2/x": -3.0}, 32) == []
