"""The page for people, in a real headless browser."""

import numpy as np
import pytest

from dtrm_jax.conversation import ValueSpace
from dtrm_jax.inference.predictor import Predictor
from dtrm_jax.report.colours import Scale, swatches
from tests.browser import CHROMIUM, Browser, browsing
from tests.serving.conftest import serving
from tests.serving.test_service import numbers, talks
from tests.trained import multimodal, random_trained

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")

HOSTILE = "<script>document.title='x'</script><img src=x onerror=\"document.title='y'\"> </span> &amp; \u202e\u0007"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with browsing(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_is_wrong(browser):
    """No script of the page fails, and its content security policy refuses nothing that it wants."""
    browser.logged.clear()
    yield
    assert not [line for line in browser.logged if "status of 404" not in line]


def shown(browser: Browser) -> list[dict]:
    """What a reader sees of each turn; probabilities as the page knows them."""
    return browser.run("""[...document.querySelectorAll("#turns > li")].map((turn) => ({
        turn: turn.querySelector(".w small").textContent,
        speaker: turn.querySelector(".w bdi").textContent,
        text: turn.querySelector(".w span").textContent,
        label: turn.querySelector(".v")?.textContent,
        probabilities: Object.fromEntries([...turn.querySelectorAll(".r li")].map((item) => item.title.split(" "))
            .map(([name, share]) => [name, Number(share)])),
        words: [...turn.querySelectorAll(".r li")].map((item) => item.textContent),
        colours: [...turn.querySelectorAll(".r li")].map((item) => getComputedStyle(item).getPropertyValue("--e")),
        looks: [...turn.querySelectorAll(".a a")].map((link) => link.textContent),
    }))""")


def say(browser: Browser, speaker: str, text: str) -> None:
    """Types a turn with the keyboard alone, from the field of the speaker on, and waits for the answer."""
    there = browser.run("document.querySelectorAll('#turns > li').length")
    browser.run("document.querySelector('[name=speaker]').select()")
    browser.type(speaker)
    browser.press("Tab")
    browser.type(text)
    browser.press("Enter")
    browser.wait(f"document.querySelectorAll('#turns > li').length === {there + 1}")
    browser.wait("!document.querySelector('button').disabled")


def paste(browser: Browser, transcript: str) -> None:
    browser.run("document.querySelector('#transcript').select()")
    browser.type(transcript)
    browser.press("Tab")
    browser.press("Enter")
    browser.wait("!document.querySelector('button').disabled")


def assert_shows(browser: Browser, predictor: Predictor, turns: list[dict]) -> None:
    """The page says what ``predict`` says, in the report's colours."""
    expected, found = predictor.predict(turns, insides=True), shown(browser)
    np.testing.assert_allclose(numbers(found), numbers(expected), rtol=0, atol=1e-5)
    paint = [swatches(predictor.labels)[name].back for name in predictor.labels]
    for answer, turn, prediction in zip(found, turns, expected, strict=True):
        assert {name: answer[name] for name in ("speaker", "text")} == turn
        assert (answer["turn"], answer["label"]) == (prediction.turn, prediction.label)
        assert list(answer["probabilities"]) == list(predictor.labels) and answer["colours"] == paint
        assert answer["words"] == [f"{name} {100 * share:.0f}" for name, share in answer["probabilities"].items()]
        place = int(prediction.insides["attended_turn_u"])
        assert answer["looks"] == ([] if place < 0 else [f"{place + 1} {turns[place]['speaker']}"])
    marks = browser.run("[...document.querySelectorAll('#timeline .k')].map((one) => one.textContent)")
    assert marks == [swatches(predictor.labels)[turn.label].short for turn in expected]
    bars = browser.run("[...document.querySelectorAll('#timeline .column')].map((one) => one.children.length)")
    assert bars == [len(predictor.labels)] * len(turns)


@pytest.mark.parametrize("size", [(1280, 900), (390, 844)])
def test_a_conversation_typed_turn_by_turn_and_one_that_is_pasted(browser, service, size):
    one, other = talks(4, 6, seed=2)
    browser.open(service.url, width=size[0], height=size[1])
    for turn in one:
        say(browser, turn["speaker"], turn["text"])
    assert_shows(browser, service.predictor, one)
    paste(browser, "\n".join(f"{turn['speaker']}: {turn['text']}" for turn in other))
    browser.wait("document.getElementById('status').textContent === '6 turns'")
    assert_shows(browser, service.predictor, other)
    say(browser, one[0]["speaker"], one[0]["text"])  # what is pasted goes on
    assert_shows(browser, service.predictor, [*other, one[0]])
    assert browser.run("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"
    browser.run("document.querySelectorAll('#timeline a')[3].focus()")
    browser.press("Enter")
    assert browser.run("location.hash") == "#t3" and browser.run("document.querySelector('.t:target').id") == "t3"


def test_a_hostile_text_is_shown_as_text(browser, service):
    browser.open(service.url)
    say(browser, "<b>Ann</b>", HOSTILE)
    say(browser, "Bob", "w5")
    (first, second) = shown(browser)
    assert (first["speaker"], first["text"]) == ("<b>Ann</b>", HOSTILE.rstrip())
    assert "<b>Ann</b>" in second["looks"][0]
    assert browser.run("document.querySelectorAll('#result script, #result img, #result b b').length") == 0
    assert "emotions of a conversation" in browser.run("document.title")
    paste(browser, f"Cem: {HOSTILE}\nBob: w5")
    assert shown(browser)[0]["text"] == HOSTILE.strip()
    assert "emotions of a conversation" in browser.run("document.title")


def test_what_is_refused_is_said_and_what_is_shown_goes_on(browser, service):
    (turns,) = talks(4, seed=7)
    browser.open(service.url)
    for turn in turns[:2]:
        say(browser, turn["speaker"], turn["text"])
    paste(browser, "Ann: hello\nnobody")
    browser.wait("document.getElementById('status').classList.contains('no')")
    said = browser.run("document.getElementById('status').textContent")
    assert said == "transcript, line 2: expected Speaker: text, found 'nobody'"
    browser.logged.clear()  # in which the browser notes the status 400
    for turn in turns[2:]:
        say(browser, turn["speaker"], turn["text"])
    assert_shows(browser, service.predictor, turns)
    browser.run("document.getElementById('clear').click()")
    browser.wait("document.getElementById('result').hidden && !document.querySelector('button').disabled")
    say(browser, turns[0]["speaker"], turns[0]["text"])
    assert_shows(browser, service.predictor, turns[:1])


def test_a_session_that_has_ended_is_told_anew(browser, service):
    (turns,) = talks(5, seed=9)
    browser.open(service.url)
    # What the page asks is written down, so that the test can end its session.
    browser.run("window.asked = []; const real = fetch; window.fetch = (...all) => (asked.push(all[0]), real(...all))")
    for turn in turns[:3]:
        say(browser, turn["speaker"], turn["text"])
    path = browser.run("asked.findLast((one) => one.endsWith('/turns'))")
    assert service.ask("DELETE", path.removesuffix("/turns")).status == 204
    for turn in turns[3:]:
        say(browser, turn["speaker"], turn["text"])
    assert browser.run("asked.findLast((one) => one.endsWith('/turns'))") != path
    assert_shows(browser, service.predictor, turns)


def test_a_model_that_looks_ahead_is_asked_for_the_whole_each_time(browser, ahead):
    (turns,) = talks(4, seed=4)
    browser.open(ahead.url)
    assert browser.run("document.getElementById('causal').innerText").startswith("Not causal. Later turns are seen too")
    for turn in turns[:3]:
        say(browser, turn["speaker"], turn["text"])
    assert_shows(browser, ahead.predictor, turns[:3])
    paste(browser, "\n".join(f"{turn['speaker']}: {turn['text']}" for turn in turns))
    browser.wait("document.getElementById('status').textContent === '4 turns'")
    assert_shows(browser, ahead.predictor, turns)


def test_real_values_are_shown_with_their_colours(browser):
    labels = ValueSpace(("valence", "power"))
    predictor = Predictor(random_trained(multimodal("u"), labels=labels))
    (turns,) = talks(5, seed=6)
    with serving(predictor) as service:
        browser.open(service.url)
        paste(browser, "\n".join(f"{turn['speaker']}: {turn['text']}" for turn in turns))
        browser.wait("document.getElementById('status').textContent === '5 turns'")
        found = [one["words"] for one in shown(browser)]
        cells = browser.run(
            "[...document.querySelectorAll('#timeline .cells')].map((one) => [...one.children].map((i) => i.className))"
        )
        paint = browser.run("getComputedStyle(document.querySelector('#timeline .cells i')).getPropertyValue('--e')")
        rows = browser.run("[...document.querySelectorAll('#timeline .names span')].map((one) => one.textContent)")
        ranges = browser.run("[...document.querySelectorAll('#ranges li')].map((one) => one.textContent)")
        chips = browser.run(
            "[...document.querySelectorAll('#turns ul')].map((u) => [...u.children].map((i) => i.firstChild.className))"
        )
    expected = [turn.values for turn in predictor.predict(turns)]
    assert found == [[f"{name} {value:.2f}" for name, value in values.items()] for values in expected]
    assert paint.startswith("#") and rows == list(labels.names)
    assert chips == [[f"k {colour}" for colour in cell] for cell in cells]
    for row, name in enumerate(labels.names):
        values = [one[name] for one in expected]
        assert ranges[row] == f"{name}:  {min(values):.2f} to  {max(values):.2f}"
        scale = Scale.over(min(values), max(values))
        assert [cell[row] for cell in cells] == [f"{scale.kind}{scale.step(value)}" for value in values]


def test_a_model_that_reads_no_text_has_no_form(browser):
    with serving(Predictor(random_trained(multimodal("av")))) as service:
        browser.open(service.url)
        assert "This model reads no text" in browser.run("document.body.innerText")
        assert browser.run("document.querySelectorAll('form').length") == 0


def test_the_page_asks_nothing_of_anyone_else(service):
    answer = service.ask("GET", "/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    page = answer.body.decode()
    assert "http://" not in page and "https://" not in page
