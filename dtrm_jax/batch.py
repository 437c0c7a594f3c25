"""The batch: the one structure where data and models meet.

Axis letters, used as suffixes of array names in the whole project; each has one meaning:

    A    turns of a block of attention              O    token slots at which an encoder is read
    B    blocks of turns                            P    positions of the fusion
    C    classes; of outputs, classes or values     Q    packs of a step
    D    width of the model                         R    rows of one row length
    E    width of an attention head                 S    slots of a row
    F    width of the feed-forward layer            T    token slots of a pack, all rows end to end
    H    attention heads                            U    utterance slots of a pack
    I    inputs of a linear layer                   V    real-valued targets
    J    conversations of a split                   W    turns that a block of turns sees
    K    window of context, in turns                X    positions of any kind
    L    turns of a conversation                    Y    outputs of a linear layer
    M    dimensions of a feature                    Z    entries of bilinear fusion's sketch
    N    turns of a split, all end to end

    Bs   samples of the bootstrap                   Pr   predictions that are compared
    Di   distances that occur in rows (DeBERTa)     Sh   what voice and face can show (planted)
    E2   pairs of rotary positions, E / 2           Su   sums that a score is computed from
    Ew   width of embeddings before a projection    Xk   keys of attention
    K1   distances between turns, 0 to K            Xq   queries of attention
    Ki   kinds of turns (planted)

A *pack* holds whole conversations. Its token axis is cut into rows of fixed lengths (``PackShape.rows``); a row holds
one or more token sequences of eq. 1, and attention never leaves a sequence. Its utterance axis holds one entry per
turn, the turns of a conversation side by side in order. Shapes depend on the ``PackShape`` alone, so that a program is
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
            Empty if no text is encoded.
        utterances: Utterance slots, U.
        values: Real-valued targets, V.
        features: ``(modality, M)`` pairs of the modalities that are taken as features.
        own_tokens: Upper bound on the pack's own tokens (``Batch.own_T``), the ones that mean pooling reads; 0 means no
            bound. The last layer of the encoder then finishes no other token.
    """

    rows: tuple[tuple[int, int], ...]
    utterances: int
    _: dataclasses.KW_ONLY
    values: int = 0
    features: tuple[tuple[str, int], ...] = ()
    own_tokens: int = 0

    @property
    def tokens(self) -> int:
        """Token slots, T."""
        return sum(length * count for length, count in self.rows)


@flax.struct.dataclass(kw_only=True)
class Batch:
    """One pack, or ``Q`` of them with a leading axis. Arrays are int32 unless said otherwise.

    Attributes:
        token_ids_T: Vocabulary ids; 0 in unused slots.
        position_ids_T: Position in the token's own sequence.
        segment_ids_T: Which segment embedding the token gets: 0 up to and including the first [SEP], 1 after it; 0
            everywhere if ``config.tokens.segments`` is off.
        own_T: bool, whether the token belongs to the target utterance, which includes its [CLS] and first [SEP], and
            not to its context.
        sequence_ids_T: The utterance slot whose sequence the token belongs to; -1 in unused slots.
        cls_U: The token slot of the utterance's [CLS]; 0 in unused slots.
        conversation_U: Which conversation of the pack the turn belongs to; -1 in unused slots.
        turn_U: The turn's index in its conversation, from 0.
        speaker_U: The turn's speaker, numbered in the order in which the speakers of the conversation first appear; -1
            in unused slots.
        label_U: The class; -1 in unlabelled turns and unused slots.
        weight_U: float32, 1 where the turn counts in losses and metrics, 0 elsewhere.
        value_UxV: float32, the real values of the turn, 0 for a missing one; V is 0 if emotions are classes.
        value_weight_UxV: float32, 1 where the value counts in losses and metrics, 0 elsewhere.
        features_UxM: Modality -> float32 standardised features, 0 where the turn lacks them; one entry for each
            modality that the model takes as features.
        present_U: Modality -> bool, whether the turn has it.
    """

    token_ids_T: Array
    position_ids_T: Array
    segment_ids_T: Array
    own_T: Array
    sequence_ids_T: Array
    cls_U: Array
    conversation_U: Array
    turn_U: Array
    speaker_U: Array
    label_U: Array
    weight_U: Array
    value_UxV: Array
    value_weight_UxV: Array
    features_UxM: dict[str, Array]
    present_U: dict[str, Array]
