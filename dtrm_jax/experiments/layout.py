"""What a table is: rows that are run, scores that are shown, and the paper's own numbers."""

import dataclasses
from collections.abc import Mapping

from dtrm_jax.data.readers.avec import VALUES
from dtrm_jax.evaluation.analysis.groups import SCORED
from dtrm_jax.experiments.variants import Variant
from dtrm_jax.tasks import METRICS, Metric, task_of


@dataclasses.dataclass(frozen=True)
class Column:
    """A score of a table.

    Attributes:
        path: Where it stands in a run's record (``records``), with dots.
        title: Its heading.
    """

    path: str
    title: str

    @property
    def metric(self) -> Metric:
        """What it is a score of: the last part of the path."""
        return METRICS[self.path.rpartition(".")[2]]


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        variant: What is run.
        shown: What this table calls it.
        paper: Corpus -> column path -> the paper's number, as printed there.
        paper_modalities: Corpus -> modalities of the paper's row, where a row of other modalities stands beside it.
    """

    variant: Variant
    shown: str
    paper: Mapping[str, Mapping[str, float]]
    paper_modalities: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """A table.

    Attributes:
        name: For the command and the files.
        title: What it shows.
        rows: In order.
        references: Variants that the others are compared with: the first of them that was run.
        columns: Scores of classes; empty for the scores of all turns that papers report (``Task.reported``).
        detailed: Whether ``Task.detailed`` is shown in place of ``Task.reported``.
        needs: Corpora it can be made of; all if empty.
        encodes: Whether its rows change what an encoder reads, so that frozen vectors would be the same in all.
        rectified: The two models of which the second rectifies turns of the first; None if that is not asked.
        chosen: Whether the user chose what its rows change, so that it shows their settings.
        split: What is scored; where it is "dev", the test split is not read.
    """

    name: str
    title: str
    rows: tuple[Row, ...]
    references: tuple[Variant, ...]
    columns: tuple[Column, ...] = ()
    detailed: bool = False
    needs: tuple[str, ...] = ()
    encodes: bool = False
    rectified: tuple[Variant, Variant] | None = None
    chosen: bool = False
    split: str = "test"


ACCURACY, WEIGHTED_F1 = (Column(f"test.{name}", METRICS[name].title) for name in SCORED)


def both(accuracy: float | None, f1: float | None) -> dict[str, float]:
    """Returns a row's accuracy and weighted F1 in a paper by column path, without those that it does not have."""
    numbers = {ACCURACY.path: accuracy, WEIGHTED_F1.path: f1}
    return {path: number for path, number in numbers.items() if number is not None}


def avec(*correlations: float) -> dict[str, float]:
    """Returns the correlations of valence, arousal, expectancy and power in a paper by column path."""
    reported = task_of(VALUES).reported
    return {f"test.{path}": value for (path, _), value in zip(reported, correlations, strict=True)}


# What DialogueTRM-M, and the paper's other multimodal rows, take: on MELD there are no faces.
M_TAKES = {"iemocap": "uav", "meld": "ua", "avec": "uav"}
# Table 2: DialogueTRM-U and DialogueTRM-M.
U_PAPER = {"iemocap": both(68.2, 68.1), "meld": both(64.6, 63.2), "avec": avec(0.73, 0.44, 0.38, 0.32)}
M_PAPER = {"iemocap": both(69.5, 69.7), "meld": both(65.7, 63.5), "avec": avec(0.76, 0.52, 0.40, 0.40)}
