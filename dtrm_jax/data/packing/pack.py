"""One pack: conversations laid out on its token rows and its utterance axis."""

from collections.abc import Sequence

import numpy as np

from dtrm_jax.batch import Batch, PackShape
from dtrm_jax.data.examples import Example
from dtrm_jax.data.features import present_rows
from dtrm_jax.data.packing.plan import PackFiller, PlannedPack


def build_pack(
    conversations: Sequence[Example], shape: PackShape, starts: Sequence[Sequence[int]] | None = None
) -> Batch:
    """Lays conversations out in one pack of ``shape`` (no leading axis).

    Args:
        conversations: Those of the pack.
        shape: Its shape.
        starts: For each conversation, the first token slot of each of its sequences, as ``PlannedPack`` has it. If
            None, the conversations are placed here, in the given order.

    Raises:
        ValueError: The conversations do not fit.
    """
    own_tokens = sum(conversation.own_count for conversation in conversations)
    if own_tokens > (shape.own_tokens or shape.tokens):
        raise ValueError(f"expected at most {shape.own_tokens} own tokens in a pack, found {own_tokens}")
    if starts is None:
        starts = _place(conversations, shape)
    pack, slot = _empty_pack(shape), 0
    for number, (conversation, slots) in enumerate(zip(conversations, starts, strict=True)):
        turns = slice(slot, slot + len(slots))
        pack.conversation_U[turns] = number
        _put_turns(pack, turns, conversation)
        _put_tokens(pack, turns, conversation, slots)
        slot = turns.stop
    pack.weight_U[:] = (pack.label_U >= 0) | pack.value_weight_UxV.any(axis=1)
    return pack


def build_planned(examples: Sequence[Example], pack: PlannedPack, shape: PackShape) -> Batch:
    """Builds a pack of a plan.

    Args:
        examples: The conversations that the plan's indices point to.
        pack: The pack.
        shape: Its shape.
    """
    return build_pack([examples[index] for index in pack.members], shape, pack.starts)


def _place(conversations: Sequence[Example], shape: PackShape) -> list[list[int]]:
    filler, result = PackFiller(shape), []
    for number, conversation in enumerate(conversations):
        starts = filler.add(conversation.lengths)
        if starts is None:
            raise ValueError(f"conversation {number} of the pack does not fit into what is left of {shape}")
        result.append(starts)
    return result


def _put_turns(pack: Batch, turns: slice, conversation: Example) -> None:
    """Fills the arrays of the utterance axis."""
    pack.turn_U[turns] = np.arange(turns.stop - turns.start)
    pack.speaker_U[turns], pack.label_U[turns] = conversation.speakers, conversation.labels
    pack.value_UxV[turns] = np.nan_to_num(conversation.values)
    pack.value_weight_UxV[turns] = ~np.isnan(conversation.values)
    for name, matrix in conversation.features.items():
        pack.features_UxM[name][turns] = np.nan_to_num(matrix)
        pack.present_U[name][turns] = present_rows(matrix)


def _put_tokens(pack: Batch, turns: slice, conversation: Example, starts: Sequence[int]) -> None:
    """Writes the sequences of a conversation to the token axis, from the given slots on."""
    pack.cls_U[turns] = starts
    for utterance, (sequence, start) in enumerate(zip(conversation.sequences, starts, strict=False), turns.start):
        part = slice(start, start + len(sequence))
        own = slice(start, start + sequence.first_segment)
        pack.token_ids_T[part] = sequence.token_ids
        pack.position_ids_T[part] = np.arange(len(sequence))
        pack.segment_ids_T[own.stop : part.stop] = conversation.context_segment
        pack.own_T[own] = True
        pack.sequence_ids_T[part] = utterance


def _empty_pack(shape: PackShape) -> Batch:
    tokens, utterances = shape.tokens, shape.utterances
    return Batch(
        token_ids_T=np.zeros(tokens, np.int32),
        position_ids_T=np.zeros(tokens, np.int32),
        segment_ids_T=np.zeros(tokens, np.int32),
        own_T=np.zeros(tokens, bool),
        sequence_ids_T=np.full(tokens, -1, np.int32),
        cls_U=np.zeros(utterances, np.int32),
        conversation_U=np.full(utterances, -1, np.int32),
        turn_U=np.zeros(utterances, np.int32),
        speaker_U=np.full(utterances, -1, np.int32),
        label_U=np.full(utterances, -1, np.int32),
        weight_U=np.zeros(utterances, np.float32),
        value_UxV=np.zeros((utterances, shape.values), np.float32),
        value_weight_UxV=np.zeros((utterances, shape.values), np.float32),
        features_UxM={name: np.zeros((utterances, size), np.float32) for name, size in shape.features},
        present_U={name: np.zeros(utterances, bool) for name, _ in shape.features},
    )
