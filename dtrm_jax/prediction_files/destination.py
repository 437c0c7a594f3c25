"""Where predictions go: standard output, a file, or a folder; complete or not at all."""

import contextlib
import dataclasses
import pathlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from dtrm_jax.errors import InputError
from dtrm_jax.prediction_files.sources import Source
from dtrm_jax.prediction_files.writing import FORMATS
from dtrm_jax.replacing import replacing
from dtrm_jax.user_paths import expanded

_IN_MEMORY = 1 << 24  # bytes of standard output that wait in memory; more of them wait in a temporary file
_NAME = "predictions"  # of the file in a folder
_READ_BY_PROGRAMS = "csv"


@dataclasses.dataclass(frozen=True)
class Destination:
    """Where predictions go.

    Attributes:
        format: One of ``writing.FORMATS``.
        file: The file; None for standard output.
        folder: The folder of the file, if a folder was named, which then gets a report too.
    """

    format: str
    file: pathlib.Path | None = None
    folder: pathlib.Path | None = None

    @contextlib.contextmanager
    def opened(self, standard_output: BinaryIO) -> Iterator[BinaryIO]:
        """Opens what is written to; it appears when all is written, or not at all if an exception comes first."""
        if self.file is not None:
            with replacing(self.file, binary=True) as file:
                yield file
            return
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as file:
            yield file
            file.seek(0)
            shutil.copyfileobj(file, standard_output)
            standard_output.flush()


def destination(output: str | None, format: str, sources: Sequence[Source], *, terminal: bool) -> Destination:
    """Returns where predictions go and in what format.

    Args:
        output: A file or a folder; None for standard output.
        format: One of ``writing.FORMATS``; if it is empty, the file's ending says it. A folder's file is csv then, and
            so is standard output unless it is a terminal, which gets a table.
        sources: None of which may be replaced.
        terminal: Whether standard output is one.

    Raises:
        InputError: The ending says no format, or the file is a source.
    """
    if output is None:
        if format == "parquet" and terminal:
            raise InputError("--format=parquet: expected --output, as a terminal cannot show it")
        return Destination(format or ("table" if terminal else _READ_BY_PROGRAMS))
    path = expanded(output)
    ending = path.suffix.lower().removeprefix(".")
    if path.is_dir() or output.endswith("/") or not (ending or path.is_file()):
        format = format or _READ_BY_PROGRAMS
        name = f"{_NAME}.{'txt' if format == 'table' else format}"
        chosen = Destination(format, path / name, path)
    elif format or ending in FORMATS:
        chosen = Destination(format or ending, path)
    else:
        known = ", ".join(f".{name}" for name in FORMATS if name != "table")
        raise InputError(f"--output={output}: expected a folder or a file that ends in {known}, or --format")
    for source in sources:
        if source.content is None and chosen.file.exists() and chosen.file.samefile(source.path):
            raise InputError(f"--output={output}: is one of the files that are read; choose another")
    return chosen
