"""Predictions in the formats that people want: csv, jsonl, parquet, or a table to read.

A row is a turn: the columns of its source, and what was predicted. Rows are written as they come.
"""

import abc
import csv
import dataclasses
import io
import json
import pathlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np

from dtrm_jax.errors import InputError
from dtrm_jax.evaluation.aligned import align, percent


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A turn and what was predicted of it.

    Attributes:
        conversation: What tells its conversation from others, for people.
        speaker: Who speaks.
        text: What is said; may be empty.
        own: Columns of its source.
        predicted: Columns of the prediction (``Task.predicted``).
        place: Where it stands, for the beginning of a message; empty where all columns are known before.
    """

    conversation: str
    speaker: str
    text: str
    own: Mapping[str, Any]
    predicted: Mapping[str, Any]
    place: str = ""

    @property
    def values(self) -> dict[str, Any]:
        """All columns."""
        return {**self.own, **self.predicted}


class Writer(abc.ABC):
    """Writes answers to an open file.

    Args:
        file: Of bytes. It is not closed.
        columns: Of the source, in order.
        predicted: Columns of the predictions, which stand last.
    """

    def __init__(self, file: BinaryIO, columns: Sequence[str], predicted: Sequence[str]):
        self.file, self.columns, self.predicted = file, [*columns, *predicted], list(predicted)

    @abc.abstractmethod
    def write(self, answers: Sequence[Answer]) -> None:
        """Writes turns; a column that one lacks is empty."""

    def end(self) -> None:  # noqa: B027 - most formats need none
        """Writes what is to stand at the end."""

    @classmethod
    def refused(cls, value: Any) -> str:
        """Returns why the format cannot hold a value of the source, as the end of a message; empty if it can."""
        return ""


class Csv(Writer):
    """Comma-separated, UTF-8, RFC 4180, as ``predictions.csv`` of an evaluation."""

    def __init__(self, file: BinaryIO, columns: Sequence[str], predicted: Sequence[str]):
        super().__init__(file, columns, predicted)
        self._known = frozenset(self.columns)
        self._line([*self.columns])

    def write(self, answers: Sequence[Answer]) -> None:
        """Writes a line per turn; raises InputError if one has a column that the header lacks."""
        for answer in answers:
            values = answer.values
            if more := [name for name in values if name not in self._known]:
                raise InputError(
                    f"{answer.place}csv has the columns of the first line, and cannot take {more[0]!r} of a later one; "
                    "use --format=jsonl"
                )
            self._line([_cell(values.get(name)) for name in self.columns])

    def _line(self, cells: list[str]) -> None:
        text = io.StringIO(newline="")
        csv.writer(text).writerow(cells)
        self.file.write(text.getvalue().encode("utf-8"))


class JsonLines(Writer):
    """A JSON object per line."""

    def write(self, answers: Sequence[Answer]) -> None:
        """Writes a line per turn."""
        for answer in answers:
            values = {name: _plain(value) for name, value in answer.values.items()}
            self.file.write((json.dumps(values, ensure_ascii=False, default=str) + "\n").encode("utf-8"))


_LEAST, _MOST = -(2**63), 2**63 - 1  # whole numbers of 64 bits


class Parquet(Writer):
    """Apache Parquet, whose columns have one type each; written at the end, as types may depend on the last row."""

    def __init__(self, file: BinaryIO, columns: Sequence[str], predicted: Sequence[str]):
        super().__init__(file, columns, predicted)
        try:
            import pyarrow
        except ImportError:
            raise InputError("writing parquet needs pyarrow: pip install pyarrow") from None
        self._arrow, self._parts = pyarrow, []

    @classmethod
    def refused(cls, value: Any) -> str:
        """See ``Writer.refused``; looks into lists and objects too."""
        if isinstance(value, list | dict):
            inner = value.values() if isinstance(value, dict) else value
            return next(filter(None, map(cls.refused, inner)), "")
        if isinstance(value, int) and not _LEAST <= value <= _MOST:
            return f"expected whole numbers from {_LEAST} to {_MOST}, found {value!s:.40}; csv and jsonl take all"
        return ""

    def write(self, answers: Sequence[Answer]) -> None:
        """Keeps the turns in Arrow's compact form."""
        rows = [answer.values for answer in answers]
        arrays = [self._array(name, [row.get(name) for row in rows]) for name in self.columns]
        self._parts.append(self._arrow.table(arrays, names=self.columns))

    def end(self) -> None:
        """Writes the file."""
        import pyarrow.parquet

        try:
            whole = self._arrow.concat_tables(self._parts, promote_options="permissive")
        except self._arrow.ArrowException as error:
            raise _mixed(error) from None
        pyarrow.parquet.write_table(whole, self.file)

    def _array(self, name: str, values: list[Any]) -> Any:
        numbers = name in self.predicted and not isinstance(values[0], str)
        try:
            return self._arrow.array(values, self._arrow.float32() if numbers else None)
        except self._arrow.ArrowException as error:
            raise _mixed(error, f" {name}") from None


