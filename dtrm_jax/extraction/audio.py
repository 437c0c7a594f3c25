"""Acoustic features of the turns of a table, by openSMILE (Eyben et al., 2010)."""

import contextlib
import csv
import importlib.metadata
import pathlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import tqdm

from dtrm_jax.data.features import present_rows
from dtrm_jax.data.readers.table_rows import Table
from dtrm_jax.errors import InputError, chosen
from dtrm_jax.extraction import tables as tables_lib
from dtrm_jax.extraction.clips import Place, clips_of
from dtrm_jax.extraction.folder import Folder
from dtrm_jax.extraction.store import Store
from dtrm_jax.extraction.workers import Clip, extract

MODALITY = "acoustic"
# The feature sets that the field uses, as openSMILE's package calls them, and how many features each has.
FEATURE_SETS = {"eGeMAPSv02": 88, "GeMAPSv01b": 62, "IS10": 1582, "ComParE_2016": 6373}
ABSENT = "absent.csv"

_PACKAGES = ("opensmile", "soundfile")
_SAID = 10  # so many of the clips without features are said while the others are extracted

Say = Callable[[str], None]


class Extracted(NamedTuple):
    """What an extraction has come to.

    Attributes:
        turns: Of all tables.
        present: Those with features.
        broken: Those whose clips gave none, which ``ABSENT`` lists. Others have no recording.
        was_complete: Whether the folder held all of it already, so that nothing was done.
    """

    turns: int
    present: int
    broken: int
    was_complete: bool


def extract_audio(
    source: pathlib.Path, folder: pathlib.Path, *, features: str, columns: str, workers: int, say: Say
) -> Extracted:
    """Extracts the features of all clips of a table into a folder of the own-data format, or goes on doing so.

    Args:
        source: A folder of tables or one file, with a column ``audio``, and perhaps ``start`` and ``end``.
        folder: Is new, empty, or was begun by the same call. It appears when it is complete.
        features: One of ``FEATURE_SETS``.
        columns: The setting ``data.columns``.
        workers: How many processes.
        say: Is given a line for each of the first clips that give no features.

    Raises:
        InputError: A package is missing, a table is malformed, no clip gives features, or the folder holds something
            else.
    """
    size, version = chosen(FEATURE_SETS, features, "--features"), _version()
    tables = tables_lib.read(source, columns, MODALITY, text_needed=False)
    clips = clips_of(tables)
    settings = {"extracted": "audio", "features": features, "opensmile": version, "columns": columns}
    files = tables_lib.digests(source)
    output = Folder(folder, settings | {"files": files})
    turns = sum(len(table.rows) for table in tables.values())
    if (record := output.complete()) is not None:
        return Extracted(turns, record["present"], record["broken"], was_complete=True)
    with output.begun() as unfinished, Store(unfinished / "clips.sqlite") as store:
        _extract(store, tables, clips, features, size, workers, say)
        arrays, reasons = _gathered(store, tables, list(clips), size)
        present = sum(int(present_rows(array).sum()) for array in arrays.values())
        if not present:
            place, reason = next(iter(reasons.items()))
            raise InputError(f"{_named(tables, place)} {reason}; no clip gives features")
        with output.appearing({"present": present, "broken": len(reasons)}) as new:
            tables_lib.write(tables, new, MODALITY, arrays, source=source, known=files)
            if reasons:
                _write_reasons(new / ABSENT, tables, reasons)
    return Extracted(turns, present, len(reasons), was_complete=False)


def _version() -> str:
    """Returns openSMILE's version; raises InputError if a package is missing."""
    for name in _PACKAGES:
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            command = f"python -m pip install {' '.join(_PACKAGES)}"
            raise InputError(f"needs the package {name}, which is not installed, run: {command}") from None
    return importlib.metadata.version(_PACKAGES[0])


def _extract(
    store: Store,
    tables: Mapping[str, Table],
    clips: Mapping[Place, Clip],
    features: str,
    size: int,
    workers: int,
    say: Say,
) -> None:
    """Extracts the clips that are not in the store yet; those that gave no features are tried again."""
    done = store.places()
    places = list(clips)
    waiting = [number for number in range(len(places)) if number not in done]
    said = 0
    results = extract([clips[places[number]] for number in waiting], features, size, workers)
    bar = tqdm.tqdm(total=len(places), initial=len(done), unit="clip", desc=features, mininterval=1)
    with bar, contextlib.closing(results):
        for index, result in results:
            number = waiting[index]
            store.add(number, result)
            bar.update()
            if isinstance(result, str):
                said += 1
                if said <= _SAID:
                    with bar.external_write_mode():
                        say(f"{_named(tables, places[number])} {result}")


def _gathered(
    store: Store, tables: Mapping[str, Table], places: list[Place], size: int
) -> tuple[dict[str, np.ndarray], dict[Place, str]]:
    """Returns float32 ``[N, M]`` for each split, NaN where there are no features, and why clips have none."""
    arrays = {split: np.full((len(table.rows), size), np.nan, np.float32) for split, table in tables.items()}
    reasons = {}
    for number, result in store.results():
        split, row = place = places[number]
        if isinstance(result, str):
            reasons[place] = result
        else:
            arrays[split][row] = result
    return arrays, reasons


def _named(tables: Mapping[str, Table], place: Place) -> str:
    table = tables[place.split]
    row = table.rows[place.row]
    return f"{table.at(row)}: {row.values['audio']}"


def _write_reasons(path: pathlib.Path, tables: Mapping[str, Table], reasons: Mapping[Place, str]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("split", "conversation", "turn", "audio", "reason"))
        for place, reason in reasons.items():
            values = tables[place.split].rows[place.row].values
            writer.writerow((place.split, *(values[name] for name in ("conversation", "turn", "audio")), reason))
