"""Predicts the emotions of conversations: ``dtrm-predict --checkpoint runs/meld FILE... [--output FOLDER]``.

A FILE is csv, tsv, jsonl, json, parquet, or txt with lines such as ``Ann: I passed!``; ``-`` is standard input. A table
needs the columns speaker and text, and may have conversation and turn; labels are not needed. A terminal gets a table,
anything else csv: the columns of the input, then the predictions. With --stream each line is answered at once. In a
checkout, ``python predict.py`` is the same command.
"""

import os
import sys

from absl import flags

from dtrm_jax import command_line
from dtrm_jax.errors import InputError

_KINDS = ("csv", "tsv", "jsonl", "json", "parquet", "txt")
_FORMATS = ("table", "csv", "jsonl", "parquet")

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "The run directory of training, or another trained model.")
_STEP = flags.DEFINE_string("step", "best", "Which checkpoint: best (by the dev metric), latest, or a step.")
_OUTPUT = flags.DEFINE_string(
    "output", None, "The file to write, whose ending says its format; or a folder, for predictions.csv and report.html."
)
_FORMAT = flags.DEFINE_enum("format", None, _FORMATS, "What to write, if no ending says it.")
_INPUT_FORMAT = flags.DEFINE_enum("input_format", None, _KINDS, "What FILEs are, if no ending says it.")
_COLUMNS = flags.DEFINE_string(
    "columns", "", "How FILEs call their columns: conversation=Dialogue_ID,speaker=Speaker,text=Utterance."
)
_STREAM = flags.DEFINE_bool("stream", False, "Answer each line of one FILE at once, as a live conversation needs it.")
flags.mark_flag_as_required("checkpoint")


def main(*names: str) -> int:
    """Predicts; returns the exit status."""
    from dtrm_jax.inference.predictor import Predictor, load
    from dtrm_jax.prediction_files.run import Streams, predict, stream

    def loaded() -> Predictor:
        return load(_CHECKPOINT.value, checkpoint=_STEP.value)

    streams, format = Streams.of_process(), _FORMAT.value or ""
    reading = {"kind": _INPUT_FORMAT.value or "", "columns": _COLUMNS.value}
    try:
        if _STREAM.value:
            if _OUTPUT.value is not None:
                raise InputError("--stream: expected no --output, as each line is answered on standard output")
            stream(loaded, names, streams, format=format, **reading)
            return 0
        chosen = predict(loaded, names, streams, output=_OUTPUT.value, format=format, say=_say, **reading)
    except BrokenPipeError:  # what reads standard output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    if chosen.folder is not None:
        print(f"written to {chosen.folder}; to read: {chosen.folder / 'report.html'}")
    elif chosen.file is not None:
        print(f"written to {chosen.file}")
    return 0


def _say(note: str) -> None:
    print(f"note: {note}", file=sys.stderr)


def run() -> None:
    """Parses the command line, predicts and exits."""
    command_line.run(main, files=True, module=__name__)
