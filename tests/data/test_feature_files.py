"""The field's feature files: every published layout, joins to transcripts, and what does not fit."""

import csv
import json
import os
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dtrm_jax import safe_pickle
from dtrm_jax.conversation import ValueSpace
from dtrm_jax.data.readers import avec, feature_files, iemocap, meld
from dtrm_jax.errors import InputError
from tests import field_files
from tests.field_files import LAYERS

FOUR_LAYERS = dict.fromkeys(LAYERS, 11) | {"acoustic": 5, "visual": 3}
IEMOCAP = {"train": ["Ses01_b", "Ses01_a", "Ses02_a"], "test": ["Ses05_x"]}
WITH_DEV = {**IEMOCAP, "dev": ["Ses03_v"]}
MELD = {"train": [2, 10, 1040], "test": [1153, 1160]}
MELD_DEV = {"train": [2, 10], "dev": [1040], "test": [1153, 1160]}
ONE_HOT = [[int(i == j) for i in range(9)] for j in range(9)]


def made_iemocap(splits=IEMOCAP, **settings):
    return field_files.make(splits, **settings)


def made_meld(splits=MELD, **settings):
    return field_files.make(splits, classes=7, speakers=ONE_HOT[:3], **settings)


def assert_holds(dataset, made, features, names, ids=str):
    """Everything that was fabricated is there, and nothing else."""
    assert set(dataset.feature_sizes()) == set(features)
    conversations = {c.id: c for split in dataset.splits.values() for c in split}
    assert len(conversations) == len(made.labels)
    for id, labels in made.labels.items():
        one = conversations[ids(id)]
        assert [turn.label for turn in one.turns] == [names[label] for label in labels]
        assert [turn.text for turn in one.turns] == made.sentences[id]
        speakers = [str(s) if isinstance(s, str) else str(s.index(1)) for s in made.speakers[id]]
        assert [turn.speaker for turn in one.turns] == speakers
        for name in features:
            assert one.features[name].dtype == np.float32
            np.testing.assert_array_equal(one.features[name], np.stack(made.features[name][id]))


def ids_of(dataset):
    return {split: [c.id for c in conversations] for split, conversations in dataset.splits.items()}


def fails(reader, source) -> str:
    with pytest.raises(InputError) as caught:
        reader.read(source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_fabricated_files_are_real_python_2_pickles(tmp_path):
    path = field_files.iemocap_features(tmp_path / "x.pkl", made_iemocap())
    content = path.read_bytes()
    assert content[:2] == b"\x80\x02" and b"numpy.core.multiarray" in content and b"BINUNICODE" not in content
    ours = safe_pickle.load(path)
    theirs = pickle.loads(content, encoding="latin1")
    assert ours[1] == theirs[1] and ours[6:] == theirs[6:] and type(ours[7]) is set
    for id, vectors in theirs[3].items():
        np.testing.assert_array_equal(ours[3][id], vectors)


@pytest.mark.parametrize("name", ["IEMOCAP_features_raw.pkl", "any.pickle"])
def test_iemocap_features_alone(tmp_path, name):
    made = made_iemocap()
    path = field_files.iemocap_features(tmp_path / name, made)
    for source in (tmp_path, path):
        dataset = iemocap.read(source)
        assert dataset.name == "iemocap" and dataset.labels == iemocap.LABELS
        assert ids_of(dataset) == {"train": ["Ses01_a", "Ses01_b", "Ses02_a"], "test": ["Ses05_x"]}
        assert_holds(dataset, made, ("utterance", "acoustic", "visual"), iemocap.LABELS.names)
        assert dataset.feature_sizes() == {"utterance": 7, "acoustic": 5, "visual": 3}


@pytest.mark.parametrize("kind", [list, tuple, set, frozenset, np.array])
def test_the_ids_of_a_split_may_be_any_collection(tmp_path, kind):
    made = made_iemocap()
    content = list(safe_pickle.load(field_files.iemocap_features(tmp_path / "x.pkl", made)))
    content[7:] = [kind(made.splits["train"]), kind(made.splits["test"])]
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(content, 4))
    assert ids_of(iemocap.read(tmp_path)) == {"train": ["Ses01_a", "Ses01_b", "Ses02_a"], "test": ["Ses05_x"]}


