"""What storing parameters with fewer bits changes in the predictions, measured."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from dtrm_jax.config import PlantedConfig
from dtrm_jax.conversation import Conversation, Turn
from dtrm_jax.evaluation.files import predictions
from dtrm_jax.inference import exported
from dtrm_jax.inference.prediction import Prediction, outputs_of
from dtrm_jax.inference.predictor import Predictor
from dtrm_jax.inference.trained import Trained
from dtrm_jax.planted.generate import generate
from dtrm_jax.run_directory import RunDirectory

_TURNS = 500  # about so many are predicted twice


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rounding:
    """The difference that it makes.

    Attributes:
        dtype: The type of the stored parameters.
        turns: How many turns were predicted.
        of: What they are, in words.
        largest: The largest difference of a probability, or of a value.
        changed: How many of the turns have another most probable class.
    """

    dtype: str
    turns: int
    of: str
    largest: float
    changed: int

    def __str__(self) -> str:
        what = f"of {self.turns} turns ({self.of}) no number changes by more than {self.largest:.2g}"
        return f"{self.dtype} instead of float32: {what}, and {self.changed} get another emotion"


def measure(run: RunDirectory, trained: Trained, dtype: str) -> Rounding:
    """Predicts turns with the parameters of a run and with the same ones in another type.

    Args:
        run: The run directory. If it holds the predictions of an evaluation, their texts are used.
        trained: Its model.
        dtype: The type.
    """
    conversations, of = _conversations(run, trained)
    after = dataclasses.replace(trained, params=exported.rounded(trained.params, dtype))
    exact, approximate = (_flat(Predictor(one).predict(conversations)) for one in (trained, after))
    differences = np.abs(_numbers(exact) - _numbers(approximate))
    changed = sum(one.label != other.label for one, other in zip(exact, approximate, strict=True))
    return Rounding(dtype=dtype, turns=len(exact), of=of, largest=float(differences.max()), changed=changed)


def _conversations(run: RunDirectory, trained: Trained) -> tuple[list[Conversation], str]:
    """Returns conversations that the model can read, and what they are.

    Of an evaluation, turns without text are left out if the model takes no features either.
    """
    files = sorted(run.path.glob("eval/*/predictions.csv"), key=lambda file: file.parent.name not in ("test", "dev"))
    rows = [] if not files else predictions.read(files[0])[0]
    spoken: dict[str, list[Turn]] = {}
    for row in (row for row in rows if row.text.strip() or trained.normalization.sizes):
        if row.conversation not in spoken and sum(map(len, spoken.values())) >= _TURNS:
            break
        spoken.setdefault(row.conversation, []).append(Turn(row.turn, row.speaker, row.text))
    of = f"from eval/{files[0].parent.name}" if spoken else "generated"
    if not spoken:
        made = generate(PlantedConfig(train=_TURNS // PlantedConfig().turns, dev=1, test=1)).splits["train"]
        spoken = {one.id: [Turn(turn.id, turn.speaker, turn.text) for turn in one.turns] for one in made}
    if trained.normalization.sizes:
        of += ", with random features"
    random = np.random.default_rng(0)
    return [Conversation(id, tuple(turns), _features(random, trained, len(turns))) for id, turns in spoken.items()], of


def _features(random: np.random.Generator, trained: Trained, turns: int) -> dict[str, np.ndarray]:
    """Returns features that are distributed as those of training."""
    statistics = trained.normalization
    return {
        name: random.normal(statistics.mean[name], statistics.std[name], (turns, size)).astype(np.float32)
        for name, size in statistics.sizes
    }


def _flat(predicted: Sequence[Sequence[Prediction]]) -> list[Prediction]:
    return [turn for turns in predicted for turn in turns]


def _numbers(turns: Sequence[Prediction]) -> np.ndarray:
    return np.array([outputs_of(turn) for turn in turns])
