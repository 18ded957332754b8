"""The pictures show the data that they are said to show: what is drawn, on which scale, and what is left out."""

import numpy as np
import pytest

from sfa_jax import evaluation, sparse
from sfa_jax.evaluation import _class_plots, _feature_plots, _loss_plots, _sparse_plots, _trace_plots
from sfa_jax.evaluation._pictures import Figures


def lines_of(axis):
    """The curves of an axis by their label, without the lines across it."""
    return {line.get_label(): np.asarray(line.get_ydata(), float) for line in axis.lines if len(line.get_ydata()) > 2}


def traces_of(figure, name):
    (axis,) = [axis for axis in figure.axes if axis.get_ylabel().split("\n")[0] == name]
    (curve,) = [line for line in axis.lines if len(line.get_ydata()) > 2]
    return np.asarray(curve.get_xdata()), np.asarray(curve.get_ydata()), axis


def test_traces_show_all_sequences_on_one_scale(rng):
    code = [rng.normal(size=(length, 10)) for length in (5, 40, 3)]
    for part in code:
        part[:, 1] = 1e-4 * rng.normal(size=len(part))  # nearly constant: must look so
    truth = [{"x": rng.random(len(part))} for part in code]
    figure = _trace_plots.draw_traces(Figures(), code, truth)
    place, curve, axis = traces_of(figure, "feature 0")
    drawn = np.isfinite(curve)
    np.testing.assert_array_equal(place[drawn], np.arange(48))
    np.testing.assert_allclose(curve[drawn], np.concatenate(code)[:, 0])
    assert list(np.flatnonzero(~drawn)) == [5, 46]  # no line joins two sequences
    dotted = sorted(line.get_xdata()[0] for line in axis.lines if line.get_linestyle() == ":")
    assert dotted == [4.5, 44.5]
    assert traces_of(figure, "feature 1")[2].get_ylim() == axis.get_ylim()
    assert np.ptp(traces_of(figure, "feature 1")[1][drawn]) < 1e-3 * np.ptp(axis.get_ylim())
    np.testing.assert_allclose(traces_of(figure, "x")[1][drawn], np.concatenate([run["x"] for run in truth]))
    title = figure.axes[0].get_title()
    assert "Slowest 8 of 10 features, 48 held-out frames of 3 sequences" in title
    assert "standard deviations of training" in title


def test_traces_say_what_is_left_out(rng):
    code = [rng.normal(size=(5001, 2)), rng.normal(size=(5, 2))]
    code[0][70, 1], code[0][71, 0] = 1e3, np.nan
    figure = _trace_plots.draw_traces(Figures(), code, [{}, {}])
    place, curve, axis = traces_of(figure, "feature 0")
    drawn = np.isfinite(place)
    assert place[drawn][-1] >= 5001  # the last sequence is there
    assert len(curve) <= 2002
    assert "All 2 features, slowest first, 5,006 held-out frames of 2 sequences, every 3rd drawn" in (
        figure.axes[0].get_title()
    )
    assert [axis.get_ylabel() for axis in figure.axes] == ["feature 0", "feature 1\nup to 1e+03 sd"]
    assert axis.get_ylim()[1] < 9


def test_code_is_shown_in_deviations_of_training(rng):
    train = [rng.normal(3, 2, size=(50, 2)), rng.normal(3, 2, size=(30, 2))]
    for part in train:
        part[:, 1] = 5
    mean, deviation = np.concatenate(train)[:, 0].mean(), np.concatenate(train)[:, 0].std()
    (found,) = evaluation.in_training_deviations([np.full((4, 2), 5.0)], train)
    np.testing.assert_allclose(found[:, 0], (5 - mean) / deviation)
    np.testing.assert_array_equal(found[:, 1], 0)


def test_losses_draw_terms_that_add_up():
    records = [
        {"step": step, "split": "train", "loss": 3.0 / step, "slow": 1.0 / step, "spread": 2.0 / step, "off": 0.0}
        | {"frames_per_second": 9.0, "gradient_norm": 1.0}
        for step in (1, 2, 3)
    ] + [{"step": step, "split": "eval", "loss": 5.0, "effective_rank": 2.0} for step in (1, 2, 3)]
    figure = _loss_plots.draw_losses(Figures(), records, "loss, nats")
    (axis,) = figure.axes
    lines = lines_of(axis)
    terms = [values for label, values in lines.items() if "weighted" in label]
    np.testing.assert_allclose(np.sum(terms, axis=0), lines["training"])
    np.testing.assert_array_equal(lines["held out"], 5)
    labels = [text.get_text() for text in axis.get_legend().get_texts()]
    assert "training, off (weighted): 0 throughout" in labels
    assert axis.get_yscale() == "log"
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("training step", "loss, nats")
    records[0]["slow"] = -1.0  # as an unbiased penalty may be
    assert _loss_plots.draw_losses(Figures(), records, "loss").axes[0].get_yscale() == "linear"


