"""AVEC (SEMAINE): real-valued emotions from conv-emotion's ``AVEC_features_1.pkl`` to ``AVEC_features_4.pkl``.

Each file has one emotion for every utterance, and only its name says which: 1 valence, 2 arousal, 3 expectancy, 4
power. A folder may hold any of them; what they share must agree. Features are taken from the first. An utterance may be
empty, for models that read features.
"""

import pathlib
import re

from dtrm_jax.conversation import LARGEST_VALUE, Conversation, Dataset, Turn, ValueSpace
from dtrm_jax.data.readers import feature_files
from dtrm_jax.data.readers.feature_files import PickledCorpus
from dtrm_jax.errors import InputError

VALUES = ValueSpace(("valence", "arousal", "expectancy", "power"))
_ATTRIBUTE = re.compile(r"(?<!\d)[1-4](?!\d)")


def files(source: pathlib.Path) -> tuple[pathlib.Path, ...]:
    """Returns the files that `read` reads, in the order of their emotions.

    Raises:
        InputError: There are none, a name does not say which emotion a file has, or two files have the same.
    """
    found: dict[int, pathlib.Path] = {}
    for path in feature_files.candidates(source):
        digits = _ATTRIBUTE.findall(path.stem)
        if len(digits) != 1:
            raise InputError(
                f"{path}: expected a name with one digit from 1 to 4, as AVEC_features_1.pkl, which says the emotion"
            )
        attribute = int(digits[0])
        if attribute in found:
            raise InputError(f"{path}: expected another emotion than {found[attribute].name} has")
        found[attribute] = path
    if not found:
        raise InputError(f"{source}: expected one or more of AVEC_features_1.pkl to AVEC_features_4.pkl, found none")
    return tuple(found[attribute] for attribute in sorted(found))


def read(source: pathlib.Path) -> Dataset:
    """Reads AVEC's conversations, in ascending order of their ids in each split.

    Args:
        source: One file, or a folder of them.

    Raises:
        InputError: A file is missing, is no admitted pickle, has another structure or does not fit the others; names
            the conversation.
    """
    paths = files(source)
    corpora = [feature_files.read(path) for path in paths]
    names = tuple(VALUES.names[int(_ATTRIBUTE.findall(path.stem)[0]) - 1] for path in paths)
    first = corpora[0]
    for corpus in corpora[1:]:
        _check_same(first, corpus)
    splits = {split: tuple(_conversation(corpora, id) for id in ids) for split, ids in first.splits.items()}
    return Dataset("avec", ValueSpace(names), splits)


def _check_same(first: PickledCorpus, corpus: PickledCorpus) -> None:
    if corpus.splits != first.splits:
        raise InputError(f"{corpus.path}: expected the conversations and splits of {first.path.name}, found others")
    for id, conversation in corpus.conversations.items():
        if conversation.speakers != first.conversations[id].speakers:
            raise InputError(f"{corpus.where(id)}: expected the turns and speakers of {first.path.name}, found others")


def _conversation(corpora: list[PickledCorpus], id: str) -> Conversation:
    first = corpora[0].conversations[id]
    for corpus in corpora:
        for turn, value in enumerate(corpus.conversations[id].labels):
            if abs(value) > LARGEST_VALUE:
                expected = f"a number from {-LARGEST_VALUE:g} to {LARGEST_VALUE:g}"
                raise InputError(f"{corpus.where(id, turn)}: expected {expected} as label, found {value:g}")
    values = zip(*(corpus.conversations[id].labels for corpus in corpora), strict=True)
    turns = zip(first.speakers, first.sentences, values, strict=True)
    made = tuple(
        Turn(id=str(index), speaker=speaker, text=text, values=tuple(map(float, row)))
        for index, (speaker, text, row) in enumerate(turns)
    )
    return Conversation(id, made, first.features)
