"""What is said about a corpus before training."""

import pytest

from dtrm_jax.config import Config
from dtrm_jax.conversation import Conversation, Dataset, LabelSpace, Turn, ValueSpace
from dtrm_jax.data import overview
from dtrm_jax.data.encoder_tokenizer import word_tokenizer
from dtrm_jax.data.examples import make_examples
from dtrm_jax.data.features import Normalization


def conversation(name, *turns, **values):
    return Conversation(name, tuple(Turn(id, speaker, "x", label=label) for id, speaker, label in turns))


FINE = conversation("a", ("1", "Ann", "joy"), ("2", "Bob", "anger"), ("10", "Ann", None))
CLASSES = LabelSpace(("anger", "joy"))


def dataset(*train, labels=CLASSES, **splits):
    return Dataset("mine", labels, {"train": train or (FINE,), **splits})


def test_turns_are_counted_by_class_and_split():
    one = dataset(FINE, conversation("b", ("1", "Ann", "joy")), test=(conversation("c", ("1", "Ann", "joy")),))
    assert overview.counts(one) == [
        "  turns by class  train   test",
        "  anger               1      0",
        "  joy                 2      1",
        "  not annotated       1      0",
    ]
    assert len(overview.counts(dataset(conversation("b", ("1", "Ann", "joy"))))) == 3


def test_real_values_are_counted_too():
    turns = (Turn("1", "A", "x", values=(0.5, None)), Turn("2", "A", "x", values=(None, None)))
    one = Dataset("mine", ValueSpace(("power", "valence")), {"train": (Conversation("a", turns),)})
    assert overview.counts(one) == [
        "  turns by value  train",
        "  power               1",
        "  valence             0",
        "  not annotated       1",
    ]
    assert overview.accidents(one, {}) == []


def test_nothing_is_said_of_what_is_fine():
    assert overview.accidents(dataset(), {}) == []


@pytest.mark.parametrize(
    ("one", "line"),
    [
        (
            dataset(
                conversation("a", ("1", "A", "joy"), ("2", "A", "Joy"), ("3", "A", "fear")),
                labels=LabelSpace(("Joy", "fear", "joy")),
                test=(conversation("a", ("1", "A", "joy")),),
            ),
            "classes differ in case or spaces alone: 'Joy' (1 turns) and 'joy' (2 turns)",
        ),
        (
            dataset(FINE, conversation("b", ("1", "Ann Lee", "joy"), ("2", "Ann  lee", "joy"))),
            "speakers differ in case or spaces alone: 'Ann Lee' and 'Ann  lee' in conversation 'b' of train",
        ),
        (
            dataset(dev=[conversation(n, ("1", "Ann", "joy"), ("2", "ann", "joy")) for n in "bcd"]),
            "speakers differ in case or spaces alone: 'Ann' and 'ann' in conversation 'b' of dev, and in 2 more "
            "conversations",
        ),
        (
            dataset(FINE, conversation("b", ("1", "Jos\u00e9", "joy"), ("2", "JOSE\u0301", "joy"))),
            r"speakers differ in case or spaces alone: 'Jos\xe9' and 'JOSE\u0301' (the same letters in Unicode) in "
            "conversation 'b' of train",
        ),
        (
            dataset(
                conversation("a", ("1", "A", "gen\u00ea"), ("2", "A", "gene\u0302"), ("3", "A", "fear")),
                labels=LabelSpace(("fear", "gene\u0302", "gen\u00ea")),
            ),
            r"classes differ in case or spaces alone: 'gene\u0302' (1 turns) and 'gen\xea' (1 turns) (the same "
            "letters in Unicode)",
        ),
        (
            dataset(FINE, conversation("b", ("1", "Ann", "joy"), ("2", "\uff21\uff4e\uff4e", "joy"))),
            r"speakers differ in case or spaces alone: 'Ann' and '\uff21\uff4e\uff4e' (the same letters in "
            "Unicode) in conversation 'b' of train",
        ),
        (
            dataset(FINE, conversation("b", ("1", "A", "joy"), ("10", "A", "joy"), ("9", "A", None))),
            "turns are whole numbers but do not ascend: 10 comes before 9 in conversation 'b' of train",
        ),
        (
            dataset(FINE, conversation("b", ("1", "nan", "joy"))),
            "a speaker is called as programs write what is missing: 'nan' in conversation 'b' of train",
        ),
        (
            dataset(FINE, conversation("b", ("1", "A", "None")), labels=LabelSpace(("None", "anger", "joy"))),
            "a class is called as programs write what is missing: 'None'; leave such labels empty",
        ),
        (
            dataset(conversation("a", ("1", "A", "joy"), ("2", "A", None)), dev=(FINE,)),
            "there is a single class: every labelled turn of train is 'joy'",
        ),
    ],
)
def test_accidents_are_said_in_a_line_each(one, line):
    assert overview.accidents(one, {}) == [line]


def test_names_that_are_no_whole_numbers_need_not_ascend():
    assert overview.accidents(dataset(conversation("a", ("2b", "A", "joy"), ("1", "A", "anger"))), {}) == []


def test_turns_that_are_cut_are_counted():
    """Of the turns with 1 to 8 words, those with more than 5 do not fit between the two special tokens of 7."""
    turns = tuple(Turn(str(n), "A", " ".join("abcdefgh"[:n]), label="joy") for n in range(1, 9))
    one = Dataset("mine", CLASSES, {"train": (Conversation("a", turns),), "dev": (FINE,)})
    config = Config()
    config.tokens.max_length = 7
    tokenizer = word_tokenizer(["a b c d e f g h"])
    prepared = {
        split: make_examples(conversations, CLASSES, tokenizer, Normalization.fit(conversations, (), bound=0.0), config)
        for split, conversations in one.splits.items()
    }
    assert "turns are cut at config.tokens.max_length: 3 of train" in overview.accidents(one, prepared)
    config.tokens.max_length = 10
    prepared["train"] = make_examples(
        one.splits["train"], CLASSES, tokenizer, Normalization.fit(one.splits["train"], (), bound=0.0), config
    )
    assert not any("cut" in line for line in overview.accidents(one, prepared))
