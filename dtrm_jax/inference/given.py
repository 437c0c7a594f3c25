"""Conversations as people have them, checked: from pairs, dicts or ``Conversation``s to ``Conversation``s.

Labels are left out: prediction needs none, and those of other data mean nothing to the model.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dtrm_jax.conversation import FEATURES, Conversation, Turn
from dtrm_jax.data.protocol import text_layers
from dtrm_jax.errors import InputError
from dtrm_jax.inference.trained import Trained

_KEYS = ("speaker", "text", "id", *FEATURES)
_IGNORED = ("label",)

# One feature vector per modality; None where the turn lacks it.
Vectors = dict[str, np.ndarray | None]


class GivenTurn(NamedTuple):
    """A turn, checked.

    Attributes:
        speaker: Who speaks.
        text: What is said; may be empty if there are features instead.
        vectors: Modality -> float32 ``[M]``, or None if the turn lacks it; one entry per modality that the model takes
            as features.
    """

    speaker: str
    text: str
    vectors: Vectors


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a model reads of a turn.

    Attributes:
        reads_text: Whether it encodes the text.
        sizes: Modality -> M, of those that it takes as features.
        values: V, real-valued emotions; 0 where emotions are classes.
        text_layer: ``config.data.text_layer``: which utterance vectors it takes where there are several.
    """

    reads_text: bool
    sizes: Mapping[str, int]
    values: int
    text_layer: int

    @classmethod
    def of(cls, trained: Trained) -> "Wanted":
        """Returns what a trained model reads."""
        return cls(
            reads_text=trained.config.model.reads_text,
            sizes=dict(trained.normalization.sizes),
            values=trained.manifest.shape.values,
            text_layer=trained.config.data.text_layer,
        )

    def turn(self, where: str, speaker: Any, text: Any, vectors: Mapping[str, Any]) -> GivenTurn:
        """Checks one turn.

        Args:
            where: Names it in a message.
            speaker: Who speaks.
            text: What is said.
            vectors: Modality -> numbers, or None; NaN throughout stands for None. Those that the model does not take
                are left out.

        Raises:
            InputError: The speaker is missing, the text is empty and nothing is there instead, or a vector has another
                size than the model takes or holds what is no finite number.
        """
        if not isinstance(speaker, str) or not speaker.strip():
            raise InputError(f"{where}: expected the name of a speaker, found {_shown(speaker)}")
        if not isinstance(text, str):
            raise InputError(f"{where}: expected a text, found {_shown(text)}")
        checked = {name: _vector(where, name, size, vectors.get(name)) for name, size in self.sizes.items()}
        if self.reads_text and not text.strip() and all(vector is None for vector in checked.values()):
            raise InputError(f"{where}: expected a text, found an empty one")
        for what, given in (("speaker", speaker), ("text", text)):
            try:
                given.encode("utf-8")
            except UnicodeEncodeError as error:
                raise InputError(f"{where}: expected a {what} of Unicode characters, found {error.reason}") from None
        return GivenTurn(speaker, text, checked)

    def conversation(self, given: Any, number: int, *, begun: bool = False) -> Conversation:
        """Checks one conversation.

        Args:
            given: A ``Conversation``, or a sequence of turns: pairs of speaker and text, or dicts.
            number: Its place among the conversations, from 1: its id, if it has none.
            begun: Whether these turns go on with others, so that none of them need have what the model reads.

        Returns:
            The conversation without labels, with the features that the model takes; NaN where a turn lacks them.

        Raises:
            InputError: As ``turn``, two turns have one id, there is no turn, or no turn has anything that the model
                reads.
        """
        if isinstance(given, Conversation):
            return self._known(given, begun)
        name = str(number)
        if not isinstance(given, Sequence) or isinstance(given, str) or not given:
            raise InputError(f"conversation {name}: expected turns, found {_shown(given)}")
        ids, turns = [], []
        for place, one in enumerate(given, start=1):
            where = f"conversation {name}, turn {place}"
            id, speaker, text, vectors = _parts(where, one, place)
            ids.append(id)
            turns.append(self.turn(where, speaker, text, vectors))
        return self._built(name, ids, turns, begun)

    def _known(self, given: Conversation, begun: bool) -> Conversation:
        """Checks a ``Conversation``; of several utterance vectors it takes those that the model was trained on."""
        features = dict(given.features)
        if "utterance" in self.sizes and (layers := text_layers(features, self.text_layer)):
            features["utterance"] = np.mean([features[name] for name in layers], axis=0)
        turns = [
            self.turn(
                f"conversation {shown_id(given.id)}, turn {shown_id(turn.id)}",
                turn.speaker,
                turn.text,
                {name: matrix[index] for name, matrix in features.items()},
            )
            for index, turn in enumerate(given.turns)
        ]
        return self._built(given.id, [turn.id for turn in given.turns], turns, begun)

    def _built(self, name: str, ids: Sequence[str], turns: Sequence[GivenTurn], begun: bool) -> Conversation:
        features = self.features(turns)
        if not self.reads_text and not begun and all(np.isnan(matrix).all() for matrix in features.values()):
            sizes = " or ".join(f"{size} {modality}" for modality, size in self.sizes.items())
            raise InputError(
                f"conversation {shown_id(name)}: expected {sizes} features of its turns, as this model reads no text, "
                "found none"
            )
        blank = (None,) * self.values
        try:
            return Conversation(
                name,
                tuple(Turn(id, turn.speaker, turn.text, values=blank) for id, turn in zip(ids, turns, strict=True)),
                features,
            )
        except ValueError as error:  # two turns with one id
            raise InputError(str(error)) from None

    def features(self, turns: Sequence[GivenTurn]) -> dict[str, np.ndarray]:
        """Returns modality -> float32 ``[L, M]``, NaN where a turn lacks the modality."""
        result = {name: np.full((len(turns), size), np.nan, np.float32) for name, size in self.sizes.items()}
        for index, turn in enumerate(turns):
            for name, vector in turn.vectors.items():
                if vector is not None:
                    result[name][index] = vector
        return result


