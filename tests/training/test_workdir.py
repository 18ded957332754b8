"""What a run finds in its workdir: another run, a finished one, damage. Nothing that was there is lost."""

import gc
import json
import os
import shutil
import subprocess
import sys

import pytest

from sfa_jax._errors import InputError
from sfa_jax._folders import hold_folder
from sfa_jax.training import restore_model, train_and_evaluate
from sfa_jax.training._metrics import MetricsFile, mean_rate


@pytest.fixture(scope="module")
def config(tiny_config, tmp_path_factory):
    return tiny_config(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("finished")
    train_and_evaluate(config, workdir)
    return workdir


@pytest.fixture
def run(finished, tmp_path):
    """A copy of a finished run, to be spoiled."""
    return shutil.copytree(finished, tmp_path / "run")


def changed(config, **values):
    config = config.copy_and_resolve_references()
    with config.unlocked():
        config.update_from_flattened_dict(values)
    return config


def test_one_process_at_a_time(config, tmp_path):
    holder = "import sys, time, pathlib\nfrom sfa_jax._folders import hold_folder\n"
    holder += (
        "with hold_folder(pathlib.Path(sys.argv[1]), '--workdir'):\n    print('held', flush=True)\n    time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", holder, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(InputError, match=rf"another run \(process {process.pid}\) is writing there"):
            train_and_evaluate(config, tmp_path)
        process.kill()
    with hold_folder(tmp_path, "--workdir"):
        assert (tmp_path / ".lock").read_text() == str(os.getpid())


def test_a_finished_run_is_measured_again_and_alike(config, run):
    before = json.loads((run / "summary.json").read_text())
    records = (run / "metrics.jsonl").read_text()
    train_and_evaluate(changed(config, **{"data.cache_dir": str(run / "cache")}), run)
    assert json.loads((run / "summary.json").read_text()) == before
    assert (run / "metrics.jsonl").read_text() == records


def test_a_finished_run_is_not_measured_as_another(config, run):
    with pytest.raises(
        InputError, match=r"come to step 20 of 20, with another data.room.seed, evaluation.holdout; give"
    ):
        train_and_evaluate(changed(config, **{"data.room.seed": 5, "evaluation.holdout": 0.3}), run)
    assert json.loads((run / "config.json").read_text())["data"]["room"]["seed"] == 0
    longer = changed(config, **{"train.steps": 25})
    assert train_and_evaluate(longer, run)["held_out_frames"] == 60
    assert "25" in os.listdir(run / "checkpoints")


def test_another_shape_names_the_leaf(config, run):
    message = (
        r"state/params/head/hidden/bias: the config asks for float32\[17\], the checkpoint holds float32\[16\]; use"
    )
    with pytest.raises(InputError, match=message):
        train_and_evaluate(changed(config, **{"network.hidden": 17}), run)
    assert (run / "summary.json").exists()
    assert json.loads((run / "config.json").read_text())["network"]["hidden"] == 16


def test_a_stopped_run_says_that_its_readout_is_older(run, caplog):
    path = run / "checkpoints" / "20" / "data"
    (document,) = [file for file in path.rglob("*") if file.is_file() and b"readout_step" in file.read_bytes()]
    document.write_text(document.read_text().replace('"readout_step": 20', '"readout_step": 10'))
    restore_model(run)
    assert "stopped at step 20 and its readout is that of step 10" in caplog.text


def spoil_config(run):
    (run / "config.json").write_text("{nothing")


def spoil_metrics(run):
    path = run / "metrics.jsonl"
    path.write_text(path.read_text().replace("\n", "\nnonsense\n", 1))


def make_metrics_binary(run):
    (run / "metrics.jsonl").write_bytes(b"\xff\xfe\x00\x01")


def make_metrics_a_folder(run):
    (run / "metrics.jsonl").unlink()
    (run / "metrics.jsonl").mkdir()


def make_checkpoints_a_file(run):
    shutil.rmtree(run / "checkpoints")
    (run / "checkpoints").write_text("here")


def lose_the_state(run):
    shutil.rmtree(run / "checkpoints" / "20" / "state")


def cut_an_array(run):
    files = [path for path in (run / "checkpoints" / "20" / "state").rglob("*") if path.is_file()]
    largest = max(files, key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:100])


def add_an_empty_step(run):
    (run / "checkpoints" / "30").mkdir()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of Orbax's readers, cut short
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_config, r"config\.json: expected the config of a run as JSON.*move it away"),
        (spoil_metrics, r"metrics\.jsonl, line 2: expected .*got 'nonsense'; mend or move"),
        (make_metrics_binary, r"metrics\.jsonl: cannot read the records of the run.*move it away"),
        (make_metrics_a_folder, r"metrics\.jsonl: cannot read the records of the run.*move it away"),
        (make_checkpoints_a_file, r"checkpoints: expected a folder of checkpoints"),
        (lose_the_state, r"checkpoints/20: cannot read this checkpoint.*move it away"),
        (cut_an_array, r"checkpoints/20: cannot read this checkpoint.*move it away"),
        (add_an_empty_step, r"checkpoints/30: cannot read this checkpoint.*move it away"),
    ],
)
def test_damage(config, run, spoil, message):
    spoil(run)
    summary = (run / "summary.json").read_text()
    with pytest.raises(InputError, match=message):
        train_and_evaluate(config, run)
    assert (run / "summary.json").read_text() == summary
    if "checkpoints" in message:
        with pytest.raises(InputError, match=message):
            restore_model(run)
    gc.collect()  # what Orbax left behind is complained of here, not in a later test


def test_a_line_cut_short_by_a_kill_is_passed_over(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 5, "split": "train"}\n{"step": 10, "spl')
    with MetricsFile(path, step=10) as metrics:
        assert metrics.records == [{"step": 5, "split": "train"}]


def test_the_rate_leaves_out_what_was_not_timed():
    """60 steps of 2 frames in 1 s and 30 in 2 s, each start's first 10 steps not timed: 180 frames in 3 s."""
    rates = [(10, 0.0), (70, 120.0), (80, 0.0), (110, 30.0)]
    records = [{"step": step, "split": "train", "frames_per_second": rate} for step, rate in rates]
    records.insert(2, {"step": 70, "split": "eval", "loss": 1.0})
    assert mean_rate(records, 2) == pytest.approx(60.0)
    assert mean_rate(records[:1], 2) == 0
