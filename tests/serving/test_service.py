"""The endpoint for programs, over HTTP."""

import concurrent.futures
import dataclasses
import http.client
import json
import re

import numpy as np
import pytest

from dtrm_jax.conversation import ValueSpace
from dtrm_jax.inference.predictor import Predictor
from tests.factories import random_conversation
from tests.serving.conftest import LIMITS, serving
from tests.trained import SIZES, multimodal, random_trained

TALK = [{"speaker": "A", "text": "w5 w9"}, {"speaker": "B", "text": "w7"}, {"speaker": "A", "text": "w11 w6 w8"}]


def talks(*turns: int, seed: int = 0):
    """Random conversations as lists of turns."""
    random = np.random.default_rng(seed)
    made = [random_conversation(random, count) for count in turns]
    return [[{"speaker": turn.speaker, "text": turn.text} for turn in one.turns] for one in made]


def numbers(turns) -> np.ndarray:
    """Of answers or of predictions."""
    if turns and not isinstance(turns[0], dict):
        turns = [dataclasses.asdict(turn) for turn in turns]
    return np.array([list((turn.get("probabilities") or turn["values"]).values()) for turn in turns])


def assert_answers(found, predictor, turns):
    """Answers are those of ``predict``, and the turns differ, so that this means something."""
    expected = predictor.predict(turns, insides=True)
    np.testing.assert_allclose(numbers(found), numbers(expected), rtol=0, atol=1e-5)
    assert np.ptp(numbers(expected), axis=0).max() > 1e-3 or len(turns) == 1
    for answer, turn, prediction in zip(found, turns, expected, strict=True):
        assert (answer["turn"], answer["label"]) == (prediction.turn, prediction.label)
        assert {name: answer[name] for name in ("speaker", "text")} == turn
        place = prediction.insides["attended_turn_u"]
        attended = {
            "weight": prediction.insides.get("attended_weight_u"),
            "itself": prediction.insides["attended_self_u"],
            "turn": None if place < 0 else str(place + 1),
        }
        assert answer["attended"]["utterance"] == pytest.approx(attended, abs=1e-5)


def test_whole_conversations_are_predicted(service):
    one, other = talks(9, 4)
    answer = service.ask("POST", "/v1/predict", {"turns": one})
    assert answer.status == 200 and answer.headers["content-type"] == "application/json"
    assert_answers(answer.json["turns"], service.predictor, one)
    both = service.ask("POST", "/v1/predict", {"conversations": [one, other]}).json["conversations"]
    for found, turns in zip(both, (one, other), strict=True):
        assert_answers(found["turns"], service.predictor, turns)
    transcript = "\n".join(f"{turn['speaker']}: {turn['text']}" for turn in one)
    assert service.ask("POST", "/v1/predict", {"transcript": f"\n{transcript}\n\n"}).json == answer.json


def test_lines_of_a_transcript_end_where_those_of_a_file_do(service):
    """Not within an utterance, at what only some programs take for the end of a line."""
    text = "w5 \x0b w9 \x0c w7 \x1c w8 \x85 w6 \u2028 w11 \u2029 w5"
    transcript = f"Ann: {text}\r\nBob: w7\rAnn: w9\n"
    found = service.ask("POST", "/v1/predict", {"transcript": transcript})
    turns = [(turn["speaker"], turn["text"]) for turn in found.json["turns"]]
    assert turns == [("Ann", text), ("Bob", "w7"), ("Ann", "w9")]


def test_ids_of_turns_come_back_and_name_what_is_attended_to(service):
    (turns,) = talks(5)
    named = [turn | {"id": f"u{place}"} for place, turn in enumerate(turns)]
    found = service.ask("POST", "/v1/predict", {"turns": named}).json["turns"]
    assert [turn["turn"] for turn in found] == ["u0", "u1", "u2", "u3", "u4"]
    attended = [turn["attended"]["utterance"]["turn"] for turn in found]
    assert attended[0] is None and attended[1] == "u0" and set(attended[2:]) <= {"u0", "u1", "u2", "u3"}


def test_a_session_goes_on_turn_by_turn(service):
    (turns,) = talks(9)
    path = service.begin()
    found = [service.ask("POST", path, turn).json for turn in turns[:5]]
    more = service.ask("POST", path, {"turns": turns[5:7]})
    assert more.headers["content-type"] == "application/x-ndjson"
    transcript = "\n".join(f"{turn['speaker']}: {turn['text']}" for turn in turns[7:])
    found += [*more.lines, *service.ask("POST", path, {"transcript": transcript}).lines]
    assert_answers(found, service.predictor, turns)
    session = path.removesuffix("/turns")
    assert service.ask("GET", session).json["turns"] == 9
    assert service.ask("DELETE", session).status == 204
    gone = service.ask("POST", path, turns[0])
    assert gone.status == 404 and gone.json["error"].startswith("no such session; one ends after 600 seconds")


