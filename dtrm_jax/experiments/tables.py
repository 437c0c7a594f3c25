"""The paper's tables: their rows, what is measured, and the paper's own numbers."""

import dataclasses
from collections.abc import Mapping

from dtrm_jax.data.readers import avec
from dtrm_jax.evaluation.analysis.groups import SCORED, STUDIED
from dtrm_jax.experiments import variants as v
from dtrm_jax.experiments.variants import Variant
from dtrm_jax.tasks import METRICS, Task, task_of


@dataclasses.dataclass(frozen=True)
class Column:
    """A score of a table.

    Attributes:
        path: Where it stands in a run's record (``records``), with dots.
        title: Its heading.
    """

    path: str
    title: str


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        variant: What is run.
        shown: What this table calls it.
        paper: Corpus -> column path -> the paper's number, as printed there.
    """

    variant: Variant
    shown: str
    paper: Mapping[str, Mapping[str, float]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """A table.

    Attributes:
        name: For the command and the files.
        title: What it shows.
        rows: In order.
        references: Variants that the others are compared with: the first of them that was run.
        columns: Scores of classes; empty for the scores of all turns that papers report (``Task.reported``).
        needs: Corpora it can be made of; all if empty.
    """

    name: str
    title: str
    rows: tuple[Row, ...]
    references: tuple[Variant, ...]
    columns: tuple[Column, ...] = ()
    needs: tuple[str, ...] = ()


ACCURACY, WEIGHTED_F1 = (Column(f"test.{name}", METRICS[name].title) for name in SCORED)
SHIFTS = tuple(
    Column(f"shifts.{group}.{score}", f"{shown} {title}")
    for group, shown in (("all", "all"), ("intra", "Intra-ES"), ("inter", "Inter-ES"))
    for score, title in zip(SCORED, ("acc", "F1"), strict=True)
)

SHORT = (
    Column(f"short.texts.{STUDIED}.accuracy", f"“{STUDIED}” accuracy"),
    Column("short.one_word.accuracy", "one word, accuracy"),
    ACCURACY,
)


def columns_of(table: Table, task: Task, select_by: str) -> tuple[Column, ...]:
    """Returns the columns of a table for a kind of emotions, the metric that selects checkpoints among them."""
    columns = table.columns or tuple(Column(f"test.{path}", title) for path, title in task.reported)
    if select_by in {column.path.rpartition(".")[2] for column in columns}:
        return columns
    return (*columns, Column(f"test.{select_by}", METRICS[select_by].title))


def table(name: str, corpus: str) -> Table:
    """Returns one of ``NAMES`` for a corpus: without visual features on MELD, as in the paper."""
    full = v.M_WITHOUT_VISUAL if corpus == "meld" else v.M
    return _TABLES[name](name, full)


def _both(accuracy: float, f1: float) -> dict[str, float]:
    return {ACCURACY.path: accuracy, WEIGHTED_F1.path: f1}


def _avec(*correlations: float) -> dict[str, float]:
    reported = task_of(avec.VALUES).reported
    return {f"test.{path}": value for (path, _), value in zip(reported, correlations, strict=True)}


def _iemocap(accuracy: float, f1: float) -> dict[str, dict[str, float]]:
    return {"iemocap": _both(accuracy, f1)}


# DialogueTRM-U, the same run in several tables.
_U = {"iemocap": _both(68.2, 68.1), "meld": _both(64.6, 63.2)}


def _table2(name: str, full: Variant) -> Table:
    u = _U | {"avec": _avec(0.73, 0.44, 0.38, 0.32)}
    m = {"iemocap": _both(69.5, 69.7), "meld": _both(65.7, 63.5), "avec": _avec(0.76, 0.52, 0.40, 0.40)}
    rows = (Row(v.U, v.U.shown, u), Row(full, full.shown, m))
    title = "DialogueTRM-U and DialogueTRM-M (the paper's Table 2)"
    return Table(name=name, title=title, rows=rows, references=(full, v.U))


def _table3(name: str, _: Variant) -> Table:
    rows = (
        Row(v.BERT, "BERT alone", _iemocap(56.7, 56.4)),
        Row(v.U, "DialogueTRM-U", _U),
        Row(v.WITHOUT_TRANSFORMER, "remove transformer", _iemocap(67.4, 67.4)),
        Row(v.WITHOUT_SEGMENTS, "then remove segment embedding", _iemocap(65.8, 65.7)),
        Row(v.WITHOUT_SEPARATOR, "then remove [SEP] tokens", _iemocap(65.3, 65.2)),
    )
    title = "Utterance context, step by step (the paper's Table 3)"
    return Table(name=name, title=title, rows=rows, references=(v.U,))


def _table4(name: str, _: Variant) -> Table:
    cells = (
        (v.U_FREE, 56.7, 56.4),
        (v.U, 68.2, 68.1),
        (v.A_FREE, 46.8, 44.9),
        (v.A_DEPENDENT, 44.7, 42.9),
        (v.V_FREE, 33.6, 36.8),
        (v.V_DEPENDENT, 32.2, 33.7),
        # The paper's page does not show the accuracy of both cells, nor the F1 of the first.
        (v.AV_FREE, None, None),
        (v.AV_DEPENDENT, None, 47.0),
        (v.UAV_FREE, 58.8, 58.3),
        (v.UAV_SWAPPED, 57.2, 57.1),
        (v.M, 69.5, 69.7),
        (v.UAV_DEPENDENT, 68.9, 68.8),
    )
    shown = {v.U: "u dep", v.M: "a free, v free, u dep (ours)", v.UAV_DEPENDENT: "a dep, v dep, u dep (others')"}
    rows = tuple(
        Row(
            variant,
            shown.get(variant, variant.shown),
            {"iemocap": {path: number for path, number in _both(accuracy, f1).items() if number is not None}},
        )
        for variant, accuracy, f1 in cells
    )
    title = "Context settings of (u)tterance, (a)coustic and (v)isual: free or dependent (the paper's Table 4)"
    return Table(name=name, title=title, rows=rows, references=(v.M, v.U))


def _table5(name: str, _: Variant) -> Table:
    paper = {
        "additive": 68.6,
        "concat": 68.5,
        "max": 68.7,
        "bilinear": 69.0,
        "gmu": 68.8,
        "mult": 68.4,
        "mgif": 69.7,
        "mgif_without_representation": 69.2,
        "mgif_without_prototype": 68.9,
    }
    rows = [Row(v.U, "utterance alone (DialogueTRM-U)", {"iemocap": {WEIGHTED_F1.path: 68.1}})]
    for kind, number in paper.items():
        variant, shown = (v.M, "MGIF") if kind == "mgif" else (v.FUSIONS[kind], v.FUSIONS[kind].shown)
        rows.append(Row(variant, shown, {"iemocap": {WEIGHTED_F1.path: number}}))
    return Table(name=name, title="Fusions (the paper's Table 5)", rows=tuple(rows), references=(v.M,))


def _table6(name: str, full: Variant) -> Table:
    def paper(*numbers: float) -> dict[str, dict[str, float]]:
        return {"iemocap": {column.path: number for column, number in zip(SHIFTS, numbers, strict=True)}}

    rows = (
        Row(v.U, v.U.shown, paper(68.2, 68.1, 52.9, 52.9, 73.8, 73.8)),
        Row(full, full.shown, paper(69.5, 69.7, 55.1, 55.4, 74.7, 74.3)),
    )
    title = "Turns with an emotion shift (the paper's Table 6)"
    return Table(name=name, title=title, rows=rows, references=(full, v.U), columns=SHIFTS)


def _short(name: str, full: Variant) -> Table:
    def paper(accuracy: float) -> dict[str, dict[str, float]]:
        return {"iemocap": {SHORT[0].path: accuracy}}

    rows = (
        Row(v.U_FREE, "utterance alone", paper(43.48)),
        Row(v.U, "+ utterance context", paper(65.22)),
        Row(full, "+ other modalities", paper(73.91)),
    )
    title = "Short utterances (the paper's section 5.5)"
    return Table(name=name, title=title, rows=rows, references=(full, v.U), columns=SHORT)


def _planted(name: str, _: Variant) -> Table:
    cells = (
        (v.U_FREE, "text, context-free"),
        (v.U, "text (DialogueTRM-U)"),
        (v.M_WITHOUT_VISUAL, "text + voice"),
        (v.TEXT_AND_FACE, "text + face"),
        (v.M, "all three (DialogueTRM-M)"),
    )
    rows = tuple(Row(variant, shown, {}) for variant, shown in cells)
    return Table(
        name=name,
        title="What each modality is worth",
        rows=rows,
        references=(v.M, v.U),
        columns=(ACCURACY, WEIGHTED_F1),
        needs=("planted",),
    )


_TABLES = {
    "table2": _table2,
    "table3": _table3,
    "table4": _table4,
    "table5": _table5,
    "table6": _table6,
    "short": _short,
    "planted": _planted,
}
NAMES = tuple(_TABLES)
