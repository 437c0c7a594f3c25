"""The page of predictions without labels: all that was predicted, and no score."""

import dataclasses
import re

import numpy as np
import pytest

from dtrm_jax.conversation import Conversation, LabelSpace, Turn, ValueSpace
from dtrm_jax.errors import InputError
from dtrm_jax.evaluation.files import predictions
from dtrm_jax.report import PredictionFacts, write_prediction_report
from dtrm_jax.tasks import Classes, Values
from tests.pages import parse

LABELS = LabelSpace(("joy", "sadness", "<b>neutral"))
TASK = Classes(LABELS)
FACTS = PredictionFacts(
    inputs=("talks.csv", "<i>more.jsonl"),
    run="meld_minilm",
    corpus="meld",
    model="DialogueTRM-U",
    causal=True,
    step=7,
    evaluated="2026-03-09T23:30:00-01:00",
    version="1.2.3",
)


def predicted(folder, task=TASK, lengths=(3, 1, 2), values=()):
    """Writes what the page is drawn from; returns the outputs of all turns."""
    outputs = np.random.default_rng(0).dirichlet(np.ones(len(task.labels)), sum(lengths)).astype(np.float32)
    with predictions.writing(folder / "predictions.csv", task) as add:
        first = 0
        for number, length in enumerate(lengths):
            turns = (Turn(f"id-{place}", "AB"[place % 2], f"text {place}", values=values) for place in range(length))
            add(Conversation(f"talk {number}", tuple(turns)), outputs[first : first + length])
            first += length
    FACTS.write(folder)
    return outputs


def said(page):
    return {row.find("dt").text: row.find("dd").text for row in page.find("dl").find_all("div")}


def test_everything_predicted_is_there_and_nothing_is_scored(tmp_path):
    outputs = predicted(tmp_path)
    path = write_prediction_report(tmp_path)
    text = path.read_text(encoding="utf-8")
    page = parse(text)
    assert path == tmp_path / "report.html" and page.find("h1").text == "meld_minilm: predicted emotions"
    assert "Predicted on 10 March 2026 at 00:30 UTC by dtrm_jax 1.2.3." in text
    assert said(page) == {
        "files": "talks.csv, <i>more.jsonl",
        "data": "3 conversations, 6 turns",
        "trained on": "meld",
        "model": "DialogueTRM-U",
        "checkpoint": "step 7",
        "causal": "yes: a turn is judged by itself and by turns before it; no later turn is seen",
    }
    found = outputs.argmax(axis=1)
    rows = [[cell.text.strip() for cell in row.find_all("td")] for row in page.find("table").find_all("tr")[1:]]
    for index, row in enumerate(rows):
        certainty = f"{100 * outputs[found == index, index].mean():.2f}" if (found == index).any() else "-"
        assert row == [f"{100 * (found == index).mean():.2f}", str((found == index).sum()), certainty]
    shown = page.find_all("li", class_="t")
    assert [one.find("p", class_="w").text for one in shown][:2] == ["id-0 A: text 0", "id-1 B: text 1"]
    assert [one.find("p", class_="v").text for one in shown] == [LABELS.names[index] for index in found]
    for word in ("right", "✓", "✗", "F1", "errors", "labelled", "annotated"):
        assert word not in page.find("body").text.replace(page.find("script").text, ""), word


def test_where_the_predictions_come_from_is_said(tmp_path):
    predicted(tmp_path)
    made = {"command": ["dtrm-predict", "a.csv"], "versions": {"dtrm_jax": "1.2.3", "jax": "0.1"}}
    dataclasses.replace(FACTS, provenance=made).write(tmp_path)
    found = said(parse(write_prediction_report(tmp_path).read_text(encoding="utf-8")))
    assert found["predicted by"] == "dtrm-predict a.csv" and found["predicted with"] == "dtrm_jax 1.2.3; jax 0.1"


def test_a_strip_has_one_cell_per_turn_in_the_colour_of_its_emotion(tmp_path):
    outputs = predicted(tmp_path)
    page = parse(write_prediction_report(tmp_path).read_text(encoding="utf-8"))
    cells = [cell for strip in page.find_all("span", class_="strip") for cell in strip.find_all("i")]
    assert [cell.find("b").attributes["class"] for cell in cells] == [f"e{index}" for index in outputs.argmax(axis=1)]
    assert {cell.text.strip() for cell in cells} <= {"J", "S", "B"}


def test_it_is_the_same_byte_for_byte_when_it_is_drawn_anew(tmp_path):
    predicted(tmp_path)
    before = write_prediction_report(tmp_path).read_bytes()
    assert write_prediction_report(tmp_path).read_bytes() == before


def test_real_values(tmp_path):
    outputs = predicted(tmp_path, Values(ValueSpace(("valence", "power"))), values=(None, None))
    page = parse(write_prediction_report(tmp_path).read_text(encoding="utf-8"))
    rows = [[cell.text for cell in row.find_all("td")] for row in page.find("table").find_all("tr")[1:]]
    columns = (np.min(outputs, axis=0), np.mean(outputs, axis=0), np.max(outputs, axis=0))
    assert rows == [[f"{column[place]:.2f}" for column in columns] for place in range(2)]
    assert page.find_all("li", class_="t")[0].find("ul").text == f"valence {outputs[0, 0]:.2f}power {outputs[0, 1]:.2f}"
    assert "annotated" not in page.find("main").text


def test_of_very_many_turns_the_first_are_shown_and_the_rest_are_counted(tmp_path):
    predicted(tmp_path, lengths=(4,) * 2000)
    path = write_prediction_report(tmp_path)
    page = parse(path.read_text(encoding="utf-8"))
    assert len(page.find_all("li", class_="t")) == 5000 and len(page.find_all("details", class_="case")) == 1250
    told = re.sub(r"\s+", " ", page.find("section", id="conversations").text)
    assert "first 1250 of 2,000 conversations, 5,000 of 8,000 turns. 750 conversations are left out" in told
    assert (
        sum(int(row.find_all("td")[1].text.replace(",", "")) for row in page.find("table").find_all("tr")[1:]) == 8000
    )
    assert path.stat().st_size < 8e6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (None, "prediction.json: expected the facts of a prediction: No such file"),
        ("{", "prediction.json: not valid JSON"),
        ("[]", "prediction.json: expected inputs, run, corpus"),
        ('{"inputs": []}', "prediction.json: expected inputs, run, corpus"),
    ],
)
def test_facts_that_are_missing_are_one_line(tmp_path, change, message):
    predicted(tmp_path)
    file = tmp_path / "prediction.json"
    file.unlink() if change is None else file.write_text(change)
    with pytest.raises(InputError, match=message):
        write_prediction_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_facts_are_read_back(tmp_path):
    FACTS.write(tmp_path)
    assert PredictionFacts.read(tmp_path) == FACTS
