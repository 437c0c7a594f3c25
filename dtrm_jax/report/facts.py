"""``prediction.json``: what was predicted and by which model, beside a ``predictions.csv`` without an evaluation."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dtrm_jax.errors import InputError
from dtrm_jax.json_file import read_json, write_json

FILE = "prediction.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictionFacts:
    """What the page says of a prediction, besides what was predicted.

    Attributes:
        inputs: Names of the files that were predicted, for people to read.
        run: Name of the trained model.
        corpus: What it was trained on.
        model: ``Model.describe`` of its config.
        causal: Whether a turn is judged by itself and earlier turns alone.
        step: Of the checkpoint.
        evaluated: When it was predicted (``evaluation.files.stamp``).
        version: By which version of dtrm_jax.
        provenance: What it was predicted with (``dtrm_jax.provenance``); None in files from before it was kept.
    """

    inputs: tuple[str, ...]
    run: str
    corpus: str
    model: str
    causal: bool
    step: int
    evaluated: str
    version: str
    provenance: Mapping[str, Any] | None = None

    def write(self, folder: Path) -> None:
        """Writes ``prediction.json`` into a folder."""
        write_json(folder / FILE, {**dataclasses.asdict(self), "inputs": list(self.inputs)})

    @classmethod
    def read(cls, folder: Path) -> "PredictionFacts":
        """Inverts ``write``; raises InputError if the file is missing or does not hold these facts."""
        values = read_json(folder / FILE, "the facts of a prediction")
        try:
            return cls(**{**values, "inputs": tuple(values["inputs"])})
        except (TypeError, KeyError) as error:
            names = ", ".join(field.name for field in dataclasses.fields(cls))
            raise InputError(f"{folder / FILE}: expected {names}: {error}") from error
