"""What of a training, besides the train state, is in its checkpoints."""

import dataclasses
from typing import Any

_NEWER = ("unlogged", "skipped")  # which checkpoints of version 0.2 lack


@dataclasses.dataclass(kw_only=True)
class Progress:
    """The part of a training, besides the train state, that must survive an interruption.

    Attributes:
        best_score: Best dev score so far, or None before the first evaluation.
        best_step: Its step.
        stale: Evaluations since then.
        stopped: Early stopping has ended the run.
        data: Grain's iterator state.
        rng: The key of dropout, as its raw words.
        unlogged: Of the meter: the sums of the steps since the last record.
        skipped: Steps that were left out.
    """

    best_score: float | None = None
    best_step: int | None = None
    stale: int = 0
    stopped: bool = False
    data: dict[str, Any] = dataclasses.field(default_factory=dict)
    rng: list[int] = dataclasses.field(default_factory=list)
    unlogged: list[float] = dataclasses.field(default_factory=list)
    skipped: int = 0

    @classmethod
    def of(cls, values: dict[str, Any]) -> "Progress":
        """Returns the progress that a checkpoint holds, perhaps an older one; raises ValueError if it is none."""
        names = [field.name for field in dataclasses.fields(cls)]
        if not set(names) - set(_NEWER) <= values.keys() <= set(names):
            raise ValueError(f"expected {', '.join(names)}, found {', '.join(values) or 'nothing'}")
        return cls(**values)
