"""``report.html``: what it says is what the files say, and a browser is given nothing that data could subvert."""

import base64
import dataclasses
import hashlib
import json
import math
import os
import re
import shutil

import numpy as np
import pytest

from dtrm_jax import config as config_lib
from dtrm_jax.batch import PackShape
from dtrm_jax.conversation import Conversation, LabelSpace, Turn, ValueSpace
from dtrm_jax.evaluation.aligned import percent
from dtrm_jax.evaluation.analysis.analyse import analyse
from dtrm_jax.evaluation.analysis.groups import inter_shifts, intra_shifts, labelled
from dtrm_jax.evaluation.files import predictions
from dtrm_jax.json_file import write_json
from dtrm_jax.report import write_report
from dtrm_jax.report.__main__ import main
from dtrm_jax.report.about import about
from dtrm_jax.report.gates_and_attention import attention_summaries, means
from dtrm_jax.report.kinds import KINDS, SHIFTS
from dtrm_jax.report.overview import overview
from dtrm_jax.report.plot import BOTTOM, LEFT, RIGHT, TOP, Series, make_plot, thinned, ticks
from dtrm_jax.report.sources import read_sources
from dtrm_jax.report.spread import Spread
from dtrm_jax.report.training import training_curves
from dtrm_jax.run_directory import Extension, Manifest, Origin, RunDirectory
from dtrm_jax.run_directory.starts import add_start
from dtrm_jax.tasks import Classes, Targets, Values, ValueTurn
from dtrm_jax.tasks.rows import Attended, TurnInsides
from tests.factories import tiny_config
from tests.pages import parse
from tests.predicted import LABELS, conversation, random_turns

TARGETS = ValueSpace(("valence", "power"))
RECORDS = [
    {"step": 1, "epoch": 1, "split": "train", "loss": 2.0},
    {"step": 2, "epoch": 1, "split": "train", "loss": 1.0},
    {"step": 2, "epoch": 1, "split": "dev", "loss": 1.5, "weighted_f1": 0.25, "accuracy": 0.5, "macro_f1": 0.125},
    {"step": 4, "epoch": 2, "split": "train", "loss": 0.5},
    {"step": 4, "epoch": 2, "split": "dev", "loss": 1.75, "weighted_f1": 0.75, "accuracy": 0.5, "macro_f1": 0.125},
]
NASTY = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</li></ol></details>&amp; {{ 7 * 7 }}",
    "'\u202e\n",
)


def insides_of(turns, seed=0):
    """For each conversation, columns as the model's: every modality attends, some turns lack the acoustics."""
    random = np.random.default_rng(seed)
    result = []
    for name in dict.fromkeys(turn.conversation for turn in turns):
        count = sum(turn.conversation == name for turn in turns)
        columns = {}
        for letter in "ua":
            lacks = random.random(count) < (0.3 if letter == "a" else 0)
            attended = np.array([random.integers(-1, index) if index else -1 for index in range(count)], np.int32)
            attended[lacks] = -1
            weight, itself = random.uniform(0, 0.5, (2, count)).astype(np.float32)
            columns[f"attended_turn_{letter}"] = attended
            columns[f"attended_weight_{letter}"] = np.where(attended < 0, np.nan, weight)
            columns[f"attended_self_{letter}"] = np.where(lacks, np.nan, itself)
        columns["gate_ua"] = np.where(lacks, np.nan, random.random(count).astype(np.float32))
        fusion = random.dirichlet(np.ones(3), count).astype(np.float32).T
        columns |= dict(zip(("fusion_e_CLS", "fusion_ua", "fusion_au"), fusion, strict=True))
        result.append(columns)
    return result


def grouped(turns, spoken):
    """Conversations of ``spoken(row)``."""
    names = dict.fromkeys(turn.conversation for turn in turns)
    return [Conversation(name, tuple(spoken(t) for t in turns if t.conversation == name)) for name in names]


def evaluated(path, turns, labels=LABELS, insides=None, records=RECORDS):
    """A run directory with the files of an evaluation of classes."""
    run = RunDirectory(path)
    folder = run.evaluation("test")
    conversations = grouped(turns, lambda row: Turn(row.turn, row.speaker, row.text, label=row.label))
    probabilities = [
        np.asarray([turn.probabilities for turn in turns if turn.conversation == one.id]) for one in conversations
    ]
    predictions.write(folder / "predictions.csv", conversations, probabilities, Classes(labels), insides)
    read, task = predictions.read(folder / "predictions.csv")
    about = {"corpus": "made up", "split": "test", "step": 4, "checkpoint": "best"}
    metrics = task.scores(*task.arrays(labelled(read)), 0.7)
    return _finished(run, about | metrics, analyse(read, task), records), read


