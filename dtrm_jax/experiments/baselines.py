"""The table of all models that the paper compares with, on the same conversations, splits, features and seeds.

In ``baselines`` each model is trained as its authors published it: sizes, rates, batch and epochs, as far as settings
can say them (``Baseline.published``). In ``baselines_same_training`` it has its published sizes, and all else is the
config's, as it is for DialogueTRM in both. Checkpoints are selected as everywhere, by the dev score.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from dtrm_jax.experiments import variants as v
from dtrm_jax.experiments.layout import M_PAPER, M_TAKES, U_PAPER, Row, Table, avec, both
from dtrm_jax.experiments.variants import Variant
from dtrm_jax.models import ARCHITECTURES
from dtrm_jax.models.baselines.baseline import Baseline

NAMES = ("baselines", "baselines_same_training")


@dataclasses.dataclass(frozen=True)
class _Entry:
    """A model in the paper's tables.

    Attributes:
        architecture: As ``config.model.architecture``.
        multimodal: Whether it takes all modalities that there are; else the utterance alone.
        paper: Corpus -> column path -> the number in the paper's Table 2 or 3.
        shown: Follows the model's title.
        name: Follows the architecture in the name of the row.
        changes: Settings besides the published ones.
    """

    architecture: str
    multimodal: bool
    paper: Mapping[str, Mapping[str, float]] = dataclasses.field(default_factory=dict)
    shown: str = ""
    name: str = ""
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)


_ENTRIES = (
    _Entry(
        "c_lstm",
        multimodal=False,
        paper={
            "iemocap": both(56.3, 56.1),
            "meld": both(None, 56.7),
            "avec": avec(0.16, 0.25, 0.24, 0.10),
        },
        shown="-U",
    ),
    _Entry(
        "c_lstm",
        multimodal=False,
        shown="-U, one direction",
        name="-forward",
        changes={"model.c_lstm.bidirectional": False},
    ),
    _Entry("aghmn", multimodal=False, paper={"iemocap": both(63.5, 63.5), "meld": both(59.5, 57.5)}),
    _Entry("dialogue_gcn", multimodal=False, paper={"iemocap": both(65.3, 64.2), "meld": both(None, 58.1)}),
    _Entry(
        "bieru",
        multimodal=False,
        paper={
            "iemocap": both(66.1, 64.7),
            "meld": both(None, 60.8),
            "avec": avec(0.36, 0.64, 0.38, 0.37),
        },
    ),
    _Entry("tl_erc", multimodal=False, paper={"iemocap": both(None, 58.8)}),
    # The paper's row with utterance vectors of a fine-tuned encoder.
    _Entry("dialogue_rnn", multimodal=False, paper={"iemocap": both(None, 64.7)}, shown="-U"),
    _Entry(
        "dialogue_rnn",
        multimodal=False,
        shown="-U, one direction",
        name="-forward",
        changes={"model.dialogue_rnn.bidirectional": False, "model.dialogue_rnn.attention": "none"},
    ),
    # No corpus comes with the features of COMET, with which the paper's number is.
    _Entry(
        "cosmic",
        multimodal=False,
        paper={"iemocap": both(None, 65.2)},
        shown=" without COMET",
        changes={"model.cosmic.commonsense": False},
    ),
    _Entry("dag_erc", multimodal=False),
    _Entry(
        "c_lstm",
        multimodal=True,
        paper={"iemocap": both(59.8, 59.0), "avec": avec(0.14, 0.23, 0.25, -0.04)},
        shown="-M",
    ),
    _Entry(
        "cmn",
        multimodal=True,
        paper={"iemocap": both(61.9, 61.4), "avec": avec(0.23, 0.30, 0.26, -0.02)},
    ),
    _Entry(
        "dialogue_rnn",
        multimodal=True,
        paper={
            "iemocap": both(63.4, 62.7),
            "meld": both(56.1, 57.0),
            "avec": avec(0.35, 0.59, 0.37, 0.37),
        },
        shown="-M",
    ),
    _Entry(
        "icon",
        multimodal=True,
        paper={"iemocap": both(64.0, 63.5), "avec": avec(0.23, 0.29, 0.26, 0.22)},
    ),
    _Entry("mmgcn", multimodal=True),
    _Entry("sdt", multimodal=True),
)


def table(name: str, modalities: str, corpus: str) -> Table:
    """Returns the table; it has no rows where there is no text.

    Args:
        name: One of ``NAMES``.
        modalities: As for ``tables.table``.
        corpus: As for ``tables.table``.
    """
    full = v.full(modalities)
    rows = tuple(_rows(modalities, corpus, same_training=name != NAMES[0])) if "u" in modalities else ()
    same = ", all trained alike" if name != NAMES[0] else ""
    title = f"The models that the paper compares with (its Tables 2 and 3){same}"
    return Table(name=name, title=title, rows=rows, references=(full, v.U))


def _rows(modalities: str, corpus: str, *, same_training: bool) -> Iterator[Row]:
    """Yields the rows, those of the utterance alone first, as in the paper's Table 2."""
    yield Row(v.BERT, "The encoder alone", {"iemocap": both(56.7, 56.4)})
    seen: set[str] = set()
    for multimodal in (False, True):
        for entry in _entries():
            taken = modalities if multimodal else "u"
            if entry.multimodal != multimodal:
                continue
            variant = _variant(entry, taken, corpus, same_training)
            if variant.name not in seen:  # with text alone, both kinds of a model are one
                seen.add(variant.name)
                yield Row(variant, variant.shown, entry.paper, M_TAKES if multimodal else dict.fromkeys(M_TAKES, "u"))
        if not multimodal:
            yield Row(v.U, v.U.shown, U_PAPER)
    if modalities != "u":
        yield Row(v.full(modalities), v.full(modalities).shown, M_PAPER, M_TAKES)


def _entries() -> Iterator[_Entry]:
    """Yields the models that there are; one that the paper does not know takes all modalities."""
    known = {entry.architecture for entry in _ENTRIES}
    yield from _ENTRIES
    for name, model in ARCHITECTURES.items():
        if issubclass(model, Baseline) and name not in known:
            yield _Entry(name, multimodal=True)


def _variant(entry: _Entry, modalities: str, corpus: str, same_training: bool) -> Variant:
    """Returns what a row runs. Where there is an encoder, it reads the utterance alone, as the models' authors do."""
    model = ARCHITECTURES[entry.architecture]
    published = model.published_for(corpus)
    if same_training:
        published = {path: value for path, value in published.items() if path.startswith("model.")}
    name = f"{entry.architecture.replace('_', '-')}{entry.name}-{modalities}" + ("-same" if same_training else "")
    fixed = {"model.architecture": entry.architecture, "model.modalities": modalities, "tokens.indi_context": False}
    return Variant(name, f"{model.title}{entry.shown}", {**published, **entry.changes, **fixed})
