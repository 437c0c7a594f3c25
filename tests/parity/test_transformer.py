"""Our intra-modal Transformer against torch.nn.TransformerEncoder: same weights, same inputs, float32."""

import jax
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dtrm_jax.config import IntraModalConfig  # noqa: E402
from dtrm_jax.models.dialogue_trm.intra_modal import IntraModal  # noqa: E402
from tests.torch_names import transformer_params  # noqa: E402

TOLERANCE = 1e-5
SMALL = IntraModalConfig(layers=3, heads=2, feed_forward=22, dropout=0.1)
SMALL_WIDTH = 10
# The design's: the paper's sizes at MiniLM's width.
FULL = IntraModalConfig(layers=6, heads=12, feed_forward=2048, dropout=0.1)
FULL_WIDTH = 384


def make_torch(config, width):
    """Returns a torch encoder, in evaluation mode, whose every parameter is random."""
    torch.manual_seed(0)
    layer = torch.nn.TransformerEncoderLayer(width, config.heads, config.feed_forward, batch_first=True)
    encoder = torch.nn.TransformerEncoder(layer, config.layers, enable_nested_tensor=False).eval()
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if parameter.ndim == 2:
                parameter.normal_(0.0, 1.5 * parameter.shape[1] ** -0.5)
            else:
                parameter.normal_(1.0 if "norm" in name and name.endswith("weight") else 0.0, 0.2)
    return encoder


def make_ours(config, encoder, window, context):
    arrays = {name: value.detach().numpy() for name, value in encoder.state_dict().items()}
    module = IntraModal(config, context, window, np.float32)
    return module, {"params": {"transformer": transformer_params(arrays, config.layers)}}


def run(module, params, *inputs):
    """Returns our outputs, dropout off."""
    return np.asarray(jax.jit(lambda params: module.apply(params, *inputs, True))(params))


def conversations(lengths, width, unused=0):
    """Returns features, conversation ids and turn indices, with unused slots at the end."""
    turns = sum(lengths)
    f_UxD = np.random.default_rng(0).normal(size=(turns + unused, width)).astype(np.float32)
    conversation_U = np.repeat(np.arange(len(lengths)), lengths)
    turn_U = np.concatenate([np.arange(length) for length in lengths])
    pad = (0, unused)
    return f_UxD, np.pad(conversation_U, pad, constant_values=-1).astype(np.int32), np.pad(turn_U, pad).astype(np.int32)


def hidden_from(conversation_U, turn_U, window):
    """Eq. 3, written out turn by turn; True where torch must not look."""
    size = len(turn_U)
    hidden = np.ones((size, size), bool)
    for i in range(size):
        for j in range(size):
            if conversation_U[i] == conversation_U[j] and turn_U[i] - window <= turn_U[j] <= turn_U[i]:
                hidden[i, j] = False
    return torch.tensor(hidden)


@pytest.mark.parametrize(
    ("lengths", "window"),
    [((1,), 3), ((5, 1, 6), 14), ((5, 9, 4), 2), ((3, 40, 7), 3), ((30, 21, 4, 1), 14), ((9, 20), 0), ((33, 8), 8)],
)
def test_context_dependent_equals_torch_over_conversations_side_by_side(lengths, window):
    encoder = make_torch(SMALL, SMALL_WIDTH)
    module, params = make_ours(SMALL, encoder, window, "dependent")
    f_UxD, conversation_U, turn_U = conversations(lengths, SMALL_WIDTH, unused=5)
    used = sum(lengths)
    with torch.no_grad():
        mask = hidden_from(conversation_U[:used], turn_U[:used], window)
        expected = encoder(torch.tensor(f_UxD[None, :used]), mask=mask)[0].numpy()
    found = run(module, params, f_UxD, conversation_U, turn_U)
    np.testing.assert_allclose(found[:used], expected, rtol=0, atol=TOLERANCE)
    assert np.isfinite(found).all()


def test_context_dependent_equals_torch_on_each_conversation_alone():
    encoder = make_torch(SMALL, SMALL_WIDTH)
    module, params = make_ours(SMALL, encoder, 4, "dependent")
    lengths = (6, 17, 3)
    f_UxD, conversation_U, turn_U = conversations(lengths, SMALL_WIDTH)
    found = run(module, params, f_UxD, conversation_U, turn_U)
    for index, length in enumerate(lengths):
        own = conversation_U == index
        with torch.no_grad():
            mask = hidden_from(np.zeros(length), np.arange(length), 4)
            expected = encoder(torch.tensor(f_UxD[None, own]), mask=mask)[0].numpy()
        np.testing.assert_allclose(found[own], expected, rtol=0, atol=TOLERANCE)


def test_context_free_equals_torch_on_every_turn_alone():
    encoder = make_torch(SMALL, SMALL_WIDTH)
    module, params = make_ours(SMALL, encoder, 3, "free")
    f_UxD, conversation_U, turn_U = conversations((5, 20), SMALL_WIDTH)
    with torch.no_grad():
        alone = encoder(torch.tensor(f_UxD)[:, None])[:, 0].numpy()
        masked = encoder(torch.tensor(f_UxD[None]), mask=~torch.eye(25, dtype=torch.bool))[0].numpy()
    found = run(module, params, f_UxD, conversation_U, turn_U)
    np.testing.assert_allclose(found, alone, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(found, masked, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("context", ["dependent", "free"])
def test_gradients_equal_torch(context):
    encoder = make_torch(SMALL, SMALL_WIDTH)
    module, params = make_ours(SMALL, encoder, 3, context)
    f_UxD, conversation_U, turn_U = conversations((14, 11), SMALL_WIDTH)
    weights = np.random.default_rng(1).normal(size=f_UxD.shape).astype(np.float32)

    def ours_loss(params, f_UxD):
        return (module.apply(params, f_UxD, conversation_U, turn_U, True) * weights).sum()

    gradients, f_gradient = jax.jit(jax.grad(ours_loss, argnums=(0, 1)))(params, f_UxD)
    inputs = torch.tensor(f_UxD[None], requires_grad=True)
    mask = hidden_from(conversation_U, turn_U, 3) if context == "dependent" else ~torch.eye(25, dtype=torch.bool)
    (encoder(inputs, mask=mask)[0] * torch.tensor(weights)).sum().backward()
    theirs = {name: value.grad.numpy() for name, value in encoder.named_parameters()}
    expected = {"params": {"transformer": transformer_params(theirs, SMALL.layers)}}
    assert_close_in_scale(f_gradient, inputs.grad[0].numpy())
    scale = max(np.abs(value).max() for value in theirs.values())
    jax.tree.map(lambda a, b: assert_close_in_scale(a, b, scale), gradients, expected)


def assert_close_in_scale(found, expected, scale=None):
    scale = scale or np.abs(expected).max()
    np.testing.assert_allclose(np.asarray(found) / scale, expected / scale, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("context", ["dependent", "free"])
def test_full_size_equals_torch(context):
    encoder = make_torch(FULL, FULL_WIDTH)
    module, params = make_ours(FULL, encoder, 14, context)
    f_UxD, conversation_U, turn_U = conversations((30, 8, 12), FULL_WIDTH)
    mask = hidden_from(conversation_U, turn_U, 14) if context == "dependent" else ~torch.eye(50, dtype=torch.bool)
    with torch.no_grad():
        expected = encoder(torch.tensor(f_UxD[None]), mask=mask)[0].numpy()
    found = run(module, params, f_UxD, conversation_U, turn_U)
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)
