import dataclasses
import json
import logging
import os
import pathlib
import pickle
import signal
import subprocess
import sys
import textwrap
import types

import numpy as np
import pytest

from dtrm_jax.config import DataConfig, PlantedConfig
from dtrm_jax.conversation import Conversation, Dataset, LabelSpace, Turn, ValueSpace
from dtrm_jax.data import corpus, download, readers
from dtrm_jax.data import prepared as prepared_lib
from dtrm_jax.data.readers import iemocap, meld
from dtrm_jax.errors import InputError
from dtrm_jax.planted import generate
from dtrm_jax.tasks import TASKS, task_of
from tests import field_files
from tests.tasks.test_third_task import Ordinal, Scale

ROOT = pathlib.Path(__file__).parents[2]
HEADER = "Utterance,Speaker,Emotion,Dialogue_ID,Utterance_ID\n"


def turns(count: int) -> str:
    return HEADER + "".join(f"Say {n}.,Speaker {n % 2},joy,{n // 3},{n}\n" for n in range(count))


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for variable in ("DTRM_MELD_SOURCE", "DTRM_IEMOCAP_SOURCE", "DTRM_CACHE"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    for name, count in (("train", 7), ("dev", 4), ("test", 2)):
        (folder / f"{name}_sent_emo.csv").write_text(turns(count))
    return folder


@pytest.fixture
def config(tmp_path, source):
    return DataConfig(name="meld", source=str(source), cache=str(tmp_path / "cache"))


@pytest.fixture
def reads(monkeypatch):
    """The folders that MELD's reader is asked to read."""
    seen, read = [], meld.read
    monkeypatch.setattr(meld, "read", lambda folder: seen.append(folder) or read(folder))
    return seen


def prepared(config) -> list[pathlib.Path]:
    return sorted(path.parent for path in pathlib.Path(config.cache).rglob("dataset_info.json"))


def fails(config) -> str:
    with pytest.raises(InputError) as caught:
        corpus.load(config)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_reads_once_and_returns_what_the_reader_gave(config, source, reads):
    first = corpus.load(config)
    second = corpus.load(config)
    assert reads == [source]
    assert first == second == meld.read(source)
    assert list(second.splits) == ["train", "dev", "test"]
    (records,) = prepared(config)
    assert records.parts[-4] == "meld" and len(records.parts[-3]) == 16
    assert len(list(records.glob("*.array_record-*"))) == 3


def test_everything_a_conversation_can_hold_comes_back(tmp_path):
    labels = LabelSpace(("zufrieden – ganz", "Ärger", "neutral"))
    train = tuple(
        Conversation(
            f"Konversation {n}’",
            tuple(
                Turn(f"t{i}", ("Zoë", "Joey/Drake", "")[i % 3], text, label=(None, *labels.names)[(n + i) % 4])
                for i, text in enumerate(["", "two\nlines\t\0", "naïve “’” \U0001f600", "x" * 5000][: n % 4 + 1])
            ),
        )
        for n in range(23)
    )
    dataset = Dataset("any name", labels, {"test": train[:5], "dev": (), "train": train})
    records = prepared_lib.records_in(tmp_path / "fingerprint")
    prepared_lib.write(dataset, records)
    result = prepared_lib.read(records)
    assert result == dataset
    assert list(result.splits) == ["test", "dev", "train"]
    kinds = {type(value) for turn in result.splits["train"][3].turns for value in (turn.id, turn.speaker, turn.text)}
    assert kinds == {str}


def test_features_and_real_values_come_back(tmp_path):
    random = np.random.default_rng(0)

    def made(number):
        values = [(0.5, None), (None, None), (-(2.0**-60), 3.25)][: number % 3 + 1]
        turns = tuple(Turn(str(i), "a", "", values=row) for i, row in enumerate(values))
        matrices = {name: random.normal(size=(len(turns), size)) for name, size in (("visual", 7), ("acoustic", 4))}
        features = {name: matrix.astype(np.float32) for name, matrix in matrices.items()}
        features["acoustic"][0] = np.nan
        return Conversation(f"c{number}", turns, features)

    dataset = Dataset("x", ValueSpace(("calm", "loud")), {"train": tuple(map(made, range(5))), "test": (made(5),)})
    records = prepared_lib.records_in(tmp_path / "fingerprint")
    prepared_lib.write(dataset, records)
    result = prepared_lib.read(records)
    assert result == dataset and result.feature_sizes() == {"visual": 7, "acoustic": 4}
    for split, conversations in dataset.splits.items():
        for one, other in zip(result.splits[split], conversations, strict=True):
            for name in ("visual", "acoustic"):
                assert one.features[name].dtype == np.float32
                np.testing.assert_array_equal(one.features[name], other.features[name])


def test_iemocap_is_prepared_from_folder_or_file(tmp_path):
    content = [{"a": ["M"], "b": ["F"], "c": ["F"]}, {"a": [0], "b": [1], "c": [5]}]
    content += [{"a": ["A."], "b": ["B."], "c": ["C."]}, ["a"], ["b"], ["c"]]
    path = tmp_path / "iemocap.pkl"
    path.write_bytes(pickle.dumps(content))
    config = DataConfig(name="iemocap", source=str(tmp_path), cache=str(tmp_path / "cache"))
    assert corpus.load(config) == iemocap.read(tmp_path)
    config.source = str(path)
    assert corpus.load(config) == iemocap.read(tmp_path)
    assert len(prepared(config)) == 1


def test_planted_conversations_are_prepared_for_their_settings(tmp_path):
    config = DataConfig(name="planted", cache=str(tmp_path), planted=PlantedConfig(train=5, dev=3, test=2, seed=1))
    first = corpus.load(config)
    assert first == corpus.load(config) == generate(config.planted)
    assert len(prepared(config)) == 1
    config.planted.seed = 2
    second = corpus.load(config)
    assert second == generate(config.planted)
    assert second != first
    assert len(prepared(config)) == 2


def test_a_changed_file_or_reader_is_read_anew(config, source, reads, monkeypatch):
    corpus.load(config)
    (source / "dev_sent_emo.csv").write_text(turns(5))
    assert sum(map(len, corpus.load(config).splits["dev"])) == 5
    assert len(reads) == 2
    entry = readers.READERS["meld"]
    monkeypatch.setitem(readers.READERS, "meld", dataclasses.replace(entry, version=entry.version + 1))
    corpus.load(config)
    assert len(reads) == 3
    assert len(prepared(config)) == 3


def test_contents_moved_between_files_are_another_source(config, source):
    corpus.load(config)
    train, dev = source / "train_sent_emo.csv", source / "dev_sent_emo.csv"
    contents = train.read_bytes(), dev.read_bytes()
    dev.write_bytes(contents[0])
    train.write_bytes(contents[1])
    assert sum(map(len, corpus.load(config).splits["train"])) == 4


def test_source_and_cache_fall_back_to_the_environment(config, source, tmp_path, monkeypatch):
    expected = corpus.load(config)
    monkeypatch.setenv("DTRM_MELD_SOURCE", str(source))
    monkeypatch.setenv("DTRM_CACHE", str(tmp_path / "other"))
    assert corpus.load(DataConfig(name="meld")) == expected
    assert prepared(DataConfig(cache=str(tmp_path / "other")))
    monkeypatch.delenv("DTRM_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert corpus.load(DataConfig(name="meld")) == expected
    assert prepared(DataConfig(cache=str(tmp_path / "home/.cache/dtrm_jax")))
    # The config wins over the environment.
    monkeypatch.setenv("DTRM_MELD_SOURCE", str(tmp_path / "nowhere"))
    assert corpus.load(config) == expected


def test_meld_without_a_source_is_downloaded(config, source, tmp_path, monkeypatch):
    folders = []
    monkeypatch.setattr(download, "download_meld", lambda folder: folders.append(folder) or source)
    config.source = ""
    assert corpus.load(config) == meld.read(source)
    assert folders == [tmp_path / "cache" / "downloads" / "meld"]


def test_another_name_of_the_same_file_may_mean_other_data(tmp_path):
    """Of AVEC's files only the name says which emotion they hold."""
    made = field_files.make({"train": ["a"], "test": ["b"]}, classes=0)
    first = field_files.iemocap_features(tmp_path / "AVEC_features_1.pkl", made)
    config = DataConfig(name="avec", source=str(tmp_path), cache=str(tmp_path / "cache"))
    assert corpus.load(config).labels.names == ("valence",)
    first.rename(tmp_path / "AVEC_features_4.pkl")
    assert corpus.load(config).labels.names == ("power",)


def test_iemocap_without_a_source_says_what_is_needed(tmp_path):
    message = fails(DataConfig(name="iemocap", cache=str(tmp_path)))
    for words in ("iemocap.pkl", "conv-emotion", "--config.data.source=DIR", "$DTRM_IEMOCAP_SOURCE"):
        assert words in message


def test_an_unknown_corpus_is_refused_with_those_there_are(tmp_path):
    message = fails(DataConfig(name="friends", cache=str(tmp_path)))
    assert message == f"config.data.name: expected one of {', '.join(readers.READERS)}, found 'friends'"


def test_a_new_reader_is_a_module_and_a_line(tmp_path, monkeypatch):
    reader = types.ModuleType("reader_of_lines")
    dataset = Dataset("lines", LabelSpace(("x",)), {"train": (Conversation("c", (Turn("0", "a", "hi", label="x"),)),)})
    reader.files = lambda folder: (folder / "lines.txt",)
    reader.read = lambda folder: dataset
    monkeypatch.setitem(sys.modules, "reader_of_lines", reader)
    entry = readers.Files(version=1, module="reader_of_lines", needs="lines.txt is")
    monkeypatch.setitem(readers.READERS, "lines", entry)
    config = DataConfig(name="lines", cache=str(tmp_path / "cache"))
    assert fails(config).startswith("LINES: lines.txt is needed; name the folder with --config.data.source=DIR")
    config.source = str(tmp_path)
    assert "lines.txt: cannot be read" in fails(config)
    (tmp_path / "lines.txt").write_text("a: hi")
    assert corpus.load(config) == corpus.load(config) == dataset


def test_an_option_of_a_reader_that_no_setting_gives_it_is_refused():
    with pytest.raises(
        TypeError, match=r"my\.reader: neutral must stand in OPTIONS of dtrm_jax\.data\.readers\.reader"
    ):
        readers.Files(version=1, module="my.reader", needs="a file is", options=("neutral", "columns"))


def test_emotions_of_a_kind_of_ones_own_keep_their_kind(tmp_path, monkeypatch):
    monkeypatch.setitem(TASKS, "ordinal", Ordinal)
    conversation = Conversation("c", (Turn("0", "a", "hi", label="tense"), Turn("1", "b", "oh")))
    dataset = Dataset("x", Scale(("calm", "tense")), {"train": (conversation,)})
    records = prepared_lib.records_in(tmp_path / "fingerprint")
    prepared_lib.write(dataset, records)
    result = prepared_lib.read(records)
    assert result == dataset and isinstance(result.labels, Scale) and isinstance(task_of(result.labels), Ordinal)
    monkeypatch.delitem(TASKS, "ordinal")
    with pytest.raises(TypeError, match="no task of TASKS has Scale as its space"):
        prepared_lib.write(dataset, prepared_lib.records_in(tmp_path / "other"))


def test_prepared_data_that_says_labels_is_of_classes(config):
    dataset = corpus.load(config)
    (folder,) = prepared(config)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["facts"]["kind"] == "classes"
    (folder / "manifest.json").unlink()  # as it was written before
    prepared_lib._write_manifest(folder, manifest["facts"] | {"kind": "labels"})
    assert prepared_lib.read(folder) == dataset


def test_prepared_data_of_earlier_versions_is_found_again(config):
    """The fingerprint of these files, as it was when the reader got its present version."""
    found = readers.find("meld").locate(config, pathlib.Path(config.cache)).fingerprint
    assert found[:16] == "12d82c837e4c9052"


def test_a_missing_source_and_an_unusable_cache_are_named(config, tmp_path):
    config.source = str(tmp_path / "nowhere")
    assert "nowhere: train_sent_emo.csv" in fails(config)
    config.source = str(tmp_path / "source")
    config.cache = str(tmp_path / "file")
    (tmp_path / "file").write_text("no folder")
    assert "--config.data.cache=DIR" in fails(config)


def test_one_tidy_line_when_preparing_and_none_when_reading(config, capfd, caplog):
    caplog.set_level(logging.WARNING)
    corpus.load(config)
    captured = capfd.readouterr()
    assert captured.err == "preparing MELD: 6 conversations\n"
    assert captured.out == ""
    corpus.load(config)
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""
    assert not caplog.records


def run(code: str, config: DataConfig) -> subprocess.CompletedProcess:
    """Runs code in a process of its own, where ``config`` is the given one."""
    code = f"from dtrm_jax.config import DataConfig, PlantedConfig\nconfig = {config!r}\n" + textwrap.dedent(code)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=environment)


def test_tensorflow_is_never_imported_and_tfds_only_when_needed(config):
    done = run(
        """
        import json, sys
        from dtrm_jax.data import corpus
        late = ("tensorflow_datasets", "array_record", "dtrm_jax.data.readers.meld")
        before = sorted(name for name in late if name in sys.modules)
        for _ in range(2):
            corpus.load(config)
        print(json.dumps([before, "tensorflow" in sys.modules, "tensorflow_datasets" in sys.modules]))
        """,
        config,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[], False, True]


def test_a_killed_build_leaves_nothing_that_is_taken_as_complete(config, source):
    done = run(
        """
        import os, signal
        from dtrm_jax.data import corpus
        from tensorflow_datasets.core import dataset_info
        # At the last moment: all records are written, the description of the data set is not.
        dataset_info.DatasetInfo.write_to_directory = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
        corpus.load(config)
        """,
        config,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(list(pathlib.Path(config.cache).rglob("*.array_record-*"))) == 3
    assert not list(pathlib.Path(config.cache).rglob("1.0.0"))
    assert corpus.load(config) == meld.read(source)


def test_a_failed_build_leaves_nothing_that_is_taken_as_complete(config, source, monkeypatch):
    to_record = prepared_lib._to_record

    def fail_in_dev(conversation, labels):
        if conversation.turns[-1].id == "3":
            raise RuntimeError("interrupted")
        return to_record(conversation, labels)

    with monkeypatch.context() as context:
        context.setattr(prepared_lib, "_to_record", fail_in_dev)
        with pytest.raises(RuntimeError, match="interrupted"):
            corpus.load(config)
    assert not list(pathlib.Path(config.cache).rglob("*.array_record-*"))
    assert corpus.load(config) == meld.read(source)


def test_two_processes_may_prepare_the_same_data(config, source, monkeypatch):
    to_record, nested = prepared_lib._to_record, []

    def overtaken(conversation, labels):
        if not nested:
            nested.append(True)
            nested.append(corpus.load(config))  # another process starts later and is ready earlier
        return to_record(conversation, labels)

    monkeypatch.setattr(prepared_lib, "_to_record", overtaken)
    assert corpus.load(config) == nested[1] == meld.read(source)


@pytest.mark.parametrize("damage", ["no info", "no records", "short records", "bad features", "no manifest"])
def test_damaged_data_is_prepared_again_with_one_line(config, damage, capsys):
    first = corpus.load(config)
    (records,) = prepared(config)
    if damage == "no info":
        (records / "dataset_info.json").unlink()
    elif damage == "bad features":
        (records / "features.json").write_text("{")
    elif damage == "no manifest":
        (records / prepared_lib.MANIFEST).unlink()
    for path in records.glob("*train*.array_record-*"):
        if damage == "no records":
            path.unlink()
        elif damage == "short records":
            path.write_bytes(path.read_bytes()[:100])
    capsys.readouterr()
    assert corpus.load(config) == first
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and said[0].startswith(f"{records}: prepared data is damaged (")
    assert said[1] == "preparing MELD: 6 conversations"
    assert corpus.load(config) == first and not capsys.readouterr().err
    assert [path.name for path in records.parents[1].iterdir()] == ["conversations"]


def test_no_flipped_bit_of_prepared_data_goes_unnoticed(config):
    """Each byte of what gives the records their meaning, and some of the records."""
    first = corpus.load(config)
    (records,) = prepared(config)
    tried = 0
    for path in sorted(records.iterdir()):
        content = path.read_bytes()
        places = range(len(content)) if path.suffix == ".json" else range(0, len(content), 997)
        for place in places:
            path.write_bytes(content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :])
            tried += 1
            try:
                assert prepared_lib.read(records) == first, (path.name, place)
            except prepared_lib.Damaged as error:
                assert str(error).isprintable()
        path.write_bytes(content)
    assert tried > 1000 and corpus.load(config) == first


def test_damaged_data_that_cannot_be_replaced_is_one_line(config, monkeypatch):
    corpus.load(config)
    (records,) = prepared(config)
    (records / "features.json").write_text("{")

    def refused(*_):
        raise PermissionError(13, "Permission denied", str(records))

    monkeypatch.setattr(os, "rename", refused)
    message = fails(config)
    assert str(records) in message and "Permission denied" in message and "--config.data.cache=DIR" in message


def test_names_with_any_character_keep_their_places(tmp_path):
    names = ("a\nb", "joy", "c\rd", "e\u2028f", "", " x ", "\x85", "#", '"')
    turns = tuple(Turn(f"{n}\n{name}", name, name, label=name) for n, name in enumerate(names))
    notes = ("two\nlines",)
    dataset = Dataset("x\ny", LabelSpace(names), {"train": (Conversation("c\r", turns),)}, notes)
    records = prepared_lib.records_in(tmp_path / "fingerprint")
    prepared_lib.write(dataset, records)
    assert prepared_lib.read(records) == dataset
