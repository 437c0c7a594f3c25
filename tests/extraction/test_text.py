"""Vectors of utterances, beside the encoder run on one conversation alone."""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dtrm_jax import api
from dtrm_jax.batch import PackShape
from dtrm_jax.conversation import Dataset
from dtrm_jax.data import protocol
from dtrm_jax.data.examples import make_examples
from dtrm_jax.data.features import Normalization
from dtrm_jax.data.packing import build_pack
from dtrm_jax.data.readers import table
from dtrm_jax.errors import InputError
from dtrm_jax.extraction import text
from dtrm_jax.extraction.text import extract_of_corpus, extract_of_table
from dtrm_jax.inference.reading import read_trained
from dtrm_jax.inference.trained import Trained
from tests.runs import tiny_run_config
from tests.trained import multimodal, random_run, random_trained


def alone(trained: Trained, conversation) -> np.ndarray:
    """The encoder's states of one conversation in a pack of its own, read as the pooling says, by NumPy."""
    config, manifest = trained.config, trained.manifest
    bare = dataclasses.replace(
        conversation, turns=tuple(dataclasses.replace(turn, label=None) for turn in conversation.turns)
    )
    (example,) = make_examples([bare], manifest.labels, trained.tokenizer, Normalization({}, {}, bound=0.0), config)
    shape = PackShape(((48, 16),), 16)  # a row for each turn
    pack = build_pack([example], shape)
    module = manifest.encoder.module(jnp.float32, remat=False, name=None)
    tokens = (pack.token_ids_T, pack.position_ids_T, pack.segment_ids_T, pack.sequence_ids_T)
    run = jax.jit(lambda params, tokens: module.apply({"params": params}, *tokens, shape.rows, deterministic=True))
    states = np.asarray(run(trained.params["encoder"], tokens))
    if config.model.encoder.pooling == "cls":
        return states[pack.cls_U[: len(conversation)]]
    own = np.asarray(pack.own_T)
    return np.stack([states[own & (pack.sequence_ids_T == turn)].mean(axis=0) for turn in range(len(conversation))])


@pytest.fixture(scope="module", params=["cls", "mean"])
def trained(request, tmp_path_factory) -> Trained:
    folder = tmp_path_factory.mktemp("run")
    config = tiny_run_config(folder / "cache")
    config.model.encoder.pooling, config.model.modalities = request.param, "ua"
    config.model.fusion.kind = "concat"
    return read_trained(random_run(config, folder / "run"))


