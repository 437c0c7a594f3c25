"""What every baseline is held to against its transcription in PyTorch: equal outputs, and equal gradients.

A transcription is a ``torch.nn.Module`` that takes one conversation: the vectors of its turns and the numbers of its
speakers. It is written from the equations, turn by turn. Beside it stands ``to_torch``, which maps a tree of our
parameters, or of gradients in them, to the names and layouts of its own.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import torch

from dtrm_jax.models.layers.auxiliary import AUXILIARY
from tests.baselines import CONVERSATIONS, SLOTS, Case, explicit_params, pack

TOLERANCE = 1e-5

# One conversation: modality -> [L, M], speakers [L]; returns [L, C].
Transcription = torch.nn.Module
ToTorch = Callable[[Any], Mapping[str, np.ndarray]]


def loaded(module: Transcription, params: Any, to_torch: ToTorch) -> Transcription:
    """Gives a transcription our parameters, all of them, in evaluation mode."""
    arrays = to_torch(jax.tree.map(np.asarray, params))
    module.load_state_dict({name: torch.tensor(np.asarray(value)) for name, value in arrays.items()}, strict=True)
    return module.eval()


def run(module: Transcription, case: Case) -> torch.Tensor:
    """Returns the outputs of every turn of ``CONVERSATIONS``, conversation by conversation."""
    batch, rows = pack(CONVERSATIONS), []
    names = case.config().model.feature_modalities
    for number in range(len(CONVERSATIONS)):
        own = batch.conversation_U == number
        vectors = {name: torch.tensor(batch.features_UxM[name][own]) for name in names}
        rows.append(module(vectors, torch.tensor(batch.speaker_U[own], dtype=torch.long)))
    return torch.cat(rows)


def assert_equal(case: Case, module: Transcription, to_torch: ToTorch) -> None:
    """Compares outputs, and the gradients of a weighted sum of their squares in every parameter.

    A transcription of a model with auxiliary losses has a method ``auxiliary``, which returns them after a run: it
    takes the outputs of all turns and the weights of the squares.
    """
    model, batch = case.model(SLOTS), pack(CONVERSATIONS)
    params = explicit_params(model, case.spread)
    turns = sum(map(len, CONVERSATIONS))
    theirs = run(loaded(module, params, to_torch), case)
    weights = np.cos(np.arange(theirs.numel(), dtype=np.float32)).reshape(theirs.shape)
    total = (theirs**2 * torch.tensor(weights)).sum()
    if hasattr(module, "auxiliary"):
        total = total + module.auxiliary(theirs, torch.tensor(weights))
    total.backward()

    def of_outputs(rows, pack):
        return (rows[:turns] ** 2 * weights * pack.weight_U[:turns, None]).sum()

    def loss(params):
        rows, sown = model.apply({"params": params}, batch, deterministic=True, mutable=[AUXILIARY])
        auxiliary = model.auxiliary_losses(sown.get(AUXILIARY, {}), rows, batch, of_outputs)
        return of_outputs(rows, batch) + sum(auxiliary.values()), rows[:turns]

    compiled = jax.jit(jax.value_and_grad(loss, has_aux=True))
    (_, rows), gradients = compiled(params)
    np.testing.assert_allclose(np.asarray(rows), theirs.detach().numpy(), rtol=0, atol=TOLERANCE)
    found = to_torch(jax.tree.map(np.asarray, gradients))
    expected = {name: parameter.grad for name, parameter in module.named_parameters()}
    assert found.keys() == expected.keys()
    largest = max(float(gradient.abs().max()) for gradient in expected.values())
    for name, gradient in expected.items():
        assert gradient.abs().max() > 1e-4 * largest, f"{name}: a gradient that could hide a mistake"
        np.testing.assert_allclose(
            found[name] / largest, gradient.numpy() / largest, rtol=0, atol=TOLERANCE, err_msg=name
        )


def linear(name: str, params: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns ``torch.nn.Linear``'s arrays of a Dense."""
    return {f"{name}.weight": params["kernel"].T} | ({f"{name}.bias": params["bias"]} if "bias" in params else {})


def cell(name: str, params: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Returns the arrays of ``torch.nn.GRUCell`` or ``LSTMCell``."""
    return {
        f"{name}.weight_ih": params["inputs"]["kernel"].T,
        f"{name}.bias_ih": params["inputs"]["bias"],
        f"{name}.weight_hh": params["hidden"]["kernel"].T,
        f"{name}.bias_hh": params["hidden"]["bias"],
    }
