"""What the command does: from the names of files to their predictions, or from line to line."""

import dataclasses
import sys
from collections.abc import Callable, Sequence
from typing import BinaryIO

from dtrm_jax.inference.predictor import Predictor
from dtrm_jax.prediction_files import live
from dtrm_jax.prediction_files.destination import Destination, destination
from dtrm_jax.prediction_files.predicting import Predicting
from dtrm_jax.prediction_files.sources import KINDS, find, opened
from dtrm_jax.prediction_files.writing import FORMATS


@dataclasses.dataclass(frozen=True, kw_only=True)
class Streams:
    """Standard input and output.

    Attributes:
        input: Read if ``-`` is named.
        output: Written to if no file is named.
        terminal: Whether the output is a terminal, which people read.
    """

    input: BinaryIO
    output: BinaryIO
    terminal: bool

    @classmethod
    def of_process(cls) -> "Streams":
        """Returns those of this process."""
        return cls(input=sys.stdin.buffer, output=sys.stdout.buffer, terminal=sys.stdout.isatty())


def predict(
    load: Callable[[], Predictor],
    names: Sequence[str],
    streams: Streams,
    *,
    kind: str,
    columns: str,
    output: str | None,
    format: str,
    say: Callable[[str], None],
) -> Destination:
    """Predicts whole files, all of which are read before the first is predicted.

    Args:
        load: Returns the trained model; called when the files are known to be there.
        names: Paths of files; ``-`` for standard input.
        streams: Of the process.
        kind: A name in ``sources.KINDS``; if it is empty, each file is told by its ending or its beginning.
        columns: The setting ``data.columns``.
        output: A file or a folder; None for standard output.
        format: One of ``writing.FORMATS``; if it is empty, the output says it.
        say: Is given a line for everything that was forgiven in reading.

    Returns:
        Where the predictions are.

    Raises:
        InputError: A file is malformed or lacks what the model takes, or the output cannot be made. Nothing is written.
    """
    sources = find(names, kind, columns, streams.input)
    chosen = destination(output, format, sources, terminal=streams.terminal)
    if chosen.folder is not None:
        from dtrm_jax.prediction_files import folder  # and with it all that draws a page

        folder.require_own(chosen)
    predicting = Predicting(load(), sources, columns, FORMATS[chosen.format])
    for note in predicting.notes:
        say(note)
    if chosen.folder is not None:
        folder.write_folder(predicting, chosen)
        return chosen
    with chosen.opened(streams.output) as file:
        predicting.write(FORMATS[chosen.format](file, predicting.columns, predicting.predicted))
    return chosen


def stream(
    load: Callable[[], Predictor], names: Sequence[str], streams: Streams, *, kind: str, columns: str, format: str
) -> None:
    """Answers each line of one file before the next is read.

    Args:
        load: Returns the trained model.
        names: One path, or ``-``.
        streams: Of the process.
        kind: As for ``predict``.
        columns: As for ``predict``.
        format: One of ``writing.FORMATS_OF_LINES``; if it is empty, a terminal gets a table and anything else csv.

    Raises:
        InputError: A line is malformed; those before it have been answered.
    """
    format = live.checked(format or ("table" if streams.terminal else "csv"))
    with opened(names, streams.input) as (path, lines):
        told = KINDS.get(kind or path.suffix.lower().removeprefix("."), "")
        live.write(live.answers(load(), path, lines, told, columns), format, streams.output)