def test_deltas_show_training_held_out_and_baselines():
    summary = {f"delta_train/{k}": 0.1 * (k + 1) for k in range(4)} | {f"delta/{k}": 0.2 for k in range(3)}
    summary |= {f"baseline/{name}/delta/{k}": 0.3 for name in ("pca", "mine") for k in range(4)}
    summary |= {"baseline/pca/r2/x": 0.9, "delta/2": 0.0}
    (axis,) = _feature_plots.draw_deltas(Figures(), summary).axes
    lines = lines_of(axis)
    np.testing.assert_allclose(lines["learned code, training"], [0.1, 0.2, 0.3, 0.4])
    np.testing.assert_allclose(lines["learned code, held out"], [0.2, 0.2, np.nan, np.nan])
    np.testing.assert_allclose(lines["PCA, held out"], np.full(4, 0.3))
    np.testing.assert_allclose(lines["mine, held out"], np.full(4, 0.3))
    assert axis.get_yscale() == "log"
    assert evaluation.delta_pictures({"rank": 0.0}) == []


def test_extremes_lie_apart_and_are_the_largest(rng):
    code = [np.sin(np.linspace(0, 20, 300))[:, None] * [1.0, -2.0], rng.normal(0, 0.1, size=(100, 2))]
    code[0][7, 0], code[0][8, 0] = 5.0, np.nan  # an outlier, and a frame without a code beside it
    found = evaluation.find_extremes(code)
    assert found.part.shape == found.frame.shape == found.value.shape == (2, 8)
    assert (np.diff(found.value, axis=1) >= 0).all()
    assert (found.part[0, -1], found.frame[0, -1], found.value[0, -1]) == (0, 7, 5)
    for k in range(2):
        for part, frame, value in zip(found.part[k], found.frame[k], found.value[k], strict=True):
            assert code[part][frame, k] == value
        for end in (slice(0, 4), slice(4, 8)):
            frames = np.sort(found.frame[k, end][found.part[k, end] == 0])
            assert (np.diff(frames) >= 400 // 20).all()
    short = evaluation.find_extremes([np.array([[1.0], [2.0]])])
    np.testing.assert_array_equal(short.value, [[1, 2]])
    assert evaluation.find_extremes([np.full((3, 1), np.nan)]).value.size == 0


def test_extremes_are_drawn_with_their_values(tmp_path):
    code = [np.arange(50.0)[:, None]]
    frames = np.zeros((50, 4, 4, 1), np.uint8) + np.arange(50, dtype=np.uint8)[:, None, None, None]
    found = evaluation.find_extremes(code, n_frames=2)
    images = np.array([[frames[frame] for frame in found.frame[0]]])
    figure = _feature_plots.draw_extremes(Figures(), images, found.value, [["a", "b", "c", "d"]])
    shown = [axis.images[0].get_array() for axis in figure.axes]
    np.testing.assert_allclose([image.max() * 255 for image in shown], [0, 2, 47, 49])
    assert figure.axes[3].get_xlabel() == "+49.0 sd\nd"
    (picture,) = evaluation.extreme_pictures(found, lambda part, frame: frames[frame], lambda part, frame: f"{frame}")
    picture.draw(tmp_path)
    assert (tmp_path / "extremes.png").exists()
    assert evaluation.extreme_pictures(evaluation.find_extremes([np.zeros((3, 0))]), None, None) == []


@pytest.mark.parametrize(("channels", "expected"), [(1, -0.5), (3, 0.25)])
def test_filters_share_a_scale(channels, expected):
    kernel = np.zeros((3, 3, channels, 70))
    kernel[0, 1, 0, 0], kernel[2, 2, 0, 69] = -1.0, 2.0
    figure = _feature_plots.draw_filters(Figures(), kernel, "Filters")
    shown = [axis.images[0].get_array() for axis in figure.axes if axis.images]
    assert len(shown) == 64
    assert np.atleast_3d(shown[0])[0, 1, 0] == expected
    assert np.atleast_3d(shown[-1])[2, 2, 0] == 1
    assert "64 of 70" in figure.get_suptitle()
    assert "(to 2)" in figure.get_suptitle()


def test_codes_say_the_kurtosis_of_the_table(rng):
    x = rng.standard_normal((300, 6)).astype(np.float32)
    measures, codes = evaluation.coding_measures(np.eye(6, dtype=np.float32), x, 0.8, positive=False)
    sequences = [rng.normal(size=(900, 3)), rng.normal(size=(20, 3))]
    figure = _sparse_plots.draw_sparse_codes(Figures(), sequences, {"PCA": codes}, what="frame", number="code")
    left, right, _ = figure.axes
    (label, _) = [text.get_text() for text in right.get_legend().get_texts()]
    assert label == f"PCA, kurtosis {measures['kurtosis']:.0f}"
    assert f"{float(sparse.kurtosis(codes)):.0f}" == f"{measures['kurtosis']:.0f}" != "3"
    assert left.get_title() == "Codes of 920 held-out frames, one of 2 drawn"
    assert left.images[0].get_array().shape == (3, 460)


def test_mistakes_say_how_many_there_are(rng):
    labels, images = np.zeros(40, int), np.zeros((40, 4, 4, 1), np.uint8)
    for n_wrong, said in ((20, "16 of the 20 mistakes on 40"), (3, "All 3 mistakes on 40")):
        wrong = (np.arange(40) < n_wrong).astype(float)
        probabilities = np.stack([1 - wrong, wrong], axis=1)
        figure = _class_plots.draw_mistakes(Figures(), images, probabilities, labels, ["a", "b"])
        assert figure.get_suptitle().replace("\n", " ").startswith(said)
