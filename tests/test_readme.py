"""Run the Python of README.md and docs/, and check that their commands name files and flags that exist."""

import importlib
import importlib.util
import pathlib
import re
import shlex
import tomllib

import pytest

from configs import linear_sfa
from sfa_jax.training import train_and_evaluate

ROOT = pathlib.Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def snippets():
    """Yield each block of Python, named by its page and line."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in re.finditer(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            line = text.count("\n", 0, block.start()) + 2
            yield pytest.param("\n" * (line - 1) + block[1], page, id=f"{page.name}:{line}")


def commands(text):
    """Yield the words of each command of a page's shell blocks, which are indented or fenced as `sh`."""
    blocks = re.findall(r"^```(?:sh|bash|shell)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    outside = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    blocks += re.findall(r"(?:^    .*\n)+", outside, re.MULTILINE)
    variables = {}
    for line in "\n".join(blocks).replace("\\\n", " ").splitlines():
        line = re.sub(r"\$(\w+)", lambda found: variables.get(found[1], found[0]), line)
        for command in re.split(r"&&?", line):
            try:
                words = shlex.split(command, comments=True)
            except ValueError:  # a line of a table, with an apostrophe
                continue
            if words and re.match(r"\w+=", words[0]):
                name, _, variables[name] = words[0].partition("=")
            elif words and words[0] in ("python", "pip", "pytest"):
                yield words


def check_command(words):
    """Fail where a command names a file, module, extra, config, option or flag that does not exist."""
    program, *rest = words
    if program == "pip":
        for extra in re.findall(r"\.\[([\w,]+)\]", " ".join(rest)):
            assert set(extra.split(",")) <= set(EXTRAS), f"no such extra in {shlex.join(words)}"
    if program != "python":
        return
    if rest[0] == "-m":
        found = importlib.util.find_spec(rest[1])
        assert found, f"no such module in {shlex.join(words)}"
        source = pathlib.Path(found.origin)
        source = source.with_name("__main__.py") if source.name == "__init__.py" else source
    else:
        source = ROOT / rest[0]
    defined = re.findall(r'(?:flags\.DEFINE_\w+\(|add_argument\()\s*"(?:--)?([\w-]+)"', source.read_text())
    given = [word for word in rest if word.startswith("--")]
    of_config = [word for word in given if re.match(r"--config[.=]", word)]
    names = {re.match(r"--([\w-]+)", word)[1] for word in set(given) - set(of_config)}
    assert names <= set(defined), f"{source.name} has no flag {names - set(defined)}: {shlex.join(words)}"
    if of_config:
        check_config(of_config)


def check_config(options):
    """Fail where `--config=FILE:ARGUMENT` names no config or `--config.a.b=` no option of it."""
    (name,) = [word.removeprefix("--config=") for word in options if word.startswith("--config=")]
    path, *argument = name.split(":")
    assert (ROOT / path).is_file(), f"no such config: {path}"
    config = importlib.import_module(path.removesuffix(".py").replace("/", ".")).get_config(*argument)
    for word in options:
        node = config
        for key in re.match(r"--config([\w.]*)", word)[1].split(".")[1:]:
            assert key in node, f"{name} has no option {key}: {word}"
            node = node[key]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a finished run in `WORKDIR`, as the pages call it."""
    folder = tmp_path_factory.mktemp("readme")
    config = linear_sfa.get_config("smoke")
    config.data.cache_dir, config.data.image_size, config.data.room.n_frames = str(folder / "cache"), 16, 300
    config.evaluation.plots, config.evaluation.baselines = False, ()
    train_and_evaluate(config, folder / "WORKDIR")
    return folder


@pytest.mark.parametrize(("code", "page"), list(snippets()))
def test_snippet_runs_alone(code, page, request, monkeypatch):
    if "WORKDIR" in code:
        monkeypatch.chdir(request.getfixturevalue("folder"))
    exec(compile(code, page, "exec"), {"__name__": "snippet"})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist(page):
    for words in commands(page.read_text(encoding="utf-8")):
        check_command(words)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("pip install -e .[video,videos]", "no such extra"),
        ("python trains.py --config=configs/sfa.py", "No such file"),
        ("python train.py --config=configs/slow.py", "no such config"),
        ("python train.py --config=configs/sfa.py:smokes", "smokes"),
        ("python train.py --config=configs/sfa.py --config.data.paths=a", "no option paths"),
        ("python train.py --config=configs/sfa.py --workdirs=a", "no flag"),
        ("python -m sfa_jax.embeds a b", "no such module"),
        ("python -m sfa_jax.prepare a b --image_sizes=3", "no flag"),
        ("python benchmarks/sparse_coding.py --plots a.png", "no flag"),
    ],
)
def test_wrong_commands_are_found(command, message):
    (words,) = commands(f"    JOB='{command}'\n\nText.\n\n    $JOB  # said\n")
    with pytest.raises((AssertionError, OSError, ValueError), match=message):
        check_command(words)
