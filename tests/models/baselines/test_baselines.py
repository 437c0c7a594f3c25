"""What holds for every baseline: who sees whom, company that changes nothing, live conversations, finite gradients."""

import dataclasses
import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dtrm_jax.config import Config
from dtrm_jax.models import ARCHITECTURES, architecture
from dtrm_jax.models.baselines.baseline import Baseline
from dtrm_jax.models.layers.memory import MEMORY
from dtrm_jax.settings import leaves
from dtrm_jax.training.optimizer import build_optimizer
from tests.baselines import CASES, CONVERSATIONS, SLOTS, compiled, pack
from tests.factories import LABELS

GOLDEN = pathlib.Path(__file__).parents[2] / "golden"
TOLERANCE = 1e-5
# One conversation, in which no speaker is alone.
LONG = CONVERSATIONS[2]
BASELINES = {name: model for name, model in ARCHITECTURES.items() if issubclass(model, Baseline)}

cases = pytest.mark.parametrize("name", CASES)


def test_every_baseline_has_a_case():
    assert {case.architecture for case in CASES.values()} == BASELINES.keys()


@pytest.mark.parametrize("model", BASELINES.values(), ids=BASELINES)
def test_published_settings_are_settings(model):
    known = {path for path, *_ in leaves(Config())}
    assert "" in model.published
    for settings in model.published.values():
        assert settings.keys() <= known


@cases
def test_the_optimizer_takes_its_parameters(name):
    """Whether they stand in parts of the model or beside them."""
    params = compiled(name).params
    optimizer = build_optimizer(Config().optimizer, 10, encoder_parts=())
    changes, _ = jax.eval_shape(lambda: optimizer.update(params, optimizer.init(params), params))
    assert jax.tree.structure(changes) == jax.tree.structure(params)


@cases
def test_company_and_order_change_nothing(name):
    """Each conversation as it is alone, and among others in any order."""
    found = []
    for order in ((0, 1, 2, 3, 4), (4, 2, 0, 3, 1), (0,), (1,), (2,), (3,), (4,)):
        batch = pack([CONVERSATIONS[index] for index in order])
        rows = compiled(name).outputs(batch)
        for number, index in enumerate(order):
            found.append((index, rows[batch.conversation_U == number]))
    for index in range(len(CONVERSATIONS)):
        first, *others = [rows for number, rows in found if number == index]
        for rows in others:
            np.testing.assert_allclose(rows, first, rtol=0, atol=TOLERANCE)
    assert np.abs(np.diff(found[2][1], axis=0)).mean() > 1e-3, "turns differ"


@cases
def test_it_equals_its_transcription_in_pytorch(name):
    """Stored outputs; ``make parity`` compares gradients as well, live."""
    batch = pack(CONVERSATIONS)
    with np.load(GOLDEN / f"baseline_{name}.npz", allow_pickle=False) as file:
        expected = file["outputs"]
    found = compiled(name).outputs(batch)[batch.conversation_U >= 0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


@cases
def test_only_models_that_say_so_look_ahead(name):
    case, batch = CASES[name], pack([LONG])
    later = earlier = 0.0
    for turn in (0, 4, 9):
        weights = np.zeros((SLOTS, len(LABELS)), np.float32)
        weights[turn] = 1, -2, 3, 5, -7
        _, to_features = compiled(name).pull_back(batch, weights)
        for modality, _ in compiled(name).model.shape.features:
            moved = np.abs(to_features[modality]).max(axis=1)
            later, earlier = max(later, moved[turn + 1 :].max()), max(earlier, moved[:turn].max(initial=0))
            assert moved[turn] > 0
    assert architecture(case.config()).is_causal(case.config()) == case.causal == (later == 0)
    assert earlier > 0, "it knows no context"


@cases
def test_unused_slots_are_not_read_and_give_finite_gradients(name):
    weights = np.cos(np.arange(SLOTS * len(LABELS), dtype=np.float32)).reshape(SLOTS, -1)
    used = pack(CONVERSATIONS).conversation_U >= 0
    weights[~used] = 0
    found = [compiled(name).pull_back(pack(CONVERSATIONS, fill=fill), weights) for fill in (0.0, 3e4)]
    for one, other in zip(*map(jax.tree.leaves, found), strict=True):
        assert np.isfinite(one).all()
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(compiled(name).pull_back(pack([]), weights)))


@cases
def test_dropout_is_drawn_anew(name):
    config = CASES[name].config()
    own = getattr(config.model, CASES[name].architecture)
    own.dropout = 0.4
    model = dataclasses.replace(compiled(name).model, config=config.model)
    batch, params = pack(CONVERSATIONS), compiled(name).params

    @jax.jit
    def draw(key):
        return model.apply({"params": params}, batch, deterministic=False, rngs={"dropout": key})

    one, other, again = (np.asarray(draw(jax.random.key(seed))) for seed in (0, 1, 0))
    used = batch.conversation_U >= 0
    assert np.isfinite(one).all() and np.array_equal(one, again)
    assert (np.abs(one - other)[used].max(axis=1) > 0).mean() > 0.5


@pytest.mark.parametrize("speakers", ["ABCDEFGHIJKLMNOPQRSTUVWXYZABZ", "ABBABAABABAB"])
@cases
def test_any_number_of_speakers(name, speakers):
    batch = pack([speakers])
    rows = compiled(name).outputs(batch)[: len(speakers)]
    assert np.isfinite(rows).all()
    one_speaker = compiled(name).outputs(batch.replace(speaker_U=np.minimum(batch.speaker_U, 0)))
    told = np.abs(rows - one_speaker[: len(speakers)]).max() > 1e-4
    assert told == CASES[name].knows_speakers


STREAMING = {name: case for name, case in CASES.items() if case.streams}


@pytest.mark.parametrize("sizes", [[1] * len(LONG), [5, 0, 1, 7]], ids=["turn by turn", "in parts"])
@pytest.mark.parametrize("name", STREAMING)
def test_packs_that_go_on_are_the_whole(name, sizes):
    case, whole, params = CASES[name], pack([LONG]), compiled(name).params
    expected = compiled(name).outputs(whole)[: len(LONG)]
    assert architecture(case.config()).streams and case.causal
    slots = max(sizes)
    part, empty = case.model(slots), pack([], slots)

    @jax.jit
    def step(memory, batch):
        return part.apply({"params": params, MEMORY: memory}, batch, deterministic=True, mutable=MEMORY)

    shapes = jax.eval_shape(lambda: part.apply({"params": params}, empty, deterministic=True, mutable=MEMORY)[1])
    memory, found, begin = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes.get(MEMORY, {})), [], 0
    for size in sizes:
        batch = jax.tree.map(functools.partial(_beginning_with, begin, size), empty, whole)
        rows, changed = step(memory, batch)
        memory = changed[MEMORY]
        found.append(rows[:size])
        begin += size
    assert begin == len(LONG)
    np.testing.assert_allclose(np.concatenate(found), expected, rtol=0, atol=TOLERANCE)


def _beginning_with(begin: int, size: int, hole: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """Returns the array of an empty pack with some turns of another at its beginning."""
    return np.concatenate([turns[begin : begin + size], hole[size:]])
