"""Every baseline learns twenty generated conversations by heart."""

import dataclasses
import functools

import jax
import numpy as np
import optax
import pytest

from dtrm_jax.batch import Batch, PackShape
from dtrm_jax.config import PlantedConfig
from dtrm_jax.conversation import Conversation
from dtrm_jax.data.examples import make_examples
from dtrm_jax.data.features import Normalization
from dtrm_jax.data.packing import build_pack
from dtrm_jax.models import build_model
from dtrm_jax.planted.generate import generate
from dtrm_jax.planted.rules import PLANTED_LABELS
from tests.baselines import CASES

STEPS = 60
# The first case of every architecture; of one that takes the modalities apart, that with all of them.
LEARNERS = {case.architecture: name for name, case in reversed(CASES.items())} | {"c_lstm": "c_lstm-m"}
WIDTHS = ("width", "hidden", "global_width", "party_width", "emotion_width")
WIDER = 4  # than the cases of other tests, whose states are too small for twenty conversations


def _with_vectors(conversations: tuple[Conversation, ...]) -> list[Conversation]:
    """Returns conversations with all kinds of features: what stands for the vector of an utterance counts its words."""
    words = sorted({word for one in conversations for turn in one.turns for word in turn.text.split()})
    found = []
    for one in conversations:
        counts = np.array([[turn.text.split().count(word) for word in words] for turn in one.turns], np.float32)
        features = {**one.features, "utterance": counts, "commonsense": counts[:, :10]}
        found.append(Conversation(one.id, one.turns, features))
    return found


@functools.cache
def _conversations() -> list[Conversation]:
    return _with_vectors(generate(PlantedConfig(train=20, dev=1, test=1, turns=6)).splits["train"])


@pytest.mark.parametrize("name", LEARNERS.values(), ids=LEARNERS)
def test_it_learns_twenty_conversations_by_heart(name):
    wider = {key: WIDER * value for key, value in CASES[name].settings.items() if key in WIDTHS}
    config = dataclasses.replace(CASES[name], settings=CASES[name].settings | wider).config()
    conversations, wanted = _conversations(), config.model.feature_modalities
    normalization = Normalization.fit(conversations, wanted)
    examples = make_examples(conversations, PLANTED_LABELS, None, normalization, config)
    slots = sum(map(len, conversations))
    shape = PackShape((), slots, features=normalization.sizes)
    batch = build_pack(examples, shape)
    model = build_model(config, None, len(PLANTED_LABELS), shape)
    before, best = _trained(model, batch)
    assert slots > 100 and len(set(batch.label_U.tolist())) == len(PLANTED_LABELS)
    assert before < 0.5 and best > 0.9


def _trained(model, batch: Batch) -> tuple[float, float]:
    """Returns the accuracy on a pack before training on it, and the best meanwhile, as at this rate Adam leaps."""
    optimizer = optax.adam(0.02)

    def logits(params):
        return model.apply({"params": params}, batch, deterministic=True)

    def loss(params):
        found = logits(params)
        accuracy = (found.argmax(axis=1) == batch.label_U).mean()
        return optax.softmax_cross_entropy_with_integer_labels(found, batch.label_U).mean(), accuracy

    def step(state, _):
        params, moments = state
        gradient, accuracy = jax.grad(loss, has_aux=True)(params)
        change, moments = optimizer.update(gradient, moments)
        return (optax.apply_updates(params, change), moments), accuracy

    @jax.jit
    def train(key):
        first = model.init(key, batch, deterministic=True)["params"]
        _, accuracies = jax.lax.scan(step, (first, optimizer.init(first)), length=STEPS)
        return accuracies

    accuracies = train(jax.random.key(0))
    return float(accuracies[0]), float(accuracies.max())
