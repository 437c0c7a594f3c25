"""Folders of encoders as transformers writes them: tokenizers encode a pair alike, and other forms are converted."""

import json
import shlex
import subprocess
import sys

import numpy as np
import pytest
import tokenizers
from tokenizers import models, pre_tokenizers, trainers

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from dtrm_jax.config import TokensConfig  # noqa: E402
from dtrm_jax.data.encoder_tokenizer import load_tokenizer  # noqa: E402
from dtrm_jax.data.tokenize import tokenize  # noqa: E402
from dtrm_jax.errors import InputError  # noqa: E402
from dtrm_jax.models import encoders  # noqa: E402
from dtrm_jax.models.encoders.weights import load_params  # noqa: E402
from tests.encoder_families import FAMILIES  # noqa: E402
from tests.factories import make_conversation  # noqa: E402

TEXTS = ["Oh my God, you're kidding!", "Naïve café… 我 I-I don’t  know", "No.", "You have eaten my sandwich?"]
VOCABULARY = 400
BYTE_PAIRS = ("roberta",)
CLASSES = {
    "bert": "BertTokenizerFast",
    "roberta": "RobertaTokenizerFast",
    "mpnet": "MPNetTokenizerFast",
    "distilbert": "DistilBertTokenizerFast",
    "electra": "ElectraTokenizerFast",
}


def write_vocabulary(folder, family):
    """Writes a small vocabulary in the family's own form; returns what its class of transformers is made from."""
    special = [*encoders.FAMILIES[family].special.all, "<mask>" if family in ("roberta", "mpnet") else "[MASK]"]
    settings = {"vocab_size": VOCABULARY, "special_tokens": special, "show_progress": False}
    if family in BYTE_PAIRS:
        tokenizer = tokenizers.Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        tokenizer.train_from_iterator(TEXTS, trainers.BpeTrainer(initial_alphabet=alphabet, **settings))
        tokenizer.model.save(str(folder))
        return {"vocab_file": str(folder / "vocab.json"), "merges_file": str(folder / "merges.txt")}
    tokenizer = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator([text.lower() for text in TEXTS], trainers.WordPieceTrainer(**settings))
    tokenizer.model.save(str(folder))
    return {"vocab_file": str(folder / "vocab.txt")}


@pytest.mark.parametrize("form", ["vocabulary", "tokenizer.json"])
@pytest.mark.parametrize("family", CLASSES)
def test_sequences_are_what_transformers_writes_for_a_pair(family, form, tmp_path):
    theirs = getattr(transformers, CLASSES[family])(**write_vocabulary(tmp_path, family))
    if form == "tokenizer.json":
        theirs.save_pretrained(tmp_path)
    ours = load_tokenizer(tmp_path, encoders.FAMILIES[family].special, VOCABULARY)
    conversation = make_conversation("AAAB", TEXTS, [None] * 4)
    alone, pair, many, other = ([*one.token_ids] for one in tokenize([conversation], ours, TokensConfig())[0])
    assert alone == theirs(TEXTS[0])["input_ids"] and other == theirs(TEXTS[3])["input_ids"]
    assert pair == theirs(TEXTS[1], TEXTS[0])["input_ids"]
    # Every utterance of the context is encoded as a text of its own.
    context = [index for text in TEXTS[:2] for index in theirs(text, add_special_tokens=False)["input_ids"]]
    target = theirs(TEXTS[2], add_special_tokens=False)["input_ids"]
    assert many == theirs.build_inputs_with_special_tokens(target, context)


@pytest.mark.parametrize("class_name", ["BertTokenizer", "PreTrainedTokenizerFast"])
@pytest.mark.parametrize("option", ["do_lower_case", "strip_accents", "tokenize_chinese_chars"])
def test_a_tokenizer_file_is_refused_where_transformers_would_not_take_it_as_it_is(option, class_name, tmp_path):
    theirs = transformers.BertTokenizerFast(**write_vocabulary(tmp_path, "bert"))
    theirs.save_pretrained(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    options = json.loads(path.read_text()) | {"tokenizer_class": class_name}
    texts = [*TEXTS, "Yeah, NAÏVE 我們"]

    def encoded(value):
        path.write_text(json.dumps(options | {option: value}))
        return transformers.AutoTokenizer.from_pretrained(tmp_path)(texts, add_special_tokens=False)["input_ids"]

    stored = theirs(texts, add_special_tokens=False)["input_ids"]
    same = encoded(True)
    assert same == stored == load_tokenizer(tmp_path, encoders.FAMILIES["bert"].special, VOCABULARY).encode(texts)
    if encoded(False) == stored:
        assert class_name == "PreTrainedTokenizerFast"
        assert load_tokenizer(tmp_path, encoders.FAMILIES["bert"].special, VOCABULARY).encode(texts) == stored
    else:
        assert class_name == "BertTokenizer"
        with pytest.raises(InputError, match=f"{option}: expected True, as tokenizer.json has it, found False"):
            load_tokenizer(tmp_path, encoders.FAMILIES["bert"].special, VOCABULARY)


def test_the_command_for_weights_in_another_form_converts_them(tmp_path):
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(**FAMILIES["roberta"].config)
    transformers.RobertaForMaskedLM(config).save_pretrained(tmp_path, safe_serialization=False)
    encoder = encoders.read_encoder(tmp_path, dropout=0.1, attention_dropout=0.1)
    with pytest.raises(InputError) as error:
        load_params(tmp_path, encoder)
    command = shlex.split(str(error.value).partition("are installed, by: ")[2])
    assert command[:2] == ["python", "-c"]
    subprocess.run([sys.executable, *command[1:]], check=True, capture_output=True)
    found = load_params(tmp_path, encoder)["embeddings"]["word_embeddings"]["embedding"]
    stored = torch.load(tmp_path / "pytorch_model.bin", weights_only=True)
    np.testing.assert_array_equal(found, stored["roberta.embeddings.word_embeddings.weight"].numpy())
