"""Packing: nothing cut, nothing twice, nothing lost, and rows almost full."""

import collections
import dataclasses

import jax
import numpy as np
import pytest

from benchmarks import first_fit
from dtrm_jax.batch import PackShape
from dtrm_jax.config import PackingConfig
from dtrm_jax.data.packing import (
    PackFiller,
    PlannedPack,
    build_pack,
    build_planned,
    choose_shape,
    epoch_order,
    largest_first,
    measure_fill,
    plan_packs,
)
from dtrm_jax.data.packing import demand as demand_module
from dtrm_jax.data.packing import plan as plan_module
from dtrm_jax.data.packing import shape as shape_module
from dtrm_jax.data.packing.demand import Demand
from dtrm_jax.data.tokenize import TokenSequence
from tests.factories import sized, text_only


def random_lengths(random, conversations, most_turns=9, longest=30):
    """Returns the sequence lengths of random conversations."""
    return [random.integers(2, longest + 1, random.integers(1, most_turns + 1)).tolist() for _ in range(conversations)]


def meld_like(seed, conversations):
    """Lengths as MELD's with K=14: mean 41 tokens, 95th percentile about 107, growing along the conversation."""
    random = np.random.default_rng(seed)
    corpus = []
    for _ in range(conversations):
        words = 2 + np.minimum(random.geometric(1 / 9.5, random.integers(1, 22)), 60)
        speakers = random.integers(0, random.integers(2, 5), len(words))
        sequences = []
        for i in range(len(words)):
            context = sum(int(words[j]) for j in range(max(0, i - 14), i) if speakers[j] == speakers[i])
            sequences.append(int(words[i]) + 2 + (context + 1 if context else 0))
        corpus.append(sequences)
    return corpus


def reference_pack(conversations, shape):
    """``build_pack`` written out: token by token, row by row, no cleverness."""
    free = []  # [room left, next slot] of each row
    slot = 0
    for length, count in shape.rows:
        for _ in range(count):
            free.append([length, slot])
            slot += length
    fields = collections.defaultdict(list)
    token, position, segment, own, owner = [0] * slot, [0] * slot, [0] * slot, [False] * slot, [-1] * slot
    for number, conversation in enumerate(conversations):
        first = len(fields["turn"])
        order = sorted(range(len(conversation.sequences)), key=lambda i: (-len(conversation.sequences[i]), i))
        starts = {}
        for turn in order:
            sequence = conversation.sequences[turn]
            row = min((row for row in free if row[0] >= len(sequence)), key=lambda row: (row[0], row[1]))
            starts[turn] = row[1]
            for offset, token_id in enumerate(sequence.token_ids.tolist()):
                token[row[1] + offset] = token_id
                position[row[1] + offset] = offset
                segment[row[1] + offset] = 0 if offset < sequence.first_segment else 1
                own[row[1] + offset] = offset < sequence.first_segment
                owner[row[1] + offset] = first + turn
            row[0] -= len(sequence)
            row[1] += len(sequence)
        for turn, label in enumerate(conversation.labels.tolist()):
            fields["cls"].append(starts[turn])
            fields["conversation"].append(number)
            fields["turn"].append(turn)
            fields["speaker"].append(conversation.speakers[turn])
            fields["label"].append(label)
            fields["weight"].append(0.0 if label == -1 else 1.0)
    unused = {"cls": 0, "conversation": -1, "turn": 0, "speaker": -1, "label": -1, "weight": 0.0}
    for name, value in unused.items():
        fields[name] += [value] * (shape.utterances - len(fields[name]))
    return {
        "token_ids_T": token,
        "position_ids_T": position,
        "segment_ids_T": segment,
        "own_T": own,
        "sequence_ids_T": owner,
        **{f"{name}_U": values for name, values in fields.items()},
    }


