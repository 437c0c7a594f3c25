"""Computes the golden outputs with PyTorch and transformers: ``python tests/golden/make_goldens.py [NAME...]``.

``tests/models/test_golden.py``, and ``tests/models/baselines/test_baselines.py`` for the baselines, compare our modules
with them where neither is installed. Weights and inputs are those of ``explicit.py``; only outputs are stored. With
names, only the files are made whose names begin with one of them, such as ``baseline_c_lstm``.
"""

import functools
import inspect
import pathlib
import sys
from typing import Any

import numpy as np
import torch
import transformers
from torch import nn

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from tests.baselines import CASES, SLOTS, explicit_params  # noqa: E402
from tests.encoder_families import FAMILIES  # noqa: E402
from tests.golden import explicit  # noqa: E402
from tests.parity.baselines.comparison import loaded, run  # noqa: E402
from tests.parity.baselines.transcriptions import TRANSCRIPTIONS  # noqa: E402

FOLDER = pathlib.Path(__file__).parent


def load(module: nn.Module, shapes: dict[str, tuple[int, ...]]) -> nn.Module:
    """Gives a module the explicit weights, all of them, and switches dropout off."""
    arrays = explicit.weights(shapes)
    module.load_state_dict({name: torch.tensor(value) for name, value in arrays.items()}, strict=True)
    return module.eval()


def make_bert() -> transformers.BertModel:
    """Returns a BertModel with the explicit weights."""
    config = transformers.BertConfig(**explicit.BERT_CONFIG, attn_implementation="eager")
    return load(transformers.BertModel(config, add_pooling_layer=False), explicit.bert_shapes())


def make_family(values: dict[str, Any]) -> transformers.PreTrainedModel:
    """Returns the encoder of another family, as its ``config.json`` says, with the explicit weights."""
    config = transformers.AutoConfig.for_model(**values, attn_implementation="eager")
    module_class = transformers.MODEL_MAPPING[type(config)]
    takes_pooling = "add_pooling_layer" in inspect.signature(module_class).parameters
    module = module_class(config, **({"add_pooling_layer": False} if takes_pooling else {}))
    return load(module, {name: tuple(parameter.shape) for name, parameter in module.named_parameters()})


def make_transformer() -> nn.TransformerEncoder:
    """Returns a TransformerEncoder with the explicit weights."""
    layer = nn.TransformerEncoderLayer(explicit.WIDTH, explicit.HEADS, explicit.FEED_FORWARD, batch_first=True)
    encoder = nn.TransformerEncoder(layer, explicit.LAYERS, enable_nested_tensor=False)
    return load(encoder, explicit.transformer_shapes())


def make_discriminator() -> nn.ModuleDict:
    """Returns the discriminator's layers with the explicit weights."""
    layers = {
        "hidden": nn.Linear(explicit.WIDTH, explicit.WIDTH),
        "output": nn.Linear(explicit.WIDTH, explicit.CLASSES),
    }
    return load(nn.ModuleDict(layers), explicit.discriminator_shapes())


def hidden_states(bert: transformers.BertModel, sequence: explicit.Sequence) -> torch.Tensor:
    """Runs one sequence alone; returns ``[tokens, D]``."""
    ids, segments = torch.tensor([sequence.token_ids]), torch.tensor([sequence.segment_ids])
    return bert(input_ids=ids, token_type_ids=segments).last_hidden_state[0]


def represent(encoder: nn.TransformerEncoder, f_LxD: torch.Tensor, context: str) -> torch.Tensor:
    """Runs one conversation alone, under eq. 3 (dependent) or eq. 6 (free)."""
    turns = len(f_LxD)
    window = explicit.WINDOW if context == "dependent" else 0
    hidden = torch.tensor([[not i - window <= j <= i for j in range(turns)] for i in range(turns)])
    return encoder(f_LxD[None], mask=hidden)[0]


def bert_golden() -> dict[str, np.ndarray]:
    """Hidden states of every sequence, one after the other."""
    bert = make_bert()
    with torch.no_grad():
        return {"states": torch.cat([hidden_states(bert, sequence) for sequence in explicit.SEQUENCES]).numpy()}


def family_golden(values: dict[str, Any]) -> dict[str, np.ndarray]:
    """Hidden states of every sequence, one after the other."""
    encoder, states = make_family(values), []
    for sequence in explicit.SEQUENCES:
        inputs = {"input_ids": torch.tensor([sequence.token_ids])}
        if values.get("type_vocab_size", 0) > 1:
            inputs["token_type_ids"] = torch.tensor([sequence.segment_ids])
        states.append(encoder(**inputs).last_hidden_state[0])
    return {"states": torch.cat(states).detach().numpy()}


def transformer_golden() -> dict[str, np.ndarray]:
    """Representations of several conversations in both settings, and gradients in their inputs."""
    encoder, golden = make_transformer(), {}
    inputs = explicit.array((sum(explicit.TURNS), explicit.WIDTH), 101)
    cotangent = torch.tensor(explicit.array(inputs.shape, 102))
    for context in ("dependent", "free"):
        f_UxD = torch.tensor(inputs, requires_grad=True)
        r_UxD = torch.cat([represent(encoder, part, context) for part in f_UxD.split(explicit.TURNS)])
        (r_UxD * cotangent).sum().backward()
        golden |= {context: r_UxD.detach().numpy(), f"{context}_gradient": f_UxD.grad.numpy()}
    return golden


def dialogue_golden() -> dict[str, np.ndarray]:
    """Logits of the whole model, its mean cross-entropy and the gradient in the word embedding."""
    bert, encoder, discriminator = make_bert(), make_transformer(), make_discriminator()
    f_UxD = torch.stack([hidden_states(bert, sequence)[0] for sequence in explicit.SEQUENCES])
    r_UxD = torch.cat([represent(encoder, part, "dependent") for part in f_UxD.split(explicit.DIALOGUES)])
    logits = discriminator["output"](torch.tanh(discriminator["hidden"](r_UxD)))
    loss = nn.functional.cross_entropy(logits, torch.tensor(explicit.LABELS), ignore_index=-1)
    loss.backward()
    return {
        "logits": logits.detach().numpy(),
        "loss": loss.detach().numpy(),
        "gradient": bert.embeddings.word_embeddings.weight.grad.numpy(),
    }


def baseline_golden(name: str) -> dict[str, np.ndarray]:
    """Outputs of a baseline's transcription."""
    case = CASES[name]
    transcription = TRANSCRIPTIONS[case.architecture]
    params = explicit_params(case.model(SLOTS), case.spread)
    return {"outputs": run(loaded(transcription.module(case), params, transcription.to_torch), case).detach().numpy()}


def main() -> None:
    """Writes the files beside this one."""
    goldens = {
        "bert": bert_golden,
        "deberta_v2": lambda: family_golden(explicit.DEBERTA_V2_CONFIG),
        "modernbert": lambda: family_golden(explicit.MODERNBERT_CONFIG),
        **{f"family_{name}": functools.partial(family_golden, family.config) for name, family in FAMILIES.items()},
        "transformer": transformer_golden,
        "dialogue_trm": dialogue_golden,
        **{f"baseline_{name}": functools.partial(baseline_golden, name) for name in CASES},
    }
    for name, make in goldens.items():
        if sys.argv[1:] and not name.startswith(tuple(sys.argv[1:])):
            continue
        path, golden = FOLDER / f"{name}.npz", make()
        np.savez(path, **golden)
        print(f"{path.name}: {path.stat().st_size} bytes, {', '.join(golden)}")


if __name__ == "__main__":
    main()
