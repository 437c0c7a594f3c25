"""Pages in a real browser: whatever text the data holds, no script of it runs, with the page's policy or without."""

import dataclasses
import json
import re

import pytest

from dtrm_jax.conversation import LabelSpace
from dtrm_jax.report import PredictionFacts, write_prediction_report, write_report
from dtrm_jax.run_directory.starts import add_start
from dtrm_jax.tasks import Classes
from tests.browser import CHROMIUM, browsing
from tests.predicted import conversation
from tests.report import test_prediction, test_report

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")

# Each would run where one way of writing text into a page forgets to escape it.
HOSTILE = (
    "</script><script>ran('script')</script>",
    "\"><img src=x onerror=ran('image')>",
    "'><svg onload=ran('drawing')>",
    "</title></style></option></select></textarea><script>ran('title')</script>",
    "x' onmouseover=ran('mouse') autofocus onfocus=ran('focus') y=\"\" onfocus=ran('focus') autofocus z=",
    "<iframe srcdoc=\"<script>parent.ran('frame')</script>\"></iframe>",
    "<a href=\"javascript:ran('link')\">x</a>",
    "{{ ''.__class__ }}${ran('template')}`+ran('template')+`",
)
# Whatever runs says so here; dialogs would stop the page.
WATCH = "window.said = []; window.ran = what => { window.said.push(what) };"
WATCH += "window.alert = window.confirm = window.prompt = window.print = window.open = () => window.ran('dialog');"
# Everything on the page is opened, chosen, focused and pointed at.
USE = """
for (const one of document.querySelectorAll('details')) one.open = true;
for (const one of document.querySelectorAll('select')) {
  for (const [index] of [...one.options].entries()) {
    one.selectedIndex = index;
    one.dispatchEvent(new Event('change', {bubbles: true}));
  }
}
for (const one of document.querySelectorAll('input')) {
  if (one.type == 'checkbox') one.click(); else one.value = one.placeholder = "<img src=x onerror=ran('typed')>";
  one.dispatchEvent(new Event('input', {bubbles: true}));
}
for (const one of document.querySelectorAll('*')) {
  one.dispatchEvent(new MouseEvent('mouseover', {bubbles: true}));
  if (one.focus) one.focus();
}
for (const one of document.querySelectorAll("a, button")) if (one.click) one.click();
new Promise(done => setTimeout(done, 300))
"""
MADE = {
    "command": ["python"],
    "versions": {"jax": "1"},
    "code": {"commit": "1", "changed": True},
    "machine": {"system": "x", "processor": "x", "devices": "x", "cores": "x", "processes": "x"},
    "variables": {"XLA_FLAGS": "x"},
}


def hostile(number: int, start: str = "") -> str:
    return start + HOSTILE[number % len(HOSTILE)]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with browsing(tmp_path_factory.mktemp("profile")) as browser:
        browser.ask("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
        yield browser


def everywhere(values):
    """Returns a JSON object in which every text is hostile, the names of a dict's entries included."""
    number = iter(range(10_000))

    def changed(value):
        if isinstance(value, dict):
            return {name: changed(one) for name, one in value.items()} | {hostile(next(number)): hostile(next(number))}
        if isinstance(value, list):
            return [changed(one) for one in value]
        return hostile(next(number)) if isinstance(value, str) else value

    return changed(values)


def report(folder):
    """A report of a run, all of whose texts are hostile."""
    labels = LabelSpace(HOSTILE)
    names = dict(zip("abc", HOSTILE, strict=False))
    probabilities = (1 / len(HOSTILE),) * len(HOSTILE)
    turns = [
        dataclasses.replace(
            turn,
            conversation=hostile(number // 4, f"{number // 4}"),
            turn=hostile(number, f"{number}"),
            speaker=hostile(number + 1),
            text=hostile(number + 2),
            label=names[turn.label],
            prediction=names[turn.prediction],
            probabilities=probabilities,
        )
        for number, turn in enumerate(conversation("x", "xyxyxyxy" * 2, "abcabcaa" * 2, "abcbabca" * 2))
    ]
    name = "\"><img src=x onerror=ran('run')>"
    run, _ = test_report.evaluated(folder / name, turns, labels, test_report.insides_of(turns))
    made = everywhere(MADE)
    add_start(run.starts_file, 0, made)
    metrics, config = run.evaluation("test") / "metrics.json", run.path / "config.json"
    told = {"corpus": hostile(0), "source": hostile(1), "provenance": made, "data": {hostile(2): hostile(3)}}
    told |= {"version": hostile(4)}
    metrics.write_text(json.dumps(json.loads(metrics.read_text()) | told))
    values = json.loads(config.read_text())
    values["name"], values["data"]["neutral"] = hostile(5), hostile(6)
    values["data"]["source"], values["model"]["encoder"]["pretrained"] = hostile(7), hostile(0)
    config.write_text(json.dumps(values))
    return write_report(run, "test")


def prediction(folder):
    """A page of predictions, all of whose texts are hostile."""
    folder /= "page"
    test_prediction.predicted(folder, Classes(LabelSpace(HOSTILE)))
    path = folder / "predictions.csv"
    text = path.read_text(encoding="utf-8")
    for old, new in {"talk 0": 0, "id-0": 1, "text 1": 2, ",A,": 3}.items():
        quoted = hostile(new).replace('"', '""')
        text = text.replace(old, f',"{quoted}",' if "," in old else f'"{quoted}"')
    path.write_text(text, encoding="utf-8")
    PredictionFacts(
        inputs=HOSTILE,
        run=hostile(0),
        corpus=hostile(1),
        model=hostile(2),
        causal=True,
        step=7,
        evaluated="2026-03-09T23:30:00-01:00",
        version=hostile(3),
        provenance=everywhere(MADE),
    ).write(folder)
    return write_prediction_report(folder)


@pytest.mark.parametrize("policy", [True, False], ids=["with its policy", "without its policy"])
@pytest.mark.parametrize("page", [report, prediction])
def test_no_text_of_the_data_runs(page, policy, browser, tmp_path):
    path = page(tmp_path)
    text = path.read_text(encoding="utf-8")
    assert all(f"ran('{name}')" in text.replace("&#39;", "'") for name in ("script", "image", "drawing", "focus"))
    if not policy:
        text, count = re.subn(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
        assert count == 1
        path = tmp_path / "page without a policy.html"
        path.write_text(text, encoding="utf-8")
    browser.logged.clear()
    browser.open(path.as_uri())
    title = browser.run("document.title")
    browser.run(USE)
    assert browser.run("window.said") == [] and browser.logged == []
    assert browser.run("document.title") == title and browser.run("location.protocol") == "file:"
    assert browser.run("document.querySelectorAll('script').length") == 1
    assert browser.run("document.querySelectorAll('img, iframe, svg[onload]').length") == 0
    assert browser.run("document.querySelectorAll('li.t').length") > 0


@pytest.mark.parametrize("text", HOSTILE[:3])
def test_the_texts_would_run_if_they_were_not_escaped(text, browser, tmp_path):
    (tmp_path / "page.html").write_text(f"<script>/*{text}*/</script><p title=\"{text}\" lang='{text}'>")
    browser.open((tmp_path / "page.html").as_uri())
    browser.run(USE)
    assert browser.run("window.said") != []