@pytest.mark.parametrize("trailing", [False, True])
def test_roberta_acoustic_and_visual_features(tmp_path, trailing):
    made = made_iemocap(sizes=FOUR_LAYERS)
    field_files.sdt_features(tmp_path / "iemocap_multimodal_features.pkl", made, trailing)
    assert_holds(iemocap.read(tmp_path), made, FOUR_LAYERS, iemocap.LABELS.names)


def test_cosmic_transcripts_and_roberta_features(tmp_path):
    made = made_iemocap(WITH_DEV, sizes=dict.fromkeys(LAYERS, 11))
    field_files.cosmic(tmp_path / "iemocap_features_roberta.pkl", made, roberta=True)
    alone = iemocap.read(tmp_path)
    assert_holds(alone, made, LAYERS, iemocap.LABELS.names)
    assert ids_of(alone)["dev"] == ["Ses03_v"]
    field_files.cosmic(tmp_path / "iemocap.pkl", made)
    both = iemocap.read(tmp_path)
    assert_holds(both, made, LAYERS, iemocap.LABELS.names)
    assert both == alone


def test_features_are_joined_to_the_transcripts_and_their_split(tmp_path):
    made = made_iemocap(WITH_DEV)
    merged = {"train": WITH_DEV["train"] + WITH_DEV["dev"], "test": WITH_DEV["test"]}
    field_files.cosmic(tmp_path / "iemocap.pkl", made)
    # The feature file has other texts and merges dev into train: both are the transcripts' business.
    other = made_iemocap(merged)
    same = other.__class__(
        merged, made.speakers, made.labels, {id: ["?"] * len(x) for id, x in made.labels.items()}, made.features
    )
    field_files.iemocap_features(tmp_path / "features.pkl", same)
    dataset = iemocap.read(tmp_path)
    assert_holds(dataset, made, ("utterance", "acoustic", "visual"), iemocap.LABELS.names)
    assert ids_of(dataset)["dev"] == ["Ses03_v"]


def test_a_file_of_text_vectors_alone_takes_precedence_for_text(tmp_path):
    made = made_iemocap(WITH_DEV)
    roberta = made_iemocap(WITH_DEV, sizes=dict.fromkeys(LAYERS, 11))
    assert roberta.labels == made.labels
    merged = {"train": WITH_DEV["train"] + WITH_DEV["dev"], "test": WITH_DEV["test"]}
    field_files.iemocap_features(tmp_path / "a.pkl", made.__class__(merged, *list(vars(made).values())[1:]))
    field_files.cosmic(tmp_path / "b.pkl", roberta, roberta=True)
    dataset = iemocap.read(tmp_path)
    assert dataset.feature_sizes() == {**dict.fromkeys(LAYERS, 11), "acoustic": 5, "visual": 3}
    for one in dataset.splits["train"]:
        np.testing.assert_array_equal(one.features["utterance"], np.stack(roberta.features["utterance"][one.id]))
        np.testing.assert_array_equal(one.features["visual"], np.stack(made.features["visual"][one.id]))
    field_files.iemocap_features(tmp_path / "c.pkl", made.__class__(merged, *list(vars(made).values())[1:]))
    assert "c.pkl: utterance features are in" in fails(iemocap, tmp_path)


@pytest.mark.parametrize(
    ("write", "sizes"),
    [
        (field_files.meld_features_raw, {"utterance": 7, "acoustic": 5}),
        (field_files.meld_features_raw1, {"utterance": 7, "acoustic": 5, "visual": 3}),
        (lambda path, made: field_files.sdt_features(path, made, trailing=True), FOUR_LAYERS),
    ],
)
def test_meld_features_alone_separate_the_dev_split(tmp_path, write, sizes):
    made = made_meld(sizes=sizes)
    dataset = meld.read(write(tmp_path / "x.pkl", made))
    assert dataset.name == "meld" and dataset.labels == meld.LABELS
    assert ids_of(dataset) == {"train": ["2", "10"], "dev": ["1040"], "test": ["1153", "1160"]}
    assert_holds(dataset, made, sizes, meld.LABELS.names)


def test_ids_that_are_not_melds_own_stay_in_train(tmp_path):
    made = made_meld({"train": ["x2", "x10", "x9"], "test": ["y"]})
    dataset = meld.read(field_files.meld_features_raw1(tmp_path / "x.pkl", made))
    assert ids_of(dataset) == {"train": ["x10", "x2", "x9"], "test": ["y"]}


