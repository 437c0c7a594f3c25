"""The paper's tables: their rows, what is measured, and the paper's own numbers."""

import itertools
from collections.abc import Mapping

from dtrm_jax.evaluation.analysis.groups import SCORED, STUDIED
from dtrm_jax.experiments import baselines, tuning
from dtrm_jax.experiments import variants as v
from dtrm_jax.experiments.layout import ACCURACY, M_PAPER, M_TAKES, U_PAPER, WEIGHTED_F1, Column, Row, Table, both
from dtrm_jax.models.dialogue_trm.fusions import FUSIONS
from dtrm_jax.tasks import METRICS, Task

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
# How often the paper counts "yeah." in the test split (section 5.5).
STUDIED_IN_PAPER = {"iemocap": 23}


def columns_of(table: Table, task: Task, select_by: str) -> tuple[Column, ...]:
    """Returns the columns of a table for a kind of emotions, the metric that selects checkpoints among them."""
    scores = task.detailed if table.detailed else task.reported
    if table.split == "dev":  # whose log has the scores of all classes or targets together
        scores = [(path, title) for path, title in scores if path in METRICS]
    columns = table.columns or tuple(Column(f"{table.split}.{path}", title) for path, title in scores)
    if select_by in {column.metric.name for column in columns}:
        return columns
    return (*columns, Column(f"{table.split}.{select_by}", METRICS[select_by].title))


def table(name: str, modalities: str, corpus: str = "") -> Table:
    """Returns one of ``NAMES`` for conversations that have these modalities.

    It has no rows if none can be made of them: fusions need two modalities or more, steps of the text's context text.

    Args:
        name: Of the table.
        modalities: Letters, as ``config.model.modalities``.
        corpus: ``config.data.corpus`` or else ``config.data.name``, for which other models' authors may have published
            settings.
    """
    if name in baselines.NAMES:
        return baselines.table(name, modalities, corpus)
    return _TABLES[name](name, modalities)


def _iemocap(accuracy: float, f1: float) -> dict[str, dict[str, float]]:
    return {"iemocap": both(accuracy, f1)}


def _full(modalities: str, shown: str = "", **paper: Mapping[str, float]) -> Row:
    """Returns the row of the full model, with the paper's numbers of DialogueTRM-M by corpus if it is one."""
    variant, is_m = v.full(modalities), "u" in modalities and len(modalities) > 1
    return Row(variant, shown or variant.shown, paper if is_m else {}, M_TAKES)


def _beside_full(modalities: str, full: Row, *others: Row) -> tuple[Row, ...]:
    """Returns rows of the text alone and that of the full model, without what these modalities have not."""
    return (*(others if "u" in modalities else ()), *(() if modalities == "u" else (full,)))


def _table2(name: str, modalities: str) -> Table:
    rows = _beside_full(modalities, _full(modalities, **M_PAPER), Row(v.U, v.U.shown, U_PAPER))
    title = "DialogueTRM-U and DialogueTRM-M (the paper's Table 2)"
    return Table(name=name, title=title, rows=rows, references=(v.full(modalities), v.U))


def _table3(name: str, modalities: str) -> Table:
    rows = (
        Row(v.BERT, "BERT alone", _iemocap(56.7, 56.4)),
        Row(v.U, "DialogueTRM-U", U_PAPER),
        Row(v.WITHOUT_TRANSFORMER, "remove transformer", _iemocap(67.4, 67.4)),
        Row(v.WITHOUT_SEGMENTS, "then remove segment embedding", _iemocap(65.8, 65.7)),
        Row(v.WITHOUT_SEPARATOR, "then remove [SEP] tokens", _iemocap(65.3, 65.2)),
    )
    title = "Utterance context, step by step (the paper's Table 3)"
    rows = rows if "u" in modalities else ()
    return Table(name=name, title=title, rows=rows, references=(v.U,), encodes=True)


# Table 4: modalities, those of them with context, accuracy and weighted F1 on IEMOCAP. The paper's page does not show
# the accuracy of both cells of voice and face, nor the F1 of the first.
_CONTEXTS = {
    ("u", ""): (56.7, 56.4),
    ("u", "u"): (68.2, 68.1),
    ("a", ""): (46.8, 44.9),
    ("a", "a"): (44.7, 42.9),
    ("v", ""): (33.6, 36.8),
    ("v", "v"): (32.2, 33.7),
    ("av", ""): (None, None),
    ("av", "av"): (None, 47.0),
    ("uav", ""): (58.8, 58.3),
    ("uav", "av"): (57.2, 57.1),
    ("uav", "u"): (69.5, 69.7),
    ("uav", "uav"): (68.9, 68.8),
}


