"""An outcome for people and programs: Markdown, which a terminal shows as well, and CSV."""

import csv
import io
import statistics
from collections.abc import Sequence
from typing import Any

from dtrm_jax.evaluation.analysis import bootstrap
from dtrm_jax.evaluation.analysis.groups import SHIFTS_IN_WORDS, STUDIED
from dtrm_jax.experiments import published, rectified, tuning
from dtrm_jax.experiments.outcome import NOT_CAUSAL, Outcome, RowOutcome
from dtrm_jax.experiments.tables import SHORT, STUDIED_IN_PAPER
from dtrm_jax.experiments.variants import spelled
from dtrm_jax.tasks import METRICS, Metric

_NOTHING = "-"
_REFERENCE = "reference"
_OTHER = "*"


def protocol(outcome: Outcome) -> str:
    """Returns how the numbers were made, in a paragraph."""
    metric, config, rows = _metric(outcome).title, outcome.settings, outcome.run
    counts = sorted({len(row.seeds) for row in rows})
    seeds = "1 seed" if counts == [1] else f"{' or '.join(map(str, counts))} seeds"
    spread = "" if counts == [1] else ", mean ± standard deviation"
    reads_text = config["model"]["utterance"] != "features"
    window = f", K = {config['tokens']['window']}" if reads_text else ""
    parts = [
        f"{outcome.name} {outcome.split}{_of_data(outcome)}, {outcome.conversations} conversations, {_turns(outcome)}; "
        f"{outcome.encoder}{window}; {seeds} a row{spread}.",
        f"{_selection(outcome)}; {_of_test(outcome)}. {_causality(rows)}",
    ]
    if any(row.difference for row in rows):
        parts.append(
            f"Δ: difference in {metric}{_scope(outcome)} from “{_reference(outcome)}”, with its "
            f"{100 * bootstrap.LEVEL:g} % interval and p by a {_resampled(outcome)}."
        )
    if any(row.best_test_epoch for row in rows):
        parts.append(
            f"“Best test epoch” is the {metric} if the test split chose the epoch, as in much of the field: not a "
            "result, only there to show how much that adds."
        )
    if any(column.path.startswith("shifts.") for column in outcome.columns):
        intra, inter = (outcome.shifts[group] for group in ("intra", "inter"))
        parts.append(
            f"Turns with a shift: Intra-ES ({SHIFTS_IN_WORDS['intra']}) {intra:.1f}, Inter-ES "
            f"({SHIFTS_IN_WORDS['inter']}, whoever spoke it) {inter:.1f} a conversation."
        )
    if outcome.studied is not None and SHORT[0] in outcome.columns:
        parts.append(_studied(outcome))
    if any(row.optimum for row in rows):
        parts.append("The optimum is the best possible accuracy for what the row's model may know.")
    of_paper = outcome.split == "test" and published.named(outcome.corpus, config["data"])
    if of_paper and not outcome.paper_corpus:
        parts.append("The paper has no number of these classes and this test split.")
    if others := sorted({row.paper_modalities for row in rows} - {""}):
        parts.append(f"{_OTHER} The paper's row takes other modalities: {' or '.join(map(spelled, others))}.")
    if tries := tuning.written(outcome.tries):
        parts.append(f"The settings: {'; '.join(tries)}.")
    if missing := [row.shown for row in outcome.rows if not row.seeds]:
        parts.append(f"Not run: {'; '.join(missing)}.")
    return " ".join(parts)


def markdown(outcome: Outcome) -> str:
    """Returns the title, the table with its columns aligned, and the protocol; then what was rectified, if known."""
    text = f"**{outcome.title}**\n\n{markdown_table(cells(outcome))}\n\n{protocol(outcome)}\n"
    found = outcome.rectified
    if found is None:
        return text
    mark = _OTHER if any(row.paper_modalities for row in outcome.rows) else ""
    lines = rectified.rows(found, outcome.paper_corpus, mark)
    return f"{text}\n{markdown_table(lines)}\n\n{rectified.told(found)}\n"


