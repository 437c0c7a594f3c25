"""The best possible accuracy on planted conversations, for any information set, exactly from their rules.

A turn's label is a sum over the hidden variables of ``planted.rules``: the state of the speaker, the kind of the
turn and the emotion that is shown. Its prior given the past comes from a forward filter over the joint last states of
all speakers. Like the model, it never looks ahead.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from dtrm_jax.config import PlantedConfig
from dtrm_jax.conversation import Conversation
from dtrm_jax.planted import rules as laws
from dtrm_jax.planted.rules import RULES, Rules

_CLASSES, _KINDS = len(laws.PLANTED_LABELS), len(laws.KINDS)
_BURSTS = (laws.VOICE_BURST, laws.FACE_BURST)
# The label by state, kind and shown emotion.
_LABEL_CxKixC = np.array(
    [[[laws.label_of(k, s, m) for m in range(_CLASSES)] for k in laws.KINDS] for s in range(_CLASSES)]
)


@dataclasses.dataclass(frozen=True)
class Information:
    """What a prediction may use; who speaks when is always known.

    Attributes:
        modalities: What is known of the turn itself: any of the letters u(tterance), a(coustic), v(isual).
        remembered: What is known of earlier turns, in the same letters. If empty, the turn is judged by itself.
    """

    modalities: str
    remembered: str = ""


@dataclasses.dataclass(frozen=True)
class Optimum:
    """The most that can be reached.

    Attributes:
        accuracy: Share of turns whose label is the most probable one, on the given conversations.
        expected: What that share is on average over all conversations with these observations.
    """

    accuracy: float
    expected: float


def optimal_accuracy(
    conversations: Sequence[Conversation], config: PlantedConfig, information: Information, rules: Rules = RULES
) -> Optimum:
    """Scores the Bayes-optimal predictions of an information set."""
    right, expected = [], []
    for conversation in conversations:
        posterior_LxC = posteriors(conversation, config, information, rules)
        labels = [laws.PLANTED_LABELS.index(turn.label) for turn in conversation.turns]
        right += (posterior_LxC.argmax(axis=1) == labels).tolist()
        expected += posterior_LxC.max(axis=1).tolist()
    return Optimum(float(np.mean(right)), float(np.mean(expected)))


def posteriors(
    conversation: Conversation, config: PlantedConfig, information: Information, rules: Rules = RULES
) -> np.ndarray:
    """Returns float64 ``[L, C]``: the probability of every label at every turn, given the information set.

    Raises:
        ValueError: A text cannot come from the rules.
    """
    now_LxCxKixC = _likelihoods(conversation, config, information.modalities, rules)
    later_LxCxKixC = _likelihoods(conversation, config, information.remembered, rules)
    states = _Filter(config.speakers, rules)
    prior_KixC = laws.kind_probabilities(rules)[:, None] * np.array(rules.fresh)
    speakers = [laws.SPEAKERS.index(turn.speaker) for turn in conversation.turns]
    result = []
    for turn, speaker in enumerate(speakers):
        state_C = states.predict(speaker)
        result.append(_label_law(state_C[:, None, None] * prior_KixC * now_LxCxKixC[turn]))
        states.observe((prior_KixC * later_LxCxKixC[turn]).sum(axis=(1, 2)))
    return np.array(result)


def _label_law(joint_CxKixC: np.ndarray) -> np.ndarray:
    """Sums the joint of state, kind and shown emotion by label."""
    law_C = np.bincount(_LABEL_CxKixC.ravel(), weights=joint_CxKixC.ravel(), minlength=_CLASSES)
    return law_C / law_C.sum()


class _Filter:
    """Forward filter over the last state of every speaker, one axis each; who has not spoken is at index 0."""

    def __init__(self, speakers: int, rules: Rules):
        self._rules = rules
        self._belief = np.zeros((_CLASSES,) * speakers)
        self._belief[(0,) * speakers] = 1
        self._spoken: list[int] = []  # who spoke, in order
        self._speaker = -1

    def predict(self, speaker: int) -> np.ndarray:
        """Returns the law ``[C]`` of the state of the next turn, by ``speaker``; ``observe`` must follow."""
        own = speaker in self._spoken
        other = next((name for name in reversed(self._spoken) if name != speaker), None)
        law_CxCxC = self._transitions(own, other is not None)
        # Axes: everybody else, then the one who acts on the speaker (anybody if nobody has spoken), then the speaker.
        partner = other if other is not None else (speaker + 1) % self._belief.ndim
        belief = np.moveaxis(self._belief, (partner, speaker), (-2, -1))
        self._belief = np.einsum("...os,sot->...ot", belief, law_CxCxC)
        self._axes, self._speaker = (partner, speaker), speaker
        return self._belief.reshape(-1, _CLASSES).sum(axis=0)

    def observe(self, likelihood_C: np.ndarray) -> None:
        """Weighs the states of the turn just predicted by what was seen of it."""
        belief = self._belief * likelihood_C
        self._belief = np.moveaxis(belief / belief.sum(), (-2, -1), self._axes)
        self._spoken.append(self._speaker)

    def _transitions(self, own: bool, other: bool) -> np.ndarray:
        """Returns ``[own, other, next]``; an axis of somebody who has not spoken does not matter."""
        states = range(_CLASSES)
        return np.array(
            [[laws.transition(s if own else None, o if other else None, self._rules) for o in states] for s in states]
        )


def _likelihoods(conversation: Conversation, config: PlantedConfig, modalities: str, rules: Rules) -> np.ndarray:
    """Returns ``[L, C, Ki, C]``: how likely each turn's observations are by state, kind and shown emotion.

    Each turn's are scaled by a constant of its own.
    """
    result = np.ones((len(conversation), _CLASSES, _KINDS, _CLASSES))
    if "u" in modalities:
        result *= np.array([_text_likelihood(turn.text, rules) for turn in conversation.turns])[..., None]
    logarithm = np.zeros((len(conversation), _KINDS, _CLASSES))
    if "a" in modalities:
        drawn = (conversation.features["acoustic"].astype(np.float64) - laws.ACOUSTIC_OFFSET) / laws.ACOUSTIC_SCALE
        logarithm += _log_density(drawn, config.acoustic, "acoustic", rules)
    if "v" in modalities:
        logarithm += _log_density(conversation.features["visual"].astype(np.float64), config.visual, "visual", rules)
    logarithm -= logarithm.max(axis=(1, 2), keepdims=True)
    return result * np.exp(logarithm)[:, None]


def _text_likelihood(text: str, rules: Rules) -> np.ndarray:
    """Returns ``[C, Ki]``: how likely a text is by state and kind."""
    if text in laws.REPLIES:
        return np.full((_CLASSES, _KINDS), rules.reply / len(laws.REPLIES))
    words = text.removesuffix(laws.STOP).split(" ")
    fewest, most = rules.words
    if not text.endswith(laws.STOP) or not set(words) <= set(laws.LEXICON) or not fewest <= len(words) <= most:
        raise ValueError(f"expected a text that the rules can produce, found {text!r}")
    indices = [laws.LEXICON.index(word) for word in words]
    result = np.empty((_CLASSES, _KINDS))
    result[:] = [[laws.word_probabilities(state, rules)[indices].prod()] for state in range(_CLASSES)]
    result[:, _BURSTS] = laws.word_probabilities(None, rules)[indices].prod()
    return result * (1 - rules.reply) / len(range(fewest, most + 1))


def _log_density(drawn_LxM: np.ndarray, size: int, modality: str, rules: Rules) -> np.ndarray:
    """Returns ``[L, Ki, C]``, up to a constant: the Gaussian log density of features by kind and shown emotion."""
    centers = np.concatenate([rules.strength * laws.prototypes(size, modality), np.zeros((1, size))])
    log_density_LxSh = -0.5 * ((drawn_LxM[:, None] - centers) ** 2).sum(axis=-1)
    which = 0 if modality == "acoustic" else 1
    shown = [[laws.shown_by(kind, emotion)[which] for emotion in range(_CLASSES)] for kind in laws.KINDS]
    return log_density_LxSh[:, shown]