def _mixed(error: Exception, column: str = "") -> InputError:
    reason = " ".join(str(error).split())[:120]
    return InputError(
        f"--format=parquet: column{column} has values of several types; csv and jsonl take them: {reason}"
    )


class Table(Writer):
    """Aligned columns to read in a terminal, conversation by conversation."""

    def __init__(self, file: BinaryIO, columns: Sequence[str], predicted: Sequence[str]):
        super().__init__(file, columns, predicted)
        self._waiting: list[Answer] = []  # of one conversation, which is aligned as a whole
        self._between = b""

    def write(self, answers: Sequence[Answer]) -> None:
        """Writes the conversations that have ended."""
        for answer in answers:
            if self._waiting and self._waiting[0].conversation != answer.conversation:
                self.end()
            self._waiting.append(answer)

    def end(self) -> None:
        """Writes the last conversation."""
        if not self._waiting:
            return
        summaries = [summary(answer.predicted) for answer in self._waiting]
        rows = [[printable(self._waiting[0].conversation), *summaries[0]]]
        for answer, found in zip(self._waiting, summaries, strict=True):
            rows.append([f"{printable(answer.speaker)}: {printable(answer.text)}", *found.values()])
        self.file.write(self._between + "".join(f"{line}\n" for line in align(rows)).encode("utf-8"))
        self._waiting, self._between = [], b"\n"


class Lines(Writer):
    """A line per turn to read in a terminal, each as it comes: what was predicted, then the turn."""

    def write(self, answers: Sequence[Answer]) -> None:
        """Writes the turns."""
        width = max((len(name.removeprefix("p_")) for name in self.predicted), default=0)
        for answer in answers:
            found = "  ".join(f"{cell:>6}" for cell in summary(answer.predicted).values())
            name = f"[{printable(answer.conversation)}] " if answer.conversation else ""
            line = f"{found:>{width + 8}}  {name}{printable(answer.speaker)}: {printable(answer.text)}"
            self.file.write(f"{line}\n".encode())


FORMATS: dict[str, type[Writer]] = {"table": Table, "csv": Csv, "jsonl": JsonLines, "parquet": Parquet}
# Those of which each line is complete.
FORMATS_OF_LINES: dict[str, type[Writer]] = {"table": Lines, "csv": Csv, "jsonl": JsonLines}


def require_free(path: pathlib.Path, columns: Collection[str], predicted: Collection[str]) -> None:
    """Refuses a source with a column that predictions are written to, as what it holds would be lost.

    Args:
        path: The source, for the error.
        columns: Its columns.
        predicted: Columns of the predictions.

    Raises:
        InputError: There is such a column; names it.
    """
    if taken := [name for name in columns if name in predicted]:
        raise InputError(f"{path}: has a column {taken[0]}, which the predictions are to be written to; rename it")


def summary(predicted: Mapping[str, Any]) -> dict[str, str]:
    """Returns what a person wants to see of a prediction first: the class and its probability, or the values."""
    if "prediction" not in predicted:
        return {name.removeprefix("prediction_"): f"{value:.3f}" for name, value in predicted.items()}
    label = predicted["prediction"]
    return {"prediction": label, "percent": percent(float(predicted[f"p_{label}"]))}


def printable(text: str) -> str:
    """Returns a text on one line, without what could move a terminal's cursor."""
    return "".join(letter if letter.isprintable() else " " for letter in " ".join(text.split()))


def _cell(value: Any) -> str:
    """Returns a value as the text of a csv cell."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def _plain(value: Any) -> Any:
    """Returns a number of single precision as the shortest decimal that gives it again."""
    return float(str(value)) if isinstance(value, np.float32) else value
