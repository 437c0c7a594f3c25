"""IEMOCAP's own names of turns: features joined by them, and the turns that the field's files leave out."""

import csv
import json
import pickle

import numpy as np
import pytest

from dtrm_jax.data.readers import iemocap
from dtrm_jax.errors import InputError
from tests import field_files

# Dialogue -> speaker, number and label of every turn, None where COSMIC's file leaves it out.
SPOKEN = {
    "Ses01F_a": [("F", 0, None), ("M", 0, 0), ("F", 1, 4), ("M", 1, None), ("M", 2, 5), ("F", 2, None)],
    "Ses02F_b": [("M", 0, 1), ("F", 0, 2)],
    "Ses05M_c": [("F", 0, None), ("F", 1, 3), ("M", 0, None), ("F", 2, 0)],
}
SPLITS = {"train": ["Ses01F_a"], "dev": ["Ses02F_b"], "test": ["Ses05M_c"]}


def name(dialogue, turn):
    return f"{dialogue}_{turn[0]}{turn[1]:03}"


def names(labelled=False):
    """Returns the names of all turns, or of the labelled ones."""
    return {
        id: [name(id, turn) for turn in turns if turn[2] is not None or not labelled] for id, turns in SPOKEN.items()
    }


def rows():
    """Returns the table of all turns."""
    return [
        {"conversation": id, "turn": name(id, turn), "speaker": turn[0], "text": f"{name(id, turn)} says."}
        for id, turns in SPOKEN.items()
        for turn in turns
    ]


def write_table(path, table):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(table)


@pytest.fixture
def source(tmp_path):
    """COSMIC's file, the names of its turns, and acoustic features of all turns but one, and of a clip of none."""
    kept = {id: [turn for turn in turns if turn[2] is not None] for id, turns in SPOKEN.items()}
    speakers, labels = ({id: [turn[at] for turn in turns] for id, turns in kept.items()} for at in (0, 2))
    sentences = {id: [f"{name(id, turn)} says." for turn in turns] for id, turns in kept.items()}
    content = [speakers, labels, sentences, *(SPLITS[split] for split in ("train", "test", "dev"))]
    (tmp_path / "iemocap.pkl").write_bytes(pickle.dumps(content, 4))
    (tmp_path / "turn_ids.json").write_text(json.dumps(names(labelled=True)))
    vectors = {one: [number, -number] for number, one in enumerate(sum(names().values(), []), start=1)}
    del vectors["Ses05M_c_F002"]
    lines = [["id", "f0", "f1"], *([f"wav/{one}.wav", *vector] for one, vector in vectors.items()), ["Ses03_x", 7, 7]]
    with (tmp_path / "acoustic.csv").open("w", newline="") as file:
        csv.writer(file).writerows(lines)
    return tmp_path


def features(dataset):
    """Returns the first feature of every turn by its name, None where it lacks them."""
    return {
        turn.id: None if np.isnan(row[0]) else row[0]
        for split in dataset.splits.values()
        for one in split
        for turn, row in zip(one.turns, one.features["acoustic"], strict=True)
    }


def test_acoustic_features_are_joined_by_the_names_of_turns(source):
    dataset = iemocap.read(source)
    numbers = {one: number for number, one in enumerate(sum(names().values(), []), start=1)} | {"Ses05M_c_F002": None}
    assert features(dataset) == {one: numbers[one] for one in sum(names(labelled=True).values(), [])}
    assert dataset.feature_sizes() == {"acoustic": 2}
    assert dataset.notes == (
        "acoustic.csv: 2 acoustic features of 6 of 7 turns (missing: 1 of test); 6 clips are of no turn and left out, "
        "such as wav/Ses01F_a_F000.wav",
    )
    without = [path for path in iemocap.files(source) if path.suffix != ".csv"]
    assert [path.name for path in without] == ["iemocap.pkl", "turn_ids.json"]


@pytest.mark.parametrize("in_order", [True, False])
def test_all_turns_are_read_and_the_others_are_context(source, in_order):
    table = rows()
    labelled = iemocap.read(source)
    if not in_order:
        table = [row | {"start": f"{number / 2:.1f}"} for number, row in enumerate(table)][::-1]
    write_table(source / "turns.csv", table)
    dataset = iemocap.read(source)
    for split, (id,) in SPLITS.items():
        (one,), (few,) = dataset.splits[split], labelled.splits[split]
        assert one.id == id and [turn.id for turn in one.turns] == names()[id]
        assert [turn for turn in one.turns if turn.label is not None] == list(few.turns)
        context = [turn for turn in one.turns if turn.label is None]
        assert [turn.id for turn in context] == [name(id, turn) for turn in SPOKEN[id] if turn[2] is None]
        assert all(turn.text == f"{turn.id} says." and turn.speaker == turn.id[9] for turn in context)
    assert features(dataset).items() >= features(labelled).items() and len(features(dataset)) == 12
    assert dataset.notes == (
        "iemocap: turns.csv: 5 turns without a label are context for the 7 others",
        "acoustic.csv: 2 acoustic features of 11 of 12 turns (missing: 1 of test); 1 clip is of no turn and left out, "
        "such as Ses03_x",
    )


