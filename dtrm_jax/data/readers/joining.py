"""From pickles of the field to conversations: transcripts of one file, features of several, joined by id."""

import dataclasses
import pathlib
from collections.abc import Iterable, Sequence

from dtrm_jax import safe_pickle
from dtrm_jax.conversation import Conversation, LabelSpace, Turn
from dtrm_jax.data.readers import feature_files, utterance_vectors
from dtrm_jax.data.readers.feature_files import PickledCorpus
from dtrm_jax.data.readers.feature_layouts import FIELDS
from dtrm_jax.data.readers.utterance_vectors import Vectors
from dtrm_jax.errors import InputError


def read(paths: Iterable[pathlib.Path]) -> tuple[list[PickledCorpus], list[Vectors]]:
    """Reads pickles; returns the files of conversations, and those of vectors by utterance.

    Raises:
        InputError: A file is no admitted pickle or has another structure; names the conversation or the clip.
    """
    corpora, vectors = [], []
    for path in paths:
        content = safe_pickle.load(path)
        if utterance_vectors.is_pickled(content):
            vectors.append(utterance_vectors.parse(path, content))
        else:
            corpora.append(feature_files.parse(path, content))
    return corpora, vectors


def transcribed(
    corpora: Sequence[PickledCorpus], labels: LabelSpace
) -> tuple[dict[str, Conversation], dict[str, tuple[str, ...]]]:
    """Returns the conversations that files hold together, by id, and the ids of each split.

    Transcripts and splits are those of a file with a dev split if there is one, and preferably of one without features.
    Features come from all files.

    Args:
        corpora: The files, at least one.
        labels: The label space of their class indices.

    Raises:
        InputError: The files do not fit each other or the labels, or an utterance is empty.
    """
    base = min(corpora, key=lambda corpus: ("dev" not in corpus.splits, bool(corpus.features)))
    return with_features(_conversations(base, labels), corpora, labels), base.splits


def with_features(
    conversations: dict[str, Conversation], files: Sequence[PickledCorpus], labels: LabelSpace | None
) -> dict[str, Conversation]:
    """Joins features to conversations by id.

    Each feature comes from one file. A file of text vectors alone takes precedence for text over one that has other
    modalities too; apart from that, no two files may have the same.

    Args:
        conversations: By the ids that the files use.
        files: The files with features.
        labels: If given, the files' labels must be those of the turns.

    Raises:
        InputError: Two files have the same feature, or a file does not fit; names the conversation and the turn.
    """
    sources = _sources(files)
    for corpus in files:
        for id, conversation in conversations.items():
            _check_same(corpus, id, conversation, labels)
    return {
        id: dataclasses.replace(
            conversation,
            features={name: corpus.conversations[id].features[name] for name, corpus in sources.items()},
        )
        for id, conversation in conversations.items()
    }


def _sources(files: Sequence[PickledCorpus]) -> dict[str, PickledCorpus]:
    """Returns the file that each feature is taken from, in the order of ``FIELDS``."""
    text_alone = [corpus for corpus in files if corpus.features and corpus.features[-1].startswith("utterance")]
    sources: dict[str, PickledCorpus] = {}
    for corpus in [*(corpus for corpus in files if corpus not in text_alone), *text_alone]:
        for name in corpus.features:
            taken = sources.get(name)
            if taken is not None and (taken in text_alone or corpus not in text_alone):
                raise InputError(f"{corpus.path}: {name} features are in {taken.path} too; leave one of them out")
        sources |= dict.fromkeys(corpus.features, corpus)
    return {name: sources[name] for name in FIELDS if name in sources}


def _check_same(corpus: PickledCorpus, id: str, conversation: Conversation, labels: LabelSpace | None) -> None:
    found = corpus.conversations.get(id)
    if found is None:
        raise InputError(f"{corpus.path}: expected a conversation {id[:40]!r}, found none")
    if len(found) != len(conversation):
        raise InputError(f"{corpus.where(id)}: expected {len(conversation)} turns, found {len(found)}")
    for turn, (own, label) in enumerate(zip(conversation.turns, found.labels, strict=True)):
        if labels is not None and _class_name(corpus.where(id, turn), label, labels) != own.label:
            raise InputError(f"{corpus.where(id, turn)}: expected the label {own.label}, found {labels.names[label]}")


def _conversations(corpus: PickledCorpus, labels: LabelSpace) -> dict[str, Conversation]:
    """Returns a file's conversations by id, their labels as names, without features.

    Raises:
        InputError: A label is not one of ``labels``, or an utterance is empty.
    """
    result = {}
    for id, conversation in corpus.conversations.items():
        turns = []
        for index, (speaker, label, text) in enumerate(
            zip(conversation.speakers, conversation.labels, conversation.sentences, strict=True)
        ):
            if not text:
                raise InputError(f"{corpus.where(id, index)}: sentence is empty or not valid Unicode")
            turns.append(Turn(str(index), speaker, text, label=_class_name(corpus.where(id, index), label, labels)))
        result[id] = Conversation(id, tuple(turns))
    return result


def _class_name(where: str, label: float, labels: LabelSpace) -> str:
    """Returns the name of a class; raises InputError if ``label`` is none."""
    if type(label) is not int or not 0 <= label < len(labels):
        raise InputError(f"{where}: expected a label from 0 to {len(labels) - 1}, found {label}")
    return labels.names[label]