def _table4(name: str, modalities: str) -> Table:
    several = "u" in modalities and len(modalities) > 1
    rows = []
    for (letters, with_context), numbers in _CONTEXTS.items():
        is_whole = letters == "uav"
        if not (several if is_whole else set(letters) <= set(modalities)):
            continue
        taken = modalities if is_whole else letters
        dependent = "".join(letter for letter in taken if letter in with_context)
        whose = {"u": " (ours)", "uav": " (others')"}.get(with_context, "") if is_whole else ""
        shown = v.contexts_of(taken, dependent) + whose
        rows.append(Row(v.in_context(taken, dependent), shown, {"iemocap": both(*numbers)}, {"iemocap": letters}))
    title = "Context settings of (u)tterance, (a)coustic and (v)isual: free or dependent (the paper's Table 4)"
    return Table(name=name, title=title, rows=tuple(rows), references=(v.full(modalities), v.U))


def _table5(name: str, modalities: str) -> Table:
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
    has_text, rows = "u" in modalities, []
    if has_text:
        rows += [Row(v.U, "utterance alone (DialogueTRM-U)", {"iemocap": {WEIGHTED_F1.path: 68.1}})]
    for kind in FUSIONS:  # in the paper's order; one of one's own has no number there
        variant = v.with_fusion(modalities, kind)
        of_paper = {"iemocap": {WEIGHTED_F1.path: paper[kind]}} if kind in paper else {}
        shown = "MGIF" if kind == "mgif" else variant.shown
        rows.append(Row(variant, shown, of_paper if has_text else {}, {"iemocap": "uav"}))
    found = tuple(rows) if len(modalities) > 1 else ()
    return Table(name=name, title="Fusions (the paper's Table 5)", rows=found, references=(v.full(modalities),))


def _table6(name: str, modalities: str) -> Table:
    def paper(*numbers: float) -> dict[str, float]:
        return {column.path: number for column, number in zip(SHIFTS, numbers, strict=True)}

    u = Row(v.U, v.U.shown, {"iemocap": paper(68.2, 68.1, 52.9, 52.9, 73.8, 73.8)})
    full = _full(modalities, iemocap=paper(69.5, 69.7, 55.1, 55.4, 74.7, 74.3))
    rows = _beside_full(modalities, full, u)
    title = "Turns with an emotion shift (the paper's Table 6)"
    return Table(name=name, title=title, rows=rows, references=(v.full(modalities), v.U), columns=SHIFTS)


def _short(name: str, modalities: str) -> Table:
    alone, context, all_modalities = ({SHORT[0].path: accuracy} for accuracy in (43.48, 65.22, 73.91))
    rows = _beside_full(
        modalities,
        _full(modalities, "+ other modalities" if "u" in modalities else "", iemocap=all_modalities),
        Row(v.U_FREE, "utterance alone", {"iemocap": alone}),
        Row(v.U, "+ utterance context", {"iemocap": context}),
    )
    title = "Short utterances (the paper's section 5.5)"
    full = v.full(modalities)
    pair = (v.U, full) if "u" in modalities and full != v.U else None
    return Table(name=name, title=title, rows=rows, references=(full, v.U), columns=SHORT, rectified=pair)


def _modalities(name: str, modalities: str) -> Table:
    sizes = range(1, len(modalities) + 1)
    subsets = ("".join(chosen) for size in sizes for chosen in itertools.combinations(modalities, size))
    rows = tuple(Row(v.full(subset), v.spelled(subset), {}) for subset in subsets)
    references = (v.full(modalities), v.U)
    return Table(name=name, title="The modalities, alone and together", rows=rows, references=references, detailed=True)


def _planted(name: str, _: str) -> Table:
    cells = (
        (v.U_FREE, "text, context-free"),
        (v.U, "text (DialogueTRM-U)"),
        (v.full("ua"), "text + voice"),
        (v.full("uv"), "text + face"),
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
    "modalities": _modalities,
    "planted": _planted,
    tuning.NAME: lambda *_: tuning.table(()),
}
NAMES = (*_TABLES, *baselines.NAMES)
