"""Files of vectors by utterance: one for every clip, under the name of the clip.

A pickle is a dict of them, or one such dict for each split. A table (csv, tsv, jsonl, json, parquet) has a row for
every clip, with its name in a column ``id`` or in the first one. An ``.npz`` file has an array ``id`` and one with a
row for each of them, or an array for every clip. Which modality it is, the name of the file says: ``acoustic...``.
"""

import dataclasses
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from dtrm_jax import npz_file
from dtrm_jax.conversation import SPLITS
from dtrm_jax.data.readers import csv_file, table_files
from dtrm_jax.data.readers.columns import PLAIN, RECORDING, plain_name
from dtrm_jax.data.readers.feature_layouts import is_vector
from dtrm_jax.errors import InputError

# Modality -> what the name of a file of it begins with.
BEGINNINGS = {
    "acoustic": ("acoustic", "audio", "voice"),
    "visual": ("visual", "video", "face"),
    "utterance": ("utterance", "text"),
}
SUFFIXES = (*table_files.LOADERS, ".npz")

_IDS = ("id", "ids", "utterance_id", "utterance", "turn", "turn_id", "clip", "name", "names", "key", "file")
_SPLIT = "split"
# Columns of a table that are about a turn and no features of it; a number among them may be the label.
_NO_FEATURES = {*PLAIN, *RECORDING, "id", "ids", "clip", "name", "names", "file", "season", "episode", "sr_no."}
_NO_FEATURES |= {"emotion", "sentiment", "class", "target"}
# The same by their form: row numbers as pandas writes them, numbers of dialogues and the like, and annotations.
_OF_NO_FEATURE = re.compile(r"|unnamed:_\d+|index|.+_id|.*label.*", re.ASCII)
# What files call the splits.
SPLIT_NAMES = {"train": "train", "dev": "dev", "val": "dev", "valid": "dev", "validation": "dev", "test": "test"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Vectors:
    """The vectors of one file.

    Attributes:
        path: The file.
        feature: The modality.
        clips: For each row of ``matrix``, the split that the file says it is of ("" if it says none) and its name.
        matrix: float32 ``[N, M]``; NaN throughout where the file has no vector for a clip.
        left_out: Columns of a table that are no features by their names.
    """

    path: pathlib.Path
    feature: str
    clips: tuple[tuple[str, str], ...]
    matrix: np.ndarray
    left_out: tuple[str, ...] = ()


def candidates(source: pathlib.Path) -> tuple[pathlib.Path, ...]:
    """Returns the tables and ``.npz`` files of a folder whose names say a modality, by name."""
    if not source.is_dir():
        return ()
    return tuple(
        sorted(path for path in source.iterdir() if path.suffix in SUFFIXES and _modality(path) and path.is_file())
    )


def is_pickled(content: Any) -> bool:
    """Whether the content of a pickle is a dict of vectors by utterance, or one for each split."""
    parts = _parts(content)
    named = [(key, value) for part in parts.values() for key, value in part.items()]
    return bool(parts) and all(type(key) is str for key, _ in named) and all(is_vector(one) for _, one in named[:1])


def parse(path: pathlib.Path, content: Any) -> Vectors:
    """Returns the vectors of a pickle.

    Args:
        path: The file.
        content: Of it, for which ``is_pickled`` holds.

    Raises:
        InputError: The name of the file says no modality, or a vector is not like the others; names the clip.
    """
    named = [((split, key), vector) for split, part in _parts(content).items() for key, vector in part.items()]
    return _made(path, [clip for clip, _ in named], [vector for _, vector in named])


def read(path: pathlib.Path) -> Vectors:
    """Returns the vectors of a table or of an ``.npz`` file.

    Raises:
        InputError: It cannot be read, is malformed or has a row that is not like the others; names the row or the clip.
    """
    if path.suffix == ".npz":
        return _of_npz(path)
    if path.suffix in (".csv", ".tsv"):  # of many columns, which as Python's objects would fill the memory
        text = csv_file.read_text(path)
        header, records = csv_file.parse(path, text, csv_file.delimiter_of(text))
        return _of_rows(path, "line", header, records)
    file = table_files.read(path)
    rows = ((number, [row.get(name) for name in file.columns]) for number, row in file.rows)
    return _of_rows(path, file.unit, file.columns, rows)


def _parts(content: Any) -> Mapping[str, Mapping[Any, Any]]:
    """Returns split -> vectors by name; the split is "" for a file that has one dict for all."""
    if type(content) in (list, tuple) and len(content) == len(SPLITS) and all(type(part) is dict for part in content):
        return dict(zip(SPLITS, content, strict=True))
    if type(content) is not dict:
        return {}
    if content and all(key in SPLIT_NAMES and type(part) is dict for key, part in content.items()):
        return {SPLIT_NAMES[key]: part for key, part in content.items()}
    return {"": content}


def _of_rows(path: pathlib.Path, unit: str, columns: Sequence[str], rows: Iterable[tuple[int, list[Any]]]) -> Vectors:
    csv_file.require_once(path, columns)
    plain = [plain_name(name) for name in columns]
    named = next((plain.index(name) for name in _IDS if name in plain), 0)
    split = plain.index(_SPLIT) if _SPLIT in plain else None
    others = [at for at in range(len(plain)) if at not in (named, split)]
    own = [at for at in others if plain[at] not in _NO_FEATURES and not _OF_NO_FEATURE.fullmatch(plain[at])]
    if not own:
        raise InputError(f"{path}: expected columns of features besides {', '.join(columns)}, found none")
    left_out = tuple(columns[at] for at in others if at not in set(own))
    clips, vectors = [], []
    for number, cells in rows:
        where = f"{path}, {unit} {number}"
        key = str(cells[named]).strip() if cells[named] is not None else ""
        if not key:
            raise InputError(f"{where}: expected the name of a clip in column {columns[named]}, found nothing")
        clips.append((_split_of(where, cells[split]) if split is not None else "", key))
        vectors.append(_numbers(where, columns, cells, own))
    return dataclasses.replace(_made(path, clips, vectors), left_out=left_out)


def _split_of(where: str, cell: Any) -> str:
    if not isinstance(cell, str) or cell not in SPLIT_NAMES:
        raise InputError(f"{where}: expected one of {', '.join(SPLIT_NAMES)} as {_SPLIT}, found {str(cell)[:40]!r}")
    return SPLIT_NAMES[cell]


def _numbers(where: str, columns: Sequence[str], cells: list[Any], own: list[int]) -> Any:
    """Returns the features of a row: of one cell that holds a list, or of as many cells as there are."""
    if len(own) == 1 and isinstance(cells[own[0]], list):
        if not is_vector(cells[own[0]]):
            raise InputError(f"{where}: expected a list of numbers in column {columns[own[0]]}, found others")
        return cells[own[0]]
    vector = np.full(len(own), np.nan)
    for place, at in enumerate(own):
        cell = cells[at]
        if cell is None or (isinstance(cell, str) and not cell.strip()):
            continue
        try:
            vector[place] = float(cell)
        except (TypeError, ValueError):
            found = f"{str(cell)[:40]!r} in column {columns[at]}"
            raise InputError(f"{where}: expected features, numbers alone, found {found}") from None
    return vector


def _of_npz(path: pathlib.Path) -> Vectors:
    def check(name: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
        if not (len(shape) == 1 and dtype.kind == "U") and not (len(shape) in (1, 2) and dtype.kind in "fiu"):
            raise ValueError(f"expected names of clips or numbers, found {dtype} {shape}")

    arrays = npz_file.read(path, check)
    named = next((name for name in _IDS if name in arrays and arrays[name].dtype.kind == "U"), None)
    if named is None:
        return _made(path, [("", name) for name in arrays], list(arrays.values()))
    rows = {name: array for name, array in arrays.items() if name != named}
    if len(rows) != 1 or (matrix := next(iter(rows.values()))).ndim != 2 or len(matrix) != len(arrays[named]):
        found = ", ".join(f"{name} {array.shape}" for name, array in rows.items()) or "none"
        raise InputError(
            f"{path}: expected one array with a row for each of {len(arrays[named])} {named}, found {found}"
        )
    return _made(path, [("", name) for name in arrays[named].tolist()], list(matrix))


def _made(path: pathlib.Path, clips: list[tuple[str, str]], vectors: list[Any]) -> Vectors:
    feature, size, rows = _modality(path), None, []
    if not feature:
        beginnings = " or ".join(name for names in BEGINNINGS.values() for name in names)
        raise InputError(f"{path}: expected a name that begins with {beginnings}, which says what it holds")
    for (split, key), vector in zip(clips, vectors, strict=True):
        where = f"{path}, {split + ' ' if split else ''}utterance {key[:60]}"
        if not is_vector(vector) or size not in (None, len(vector)):
            found = len(vector) if is_vector(vector) else type(vector).__name__
            raise InputError(f"{where}: expected {size or 'a vector of'} numbers, found {found}")
        size = len(vector)
        with np.errstate(over="ignore"):  # what float32 cannot hold is not finite, and refused
            rows.append(np.asarray(vector, np.float64).astype(np.float32))
        if not np.isfinite(rows[-1]).all() and not np.isnan(rows[-1]).all():
            raise InputError(f"{where}: expected {size} finite numbers, found others among them")
    if size is None:
        raise InputError(f"{path}: expected vectors, found none")
    return Vectors(path=path, feature=feature, clips=tuple(clips), matrix=np.stack(rows))


def _modality(path: pathlib.Path) -> str:
    name = path.name.casefold()
    return next((feature for feature, words in BEGINNINGS.items() if name.startswith(words)), "")