def test_a_pack_by_hand():
    first = text_only(
        (TokenSequence(np.array([2, 9, 3]), 3), TokenSequence(np.array([2, 8, 3, 9, 3]), 3)), np.array([4, -1])
    )
    second = text_only((TokenSequence(np.array([2, 3]), 2),), np.array([1]))
    pack = build_pack([first, second], PackShape(((4, 1), (7, 1)), 5))
    # Longest first, each into the row with the least room: 5 tokens into the row of 7, 3 into that of 4, 2 after the 5.
    assert pack.token_ids_T.tolist() == [2, 9, 3, 0, 2, 8, 3, 9, 3, 2, 3]
    assert pack.position_ids_T.tolist() == [0, 1, 2, 0, 0, 1, 2, 3, 4, 0, 1]
    assert pack.segment_ids_T.tolist() == [0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0]
    assert pack.own_T.tolist() == [True] * 3 + [False] + [True] * 3 + [False] * 2 + [True] * 2
    assert pack.sequence_ids_T.tolist() == [0, 0, 0, -1, 1, 1, 1, 1, 1, 2, 2]
    assert pack.cls_U.tolist() == [0, 4, 9, 0, 0]
    assert pack.conversation_U.tolist() == [0, 0, 1, -1, -1]
    assert pack.turn_U.tolist() == [0, 1, 0, 0, 0]
    assert pack.speaker_U.tolist() == [0, 1, 0, -1, -1]
    assert pack.label_U.tolist() == [4, -1, 1, -1, -1]
    assert pack.weight_U.tolist() == [1, 0, 1, 0, 0]


@pytest.mark.parametrize("seed", range(8))
def test_packs_equal_the_slow_reference(seed):
    random = np.random.default_rng(seed)
    shape = PackShape(((7, 5), (16, 9), (31, 9)), 37)
    lengths = random_lengths(random, 40)
    conversations = [sized(*sizes) for sizes in lengths]
    plan = plan_packs(lengths, random.permutation(40).tolist(), shape)
    assert len(plan) > 1
    for planned in plan:
        chosen = [conversations[index] for index in planned.members]
        expected = reference_pack(chosen, shape)
        for pack in (build_planned(conversations, planned, shape), build_pack(chosen, shape)):
            for name, values in expected.items():
                np.testing.assert_array_equal(getattr(pack, name), values, err_msg=name)


def test_dtypes_and_shapes_follow_from_the_shape_alone():
    shape = PackShape(((7, 2), (11, 3)), 5, values=3, features=(("acoustic", 13), ("visual", 2)))
    assert shape.tokens == 47
    sizes = {"value_UxV": (5, 3), "value_weight_UxV": (5, 3)}
    for conversations in ([], [rich(3)], [rich(7, 11, 2), rich(5)]):
        pack = vars(build_pack(conversations, shape))
        features, present = pack.pop("features_UxM"), pack.pop("present_U")
        for name, value in pack.items():
            kind = np.float32 if "value" in name or name == "weight_U" else bool if name == "own_T" else np.int32
            assert value.dtype == kind, name
            assert value.shape == sizes.get(name, (47,) if name.endswith("_T") else (5,)), name
        assert {name: (x.shape, x.dtype) for name, x in features.items()} == {
            "acoustic": ((5, 13), np.float32),
            "visual": ((5, 2), np.float32),
        }
        assert {name: (x.shape, x.dtype) for name, x in present.items()} == {
            "acoustic": ((5,), bool),
            "visual": ((5,), bool),
        }


