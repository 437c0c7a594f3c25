"""Valid files with random changes: what is still read is what an independent, slow reading finds in the file.

Features, labels, speakers and texts can so not be moved against each other in silence.
"""

import copy
import csv
import io
import json
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dtrm_jax.data import corpus
from dtrm_jax.data.readers import avec, dailydialog, emorynlp, iemocap, meld, table
from dtrm_jax.prediction_files.reading import Reader
from dtrm_jax.prediction_files.sources import Source
from dtrm_jax.run_directory import RunDirectory
from tests import field_files
from tests.faults import outcome
from tests.trained import SIZES, multimodal, random_trained

# What people's files suffer: a byte changed, a piece lost, repeated, moved, or put in.
_PIECES = [
    b",",
    b'"',
    b"\n",
    b"\r\n",
    b"\t",
    b";",
    b"\x00",
    b"\xff",
    b"\xe2\x80\xa8",
    b"\\ud800",
    b"null",
    b"NaN",
    b"1e39",
]
_PIECES += [
    b"-18446744073709551615",
    b"[",
    b"]",
    b"{}",
    b"[]",
    b'""',
    b"true",
    b"9" * 5000,
    b"\x1b[31m",
    b"label",
    b"__eou__",
]
CHANGES = st.lists(
    st.tuples(st.integers(0, 4), st.floats(0, 0.999), st.integers(1, 30), st.sampled_from(_PIECES)),
    min_size=1,
    max_size=3,
)


def mutated(content: bytes, changes) -> bytes:
    for kind, where, length, piece in changes:
        start = int(where * len(content))
        end = start + length
        if kind == 0:
            content = content[:start] + bytes(255 - byte for byte in content[start : start + 1]) + content[start + 1 :]
        elif kind == 1:
            content = content[:start] + content[end:]
        elif kind == 2:
            content = content[:end] + content[start:]
        elif kind == 3:
            content = content[:start] + content[end : end + length] + content[start:end] + content[end + length :]
        else:
            content = content[:start] + piece + content[start:]
    return content


# Rows of an own table, each with something of its own in every cell.
ROWS = [
    {"conversation": f"c{n // 3}", "turn": f"{n}", "speaker": f"S{n}", "text": f"word{n} said", "label": "abc"[n % 3]}
    for n in range(9)
]
NAMES = tuple(ROWS[0])


def _csv(folder):
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, NAMES)
    writer.writeheader()
    writer.writerows(ROWS)
    return {"train.csv": buffer.getvalue().encode()}


def _with_vectors():
    return [row | {"acoustic": [float(n), *[0.5] * (SIZES["acoustic"] - 1)]} for n, row in enumerate(ROWS)]


def _jsonl(folder):
    return {"train.jsonl": "\n".join(map(json.dumps, _with_vectors())).encode()}


def _parquet(folder):
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(_with_vectors()), sink)
    return {"train.parquet": sink.getvalue()}


def _with_npz(folder):
    buffer = io.BytesIO()
    np.savez(buffer, acoustic=np.arange(18, dtype=np.float32).reshape(9, 2))
    return _csv(folder) | {"train.npz": buffer.getvalue()}


