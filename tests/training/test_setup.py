"""From a config to what training starts from: which encoder, and which parameters."""

import json

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from dtrm_jax.conversation import LabelSpace, ValueSpace
from dtrm_jax.errors import InputError
from dtrm_jax.models import ARCHITECTURES
from dtrm_jax.tasks import task_of
from dtrm_jax.training.setup import initial_params, prepare, with_metric
from tests.encoder_families import FAMILIES
from tests.golden import explicit
from tests.own_model import BagOfWords
from tests.runs import tiny_run_config

VOCABULARY = 300


@pytest.fixture(scope="module")
def roberta(tmp_path_factory):
    """The folder of a tiny RoBERTa: sizes, weights from a formula, and the vocabulary of a byte-level BPE."""
    folder = tmp_path_factory.mktemp("roberta")
    config = {**FAMILIES["roberta"].config, "vocab_size": VOCABULARY}
    (folder / "config.json").write_text(json.dumps(config))
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.train_from_iterator(["so what"], trainer)
    tokenizer.model.save(str(folder))
    return folder


def config_of(folder, cache, **tokens):
    config = tiny_run_config(cache)
    config.model.encoder.pretrained = str(folder)
    config.model.intra_modal.heads = 2
    config.tokens.max_length = 33
    for name, value in tokens.items():
        setattr(config.tokens, name, value)
    return config


def test_parameters_are_the_encoders_with_segments_of_zeros(roberta, tmp_path):
    experiment = prepare(config_of(roberta, tmp_path / "cache"))
    encoder = experiment.manifest.encoder
    assert encoder.family == "roberta" and encoder.learned_segments
    assert {example.sequences[0].token_ids[0] for example in experiment.train} == {0}  # <s>
    arrays = explicit.weights({name: target.shape for name, target in encoder.arrays().items()})
    safetensors.numpy.save_file(arrays, roberta / "model.safetensors")
    embeddings = initial_params(experiment)["encoder"]["embeddings"]
    stored = arrays["embeddings.word_embeddings.weight"]
    np.testing.assert_array_equal(embeddings["word_embeddings"]["embedding"], stored)
    assert embeddings["learned_segment_embeddings"]["embedding"].shape == (2, 12)
    assert not np.asarray(embeddings["learned_segment_embeddings"]["embedding"]).any()


def test_segments_of_zeros_can_be_declined(roberta, tmp_path):
    config = config_of(roberta, tmp_path / "cache")
    config.model.encoder.segment_embedding = False
    assert not prepare(config).manifest.encoder.learned_segments


def test_sequences_beyond_the_positions_are_refused(roberta, tmp_path):
    with pytest.raises(InputError) as error:
        prepare(config_of(roberta, tmp_path / "cache", max_length=34))
    expected = f"config.tokens.max_length: expected at most 33, the positions of {roberta}, found 34"
    assert str(error.value) == expected


def test_an_encoder_from_scratch_has_the_segments_of_bert_and_no_others(tmp_path):
    encoder = prepare(tiny_run_config(tmp_path / "cache")).manifest.encoder
    assert encoder.family == "bert" and encoder.segment_types == 2 and not encoder.learned_segments


@pytest.mark.parametrize("architecture", ["dialogue_trm", "c_lstm"])
def test_heads_of_an_encoder_from_scratch_divide_its_width_under_any_model(architecture, tmp_path):
    config = tiny_run_config(tmp_path / "cache")
    config.model.architecture, config.model.modalities = architecture, "u"
    config.model.encoder.hidden_size, config.model.encoder.heads, config.model.intra_modal.heads = 50, 4, 2
    with pytest.raises(InputError, match="config.model.encoder.heads: expected a divisor of the width 50, found 4"):
        prepare(config)


class WithoutWords(BagOfWords):
    @nn.compact
    def __call__(self, batch, *, deterministic):
        return nn.Dense(self.outputs, name="output")(jnp.ones((self.shape.utterances, 1)))


def test_weights_that_the_model_has_no_part_for_are_not_dropped_in_silence(tmp_path, monkeypatch):
    monkeypatch.setitem(ARCHITECTURES, "bag_of_words", WithoutWords)
    config = tiny_run_config(tmp_path / "cache")
    config.model.architecture = "bag_of_words"
    experiment = prepare(config)
    config.model.encoder.pretrained = str(tmp_path)
    with pytest.raises(InputError, match="config.model.encoder.pretrained: bag_of_words has no part called encoder"):
        initial_params(experiment)


def test_where_no_metric_is_named_the_task_selects_by_its_own(tmp_path):
    config = tiny_run_config(tmp_path / "cache")
    assert config.train.select_by == "" and prepare(config).config.train.select_by == "weighted_f1"
    values = task_of(ValueSpace(("valence",)))
    assert with_metric(config, values, "corpus").train.select_by == "pearson_r"
    config.train.select_by = "accuracy"
    assert with_metric(config, task_of(LabelSpace(("x", "y"))), "corpus").train.select_by == "accuracy"
    with pytest.raises(InputError, match="select_by: corpus has real values, expected one of .*, found accuracy"):
        with_metric(config, values, "corpus")


def test_the_splits_that_can_be_scored_have_annotations(tmp_path):
    experiment = prepare(tiny_run_config(tmp_path / "cache"))
    assert experiment.scorable == ("train", "dev", "test")
    for conversation in experiment.dataset.splits["test"]:
        for turn in conversation.turns:
            object.__setattr__(turn, "label", None)
    assert experiment.scorable == ("train", "dev")
    one = experiment.dataset.splits["test"][-1].turns[-1]
    object.__setattr__(one, "values", (None, 0.0))
    assert "test" in experiment.scorable
