"""Which field of the field's pickles is which, by how many there are and what they hold."""

import pathlib
from typing import Any

import numpy as np

from dtrm_jax.conversation import SPLITS, TEXT_LAYERS
from dtrm_jax.errors import InputError

# The fields that are features.
FIELDS = (*TEXT_LAYERS, "acoustic", "visual")

# Fields in order. A dict that is not needed is "other", anything at all "any". Test comes before dev in COSMIC's files.
LAYOUTS = {
    "features of IEMOCAP or AVEC": "other speakers labels utterance acoustic visual sentences train test",
    "features of MELD": "other speakers labels utterance acoustic sentences train test other",
    "features of MELD with faces": "other speakers labels utterance acoustic visual sentences train test any",
    "RoBERTa, acoustic and visual features": (
        "other speakers labels utterance utterance2 utterance3 utterance4 acoustic visual sentences train test"
    ),
    "RoBERTa, acoustic and visual features of MELD": (
        "other speakers labels utterance utterance2 utterance3 utterance4 acoustic visual sentences train test any"
    ),
    "COSMIC's transcripts": "speakers labels sentences train test dev",
    "COSMIC's transcripts of MELD": "speakers labels other sentences train test dev",
    "COSMIC's RoBERTa features": (
        "speakers labels utterance utterance2 utterance3 utterance4 sentences train test dev"
    ),
    "COSMIC's RoBERTa features of MELD": (
        "speakers labels other utterance utterance2 utterance3 utterance4 sentences train test dev"
    ),
}
_IDS = (list, tuple, set, frozenset)


def recognise(path: pathlib.Path, content: Any) -> dict[str, Any]:
    """Returns the fields by name, of the one layout that fits.

    Raises:
        InputError: None fits; names the field that does not.
    """
    misfits = []
    if type(content) in (list, tuple):
        for title, names in ((title, layout.split()) for title, layout in LAYOUTS.items()):
            if len(names) == len(content):
                fitting = [_fits(name, field) for name, field in zip(names, content, strict=True)]
                if all(fitting):
                    return dict(zip(names, content, strict=True))
                misfits.append((fitting.index(False), title, names[fitting.index(False)]))
    if misfits:
        place, title, name = max(misfits)
        raise InputError(
            f"{path}: {name}, field {place + 1} of {len(content)} as in {title}: expected {_expected(name)}, found "
            f"{_described_field(content[place])}"
        )
    raise InputError(
        f"{path}: expected a file of conversations such as COSMIC's, a list of 6 (speakers, labels, sentences, train, "
        f"test, valid), or of features ({', '.join(sorted({str(len(x.split())) for x in LAYOUTS.values()}, key=int))} "
        f"fields), found {_described(content)}"
    )


def _described(content: Any) -> str:
    if type(content) not in (list, tuple):
        return type(content).__name__
    fields = ", ".join(type(field).__name__ for field in content[:13])
    return f"a {type(content).__name__} of {len(content)}" + (f" ({fields})" if fields else "")


def _expected(name: str) -> str:
    if name in SPLITS:
        return "a list of conversation ids"
    what = "a vector of numbers" if name in FIELDS else "one value"
    return f"a dict of conversations by their ids, each a list with {what} for every turn"


def _described_field(field: Any) -> str:
    """Returns the types of a field, of its first entry and of the first in that."""
    entry = field.values() if type(field) is dict else field if type(field) in _IDS else ()
    first = next(iter(entry), None)
    return type(field).__name__ + (f" of {_described_field(first)}" if first is not None else "")


def _fits(name: str, field: Any) -> bool:
    """Whether a field can be the one of this name, judged by its container and its first entry."""
    if name == "any":
        return True
    if name in SPLITS:
        ids = field.tolist() if isinstance(field, np.ndarray) else field
        return type(ids) in _IDS and all(type(id) in (str, int) for id in ids)
    if type(field) is not dict:
        return False
    first = next((values[0] for values in field.values() if type(values) in (list, tuple) and len(values)), None)
    if name in FIELDS:
        whole = next(iter(field.values()), None)
        rows = whole if isinstance(whole, np.ndarray) and whole.ndim == 2 else ()
        return is_vector(first) or (len(rows) > 0 and is_vector(rows[0]))
    if name == "labels":
        return not is_vector(first) and type(first) is not str
    return not isinstance(first, np.ndarray) or name in ("speakers", "other")


def is_vector(value: Any) -> bool:
    """Whether a value is one row of numbers, an array or a list; not whether they are finite."""
    if isinstance(value, np.ndarray):
        return value.ndim == 1 and len(value) > 0 and value.dtype.kind in "fiu"
    return type(value) in (list, tuple) and bool(value) and all(type(x) in (int, float) for x in value)
