"""Whether a table is of a corpus as the paper has it: only then the paper's numbers may stand beside its rows."""

import dataclasses
from collections.abc import Mapping
from typing import Any

_MISSING = 0.01  # the share of turns that may be missing, as some are in files of features


@dataclasses.dataclass(frozen=True)
class _Published:
    """What the paper scores of a corpus.

    Attributes:
        classes: How many emotions; 0 for real values.
        conversations: Of the test split; None if that is not told apart.
        turns: Of the test split, those with a label; None if that is not told apart.
    """

    classes: int
    conversations: int | None = None
    turns: int | None = None


# AVEC is read with one split and without other labels, and its test split is not counted here.
_CORPORA = {"meld": _Published(7, 280, 2610), "iemocap": _Published(6, 31, 1623), "avec": _Published(0)}


def named(corpus: str, data: Mapping[str, Any]) -> str:
    """Returns which corpus of the paper a table is of, by its own words; empty if it is of none.

    Args:
        corpus: The name of the dataset.
        data: The section of the config, with all settings.
    """
    name = data["corpus"] or corpus.lower()
    return name if name in _CORPORA else ""


def as_published(corpus: str, data: Mapping[str, Any], *, classes: int, conversations: int, turns: int) -> str:
    """Returns the corpus of the paper whose numbers are of the same classes and the same test split; empty if none is.

    Sentiments, four emotions, one session of IEMOCAP and the dyadic files of MELD are none, nor are one's own tables
    of other classes or of another number of conversations or turns.

    Args:
        corpus: The name of the dataset.
        data: As for ``named``.
        classes: How many there are; 0 for real values.
        conversations: Of the test split.
        turns: Of the test split, those with a label.
    """
    name = named(corpus, data)
    if not name or data["test_session"] or (data["labels"] and data["name"] != "table"):
        return ""
    paper = _CORPORA[name]
    same_split = paper.conversations in (None, conversations) and (
        paper.turns is None or abs(turns - paper.turns) <= _MISSING * paper.turns
    )
    return name if same_split and classes == paper.classes else ""
