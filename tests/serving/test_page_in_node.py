"""The script of the page, in node: whatever goes wrong, the model has heard all turns that the page shows."""

import dataclasses
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from dtrm_jax.conversation import ValueSpace
from dtrm_jax.inference.predictor import Predictor
from tests.pages import parse
from tests.serving.conftest import LIMITS, Service, serving
from tests.trained import multimodal, random_trained

NODE = shutil.which("node")

pytestmark = pytest.mark.skipif(NODE is None, reason="there is no node")

# Of a request to the service, what stands in its place.
FAULTS = {
    "refused": "() => Response.json({ error: 'try again later' }, { status: 503 })",
    "not reached": "() => { throw new TypeError('fetch failed'); }",
    "answer lost": "async (_, really) => { await (await really()).text(); throw new TypeError('terminated'); }",
    "answer cut off": "async (_, really) => new Response((await (await really()).text()).slice(0, 9))",
}


@pytest.fixture(scope="module")
def small(service):
    """A service whose requests have three turns at most, and few bytes; two sessions are open at once."""
    with serving(service.predictor, dataclasses.replace(LIMITS, turns=3, bytes=400, sessions=2)) as running:
        yield running


def run(service: Service, steps: str):
    """Returns what steps in the page return; see ``page_in_node.js``."""
    page = parse(service.ask("GET", "/").body.decode())
    data = {name.removeprefix("data-"): value for name, value in page.find("body").attributes.items()}
    told = {"url": service.url, "data": data, "script": page.find("script").text, "steps": steps}
    command = [NODE, str(Path(__file__).parent / "page_in_node.js")]
    done = subprocess.run(command, input=json.dumps(told), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout, done.stderr
    return json.loads(done.stdout)


def assert_all_is_heard(service: Service, words: list[str], ended: dict) -> None:
    """The page shows what ``predict`` says of the whole, and the one session that is open has all turns."""
    assert ended["said"] == f"{len(words)} turns" and ended["heard"] == len(words) and ended["open"] == 1
    expected = service.predictor.predict([{"speaker": "Ann", "text": text} for text in words])
    probabilities = [list(turn.probabilities.values()) for turn in expected]
    np.testing.assert_allclose(ended["shown"], probabilities, rtol=0, atol=1e-5)


# Says one more turn, and looks at what the page and the service have then.
LAST = """
    const said = await say("w9");
    const { turns: heard } = await (await real(sessionOf())).json();
    const { sessions: open } = await (await real(new URL("/health", sessionOf()))).json();
    const ended = { said, heard, open, shown: shown() };
    await real(sessionOf(), { method: "DELETE" });
"""


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("part", [1, 2])
def test_a_conversation_that_could_not_be_told_anew_is_told_with_the_next_turn(small, fault, part):
    words = [f"w{number}" for number in range(1, 6)]
    found = run(
        small,
        f"""
    for (const word of {json.dumps(words)}) await say(word);
    await real(sessionOf(), {{ method: "DELETE" }});
    let number = -1; // the first request is to the session that has ended
    const fault = {FAULTS[fault]};
    const change = (path, really) => path.endsWith("/turns") && ++number === {part} ? fault(path, really) : really();
    const wrong = await during(change, () => say("w8"));
    {LAST}
    return {{ wrong, ended }};
    """,
    )
    assert "turns" not in found["wrong"].split()
    assert_all_is_heard(small, [*words, "w9"], found["ended"])


@pytest.mark.parametrize("fault", FAULTS)
def test_a_turn_whose_answer_did_not_come_is_not_told_twice(small, fault):
    found = run(
        small,
        f"""
    for (const word of ["w1", "w2"]) await say(word);
    const fault = {FAULTS[fault]};
    const change = (path, really) => path.endsWith("/turns") ? fault(path, really) : really();
    await during(change, () => say("w8"));
    {LAST}
    return ended;
    """,
    )
    assert_all_is_heard(small, ["w1", "w2", "w9"], found)


def test_a_conversation_is_told_anew_in_parts_that_the_service_admits(small):
    words = ["w1", "w2 " * 40 + "w2", "w3 " * 40 + "w3", "w4", "\u00e9" * 150, "w5", "w6", "w7", "w8"]
    found = run(
        small,
        f"""
    for (const word of {json.dumps(words)}) await say(word);
    await real(sessionOf(), {{ method: "DELETE" }});
    {LAST}
    return ended;
    """,
    )
    assert_all_is_heard(small, [*words, "w9"], found)


def test_a_pasted_conversation_whose_answers_break_off_goes_on_from_what_is_shown(small):
    found = run(
        small,
        f"""
    await say("w1");
    const change = async (path, really) => {{
        if (!path.endsWith("/turns")) return really();
        const [first, second] = (await (await really()).text()).split("\\n");
        return new Response(`${{first}}\\n${{second}}\\n{{"error": "broken off"}}\\n`);
    }};
    const wrong = await during(change, () => read("Ann: w3\\nAnn: w4\\nAnn: w5"));
    {LAST}
    return {{ wrong, ended }};
    """,
    )
    assert found["wrong"] == "broken off"
    assert_all_is_heard(small, ["w3", "w4", "w9"], found["ended"])


def test_names_and_quotes_that_are_written_from_right_to_left_move_no_number(service):
    speakers, texts = ("\u05d3\u05e0\u05d4", "Bob"), ("\u05e9\u05dc\u05d5\u05dd", "w2")
    transcript = "\n".join(f"{speaker}: {text}" for speaker, text in zip(speakers, texts, strict=True))
    found = run(service, f"await read({json.dumps(transcript)}); return apart();")
    assert found == [["1", speakers[0], texts[0]], ["2", speakers[1], texts[1], "1", speakers[0], texts[0]]]


def test_real_values_of_a_model_without_sessions_are_all_shown():
    settings = {"model__architecture": "c_lstm", "model__c_lstm__width": 8, "model__c_lstm__hidden": 8}
    predictor = Predictor(random_trained(multimodal("u", **settings), labels=ValueSpace(("valence", "power"))))
    steps = """
    const said = [await say("w1"), await say("w2"), await read("Ann: w3\\nAnn: w4\\nAnn: w5"), await say("w6")];
    return { said, words: apart().map((turn) => turn.at(-1)) };
    """
    with serving(predictor) as service:
        found = run(service, steps)
    assert found == {"said": ["1 turn", "2 turns", "3 turns", "4 turns"], "words": ["w3", "w4", "w5", "w6"]}
