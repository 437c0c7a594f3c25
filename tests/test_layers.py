"""Dependencies between modules run downwards only (floors from the ground up)."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "dtrm_jax"
FLOORS = {
    "errors": 0,
    "interruption": 0,
    "replacing": 0,
    "json_file": 0,
    "tensor_file": 0,
    "npz_file": 0,
    "user_paths": 0,
    "settings": 0,
    "special_tokens": 0,
    "host_memory": 0,
    "compilation_cache": 0,
    "checksums": 1,
    "distributed": 1,
    "provenance": 1,
    "conversation": 1,
    "batch": 1,
    "safe_pickle": 1,
    "tasks": 2,
    "explained": 1,
    "baseline_settings": 1,
    "config": 3,
    "planted": 4,
    "config_files": 4,
    "data": 5,
    "models": 5,
    "run_directory": 6,
    "inference": 7,
    "evaluation": 8,
    "report": 9,
    "sharing": 9,
    "extraction": 9,
    "prediction_files": 10,
    "serving": 10,
    "training": 10,
    "command_help": 10,
    "command_line": 11,
    "api": 11,
    "commands": 12,
    "experiments": 12,
}
# The floors inside the rooms that have several; what is not named stands above all that is.
ROOMS = {
    "models": ("layers", "encoders", "interface", "dialogue_trm", "baselines"),
    "data": ("encoder_tokenizer", "tokenize", "outliers", "features", "examples", "packing", "plans", "pipeline"),
    "evaluation": ("aligned", "files", "analysis", "evaluator", "destination", "run"),
}
FILES = sorted(PACKAGE.rglob("*.py"))


def _part(file: Path) -> str:
    return file.relative_to(PACKAGE).with_suffix("").parts[0]


def _modules(file: Path) -> set[str]:
    """The modules and packages of the project that a file imports anywhere, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in names if name.startswith("dtrm_jax.")}


def _imports(file: Path) -> set[str]:
    """The parts of the package that a file imports."""
    return {name.split(".")[1] for name in _modules(file)} & FLOORS.keys()


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_go_down(file):
    part = _part(file)
    if part == "__init__":  # the public names, imported when they are used
        return
    above = {other for other in _imports(file) - {part} if FLOORS[other] >= FLOORS[part] and FLOORS[part] > 1}
    assert not above, f"{part} imports {above}"
    if part in ("data", "models"):
        assert not _imports(file) & {"data", "models"} - {part}, "data and models meet at the batch alone"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_go_down_inside_a_room(file):
    room, *rest = file.relative_to(PACKAGE).with_suffix("").parts
    floors = ROOMS.get(room, ())
    if not rest or rest[0] not in floors:
        return
    own = floors.index(rest[0])
    for name in _modules(file):
        _, other_room, *other = name.split(".")
        if other_room == room and other and other[0] in floors:
            assert floors.index(other[0]) <= own, f"{rest[0]} imports {other[0]}"


def test_every_part_has_a_floor():
    assert {_part(file) for file in FILES} - {"__init__"} == FLOORS.keys()
    for room, floors in ROOMS.items():
        assert {name for name in floors if not list((PACKAGE / room).glob(f"{name}*"))} == set()
