"""A folder of predictions: the table with the columns of its sources, and a page to read."""

import contextlib
import dataclasses
import os
import pathlib
import tempfile
from collections.abc import Iterator

from dtrm_jax.conversation import Conversation
from dtrm_jax.errors import InputError
from dtrm_jax.evaluation.files import predictions
from dtrm_jax.evaluation.files.stamp import stamp
from dtrm_jax.models import architecture
from dtrm_jax.prediction_files.destination import Destination
from dtrm_jax.prediction_files.predicting import Predicting
from dtrm_jax.prediction_files.writing import FORMATS
from dtrm_jax.replacing import folder_beside, naming
from dtrm_jax.report import PredictionFacts, write_prediction_report
from dtrm_jax.report.facts import FILE as FACTS

_PAGE = "report.html"


def require_own(chosen: Destination) -> None:
    """Refuses to replace what no earlier prediction has written, such as the predictions and page of an evaluation.

    Args:
        chosen: The folder, and the file in it.

    Raises:
        InputError: One of the files that would be written is there already, and not one of a prediction.
    """
    there = [name for name in (chosen.file.name, FACTS, _PAGE) if os.path.lexists(chosen.folder / name)]
    if not there:
        return
    try:
        PredictionFacts.read(chosen.folder)
    except (InputError, OSError):
        raise InputError(
            f"{chosen.folder}: expected a new folder or one that dtrm-predict has written, found another {there[0]}, "
            "which is kept"
        ) from None


def write_folder(predicting: Predicting, chosen: Destination) -> None:
    """Predicts and writes ``predictions.<format>``, ``prediction.json`` and ``report.html``: all of them, or none.

    Args:
        predicting: What is predicted.
        chosen: Its folder, and the file in it.

    Raises:
        InputError: A conversation lacks what the model takes.
    """
    values = predicting.predictor.trained.manifest.shape.values
    with _staged(chosen.folder) as staging, tempfile.TemporaryDirectory(dir=staging) as drawing:
        drawn = pathlib.Path(drawing)
        with (
            naming(chosen.file),
            (staging / chosen.file.name).open("wb") as file,
            # The page is drawn from this table, whose columns are those of an evaluation.
            predictions.writing(drawn / "predictions.csv", predicting.task) as add,
        ):
            writer = FORMATS[chosen.format](file, predicting.columns, predicting.predicted)
            predicting.write(writer, lambda conversation, outputs_LxC: add(_blank(conversation, values), outputs_LxC))
        _facts(predicting).write(drawn)
        write_prediction_report(drawn)
        for name in (FACTS, _PAGE):
            os.replace(drawn / name, staging / name)


def _blank(conversation: Conversation, values: int) -> Conversation:
    """Returns a conversation whose turns have room for so many real values, all of them unknown."""
    turns = (dataclasses.replace(turn, values=(None,) * values) for turn in conversation.turns)
    return dataclasses.replace(conversation, turns=tuple(turns)) if values else conversation


def _facts(predicting: Predicting) -> PredictionFacts:
    trained = predicting.predictor.trained
    model = architecture(trained.config)
    return PredictionFacts(
        inputs=tuple(str(source.path) for source in predicting.sources),
        run=trained.name,
        corpus=trained.manifest.corpus,
        model=model.describe(trained.config),
        causal=trained.is_causal,
        step=trained.step,
        **stamp(),
    )


@contextlib.contextmanager
def _staged(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives a folder whose files move to ``folder`` when everything is done, and vanish if an exception comes first."""
    # A folder that is there may be a disk of its own, onto which nothing can be moved from beside it.
    with folder_beside(folder / "predictions" if folder.is_dir() else folder) as staging:
        yield staging
        folder.mkdir(exist_ok=True)
        for file in sorted(staging.iterdir()):
            os.replace(file, folder / file.name)