def test_each_answer_of_a_session_is_sent_when_it_is_there(service):
    (turns,) = talks(6)
    service_path = service.begin()
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    connection.request(
        "POST", service_path, json.dumps({"turns": turns}).encode(), {"Content-Type": "application/json"}
    )
    response = connection.getresponse()
    parts = []
    while part := response.read1(1 << 16):
        parts.append(part)
    connection.close()
    assert len(parts) > 1 and len(b"".join(parts).splitlines()) == 6


def test_fifty_sessions_at_once_keep_their_own_windows(service):
    given = talks(*([8, 5] * 25), seed=5)
    before = service.ask("GET", "/health").json["sessions"]
    paths = [service.begin() for _ in given]

    def follow(path, turns):
        return [service.ask("POST", path, turn).json for turn in turns]

    with concurrent.futures.ThreadPoolExecutor(50) as programs:
        answers = list(programs.map(follow, paths, given))
    assert service.ask("GET", "/health").json == {"status": "ok", "sessions": before + 50, "waiting": 0}
    for found, turns in zip(answers, given, strict=True):
        assert_answers(found, service.predictor, turns)
    for path in paths:
        service.ask("DELETE", path.removesuffix("/turns"))


def test_the_model_is_described(service):
    facts = service.ask("GET", "/v1/model").json
    assert facts["emotions"] == list(service.predictor.labels) and facts["sessions"] and facts["causal"]
    assert (facts["kind"], facts["window"], facts["limits"]["turns"]) == ("classes", 3, 60)


PREDICT = "/v1/predict"
BODY = {"turns": TALK}
REFUSALS = [
    ("POST", PREDICT, b"{", {}, 400, "expected JSON: "),
    ("POST", PREDICT, b"\xff", {}, 400, "expected JSON: "),
    ("POST", PREDICT, b"[" * 50_000, {}, 400, "expected JSON"),
    ("POST", PREDICT, b'{"turns": ' + b"9" * 5000 + b"}", {}, 400, "expected JSON: Exceeds the limit"),
    ("POST", PREDICT, b'{"turns": [{"speaker": "A", "text": "w5", "acoustic": [NaN]}]}', {}, 400, "NaN is no number"),
    ("POST", PREDICT, [], {}, 400, "expected a JSON object, found an empty one"),
    ("POST", PREDICT, {}, {}, 400, "expected one of turns, transcript, conversations, found nothing"),
    ("POST", PREDICT, {**BODY, "x\n": 1}, {}, 400, r"found 'turns', 'x\\n'"),
    ("POST", PREDICT, {"turns": "Ann: hi"}, {}, 400, "conversation 1: expected a list of turns, found a text"),
    ("POST", PREDICT, {"turns": [{"text": "w5"}]}, {}, 400, "turn 1: expected the name of a speaker, found nothing"),
    ("POST", PREDICT, {"turns": [{"speaker": 3, "text": "w5"}]}, {}, 400, "expected the name of a speaker, found 3"),
    ("POST", PREDICT, {"turns": [*TALK, {"speaker": "A"}]}, {}, 400, "turn 4: expected a text, found an empty one"),
    ("POST", PREDICT, {"turns": [{"speaker": "A", "text": ["w5"]}]}, {}, 400, "expected a text, found list"),
    ("POST", PREDICT, {"turns": [7]}, {}, 400, "expected a pair of speaker and text, or a dict, found 7"),
    ("POST", PREDICT, {"turns": [{"speaker": "\ud800", "text": "w5"}]}, {}, 400, "expected a speaker of Unicode"),
    ("POST", PREDICT, {"turns": [{**TALK[0], "mood": "joy"}]}, {}, 400, "expected some of speaker, text, .*'mood'"),
    ("POST", PREDICT, {"conversations": []}, {}, 400, "conversations: expected a list of conversations"),
    (
        "POST",
        PREDICT,
        {"conversations": [TALK, 4]},
        {},
        400,
        "conversation 2: expected a list of turns, found a number",
    ),
    (
        "POST",
        PREDICT,
        {"transcript": "Ann: w5\nBob"},
        {},
        400,
        "transcript, line 2: expected Speaker: text, found 'Bob'",
    ),
    ("POST", PREDICT, {"transcript": " \n"}, {}, 400, "transcript: expected lines of Speaker: text, found none"),
    (
        "POST",
        PREDICT,
        {"turns": [{"speaker": "A", "text": "w" * 2001}]},
        {},
        413,
        "at most 2000 characters, found 2001",
    ),
    (
        "POST",
        PREDICT,
        {"turns": [{"speaker": "A", "text": "w" * 1_000_000}]},
        {},
        413,
        "a body of at most 100000 bytes",
    ),
    ("POST", PREDICT, {"turns": TALK * 400}, {}, 413, "expected at most 60 turns in a request, found 1200"),
    ("POST", PREDICT, {"conversations": [TALK] * 21}, {}, 413, "expected at most 60 turns in a request, found 63"),
    ("POST", PREDICT, {"transcript": "A: w5\n" * 1000}, {}, 413, "expected at most 60 turns in a request, found 1000"),
    ("POST", "/v1/sessions", {"name": "mine"}, {}, 400, "expected an empty object, found 'name'"),
    ("POST", "/v1/sessions/none/turns", TALK[0], {}, 404, "no such session"),
    ("GET", "/v1/sessions/none", None, {}, 404, "no such session"),
    ("DELETE", "/v1/sessions/none", None, {}, 404, "no such session"),
    ("GET", PREDICT, None, {}, 405, "Method Not Allowed"),
    ("GET", "/etc/passwd", None, {}, 404, "Not Found"),
    ("POST", PREDICT, BODY, {"Content_Type": "text/plain"}, 415, "expected the header Content-Type: application/json"),
    ("POST", PREDICT, BODY, {"Host": "evil.example"}, 403, "expected this service's host .* found 'evil.example'"),
    ("GET", "/", None, {"Host": "evil.example:8000"}, 403, "expected this service's host"),
    ("POST", PREDICT, BODY, {"Origin": "http://evil.example"}, 403, "expected a page of this service"),
    ("POST", PREDICT, BODY, {"Origin": "http://["}, 403, r"expected a page of this service, found one of 'http://\['"),
    ("POST", PREDICT, BODY, {"Origin": "http://[x]"}, 403, "expected a page of this service"),
    ("POST", PREDICT, BODY, {"Host": "["}, 403, "expected this service's host"),
    ("POST", PREDICT, BODY, {"Origin": "null"}, 403, "expected a page of this service, found one of 'null'"),
]


