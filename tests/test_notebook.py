"""The notebook in `examples`: it runs, at sizes of seconds, and is committed as it ran at its own."""

import asyncio
import os
import pathlib
import re

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

ROOT = pathlib.Path(__file__).parents[1]
NOTEBOOK = ROOT / "examples" / "sparsity.ipynb"


@pytest.fixture
def notebook():
    return nbformat.read(NOTEBOOK, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def check_outputs(notebook):
    """Every cell ran, in order, without error or warning; each that draws shows what it drew."""
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        kinds = [output.output_type for output in cell.outputs]
        assert "error" not in kinds, cell.outputs
        assert not [output.text for output in cell.outputs if output.get("name") == "stderr"]
        drawn = sum("image/png" in output.get("data", {}) for output in cell.outputs)
        assert drawn == cell.source.count("plt.show()"), cell.source
    assert sum(bool(cell.outputs) for cell in cells) > len(cells) / 2


def test_runs_small(notebook, tmp_path, monkeypatch):
    """From a directory that is not the repository's, with nothing read from or left in the home directory."""
    for name, value in {
        "SFA_JAX_SMALL": "1",
        "SFA_JAX_CACHE": tmp_path / "frames",
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
        "IPYTHONDIR": tmp_path / "ipython",
        "JUPYTER_CONFIG_DIR": tmp_path / "config",
        "JUPYTER_DATA_DIR": tmp_path / "data",
        "JUPYTER_RUNTIME_DIR": tmp_path / "runtime",
        "MPLCONFIGDIR": tmp_path / "matplotlib",
    }.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.delenv("MPLBACKEND", raising=False)  # the kernel's own, which shows figures in the notebook
    client = nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    asyncio.run(client.async_execute())
    check_outputs(notebook)


def test_committed_as_it_ran(notebook):
    check_outputs(notebook)
    assert notebook.metadata.kernelspec == {"name": "python3", "display_name": "Python 3", "language": "python"}
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert len(text) < 1_200_000
    words = re.sub(r'"image/png": "[^"]*"', "", text)
    assert not re.findall(r"/(?:home|root|work|tmp|Users|usr|opt)/[\w.]+", words)