def valued(path, count=23):
    """The same of real values."""
    random = np.random.default_rng(0)
    values, outputs = random.normal(size=(2, count, 2)).astype(np.float32)
    values[3] = np.nan
    values[5, 1] = np.nan
    turns = tuple(
        Turn(str(index), "xy"[index % 2], f"turn {index}", values=tuple(None if np.isnan(v) else float(v) for v in row))
        for index, row in enumerate(values)
    )
    run = RunDirectory(path)
    split = [Conversation("one", turns[:7]), Conversation("two", turns[7:])]
    predictions.write(run.evaluation("test") / "predictions.csv", split, [outputs[:7], outputs[7:]], Values(TARGETS))
    about = {"corpus": "avec", "split": "test", "step": 4, "checkpoint": "latest"}
    records = [RECORDS[0], {"step": 4, "split": "dev", "loss": 1.0, "pearson_r": 0.5, "mae": 0.25}]
    metrics = Values(TARGETS).score(Targets(np.full(count, -1), values), outputs)
    return _finished(run, about | metrics, None, records), values, outputs


def _finished(run, metrics, analysis, records):
    folder = run.evaluation("test")
    write_json(folder / "metrics.json", metrics)
    if analysis is not None:
        write_json(folder / "analysis.json", analysis)
    config = tiny_config(train__select_by="weighted_f1" if analysis else "pearson_r", data__source="/home/me/secret")
    (run.path / "config.json").write_text(json.dumps(config_lib.to_dict(config)))
    run.metrics_file.write_text("".join(json.dumps(record) + "\n" for record in records))
    return run


def page_of(run):
    return parse(write_report(run, "test").read_text(encoding="utf-8"))


