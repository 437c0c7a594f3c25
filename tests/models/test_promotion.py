"""Under strict promotion of types every model computes in float32: nothing is widened, or narrowed, in silence.

Types are settled while a program is traced, so that nothing has to be compiled. Models are traced as in training, with
dropout everywhere.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dtrm_jax.data.examples import make_examples
from dtrm_jax.data.features import Normalization
from dtrm_jax.data.packing import build_pack
from dtrm_jax.data.plans import pack_shape
from dtrm_jax.models import build_model, encoders
from dtrm_jax.models.encoders import FAMILIES
from dtrm_jax.tasks.losses import cross_entropy
from tests.encoder_families import FAMILIES as FILES
from tests.factories import LABELS, make_tokenizer, random_conversation, tiny_config, tiny_encoder, with_features
from tests.fusions import KINDS
from tests.packed import pack, sequences_of

RATES = {"dropout": 0.1, "attention_dropout": 0.1}
# With dropout in every part, and every choice that adds parameters.
SETTINGS = {
    "model__dropout": 0.1,
    "model__encoder__dropout": 0.1,
    "model__encoder__attention_dropout": 0.1,
    "model__intra_modal__dropout": 0.1,
    "model__intra_modal__turn_distance": "learned",
    "model__fusion__layers": 1,
    "model__fusion__heads": 2,
    "model__fusion__feed_forward": 13,
    "model__fusion__sketch": 17,
}


@pytest.fixture(autouse=True)
def strict():
    with jax.numpy_dtype_promotion("strict"):
        yield


def assert_float32(outputs, params):
    """Traces outputs and gradient of ``outputs(params, dropout_key) -> (loss, rest)``."""
    found = jax.eval_shape(jax.value_and_grad(outputs, has_aux=True), params, jax.random.key(0))
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {jnp.dtype("float32")}


def model_and_pack(config):
    """The model and a pack of two conversations, one of which lacks features."""
    random = np.random.default_rng(1)
    sizes = {"acoustic": 5, "visual": 3}
    split = [with_features(random, random_conversation(random, turns), sizes, [(1, "visual")]) for turns in (6, 3)]
    normalization = Normalization.fit(split, config.model.feature_modalities, bound=0.0)
    examples = make_examples(split, LABELS, make_tokenizer(), normalization, config)
    shape = pack_shape(examples, config)
    return build_model(config, tiny_encoder(config, layers=1), len(LABELS), shape), build_pack(examples, shape)


@pytest.mark.parametrize("context", ["dependent", "free"])
@pytest.mark.parametrize(("modalities", "fusion"), [("u", "mgif"), *(("uav", kind) for kind in KINDS)])
def test_dialogue_trm(modalities, fusion, context):
    contexts = {f"model__context__{name}": context for name in ("utterance", "acoustic", "visual")}
    chosen = {"model__modalities": modalities, "model__fusion__kind": fusion}
    model, pack = model_and_pack(tiny_config(packing__utterances=11, **SETTINGS, **contexts, **chosen))
    params = jax.eval_shape(lambda: model.init(jax.random.key(0), pack, deterministic=True)).get("params")

    def outputs(params, key):
        logits = model.apply({"params": params}, pack, deterministic=False, rngs={"dropout": key})
        weights = jnp.ones(len(LABELS), jnp.float32)
        loss, weight = cross_entropy(logits, pack.label_U, pack.weight_U, weights, 0.1)
        return loss / weight, logits

    assert_float32(outputs, params)


@pytest.mark.parametrize("family", FAMILIES)
def test_encoder(family, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(FILES[family].config))
    encoder = encoders.read_encoder(tmp_path, **RATES, learned_segments=True)
    module = encoder.module(jnp.float32, remat=False, name=None)
    arrays, rows, _ = pack(sequences_of((3, 12, 5), 29), ((9, ((0, 2),)), (17, ((1,),))))
    params = jax.eval_shape(lambda: module.init(jax.random.key(0), *arrays, rows, deterministic=True))["params"]

    def outputs(params, key):
        states = module.apply({"params": params}, *arrays, rows, deterministic=False, rngs={"dropout": key})
        return states.mean(), states

    assert_float32(outputs, params)