def rich(*lengths):
    """A conversation with three real values and two modalities as features, some of them missing."""
    random, turns = np.random.default_rng(lengths), len(lengths)
    values = random.normal(size=(turns, 3)).astype(np.float32)
    values[0, 1] = np.nan
    values[turns // 2] = np.nan
    features = {name: random.normal(size=(turns, size)).astype(np.float32) for name, size in SIZES.items()}
    features["visual"][turns // 2] = np.nan
    return dataclasses.replace(sized(*lengths), labels=np.full(turns, -1, np.int32), values=values, features=features)


SIZES = {"acoustic": 13, "visual": 2}


def test_values_and_features_lie_on_the_utterance_axis():
    first, second = rich(7, 11, 2), rich(5, 3)
    shape = PackShape(((16, 3),), 7, values=3, features=tuple(SIZES.items()))
    pack = build_pack([first, second], shape)
    values = np.concatenate([first.values, second.values])
    np.testing.assert_array_equal(pack.value_weight_UxV[:5], ~np.isnan(values))
    np.testing.assert_array_equal(pack.value_UxV[:5], np.where(np.isnan(values), 0, values))
    # A turn without any value does not count; one with some does.
    np.testing.assert_array_equal(pack.weight_U, [1, 0, 1, 1, 0, 0, 0])
    np.testing.assert_array_equal(pack.present_U["visual"], [1, 0, 1, 1, 0, 0, 0])
    np.testing.assert_array_equal(pack.present_U["acoustic"], [1, 1, 1, 1, 1, 0, 0])
    for name in SIZES:
        features = np.concatenate([first.features[name], second.features[name]])
        np.testing.assert_array_equal(pack.features_UxM[name][:5], np.where(np.isnan(features), 0, features))
        assert not pack.features_UxM[name][5:].any()
    assert not pack.value_UxV[5:].any() and not pack.value_weight_UxV[5:].any()


def test_without_text_turns_are_what_fills_a_pack():
    lengths = [[0] * turns for turns in (5, 40, 1, 17, 30, 8)]
    shape = choose_shape(lengths, PackingConfig(utterances=50))
    assert shape == PackShape((), 64)
    assert choose_shape(lengths, PackingConfig(utterances=7)) == PackShape((), 48), "the longest conversation must fit"
    plan = plan_packs(lengths, epoch_order(lengths, 0, 0), shape)
    assert sorted(index for pack in plan for index in pack.members) == list(range(6))
    assert len(plan) == 2 and all(sum(len(lengths[index]) for index in pack.members) <= 64 for pack in plan)
    examples = [text_only((), np.arange(len(turns), dtype=np.int32) % 3) for turns in lengths]
    pack = build_planned(examples, plan[0], shape)
    assert pack.token_ids_T.shape == (0,)
    conversations, counts = np.unique(pack.conversation_U[pack.conversation_U >= 0], return_counts=True)
    members = plan[0].members
    assert counts.tolist() == [len(lengths[index]) for index in members] and conversations[-1] == len(members) - 1


@pytest.mark.parametrize("seed", range(6))
def test_every_conversation_is_in_exactly_one_pack_whole_and_in_no_two_rows(seed):
    random = np.random.default_rng(seed)
    lengths = random_lengths(random, 60)
    shape = PackShape(((16, 9), (32, 7)), 41)
    plan = plan_packs(lengths, epoch_order(lengths, seed, 3), shape)
    assert sorted(index for planned in plan for index in planned.members) == list(range(60))
    row_of_slot = np.repeat(np.arange(16), [16] * 9 + [32] * 7)
    for planned in plan:
        pack = build_planned([sized(*sizes) for sizes in lengths], planned, shape)
        expected = [length for index in planned.members for length in lengths[index]]
        owners = pack.sequence_ids_T
        assert np.bincount(owners[owners >= 0], minlength=len(expected)).tolist() == expected
        for utterance in range(len(expected)):
            slots = np.flatnonzero(owners == utterance)
            assert len(set(row_of_slot[slots])) == 1
            assert slots[0] == pack.cls_U[utterance]
            np.testing.assert_array_equal(np.diff(slots), 1)
        assert (pack.conversation_U >= 0).sum() == len(expected)


def test_conversations_go_into_the_first_pack_that_holds_them():
    shape = PackShape(((8, 2),), 3)
    lengths = [[8], [8, 7], [8], [1], [1]]
    # [8] leaves a row; [8, 7] needs two: second pack; [8] fits the first; [1] fits beside the 7, the last turn slot.
    plan = plan_packs(lengths, [0, 1, 2, 3, 4], shape)
    assert [planned.members for planned in plan] == [(0, 2), (1, 3), (4,)]
    assert [planned.starts for planned in plan] == [((0,), (8,)), ((0, 8), (15,)), ((0,),)]


def test_rows_and_utterances_close_a_pack_and_a_refusal_changes_nothing():
    filler = PackFiller(PackShape(((5, 2), (9, 1)), 4))
    assert filler.add([6, 5]) == [10, 0]
    assert filler.add([3, 6]) is None  # no row holds 6 any more
    assert filler.add([3, 2, 5]) is None  # one turn too many
    assert filler.add([3, 5]) == [16, 5]
    assert (filler.tokens_left, filler.utterances_left) == (0, 0)
    assert filler.add([1]) is None


def test_conversations_close_a_pack_too():
    filler = PackFiller(PackShape(((9, 3),), 9), conversations=2)
    assert filler.add([4]) is not None and filler.add([2, 2]) is not None and filler.room[4] == 0
    assert filler.add([1]) is None


def test_own_tokens_close_a_pack_too():
    filler = PackFiller(PackShape(((9, 3),), 9, own_tokens=11))
    assert filler.add([4, 4], own=7) == [0, 4] and filler.room[:4] == (19, 7, 4, 9)
    assert filler.add([3], own=5) is None
    assert filler.add([3], own=4) == [9]
    with pytest.raises(ValueError, match="conversation 0 with 4 tokens does not fit"):
        plan_packs([[4]], [0], PackShape(((9, 3),), 9, own_tokens=11), [12])


def test_a_planned_pack_is_built_in_any_order_of_its_conversations():
    lengths = [[5, 3], [7], [4, 6]]
    (planned,) = plan_packs(lengths, [2, 0, 1], PackShape(((9, 3),), 5))
    examples = [sized(*sizes, first_id=100 * index + 1) for index, sizes in enumerate(lengths)]
    whole = build_planned(examples, planned, PackShape(((9, 3),), 5))
    turned = PlannedPack(planned.members[::-1], planned.starts[::-1])
    other = build_planned(examples, turned, PackShape(((9, 3),), 5))
    np.testing.assert_array_equal(whole.token_ids_T, other.token_ids_T)
    assert sorted(whole.cls_U.tolist()) == sorted(other.cls_U.tolist())


def test_context_that_is_not_told_apart_has_segment_0_and_is_still_not_own():
    told = sized(5, 3)
    untold = dataclasses.replace(told, context_segment=0)
    packs = [build_pack([example], PackShape(((9, 1),), 2)) for example in (told, untold)]
    assert packs[0].segment_ids_T.any() and not packs[1].segment_ids_T.any()
    np.testing.assert_array_equal(packs[0].own_T, packs[1].own_T)
    np.testing.assert_array_equal(packs[0].own_T, (packs[0].segment_ids_T == 0) & (packs[0].sequence_ids_T >= 0))


def test_what_does_not_fit_is_an_error():
    shape = PackShape(((8, 2),), 3)
    with pytest.raises(ValueError, match="conversation 1 with 9 tokens does not fit"):
        plan_packs([[2], [9]], [0, 1], shape)
    with pytest.raises(ValueError, match="conversation 1 of the pack does not fit"):
        build_pack([sized(8, 8), sized(1)], shape)


def test_fill_by_hand():
    fill = measure_fill([[3, 5], [4]], packs=2, shape=PackShape(((4, 2), (6, 1)), 7), width=10)
    assert fill.tokens == pytest.approx(12 / 28)
    # 12 * 10 a token and 2 a score entry.
    assert fill.work == pytest.approx((120 * 12 + 2 * 50) / (120 * 28 + 2 * 136))


def test_full_rows_are_full():
    fill = measure_fill([[8, 8], [8]], packs=1, shape=PackShape(((8, 3),), 3), width=10)
    assert (fill.tokens, fill.work) == (1.0, 1.0)


def holds(lengths, shape):
    return all(PackFiller(shape).add(sizes) is not None for sizes in lengths)


@pytest.mark.parametrize("seed", range(12))
def test_the_chosen_shape_holds_every_conversation(seed):
    random = np.random.default_rng(seed)
    corpus = random_lengths(random, int(random.integers(1, 40)), most_turns=int(random.integers(1, 30)), longest=90)
    corpus[-1] = [int(random.integers(2, 300))] * int(random.integers(1, 12))
    config = PackingConfig(tokens=int(random.integers(8, 900)), row_lengths=((16, 64), (32,), (16, 32, 128))[seed % 3])
    shape = choose_shape(corpus, config)
    assert holds(corpus, shape)
    assert shape == choose_shape(corpus, config)
    longest = max(map(max, corpus))
    lengths = [length for length, _ in shape.rows]
    assert lengths == sorted(set(lengths)) and lengths[-1] >= longest
    assert all(count > 0 for _, count in shape.rows)
    # Only one row length at or beyond the longest sequence: a longer one would only waste attention.
    assert sum(length >= longest for length in lengths) == 1
    plan = plan_packs(corpus, epoch_order(corpus, seed, 0), shape)
    assert sorted(index for planned in plan for index in planned.members) == list(range(len(corpus)))


def test_the_budget_is_kept_where_it_can_be():
    corpus = random_lengths(np.random.default_rng(0), 200)
    for tokens in (600, 1200, 2400):
        shape = choose_shape(corpus, PackingConfig(tokens=tokens, row_lengths=(16, 32), utterances=1000))
        assert 0.85 * tokens <= shape.tokens <= 1.15 * tokens


def test_the_shape_grows_with_the_largest_conversation():
    corpus = random_lengths(np.random.default_rng(0), 50)
    config = PackingConfig(tokens=256, row_lengths=(16, 32))
    small = choose_shape(corpus, config)
    many_turns = choose_shape([*corpus, [5] * 170], config)
    assert many_turns.utterances >= 170 > small.utterances
    assert many_turns.tokens >= 850 > small.tokens
    long_sequence = choose_shape([*corpus, [201]], config)
    assert long_sequence.rows[-1][0] == 208  # the next multiple of 16
    assert small.rows[-1][0] == 32


@pytest.mark.parametrize(("longest", "expected"), [(15, 16), (16, 16), (17, 32), (32, 32), (33, 48), (48, 48)])
def test_the_last_row_length_is_the_shortest_that_holds_the_longest_sequence(longest, expected):
    shape = choose_shape([[longest, 3], [4, 5]], PackingConfig(tokens=128, row_lengths=(16, 32)))
    assert shape.rows[-1][0] == expected


def test_meld_like_packs_are_at_least_90_percent_tokens():
    corpus = meld_like(0, 400)
    flat = np.concatenate(corpus)
    assert 35 < flat.mean() < 50 and 90 < np.percentile(flat, 95) < 140  # what the claim is about
    config = PackingConfig()
    shape = choose_shape(corpus, config)
    for epoch in range(3):
        packs = plan_packs(corpus, epoch_order(corpus, 7, epoch), shape)
        assert measure_fill(corpus, len(packs), shape, 384).tokens >= 0.9


def test_order_is_a_permutation_large_ones_first_on_the_whole_and_new_every_epoch():
    corpus = random_lengths(np.random.default_rng(0), 300)
    sizes = np.array([sum(sizes) for sizes in corpus])
    orders = [epoch_order(corpus, seed, epoch) for seed, epoch in ((0, 0), (0, 1), (1, 0), (1, 1))]
    for order in orders:
        assert sorted(order) == list(range(300))
        assert sizes[order[:100]].mean() > sizes[order[100:200]].mean() > sizes[order[200:]].mean()
    assert len({tuple(order) for order in orders}) == 4
    assert orders[0] == epoch_order(corpus, 0, 0)


def test_a_pack_is_a_tree_of_arrays():
    assert len(jax.tree.leaves(build_pack([sized(3)], PackShape(((7, 2),), 5)))) == 13


def test_utterances_limit_a_pack_where_sequences_are_short():
    generator = np.random.default_rng(0)
    lengths = [list(generator.integers(5, 16, 10)) for _ in range(40)]
    each = np.mean(lengths)
    by_tokens, by_utterances = (
        choose_shape(lengths, PackingConfig(tokens=1600, row_lengths=(32,), utterances=limit)) for limit in (10**6, 50)
    )
    assert by_tokens.tokens > 1400
    assert 10 * each <= by_utterances.tokens <= 50 * each * 1.1 + 32
    packs = plan_packs(lengths, range(len(lengths)), by_utterances)
    assert 35 <= 400 / len(packs) <= 55
    assert choose_shape(lengths, PackingConfig(tokens=1600, row_lengths=(32,), utterances=160)) == by_tokens


@pytest.mark.parametrize("seed", range(3))
def test_few_conversations_are_planned_as_by_first_fit_over_all_packs(seed):
    lengths = meld_like(seed, 300)
    shape = PackShape(((64, 22), (128, 4), (336, 5)), 100)
    order = epoch_order(lengths, seed, 1)
    assert order == first_fit.epoch_order(lengths, seed, 1)
    packs = plan_packs(lengths, order, shape)
    assert 30 < len(packs) and [list(pack.members) for pack in packs] == first_fit.first_fit(lengths, order, shape)


@pytest.mark.parametrize("budget", [700, 4096])
def test_many_conversations_fill_their_packs_as_well_as_by_first_fit_over_all_packs(budget):
    lengths = meld_like(budget, 2000)
    shape = choose_shape(lengths, PackingConfig(tokens=budget))
    wanted = len(first_fit.first_fit(lengths, first_fit.epoch_order(lengths, 3, 0), shape))
    assert wanted > 180, "more than are open at a time"
    for order in (epoch_order(lengths, 3, 0), epoch_order(lengths, 3, 1), largest_first(lengths)):
        assert len(plan_packs(lengths, order, shape)) <= wanted / 0.99


def test_where_too_many_packs_are_open_the_fullest_is_closed(monkeypatch):
    lengths, shape = [[7], [8], [9], [2], [2]], PackShape(((10, 1),), 5)
    # Of two open packs 9 closes that of 8, where the last conversation would have gone.
    for open_packs, expected in ((2, [(0, 3), (1,), (2,), (4,)]), (3, [(0, 3), (1, 4), (2,)])):
        monkeypatch.setattr(plan_module, "_OPEN", open_packs)
        assert [pack.members for pack in plan_packs(lengths, range(5), shape)] == expected
    # Without text, it is the turns that fill a pack.
    monkeypatch.setattr(plan_module, "_OPEN", 2)
    turns = [[0] * count for count in (3, 4, 5, 2, 1)]
    assert [pack.members for pack in plan_packs(turns, range(5), PackShape((), 5))] == [(0, 3), (1,), (2,), (4,)]


def test_many_conversations_are_ordered_in_blocks_that_are_like_the_whole():
    lengths = random_lengths(np.random.default_rng(0), 1300)
    sizes = np.array([sum(one) for one in lengths])
    for order in (epoch_order(lengths, 0, 0), largest_first(lengths)):
        assert sorted(order) == list(range(1300))
        blocks = np.array_split(order, 3)
        for block in blocks:
            assert np.mean(sizes[block]) == pytest.approx(sizes.mean(), rel=0.08)
            assert sizes[block[:100]].mean() > sizes[block[100:300]].mean() > sizes[block[300:]].mean()
    epochs = [set(epoch_order(lengths, 0, epoch)[:433]) for epoch in range(2)]
    assert len(epochs[0] & epochs[1]) < 250, "other blocks in every epoch"


def test_a_further_draw_of_an_epoch_is_another_one_and_closer_to_the_largest_first():
    lengths = random_lengths(np.random.default_rng(0), 400)
    sizes = np.array([sum(one) for one in lengths])
    rises = []
    for draw in range(5):
        order = epoch_order(lengths, 0, 0, draw)
        assert sorted(order) == list(range(400))
        rises.append(np.maximum(np.diff(sizes[order]), 0).sum())
    assert rises == sorted(rises, reverse=True) and len(set(rises)) == 5


@pytest.mark.parametrize("seed", range(20))
def test_what_an_empty_pack_holds_is_told_as_by_trying(seed):
    random = np.random.default_rng(seed)
    lengths = random_lengths(random, 30, most_turns=int(random.integers(2, 12)), longest=64)
    demand = Demand(lengths, (16, 32, 64))
    found = set()
    for most in range(2, 42):
        counts = random.integers(0, most, 3)
        rows = tuple((length, int(count)) for length, count in zip((16, 32, 64), counts, strict=True) if count)
        if rows:
            expected = holds(lengths, PackShape(rows, 12))
            assert demand.all_held(rows) == demand.foremost_held(rows) == expected
            found.add(expected)
    assert found == {False, True}


def test_what_is_certain_by_hand():
    def certain(sizes, *rows):
        return bool(Demand([sizes], (4, 10))._certain(rows, np.array([0]))[0])

    # As many rows as sequences that need them.
    assert certain([10, 7, 4], (4, 1), (10, 2)) and not certain([10, 7, 4], (4, 2), (10, 1))
    # A row of 10 that has no room for 4 holds 7 tokens at least.
    assert certain([4, 3], (10, 1)) and certain([4, 3, 3, 4], (10, 2)) and not certain([4, 4], (10, 1))
    # A row that is too short for the longest sequence is no help to it.
    assert not certain([6, 5], (4, 9), (10, 1))


def test_what_is_said_to_fit_for_certain_does_and_most_is():
    random, certain = np.random.default_rng(0), 0
    for _ in range(200):
        lengths = random_lengths(random, 1, most_turns=12, longest=64)
        rows = tuple((length, int(random.integers(1, 6))) for length in (16, 32, 64))
        if Demand(lengths, (16, 32, 64))._certain(rows, np.array([0]))[0]:
            assert holds(lengths, PackShape(rows, 12))
            certain += 1
    assert certain > 50


def test_of_many_conversations_a_sample_is_planned_and_all_are_held(monkeypatch):
    planned = []
    monkeypatch.setattr(
        shape_module, "plan_packs", lambda lengths, *rest: planned.append(len(lengths)) or plan_packs(lengths, *rest)
    )
    lengths = meld_like(0, 900)
    lengths[450] = [336] * 9  # far fewer tokens than a pack has, but nine of the longest rows
    shape = choose_shape(lengths, PackingConfig(tokens=6000))
    assert set(planned) == {512} and holds(lengths, shape)
    assert shape == choose_shape(lengths, PackingConfig(tokens=6000))
    assert dict(shape.rows)[336] >= 9
    for row_length in (64, 128):
        assert dict(shape.rows)[row_length], "the other rows are chosen as ever"


def test_a_candidate_that_does_not_hold_a_conversation_of_the_sample_is_not_planned(monkeypatch):
    monkeypatch.setattr(demand_module, "_HARDEST", 0)
    monkeypatch.setattr(demand_module, "_HARDEST_OF_A_LENGTH", 0)
    monkeypatch.setattr(shape_module, "_SAMPLE", 64)
    random = np.random.default_rng(0)
    lengths = [[60] * int(random.integers(4, 8)) if random.random() < 0.1 else [9] * 40 for _ in range(110)]
    assert holds(lengths, choose_shape(lengths, PackingConfig(tokens=500, row_lengths=(16, 64))))
