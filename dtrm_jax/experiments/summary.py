"""The one table of the README: both models of the paper on MELD and IEMOCAP, with encoders of two sizes.

A cell is the row of any table of the records that is of this model, corpus and encoder, end to end and by the paper's
protocol; of several, that with the most seeds.
"""

from collections.abc import Iterator
from pathlib import Path

from dtrm_jax.experiments import pages, rendering
from dtrm_jax.experiments import variants as v
from dtrm_jax.experiments.outcome import Outcome, RowOutcome
from dtrm_jax.experiments.tables import WEIGHTED_F1, table
from dtrm_jax.models.encoders.hub import MINILM

_CORPORA = ("meld", "iemocap")
_MODELS = {"u": "DialogueTRM-U, text", "ua": "DialogueTRM-M, text and voice"}
# As the project's configs name them: another MiniLM or MPNet is another encoder.
_ENCODERS = {MINILM: "MiniLM, 22.7M", "sentence-transformers/all-mpnet-base-v2": "MPNet, 109.5M"}
_PAPER = "the paper, BERT-base, 110M"
_NOTHING, _OTHER, _FULL_PRECISION = "-", "*", "†"


def main_results(results: Path) -> str:
    """Returns the table in Markdown, with the protocol; a cell that was not run is "-".

    Args:
        results: The folder of the folders of records.
    """
    lines = [["weighted F1 on test", *_ENCODERS.values(), _PAPER]]
    found = list(_rows(results))
    for corpus in _CORPORA:
        for modalities, shown in _MODELS.items():
            cells = [_cell(found, corpus, modalities, encoder) for encoder in _ENCODERS]
            lines.append([f"{corpus.upper()}: {shown}", *cells, _of_paper(corpus, modalities)])
    lines = lines if _mixed(lines) else [[cell.rstrip(_FULL_PRECISION) for cell in line] for line in lines]
    return f"{rendering.markdown_table(lines)}\n\n{_protocol(lines)}\n"


def _protocol(lines: list[list[str]]) -> str:
    text = (
        "Mean ± standard deviation over seeds (how many). Dev chooses the checkpoint, test nothing; every labelled "
        "turn is scored once, and no future turn is seen."
    )
    cells = [cell for line in lines[1:] for cell in line[1:]]
    text += f" {_OTHER} The paper's model takes the face, too." if any(_OTHER in cell for cell in cells) else ""
    if _mixed(lines):
        text += f" {_FULL_PRECISION} Trained with products in float32; the others in bfloat16."
    return text + (f' "{_NOTHING}": not run yet.' if _NOTHING in cells else "")


def _rows(results: Path) -> Iterator[tuple[Outcome, RowOutcome]]:
    """Yields the rows that may be a cell: by the paper's protocol, on the corpus as it is published.

    They are trained end to end from the encoder alone, see no later turns, and dev chooses their checkpoints.
    """
    for folder in sorted(one for one in results.iterdir() if one.is_dir()):
        if folder.name.endswith("_best"):  # which is more than the paper's model
            continue
        for outcome in pages.outcomes(folder).values():
            if _by_the_protocol(outcome) and outcome.corpus == outcome.paper_corpus:
                yield from ((outcome, row) for row in outcome.run if row.causal)


def _by_the_protocol(outcome: Outcome) -> bool:
    model, train = outcome.settings["model"], outcome.settings["train"]
    reads_text = model["utterance"] == "encoder" and model["architecture"] == "dialogue_trm"
    return reads_text and not train["select_last"] and not train["init_from"]


def _cell(found: list[tuple[Outcome, RowOutcome]], corpus: str, modalities: str, encoder: str) -> str:
    name = v.full(modalities).name
    fitting = [
        (row.scores[WEIGHTED_F1.path], outcome.settings["model"]["encoder"]["products"])
        for outcome, row in found
        if outcome.corpus == corpus
        and row.variant == name
        and outcome.settings["model"]["encoder"]["pretrained"] == encoder
        and WEIGHTED_F1.path in row.scores
    ]
    if not fitting:
        return _NOTHING
    scores, products = max(fitting, key=lambda cell: len(cell[0]))  # the first of equals
    mark = _FULL_PRECISION if products == "float32" else ""
    return f"{rendering.mean(scores, percent=True)} ({len(scores)}){mark}"


def _mixed(lines: list[list[str]]) -> bool:
    """Whether some of the cells, but not all, are of runs with products in float32."""
    cells = [cell for line in lines[1:] for cell in line[1:-1] if cell != _NOTHING]
    return 0 < sum(_FULL_PRECISION in cell for cell in cells) < len(cells)


def _of_paper(corpus: str, modalities: str) -> str:
    row = next(row for row in table("table2", modalities).rows if row.variant == v.full(modalities))
    number = row.paper[corpus][WEIGHTED_F1.path]
    taken = row.paper_modalities.get(corpus, modalities)
    return f"{number:.1f}{_OTHER if taken != modalities else ''}"