@pytest.mark.parametrize("roberta", [False, True])
def test_cosmics_meld_with_its_control_characters_repaired(tmp_path, roberta):
    made = made_meld(MELD_DEV, sizes=dict.fromkeys(LAYERS, 11))
    made.sentences[2][0] = "I\x92m \x93here\x94"
    dataset = meld.read(field_files.cosmic(tmp_path / "meld.pkl", made, meld=True, roberta=roberta))
    assert ids_of(dataset) == {"train": ["2", "10"], "dev": ["1040"], "test": ["1153", "1160"]}
    assert dataset.splits["train"][0].turns[0].text == "I’m “here”"
    assert dataset.feature_sizes() == (dict.fromkeys(LAYERS, 11) if roberta else {})


HEADER = ["Utterance", "Speaker", "Emotion", "Dialogue_ID", "Utterance_ID"]
OFFSETS = {"train": 0, "dev": 1039, "test": 1153}


def write_csvs(folder, made):
    """The CSV files of a fabricated corpus; utterance ids have gaps: 0, 2, 4, ..."""
    for split, ids in made.splits.items():
        rows = [
            [text, "Ann", meld.LABELS.names[label], id - OFFSETS[split], 2 * turn]
            for id in ids
            for turn, (text, label) in enumerate(zip(made.sentences[id], made.labels[id], strict=True))
        ]
        with (folder / f"{split}_sent_emo.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([HEADER, *rows])


def test_features_are_joined_to_the_csv_files_by_their_number_over_all_splits(tmp_path):
    made = made_meld(MELD_DEV)
    write_csvs(tmp_path, made)
    merged = made.__class__(MELD, *list(vars(made).values())[1:])
    field_files.meld_features_raw1(tmp_path / "MELD_features_raw1.pkl", merged)
    dataset = meld.read(tmp_path)
    assert ids_of(dataset) == {"train": ["2", "10"], "dev": ["1"], "test": ["0", "7"]}
    for split, ids in MELD_DEV.items():
        for one, id in zip(dataset.splits[split], ids, strict=True):
            assert {turn.speaker for turn in one.turns} == {"Ann"}
            for name in ("utterance", "acoustic", "visual"):
                np.testing.assert_array_equal(one.features[name], np.stack(made.features[name][id]))


def vectors_by_utterance(made, size=13, left_out=()):
    random = np.random.default_rng(5)
    return {
        split: {
            f"{id - OFFSETS[split]}_{2 * turn}": random.normal(size=size)
            for id in ids
            for turn in range(len(made.labels[id]))
            if (split, id, turn) not in left_out
        }
        for split, ids in made.splits.items()
    }


def test_the_authors_audio_is_joined_by_utterance_and_may_be_absent(tmp_path):
    made = made_meld(MELD_DEV)
    write_csvs(tmp_path, made)
    vectors = vectors_by_utterance(made, left_out={("test", 1160, 0), ("dev", 1040, 0)})
    field_files.meld_vectors(tmp_path / "audio_embeddings_feature_selection_emotion.pkl", vectors)
    field_files.meld_vectors(tmp_path / "text_glove_average_emotion.pkl", vectors_by_utterance(made, size=9))
    dataset = meld.read(tmp_path)
    assert dataset.feature_sizes() == {"acoustic": 13, "utterance": 9}
    absent = 0
    for split, conversations in dataset.splits.items():
        for one in conversations:
            for turn, row in zip(one.turns, one.features["acoustic"], strict=True):
                expected = vectors[split].get(f"{one.id}_{turn.id}", np.full(13, np.nan))
                np.testing.assert_array_equal(row, np.float32(expected))
                absent += np.isnan(row).all()
    assert absent == 2


def clips(part, form):
    """Returns the vectors of a split under other names, and empties it."""
    named = {form.format(key): vector for key, vector in part.items()}
    part.clear()
    return named


def test_clips_that_no_turn_has_are_counted_and_left_out(tmp_path):
    made = made_meld(MELD_DEV)
    write_csvs(tmp_path, made)
    vectors = vectors_by_utterance(made, left_out={("test", 1160, 0), ("dev", 1040, 0)})
    vectors["dev"] |= {"66_9": np.ones(13), "110_7": np.ones(13), "final_videos": np.ones(13)}
    field_files.meld_vectors(tmp_path / "audio.pkl", vectors)
    turns = sum(map(len, made.labels.values()))
    assert meld.read(tmp_path).notes == (
        f"audio.pkl: 13 acoustic features of {turns - 2} of {turns} turns (missing: 1 of dev, 1 of test); 3 clips are "
        "of no turn and left out, such as final_videos",
    )


FORMS = ("dia{}_utt{}", "{}_{}", "dia{}_utt{}.wav", "DIA{}_UTT{}.MP4")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("split_said", ["", "{}_", "{}/", "{}_splits/"])
def test_an_utterance_may_be_called_in_many_ways(tmp_path, form, split_said):
    made = made_meld(MELD_DEV)
    write_csvs(tmp_path, made)
    vectors = vectors_by_utterance(made)
    field_files.meld_vectors(tmp_path / "audio.pkl", vectors)
    expected = meld.read(tmp_path)
    named = {
        split: {split_said.format(split) + form.format(*key.split("_")): vector for key, vector in part.items()}
        for split, part in vectors.items()
    }
    whole = {key: vector for part in named.values() for key, vector in part.items()} if split_said else named
    field_files.dump(tmp_path / "audio.pkl", whole)
    found = meld.read(tmp_path)
    assert found == expected and features_of(found) == features_of(expected)


def features_of(dataset):
    """Returns the features of every conversation as lists."""
    return [
        {name: matrix.tolist() for name, matrix in one.features.items()}
        for split in dataset.splits.values()
        for one in split
    ]


def test_dialogues_of_no_split_are_refused(tmp_path):
    write_csvs(tmp_path, made_meld(MELD_DEV))
    field_files.dump(tmp_path / "audio.pkl", {"dia2_utt0": np.ones(3), "dia2_utt2": np.ones(3)})
    assert "audio.pkl, utterance dia2_utt0: expected the split too, as in train_dia0_utt0" in fails(meld, tmp_path)


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "json", "parquet", "npz", "npz by clip"])
def test_a_table_of_any_kind_is_joined_by_utterance(tmp_path, kind):
    made = made_meld(MELD_DEV)
    write_csvs(tmp_path, made)
    vectors = vectors_by_utterance(made, size=3)
    field_files.meld_vectors(tmp_path / "audio.pkl", vectors)
    expected = meld.read(tmp_path)
    (tmp_path / "audio.pkl").unlink()
    named = {f"{split}_{key}": x.tolist() for split, part in vectors.items() for key, x in part.items()}
    named["train_99_0"] = [1.0, 2.0, 3.0]
    write_vectors(tmp_path / f"acoustic.{kind.split()[0]}", named, by_clip=kind.endswith("clip"))
    found = meld.read(tmp_path)
    assert features_of(found) == features_of(expected)
    (note,) = found.notes
    assert "; 1 clip is of no turn and left out, such as train_99_0" in note


