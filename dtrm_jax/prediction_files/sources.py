"""Where conversations come from: files, or standard input, and of what kind each is.

The ending of a file's name says its kind. What has no known ending, such as standard input, is told by its beginning.
"""

import collections
import contextlib
import dataclasses
import io
import os
import pathlib
import stat
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from dtrm_jax.data.readers import columns as columns_lib
from dtrm_jax.data.readers import csv_file, table_files
from dtrm_jax.errors import InputError
from dtrm_jax.user_paths import expanded

STANDARD_INPUT = "-"
# The kinds by the names that a user gives them.
KINDS = {ending.removeprefix("."): ending for ending in (*table_files.LOADERS, table_files.TRANSCRIPT)}

_STDIN_NAME = "stdin"  # in messages, and of the conversation if it is one
_BEGINNING = 1 << 16  # bytes, from which a kind is told


@dataclasses.dataclass(frozen=True)
class Source:
    """Conversations that have been found, but not read.

    Attributes:
        path: The file; a name for messages if ``content`` is there.
        kind: One of the values of ``KINDS``.
        content: What was read from standard input or from a pipe, which can be read once; None for a file.
    """

    path: pathlib.Path
    kind: str
    content: bytes | None = None


def find(names: Sequence[str], kind: str, columns: str, standard_input: BinaryIO) -> list[Source]:
    """Returns the sources that a user names.

    Args:
        names: Paths of files; ``-`` for standard input.
        kind: A name in ``KINDS``; if it is empty, each source is told by its ending or its beginning.
        columns: The setting ``data.columns``, by which a csv file is told.
        standard_input: Read to its end if it is named.

    Raises:
        InputError: None is named, one cannot be read or cannot be told, or standard input is named twice.
    """
    if not names:
        raise InputError("expected files with conversations, or - for standard input, found none")
    if names.count(STANDARD_INPUT) > 1:
        raise InputError("expected standard input (-) once, found it twice")
    return [_find(name, KINDS.get(kind, ""), columns, standard_input) for name in names]


def titles(sources: Sequence[Source]) -> list[str]:
    """Returns what people tell sources by: the name of the file, and so much of its path as tells it from the others.

    A file that is there twice is numbered besides.
    """
    paths = [source.path for source in sources]
    found = [path.name for path in paths]
    for depth in range(2, 1 + max((len(path.parts) for path in paths), default=0)):
        shared = {title for title, count in collections.Counter(found).items() if count > 1}
        found = [
            str(pathlib.Path(*path.parts[-depth:])) if title in shared else title
            for path, title in zip(paths, found, strict=True)
        ]
    counts, seen = collections.Counter(found), collections.Counter[str]()
    for place, title in enumerate(found):
        seen[title] += 1
        if counts[title] > 1:
            found[place] = f"{title} ({seen[title]})"
    return found


@contextlib.contextmanager
def opened(names: Sequence[str], standard_input: BinaryIO) -> Iterator[tuple[pathlib.Path, BinaryIO]]:
    """Opens the one source that is read line by line; gives its path too, a name for messages if it is no file.

    Raises:
        InputError: None or several are named, or the one cannot be read.
    """
    if len(names) != 1:
        raise InputError(f"--stream: expected one file, or - for standard input, found {len(names)}")
    if names[0] == STANDARD_INPUT:
        yield pathlib.Path(_STDIN_NAME), standard_input
        return
    path = expanded(names[0])
    try:
        file = path.open("rb")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    with file:
        yield path, file


def _find(name: str, kind: str, columns: str, standard_input: BinaryIO) -> Source:
    if name == STANDARD_INPUT:
        path, content = pathlib.Path(_STDIN_NAME), standard_input.read()
        return Source(path, kind or told(path, content, columns), content)
    path = expanded(name)
    try:
        with path.open("rb") as file:
            again = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            beginning = file.read(_BEGINNING if again else -1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    ending = path.suffix.lower()
    known = ending if ending in KINDS.values() else ""
    return Source(path, kind or known or told(path, beginning, columns), None if again else beginning)


def told(path: pathlib.Path, beginning: bytes, columns: str) -> str:
    """Returns the kind of conversations of which no name tells it.

    Args:
        path: For the error.
        beginning: The first bytes, at least a line.
        columns: The setting ``data.columns``.

    Raises:
        InputError: It cannot be told.
    """
    if beginning.startswith(b"PAR1"):
        return KINDS["parquet"]
    text = beginning.decode("utf-8-sig", errors="replace").lstrip()
    if text.startswith("["):
        return KINDS["json"]
    if text.startswith("{"):
        return KINDS["jsonl"]
    first = next(io.StringIO(text, newline=None), "")
    header, _ = csv_file.parse(path, first, csv_file.delimiter_of(first))
    named = columns_lib.parse(columns, "columns")
    if len(header) > 1 and {"speaker", "text"} & set(columns_lib.resolve(path, header, named, "columns")[0].values()):
        return KINDS["csv"]
    if ":" in first:
        return KINDS["txt"]
    expected = f"{', '.join(KINDS)}; name it with --input_format"
    raise InputError(f"{path}: cannot tell what it is by its beginning, expected one of {expected}")