def separate(given: Any) -> tuple[bool, Iterator[Any]]:
    """Returns whether one conversation was given, and the conversations, as they were given.

    Args:
        given: One conversation, or an iterable of them. A list whose first item is a pair of strings or a dict is one.

    Raises:
        InputError: It is neither.
    """
    if isinstance(given, Conversation):
        return True, iter((given,))
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable):
        raise InputError(f"expected a conversation or a list of conversations, found {_shown(given)}")
    items = iter(given)
    first = list(itertools.islice(items, 1))
    if first and _is_turn(first[0]):
        return True, iter(([*first, *items],))
    return False, itertools.chain(first, items)


def _is_turn(item: Any) -> bool:
    """Whether it can be a turn only: a conversation's first item is no string."""
    return isinstance(item, Mapping | str) or (isinstance(item, Sequence) and bool(item) and isinstance(item[0], str))


def _parts(where: str, given: Any, place: int) -> tuple[str, Any, Any, Mapping[str, Any]]:
    """Returns the id, the speaker, the text and the vectors of a turn that is a pair or a dict."""
    if isinstance(given, Mapping):
        if unknown := [key for key in given if key not in (*_KEYS, *_IGNORED)]:
            raise InputError(f"{where}: expected some of {', '.join(_KEYS)}, found {_shown(unknown[0])}")
        id = given.get("id", place)
        if isinstance(id, bool) or not isinstance(id, str | int) or id == "":
            raise InputError(f"{where}: expected a name or a whole number as id, found {_shown(id)}")
        vectors = {name: given[name] for name in FEATURES if name in given}
        return str(id), given.get("speaker"), given.get("text", ""), vectors
    if not isinstance(given, Sequence) or isinstance(given, str) or len(given) != 2:
        raise InputError(f"{where}: expected a pair of speaker and text, or a dict, found {_shown(given)}")
    return str(place), *given, {}


def _vector(where: str, name: str, size: int, given: Any) -> np.ndarray | None:
    if given is None:
        return None
    try:
        vector = np.asarray(given)
    except ValueError:  # lists of different lengths
        vector = np.zeros(0, object)
    if vector.dtype.kind not in "fiu" or vector.ndim != 1:
        raise InputError(f"{where}: expected {size} {name} features, found {_shown(given)}")
    if len(vector) != size:
        raise InputError(f"{where}: expected {size} {name} features, found {len(vector)}")
    if np.isnan(vector).all():
        return None
    with np.errstate(over="ignore"):
        vector = vector.astype(np.float32)
    if not np.isfinite(vector).all():
        raise InputError(f"{where}: expected {size} finite {name} features, found others among them")
    return vector


def shown_id(id: str) -> str:
    """Returns an id as it may stand in a message of one line."""
    return id if id.isprintable() and len(id) <= 60 else repr(id)[:60]


def _shown(value: Any) -> str:
    """Returns what was found, for a message: a short scalar, or a type, with the shape of an array."""
    if value is None or (isinstance(value, str) and not value):
        return "nothing"
    if isinstance(value, np.ndarray):  # of which each comparison is an array, too
        return f"an array of {value.dtype.name} of shape {value.shape}"
    if isinstance(value, str | int | float):
        return repr(value)[:60]
    return type(value).__name__