def test_what_a_table_says_of_a_turn_is_no_feature_of_it(tmp_path):
    made = made_meld(MELD_DEV)
    write_csvs(tmp_path, made)
    named = {
        f"{split}_{key}": x.tolist()
        for split, part in vectors_by_utterance(made, size=2).items()
        for key, x in part.items()
    }
    header = ",id,Utterance_ID,Season,emotion_id,f0,my label,Unnamed: 7,f1\n"
    rows = [f"{row},{clip},3,8,4,{x},1,{row},{y}\n" for row, (clip, (x, y)) in enumerate(named.items())]
    (tmp_path / "acoustic.csv").write_text(header + "".join(rows))
    found = meld.read(tmp_path)
    assert found.feature_sizes() == {"acoustic": 2}
    left = "'', 'Utterance_ID', 'Season', 'emotion_id', 'my label', 'Unnamed: 7'"
    assert found.notes[0].startswith("acoustic.csv: 2 acoustic features of ")
    assert found.notes[0].endswith(f"; no features by their names: {left}")


def write_vectors(path, named, by_clip=False):
    """Writes vectors by the names of their clips into a file of the kind that its ending says."""
    ids, rows = list(named), list(named.values())
    if path.suffix == ".npz":
        return np.savez(path, **(named if by_clip else {"id": np.array(ids), "acoustic": np.array(rows)}))
    if path.suffix == ".parquet":
        return pq.write_table(pa.table({"text": ["x"] * len(ids), "id": ids, "acoustic": rows}), path)
    if path.suffix in (".json", ".jsonl"):
        objects = [{"id": id, "acoustic": row} for id, row in named.items()]
        lines = "\n".join(map(json.dumps, objects)) if path.suffix == ".jsonl" else json.dumps(objects)
        return path.write_text(lines)
    comma = "\t" if path.suffix == ".tsv" else ";"
    lines = [["file", "start", "end", "f1", "f2", "f3", "label"]]
    lines += [[id, "0 days", "0 days", *map(repr, row), "joy"] for id, row in named.items()]
    return path.write_text("\n".join(map(comma.join, lines)) + "\n")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("id,a,b\ntrain_2_0,1,2\ntrain_2_2,1,\n", "utterance train_2_2: expected 2 finite numbers, found others"),
        ("id,a\ntrain_2_0,1\ntrain_2_2,loud\n", "line 3: expected features, numbers alone, found 'loud' in column a"),
        ("id,a\ntrain_2_0,1\n,2\n", "line 3: expected the name of a clip in column id, found nothing"),
        (
            "id,split,a\n2_0,train,1\n2_2,tune,2\n",
            "line 3: expected one of train, dev, val, valid, validation, test as",
        ),
        ("id,a,a\ntrain_2_0,1,2\n", "expected each column once, missing or repeated: a"),
        ("id,label\ntrain_2_0,1\n", "expected columns of features besides id, label, found none"),
        ("id,a\n", "expected vectors, found none"),
    ],
)
def test_a_table_by_utterance_that_is_malformed_is_named(tmp_path, content, words):
    write_csvs(tmp_path, made_meld(MELD_DEV))
    (tmp_path / "acoustic.csv").write_text(content)
    line = fails(meld, tmp_path)
    assert words in line and str(tmp_path / "acoustic.csv") in line


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        (
            {"id": np.array(["train_2_0"]), "a": np.ones((2, 3))},
            "expected one array with a row for each of 1 id, found a",
        ),
        ({"id": np.array(["train_2_0"])}, "expected one array with a row for each of 1 id, found none"),
        ({"id": np.array([b"x"])}, "id: expected names of clips or numbers, found"),
        ({"train_2_0": np.ones((2, 3))}, "utterance train_2_0: expected a vector of numbers, found ndarray"),
    ],
)
def test_an_npz_file_by_utterance_that_is_malformed_is_named(tmp_path, arrays, words):
    write_csvs(tmp_path, made_meld(MELD_DEV))
    np.savez(tmp_path / "acoustic.npz", **arrays)
    line = fails(meld, tmp_path)
    assert words in line and str(tmp_path / "acoustic.npz") in line


