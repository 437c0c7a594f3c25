"""All that was measured on one corpus, for its page: every table of every folder of records, as they are found.

The page ``meld.md`` has the folders ``meld`` and ``meld_...``, unless the name of another page beside it fits better:
``meld_five_frozen`` belongs to ``meld_five.md``.
"""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from dtrm_jax.errors import InputError
from dtrm_jax.experiments import again, rendering
from dtrm_jax.experiments import variants as v
from dtrm_jax.experiments.forest import forest
from dtrm_jax.experiments.outcome import Outcome
from dtrm_jax.experiments.tables import NAMES
from dtrm_jax.replacing import replacing

_NOTHING_YET = "Nothing has been run yet."


def outcomes(folder: Path) -> dict[str, Outcome]:
    """Returns the tables of a folder of records by name, in the order of ``tables.NAMES``.

    Raises:
        InputError: A file is not the outcome of a table.
    """
    return {name: read(folder / f"{name}.json") for name in NAMES if (folder / f"{name}.json").is_file()}


def read(file: Path) -> Outcome:
    """Reads an outcome; raises InputError if the file is missing or none."""
    try:
        return Outcome.from_json(json.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file}: expected the outcome of a table: {error!r}") from error


def folders_of(page: str, pages: Sequence[str], results: Path) -> list[Path]:
    """Returns the folders of records that belong to a page, in alphabetical order.

    Args:
        page: Its name.
        pages: The names of all pages.
        results: The folder of the folders.
    """

    def owner(name: str) -> str:
        fitting = (one for one in pages if name == one or name.startswith(f"{one}_"))
        return max(fitting, key=len, default="")

    there = sorted(folder for folder in results.iterdir() if folder.is_dir())
    return [folder for folder in there if owner(folder.name) == page and outcomes(folder)]


def written(page: Path, results: Path) -> str:
    """Returns the Markdown of everything that belongs to a page.

    Args:
        page: Its file; the pages are the Markdown files beside it.
        results: The folder of the folders of records.

    Raises:
        InputError: As ``outcomes``.
    """
    folders = folders_of(page.stem, [file.stem for file in page.parent.glob("*.md")], results)
    root = results.resolve().parent
    parts = [part for folder in folders for part in _folder(folder, page, root)]
    return "\n\n".join(parts or [_NOTHING_YET]) + "\n"


def draw(results: Path) -> None:
    """Writes the plot of every table beside it."""
    for folder in sorted(one for one in results.iterdir() if one.is_dir()):
        for name, outcome in outcomes(folder).items():
            with replacing(folder / f"{name}.svg") as file:
                file.write(forest(outcome))


def _folder(folder: Path, page: Path, root: Path) -> Iterator[str]:
    """Yields the parts of one folder: what the config is, its tables, and the F1 by class of its models."""
    tables = outcomes(folder)
    yield f"### {folder.name}"
    first = next(iter(tables.values()))
    if said := again.described(first.config["name"]) or again.described(again.base_of(first)[0]):
        yield said
    for name, outcome in tables.items():
        plot = Path(os.path.relpath(folder / f"{name}.svg", page.parent)).as_posix()
        yield rendering.markdown(outcome).strip()
        yield f"![{outcome.title}: seeds, means and intervals]({plot})"
        where = folder.resolve().relative_to(root).as_posix()
        yield "\n".join(filter(None, (f"```sh\n{again.command(outcome, where)}\n```", _cost(outcome))))
    yield from _by_class(list(tables.values()))


def _cost(outcome: Outcome) -> str:
    said = again.cost(outcome)
    return said and f"\n{said}"


def _by_class(tables: Sequence[Outcome]) -> Iterator[str]:
    """Yields the F1 of every class in the rows of the models, each once."""
    models = {v.full(modalities).name: v.full(modalities).shown for modalities in ("u", "ua", "uv", "uav")}
    told = set()
    for outcome in tables:
        for row in outcome.run:
            if row.variant in models and row.f1_by_class and row.variant not in told:
                told.add(row.variant)
                yield f"{models[row.variant]}. {rendering.by_class(outcome, row.variant).strip()}"
