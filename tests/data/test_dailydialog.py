"""DailyDialog's text files, and a pickle in their place."""

import pytest

from dtrm_jax.conversation import Conversation, Turn
from dtrm_jax.data.readers import dailydialog
from dtrm_jax.errors import InputError
from tests import field_files

LINE, EMOTIONS = "Hi , Jim . __eou__ Hello ! __eou__ Oh no … __eou__", "0 4 5 "


def write(folder, nested=False):
    """Each split has another number of conversations, so that mixing them up shows."""
    for split, count in {"train": 3, "validation": 2, "test": 1}.items():
        inner = folder / split / split if nested else folder / split
        inner.mkdir(parents=True)
        (inner / f"dialogues_{split}.txt").write_text(f"{LINE}\n" * count, encoding="utf-8")
        (inner / f"dialogues_emotion_{split}.txt").write_text(f"{EMOTIONS}\n" * count)
        (inner / f"dialogues_act_{split}.txt").write_text("1 2 1 \n" * count)
    return folder


def fails(folder):
    with pytest.raises(InputError) as caught:
        dailydialog.read(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(f"{folder}", "FOLDER")


@pytest.mark.parametrize("nested", [False, True])
def test_reads_the_published_layout(tmp_path, nested):
    dataset = dailydialog.read(write(tmp_path, nested))
    assert {split: len(ones) for split, ones in dataset.splits.items()} == {"train": 3, "dev": 2, "test": 1}
    assert dataset.labels == dailydialog.LABELS
    assert dataset.splits["train"][2] == Conversation(
        "3",
        (
            Turn("1", "A", "Hi , Jim .", label="neutral"),
            Turn("2", "B", "Hello !", label="happiness"),
            Turn("3", "A", "Oh no …", label="sadness"),
        ),
    )


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("emotion_", "0 4\n", "dialogues_emotion_test.txt, line 1: expected 3 emotions from 0 to 6, found '0 4'"),
        ("emotion_", "0 4 7\n", "dialogues_emotion_test.txt, line 1: expected 3 emotions from 0 to 6, found '0 4 7'"),
        ("emotion_", "0 4 5\n0\n", "dialogues_emotion_test.txt: expected 1 lines, as in dialogues_test.txt, found 2"),
        ("", "Hi . __eou__ Oh", "dialogues_test.txt, line 1: expected turns, each with a text and ended by __eou__"),
        ("", "Hi . __eou__ __eou__ Oh __eou__", "dialogues_test.txt, line 1: expected turns, each with a text"),
        ("", "", "dialogues_test.txt, line 1: expected turns"),
    ],
)
def test_a_bad_line_is_named(tmp_path, kind, text, message):
    write(tmp_path)
    (tmp_path / "test" / f"dialogues_{kind}test.txt").write_text(text)
    assert f"FOLDER/test/{message}" in fails(tmp_path)


def test_a_missing_file_is_named(tmp_path):
    (write(tmp_path) / "validation" / "dialogues_emotion_validation.txt").unlink()
    assert fails(tmp_path).endswith("FOLDER/validation/dialogues_emotion_validation.txt not found")


def test_a_pickle_in_cosmics_layout_is_read_too(tmp_path):
    splits = {"train": ["1", "2", "3"], "dev": ["4"], "test": ["5", "6"]}
    made = field_files.make(splits, classes=7, sizes=dict.fromkeys(field_files.LAYERS, 4), speakers=("0", "1"))
    field_files.cosmic(tmp_path / "dailydialog_features_roberta.pkl", made, roberta=True)
    dataset = dailydialog.read(tmp_path)
    assert {split: [c.id for c in ones] for split, ones in dataset.splits.items()} == splits
    turns = dataset.splits["dev"][0].turns
    assert [dailydialog.LABELS.index(turn.label) for turn in turns] == made.labels["4"]
    assert [turn.speaker for turn in turns] == made.speakers["4"]
    assert dataset.feature_sizes() == dict.fromkeys(field_files.LAYERS, 4)