def by_class(outcome: Outcome, variant: str) -> str:
    """Returns the mean F1 of every class in one row, as a sentence.

    Raises:
        KeyError: There is no such row, or it was not run.
    """
    rows = {row.variant: row for row in outcome.run}
    scores = rows[variant].f1_by_class
    return "F1 by class: " + ", ".join(f"{name} {mean(f1, True)}" for name, f1 in scores.items()) + ".\n"


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Returns rows, the heading first, as Markdown whose columns are aligned, the first on the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["| " + " | ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) + " |" for row in rows]
    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([lines[0], "| " + " | ".join(rule) + " |", *lines[1:]])


def cells(outcome: Outcome) -> list[list[str]]:
    """Returns the heading and the rows that were run; a column that no row has anything for is left out."""
    rows = outcome.run
    percent = _metric(outcome).percent
    columns = [["", *(row.marked for row in rows)]]
    for column in outcome.columns:
        path, in_percent = column.path, column.metric.percent
        columns.append([column.title, *(mean(row.scores[path], in_percent) for row in rows)])
        columns.append(["paper", *(_of_paper(row, path, in_percent) for row in rows)])
    columns += [
        ["Δ (interval)", *(_difference(row, outcome) for row in rows)],
        ["p", *(_p_value(row) for row in rows)],
        ["optimum", *(mean([row.optimum] if row.optimum else [], True) for row in rows)],
        ["best test epoch", *(mean(row.best_test_epoch or [], percent) for row in rows)],
    ]
    used = [column for column in columns if set(column[1:]) - {_NOTHING, _REFERENCE}]
    return [list(row) for row in zip(*used, strict=True)]


def as_csv(outcome: Outcome) -> str:
    """Returns one row per variant; scores as fractions, with their mean and standard deviation, in full precision."""
    names = [column.path.removeprefix(f"{outcome.split}.").removeprefix("per_target.") for column in outcome.columns]
    header = ["variant", "description", "seeds"]
    for name in names:
        header += [f"{name}_mean", f"{name}_deviation", f"{name}_paper"]
    header += ["dev_mean", "difference", "difference_low", "difference_high", "p_value", "optimum", "best_test_epoch"]
    others = any(row.paper_modalities for row in outcome.rows)
    header += ["paper_modalities"] if others else []
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(header)
    for row in outcome.rows:
        line: list[Any] = [row.variant, row.marked, " ".join(map(str, row.seeds))]
        for column in outcome.columns:
            scores, paper = row.scores[column.path], (row.paper or {}).get(column.path)
            line += [*_moments(scores), paper if paper is None or not column.metric.percent else round(paper / 100, 6)]
        difference = row.difference or {}
        line += [_moments(row.dev)[0]]
        line += [difference.get(name) for name in ("difference", "low", "high", "p_value")]
        line += [row.optimum, _moments(row.best_test_epoch or [])[0]]
        line += [row.paper_modalities] if others else []
        writer.writerow(["" if value is None else value for value in line])
    return buffer.getvalue()


def _of_data(outcome: Outcome) -> str:
    """Names the classes and the session that were chosen, which are not the paper's."""
    data = outcome.settings["data"]
    chosen = [f"classes: {data['labels']}"] if data["labels"] else []
    chosen += [f"session {data['test_session']}"] if data["test_session"] else []
    return f" ({'; '.join(chosen)})" if chosen else ""


def _turns(outcome: Outcome) -> str:
    if outcome.scored in (None, outcome.turns):
        return f"{outcome.turns} turns"
    return f"{outcome.scored} labelled turns of {outcome.turns}"


def _studied(outcome: Outcome) -> str:
    in_paper = STUDIED_IN_PAPER.get(outcome.paper_corpus)
    theirs = "" if in_paper is None else f"; the paper counts “{STUDIED}.” {in_paper} times"
    return f"“{STUDIED}” is {outcome.studied} turns, whatever the case and the punctuation{theirs}."


def _selection(outcome: Outcome) -> str:
    train = outcome.settings["train"]
    if train["select_last"]:
        counts = sorted({row.epochs or train["epochs"] for row in outcome.run})
        after = (
            f"{counts[0]} epochs" if len(counts) == 1 else f"as many epochs as its row has, {counts[0]} to {counts[-1]}"
        )
        return f"Every run's checkpoint is its last one, after {after}: dev chooses nothing here"
    return f"Every run's checkpoint is the one with the best dev {_metric(outcome).title}"


def _of_test(outcome: Outcome) -> str:
    if outcome.split == "test":
        return "the test split chooses nothing"
    return "the test split is not read, and what dev has chosen is a little too good on dev, in every row alike"


def _causality(rows: Sequence[RowOutcome]) -> str:
    if all(row.causal for row in rows):
        return "Causal: no future turn is seen."
    others = "the other rows are causal" if any(row.causal for row in rows) else "no row is causal"
    return f"Rows marked “{NOT_CAUSAL}” see future turns; {others}."


def _metric(outcome: Outcome) -> Metric:
    return METRICS[outcome.select_by]


def _reference(outcome: Outcome) -> str:
    return next(row.shown for row in outcome.rows if row.variant == outcome.reference)


def _scope(outcome: Outcome) -> str:
    """Says over what the differences are, where no column shows the scores that they are between."""
    if any(column.path == f"{outcome.split}.{outcome.select_by}" for column in outcome.columns):
        return ""
    each = any(".per_target." in column.path for column in outcome.columns)
    return ", averaged over the values," if each else " over all turns"


def _resampled(outcome: Outcome) -> str:
    """Says what the bootstrap of the differences draws."""
    counts = [len(row.seeds) for row in outcome.run if row.difference or row.variant == outcome.reference]
    resamples = f"({bootstrap.RESAMPLES:,} resamples)"
    if not outcome.over_seeds or max(counts) == 1:
        return f"paired bootstrap over conversations {resamples}, which leaves training's randomness out"
    of_one = ", which leaves training's randomness out of rows with one seed" if min(counts) == 1 else ""
    return f"bootstrap over conversations, the same for both, and over seeds {resamples}{of_one}"


def _moments(values: Sequence[float | None]) -> tuple[float | None, float | None]:
    """Returns the mean and the standard deviation of a sample, None where there is none."""
    if not values or None in values:
        return None, None
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def mean(values: Sequence[float | None], percent: bool) -> str:
    """Returns the mean of scores and, if there are several, their standard deviation; "-" if there is none."""
    middle, deviation = _moments(values)
    if middle is None:
        return _NOTHING
    shown = f"{100 * middle:.1f}" if percent else f"{middle:.3f}"
    if deviation is None:
        return shown
    return f"{shown} ± {100 * deviation:.1f}" if percent else f"{shown} ± {deviation:.3f}"


def _of_paper(row: RowOutcome, path: str, percent: bool) -> str:
    number = (row.paper or {}).get(path)
    if number is None:
        return _NOTHING
    return (f"{number:.1f}" if percent else f"{number:.2f}") + (_OTHER if row.paper_modalities else "")


def _difference(row: RowOutcome, outcome: Outcome) -> str:
    if row.variant == outcome.reference:
        return _REFERENCE
    if not row.difference:
        return _NOTHING
    one, percent = row.difference, _metric(outcome).percent

    def shown(name: str) -> str:
        return f"{100 * one[name]:+.1f}" if percent else f"{one[name]:+.3f}"

    return shown("difference") + ("" if one["low"] is None else f" ({shown('low')} to {shown('high')})")


def _p_value(row: RowOutcome) -> str:
    p_value = (row.difference or {}).get("p_value")
    return _NOTHING if p_value is None else f"{p_value:.3f}" if p_value >= 0.001 else "< 0.001"
