"""Damaged run directories: every file of one emptied, cut, deleted, and each 64 KiB of it flipped once.

After each damage the run is read, as evaluation, prediction and export do, and trained on: that gives what was written,
or one line that names the file, and nothing is changed.
"""

import contextlib
import dataclasses
import random
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import flax.traverse_util
import jax
import numpy as np
import pytest

from dtrm_jax import checksums
from dtrm_jax.config import Config
from dtrm_jax.errors import InputError
from dtrm_jax.inference import reading
from dtrm_jax.inference.compiled import parameter_shapes
from dtrm_jax.inference.reading import read_trained
from dtrm_jax.run_directory import RunDirectory
from dtrm_jax.training import loop
from dtrm_jax.training.setup import prepare
from tests.runs import tiny_run_config

BLOCK = 64 * 2**10
FACTS = ("config.json", "run.json", "tokenizer.json", "normalization.npz", checksums.FILE)


@dataclasses.dataclass(frozen=True)
class Trained:
    """A finished run with two checkpoints, of which the older is the best."""

    config: Config
    path: Path
    best: int
    latest: int
    params: dict[int, dict]

    def files(self) -> list[Path]:
        """Those from which a model is read or trained on."""
        steps = [self.path / "checkpoints" / str(step) for step in (self.best, self.latest)]
        below = [file for step in steps for file in sorted(step.rglob("*")) if file.is_file()]
        return [*(self.path / name for name in FACTS), *below]


@pytest.fixture(scope="module")
def run(tmp_path_factory, bag_of_words) -> Trained:
    config = tiny_run_config(tmp_path_factory.mktemp("cache"))
    # With few arrays: the files are what is looked at.
    config.model.architecture, config.model.encoder.hidden_size = bag_of_words, 256
    # So slow that the scores stay equal, of which the earliest is the best, though the parameters move.
    config.optimizer.encoder_learning_rate = config.optimizer.learning_rate = 1e-6
    config.model.modalities, config.train.epochs, config.train.save_every_steps = "ua", 2, 0
    config.train.loggers, config.train.select_by = "", "weighted_f1"
    path = tmp_path_factory.mktemp("runs") / "run"
    loop.train(config, str(path))
    best, latest = sorted(int(folder.name) for folder in (path / "checkpoints").iterdir())
    params = {step: _params(path, str(step)) for step in (best, latest)}
    assert not _equal(params[best], params[latest])
    return Trained(config, path, best, latest, params)


def _params(path: Path, step: str) -> dict:
    return flax.traverse_util.flatten_dict(jax.tree.map(np.asarray, read_trained(path, checkpoint=step).params))


def _best(run: Trained) -> int:
    """The step that is taken for the best."""
    checkpoints = RunDirectory(run.path).checkpoints(run.config.train.select_by, read_only=True)
    try:
        return checkpoints.resolve("best")
    finally:
        checkpoints.close()


def _equal(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[key], other[key]) for key in one)


def _damages(file: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    content = file.read_bytes()
    yield "deleted", file.unlink
    if content:
        yield "emptied", lambda: file.write_bytes(b"")
        yield "cut", lambda: file.write_bytes(content[: len(content) // 2])
    for start in range(0, len(content), BLOCK):
        choose = random.Random(f"{file.name} {start}")
        place = start + choose.randrange(min(BLOCK, len(content) - start))

        def flip(place: int = place, bit: int = 1 << choose.randrange(8)) -> None:
            file.write_bytes(content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :])

        yield f"byte {place} flipped", flip


@contextlib.contextmanager
def _damaged(file: Path, damage: Callable[[], None]) -> Iterator[None]:
    content = file.read_bytes()
    damage()
    try:
        yield
    finally:
        file.write_bytes(content)


def _contents(run: Trained) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in run.files() if file.exists()}


def _line(attempt: Callable[[], object]) -> str:
    """The line with which an attempt is refused, or none."""
    try:
        attempt()
    except InputError as error:
        assert str(error).isprintable()
        return str(error)
    return ""


def _check(run: Trained, file: Path) -> bool:
    """Reads and trains on a run with one damaged file; returns whether anything was refused.

    Raises:
        AssertionError: Other parameters are read, or a line does not name the file.
    """
    step = next((int(part) for part in file.relative_to(run.path).parts if part.isdecimal()), None)
    found = {}
    lines = [
        _line(lambda which=which: found.update({which: _params(run.path, str(which))}))
        for which in (run.best, run.latest)
    ]
    lines.append(_line(lambda: found.update(best=_best(run))))
    lines.append(_line(lambda: loop.train(run.config, str(run.path))))
    best = found.pop("best", None)
    assert best in (None, run.best), f"{file}: silent"
    for which, params in found.items():
        assert _equal(params, run.params[which]), f"{file}: silent"
    for line in filter(None, lines):
        assert str(file) in line or f"as {file.name} " in line or file.name == checksums.FILE, line
    if step is not None:  # the other checkpoint is read as if nothing were, and the line says so
        other = run.best if step == run.latest else run.latest
        assert other in found and (step == run.best or best is not None)
        for line in filter(None, lines):
            advice = f"step {other}: --step={other} reads it, and training goes on from it once the folder "
            assert f"{advice}{run.path / 'checkpoints' / str(step)} is deleted" in line
    return any(lines)


@pytest.fixture
def traced_once(run, monkeypatch):
    """The data and what follows from a config are prepared once: files are what is damaged."""
    experiment = prepare(run.config)
    trainer = loop.Trainer(experiment, RunDirectory(run.path))
    shapes: dict[str, object] = {}
    monkeypatch.setattr(loop, "prepare", lambda *_: experiment)
    monkeypatch.setattr(loop, "Trainer", lambda *_: trainer)
    monkeypatch.setattr(
        reading,
        "parameter_shapes",
        lambda model: shapes.get(repr(model)) or shapes.setdefault(repr(model), parameter_shapes(model)),
    )


def test_every_damage_is_refused_by_name_or_changes_nothing(run, traced_once, thorough, count):
    cases = [(file, name, damage) for file in run.files() for name, damage in _damages(file)]
    if not thorough:
        cases = random.Random(4).sample(cases, 8)
    before, refused, survived = _contents(run), 0, []
    for file, name, damage in cases:
        with _damaged(file, damage):
            during = _contents(run)
            if _check(run, file):
                refused += 1
                assert _contents(run) == during, f"{file} {name}: something was written"
            else:
                survived.append((file.name, name))
        if not (run.path / checksums.FILE).exists() or _contents(run) != before:
            pytest.fail(f"{file} {name}: the run is not what it was")
    # Without its sums, a run is taken for one from before there were any.
    assert all(damage == (checksums.FILE, "deleted") for damage in survived), survived
    count(
        "Damaged files of a run",
        tried=len(cases),
        refused=refused,
        survived=len(survived),
        lost=0,
        silent=0,
        tracebacks=0,
    )


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("progress/metadata", "", "not valid JSON"),
        (
            "progress/metadata",
            '{"surprise": 1}',
            "not the progress of a training: expected best_score, .*found surprise",
        ),
        ("metrics/metrics", '{"weighted_f1": 0.', "not valid JSON"),
        ("state/manifest.ocdbt", "", "cannot restore this checkpoint"),
        ("state/_METADATA", "{}", "cannot restore this checkpoint"),
    ],
)
def test_damage_to_a_checkpoint_without_sums_is_a_line_too(run, tmp_path, name, text, expected):
    path = shutil.copytree(run.path, tmp_path / "run")
    folder = path / "checkpoints" / str(run.latest)
    (folder / checksums.FILE).unlink()
    (folder / name).write_text(text)
    with pytest.raises(InputError, match=expected) as caught:
        loop.train(run.config, str(path))
    assert f"--step={run.best} reads it" in str(caught.value) and "\n" not in str(caught.value)
    assert _equal(_params(path, "best"), run.params[run.best])


