"""Features of recordings, beside openSMILE called directly."""

import csv
import json

import numpy as np
import pandas as pd
import pytest

from dtrm_jax.data.readers import table
from dtrm_jax.errors import InputError
from dtrm_jax.extraction import audio
from dtrm_jax.extraction.audio import FEATURE_SETS, extract_audio
from tests.extraction import killing
from tests.extraction.recordings import tone, write_table, write_wav

opensmile = pytest.importorskip("opensmile", reason="needs openSMILE: pip install -r requirements-audio.txt")
soundfile = pytest.importorskip("soundfile", reason="needs soundfile: pip install -r requirements-audio.txt")

from dtrm_jax.extraction import opensmile_worker  # noqa: E402 - imports both


def direct(path, feature_set="eGeMAPSv02", start=0.0, end=None) -> np.ndarray:
    channels = range(soundfile.info(path).channels)  # by itself, it takes the first alone
    smile = opensmile.Smile(feature_set=opensmile.FeatureSet[feature_set], channels=channels, mixdown=True)
    times = {"start": pd.Timedelta(start, "s")} | ({} if end is None else {"end": pd.Timedelta(end, "s")})
    return smile.process_file(str(path), **times).to_numpy()[0]


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    folder = tmp_path_factory.mktemp("talk")
    clips = folder / "clips"
    write_wav(clips / "one.wav", tone(1.0))
    write_wav(clips / "short.wav", tone(0.03))
    write_wav(clips / "empty.wav", tone(0))
    write_wav(clips / "talk.wav", tone(3.0, rate=44100, channels=2), 44100)
    soundfile.write(clips / "dev.flac", tone(1.2, pitch=220), 16000)
    (clips / "broken.wav").write_bytes(b"RIFF\x10\0\0\0WAVEno wave at all")
    spoken = [
        ("clips/one.wav", "", ""),
        ("clips/talk.wav", "0.5", "1.75"),
        ("clips/talk.wav", 1.75, 3.5),
        ("clips/broken.wav", "", ""),
        ("clips/empty.wav", "", ""),
        ("", "", ""),
        ("clips/short.wav", "", ""),
        ("clips/talk.wav", 7, 8),
        ("clips/nowhere.wav", "", ""),
        ("clips/talk.wav", 1, 1),
    ]
    rows = [("c", turn, "AB"[turn % 2], "Hm.", "joy", *clip) for turn, clip in enumerate(spoken)]
    write_table(folder / "train.csv", rows)
    write_table(folder / "dev.csv", [("d", 0, "A", "Hm.", "joy", clips / "dev.flac", "", "")])
    (folder / "labels.txt").write_text("joy\nanger\n")
    for split, count in {"train": len(rows), "dev": 1}.items():
        np.savez(folder / f"{split}.npz", visual=np.arange(3 * count).reshape(count, 3).astype(np.float32))
    return folder


def extracted(source, folder, **changes):
    settings = {"features": "eGeMAPSv02", "columns": "", "workers": 2, "say": print} | changes
    return extract_audio(source, folder, **settings)


