"""A picture that cannot be drawn costs nothing but itself, and no setting of the user's costs one."""

import os
import pathlib
import subprocess
import sys

import matplotlib
import pytest

from sfa_jax.evaluation import Picture, _pictures, draw_pictures
from sfa_jax.evaluation._pictures import as_picture


def plot_title(plt):
    figure, axis = plt.subplots(figsize=(2, 1), layout="constrained")
    axis.set_title("a_b")  # which LaTeX would refuse
    return figure


def test_each_failure_is_one_warning(tmp_path, caplog):
    def fail(folder):
        raise ZeroDivisionError("no axis\nof this length")

    polled = []
    pictures = [Picture("a.png", fail), as_picture("b.png", plot_title), Picture("c.png", fail)]
    draw_pictures(tmp_path / "plots", pictures, lambda: polled.append(1))
    assert [path.name for path in (tmp_path / "plots").iterdir()] == ["b.png"]
    assert len(polled) == 3
    assert [record.getMessage().split("plots/")[1] for record in caplog.records if record.levelname == "WARNING"] == [
        f"{name} is left out: ZeroDivisionError: no axis of this length" for name in ("a.png", "c.png")
    ]


def test_a_folder_that_cannot_be_made_is_a_warning(tmp_path, caplog):
    (tmp_path / "plots").write_text("a file")
    draw_pictures(tmp_path / "plots", [as_picture("a.png", plot_title)])
    assert "a.png is left out: FileExistsError" in caplog.text


def test_settings_of_the_user_play_no_part(tmp_path, caplog):
    """LaTeX is asked for, and is rarely there; pyplot and its backend are left alone."""
    mine = {"text.usetex": True, "font.family": "No Such Font", "savefig.format": "pdf", "savefig.bbox": "tight"}
    with matplotlib.rc_context(mine):
        backend, modules = matplotlib.rcParams._get("backend"), set(sys.modules)
        draw_pictures(tmp_path, [as_picture("a.png", plot_title)])
        assert matplotlib.rcParams["text.usetex"]
        assert matplotlib.rcParams._get("backend") == backend
    assert (tmp_path / "a.png").exists()
    assert not caplog.text
    assert "matplotlib.pyplot" not in set(sys.modules) - modules


@pytest.mark.parametrize("backend", ["Qt4Agg", "svg"])
def test_backend_of_the_environment(backend):
    """A backend that matplotlib no longer knows ends its import; one that it knows stays that of the caller."""
    script = f"""
import os, runpy
matplotlib = runpy.run_path({str(pathlib.Path(_pictures.__file__))!r})["import_matplotlib"]()
print(os.environ["MPLBACKEND"], matplotlib.rcParams._get("backend") == "svg")
"""
    environment = os.environ | {"MPLBACKEND": backend}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [backend, str(backend == "svg")]
