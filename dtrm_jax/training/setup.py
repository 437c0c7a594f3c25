"""From a config to everything that training starts from."""

import dataclasses
from typing import Any

import jax
import numpy as np
from tokenizers import Tokenizer

from dtrm_jax.batch import PackShape
from dtrm_jax.config import Config
from dtrm_jax.conversation import Dataset
from dtrm_jax.data import builders
from dtrm_jax.data.packing import build_pack, choose_shape
from dtrm_jax.data.pipeline import TrainPlan, plan_training
from dtrm_jax.data.tokenize import TokenizedConversation, tokenize, word_tokenizer
from dtrm_jax.errors import InputError
from dtrm_jax.models import pretrained
from dtrm_jax.models.bert_config import BertConfig
from dtrm_jax.models.dialogue_trm import DialogueTRM, build_model
from dtrm_jax.run_directory import RunFacts


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A config with its data, tokenised and planned.

    Attributes:
        config: The experiment's config.
        dataset: The conversations.
        tokenizer: Of the encoder.
        train: The tokenised training split.
        dev: The tokenised dev split.
        facts: What goes into the run directory besides the config.
        plan: The packs of every step.
    """

    config: Config
    dataset: Dataset
    tokenizer: Tokenizer
    train: list[TokenizedConversation]
    dev: list[TokenizedConversation]
    facts: RunFacts
    plan: TrainPlan

    def model(self, shape: PackShape) -> DialogueTRM:
        """Builds the model for packs of ``shape``."""
        return build_model(self.config, self.facts.encoder, len(self.dataset.labels), shape)


def prepare(config: Config) -> Experiment:
    """Reads, tokenises and plans.

    Raises:
        InputError: Data or encoder are not to be had, or a split is missing or without labels.
    """
    dataset = builders.load(config.data)
    for split in ("train", "dev"):
        if not dataset.splits.get(split):
            raise InputError(f"{dataset.name}: expected a {split} split, found {', '.join(dataset.splits) or 'none'}")
    tokenizer, encoder = encoder_of(config, dataset)
    train, dev = (tokenize(dataset.splits[s], dataset.labels, tokenizer, config.tokens) for s in ("train", "dev"))
    for split, conversations in (("train", train), ("dev", dev)):
        if not any((conversation.labels >= 0).any() for conversation in conversations):
            raise InputError(f"{dataset.name}: expected labelled turns in the {split} split, found none")
    lengths = [conversation.lengths for conversation in train]
    shape = choose_shape(lengths, config.packing)
    plan = plan_training(lengths, shape, config.packing.packs_per_step, config.train.epochs, config.train.seed)
    facts = RunFacts(dataset.name, dataset.labels, encoder, shape, len(plan.steps))
    return Experiment(config, dataset, tokenizer, train, dev, facts, plan)


def encoder_of(config: Config, dataset: Dataset) -> tuple[Tokenizer, BertConfig]:
    """Returns the tokenizer and the sizes of the configured encoder.

    Raises:
        InputError: The pretrained encoder is not to be had, or takes shorter sequences than the config asks for.
    """
    settings = config.model.encoder
    rates = {"dropout": settings.dropout, "attention_dropout": settings.attention_dropout}
    if settings.pretrained:
        folder = pretrained.locate(settings.pretrained)
        sizes = pretrained.read_config(folder, **rates)
        if config.tokens.max_length > sizes.max_positions:
            raise InputError(
                f"config.tokens.max_length: expected at most {sizes.max_positions}, the positions of "
                f"{settings.pretrained}, found {config.tokens.max_length}"
            )
        return pretrained.load_tokenizer(folder), sizes
    tokenizer = word_tokenizer(dataset.splits["train"])
    return tokenizer, BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=settings.hidden_size,
        layers=settings.layers,
        heads=settings.heads,
        intermediate_size=settings.intermediate_size,
        max_positions=config.tokens.max_length,
        **rates,
    )


def initial_params(experiment: Experiment) -> Any:
    """Initialises the parameters from the seed, the encoder's from the pretrained weights if there are any.

    Raises:
        InputError: The weights do not fit.
    """
    config, facts = experiment.config, experiment.facts
    model = experiment.model(facts.shape)
    pack = build_pack([], facts.shape)
    key = jax.random.fold_in(jax.random.key(config.train.seed), 0)
    params = jax.jit(lambda key, pack: model.init(key, pack, deterministic=True)["params"])(key, pack)
    if config.model.encoder.pretrained:
        loaded = pretrained.load_params(pretrained.locate(config.model.encoder.pretrained), facts.encoder)
        params = {**params, "encoder": jax.tree.map(jax.numpy.asarray, loaded)}
    return params


def class_weights(experiment: Experiment) -> np.ndarray:
    """Returns float32 ``[C]``: ones, or the training split's inverse class frequencies, 1 on average over its turns."""
    classes = len(experiment.dataset.labels)
    if experiment.config.train.class_weights == "none":
        return np.ones(classes, np.float32)
    labels = np.concatenate([conversation.labels for conversation in experiment.train])
    counts = np.bincount(labels[labels >= 0], minlength=classes)
    return np.where(counts > 0, counts.sum() / (classes * np.maximum(counts, 1)), 0.0).astype(np.float32)
