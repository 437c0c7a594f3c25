"""From speech to scores and a service: forty clips of two voices, one of them broken, one empty, one of ten minutes."""

import csv
import shutil
import subprocess

import numpy as np
import pytest

from dtrm_jax import api
from dtrm_jax.inference.predictor import load
from tests.extraction import killing
from tests.extraction.recordings import tone, write_table, write_wav
from tests.runs import tiny_run_config
from tests.serving.conftest import serving

opensmile = pytest.importorskip("opensmile", reason="needs openSMILE: pip install -r requirements-audio.txt")
soundfile = pytest.importorskip("soundfile", reason="needs soundfile: pip install -r requirements-audio.txt")
if shutil.which("espeak-ng") is None:
    pytest.skip("needs espeak-ng, a program of its own: apt install espeak-ng", allow_module_level=True)

VOICES = {"Ann": "en+f3", "Bob": "en+m2"}
TEXTS = {"joy": ("We won the game.", "I am so glad."), "anger": ("Leave me alone.", "That was mine.")}
BROKEN, EMPTY, LONG = 7, 11, 39  # the last clip, so that it is not done when the first are
RATE = 8000  # of the long one


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speech")
    rows = []
    for number in range(40):
        speaker, label = tuple(VOICES)[number % 2], tuple(TEXTS)[number % 3 % 2]
        text, path = TEXTS[label][number // 4 % 2], folder / f"{number}.wav"
        if number == BROKEN:
            path.write_bytes(b"RIFF" + bytes(100))
        elif number == EMPTY:
            write_wav(path, tone(0))
        else:
            subprocess.run(["espeak-ng", "-v", VOICES[speaker], "-w", path, text], check=True)
        rows.append((number // 8, number, speaker, text, label, path.name, "", ""))
    spoken, _ = soundfile.read(folder / f"{LONG}.wav", always_2d=True)
    write_wav(folder / f"{LONG}.wav", np.resize(spoken, (600 * RATE, 1)), RATE)
    write_table(folder / "train.csv", rows)
    return folder


def test_from_recordings_to_a_service(talk, tmp_path):
    out = tmp_path / "heard"
    arguments = ("audio", talk, "--output", out, "--workers", 2)
    done = killing.kill_after(tmp_path, tmp_path / "heard.unfinished", 5, *arguments)
    assert 5 <= len(done) < 38 and not out.exists()
    resumed = killing.run(tmp_path, *arguments)
    assert resumed.returncode == 0, resumed.stderr
    assert f"{out}: 38 of 40 turns with eGeMAPSv02" in resumed.stdout
    with (out / "absent.csv").open(newline="") as file:
        absent = {row["audio"]: row["reason"] for row in csv.DictReader(file)}
    assert absent.keys() == {f"{BROKEN}.wav", f"{EMPTY}.wav"} and absent[f"{EMPTY}.wav"] == "is empty"
    with np.load(out / "train.npz") as arrays:
        acoustic = arrays["acoustic"]
    smile = opensmile.Smile(feature_set=opensmile.FeatureSet.eGeMAPSv02)
    for number in range(40):
        if number in (BROKEN, EMPTY):
            assert np.isnan(acoustic[number]).all()
        else:
            expected = smile.process_file(str(talk / f"{number}.wav")).to_numpy()[0]
            np.testing.assert_array_equal(acoustic[number], expected, err_msg=str(number))
    config = tiny_run_config(tmp_path / "cache")
    config.data.name, config.data.source, config.data.validation_share = "table", str(out), 0.2
    config.model.modalities, config.model.fusion.kind, config.train.epochs = "ua", "concat", 1
    scores = api.evaluate(api.train(config, tmp_path / "run"), split="dev")
    assert scores["n"] == 8 and 0 <= scores["weighted_f1"] <= 1
    assert_served(load(tmp_path / "run"), acoustic)


def assert_served(predictor, acoustic):
    """What was heard of the second conversation, in which a clip has no features, is sent to a service and answered."""
    heard = [None if np.isnan(vector).all() else vector.tolist() for vector in acoustic[8:16]]
    assert [place for place, vector in enumerate(heard, start=8) if vector is None] == [EMPTY]
    turns = [{"speaker": "Ann", "text": TEXTS["joy"][0], "acoustic": vector} for vector in heard]
    with serving(predictor) as service:
        found = service.ask("POST", "/v1/predict", {"turns": turns}).json["turns"]
        deaf = service.ask("POST", "/v1/predict", {"turns": [turn | {"acoustic": None} for turn in turns]}).json[
            "turns"
        ]
    expected = predictor.predict(turns)
    shares, others = ([list(turn["probabilities"].values()) for turn in some] for some in (found, deaf))
    np.testing.assert_allclose(shares, [list(turn.probabilities.values()) for turn in expected], rtol=0, atol=1e-5)
    assert np.abs(np.subtract(shares, others)).max() > 1e-4, "what was heard matters"
