"""What the README tells the users of checkpoints: five lines with orbax and jax alone, and the function frames -> y."""

import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

from sfa_jax.data import room
from sfa_jax.training import restore_model

ROOT = pathlib.Path(__file__).parents[2]


def readme_block(marker):
    """The Python block of the README that contains `marker`."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    return next(block for block in blocks if marker in block)


def test_five_lines_without_our_code(uninterrupted):
    block = readme_block("orbax.checkpoint")
    assert len([line for line in block.splitlines() if line.strip() and not line.startswith("#")]) <= 5
    code = block.replace("WORKDIR", str(uninterrupted)) + "\nimport sys\nassert 'sfa_jax' not in sys.modules"
    code += "\nassert state['readout']['matrix'].shape == (4, 4), state.keys()"
    code += "\nassert {'step', 'params', 'batch_stats', 'opt_state', 'carry', 'rng'} <= set(state)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, cwd=uninterrupted)


def test_the_function_from_frames_to_y(uninterrupted):
    (run,) = room(n_frames=300, image_size=16)
    model = restore_model(uninterrupted)
    with np.load(uninterrupted / "embeddings.npz") as arrays:
        np.testing.assert_allclose(model(run.frames), arrays["y"], atol=1e-4)
    namespace = {}
    exec(
        readme_block("restore_model").replace("WORKDIR", str(uninterrupted)),
        namespace | {"frames": run.frames},
        namespace,
    )
    np.testing.assert_allclose(namespace["y"], model(run.frames))
    with pytest.raises(ValueError, match=r"frames: expected shape \[time, 16, 16, 3\]"):
        model(run.frames[:, :8])


def test_embed_command(uninterrupted, tmp_path):
    (run,) = room(n_frames=40, image_size=16, seed=3)
    np.savez(tmp_path / "new.npz", frames=run.frames, **{"truth/x": run.truth["x"]})
    command = [
        sys.executable,
        "-m",
        "sfa_jax.embed",
        str(uninterrupted),
        str(tmp_path / "new.npz"),
        str(tmp_path / "out.npz"),
    ]
    subprocess.run(command, check=True, timeout=120, cwd=ROOT)
    with np.load(tmp_path / "out.npz", allow_pickle=False) as arrays:
        np.testing.assert_allclose(arrays["y"], restore_model(uninterrupted)(run.frames), atol=1e-4)
        assert {"run_id", "frame_index", "truth/x"} <= set(arrays.files)
    for arguments, message in [
        ((tmp_path / "nowhere", "room", tmp_path / "o.npz"), "nowhere/checkpoints: no such folder"),
        ((uninterrupted, "room", tmp_path / "o.txt"), "OUTPUT: expected a name that ends in .npz"),
        ((uninterrupted, tmp_path / "gone.mp4", tmp_path / "o.npz"), "gone.mp4"),
    ]:
        command = [sys.executable, "-m", "sfa_jax.embed", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT)
        assert done.returncode == 1
        assert message in done.stderr
        assert "Traceback" not in done.stderr
