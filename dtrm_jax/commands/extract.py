"""Extracts features: ``dtrm-extract audio TABLE --output FOLDER``, or ``dtrm-extract text --run RUN --output FOLDER``.

audio: openSMILE's features of recordings. TABLE, a file or a folder as docs/own-data.md describes it, has a column
audio, the file of each turn, and may have start and end, in seconds. Stopped in any way, the same command goes on.

text: the vectors that the text encoder of RUN, a trained model, gives the turns of RUN's corpus, or those of a TABLE.

FOLDER, which must be new or empty, then holds tables with features to train on. In a checkout, ``python -m
dtrm_jax.commands.extract`` is the same command.
"""

import pathlib
import shlex
import sys

from absl import flags

from dtrm_jax import command_line
from dtrm_jax.errors import InputError, printable
from dtrm_jax.extraction.audio import ABSENT, FEATURE_SETS, extract_audio
from dtrm_jax.provenance import cores
from dtrm_jax.user_paths import expanded

_SIZES = ", ".join(f"{name} ({size})" for name, size in FEATURE_SETS.items())

_OUTPUT = flags.DEFINE_string("output", None, "The folder for the tables with features; must be new or empty.")
_COLUMNS = flags.DEFINE_string(
    "columns", "", "How TABLE calls its columns: audio=File,speaker=Speaker,text=Utterance,label=Emotion."
)
_FEATURE_SET = flags.DEFINE_enum("features", "eGeMAPSv02", tuple(FEATURE_SETS), f"audio: the feature set, of {_SIZES}.")
_WORKERS = flags.DEFINE_integer(
    "workers", None, "audio: processes; default: one for each core.", lower_bound=1, upper_bound=1024
)
_RUN = flags.DEFINE_string("run", None, "text: the run directory of training, or another trained model.")
_STEP = flags.DEFINE_string("step", "best", "text: which checkpoint: best (by the dev metric), latest, or a step.")
_SOURCE = flags.DEFINE_string("source", None, "text: folder of RUN's corpus, if not the one it was trained with.")
flags.mark_flag_as_required("output")

_OF_KIND = {"audio": ("features", "workers"), "text": ("run", "step", "source")}


def main(*arguments: str) -> int:
    """Extracts; returns the exit status."""
    kind, *tables = arguments or ("nothing",)
    if kind not in _OF_KIND:
        raise InputError(f"expected audio or text, found {kind}")
    for other, names in _OF_KIND.items():
        if wrong := [name for name in names if other != kind and flags.FLAGS[name].present]:
            raise InputError(f"--{wrong[0]}: is for {other}, not for {kind}")
    output = expanded(_OUTPUT.value)
    print("\n".join(_audio(output, tables) if kind == "audio" else _text(output, tables)))
    return 0


def _audio(output: pathlib.Path, tables: list[str]) -> list[str]:
    if len(tables) != 1:
        raise InputError(f"audio: expected one TABLE, found {' '.join(tables) or 'none'}")
    found = extract_audio(
        expanded(tables[0]),
        output,
        features=_FEATURE_SET.value,
        columns=_COLUMNS.value,
        workers=_WORKERS.value or cores(),
        say=_say,
    )
    already = "has already " if found.was_complete else ""
    lines = [f"{output}: {already}{found.present} of {found.turns} turns with {_FEATURE_SET.value}"]
    if found.broken:
        lines.append(f"{found.broken} clips give no features: {output / ABSENT} says why")
    return [*lines, _training(output, _COLUMNS.value, "--config.model.modalities=ua")]


def _text(output: pathlib.Path, tables: list[str]) -> list[str]:
    from dtrm_jax.extraction.text import extract_of_corpus, extract_of_table
    from dtrm_jax.inference.reading import read_trained

    if _RUN.value is None:
        raise InputError("text: expected --run, a trained model")
    if len(tables) > 1 or (tables and _SOURCE.value is not None):
        raise InputError(f"text: expected one TABLE, or --source, or neither, found {' '.join(tables)}")
    if _COLUMNS.value and not tables:
        raise InputError("--columns: expected a TABLE")
    trained = read_trained(_RUN.value, checkpoint=_STEP.value)
    if tables:
        found = extract_of_table(trained, expanded(tables[0]), output, columns=_COLUMNS.value)
    else:
        found = extract_of_corpus(trained, output, source=_SOURCE.value)
    already = "has already " if found.was_complete else ""
    line = f"{output}: {already}{found.present} of {found.turns} turns with a vector of {found.size} numbers"
    return [line, _training(output, _COLUMNS.value, "--config.model.utterance=features")]


def _training(output: pathlib.Path, columns: str, *settings: str) -> str:
    """Returns the command that trains on a folder."""
    named = [f"--config.data.columns={columns}"] if columns else []
    return "train with: " + shlex.join(
        ["dtrm-train", "--config", "table", f"--config.data.source={output}", *named, *settings]
    )


def _say(note: str) -> None:
    print(f"note: {printable(note)}", file=sys.stderr)


def run() -> None:
    """Parses the command line, extracts and exits."""
    command_line.run(main, module=__name__, files=True)


if __name__ == "__main__":
    run()