@pytest.fixture(scope="module")
def written(trained, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("text") / "out"
    turns = sum(map(len, _all(protocol.load(trained.config))))
    assert extract_of_corpus(trained, folder, source=None) == (turns, turns, 16, False)
    return folder


def _all(dataset: Dataset):
    return [conversation for split in dataset.splits.values() for conversation in split]


def test_vectors_are_those_of_the_encoder_itself(trained, written):
    found, corpus = table.read(written), protocol.load(trained.config)
    assert found.feature_sizes() == {"utterance": 16, "acoustic": 12, "visual": 10}, "also what the run does not take"
    for conversation, own in list(zip(_all(found), _all(corpus), strict=True))[::9]:
        expected = alone(trained, own)
        np.testing.assert_allclose(conversation.features["utterance"], expected, rtol=0, atol=2e-5)
        assert np.ptp(expected, axis=0).max() > 0.1, "turns differ"


def test_the_folder_is_the_corpus_as_tables(trained, written):
    found, corpus = table.read(written), protocol.load_with_all_features(trained.config)
    assert found.labels == corpus.labels and found.splits == corpus.splits and not found.notes
    for one, own in zip(_all(found), _all(corpus), strict=True):
        for name in ("acoustic", "visual"):
            np.testing.assert_array_equal(one.features[name], own.features[name])


def test_the_same_again_does_nothing_and_another_run_is_refused(trained, written):
    before = {path: path.stat().st_mtime_ns for path in written.iterdir()}
    assert extract_of_corpus(trained, written, source=None).was_complete
    params = trained.params | {"encoder": jax.tree.map(lambda x: x + 1, trained.params["encoder"])}
    with pytest.raises(InputError, match="was extracted with encoder .*choose another folder"):
        extract_of_corpus(dataclasses.replace(trained, params=params), written, source=None)
    assert {path: path.stat().st_mtime_ns for path in written.iterdir()} == before


def test_a_model_trains_on_them(written, tmp_path):
    config = tiny_run_config(tmp_path / "cache")
    config.data.name, config.data.source = "table", str(written)
    config.model.utterance, config.train.epochs = "features", 1
    run = api.train(config, tmp_path / "run")
    scores = api.evaluate(run, split="test")
    assert scores["n"] > 0 and 0 <= scores["weighted_f1"] <= 1
    assert read_trained(run).normalization.sizes == (("utterance", 16),)


def _table(folder: Path, *rows: dict) -> Path:
    folder.mkdir()
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_own_tables_keep_their_labels_and_the_order_of_their_rows(tmp_path):
    trained = random_trained(multimodal("u"))
    rows = [
        {"name": "x", "turn": 1, "speaker": "A", "text": "w7 w9 w8", "label": "bored"},
        {"name": "y", "turn": 1, "speaker": "A", "text": "w11", "label": "awake"},
        {"name": "x", "turn": 2, "speaker": "B", "text": "w20 w7", "label": None},
        {"name": "y", "turn": 2, "speaker": "A", "text": "w9 w11", "label": "bored"},
    ]
    source = _table(tmp_path / "in", *rows)
    found = extract_of_table(trained, source, tmp_path / "out", columns="conversation=name")
    assert found == (4, 4, 14, False)
    assert (tmp_path / "out" / "train.jsonl").read_bytes() == (source / "train.jsonl").read_bytes()
    dataset = table.read(tmp_path / "out", columns="conversation=name")
    with np.load(tmp_path / "out" / "train.npz") as arrays:
        vectors = arrays["utterance"]
    x, y = dataset.splits["train"]
    np.testing.assert_allclose(vectors[[0, 2]], alone(trained, x), rtol=0, atol=2e-5)
    np.testing.assert_allclose(vectors[[1, 3]], alone(trained, y), rtol=0, atol=2e-5)
    assert extract_of_table(trained, source, tmp_path / "out", columns="conversation=name").was_complete


def test_a_table_that_changes_meanwhile_is_refused(tmp_path, monkeypatch):
    rows = [{"conversation": 1, "speaker": "A", "text": said, "label": "a"} for said in ("w7 w8", "w9")]
    source, vectors = _table(tmp_path / "in", *rows), text._vectors

    def meanwhile(*given):
        found = vectors(*given)
        file = source / "train.jsonl"
        file.write_text("".join(reversed(file.read_text().splitlines(keepends=True))))
        return found

    monkeypatch.setattr(text, "_vectors", meanwhile)
    with pytest.raises(InputError, match=r"in: train\.jsonl was changed while its features were extracted; extract th"):
        extract_of_table(random_trained(multimodal("u")), source, tmp_path / "out", columns="")
    assert not (tmp_path / "out").exists()


def test_a_turn_without_text_has_no_vector(tmp_path):
    trained = random_trained(multimodal("u"))
    rows = [
        {"conversation": 1, "speaker": "A", "text": said, "label": "a", "acoustic": [1, 2]} for said in ("w7 w8", "")
    ]
    found = extract_of_table(trained, _table(tmp_path / "in", *rows), tmp_path / "out", columns="")
    assert (found.turns, found.present) == (2, 1)
    (conversation,) = table.read(tmp_path / "out").splits["train"]
    assert np.isnan(conversation.features["utterance"]).all(axis=1).tolist() == [False, True]
    np.testing.assert_array_equal(conversation.features["acoustic"], [[1, 2], [1, 2]])


def test_a_model_that_reads_no_text_is_refused(tmp_path):
    trained = random_trained(multimodal("av"))
    source = _table(tmp_path / "in", {"conversation": 1, "speaker": "A", "text": "a", "label": "a"})
    with pytest.raises(InputError, match="expected a model that reads text, found one that takes features alone"):
        extract_of_table(trained, source, tmp_path / "out", columns="")
    assert not (tmp_path / "out").exists()


def test_a_model_that_keeps_no_encoder_by_itself_is_refused(tmp_path):
    trained = random_trained(multimodal("u"))
    other = dataclasses.replace(trained, params={"everything": trained.params})
    source = _table(tmp_path / "in", {"conversation": 1, "speaker": "A", "text": "w7", "label": "a"})
    with pytest.raises(InputError, match="random: expected a part encoder of the parameters, found everything"):
        extract_of_table(other, source, tmp_path / "out", columns="")


def test_an_encoder_that_reads_later_turns_is_refused(tmp_path):
    """What is trained on its vectors would be called causal."""
    source = _table(tmp_path / "in", {"conversation": 1, "speaker": "A", "text": "w7", "label": "a"})
    trained = random_trained(multimodal("u", tokens__future=2))
    for extract in (
        lambda: extract_of_table(trained, source, tmp_path / "out", columns=""),
        lambda: extract_of_corpus(trained, tmp_path / "out", source=None),
    ):
        with pytest.raises(InputError, match=r"config\.tokens\.future: expected 0, .*found 2; train the encoder with"):
            extract()
    assert not (tmp_path / "out").exists()
    alone = random_trained(multimodal("u", tokens__future=2, tokens__indi_context=False))
    assert extract_of_table(alone, source, tmp_path / "out", columns="").present == 1