@pytest.mark.parametrize(("method", "path", "body", "headers", "status", "reason"), REFUSALS)
def test_what_is_refused_is_refused_in_a_line_and_the_service_goes_on(
    service, method, path, body, headers, status, reason
):
    answer = service.ask(method, path, body, **headers)
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/json" and answer.body.count(b"\n") == 1
    assert re.search(reason, answer.json["error"]), answer.json
    assert list(answer.json) == ["error"] and answer.json["error"].isprintable()
    assert service.ask("POST", PREDICT, BODY).status == 200


@pytest.mark.parametrize("host", ["localhost:1", "127.0.0.1", "[::1]:8000", "moods.lan", "MOODS.LAN:80", "10.1.2.3"])
def test_the_service_is_called_by_address_or_by_its_names(service, host):
    assert service.ask("POST", PREDICT, BODY, Host=host, Origin=f"http://{host}").status == 200


def test_no_foreign_page_may_read_an_answer(service):
    preflight = {"Origin": "http://evil.example", "Access_Control_Request_Method": "POST"}
    assert service.ask("OPTIONS", PREDICT, None, **preflight).status == 403
    for path in ("/", "/health", "/v1/model"):
        headers = service.ask("GET", path).headers
        assert not [name for name in headers if name.startswith("access-control")]
        assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"turns": [TALK[0], {"speaker": "B", "text": " "}]}, "turn 2: expected a text, found an empty one"),
        ({"speaker": "B"}, "turn 1: expected a text, found an empty one"),
        ({"speaker": "B", "text": "w5", "label": "x"}, "expected turns, transcript or some of .*, found 'label'"),
        ({"speaker": "B", "text": "w5", "id": "u1"}, "found 'id'"),
        ({"turns": [TALK[0] | {"id": "u1"}]}, "turns: expected no id, as a session numbers its turns"),
        ({"turns": TALK, "transcript": "A: w5"}, "expected one of turns, transcript, found 'turns', 'transcript'"),
    ],
)
def test_a_refused_request_adds_nothing_to_a_session(service, body, reason):
    path = service.begin()
    service.ask("POST", path, TALK[0])
    answer = service.ask("POST", path, body)
    assert answer.status == 400 and re.search(reason, answer.json["error"]), answer
    found = [service.ask("POST", path, turn).json for turn in TALK[1:]]
    expected = service.predictor.predict(TALK)[1:]
    np.testing.assert_allclose(numbers(found), numbers(expected), rtol=0, atol=1e-5)