def test_what_the_line_of_a_damaged_checkpoint_says_helps(run, tmp_path):
    path = shutil.copytree(run.path, tmp_path / "run")
    (path / "checkpoints" / str(run.latest) / "progress/metadata").write_text("")
    line = _line(lambda: loop.train(run.config, str(path)))
    shutil.rmtree(re.search("once the folder (.*) is deleted", line)[1])
    loop.train(run.config, str(path))
    assert _equal(_params(path, "latest"), run.params[run.latest])


def test_what_is_left_of_a_deletion_is_no_checkpoint_and_is_removed_by_the_next_training(run, tmp_path, capsys):
    path = shutil.copytree(run.path, tmp_path / "run")
    checkpoints = path / "checkpoints"
    (checkpoints / "99").mkdir()
    shutil.copytree(checkpoints / str(run.best), checkpoints / ".deleted/1")
    assert _equal(_params(path, "latest"), run.params[run.latest])
    assert (checkpoints / "99").exists() and (checkpoints / ".deleted").exists(), "reading removes nothing"
    loop.train(run.config, str(path))
    assert {one.name for one in checkpoints.iterdir()} == {str(run.best), str(run.latest)}
    assert f"{checkpoints / '99'}: removed" in capsys.readouterr().out


def test_checkpoints_that_are_a_file_are_said_before_anything_is_read(run, tmp_path, monkeypatch):
    path = shutil.copytree(run.path, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints"))
    (path / "checkpoints").write_text("")
    monkeypatch.delattr(loop, "prepare")
    for attempt in (lambda: loop.train(run.config, str(path)), lambda: read_trained(path)):
        with pytest.raises(InputError, match="checkpoints: expected a folder.*, found a file"):
            attempt()


@pytest.mark.parametrize("name", ["old [1]", "a*b", "a?b", "a\\b", "gs:/x", "\udce9"])
def test_a_path_that_checkpoints_cannot_be_read_from_is_refused_before_anything_is_read(
    run, tmp_path, monkeypatch, name
):
    monkeypatch.delattr(loop, "prepare")
    with pytest.raises(InputError, match="expected a path without .*choose another --workdir"):
        loop.train(run.config, str(tmp_path / name))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["old [1]", "~ü 漢 'q\" $x #%20", "x" * 200])
def test_a_run_that_was_moved_is_read(run, tmp_path, name):
    path = shutil.copytree(run.path, tmp_path / name)
    assert _equal(_params(path, "best"), run.params[run.best])


def test_links_out_of_a_run_are_neither_read_nor_written(run, tmp_path, monkeypatch):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("precious")
    inside = {
        "tokenizer.json": "precious",
        "train.lock": "precious",
        "eval/test": "",
        "checkpoints/99": "",
        "pruned": "",
    }
    for number, (name, target) in enumerate(inside.items()):
        path = shutil.copytree(run.path, tmp_path / f"run{number}")
        (path / name).unlink(missing_ok=True)
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).symlink_to(outside / target)
        for attempt in (lambda path=path: loop.train(run.config, str(path)), lambda path=path: read_trained(path)):
            with pytest.raises(InputError, match=f"{name}: expected a file or folder of this run.*, found a link to"):
                attempt()
    assert [(file.name, file.read_text()) for file in outside.iterdir()] == [("precious", "precious")]
    (tmp_path / "link").symlink_to(run.path)
    assert RunDirectory(tmp_path / "link").read_manifest(), "the run directory may be a link itself"
