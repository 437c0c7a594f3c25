"""What a corpus holds, in lines for people to read before training: classes with their counts, and likely accidents."""

import itertools
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from dtrm_jax.conversation import Conversation, Dataset, LabelSpace
from dtrm_jax.data.examples import Example

_MISSING = {"nan", "NaN", "None", "null", "NULL", "NA", "N/A", "n/a", "<NA>"}


def counts(dataset: Dataset) -> list[str]:
    """Returns a table of how many turns of every split have each class, or each real value, and how many have none."""
    tallies = {split: _tally(dataset, conversations) for split, conversations in dataset.splits.items()}
    kind = "turns by class" if isinstance(dataset.labels, LabelSpace) else "turns by value"
    rows = [(kind, list(tallies))]
    rows += [(name, [str(tally[name]) for tally in tallies.values()]) for name in dataset.labels.names]
    if any(tally[None] for tally in tallies.values()):
        rows.append(("not annotated", [str(tally[None]) for tally in tallies.values()]))
    first = max(len(name) for name, _ in rows)
    wide = max(len(cell) for _, cells in rows for cell in cells)
    return [f"  {name:<{first}}  " + "  ".join(f"{cell:>{wide}}" for cell in cells) for name, cells in rows]


def accidents(dataset: Dataset, prepared: Mapping[str, Sequence[Example]]) -> list[str]:
    """Returns a line for everything that looks like an accident in the data.

    These are classes that differ in case, spaces or how Unicode writes their letters alone, speakers of a conversation
    that do, classes and speakers called as programs write what is missing, whole-number turns that do not ascend, a
    single class, and turns that are cut at ``config.tokens.max_length``.

    Args:
        dataset: The conversations.
        prepared: The examples of those splits that are used.
    """
    found: list[str] = []
    if isinstance(dataset.labels, LabelSpace):
        found += [*_alike_classes(dataset), *_missing_classes(dataset), *_single_class(dataset)]
    found += _conversations_that(
        dataset, "speakers differ in case or spaces alone", lambda one: _first_alike(turn.speaker for turn in one.turns)
    )
    found += _conversations_that(dataset, "a speaker is called as programs write what is missing", _first_missing)
    found += _conversations_that(dataset, "turns are whole numbers but do not ascend", _first_descent)
    cut = {split: sum(s.cut for example in examples for s in example.sequences) for split, examples in prepared.items()}
    if any(cut.values()):
        counted = ", ".join(f"{count} of {split}" for split, count in cut.items() if count)
        found.append(f"turns are cut at config.tokens.max_length: {counted}")
    return found


def _tally(dataset: Dataset, conversations: Iterable[Conversation]) -> Counter[str | None]:
    """Counts the annotated turns by class or value, and under None those that have no annotation."""
    names, tally = dataset.labels.names, Counter[str | None]()
    for conversation in conversations:
        of_turns = dataset.labels.of(conversation)
        if isinstance(dataset.labels, LabelSpace):
            tally.update(None if label < 0 else names[label] for label in of_turns.tolist())
        else:
            there = np.isfinite(of_turns)
            tally.update(dict(zip(names, there.sum(axis=0).tolist(), strict=True)))
            tally[None] += int((~there.any(axis=1)).sum())
    return tally


def _alike_classes(dataset: Dataset) -> Iterator[str]:
    for _, alike in itertools.groupby(sorted(dataset.labels.names, key=_plain), key=_plain):
        names = list(alike)
        if len(names) > 1:
            tally = sum((_tally(dataset, conversations) for conversations in dataset.splits.values()), Counter())
            turns = [f" ({tally[name]} turns)" for name in names]
            yield f"classes differ in case or spaces alone: {_shown(names, turns)}"


def _missing_classes(dataset: Dataset) -> Iterator[str]:
    for name in sorted(_MISSING & set(dataset.labels.names)):
        yield f"a class is called as programs write what is missing: {name!r}; leave such labels empty"


def _first_missing(conversation: Conversation) -> str:
    return next((repr(turn.speaker) for turn in conversation.turns if turn.speaker in _MISSING), "")


def _single_class(dataset: Dataset) -> Iterator[str]:
    there = set(_tally(dataset, dataset.splits.get("train", ()))) - {None}
    if len(there) == 1:
        yield f"there is a single class: every labelled turn of train is {there.pop()!r}"


def _conversations_that(dataset: Dataset, what: str, shown: Callable[[Conversation], str]) -> Iterator[str]:
    """Yields a line on the conversations of which ``shown`` says anything, with what it says of the first."""
    places = [
        (split, conversation.id, said)
        for split, conversations in dataset.splits.items()
        for conversation in conversations
        if (said := shown(conversation))
    ]
    if places:
        split, id, said = places[0]
        more = f", and in {len(places) - 1} more conversations" if len(places) > 1 else ""
        yield f"{what}: {said} in conversation {id!r} of {split}{more}"


def _first_alike(names: Iterable[str]) -> str:
    seen: dict[str, str] = {}
    for name in names:
        earlier = seen.setdefault(_plain(name), name)
        if earlier != name:
            return _shown([earlier, name], ["", ""])
    return ""


def _first_descent(conversation: Conversation) -> str:
    ids = [turn.id for turn in conversation.turns]
    if not all(id.isdecimal() for id in ids):
        return ""
    for earlier, later in itertools.pairwise(ids):
        if int(later) <= int(earlier):
            return f"{earlier} comes before {later}"
    return ""


def _shown(names: Sequence[str], more: Sequence[str]) -> str:
    """Returns names in quotes, with more on each behind it; those that may look the same by their code points."""
    if len({_without_case(name) for name in names}) == 1:
        return " and ".join(f"{name!r}{text}" for name, text in zip(names, more, strict=True))
    quoted = (f"{name!a}{text}" for name, text in zip(names, more, strict=True))
    return f"{' and '.join(quoted)} (the same letters in Unicode)"


def _plain(name: str) -> str:
    """Returns a name without what an accident changes: its case, its spaces and how Unicode writes its letters.

    An accent is a part of its letter or a mark behind it (NFC and NFD), and letters may be of full width (NFKC).
    """
    return unicodedata.normalize("NFKC", _without_case(unicodedata.normalize("NFKC", name)))


def _without_case(name: str) -> str:
    return "".join(name.split()).casefold()
