"""The bounds of pyproject.toml: `.ci/environments` installs the lowest version of each, so each must have one."""

import importlib.machinery
import importlib.util
import pathlib
import tomllib

import pytest

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope="module")
def environments():
    """The script `.ci/environments` as a module."""
    loader = importlib.machinery.SourceFileLoader("environments", str(ROOT / ".ci" / "environments"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("environments", loader))
    loader.exec_module(module)
    return module


@pytest.fixture
def pyproject():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_requirement_has_one_lower_bound(environments, pyproject):
    bounds = environments.lower_bounds(pyproject)
    assert {"setuptools", "jax", "av", "deeptime", "pytest", "array-record"} <= bounds.keys()
    # PyAV 14 has no Disposition, 15 and 16 take BT.709 for BT.601, 17.0 crashes on damaged files
    assert tuple(map(int, bounds["av"].split("."))) >= (17, 1)


def test_missing_and_unequal_bounds_are_told(environments, pyproject):
    pyproject["project"]["optional-dependencies"]["video"] = ["av"]
    with pytest.raises(SystemExit, match="no lower bound for av"):
        environments.lower_bounds(pyproject)
    pyproject["project"]["optional-dependencies"]["video"] = ["av>=17.1", "NumPy[all] >= 2.1 ; python_version < '4'"]
    with pytest.raises(SystemExit, match=r"numpy is required from 2\.\d+ and from 2\.1"):
        environments.lower_bounds(pyproject)