@pytest.fixture(scope="module")
def output(talk, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out") / "features"
    said = []
    found = extracted(talk, folder, say=said.append)
    assert found == (11, 4, 6, False) and len(said) == 6
    assert all("train.csv, line " in line for line in said)
    return folder


def test_features_are_those_of_opensmile_called_directly(talk, output):
    with np.load(output / "train.npz") as arrays:
        acoustic, visual = arrays["acoustic"], arrays["visual"]
    clips = talk / "clips"
    expected = [
        direct(clips / "one.wav"),
        direct(clips / "talk.wav", start=0.5, end=1.75),
        direct(clips / "talk.wav", start=1.75, end=3.0),
    ]
    assert acoustic.dtype == np.float32 and np.ptp(acoustic[1:3], axis=0).max() > 1
    np.testing.assert_array_equal(acoustic[:3], expected)
    assert np.isnan(acoustic[3:]).all() and acoustic.shape == (10, 88)
    np.testing.assert_array_equal(visual, np.arange(30).reshape(10, 3))
    with np.load(output / "dev.npz") as arrays:
        np.testing.assert_array_equal(arrays["acoustic"], [direct(clips / "dev.flac")])


def test_clips_without_features_are_listed_with_the_reason(output):
    with (output / "absent.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["split"], row["conversation"], row["turn"]) for row in rows] == [("train", "c", n) for n in "346789"]
    for row, reason in zip(
        rows,
        (
            "cannot be read: ",
            "is empty",
            "has 0.03 s, which is too short for openSMILE",
            "starts at 7 s, the recording has 3 s",
            "cannot be read: Error opening ",
            "is empty: from 1 s to 1 s",
        ),
        strict=True,
    ):
        assert row["reason"].startswith(reason), row


def test_the_folder_is_one_of_own_data_and_the_tables_are_as_they_were(talk, output):
    assert {path.name for path in output.iterdir()} == {
        *("train.csv", "train.npz", "dev.csv", "dev.npz", "labels.txt", "absent.csv", "extraction.json")
    }
    for name in ("train.csv", "dev.csv", "labels.txt"):
        assert (output / name).read_bytes() == (talk / name).read_bytes()
    dataset = table.read(output)
    assert dataset.feature_sizes() == {"acoustic": 88, "visual": 3} and dataset.labels.names == ("joy", "anger")
    assert len(dataset.splits["train"][0]) == 10


def test_the_same_again_does_nothing_and_another_is_refused(talk, output, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in output.iterdir()}
    assert extracted(talk, output) == (11, 4, 6, True)
    with pytest.raises(InputError, match="was extracted with features eGeMAPSv02, expected IS10; choose another"):
        extracted(talk, output, features="IS10")
    one = write_table(tmp_path / "other.csv", [("c", 1, "A", "Hm.", "joy", talk / "clips" / "one.wav", "", "")])
    with pytest.raises(InputError, match="was extracted with files .*other.csv.*; choose another folder"):
        extracted(one, output)
    with pytest.raises(InputError, match="expected a new or an empty folder"):
        extracted(one, talk)
    with pytest.raises(InputError, match="has acoustic features already"):
        extracted(output, tmp_path / "new")
    assert {path: path.stat().st_mtime_ns for path in output.iterdir()} == before
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("feature_set", FEATURE_SETS)
def test_every_feature_set_has_its_size(talk, feature_set):
    path = talk / "clips" / "one.wav"
    found = opensmile_worker.vector(opensmile_worker.smile_of(feature_set), str(path), 0.0, None)
    assert found.shape == (FEATURE_SETS[feature_set],)
    np.testing.assert_array_equal(found, direct(path, feature_set))


def test_samples_beyond_the_range_do_not_turn_over(tmp_path):
    soundfile.write(tmp_path / "loud.wav", 2 * np.sin(np.arange(16000) / 20), 16000, subtype="FLOAT")
    samples, rate = opensmile_worker.read(str(tmp_path / "loud.wav"), 0.0, None)
    assert rate == 16000 and samples.min() == -1 and 0.9999 < samples.max() < 1


def test_a_clip_of_hours_is_refused_before_it_is_read(talk, monkeypatch):
    monkeypatch.setattr(opensmile_worker, "LONGEST", 2)
    path = str(talk / "clips" / "talk.wav")
    with pytest.raises(opensmile_worker.Absent, match="has 3 s, a clip has at most 2; give its start and end"):
        opensmile_worker.read(path, 0.0, None)
    assert opensmile_worker.read(path, 1.0, 3.0)[0].shape == (1, 88200)


def test_nothing_but_broken_clips_is_an_error(talk, tmp_path):
    path = write_table(tmp_path / "train.csv", [("c", 1, "A", "Hm.", "joy", talk / "clips" / "broken.wav", "", "")])
    with pytest.raises(InputError, match=r"train\.csv, line 2: .*broken\.wav cannot be read: .*; no clip gives featu"):
        extracted(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_table_that_changes_meanwhile_is_refused(talk, tmp_path, monkeypatch):
    rows = [("c", turn, "A", "Hm.", "joy", talk / "clips" / "one.wav", "", "") for turn in (1, 2)]
    source, gathered = write_table(tmp_path / "train.csv", rows), audio._gathered

    def meanwhile(*given):
        write_table(source, rows[::-1])
        return gathered(*given)

    monkeypatch.setattr(audio, "_gathered", meanwhile)
    with pytest.raises(InputError, match=r"train\.csv was changed while its features were extracted"):
        extracted(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_killed_extraction_goes_on_where_it_was(talk, tmp_path):
    short, long = tmp_path / "short.wav", tmp_path / "long.wav"
    write_wav(short, tone(0.5))
    write_wav(long, tone(40))
    rows = [("c", turn, "A", "Hm.", "joy", short, "", "") for turn in range(4)]
    rows[0] = ("c", 0, "A", "Hm.", "joy", talk / "clips" / "one.wav", "", "")
    rows.append(("c", 4, "A", "Hm.", "joy", long, "", ""))
    source, out = write_table(tmp_path / "train.csv", rows), tmp_path / "out"
    arguments = ("audio", source, "--output", out, "--workers", 1)
    done = killing.kill_after(tmp_path, tmp_path / "out.unfinished", 3, *arguments)
    assert {0, 1, 2} <= done < {0, 1, 2, 3, 4} and not out.exists()
    whole = tone(0.5)
    write_wav(short, whole[:100])  # what is done is not done again
    resumed = killing.run(tmp_path, *arguments)
    assert resumed.returncode == 0, resumed.stderr
    assert f"{out}: {4 if 3 not in done else 5} of 5 turns with eGeMAPSv02" in resumed.stdout
    assert f"train with: dtrm-train --config table --config.data.source={out}" in resumed.stdout
    with np.load(out / "train.npz") as arrays:
        acoustic = arrays["acoustic"]
    write_wav(short, whole)
    np.testing.assert_array_equal(acoustic[[0, 1, 2, 4]], [direct(rows[place][5]) for place in (0, 1, 2, 4)])
    assert {path.name for path in tmp_path.iterdir()} == {"train.csv", "short.wav", "long.wav", "out"}
    again = killing.run(tmp_path, *arguments)
    assert again.returncode == 0 and f"{out}: has already " in again.stdout and "clip/s" not in again.stderr
    assert json.loads((out / "extraction.json").read_text())["extracted"] == "audio"
