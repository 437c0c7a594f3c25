"""Exporting a run: a folder in the style of the Hugging Face hub, with a model card."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

from dtrm_jax.errors import InputError, chosen
from dtrm_jax.inference import exported
from dtrm_jax.inference.reading import read_trained
from dtrm_jax.replacing import folder_beside, put_folder
from dtrm_jax.run_directory import RunDirectory
from dtrm_jax.run_directory.starts import read_starts
from dtrm_jax.sharing.evaluations import read_evaluations
from dtrm_jax.sharing.model_card import CARD, Owner, write_card
from dtrm_jax.sharing.rounding import Rounding, measure
from dtrm_jax.user_paths import new_folder


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written.

    Attributes:
        folder: Where.
        sizes: The name of each file -> its bytes.
        step: Of the parameters.
        choice: What they are, ``config.train.choice``.
        evaluations: Names of the evaluations whose scores are in the card.
        rounding: What storing the parameters in another type than float32 changes; None if they are float32.
    """

    folder: Path
    sizes: dict[str, int]
    step: int
    choice: str
    evaluations: Sequence[str]
    rounding: Rounding | None


def export(run: RunDirectory, folder: str | os.PathLike[str], *, dtype: str = "float32", owner: Owner) -> Exported:
    """Writes the best parameters of a run to a new folder, with all that ``dtrm_jax.load`` needs and a model card.

    The card's scores are those of the evaluations of these parameters that the run directory holds. The folder appears
    complete or not at all.

    Args:
        run: The run directory; nothing in it is changed.
        folder: Where to. It must not exist, or be empty.
        dtype: The type of the stored parameters: float32, in which they are exact, or float16.
        owner: What only the person who shares it can say.

    Raises:
        InputError: The directory is not a run or has no best checkpoint, or the folder has something in it.
    """
    chosen(exported.DTYPES, dtype, "dtype")
    folder = new_folder(folder)
    _require_free(folder)
    trained = read_trained(run)
    rounding = None if dtype == "float32" else measure(run, trained, dtype)
    evaluations = read_evaluations(run, trained.task, trained.step)
    with folder_beside(folder) as unfinished:
        exported.write(trained, unfinished, dtype)
        starts = read_starts(run.starts_file, damaged=True)
        write_card(unfinished / CARD, trained, evaluations, starts=starts, owner=owner, rounding=rounding)
        sizes = {file.name: file.stat().st_size for file in sorted(unfinished.iterdir())}
        put_folder(unfinished, folder)
    names = [evaluation.name for evaluation in evaluations]
    return Exported(
        folder=folder,
        sizes=sizes,
        step=trained.step,
        choice=trained.config.train.choice,
        evaluations=names,
        rounding=rounding,
    )


def _require_free(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: expected a new folder to export to, found a file")
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"{folder}: expected a new or an empty folder to export to, found files, which are kept")