def test_turns_in_another_order_than_the_other_files_need_a_time(source):
    table = sorted(rows(), key=lambda row: row["turn"])
    write_table(source / "turns.csv", table)
    with pytest.raises(
        InputError, match=r"turns\.csv: expected the turns of 'Ses.*' in the order of the other file, as"
    ):
        iemocap.read(source)
    write_table(source / "turns.csv", [row | {"start": number} for number, row in enumerate(table)])
    assert "; by the column start, turns of " in iemocap.read(source).notes[0]


def test_features_of_the_fields_files_stay_with_their_turns(source):
    (source / "acoustic.csv").unlink()
    made = field_files.make({"train": ["Ses01F_a", "Ses02F_b"], "test": ["Ses05M_c"]}, turns=lambda _: 3)
    for id, turns in SPOKEN.items():
        made.labels[id] = [turn[2] for turn in turns if turn[2] is not None]
        for field in (made.speakers, made.sentences, *made.features.values()):
            field[id] = field[id][: len(made.labels[id])]
    field_files.iemocap_features(source / "features.pkl", made)
    write_table(source / "turns.csv", rows())
    for (one,) in iemocap.read(source).splits.values():
        has = np.array([turn.label is not None for turn in one.turns])
        for modality, matrix in one.features.items():
            np.testing.assert_array_equal(matrix[has], np.stack(made.features[modality][one.id]))
            assert np.isnan(matrix[~has]).all()


def test_four_classes_count_no_turn_that_had_no_label(source):
    write_table(source / "turns.csv", rows())
    dataset = iemocap.read(source, labels="four_without_excited", test_session=2)
    assert dataset.notes[-1].endswith("the 2 turns that are excited or frustrated are context alone")


def test_what_the_table_calls_the_speakers_is_learned_from_the_turns_that_both_have(source):
    table = [row | {"speaker": {"F": "Ann", "M": "Bob"}[row["speaker"]]} for row in rows()]
    write_table(source / "turns.csv", table)
    (one,) = iemocap.read(source).splits["train"]
    assert [turn.speaker for turn in one.turns] == [turn[0] for turn in SPOKEN["Ses01F_a"]]


def without(key, value):
    return [row for row in rows() if row[key] != value]


def changed(at, **values):
    table = rows()
    table[at] |= values
    return table


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("turn_ids.json", "[", "turn_ids.json: "),
        ("turn_ids.json", "[1]", "expected an object, conversation -> names of its turns, found list"),
        ("turn_ids.json", "{}", "conversation 'Ses01F_a': expected a list of names, found nothing"),
        ("turn_ids.json", {**names(True), "Ses02F_b": ["x", 5]}, "'Ses02F_b': expected a list of names, found others"),
        ("turn_ids.json", {**names(True), "Ses02F_b": ["x", "x"]}, "'Ses02F_b': expected 2 names, each once, found 1"),
        ("turn_ids.json", names(), "'Ses01F_a': expected 3 names, each once, found 6"),
        ("turns.csv", without("conversation", "Ses02F_b"), "turns.csv: expected a conversation 'Ses02F_b', found none"),
        (
            "turns.csv",
            without("turn", "Ses02F_b_F000"),
            "expected all turns of Ses02F_b, found none called 'Ses02F_b_F000'",
        ),
        (
            "turns.csv",
            changed(4, speaker="F"),
            "turn 'Ses01F_a_M002': expected the words of M, found 'F', who is F elsewhere",
        ),
        ("turns.csv", [row | {"start": "now"} for row in rows()], "line 2: expected seconds as start, found 'now'"),
        (
            "turns.csv",
            [{k: v for k, v in row.items() if k != "turn"} for row in rows()],
            "expected a column turn with IEM",
        ),
        ("more_turn_ids.json", "{}", "expected one of more_turn_ids.json and turn_ids.json; leave out the other"),
        (
            "turn_ids.json",
            None,
            "acoustic.csv: needs the names of turns beside it, *turn_ids.json, as iemocap.pkl has none",
        ),
    ],
)
def test_what_does_not_fit_is_one_line(source, file, content, words):
    path = source / file
    if content is None:
        path.unlink()
    elif file.endswith(".csv"):
        write_table(path, content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(InputError) as caught:
        iemocap.read(source)
    assert words in str(caught.value) and str(source) in str(caught.value) and "\n" not in str(caught.value)


def test_a_table_of_all_turns_needs_the_names_of_the_labelled_ones(source):
    (source / "turn_ids.json").unlink()
    write_table(source / "turns.csv", rows())
    with pytest.raises(InputError, match=r"turns\.csv: needs the names of the labelled turns beside it"):
        iemocap.files(source)


def test_conversations_that_the_field_leaves_out_are_counted(source):
    more = {"conversation": "Ses04_x", "turn": "Ses04_x_F000", "speaker": "F", "text": "Hm."}
    write_table(source / "turns.csv", [*rows(), more])
    assert iemocap.read(source).notes[0].endswith("; conversations of no other file are left out: 1, such as Ses04_x")
