"""The decoder of the generative model against its transcription in PyTorch: losses, and gradients in everything."""

import jax
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dtrm_jax.models.baselines.hred import Decoder  # noqa: E402
from tests.golden import explicit  # noqa: E402
from tests.parity.baselines import tl_erc  # noqa: E402

VOCABULARY, EMBEDDING, WIDTH = 11, 5, 6
# Of each turn, what is said next; the third is a conversation's last.
UTTERANCES = ((2, 5, 7, 5, 3), (2, 10, 3), (), (2, 9, 8, 4, 6))


def test_the_decoder_equals_its_transcription():
    tokens = np.zeros((len(UTTERANCES), 5), np.int32)
    there = np.zeros(tokens.shape, bool)
    for turn, utterance in enumerate(UTTERANCES):
        tokens[turn, : len(utterance)], there[turn, : len(utterance)] = utterance, True
    d, weights = explicit.array((len(UTTERANCES), WIDTH), 3), np.array([1.0, -2.0, 5.0, 3.0], np.float32)
    module = Decoder(VOCABULARY, EMBEDDING)
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), d, tokens, there))["params"]
    params = jax.tree.map(lambda leaf: 0.5 * explicit.array(leaf.shape, leaf.size), shapes)

    def weighed(params, d):
        losses = module.apply({"params": params}, d, tokens, there)
        return (losses * weights).sum(), losses

    (_, losses), found = jax.jit(jax.value_and_grad(weighed, argnums=(0, 1), has_aux=True))(params, d)
    theirs = tl_erc.Decoder(VOCABULARY, EMBEDDING, WIDTH)
    theirs.load_state_dict({name: torch.tensor(x) for name, x in tl_erc.decoder_to_torch(params).items()})
    d_torch = torch.tensor(d, requires_grad=True)
    expected = {turn: theirs(d_torch[turn], utterance) for turn, utterance in enumerate(UTTERANCES) if utterance}
    sum(loss * float(weights[turn]) for turn, loss in expected.items()).backward()

    for turn in range(len(UTTERANCES)):
        np.testing.assert_allclose(losses[turn], expected[turn].item() if turn in expected else 0, rtol=0, atol=1e-5)
    np.testing.assert_allclose(found[1], d_torch.grad.numpy(), rtol=0, atol=1e-5)
    gradients = tl_erc.decoder_to_torch(jax.tree.map(np.asarray, found[0]))
    for name, parameter in theirs.named_parameters():
        assert parameter.grad.abs().max() > 0.01
        np.testing.assert_allclose(gradients[name], parameter.grad.numpy(), rtol=0, atol=1e-5, err_msg=name)
