"""What a page shows of the turns of a file: some of them, a count of all, and how the predictions spread."""

import dataclasses
from collections.abc import Iterable

from dtrm_jax.report.spread import Spread
from dtrm_jax.tasks import PredictedTurn

SHOWN = 5_000  # turns: a page of more takes long to open; MELD's and IEMOCAP's dev and test splits have fewer

_LONG = 1_000  # characters, each of which beyond the first thousand counts as a turn more


@dataclasses.dataclass(frozen=True)
class Overview:
    """What a page shows of a file's turns.

    Attributes:
        shown: The turns of each conversation that is shown.
        turns: How many the file has.
        conversations: How many the file has.
        labelled: Whether any turn has an annotation.
        spread: Of all turns.
    """

    shown: list[list[PredictedTurn]]
    turns: int
    conversations: int
    labelled: bool
    spread: Spread


def overview(rows: Iterable[PredictedTurn], spread: Spread, most: int = SHOWN) -> Overview:
    """Goes through turns once; the first conversations are kept while they have ``most`` turns or fewer.

    Args:
        rows: Of ``predictions.csv``, conversation by conversation.
        spread: An empty one.
        most: Turns to show. If the first conversation alone has more, its first turns are shown.
    """
    shown: dict[str, list[PredictedTurn]] = {}
    names: set[str] = set()
    turns, labelled, room = 0, False, most
    for turn in rows:
        turns += 1
        names.add(turn.conversation)
        labelled = labelled or turn.labelled
        spread.add(turn)
        if room < 0:
            continue
        room -= 1 + len(turn.text) // _LONG
        if room >= 0:
            shown.setdefault(turn.conversation, []).append(turn)
        elif len(shown) > 1:
            shown.pop(turn.conversation, None)
    return Overview(list(shown.values()), turns, len(names), labelled, spread)
