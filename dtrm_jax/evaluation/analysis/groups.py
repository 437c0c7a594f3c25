"""Groups of turns that the paper studies (section 5.5), emotion shifts and short utterances, and the scores over them.

Every function takes the rows of ``predictions.csv``: turns in the order they were spoken, conversation by conversation.
Turns without a label are in no group. Shifts pass over them: the turn before is the last *labelled* one, as it is in
the corpora themselves, which leave out the turns on whose emotion the annotators did not agree.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from dtrm_jax.tasks import Classes, ClassTurn

SCORED = ("accuracy", "weighted_f1")  # what the paper scores groups by (Table 6)
# The emotion shifts in words; the paper's names are Intra-ES and Inter-ES.
SHIFTS_IN_WORDS = {"intra": "own emotion changed", "inter": "unlike the turn before"}
STUDIED = "yeah"  # the short utterance of the paper's section 5.5
# Apostrophes and single hyphens belong to the word: "don't" and "uh-huh" are one.
_WORD = re.compile(r"\w+(?:['-]\w+)*")


def labelled(turns: Sequence[ClassTurn]) -> list[ClassTurn]:
    """Returns the turns that can be scored."""
    return [turn for turn in turns if turn.labelled]


def score(turns: Sequence[ClassTurn], task: Classes) -> dict[str, Any]:
    """Returns ``n`` and ``SCORED`` of labelled turns; the scores are None if there is no turn."""
    if not turns:
        return {"n": 0, **dict.fromkeys(SCORED)}
    metrics = task.scores(*task.arrays(turns))
    return {name: metrics[name] for name in ("n", *SCORED)}


def intra_shifts(turns: Sequence[ClassTurn]) -> list[ClassTurn]:
    """Returns the turns with an intra-speaker emotion shift (Intra-ES).

    Their label differs from that of the same speaker's previous labelled turn in the conversation. IEMOCAP's 31 test
    dialogues have 410, 13.2 per dialogue, as in the paper's Table 6.
    """
    return _shifts(turns, lambda turn: (turn.conversation, turn.speaker))


def inter_shifts(turns: Sequence[ClassTurn]) -> list[ClassTurn]:
    """Returns the turns with an inter-speaker emotion shift (Inter-ES).

    Their label differs from that of the previous labelled turn in the conversation, whoever spoke it. This is the
    reading that gives the paper's count on IEMOCAP's test dialogues, 683, 22.0 per dialogue, although 98 of these turns
    follow one by the same speaker. Those are in both groups, as are many others.
    """
    return _shifts(turns, lambda turn: turn.conversation)


def shifts(turns: Sequence[ClassTurn], task: Classes) -> dict[str, dict[str, Any]]:
    """Returns the paper's Table 6 for one model.

    Returns:
        The scores (``score``) and ``per_conversation``, the mean count over all conversations, of ``all`` labelled
        turns, those with an ``intra`` or ``inter`` shift, and those with ``neither``, a conversation's first included.
    """
    conversations = len({turn.conversation for turn in turns})
    groups = {"all": labelled(turns), "intra": intra_shifts(turns), "inter": inter_shifts(turns)}
    shifting = {turn.key for name in ("intra", "inter") for turn in groups[name]}
    groups["neither"] = [turn for turn in groups["all"] if turn.key not in shifting]
    return {
        name: score(group, task) | {"per_conversation": len(group) / conversations if conversations else None}
        for name, group in groups.items()
    }


def normalized(text: str) -> str:
    """Returns the words of a text in lower case, joined by single spaces: ``"Yeah."`` and ``"yeah?"`` are ``"yeah"``.

    Words are what white space and punctuation separate; there may be none.
    """
    return " ".join(_WORD.findall(text.casefold().replace("’", "'")))


def with_text(turns: Sequence[ClassTurn], text: str) -> list[ClassTurn]:
    """Returns the labelled turns whose utterance is ``text``, but for case and punctuation."""
    return [turn for turn in labelled(turns) if normalized(turn.text) == normalized(text)]


def with_words(turns: Sequence[ClassTurn], most: int) -> list[ClassTurn]:
    """Returns the labelled turns of 1 to ``most`` words."""
    return [turn for turn in labelled(turns) if 1 <= len(normalized(turn.text).split()) <= most]


def short_utterances(
    turns: Sequence[ClassTurn],
    task: Classes,
    words: int = 3,
    frequent: int = 10,
    always: Sequence[str] = (STUDIED,),
) -> dict[str, Any]:
    """Returns the scores of short utterances, which say little by themselves.

    Args:
        turns: The split.
        task: Its classes.
        words: The most words that a short text has.
        frequent: The most short texts that are reported, of those that occur more than once, the most frequent first.
        always: Texts reported even if they are rare; by default the paper's.

    Returns:
        ``one_word``: the scores (``score``) of utterances of one word; ``texts``: those of every reported text, after
        ``normalized``.
    """
    counts = Counter(normalized(turn.text) for turn in with_words(turns, words))
    repeated = [text for text, count in counts.items() if count > 1]
    # Ties are broken alphabetically, so that the choice does not depend on the order of the conversations.
    chosen = sorted(repeated, key=lambda text: (-counts[text], text))[:frequent]
    texts = dict.fromkeys([*chosen, *map(normalized, always)])
    return {
        "one_word": score(with_words(turns, 1), task),
        "texts": {text: score(with_text(turns, text), task) for text in texts},
    }


def _shifts(turns: Sequence[ClassTurn], thread: Callable[[ClassTurn], Any]) -> list[ClassTurn]:
    """Returns the turns whose label differs from that of the labelled turn before them in the same thread."""
    return [turn for earlier, turn in _successive(turns, thread) if earlier.label != turn.label]


def _successive(
    turns: Sequence[ClassTurn], thread: Callable[[ClassTurn], Any]
) -> Iterator[tuple[ClassTurn, ClassTurn]]:
    last: dict[Any, ClassTurn] = {}
    for turn in labelled(turns):
        if thread(turn) in last:
            yield last[thread(turn)], turn
        last[thread(turn)] = turn