def rows_of(table):
    return [[cell.text for cell in row.children if not isinstance(cell, str)] for row in table.find_all("tr")]


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A run, its turns, and its page with everything on it."""
    turns = random_turns(0)
    run, read = evaluated(tmp_path_factory.mktemp("run"), turns, insides=insides_of(turns))
    return run, read, page_of(run)


def test_the_training_loss_between_evaluations_is_the_mean_over_steps():
    train = [
        {"split": "train", "step": step, "loss": loss} for step, loss in ((50, 1.0), (51, 3.0), (60, 2.0), (62, 5.0))
    ]
    dev = [{"split": "dev", "step": step, "loss": 1.0, "accuracy": 0.5} for step in (51, 62)]
    rows = training_curves([*train[:2], dev[0], *train[2:], dev[1]], Classes(LABELS), "accuracy", 51).rows
    assert [row.train_loss for row in rows] == pytest.approx([(50 * 1 + 3) / 51, (9 * 2 + 2 * 5) / 11])
    lost = {"split": "train", "step": 60, "loss": None}  # every step was left out
    rows = training_curves([*train[:2], dev[0], lost, train[3], dev[1]], Classes(LABELS), "accuracy", 51).rows
    assert rows[1].train_loss == pytest.approx(5.0)


def test_scores_are_those_of_the_files(full):
    run, turns, page = full
    metrics, analysis = (
        json.loads((run.evaluation("test") / f"{x}.json").read_text()) for x in ("metrics", "analysis")
    )
    cards = [re.sub(r"\s+", " ", card.text).strip() for card in page.find_all("div", class_="card")]
    titles = {"weighted_f1": "weighted F1", "accuracy": "accuracy", "macro_f1": "macro F1", "average_recall": "UAR"}
    for card, (name, title) in zip(cards, titles.items(), strict=True):
        interval = analysis["intervals"][name]
        low, high = percent(interval["low"]), percent(interval["high"])
        assert card == f"{title} {percent(metrics[name])} {low} to {high}"
    assert rows_of(page.find(id="classes").find("table"))[1:] == [
        [name, *(percent(row[key]) for key in ("precision", "recall", "f1")), str(row["support"])]
        for name, row in metrics["per_class"].items()
    ]
    confusion = rows_of(page.find("table", class_="confusion"))
    for name, counts, row in zip(LABELS.names, metrics["confusion_matrix"], confusion[1:], strict=True):
        assert row == [name, *(f"{count} {100 * count / sum(counts):.0f} %" for count in counts)]
    assert [cell.text.split()[0] for cell in page.find_all("td", class_="right")] == [
        str(metrics["confusion_matrix"][index][index]) for index in range(3)
    ]
    shifts = rows_of(page.find(id="shifts").find_all("table")[0])[1:]
    assert [[row[0], row[3]] for row in shifts] == [
        [title, str(analysis["shifts"][key]["n"])] for key, title in SHIFTS.items()
    ]
    assert "Intra-ES" in SHIFTS["intra"] and "Inter-ES" in SHIFTS["inter"]
    share = max(sum(turn.label == name for turn in turns) for name in LABELS.names) / metrics["n"]
    always = f"scores {percent(share * 2 * share / (1 + share))} weighted F1, {percent(share)} accuracy"
    assert always in re.sub(r"\s+", " ", page.text)


def test_it_says_what_was_measured(full):
    run, turns, page = full
    said = {row.find("dt").text: row.find("dd").text for row in page.find("dl").find_all("div")}
    n = len(labelled(turns))
    assert said["data"] == f"made up, test split: 12 conversations, {len(turns)} turns, {n} of them labelled and scored"
    assert said["checkpoint"] == "step 4, the best weighted F1 on dev (75.00)"
    assert said["seed"] == "0" and "no later turn is seen" in said["causal"]
    assert said["again"] == f"python eval.py --checkpoint {run.path.name} --split test --step best"
    table = page.find(id="scores").find("table")
    settings = dict(map(tuple, rows_of(table)[1:]))
    assert settings["tokens.window"] == "3" and "data.source" not in settings and "secret" not in page.text


@pytest.mark.parametrize(
    ("settings", "which", "model", "checkpoint"),
    [
        (
            {"model__encoder__pretrained": "minilm"},
            "latest",
            "DialogueTRM-U: utterance (context-dependent); encoder minilm; context of 3 turns",
            "step 4, the latest, not chosen by any score",
        ),
        (
            {"model__modalities": "av", "model__context__visual": "dependent", "model__fusion__kind": "gmu"},
            "4",
            "DialogueTRM: acoustic (context-free), visual (context-dependent); fusion gmu; context of 3 turns",
            "step 4, as requested, not chosen by any score",
        ),
        (
            {"model__modalities": "uav", "model__utterance": "features", "train__select_by": "macro_f1"},
            "best",
            "DialogueTRM-M: utterance (context-dependent), acoustic (context-free), visual (context-free); fusion mgif"
            "; utterance vectors from the data; context of 3 turns",
            "step 4, the best macro F1 on dev",
        ),
        (
            {"tokens__future": 2, "model__utterance": "features"},
            "best",
            "DialogueTRM-U: utterance (context-dependent); utterance vectors from the data; context of 3 turns and 2 "
            "later ones (not causal)",
            "step 4, the best weighted F1 on dev",
        ),
    ],
)
def test_the_model_and_the_choice_of_the_checkpoint_are_named(full, settings, which, model, checkpoint):
    sources = read_sources(full[0], "test")
    metrics = sources.metrics | {"checkpoint": which}
    changed = dataclasses.replace(sources, config=tiny_config(**settings), metrics=metrics)
    found = about(changed, None)
    assert (found["model"], found["checkpoint"]) == (model, checkpoint)
    assert found["causal"].startswith("no: later turns are seen" if "tokens__future" in settings else "yes")
    assert found["again"].endswith(f" --step {which}")


def test_what_a_run_began_with_and_that_it_was_made_longer_is_said(full):
    sources = read_sources(full[0], "test")
    manifest = Manifest(
        corpus="new",
        labels=LABELS,
        encoder=None,
        shape=PackShape((), 8),
        total_steps=9,
        init_from=Origin(name="first", corpus="old", step=7, data={}, params="1a2b", encoder=True),
        extensions=(Extension(after_step=6, epochs_before=2, epochs=3, steps_before=6, steps=9),),
    )
    found = about(dataclasses.replace(sources, manifest=manifest), None)
    assert found["begun with"] == "the parameters of first, trained on old, step 7 (1a2b)"
    assert found["made longer"] == "3 epochs instead of 2 after step 6; learning rates rose again there"
    plain = dataclasses.replace(manifest, init_from=None, extensions=())
    assert not {"begun with", "made longer"} & about(dataclasses.replace(sources, manifest=plain), None).keys()


def test_where_the_numbers_come_from_is_said(full, tmp_path):
    assert (
        not {"trained with", "evaluated with", "digests of the data"}
        & about(read_sources(full[0], "test"), None).keys()
    )
    run = RunDirectory(shutil.copytree(full[0].path, tmp_path / "run"))
    made = {"command": ["python", "train.py"], "versions": {"jax": "0.1"}, "machine": {"devices": "1 x cpu"}}
    add_start(run.starts_file, 0, made)
    add_start(run.starts_file, 3, {**made, "versions": {"jax": "0.2"}})
    evaluated = {
        "command": ["python", "eval.py"],
        "versions": {"jax": "<i>0.3"},
        "code": {"commit": "0123456789abcdef"},
    }
    _edit(run.evaluation("test") / "metrics.json", provenance=evaluated, data={"conversations": "1a2b"})
    said = {row.find("dt").text: row.find("dd").text for row in page_of(run).find("dl").find_all("div")}
    expected = {
        "trained, from step 0 on, by": "python train.py",
        "trained, from step 0 on, with": "jax 0.1; 1 x cpu",
        "trained, from step 3 on, with": "jax 0.2; 1 x cpu",
        "evaluated by": "python eval.py",
        "evaluated with": "commit 0123456789ab; jax <i>0.3",
        "digests of the data": "conversations 1a2b",
    }
    assert {term: said[term] for term in expected} == expected
    run.starts_file.write_text("[")
    assert "trained" not in {row.find("dt").text for row in page_of(run).find("dl").find_all("div")}


def test_every_turn_is_there_with_what_the_files_say_of_it(full):
    _, turns, page = full
    shown = page.find_all("li", class_="t")
    places = {element.attributes["id"]: turn for element, turn in zip(shown, turns, strict=True)}
    groups = {"own emotion changed": intra_shifts(turns), "unlike the turn before": inter_shifts(turns)}
    for element, turn in zip(shown, turns, strict=True):
        head, verdict = element.find("p", class_="w").text, element.find("p", class_="v")
        assert head == f"{turn.turn} {turn.speaker}: {turn.text}"
        names = [name for name, group in groups.items() if turn in group]
        assert [tag.text for tag in verdict.find_all("small")] == names
        said = {
            None: f"not labelled, predicted {turn.prediction}",
            turn.prediction: f"✓ {turn.label}",
        }.get(turn.label, f"✗ {turn.prediction}, label {turn.label}")
        assert verdict.text.removesuffix("".join(f" {name}" for name in names)) == said
        assert ("x" in element.attributes["class"].split()) == (turn.label not in (None, turn.prediction))
        chips = element.find("ul").find_all("li")
        expected = [f"{name} {100 * p:.0f}" for name, p in zip(LABELS.names, turn.probabilities, strict=True)]
        assert [chip.text for chip in chips] == expected
        marked = {mark: [chip.text[0] for chip in chips if chip.matches("li", {"class": mark})] for mark in "yg"}
        assert marked == {"y": [turn.prediction], "g": [turn.label] if turn.label else []}
        seen = [(letter, one) for letter, one in turn.insides.attended.items() if one.turn is not None]
        links = element.find_all("a")
        assert len(links) == len(seen)
        for link, (_, one) in zip(links, seen, strict=True):
            target = places[link.attributes["href"][1:]]
            assert (target.conversation, target.turn) == (turn.conversation, one.turn)
        looks = [p.text for p in element.find_all("p", class_="a")][: len(seen)]
        for look, (letter, one) in zip(looks, seen, strict=True):
            assert look.startswith({"u": "utterance", "a": "acoustic"}[letter])
            assert look.endswith(f"{100 * one.weight:.0f}\xa0%, itself {100 * one.itself:.0f}\xa0%")


def test_a_strip_has_the_label_above_the_prediction_and_marks_errors(full):
    _, turns, page = full
    by_place = {f"e{place}": name for place, name in enumerate(LABELS.names)}
    strips = page.find_all("span", class_="strip")
    cells = [cell for strip in strips for cell in strip.find_all("i")]
    assert len(strips) == 12 and len(cells) == len(turns)
    for cell, turn in zip(cells, turns, strict=True):
        shown = [by_place.get(one.attributes.get("class")) for one in cell.find_all("b")]
        unlabelled_talk = turn.conversation == "unlabelled"
        assert shown == ([turn.prediction] if unlabelled_talk else [turn.label, turn.prediction])
        assert cell.attributes.get("class") == ("x" if turn.label not in (None, turn.prediction) else None)
    key = page.find("ul", class_="key-list").find_all("li")
    assert [one.text for one in key] == ["A a", "B b", "C c"]
    assert all(strip.attributes["aria-hidden"] == "true" for strip in strips)  # the turns below say the same in words


def test_conversations_carry_the_numbers_that_they_are_sorted_by(full):
    _, turns, page = full
    talks = {
        name: [turn for turn in turns if turn.conversation == name] for name in {turn.conversation for turn in turns}
    }
    orders = [option.attributes["value"] for option in page.find("select", name="order").find_all("option")]
    assert orders == ["", "errors", "share", "unsure"]
    for case in page.find_all("details", class_="case"):
        talk = talks[case.find("summary").find_all("b")[0].text]
        wrong, n = sum(turn.label not in (None, turn.prediction) for turn in talk), len(labelled(talk))
        assert case.attributes["data-errors"] == str(wrong)
        assert float(case.attributes["data-share"]) == pytest.approx(wrong / max(n, 1), abs=1e-3)
        assert float(case.attributes["data-unsure"]) == pytest.approx(0.2)
        assert f"{n - wrong} of {n} right" in case.find("summary").text or not n


def test_it_is_named_after_the_run_and_dated(full, tmp_path):
    run, turns, page = full
    assert page.find("h1").text == run.path.name and page.find("title").text == f"{run.path.name}: made up test"
    assert "Evaluated by an earlier version of dtrm_jax, which kept no date." in page.find("header").text
    dated, _ = evaluated(tmp_path / "mine", turns)
    _edit(dated.evaluation("test") / "metrics.json", evaluated="2026-03-09T23:30:00-01:00", version="1.2.3")
    header = page_of(dated).find("header").text
    assert "mine" in header and "Evaluated on 10 March 2026 at 00:30 UTC by dtrm_jax 1.2.3." in header


def test_nothing_comes_from_elsewhere_and_one_known_script_may_run(full):
    run, _, page = full
    text = (run.evaluation("test") / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|url\(|@import|src=", text)
    assert all(link.attributes["href"].startswith("#") for link in page.find_all("a"))
    ids = [element.attributes["id"] for element in page.walk() if element.attributes.get("id")]
    assert len(set(ids)) == len(ids) and {link.attributes["href"][1:] for link in page.find_all("a")} <= set(ids)
    digest = base64.b64encode(hashlib.sha256(page.find("script").text.encode()).digest()).decode()
    policy = page.find("meta", http_equiv="Content-Security-Policy").attributes["content"]
    assert "default-src 'none'" in policy and f"script-src 'sha256-{digest}'" in policy
    assert page.find("form").attributes["hidden"] is None  # shown by the script, which alone makes it work


def test_headings_and_headers_are_real(full):
    _, _, page = full
    levels = [int(element.tag[1]) for element in page.walk() if re.fullmatch(r"h\d", element.tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))
    assert page.find("html").attributes["lang"] == "en"
    assert {th.attributes.get("scope") for th in page.find_all("th")} == {"row", "col"}
    for table in page.find_all("table"):
        lengths = {len(row.find_all("th") + row.find_all("td")) for row in table.find_all("tr")}
        assert len(lengths) == 1
    assert all(svg.attributes.get("aria-label") for svg in page.find_all("svg"))


def test_text_from_data_stays_text(tmp_path):
    labels = LabelSpace(NASTY[:3])
    by_letter = dict(zip("abc", labels.names, strict=True))
    turns = [
        dataclasses.replace(
            turn, conversation=NASTY[1], label=by_letter[turn.label], prediction=by_letter[turn.prediction]
        )
        for turn in conversation(NASTY[1], "xyxy", "abca", "abcb", NASTY)
    ]
    turns = [dataclasses.replace(turn, speaker=NASTY[index], turn=NASTY[index]) for index, turn in enumerate(turns)]
    run, read = evaluated(tmp_path / "<b>run", turns, labels, insides_of(turns))
    page = page_of(run)
    assert len(page.find_all("script")) == 1 and not page.find_all("img")
    assert not any(name.startswith("on") for element in page.walk() for name in element.attributes)
    shown = page.find_all("li", class_="t")
    assert [element.find("span").text for element in shown] == list(NASTY)
    assert [element.find("p", class_="w").find("small").text for element in shown] == list(NASTY)
    assert [element.attributes["data-l"] for element in shown] == [turn.label for turn in read]
    assert page.find_all("summary")[-1].find_all("b")[0].text == NASTY[1]


def test_names_and_quotes_that_are_written_from_right_to_left_move_no_number(full):
    _, turns, page = full
    places = {}
    for element, turn in zip(page.find_all("li", class_="t"), turns, strict=True):
        places[element.attributes["id"]] = turn
        head = element.find("p", class_="w")
        assert (head.find("small", dir="auto").text, head.find("bdi").text) == (turn.turn, turn.speaker)
        for link in element.find_all("a"):
            there = places[link.attributes["href"][1:]]
            assert [one.text for one in link.find_all("bdi")] == [there.turn, there.speaker]
        assert len(element.find_all("q", dir="auto")) == len(element.find_all("q")) == len(element.find_all("a"))
    names = [case.find("summary").find("b", dir="auto").text for case in page.find_all("details", class_="case")]
    assert sorted(names) == sorted({turn.conversation for turn in turns})


def test_without_insides_nothing_is_said_of_them(tmp_path):
    run, _ = evaluated(tmp_path, random_turns(1))
    page = page_of(run)
    assert not page.find_all(id="insides") and not page.find_all("p", class_="a")
    assert "attention looks" not in page.text and "Gates" not in page.text


def test_training_is_drawn_and_the_checkpoint_marked(full):
    _, _, page = full
    section = page.find(id="training")
    loss, scores = section.find_all("svg")
    train, dev = loss.find_all("path", class_="series")
    assert train.attributes["d"].count("L") == 2 and dev.attributes["d"].count("L") == 1
    (mark,) = loss.find_all("path", class_="mark")
    assert mark.attributes["d"].startswith(f"M{RIGHT} ")  # step 4 is the last of all
    assert dev.attributes["d"].split("L")[1].startswith(f"{RIGHT} ")
    assert len(scores.find_all("path", class_="series")) == 3
    assert rows_of(section.find("table"))[1:] == [
        ["2", "1", "1.5000", "1.5000", "25.00"],
        ["4 (evaluated here)", "2", "0.5000", "1.7500", "75.00"],
    ]


@pytest.mark.parametrize(
    "content", [None, "", "not JSON\n[1]\n{}\n", '{"step": 4, "split": "dev", "loss": NaN}\n{"ste']
)
def test_without_a_training_log_there_is_a_report(tmp_path, content):
    run, _ = evaluated(tmp_path, random_turns(1))
    run.metrics_file.unlink() if content is None else run.metrics_file.write_text(content)
    page = page_of(run)
    assert not page.find_all(id="training") and len(page.find_all("li", class_="t")) > 30
    said = {row.find("dt").text: row.find("dd").text for row in page.find("dl").find_all("div")}
    assert said["checkpoint"] == "step 4, the best weighted F1 on dev"


def test_what_can_be_read_of_a_damaged_log_is_drawn(tmp_path):
    run, _ = evaluated(tmp_path, random_turns(1))
    text = run.metrics_file.read_text()
    run.metrics_file.write_text("\x00\n" + text + text[:20])
    assert len(page_of(run).find(id="training").find("table").find_all("tr")) == 3


def test_real_values_have_a_report_too(tmp_path):
    run, values, outputs = valued(tmp_path)
    page = page_of(run)
    metrics = json.loads((run.evaluation("test") / "metrics.json").read_text())
    assert rows_of(page.find(id="targets").find("table"))[1:] == [
        [name, *(f"{row[key]:.4f}" for key in ("pearson_r", "mae", "ccc")), str(row["n"])]
        for name, row in metrics["per_target"].items()
    ]
    clouds = [svg.find("path", class_="cloud") for svg in page.find(id="targets").find_all("svg")]
    assert [cloud.attributes["d"].count("M") for cloud in clouds] == [22, 21]
    errors = np.nanmean(np.abs(values - outputs)[~np.isnan(values).all(axis=1)], axis=1)
    shown = page.find_all("li", class_="t")
    assert len(shown) == 23
    far = [int(element.find("span").text.split()[1]) for element in shown if element.matches("", {"class": "x"})]
    indices = np.flatnonzero(~np.isnan(values).all(axis=1))
    assert set(far) == set(indices[np.argsort(-errors)[:2]])
    assert shown[5].find("ul").text == (
        f"valence {outputs[5, 0]:.2f}, annotated {values[5, 0]:.2f}power {outputs[5, 1]:.2f}, not annotated"
    )
    assert "the latest, not chosen by any score" in page.text
    first, second = (case.find_all("span", class_="strip") for case in page.find_all("details", class_="case"))
    assert [strip.find("small").text for strip in first] == ["valence", "power"]
    most = np.nanmax(np.abs([values, outputs]), axis=(0, 1))
    for place, strip in enumerate(second):
        steps = np.floor((outputs[7:, place] / most[place] + 1) / 2 * 11).clip(0, 10)
        below = [cell.find_all("b")[1].attributes["class"] for cell in strip.find_all("i")]
        assert below == [f"d{step:.0f}" for step in steps]
        steps = np.floor((values[7:, place] / most[place] + 1) / 2 * 11).clip(0, 10)
        above = [cell.find_all("b")[0].attributes.get("class") for cell in strip.find_all("i")]
        assert above == [None if np.isnan(step) else f"d{step:.0f}" for step in steps]
    assert not page.find_all(id="confusions") and len(page.find(id="training").find_all("svg")) == 2


def test_it_is_drawn_anew_byte_for_byte_from_the_command(full, capsys):
    run, _, _ = full
    file = run.evaluation("test") / "report.html"
    before = file.read_bytes()
    file.unlink()
    assert main([str(run.path), "--split", "test"]) == 0
    assert capsys.readouterr().out == f"written to {file}\n"
    assert file.read_bytes() == before


def _edit(path, **changes):
    path.write_text(json.dumps({k: v for k, v in (json.loads(path.read_text()) | changes).items() if v is not None}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda folder: (folder / "metrics.json").unlink(),
            "metrics.json: expected the results of an evaluation: No such",
        ),
        (lambda folder: (folder / "metrics.json").write_text("{"), "metrics.json: not valid JSON"),
        (lambda folder: (folder / "metrics.json").write_text("[]"), "metrics.json: expected a JSON object, found list"),
        (lambda folder: _edit(folder / "metrics.json", step=None), "metrics.json: expected step, found none"),
        (
            lambda folder: _edit(folder / "metrics.json", evaluated="today", version="1"),
            "eval/test/metrics.json: evaluated: expected a date and a time, found 'today'",
        ),
        (lambda folder: (folder / "predictions.csv").unlink(), "predictions.csv: cannot be read"),
        (lambda folder: (folder / "analysis.json").unlink(), "analysis.json: expected the results of an evaluation"),
        (lambda folder: _edit(folder / "metrics.json", n=3), "metrics.json: expected the 4 labelled turns"),
        (lambda folder: _edit(folder / "analysis.json", n=3), "analysis.json: expected the 4 labelled turns"),
        (lambda folder: os.remove(folder.parents[1] / "config.json"), "config.json: expected a run directory"),
    ],
)
def test_what_is_missing_is_one_line_and_status_2(tmp_path, capsys, damage, message):
    run, _ = evaluated(tmp_path, conversation("d", "xyxy", "abca", "abcb"))
    damage(run.evaluation("test"))
    assert main([str(run.path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("error: ") and captured.err.count("\n") == 1
    assert message in captured.err
    assert not (run.evaluation("test") / "report.html").exists()


def test_a_huge_split_is_cut_between_conversations():
    turns = random_turns(2)

    def sizes(most, turns=turns):
        return [len(conversation) for conversation in overview(turns, Spread(), most).shown]

    whole = sizes(len(turns))
    assert sum(whole) == len(turns) and len(whole) == 12
    assert sizes(sum(whole[:3])) == whole[:3] and sizes(sum(whole[:3]) - 1) == whole[:2]
    assert sizes(whole[0] - 1) == [whole[0] - 1]  # the first is longer than the page
    long = dataclasses.replace(turns[whole[0]], text="a" * 5000)
    assert sizes(whole[0] + whole[1] + 4, [*turns[: whole[0]], long, *turns[whole[0] + 1 :]]) == whole[:1]
    seen = overview(turns, Spread(), 5)
    assert (seen.turns, seen.conversations, seen.labelled) == (len(turns), 12, True)


def with_insides(turn, **insides):
    return dataclasses.replace(turn, insides=TurnInsides(**insides))


def test_the_command_of_other_data_names_where_results_go_and_what_the_place_was_called(full):
    sources = read_sources(full[0], "test")
    other = dataclasses.replace(
        sources, metrics=sources.metrics | {"source": "dubbed"}, results=sources.results.with_name("test@mine")
    )
    assert about(other, None)["again"].endswith(" --source .../dubbed --name mine")


def test_how_far_off_a_turn_is_does_not_depend_on_the_scale_of_its_target():
    """Of ten turns, the one with the opposite of the first target, though the second is fifty times as large."""
    seen = [(0.9, 52.0), (0.5, 48.0), (-0.9, 50.0), (-0.5, 51.0), (0.1, 49.0)] * 2
    turns = [
        ValueTurn(
            conversation="c",
            turn=str(place),
            speaker="Ann",
            text="Hi.",
            labels=(first, None if place == 4 else second),
            predictions=(-first if place == 5 else first, second + (2.0 if place == 1 else 0.5)),
        )
        for place, (first, second) in enumerate(seen)
    ]
    kind = KINDS["values"]
    assert kind.errors(turns, kind.distances(turns)) == {("c", "5")}
    scaled = [
        dataclasses.replace(
            turn,
            labels=(turn.labels[0], None if turn.labels[1] is None else 9 * turn.labels[1]),
            predictions=(turn.predictions[0], 9 * turn.predictions[1]),
        )
        for turn in turns
    ]
    assert kind.distances(scaled) == pytest.approx(kind.distances(turns))
    assert kind.distances([dataclasses.replace(turns[0], labels=(None, None))]) == {}


def test_means_are_over_the_turns_that_have_the_number():
    a, b, c = conversation("d", "xyx", "ab-", "aba")
    turns = [
        with_insides(a, gates={"ua": 0.5, "uv": 0.25}, fusion={"e_CLS": 1.0}),
        with_insides(b, gates={"uv": 0.75}),
        with_insides(c, gates={"ua": 1.0}),
    ]
    table = means(turns, LABELS.names, "gates")
    assert table.columns == ["ua", "uv"]
    assert table.rows == [
        ("all", 3, [0.75, 0.5]),
        ("a", 1, [0.5, 0.25]),
        ("b", 1, [None, 0.75]),
        ("c", 0, [None, None]),
    ]
    assert means(turns, (), "fusion").rows == [("all", 1, [1.0])]
    assert means([a, b], LABELS.names, "gates") is None


def test_where_attention_looks_is_counted_inside_the_window():
    turns = conversation("d", "xyxx", "abca", "abcb") + conversation("e", "xx", "ab", "ab")
    looks = [None, "0", "1", "0", None, "0"]
    turns = [
        with_insides(turn, attended={"u": Attended(look, None if look is None else 0.25, 0.5)})
        for turn, look in zip(turns, looks, strict=True)
    ]
    (summary,) = attention_summaries(turns, LABELS.names, 2)
    assert summary.modality == "utterance"
    assert summary.means.rows[0] == ("all", 6, [0.5, 0.25])
    assert summary.distances == {1: 3, 2: 0, 3: 1}
    assert summary.same_speaker == 0.5  # d3 to d0 and e1 to e0, not d1 to d0 and d2 to d1
    assert summary.same_speaker_seen == 3 / 6  # of d1: 0 of 1, d2: 1 of 2, d3: 1 of 2, e1: 1 of 1


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 100, [0, 20, 40, 60, 80, 100]),
        (0.11, 0.34, [0.15, 0.2, 0.25, 0.3]),
        (-1, 1, [-1, -0.5, 0, 0.5, 1]),
        (3, 3, [3]),
        (0, 0, [0]),
        (7, 9_123, [2000, 4000, 6000, 8000]),
    ],
)
def test_ticks_are_round(low, high, expected):
    assert ticks(low, high) == expected


def test_points_lie_inside_the_frame_where_they_belong():
    plot = make_plot("t", "x", [Series("s", "dotted", [(0, 0), (5, 1), (10, 2)])], (10, "end"))
    assert plot.series[0].dots == [(f"{LEFT}", f"{BOTTOM}"), ("197", "102"), (f"{RIGHT}", f"{TOP}")]
    assert plot.mark == (f"{RIGHT}", "end")
    assert plot.x_ticks[0] == (f"{LEFT}", "0") and plot.x_ticks[-1] == (f"{RIGHT}", "10")


def test_thinning_keeps_the_mean():
    points = [(float(x), float(x % 7)) for x in range(1000)]
    few = thinned(points, 200)
    assert len(few) == 200 and few[0] == (2.0, 2.0)
    assert math.isclose(sum(y for _, y in few) / 200, sum(y for _, y in points) / 1000)
    assert thinned(points[:7], 200) == points[:7]
