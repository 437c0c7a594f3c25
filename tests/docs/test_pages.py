"""What the pages tell a reader to type, to open or to look at is there."""

import ast
import dataclasses
import functools
import importlib
import importlib.util
import re
import shlex
from operator import attrgetter
from pathlib import Path

import pytest

from dtrm_jax import config_files, settings
from dtrm_jax.config import Config
from tests.runs import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES += [ROOT / "results" / "README.md", ROOT / "benchmarks" / "README.md"]
OF_CORPORA = sorted((ROOT / "docs" / "results").glob("*.md"))  # docs/results.md links them
PAGES += OF_CORPORA
# Where a command's flags are defined, besides its own file.
SHARED = {"benchmarks": ["benchmarks/contest.py", "benchmarks/record.py"]}
COMMANDS = {
    "train.py": "dtrm_jax/commands/train.py",
    "dtrm-train": "dtrm_jax/commands/train.py",
    "eval.py": "dtrm_jax/commands/eval.py",
    "dtrm-eval": "dtrm_jax/commands/eval.py",
    "predict.py": "dtrm_jax/commands/predict.py",
    "dtrm-predict": "dtrm_jax/commands/predict.py",
    "dtrm-export": "dtrm_jax/commands/export.py",
    "dtrm-serve": "dtrm_jax/commands/serve.py",
    "dtrm-extract": "dtrm_jax/commands/extract.py",
}


def _text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def _blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}(?: \S+)?\n(.*?)^```$", _text(page), re.DOTALL | re.MULTILINE)


def _commands(page: Path) -> list[list[str]]:
    """The commands of a page, split into words, up to a comment: in shell blocks, in indented lines, and in a line."""
    blocks = [*_blocks(page, "sh"), *re.findall(r"^    (?:python|dtrm-\w+) (?:.*\\\n)*.*$", _text(page), re.MULTILINE)]
    blocks += re.findall(r"`((?:python|dtrm-\w+) [^`\n]+)`", _text(page))
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.strip() and not line.startswith("#!")]


ALL_COMMANDS = [(page, words) for page in PAGES for words in _commands(page)]
KNOWN = [(page, words) for page, words in ALL_COMMANDS if {"python", *COMMANDS} & set(words)]


def _names(case) -> str:
    page, words = case
    return f"{page.relative_to(ROOT)}: {' '.join(words)[:60]}"


@functools.cache
def _flags(file: str) -> set[str]:
    """The names of the flags that a file defines."""
    source = (ROOT / file).read_text(encoding="utf-8")
    return set(re.findall(r"""(?:DEFINE_\w+\(\s*"|add_argument\("--)([\w-]+)""", source))


def _file_of(words: list[str]) -> str:
    """The source file that defines the command."""
    script = next(word for word in words if word in COMMANDS or word.endswith(".py") or word == "-m")
    if script != "-m":
        return COMMANDS.get(script, script)
    module = words[words.index("-m") + 1]
    file = ROOT / module.replace(".", "/")
    return str((file / "__main__.py" if file.is_dir() else file.with_suffix(".py")).relative_to(ROOT))


def _overridden(path: str, text: str) -> None:
    """Gives a setting a value as the command line does, and checks it."""
    config = Config()
    *sections, name = path.split(".")
    section = attrgetter(".".join(sections))(config) if sections else config
    assert name in {field.name for field in dataclasses.fields(section)}, path
    kind = type(getattr(section, name))
    value = text == "true" if kind is bool else text if kind is str else kind(ast.literal_eval(text))
    setattr(section, name, value)
    settings.check(config)


@pytest.mark.parametrize("case", KNOWN, ids=_names)
def test_a_command_exists_with_its_flags_config_and_settings(case):
    _, words = case
    file = _file_of(words)
    if "-m" in words and not words[words.index("-m") + 1].startswith("dtrm_jax"):
        return  # of another package, such as pip
    assert (ROOT / file).is_file(), file
    known = {"config", "debug", "help", "help_settings"}.union(
        *(map(_flags, [file, *SHARED.get(file.split("/")[0], [])]))
    )
    for position, word in enumerate(words):
        flag, _, value = word.partition("=")
        if flag == "--config":
            assert config_files.find(value or words[position + 1])
        elif flag.startswith("--config."):
            _overridden(flag.removeprefix("--config."), value)
        elif flag.startswith("--") and "gcloud" not in words:
            assert flag.removeprefix("--") in known, f"{file} has no {flag}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_exists(page):
    text = _text(page)
    for link in re.findall(r"""(?:\]\(|src=")([^)"\s]+)""", text):
        if not link.startswith(("https://", "#")):
            assert (page.parent / link.partition("#")[0]).exists(), link
    own = re.findall(r"^```python (\S+\.py)$", text, re.MULTILINE)  # files that the page itself writes
    for path in re.findall(r"(?<![\w/.])(?:dtrm_jax|configs|benchmarks|tests|docs|notebooks)/[\w/.-]*\w/?", text):
        # Inside an installed package only.
        assert (ROOT / path).exists() or path.startswith("dtrm_jax/configs") or path in own, path
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for target in re.findall(r"(?:^|`)make ([a-z]+)\b", text, re.MULTILINE):
        assert target in targets, f"make {target}"
    for setting in re.findall(r"config((?:\.[a-z_0-9]+)+)(?=[`=\s,;.)]|$)(?!\.py)", text):
        if not setting.endswith((".py", ".json")):
            assert attrgetter(setting.removeprefix("."))(Config()) is not None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_of_a_page_parses_and_its_imports_resolve(page):
    for block in _blocks(page, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("dtrm_jax"):
                module = importlib.import_module(node.module)
                assert all(hasattr(module, alias.name) for alias in node.names)


def test_the_pages_have_commands():
    assert len(KNOWN) > 20 and {page.name for page, _ in KNOWN} >= {
        "README.md",
        "own-data.md",
        "scaling.md",
        "speed.md",
    }


def test_the_readme_is_short_and_links_every_page():
    text = _text(ROOT / "README.md")
    assert len(text.splitlines()) <= 150
    pages = {str(page.relative_to(ROOT)) for page in PAGES if page not in OF_CORPORA} - {"README.md"}
    assert not [page for page in sorted(pages) if f"]({page})" not in text]


def test_the_picture_of_the_report_is_small():
    assert 20_000 < (ROOT / "docs" / "report.png").stat().st_size < 250_000
