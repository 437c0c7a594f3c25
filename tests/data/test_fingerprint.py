"""Digests of datasets: anything that a run could learn from changes one, and only its own."""

import dataclasses

import numpy as np
import pytest

from dtrm_jax.conversation import Conversation, Dataset, LabelSpace, Turn
from dtrm_jax.data.fingerprint import fingerprint


def dataset(text="hello", label="x", split="train", name="a", acoustic=0.5, labels=("x", "y"), number=0):
    turns = (Turn("1", "A", text, label=label), Turn("2", "B", "bye"))
    matrices = {"acoustic": np.full((2, 3), acoustic, np.float32), "visual": np.ones((2, 1), np.float32)}
    matrices["visual"][1] = np.nan
    return Dataset("corpus", LabelSpace(labels), {split: (Conversation(f"{name}{number}", turns, matrices),)})


def test_the_same_data_has_the_same_digests():
    assert fingerprint(dataset()) == fingerprint(dataset())
    assert list(fingerprint(dataset())) == ["conversations", "acoustic", "visual"]


@pytest.mark.parametrize(
    "change",
    [{"text": "hallo"}, {"label": None}, {"label": "y"}, {"split": "dev"}, {"name": "b"}, {"labels": ("y", "x")}],
)
def test_another_conversation_changes_its_digest(change):
    before, after = fingerprint(dataset()), fingerprint(dataset(**change))
    assert {name for name in before if before[name] != after[name]} == {"conversations"}


def test_other_features_change_their_digest():
    before, after = fingerprint(dataset()), fingerprint(dataset(acoustic=0.5000001))
    assert {name for name in before if before[name] != after[name]} == {"acoustic"}


def test_values_count_and_features_need_not_be_there():
    turns = (Turn("1", "A", "", values=(0.1, None)),)
    plain = Dataset("corpus", LabelSpace(("x",)), {"train": (Conversation("a", turns),)})
    other = dataclasses.replace(turns[0], values=(0.2, None))
    changed = Dataset("corpus", LabelSpace(("x",)), {"train": (Conversation("a", (other,)),)})
    assert list(fingerprint(plain)) == ["conversations"]
    assert fingerprint(plain) != fingerprint(changed)
