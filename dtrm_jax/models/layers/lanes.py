"""Where the turns of a pack are computed: conversations end to end in a few lanes, without padding.

A recurrence takes one step per turn, and steps of different conversations can be computed together. The conversations
of a pack are therefore laid into lanes (``in_lanes``), the longest first, each into the lane that is shortest so far.
One step of a recurrence (``recurrence``) then takes the next turn of every lane, and begins from the initial state
where a conversation begins. There are as many steps as the fullest lane has turns: at most the turns divided by the
lanes and one conversation more, whatever the pack holds.

In memory, turns lie in the order in which they are computed, which are their places: step after step, and in a step
lane after lane, the fullest lane first. Whatever a step reads or writes is then side by side, also where lanes have
ended before.

To go through conversations from their end, flip the axis of utterances, also that of the result.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Int

from dtrm_jax.batch import Array


class Lanes(NamedTuple):
    """Where the turns of a pack are computed.

    Attributes:
        slot_X: The slot of the turn at each place; U where there is none. X is U and G, the lanes: as many places may
            be read or written from every place that a step begins with.
        place_U: The place of the turn in each slot; X in unused slots.
        step_X: The step that computes the turn at each place; 0 where there is none.
        first_S: The place that each step begins with, and after the last step the number of turns. S is U and one: a
            single conversation that fills the pack needs U steps.
        steps: The steps that have any turn; those after them are not computed.
        previous_U: The slot of the turn before, in the same conversation; -1 for its first turn, and in unused slots.
        position_U: How many turns of its conversation come before a turn.
        used_U: Which slots hold a turn.
    """

    slot_X: Int[Array, " X"]
    place_U: Int[Array, " U"]
    step_X: Int[Array, " X"]
    first_S: Int[Array, " S"]
    steps: Int[Array, ""]
    previous_U: Int[Array, " U"]
    position_U: Int[Array, " U"]
    used_U: Bool[Array, " U"]

    @property
    def count(self) -> int:
        """G, the lanes."""
        return len(self.slot_X) - len(self.place_U)


def enough(slots: int) -> int:
    """Returns how many lanes a pack is worth.

    A step with 16 takes hardly longer than one with 10 (``few_rows``); in a small pack they would mostly lie idle
    (``benchmarks/recurrent.py``).
    """
    return 16 if slots >= 256 else 8 if slots >= 128 else 4


def in_lanes(conversation_U: Int[Array, " U"], lanes: int, *, earlier: Int[Array, ""] | int = 0) -> Lanes:
    """Lays the conversations of a pack into lanes.

    Args:
        conversation_U: Conversation ids, -1 in unused slots. The turns of a conversation lie side by side.
        lanes: G, as many as there are slots at most.
        earlier: How many turns of the conversation earlier packs had, for a pack that goes on.
    """
    slots = conversation_U.shape[0]
    lanes = min(lanes, slots)
    slot_U = jnp.arange(slots, dtype=jnp.int32)
    used_U = conversation_U != -1
    begins_U = used_U & jnp.concatenate([jnp.ones(1, bool), conversation_U[1:] != conversation_U[:-1]])
    position_U = slot_U - jax.lax.cummax(jnp.where(begins_U, slot_U, 0))
    lane_U, first_U, load_G = _lanes_of(used_U, begins_U, lanes)
    step_U = jnp.where(used_U, first_U + position_U, slots)
    turns_S = jnp.zeros(slots, jnp.int32).at[step_U].add(1, mode="drop")
    first_S = jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.cumsum(turns_S, dtype=jnp.int32)])
    places = slots + lanes
    place_U = jnp.where(used_U, first_S[step_U] + lane_U, places)
    return Lanes(
        slot_X=jnp.full(places, slots, jnp.int32).at[place_U].set(slot_U, mode="drop"),
        place_U=place_U,
        step_X=jnp.zeros(places, jnp.int32).at[place_U].set(step_U, mode="drop"),
        first_S=first_S,
        steps=load_G.max(),
        previous_U=jnp.where(begins_U | ~used_U, -1, slot_U - 1),
        position_U=position_U + earlier,
        used_U=used_U,
    )


def _lanes_of(used_U: Array, begins_U: Array, lanes: int) -> tuple[Array, Array, Array]:
    """Returns for every turn its conversation's lane and first step there, and the turns of every lane.

    Lane 0 is the fullest.
    """
    slots = len(used_U)
    number_U = jnp.maximum(jnp.cumsum(begins_U, dtype=jnp.int32) - 1, 0)
    # Of every conversation, by its number in the pack; there are at most as many as slots.
    turns_J = jax.ops.segment_sum(used_U.astype(jnp.int32), number_U, slots)
    longest_first_J = jnp.argsort(-turns_J)

    def place(index: Array, placed: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        load_G, lane_J, first_J = placed
        number = longest_first_J[index]
        lane = jnp.argmin(load_G).astype(jnp.int32)
        first_J, lane_J = first_J.at[number].set(load_G[lane]), lane_J.at[number].set(lane)
        return load_G.at[lane].add(turns_J[number]), lane_J, first_J

    nowhere = (jnp.zeros(lanes, jnp.int32), jnp.zeros(slots, jnp.int32), jnp.zeros(slots, jnp.int32))
    load_G, lane_J, first_J = jax.lax.fori_loop(0, begins_U.sum(), place, nowhere)
    rank_G = jnp.zeros(lanes, jnp.int32).at[jnp.argsort(-load_G)].set(jnp.arange(lanes, dtype=jnp.int32))
    return rank_G[lane_J][number_U], first_J[number_U], load_G


def last_state(states: Any, lanes: Lanes, initial: Any) -> Any:
    """Returns the state after the last turn of a pack whose turns are of one conversation, and come first in it."""
    turns = lanes.used_U.sum()
    return jax.tree.map(lambda states, first: jnp.where(turns > 0, states[turns - 1], first), states, initial)