@pytest.mark.parametrize(
    ("name", "damage", "words"),
    [
        ("embeddings.pkl", None, "expected a name that begins with acoustic or audio or voice or visual or video or f"),
        (
            "audio.pkl",
            lambda v: v["dev"].update({"dia1_utt0": np.ones(13)}),
            "utterance dia1_utt0: expected each turn once, found '1_0' too",
        ),
        (
            "audio.pkl",
            lambda v: v["dev"].update({"test_dia1_utt4": np.ones(13)}),
            "utterance test_dia1_utt4: expected a clip of dev, among which it is, found one of test",
        ),
        (
            "audio.pkl",
            lambda v: [part.update(clips(part, "99{}")) for part in v.values()],
            "expected the names of turns, found others, such as '992_0'",
        ),
        (
            "audio.pkl",
            lambda v: v["test"].update({"0_0": np.ones(4)}),
            "test utterance 0_0: expected 13 numbers, found 4",
        ),
        ("audio.pkl", lambda v: v["train"]["2_0"].fill(np.inf), "train utterance 2_0: expected 13 finite"),
        ("audio.pkl", lambda v: [part.clear() for part in v.values()], "expected vectors, found none"),
    ],
)
def test_vectors_by_utterance_that_do_not_fit(tmp_path, name, damage, words):
    made = made_meld(MELD_DEV)
    write_csvs(tmp_path, made)
    vectors = vectors_by_utterance(made)
    if damage:
        damage(vectors)
    field_files.meld_vectors(tmp_path / name, vectors)
    assert words in fails(meld, tmp_path)


