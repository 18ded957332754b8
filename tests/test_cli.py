"""What commands print, and what they say of a mistake in a config file."""

import io
import os
import sys

import pytest
from absl import flags
from ml_collections import config_flags

from sfa_jax import _cli


def test_a_closed_pipe_ends_nothing(monkeypatch, caplog):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        _cli.show("a table")
        _cli.show("and where it is")
    assert [record.getMessage() for record in caplog.records] == ["cannot print what follows the run: Broken pipe"]


def test_characters_that_the_terminal_lacks(monkeypatch):
    stdout = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stdout)
    _cli._make_printable()
    _cli.show("run \udce9, é")
    assert stdout.buffer.getvalue() == b"run \\udce9, \\xe9\n"


pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")  # of ml_collections


@pytest.fixture
def parse(tmp_path, monkeypatch):
    """`parse(line)`: parses the flags of a command whose config file has this line."""
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=values)
    monkeypatch.setattr(flags, "FLAGS", values)

    def parse(line):
        path = tmp_path / "config.py"
        path.write_text(f"import ml_collections\ndef get_config():\n    {line}\n")
        return _cli.parse_flags(["train.py", f"--config={path}"])

    return parse


@pytest.mark.parametrize(("line", "error"), [("return {}['lost']", KeyError), ("return None.lost", AttributeError)])
def test_a_mistake_in_a_config_file(parse, line, error):
    """It is not taken for a field that the config lacks: the stack trace leads to it."""
    with pytest.raises(error, match="lost"):
        parse(line)


def test_a_field_that_the_config_lacks(parse, capsys):
    with pytest.raises(SystemExit):
        parse("return ml_collections.ConfigDict({'steps': 3}).step")
    assert "error: --config: the config has no field 'step'" in capsys.readouterr().err
