"""Every path of a user is brought to one form before anything is done with it."""

import os
import pathlib

import ml_collections
import pytest

from sfa_jax._errors import InputError
from sfa_jax._folders import as_path
from sfa_jax.data import prepare
from sfa_jax.data._cache import cache_root
from sfa_jax.embed import embed
from sfa_jax.generate import generate
from sfa_jax.training import restore_model, train_and_evaluate
from sfa_jax.training._pretrained import with_pretrained_network


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    return tmp_path / "home"


def test_one_form(home):
    cwd = pathlib.Path.cwd()
    assert as_path("~/runs/x", "workdir") == home / "runs/x"
    assert as_path("runs/x", "workdir") == cwd / "runs/x"
    assert as_path(pathlib.Path("runs/../x"), "workdir") == cwd.resolve() / "x"
    assert as_path("Project [2026]/a*b\\c {1} 50% #2 'q' \"r\" $1", "workdir").parent == cwd / "Project [2026]"
    assert os.fsencode(as_path(os.fsencode(cwd) + b"/run \xe9", "workdir")).endswith(b"/run \xe9")
    (cwd / "$SCRATCH").mkdir()
    (cwd / "ends with ").mkdir()
    assert as_path("$SCRATCH/x", "workdir") == cwd / "$SCRATCH/x"  # it is there, so it is meant
    assert as_path("ends with ", "workdir") == cwd / "ends with "
    assert as_path(f"{cwd}/a:/b", "workdir") == cwd / "a:/b"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        *((url, "expected a path of this machine, got an address") for url in (
            "gs://bucket/x", "s3://b/x", "file:///tmp/x", "https://a.b/x", "me@host.org:/x", pathlib.Path("gs://b"),
            "C:\\Users\\me", "c:/runs",
        )),
        *((nothing, "expected a path; leave the argument out") for nothing in ("", "  ", "None", "null")),
        *((odd, "without line ends") for odd in ("a\n", "a\tb", "a\0b", "\x1b[A")),
        *((given, "got") for given in (None, 3, ["a"])),
        ("x" * 256, "255 for each name"),
        ("x/" * 2000, "at most 3800 bytes"),
        ("~nobody-of-this-name/x", "cannot tell where this is"),
        ("a\ud800", "characters that no name of a file here can have"),
        ("run ", "a space stands at an end"),
        (" run", "a space stands at an end"),
        ("$SCRATCH/x", r"\$SCRATCH was not replaced"),
        ("runs/${USER}/x", r"\$\{USER\} was not replaced"),
    ],
)  # fmt: skip
def test_refused(home, given, message):
    with pytest.raises(InputError, match=f"^--workdir[=:].*{message}"):
        as_path(given, "--workdir")
    assert not list(pathlib.Path.cwd().iterdir())


def test_current_folder_is_gone(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(InputError, match="cannot tell where this is"):
        as_path("x", "--workdir")


URL = "gs://bucket/x"
PRETRAINED = ml_collections.ConfigDict({"pretrained": URL})


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("--workdir", lambda: train_and_evaluate(PRETRAINED, URL)),
        ("workdir", lambda: restore_model(URL)),
        ("pretrained", lambda: with_pretrained_network(PRETRAINED)),
        ("WORKDIR", lambda: embed(URL, "room", "y.npz")),
        ("OUTPUT", lambda: embed("run", "room", URL)),
        ("WORKDIR", lambda: generate(URL)),
        ("--output", lambda: generate("run", URL)),
        ("OUT", lambda: prepare("room", URL)),
    ],
)
def test_every_argument_is_checked(home, name, use):
    with pytest.raises(InputError, match=f"^{name}='{URL}': expected a path of this machine"):
        use()
    assert not list(pathlib.Path.cwd().iterdir())


def test_a_set_needs_a_name_in_utf8(home):
    with pytest.raises(InputError, match="expected a name in UTF-8"):
        prepare("room", os.fsdecode(b"set \xe9"))


def test_cache_dir(home, monkeypatch):
    with pytest.raises(InputError, match="cache_dir='None'"):
        cache_root("None")
    monkeypatch.setenv("SFA_JAX_CACHE", "gs://bucket/cache")
    with pytest.raises(InputError, match="SFA_JAX_CACHE='gs://bucket/cache'"):
        cache_root()
    monkeypatch.setenv("SFA_JAX_CACHE", "~/cache")
    assert cache_root() == home / "cache"
