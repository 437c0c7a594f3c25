"""The batch: the one structure where data and models meet.

Axis letters, used as suffixes of array names throughout the models:

    T   token slots of a pack, all rows laid end to end        U   utterance slots of a pack
    R   rows of one row length    S   slots of a row           C   classes
    D   width of the model        H   attention heads          F   width of the feed-forward layer
    N   packs of a step           K   window of context, in turns
    M   dimensions of a feature   V   real-valued targets
    P   positions of the fusion

A *pack* holds whole conversations. Its token axis is cut into rows of fixed lengths (``PackShape.rows``); a row holds
one or more token sequences of eq. 1, and attention never leaves a sequence. Its utterance axis holds one entry a turn,
the turns of a conversation side by side in order. Shapes depend on the ``PackShape`` alone, so that a program is
compiled once.
"""

import dataclasses

import flax.struct
import jax
import numpy as np

Array = jax.Array | np.ndarray


@dataclasses.dataclass(frozen=True, slots=True)
class PackShape:
    """The static shape of a pack.

    Attributes:
        rows: ``(row length S, number of rows R)`` pairs; the token axis is their rows laid end to end, in this order.
            Empty where no text is encoded.
        utterances: Utterance slots, U.
        values: Real-valued targets, V.
        features: ``(modality, M)`` pairs of the modalities that are taken as features.
        own_tokens: Room for the pack's own tokens, those of segment 0, which a mean over the utterance reads; 0: every
            token slot may be one.
    """

    rows: tuple[tuple[int, int], ...]
    utterances: int
    values: int = 0
    features: tuple[tuple[str, int], ...] = ()
    own_tokens: int = 0

    @property
    def tokens(self) -> int:
        """Token slots, T."""
        return sum(length * count for length, count in self.rows)


@flax.struct.dataclass
class Batch:
    """One pack, or ``N`` of them with a leading axis. Arrays are int32 unless said otherwise.

    Attributes:
        token_ids_T: Vocabulary ids; 0 in unused slots.
        position_ids_T: Position in the token's own sequence.
        segment_ids_T: 0 up to and including the first [SEP], 1 after it.
        sequence_ids_T: The utterance slot whose sequence the token belongs to; -1 in unused slots.
        cls_U: The token slot of the utterance's [CLS]; 0 in unused slots.
        conversation_U: Which conversation of the pack the turn belongs to; -1 in unused slots.
        turn_U: The turn's index in its conversation, from 0.
        label_U: The class; -1 where there is none (unlabelled turns and unused slots).
        weight_U: float32, 1 where the turn counts in losses and metrics, 0 elsewhere.
        value_UxV: float32, the real values of the turn, 0 where there is none; V is 0 where emotions are classes.
        value_weight_UxV: float32, 1 where the value counts in losses and metrics, 0 elsewhere.
        features_UxM: Modality -> float32 standardised features, 0 where the turn lacks it; one entry for each modality
            that the model takes as features.
        present_U: Modality -> bool, whether the turn has it.
    """

    token_ids_T: Array
    position_ids_T: Array
    segment_ids_T: Array
    sequence_ids_T: Array
    cls_U: Array
    conversation_U: Array
    turn_U: Array
    label_U: Array
    weight_U: Array
    value_UxV: Array
    value_weight_UxV: Array
    features_UxM: dict[str, Array]
    present_U: dict[str, Array]
