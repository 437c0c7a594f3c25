"""The published counts, on the corpora themselves; runs where their owners' files are at hand."""

import os
import pathlib
from collections import Counter

import pytest

from dtrm_jax.config import DataConfig
from dtrm_jax.conversation import Dataset
from dtrm_jax.data import corpus, protocol
from dtrm_jax.data.readers import iemocap, meld
from dtrm_jax.evaluation.analysis import groups
from dtrm_jax.tasks import ClassTurn, task_of

needs_meld = pytest.mark.skipif("DTRM_MELD_SOURCE" not in os.environ, reason="$DTRM_MELD_SOURCE is not set")
needs_iemocap = pytest.mark.skipif("DTRM_IEMOCAP_SOURCE" not in os.environ, reason="$DTRM_IEMOCAP_SOURCE is not set")


def sizes(dataset: Dataset) -> dict[str, tuple[int, int]]:
    """Returns the conversations and utterances of every split."""
    return {split: (len(ones), sum(map(len, ones))) for split, ones in dataset.splits.items()}


def label_counts(dataset: Dataset, split: str) -> list[int]:
    counts = Counter(turn.label for conversation in dataset.splits[split] for turn in conversation.turns)
    return [counts.pop(name) for name in dataset.labels.names] + ([] if not counts else [dict(counts)])


@needs_meld
def test_meld(tmp_path):
    source = pathlib.Path(os.environ["DTRM_MELD_SOURCE"])
    dataset = corpus.load(DataConfig(name="meld", source=str(source), cache=str(tmp_path)))
    assert dataset == meld.read(source)
    assert sizes(dataset) == {"train": (1038, 9989), "dev": (114, 1109), "test": (280, 2610)}
    assert dataset.labels.names == ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger")
    assert label_counts(dataset, "train") == [4710, 1205, 268, 683, 1743, 271, 1109]
    assert label_counts(dataset, "dev") == [470, 150, 40, 111, 163, 22, 153]
    assert label_counts(dataset, "test") == [1256, 281, 50, 208, 402, 68, 345]
    assert [conversation.id for conversation in dataset.splits["train"]] == [str(n) for n in range(1039) if n != 60]
    assert {split: max(map(len, ones)) for split, ones in dataset.splits.items()} == {
        "train": 24,
        "dev": 23,
        "test": 33,
    }
    speakers = {turn.speaker for ones in dataset.splits.values() for one in ones for turn in one.turns}
    assert len(speakers) == 304


@needs_iemocap
def test_iemocap(tmp_path):
    source = pathlib.Path(os.environ["DTRM_IEMOCAP_SOURCE"])
    dataset = corpus.load(DataConfig(name="iemocap", source=str(source), cache=str(tmp_path)))
    assert dataset == iemocap.read(source)
    assert sizes(dataset) == {"train": (108, 5163), "dev": (12, 647), "test": (31, 1623)}
    assert dataset.labels.names == ("happy", "sad", "neutral", "angry", "excited", "frustrated")
    assert label_counts(dataset, "train") == [451, 771, 1221, 831, 593, 1296]
    assert label_counts(dataset, "dev") == [53, 68, 103, 102, 149, 172]
    assert label_counts(dataset, "test") == [144, 245, 384, 170, 299, 381]
    assert all(conversation.id.startswith("Ses05") for conversation in dataset.splits["test"])
    turns = [turn for ones in dataset.splits.values() for one in ones for turn in one.turns]
    assert Counter(turn.speaker for turn in turns) == {"M": 3939, "F": 3494}


@needs_meld
def test_meld_sentiment():
    dataset = meld.read(pathlib.Path(os.environ["DTRM_MELD_SOURCE"]), labels="sentiment")
    assert dataset.labels.names == ("neutral", "positive", "negative")
    assert label_counts(dataset, "train") == [4710, 2334, 2945]
    assert label_counts(dataset, "dev") == [470, 233, 406]
    assert label_counts(dataset, "test") == [1256, 521, 833]


@needs_iemocap
def test_iemocap_with_four_classes_and_one_session_left_out():
    source = pathlib.Path(os.environ["DTRM_IEMOCAP_SOURCE"])
    counts = {}
    for session in range(1, 6):
        dataset = iemocap.read(source, labels="four", test_session=session)
        config = DataConfig(name="iemocap", test_session=session)
        held = protocol.hold_out(dataset, config)
        assert sum(sizes(held)[split][0] for split in ("train", "dev", "test")) == 151
        assert all(one.id.startswith(f"Ses0{session}") for one in held.splits["test"])
        assert not any(one.id.startswith(f"Ses0{session}") for one in held.splits["train"] + held.splits["dev"])
        counts[session] = len(held.splits["test"])
    assert counts == {1: 28, 2: 30, 3: 32, 4: 30, 5: 31}
    counted = Counter(turn.label for ones in dataset.splits.values() for one in ones for turn in one.turns)
    assert counted == {"happy": 648 + 1041, "sad": 1084, "neutral": 1708, "angry": 1103, None: 1849}


@needs_iemocap
def test_iemocap_emotion_shifts_are_the_papers():
    """Table 6: 13.2 changes of a speaker's own emotion and 22.0 changes between neighbours a test dialogue."""
    test = iemocap.read(pathlib.Path(os.environ["DTRM_IEMOCAP_SOURCE"])).splits["test"]
    own = adjacent = 0
    for conversation in test:
        last = {}
        for earlier, turn in zip((None, *conversation.turns), conversation.turns, strict=False):
            adjacent += earlier is not None and earlier.label != turn.label
            own += last.get(turn.speaker, turn.label) != turn.label
            last[turn.speaker] = turn.label
    assert (own, adjacent) == (410, 683)
    turns = [
        ClassTurn(
            conversation=one.id,
            turn=turn.id,
            speaker=turn.speaker,
            text=turn.text,
            label=turn.label,
            prediction="sad",
            probabilities=(0, 1, 0, 0, 0, 0),
        )
        for one in test
        for turn in one.turns
    ]
    table = groups.shifts(turns, task_of(iemocap.LABELS))
    assert [table[name]["n"] for name in ("all", "intra", "inter")] == [1623, 410, 683]
    assert [f"{table[name]['per_conversation']:.1f}" for name in ("intra", "inter")] == ["13.2", "22.0"]
    # "yeah." occurs 23 times according to the paper, which is both spellings together.
    yeahs = Counter(turn.text for turn in groups.with_text(turns, "yeah"))
    assert yeahs["yeah."] + yeahs["yeah"] == 23