def test_vectors_by_utterance_need_the_csv_files(tmp_path):
    field_files.meld_vectors(tmp_path / "audio.pkl", vectors_by_utterance(made_meld(MELD_DEV)))
    assert "expected train_sent_emo.csv, dev_sent_emo.csv, test_sent_emo.csv beside" in fails(meld, tmp_path)
    field_files.meld_vectors(tmp_path / "audio2.pkl", vectors_by_utterance(made_meld(MELD_DEV)))
    write_csvs(tmp_path, made_meld(MELD_DEV))
    assert "another file of the folder has acoustic features too" in fails(meld, tmp_path)


def change(field, id, value):
    """A change of one conversation's entry of one field of the 9-tuple."""
    return lambda content: content[field].__setitem__(id, value(content[field][id]) if callable(value) else value)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (change(4, "Ses01_a", lambda x: x[:-1]), "'Ses01_a': expected one value of each for every turn, found "),
        (
            change(5, "Ses01_a", lambda x: [*x[:-1], np.ones(4, np.float32)]),
            "expected visual to be a vector of 3",
        ),
        (change(5, "Ses02_a", lambda x: [np.ones(4)] * len(x)), "'Ses02_a': expected 3 visual features, found 4"),
        (
            change(3, "Ses01_a", lambda x: [x[0] * np.nan, *x[1:]]),
            "turn 0: utterance features are not finite",
        ),
        (change(3, "Ses01_a", lambda x: [x[0] * 1e38 * 1e38, *x[1:]]), "turn 0: utterance features are not finite"),
        (change(2, "Ses01_a", lambda x: [6, *x[1:]]), "'Ses01_a', turn 0: expected a label from 0 to 5, found 6"),
        (change(2, "Ses01_a", lambda x: [float("nan"), *x[1:]]), "turn 0: expected a finite number as label"),
        (change(6, "Ses01_a", lambda x: ["", *x[1:]]), "'Ses01_a', turn 0: sentence is empty"),
        (change(1, "Ses01_a", lambda x: [[1, 1, 0], *x[1:]]), "turn 0: speaker is empty or neither a name nor"),
        (lambda content: content[8].append("Ses09"), "'Ses09': expected speakers to be a list, found nothing"),
        (lambda content: content[8].append("Ses01_a"), "'Ses01_a': listed in train and again in test"),
        (lambda content: content[8].clear(), "expected test to hold at least one conversation id"),
        (lambda content: content[4].pop("Ses05_x"), "'Ses05_x': expected acoustic to be a list, found nothing"),
        (
            lambda content: content.__setitem__(slice(8, None), [5, "?"]),
            "test, field 9 of 10 as in features of MELD with faces: expected a list of conversation ids, found int",
        ),
        (lambda content: content.pop(), "found a tuple of 8"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
def test_what_does_not_fit_is_named(tmp_path, damage, words):
    made = made_iemocap(turns=lambda random: 5)
    path = field_files.iemocap_features(tmp_path / "x.pkl", made)
    content = list(pickle.loads(path.read_bytes(), encoding="latin1"))
    damage(content)
    field_files.dump(path, tuple(content))
    message = fails(iemocap, path)
    assert words in message and message.startswith(f"{path}")


def test_files_that_disagree_are_named(tmp_path):
    made = made_iemocap(WITH_DEV)
    merged = {"train": WITH_DEV["train"] + WITH_DEV["dev"], "test": WITH_DEV["test"]}
    field_files.cosmic(tmp_path / "iemocap.pkl", made)

    def feature_file(**changes):
        values = {**vars(made), "splits": merged, **changes}
        return field_files.iemocap_features(tmp_path / "f.pkl", made.__class__(**values))

    labels = {**made.labels, "Ses01_a": [(label + 1) % 6 for label in made.labels["Ses01_a"]]}
    feature_file(labels=labels)
    assert "f.pkl, conversation 'Ses01_a', turn 0: expected the label" in fails(iemocap, tmp_path)
    feature_file(splits={"train": WITH_DEV["train"], "test": WITH_DEV["test"]})
    assert "f.pkl: expected a conversation 'Ses03_v', found none" in fails(iemocap, tmp_path)
    shorter = made_iemocap(merged, turns=lambda random: 9)
    field_files.iemocap_features(tmp_path / "f.pkl", shorter)
    assert "turns, found 9" in fails(iemocap, tmp_path)


# AVEC


def made_avec(attribute, **settings):
    speakers = ("user", "operator")
    made = field_files.make({"train": ["2", "10", "x"], "test": ["t"]}, classes=0, speakers=speakers, **settings)
    return made.__class__(
        **{**vars(made), "labels": {id: [x / attribute for x in row] for id, row in made.labels.items()}}
    )


def test_avec_joins_its_attributes(tmp_path):
    for attribute in (4, 1):
        field_files.iemocap_features(tmp_path / f"AVEC_features_{attribute}.pkl", made_avec(attribute))
    dataset = avec.read(tmp_path)
    assert dataset.name == "avec" and dataset.labels == ValueSpace(("valence", "power"))
    assert ids_of(dataset) == {"train": ["2", "10", "x"], "test": ["t"]}
    made = made_avec(1)
    for split in dataset.splits.values():
        for one in split:
            assert [turn.values for turn in one.turns] == [(x, x / 4) for x in made.labels[one.id]]
            assert [turn.speaker for turn in one.turns] == made.speakers[one.id]
            np.testing.assert_array_equal(one.features["visual"], np.stack(made.features["visual"][one.id]))
    assert avec.read(tmp_path / "AVEC_features_4.pkl").labels == ValueSpace(("power",))
    assert avec.VALUES.names == ("valence", "arousal", "expectancy", "power")


def test_an_utterance_of_avec_may_be_empty_or_a_list_of_words(tmp_path):
    made = made_avec(1, turns=lambda random: 3)
    made.sentences["2"] = ["", ["hello", "there"], []]
    field_files.iemocap_features(tmp_path / "AVEC_features_1.pkl", made)
    assert [turn.text for turn in avec.read(tmp_path).splits["train"][0].turns] == ["", "hello there", ""]


def test_avec_files_that_do_not_fit(tmp_path):
    assert "expected one or more of AVEC_features_1.pkl to AVEC_features_4.pkl, found none" in fails(avec, tmp_path)
    first = field_files.iemocap_features(tmp_path / "AVEC_features_1.pkl", made_avec(1))
    field_files.iemocap_features(tmp_path / "AVEC_features_2.pkl", made_avec(2, seed=1))
    assert "AVEC_features_2.pkl, conversation '2': expected the turns and speakers of AVEC_features_1.pkl" in fails(
        avec, tmp_path
    )
    other = made_avec(2)
    swapped = other.__class__(**{**vars(other), "splits": {"train": ["2", "10", "t"], "test": ["x"]}})
    field_files.iemocap_features(tmp_path / "AVEC_features_2.pkl", swapped)
    assert "AVEC_features_2.pkl: expected the conversations and splits of AVEC_features_1.pkl" in fails(avec, tmp_path)
    (tmp_path / "AVEC_features_2.pkl").rename(tmp_path / "other_1.pkl")
    assert "other_1.pkl: expected another emotion than AVEC_features_1.pkl has" in fails(avec, tmp_path)
    (tmp_path / "other_1.pkl").rename(tmp_path / "AVEC_features.pkl")
    assert "expected a name with one digit from 1 to 4" in fails(avec, tmp_path)
    assert avec.files(first) == (first,)


class Payload:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch '{self.marker}'",)


def deep(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("reader", [iemocap, meld, avec])
def test_hostile_files_are_refused_unexecuted(tmp_path, reader):
    marker, path = tmp_path / "marker", tmp_path / "AVEC_features_1.pkl"
    made = made_iemocap()
    content = list(pickle.loads(field_files.iemocap_features(path, made).read_bytes(), encoding="latin1"))
    for hostile, words in (
        (Payload(marker), "posix system"),
        (deep(40), "nested more than 32 deep"),
        (np.zeros(3).dtype.__class__, "global"),
        (2**100, "more than 64 bits"),
    ):
        path.write_bytes(pickle.dumps((*content[:6], {"Ses01_a": [hostile]}, *content[7:]), 2))
        assert words in fails(reader, path)
    path.write_bytes(pickle.dumps(content, 2)[:200])
    assert "not a pickle, or damaged" in fails(reader, path)
    assert not marker.exists()


def test_only_pickles_of_the_folder_itself_are_candidates(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("b.pkl", "a.p", "c.txt", "sub/d.pkl"):
        (tmp_path / name).write_bytes(b"")
    assert [path.name for path in feature_files.candidates(tmp_path)] == ["a.p", "b.pkl"]
    assert feature_files.candidates(tmp_path / "nowhere") == ()