def _meld(folder):
    files = {}
    for split, count in (("train", 4), ("dev", 3), ("test", 2)):
        buffer = io.StringIO(newline="")
        writer = csv.writer(buffer)
        writer.writerow(["Sr No.", "Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID"])
        for n in range(count):
            emotion = meld.LABELS.names[n]
            writer.writerow([n, f'{split} {n}, "said"', f"S{n}", emotion, "neutral", n // 2, n])
        files[meld.FILES[split]] = buffer.getvalue().encode()
    return files


def _dailydialog(folder):
    files = {}
    for split, count in (("train", 3), ("validation", 2), ("test", 1)):
        texts = "".join(f"a{n} . __eou__ b{n} ! __eou__ c{n} __eou__\n" for n in range(count))
        files[f"{split}/dialogues_{split}.txt"] = texts.encode()
        files[f"{split}/dialogues_emotion_{split}.txt"] = "".join(f"{n} 4 5 \n" for n in range(count)).encode()
    return files


def _emorynlp(folder):
    files = {}
    for split in ("train", "dev", "test"):
        utterances = [
            {
                "utterance_id": f"s01_e01_c01_u{n:03}",
                "speakers": [f"S{n}"],
                "transcript": f"{split} {n}",
                "emotion": "Joyful",
            }
            for n in range(3)
        ]
        season = {"episodes": [{"scenes": [{"scene_id": "s01_e01_c01", "utterances": utterances}]}]}
        files[emorynlp.JSON[split]] = json.dumps(season).encode()
    return files


def slow_csv(path):
    """The rows as dicts; separated as the first line is, blank lines left out."""
    text = path.read_bytes().decode("utf-8-sig")
    first = next(line for line in text.split("\n") if line.strip())
    delimiter = max(",;\t", key=lambda mark: len(next(csv.reader([first], delimiter=mark), [])))
    header, *rows = [cells for cells in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if cells]
    return [dict(zip(header, cells, strict=True)) for cells in rows]


def slow_jsonl(path):
    return [json.loads(line) for line in path.read_text("utf-8-sig").split("\n") if line.strip()]


def slow_parquet(path):
    return pq.read_table(path).to_pylist()


def told(dataset):
    """Everything about the turns of a table's only split."""
    return [
        (
            one.id,
            turn.id,
            turn.speaker,
            turn.text,
            turn.label,
            *(matrix[place].tolist() for matrix in one.features.values()),
        )
        for one in dataset.splits["train"]
        for place, turn in enumerate(one.turns)
    ]


def plainly(rows):
    """The rows with names of columns in small letters, without spaces around, where no other column is so called."""
    there = {key for row in rows for key in row}
    plain = {key: key if key.strip().lower() in there else key.strip().lower() for key in there}  # forgiven if alone
    return [{plain[key]: cell for key, cell in row.items()} for row in rows]


def slowly_told(rows, dataset):
    """The same from the rows: conversations by their first row, turns without a column for it by their place.

    A class is a name, or its place among the names. A vector that is not there is NaN.
    """
    rows = plainly(rows)
    named, classes, conversations = any("turn" in row for row in rows), dataset.labels.names, {}
    for row in rows:
        texts = {name: str(row[name]).strip() for name in NAMES if row.get(name) is not None}
        own = conversations.setdefault(texts["conversation"], [])
        turn = texts["turn"] if named else str(len(own) + 1)
        label = texts.get("label") or None
        if label is not None and label not in classes:
            label = classes[int(label)]
        vectors = [
            np.float32(row.get(name) or [np.nan] * size).tolist() for name, size in dataset.feature_sizes().items()
        ]
        own.append((texts["conversation"], turn, texts["speaker"], row.get("text") or "", label, *vectors))
    return [turn for turns in conversations.values() for turn in turns]


TABLES = {"csv": (_csv, slow_csv), "jsonl": (_jsonl, slow_jsonl), "parquet": (_parquet, slow_parquet)}
OTHERS = {
    "a table with features beside it": (_with_npz, table),
    "MELD": (_meld, meld),
    "DailyDialog": (_dailydialog, dailydialog),
    "EmoryNLP": (_emorynlp, emorynlp),
}


def thoroughly(examples):
    return settings(max_examples=examples, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def write(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def reading(reader, folder):
    def read():
        dataset = reader.read(folder)
        corpus._check_texts(dataset)
        return dataset

    return read


@pytest.mark.parametrize("form", TABLES)
def test_a_changed_table_is_read_as_a_slow_reading_has_it(form, tmp_path_factory, thorough, count):
    make, slowly = TABLES[form]
    counts = {"tried": 0, "refused": 0, "read": 0}

    @thoroughly(2000 if thorough else 100)
    @given(changes=CHANGES)
    def check(changes):
        folder = tmp_path_factory.mktemp("table")
        ((name, content),) = make(folder).items()
        write(folder, {name: mutated(content, changes)})
        dataset, _ = outcome.of(reading(table, folder), str(folder), "table, train split")
        counts["tried"] += 1
        counts["read" if dataset else "refused"] += 1
        if dataset is not None:  # compared as text, in which NaN is itself
            assert repr(told(dataset)) == repr(slowly_told(slowly(folder / name), dataset))

    check()
    count(f"Changed tables in {form}", **counts, tracebacks=0, silent=0)


@pytest.mark.parametrize("title", OTHERS)
def test_a_changed_corpus_is_read_or_refused(title, tmp_path_factory, thorough, count):
    make, reader = OTHERS[title]
    counts = {"tried": 0, "refused": 0, "read": 0}

    @thoroughly(2000 if thorough else 60)
    @given(changes=CHANGES, which=st.integers(0, 9))
    def check(changes, which):
        folder = tmp_path_factory.mktemp("corpus")
        files = make(folder)
        write(folder, files)
        whole = reader.read(folder)
        name = sorted(files)[which % len(files)]
        write(folder, {name: mutated(files[name], changes)})
        dataset, _ = outcome.of(reading(reader, folder), str(folder), "split, conversation")
        counts["tried"] += 1
        counts["read" if dataset else "refused"] += 1
        if dataset is not None:
            _check_unchanged(whole, dataset)

    check()
    count(f"Changed files of {title}", **counts, tracebacks=0, silent=0)


def _check_unchanged(whole, dataset):
    """Turns whose texts are as they were keep their speakers and labels, apart from those that were changed."""
    texts = {turn.text: turn for split in whole.splits.values() for one in split for turn in one.turns}
    changed = 0
    for split in dataset.splits.values():
        for one in split:
            for turn in one.turns:
                before = texts.get(turn.text)
                changed += before is not None and (turn.speaker, turn.label) != (before.speaker, before.label)
    assert changed <= 3  # each of the three changes reaches one turn's speaker or label at most, or the text beside it


ODD = [
    None,
    "",
    " ",
    "x\ud800",
    float("nan"),
    1e39,
    -(2**63),
    2**62,
    True,
    b"x",
    [],
    {},
    (),
    "123",
    [[1.0], [2.0, 3.0]],
]
ODD += [
    np.zeros(0),
    np.zeros((0, 3)),
    np.zeros((2, 0)),
    np.ones(3, np.float64),
    np.array("x"),
    np.array(["1", "2"]),
    [1, 2],
]
FIELD_CHANGES = st.lists(
    st.tuples(
        st.integers(0, 6), st.integers(0, 8), st.integers(0, 5), st.integers(0, 30), st.integers(0, len(ODD) - 1)
    ),
    min_size=1,
    max_size=3,
)


def change_field(content, changes):
    """Changes a field, one of its conversations, or one of its turns."""
    for kind, field, conversation, turn, odd in changes:
        where = content[field % len(content)]
        if not isinstance(where, dict) or not where:
            if isinstance(where, list) and where and kind:
                where[conversation % len(where)] = ODD[odd] if kind < 4 else where[turn % len(where)]
            elif kind == 0:
                content[field % len(content)] = ODD[odd]
            continue
        id = sorted(where, key=str)[conversation % len(where)]
        other = sorted(where, key=str)[turn % len(where)]
        values = where[id]
        if kind == 0:
            where[id] = ODD[odd]
        elif kind == 1:
            del where[id]
        elif kind == 2:
            where[id], where[other] = where[other], where[id]
        elif isinstance(values, list) and values:
            place = turn % len(values)
            if kind == 3:
                values[place] = ODD[odd]
            elif kind == 4:
                del values[place]
            elif kind == 5:
                values.insert(place, values[-1])
            else:
                where[conversation] = values  # a number among the ids


PICKLED = {
    "COSMIC": (lambda path, made: field_files.cosmic(path, made), iemocap, (0, 1, 2), ()),
    "IEMOCAP's features": (
        field_files.iemocap_features,
        iemocap,
        (1, 2, 6),
        ((3, "utterance"), (4, "acoustic"), (5, "visual")),
    ),
    "AVEC": (field_files.iemocap_features, avec, (1, 2, 6), ((3, "utterance"), (4, "acoustic"), (5, "visual"))),
}


@pytest.mark.parametrize("title", PICKLED)
def test_a_changed_pickle_is_read_as_it_stands(title, tmp_path_factory, thorough, count):
    writer, reader, (speakers, labels, sentences), features = PICKLED[title]
    counts = {"tried": 0, "refused": 0, "read": 0}
    made = field_files.make({"train": ["a", "b"], "dev": ["c"], "test": ["d"]}, classes=0 if reader is avec else 6)
    first = tmp_path_factory.mktemp("whole") / "x_1.pkl"
    content = list(pickle.loads(writer(first, made).read_bytes(), encoding="latin1"))

    @thoroughly(2000 if thorough else 100)
    @given(changes=FIELD_CHANGES)
    def check(changes):
        path = tmp_path_factory.mktemp("pickle") / "x_1.pkl"
        changed = copy.deepcopy(content)
        change_field(changed, changes)
        path.write_bytes(pickle.dumps(changed, protocol=4))
        dataset, _ = outcome.of(reading(reader, path), str(path), "split, conversation")
        counts["tried"] += 1
        counts["read" if dataset else "refused"] += 1
        for one in (one for split in dataset.splits.values() for one in split) if dataset else ():
            own = [
                changed[field].get(one.id, changed[field].get(_number(one.id)))
                for field in (speakers, labels, sentences)
            ]
            for place, (turn, *there) in enumerate(zip(one.turns, *own, strict=True)):
                label = turn.values[0] if reader is avec else iemocap.LABELS.index(turn.label)
                assert (turn.speaker, label) == (str(there[0]), there[1]), (changes, turn)
                assert turn.text == (there[2] if isinstance(there[2], str) and there[2].strip() else turn.text)
                for field, name in features:
                    vector = changed[field].get(one.id, changed[field].get(_number(one.id)))[place]
                    np.testing.assert_array_equal(one.features[name][place], np.asarray(vector, np.float32))

    check()
    count(f"Changed pickles of {title}", **counts, tracebacks=0, silent=0)


def _number(id):
    return int(id) if id.isdecimal() else None


@pytest.mark.parametrize("form", TABLES)
def test_changed_conversation_files_are_read_as_a_slow_reading_has_them(form, tmp_path_factory, thorough, count):
    make, slowly = TABLES[form]
    reader = Reader(random_trained(multimodal("ua")), "")
    counts = {"tried": 0, "refused": 0, "read": 0}

    @thoroughly(1000 if thorough else 50)
    @given(changes=CHANGES)
    def check(changes):
        folder = tmp_path_factory.mktemp("talk")
        ((name, content),) = make(folder).items()
        write(folder, {name: mutated(content, changes)})
        source = Source(folder / name, f".{form}")
        talks, _ = outcome.of(lambda: reader.read(source), str(folder))
        counts["tried"] += 1
        counts["read" if talks else "refused"] += 1
        if talks is not None:
            rows = plainly(slowly(folder / name))
            for one, places in zip(talks.conversations, talks.places, strict=True):
                for turn, place in zip(one.turns, places, strict=True):
                    row = rows[place]
                    assert (turn.speaker, turn.text) == (str(row["speaker"]).strip(), row.get("text") or "")

    check()
    count(f"Changed conversation files in {form}", **counts, tracebacks=0, silent=0)


RUN_FILES = {"config.json": RunDirectory.read_config, "run.json": RunDirectory.read_manifest}


@pytest.mark.parametrize("name", RUN_FILES)
def test_changed_settings_of_a_run_are_read_or_refused(name, tmp_path_factory, thorough, count):
    trained = random_trained(multimodal("ua"))
    whole = {"config.json": json.dumps(_settings(trained)), "run.json": json.dumps(trained.manifest.to_dict())}[
        name
    ].encode()
    counts = {"tried": 0, "refused": 0, "read": 0}

    @thoroughly(2000 if thorough else 100)
    @given(changes=CHANGES)
    def check(changes):
        folder = tmp_path_factory.mktemp("run")
        (folder / name).write_bytes(mutated(whole, changes))
        found, _ = outcome.of(lambda: RUN_FILES[name](RunDirectory(folder)), str(folder))
        counts["tried"] += 1
        counts["read" if found else "refused"] += 1

    check()
    count(f"Changed {name} of a run", **counts, tracebacks=0)


def _settings(trained):
    from dtrm_jax import config as config_lib

    return config_lib.to_dict(trained.config)
