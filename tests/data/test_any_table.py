"""Any table, written in every form, is read as an independent, slow reading has it."""

import csv
import io
import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dtrm_jax.data.readers import table

# Everything that a csv file has to quote, and what must come back unchanged.
CHARACTERS = st.characters(codec="utf-8", exclude_characters="\x00", exclude_categories=("Cc", "Cs"))
TEXTS = st.text(st.one_of(CHARACTERS, st.sampled_from(',;\t"\n\r’=|'))).filter(str.strip)
NAMES = st.one_of(st.integers(-3, 12), st.text(CHARACTERS, min_size=1, max_size=6).filter(lambda x: x.strip() == x))
LABELS = st.one_of(st.none(), st.integers(0, 3), st.sampled_from(("joy", "very angry", 'a "b"', "Ärger; x")))
FORMS = ("csv", "semicolons", "tabs", "tsv", "jsonl", "json", "lines in json", "parquet", "lists", "turns")


@st.composite
def tables(draw):
    """Returns rows of (conversation, turn, speaker, text, label), at least one of them with a label."""
    rows = []
    for conversation in draw(st.lists(NAMES, min_size=1, max_size=4, unique_by=str)):
        for turn in draw(st.lists(NAMES, min_size=1, max_size=4, unique_by=str)):
            rows.append((conversation, turn, draw(NAMES), draw(TEXTS), draw(LABELS)))
    random.Random(draw(st.integers(0, 9))).shuffle(rows)  # turns of one conversation need not stand together
    first = rows[0]
    return [(*first[:4], first[4] if first[4] is not None else "joy"), *rows[1:]]


def slowly(rows):
    """Returns the conversations as plain values, one scan per conversation, and the classes in order."""
    read = []
    for name in sorted({str(row[0]) for row in rows}, key=[str(row[0]) for row in rows].index):
        turns = []
        for conversation, turn, speaker, text, label in rows:
            if str(conversation) == name:
                turns.append((str(turn), str(speaker), text, None if label is None else str(label)))
        read.append((name, turns))
    classes = {str(row[4]) for row in rows if row[4] is not None}
    numbers = all(name.isdecimal() for name in classes)
    return read, sorted(classes, key=int) if numbers else sorted(classes)


COLUMNS = ("conversation", "turn", "speaker", "text", "label")


def delimited(path, rows, delimiter):
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter=delimiter, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    writer.writerows(["" if cell is None else cell for cell in row] for row in rows)
    path.write_bytes(buffer.getvalue().encode())


def together(rows):
    """Returns the rows by conversation, as (name, rows)."""
    return [(name, [row for row in rows if str(row[0]) == name]) for name, _ in slowly(rows)[0]]


def write(folder, rows, form):
    if form in ("csv", "semicolons", "tabs", "tsv"):
        delimiter = {"csv": ",", "semicolons": ";"}.get(form, "\t")
        return delimited(folder / f"train.{'tsv' if form == 'tsv' else 'csv'}", rows, delimiter)
    objects = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
    if form == "parquet":  # whose columns have one type each
        texts = [{name: None if cell is None else str(cell) for name, cell in one.items()} for one in objects]
        return pq.write_table(pa.Table.from_pylist(texts), folder / "train.parquet")
    if form == "lists":
        objects = [
            {"conversation": name, **{key: [row[at] for row in own] for at, key in enumerate(COLUMNS) if at}}
            for name, own in together(rows)
        ]
    if form == "turns":
        objects = [
            {"conversation": name, "turns": [dict(zip(COLUMNS[1:], row[1:], strict=True)) for row in own]}
            for name, own in together(rows)
        ]
    written = json.dumps(objects, ensure_ascii=False) if form == "json" else "\n".join(map(json.dumps, objects))
    return (folder / f"train.{'json' if 'json' in form.split() else 'jsonl'}").write_text(written, encoding="utf-8")


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(rows=tables())
def test_every_form_of_any_table_is_read_the_same(form, rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("table")
    write(folder, rows, form)
    dataset = table.read(folder)
    read = [
        (one.id, [(turn.id, turn.speaker, turn.text, turn.label) for turn in one.turns])
        for one in dataset.splits["train"]
    ]
    assert (read, list(dataset.labels.names)) == slowly(rows)