def test_a_model_that_looks_ahead_predicts_and_has_no_sessions(ahead):
    found = ahead.ask("POST", PREDICT, BODY).json["turns"]
    np.testing.assert_allclose(numbers(found), numbers(ahead.predictor.predict(TALK)), rtol=0, atol=1e-5)
    assert "acoustic" not in found[0]["attended"] and "later_u" in " ".join(found[0]["insides"])
    refused = ahead.ask("POST", "/v1/sessions", {})
    assert refused.status == 400 and "a live conversation needs a causal model" in refused.json["error"]
    facts = ahead.ask("GET", "/v1/model").json
    assert (facts["causal"], facts["sessions"], facts["features"]) == (False, False, {"acoustic": SIZES["acoustic"]})


def test_a_model_of_voices_and_faces_takes_features_and_gives_values():
    predictor = Predictor(random_trained(multimodal("av"), labels=ValueSpace(("valence", "power"))))
    vectors = np.random.default_rng(3).normal(size=(4, SIZES["acoustic"])).round(3).tolist()
    turns = [{"speaker": "A", "text": "", "acoustic": vector} for vector in vectors]
    with serving(predictor) as service:
        whole = service.ask("POST", PREDICT, {"turns": turns}).json["turns"]
        assert list(whole[0]["values"]) == ["valence", "power"] and "label" not in whole[0]
        np.testing.assert_allclose(numbers(whole), numbers(predictor.predict(turns)), rtol=0, atol=1e-5)
        path = service.begin()
        live = [service.ask("POST", path, turn).json for turn in turns]
        np.testing.assert_allclose(numbers(live), numbers(whole), rtol=0, atol=1e-5)
        wrong = service.ask("POST", path, turns[0] | {"acoustic": [1.0]})
        assert wrong.status == 400 and wrong.json["error"].endswith("expected 5 acoustic features, found 1")


def test_a_turn_without_features_goes_on_with_a_session_as_with_a_whole_conversation():
    predictor = Predictor(random_trained(multimodal("av")))
    vectors = np.random.default_rng(3).normal(size=(2, SIZES["acoustic"])).round(3).tolist()
    turns = [{"speaker": "A", "acoustic": vectors[0]}, {"speaker": "B"}, {"speaker": "A", "acoustic": vectors[1]}]
    with serving(predictor) as service:
        whole = service.ask("POST", PREDICT, {"turns": turns}).json["turns"]
        path = service.begin()
        nothing = service.ask("POST", path, turns[1])
        assert nothing.status == 400 and "as this model reads no text, found none" in nothing.json["error"]
        live = [service.ask("POST", path, turn).json for turn in turns]
    np.testing.assert_allclose(numbers(live), numbers(whole), rtol=0, atol=1e-5)


def test_a_speaker_too_many_is_refused_before_the_first_turn_is_added():
    settings = {"model__architecture": "cmn", "model__cmn__width": 8, "model__cmn__more_speakers": "refuse"}
    with serving(Predictor(random_trained(multimodal("u", **settings)))) as service:
        path = service.begin()
        assert service.ask("POST", path, TALK[0]).status == 200
        refused = service.ask("POST", path, {"turns": [*TALK[1:], {"speaker": "C", "text": "w7"}]})
        assert refused.status == 400 and "expected at most 2 speakers" in refused.json["error"]
        assert service.ask("GET", path.removesuffix("/turns")).json["turns"] == 1
        assert len(service.ask("POST", path, {"turns": TALK[1:]}).lines) == 2


def test_sessions_are_bounded_in_number(service):
    with serving(service.predictor, dataclasses.replace(LIMITS, sessions=2)) as small:
        first = small.begin()
        small.begin()
        full = small.ask("POST", "/v1/sessions", {})
        assert full.status == 503 and full.headers["retry-after"] == "1"
        assert full.json["error"] == "expected at most 2 sessions at once, all of them are in use"
        small.ask("DELETE", first.removesuffix("/turns"))
        assert small.ask("POST", "/v1/sessions", {}).status == 201
