"""Our modules against stored outputs of PyTorch and transformers; ``make goldens`` computes them anew."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from dtrm_jax.batch import Batch, PackShape
from dtrm_jax.config import Config, IntraModalConfig
from dtrm_jax.models import build_model, encoders
from dtrm_jax.models.dialogue_trm.intra_modal import IntraModal
from dtrm_jax.models.encoders.bert import Bert
from dtrm_jax.models.encoders.weights import load_params
from dtrm_jax.tasks.losses import cross_entropy
from tests.golden import explicit
from tests.torch_names import discriminator_params, transformer_params

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
TOLERANCE = 1e-5
INTRA_MODAL = IntraModalConfig(layers=explicit.LAYERS, heads=explicit.HEADS, feed_forward=explicit.FEED_FORWARD)
# Row lengths and counts, and where each sequence starts on the token axis.
LAYOUTS = {
    "a row a sequence": (((8, 5),), (0, 8, 16, 24, 32)),
    "packed in one row": (((31, 1),), (7, 11, 17, 25, 0)),
    "packed in rows of two lengths": (((9, 1), (13, 2)), (18, 0, 9, 6, 22)),
}


def golden(name):
    with np.load(GOLDEN / f"{name}.npz", allow_pickle=False) as file:
        return dict(file)


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """Sizes and parameters, read from a folder as Hugging Face writes it."""
    folder = tmp_path_factory.mktemp("bert")
    (folder / "config.json").write_text(json.dumps(explicit.BERT_CONFIG))
    safetensors.numpy.save_file(explicit.weights(explicit.bert_shapes()), folder / "model.safetensors")
    config = encoders.read_encoder(folder, dropout=0.1, attention_dropout=0.1)
    return config, load_params(folder, config)


def intra_modal_params():
    return {"transformer": transformer_params(explicit.weights(explicit.transformer_shapes()), explicit.LAYERS)}


def token_axis(layout):
    """Returns token, position, segment and sequence ids, each on the flat token axis."""
    rows, starts = layout
    slots = sum(length * count for length, count in rows)
    token_ids_T, position_ids_T, segment_ids_T = (np.zeros(slots, np.int32) for _ in range(3))
    sequence_ids_T = np.full(slots, -1, np.int32)
    for index, (sequence, start) in enumerate(zip(explicit.SEQUENCES, starts, strict=True)):
        part = slice(start, start + len(sequence.token_ids))
        assert (sequence_ids_T[part] == -1).all()
        token_ids_T[part], segment_ids_T[part] = sequence.token_ids, sequence.segment_ids
        position_ids_T[part], sequence_ids_T[part] = np.arange(len(sequence.token_ids)), index
    return token_ids_T, position_ids_T, segment_ids_T, sequence_ids_T


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_bert_equals_pytorch_however_sequences_are_packed(bert, layout):
    config, params = bert
    rows, starts = layout
    apply = jax.jit(lambda *arrays: Bert(config).apply({"params": params}, *arrays, rows, deterministic=True))
    states = np.asarray(apply(*token_axis(layout)))
    lengths = [len(sequence.token_ids) for sequence in explicit.SEQUENCES]
    found = np.concatenate([states[start : start + length] for start, length in zip(starts, lengths, strict=True)])
    np.testing.assert_allclose(found, golden("bert")["states"], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("context", ["dependent", "free"])
def test_intra_modal_equals_pytorch(context):
    f_UxD = explicit.array((sum(explicit.TURNS), explicit.WIDTH), 101)
    cotangent = explicit.array(f_UxD.shape, 102)
    conversation_U = np.repeat(np.arange(len(explicit.TURNS)), explicit.TURNS).astype(np.int32)
    turn_U = np.concatenate([np.arange(turns) for turns in explicit.TURNS]).astype(np.int32)
    module = IntraModal(INTRA_MODAL, context, explicit.WINDOW, np.float32)

    def represent(f_UxD):
        return module.apply({"params": intra_modal_params()}, f_UxD, conversation_U, turn_U, True)

    r_UxD, pull_back = jax.vjp(jax.jit(represent), f_UxD)
    expected = golden("transformer")
    np.testing.assert_allclose(np.asarray(r_UxD), expected[context], rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(
        np.asarray(pull_back(cotangent)[0]), expected[f"{context}_gradient"], rtol=0, atol=TOLERANCE
    )


def dialogue_batch(layout):
    """One pack with the two conversations and an unused utterance slot."""
    token_ids_T, position_ids_T, segment_ids_T, sequence_ids_T = token_axis(layout)
    label_U = np.array([*explicit.LABELS, -1], np.int32)
    return Batch(
        token_ids_T=token_ids_T,
        position_ids_T=position_ids_T,
        segment_ids_T=segment_ids_T,
        own_T=(segment_ids_T == 0) & (sequence_ids_T >= 0),
        sequence_ids_T=sequence_ids_T,
        cls_U=np.array([*layout[1], 0], np.int32),
        conversation_U=np.array([0, 0, 0, 1, 1, -1], np.int32),
        turn_U=np.array([0, 1, 2, 0, 1, 0], np.int32),
        speaker_U=np.array([0, 1, 0, 0, 1, -1], np.int32),
        label_U=label_U,
        weight_U=(label_U >= 0).astype(np.float32),
        value_UxV=np.zeros((6, 0), np.float32),
        value_weight_UxV=np.zeros((6, 0), np.float32),
        features_UxM={},
        present_U={},
    )


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_dialogue_trm_equals_pytorch(bert, layout):
    encoder_config, encoder_params = bert
    config = Config()
    config.tokens.window = explicit.WINDOW
    config.model.intra_modal = INTRA_MODAL
    batch = dialogue_batch(layout)
    model = build_model(config, encoder_config, explicit.CLASSES, PackShape(layout[0], len(batch.label_U)))
    discriminator = discriminator_params(explicit.weights(explicit.discriminator_shapes()), "hidden", "output")
    params = {"encoder": encoder_params, "intra_modal": intra_modal_params(), "discriminator": discriminator}

    def mean_loss(params):
        logits = model.apply({"params": params}, batch, deterministic=True)
        ones = jnp.ones(explicit.CLASSES)
        loss, weight = cross_entropy(logits, batch.label_U, batch.weight_U, ones, 0.0)
        return loss / weight, logits

    (loss, logits), gradients = jax.jit(jax.value_and_grad(mean_loss, has_aux=True))(params)
    expected = golden("dialogue_trm")
    np.testing.assert_allclose(np.asarray(logits)[:-1], expected["logits"], rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(float(loss), expected["loss"], rtol=0, atol=TOLERANCE)
    gradient = np.asarray(gradients["encoder"]["embeddings"]["word_embeddings"]["embedding"])
    np.testing.assert_allclose(gradient, expected["gradient"], rtol=0, atol=TOLERANCE)


def test_goldens_are_not_degenerate():
    """A golden of zeros, or of equal rows, would let almost anything pass."""
    for name in ("bert", "transformer", "dialogue_trm"):
        for key, value in golden(name).items():
            assert np.isfinite(value).all() and np.abs(value).max() > 0.01, f"{name}: {key}"
            if value.ndim == 2 and key != "gradient":
                assert len(np.unique(value.round(3), axis=0)) == len(value), f"{name}: {key}"
