"""Long clips with rematerialisation: the memory of a step, a whole run, and configs from before the option."""

import json

import numpy as np
import pytest

from benchmarks.long_clips import Step, make_config, peak_bytes
from sfa_jax._errors import InputError
from sfa_jax.training import train_and_evaluate
from sfa_jax.training._model import make_network
from sfa_jax.training._options import check_network


def small_step(remat_frames):
    config = make_config("full", remat_frames)
    config.network.channels, config.network.dim, config.network.hidden = (8, 16, 32), 4, 32
    return Step(config, 1024)


def test_a_step_needs_little_more_memory_than_what_it_keeps():
    """In bytes as XLA plans them; `benchmarks/long_clips.py` has the process's own, on 4,096 frames."""
    step, whole = small_step(32), small_step(0)
    kept, peak = step.kept_bytes(), peak_bytes(step.compiled())
    frames, last = 1024 * 32 * 32 * 3, 1024 * 4 * 4 * 32 * 4
    assert frames + last < kept < 1.15 * (frames + last)
    assert kept < whole.kept_bytes() / 3.5
    assert peak <= 1.55 * kept  # 1.50 as jax 0.10 plans it, 1.52 as jax 0.12 does
    assert peak < peak_bytes(whole.compiled()) / 4


def test_a_run_with_the_option_and_measured_again_without(tiny_config, tmp_path):
    config = tiny_config(tmp_path / "cache")
    config.data.clip_length, config.data.batch_size, config.train.steps = 16, 2, 10
    config.network.recurrence = "full"
    losses = []
    for remat_frames in (0, 8):
        config.network.remat_frames = remat_frames
        workdir = tmp_path / str(remat_frames)
        summary = train_and_evaluate(config, workdir)
        records = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
        losses.append([record["loss"] for record in records])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-3)
    config.network.remat_frames = 0  # changes nothing of the finished run
    assert train_and_evaluate(config, workdir)["effective_rank"] == pytest.approx(summary["effective_rank"], rel=1e-4)


def test_configs_from_before_the_option_keep_all(tiny_config, tmp_path):
    config = tiny_config(tmp_path)
    with config.unlocked():
        del config.network.remat_frames
    check_network(config)
    assert make_network(config.network).remat_frames == 0


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (-1, "expected a whole number of at least 0, got -1"),
        (24, "divisor of 64, .* got 24; the next smaller one is 16"),
    ],
)
def test_chunks_must_be_equal(value, message, tiny_config, tmp_path):
    config = tiny_config(tmp_path)
    config.network.remat_frames = value
    with pytest.raises(InputError, match=f"network.remat_frames: .*{message}"):
        check_network(config)


def test_chunks_must_be_equal_where_data_are_few(tiny_config, tmp_path):
    config = tiny_config(tmp_path)
    config.data.room.n_frames, config.network.remat_frames = 40, 32  # 31 pairs at 0.2 held out, fewer than a batch
    with pytest.raises(InputError, match=r"remat_frames: .* divisor of \d\d, .* got 32"):
        train_and_evaluate(config, tmp_path / "run")
