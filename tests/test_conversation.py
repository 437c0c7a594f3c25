"""Task formulation: the paper's Table 1, the window's edges, and what a conversation refuses."""

import numpy as np
import pytest

from dtrm_jax.conversation import (
    Conversation,
    Dataset,
    LabelSpace,
    Turn,
    ValueSpace,
    conv_context,
    indi_context,
)


def conversation(*speakers):
    return Conversation("c", tuple(Turn(f"t{i}", speaker, "") for i, speaker in enumerate(speakers)))


def test_table_1_of_the_paper():
    # X = {x_1^1, x_2^1, x_3^2, x_4^1, x_5^3, x_6^2, x_7^1, x_8^2}, K = 5, target x_7; the paper counts from 1.
    speakers = [1, 1, 2, 1, 3, 2, 1, 2]
    target = 7 - 1
    assert [turn + 1 for turn in indi_context(speakers, target, 5)] == [2, 4]
    assert [turn + 1 for turn in conv_context(target, 5)] == [2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("turn", "window", "expected"),
    [
        (0, 5, []),
        (1, 5, [0]),
        (4, 5, [0, 1, 2, 3]),
        (5, 5, [0, 1, 2, 3, 4]),
        (6, 5, [1, 2, 3, 4, 5]),
        (6, 1, [5]),
        (6, 0, []),
        (2, 100, [0, 1]),
    ],
)
def test_the_window_reaches_k_turns_back_and_not_before_the_start(turn, window, expected):
    assert list(conv_context(turn, window)) == expected
    assert indi_context("a" * 7, turn, window) == expected


def test_indi_context_holds_no_other_speaker_and_no_later_turn():
    speakers = "abacab"
    assert indi_context(speakers, 2, 5) == [0]
    assert indi_context(speakers, 3, 5) == []
    assert indi_context(speakers, 4, 5) == [0, 2]
    assert indi_context(speakers, 5, 5) == [1]
    assert indi_context(speakers, 5, 3) == []


def test_a_conversation_of_one_turn_has_no_context():
    single = conversation("A")
    assert len(single) == 1
    assert single.speaker_indices() == [0]
    assert indi_context(single.speaker_indices(), 0, 14) == []


def test_speakers_are_numbered_by_first_appearance():
    assert conversation("Zoe", "Al", "Zoe", "Mo", "Al").speaker_indices() == [0, 1, 0, 2, 1]


def test_what_a_turn_is_annotated_with_is_said_by_name():
    with pytest.raises(TypeError, match="positional arguments"):
        Turn("1", "A", "x", "glad")
    assert Turn("1", "A", "x", label="glad") != Turn("1", "A", "x", values=(0.5,))


def test_a_conversation_needs_turns():
    with pytest.raises(ValueError, match="conversation empty: expected at least one turn"):
        Conversation("empty", ())


def test_duplicated_turn_ids_are_refused():
    turns = (Turn("1", "A", "x"), Turn("2", "B", "y"), Turn("1", "A", "z"))
    with pytest.raises(ValueError, match="conversation c: expected distinct turn ids, found '1' twice"):
        Conversation("c", turns)


def test_a_label_is_an_index_and_no_other_is_known():
    labels = LabelSpace(("calm", "glad", "sad"))
    assert [labels.index(name) for name in labels.names] == list(range(len(labels)))
    with pytest.raises(ValueError, match="unknown label 'joyful', expected one of .*joy"):
        LabelSpace(("joy", "anger")).index("joyful")


def featured(matrix, count=2):
    turns = tuple(Turn(str(index), "A", "x") for index in range(count))
    return Conversation("c7", turns, {"acoustic": matrix})


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.zeros((2, 3)), r"expected float32 \[2, dim\], found float64 \[2, 3\]"),
        (np.zeros((3, 3), np.float32), r"found float32 \[3, 3\]"),
        (np.zeros(2, np.float32), r"found float32 \[2\]"),
        (np.zeros((2, 0), np.float32), r"found float32 \[2, 0\]"),
        (np.float32([[1, 2], [np.nan, 1]]), "turn 1: expected finite numbers, or NaN throughout"),
        (np.float32([[1, np.inf], [1, 1]]), "turn 0: expected finite numbers, or NaN throughout"),
    ],
)
def test_features_that_do_not_fit_are_refused(matrix, message):
    with pytest.raises(ValueError, match=f"conversation c7: acoustic features.*{message}"):
        featured(matrix)


def test_all_conversations_of_a_dataset_have_the_same_features():
    one, other = featured(np.float32([[1, 2], [np.nan, np.nan]])), featured(np.zeros((2, 3), np.float32))
    assert Dataset("d", LabelSpace(("x",)), {"train": (one, one)}).feature_sizes() == {"acoustic": 2}
    assert Dataset("d", LabelSpace(("x",)), {"train": ()}).feature_sizes() == {}
    with pytest.raises(ValueError, match="expected features of sizes {'acoustic': 2}, found {'acoustic': 3}"):
        Dataset("d", LabelSpace(("x",)), {"train": (one,), "test": (other,)})


def test_targets_are_indices_or_numbers_and_what_is_not_annotated_is_marked():
    turns = (Turn("0", "a", "", label="sad"), Turn("1", "b", ""), Turn("2", "a", "", label="calm"))
    classes = LabelSpace(("calm", "sad")).of(Conversation("c", turns))
    assert classes.dtype == np.int32 and classes.tolist() == [1, -1, 0]
    with pytest.raises(ValueError, match="unknown label 'sad'"):
        LabelSpace(("calm",)).of(Conversation("c", turns))
    turns = (Turn("0", "a", "", values=(0.5, None)), Turn("1", "a", "", values=(None, -2.0)))
    values = ValueSpace(("x", "y")).of(Conversation("c", turns))
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, [[0.5, np.nan], [np.nan, -2.0]])
