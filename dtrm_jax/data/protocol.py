"""The parts of a corpus that an experiment uses: dev split, targets, features (paper, section 5.1)."""

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np

from dtrm_jax.config import Config, DataConfig
from dtrm_jax.conversation import COMMONSENSE, TEXT_LAYERS, Conversation, Dataset, ValueSpace
from dtrm_jax.data import corpus
from dtrm_jax.errors import InputError


def load(config: Config) -> Dataset:
    """Returns the configured corpus with the dev split, targets and features that the experiment uses.

    Raises:
        InputError: The data cannot be read, or does not have what the config asks for.
    """
    return choose_features(load_with_all_features(config), config)


def load_with_all_features(config: Config) -> Dataset:
    """Returns the same with the features of all modalities and text layers that the corpus has.

    Raises:
        InputError: The data cannot be read, or has no text where the model reads it.
    """
    dataset = hold_out(choose_targets(corpus.load(config.data), config.data.targets), config.data)
    if config.model.reads_text and not any(
        turn.text for conversations in dataset.splits.values() for c in conversations for turn in c.turns
    ):
        raise InputError(f"{dataset.name}: config.model.utterance is encoder, but the data has no text")
    return dataset


def require_splits(dataset: Dataset, splits: Iterable[str]) -> None:
    """Raises InputError if a split is not there or empty."""
    for split in splits:
        if not dataset.splits.get(split):
            raise InputError(f"{dataset.name}: expected a {split} split, found {', '.join(dataset.splits) or 'none'}")


def hold_out(dataset: Dataset, config: DataConfig) -> Dataset:
    """Draws the dev split if the config asks for that or the data has none: whole conversations, from the seed alone.

    ``validation="random"`` draws from train and dev together (the paper's 10 % of IEMOCAP's first four sessions);
    ``"given"`` keeps the data's own dev split and draws one only if there is none. Test is never touched.

    Raises:
        InputError: There are fewer than two conversations to draw from, or the share is 0.
    """
    if config.validation == "given" and dataset.splits.get("dev"):
        return dataset
    pool = sorted(dataset.splits.get("train", ()) + dataset.splits.get("dev", ()), key=lambda c: c.id)
    if len({conversation.id for conversation in pool}) < len(pool):  # ids of separate splits may coincide (MELD)
        raise InputError(
            f"{dataset.name}: config.data.validation: expected given, its train and dev conversations share ids"
        )
    count = max(1, round(config.validation_share * len(pool)))
    if len(pool) < 2 or config.validation_share == 0:
        raise InputError(
            f"{dataset.name}: expected a dev split, or a config.data.validation_share above 0 of at least two training "
            f"conversations, found {config.validation_share} of {len(pool)}"
        )
    drawn = set(np.random.default_rng(config.validation_seed).permutation(len(pool))[:count].tolist())
    train = tuple(conversation for index, conversation in enumerate(pool) if index not in drawn)
    dev = tuple(conversation for index, conversation in enumerate(pool) if index in drawn)
    rest = {name: split for name, split in dataset.splits.items() if name not in ("train", "dev")}
    seed = config.validation_seed
    note = f"dev: {count} of {len(pool)} conversations, drawn with config.data.validation_seed={seed}"
    splits = {"train": train, "dev": dev, **rest}
    return dataclasses.replace(dataset, splits=splits, notes=(*dataset.notes, note), dev_drawn=True)


def choose_targets(dataset: Dataset, targets: str) -> Dataset:
    """Keeps the named real-valued emotions, in the given order; all if ``targets`` is empty.

    Raises:
        InputError: The data has classes, or not such a value.
    """
    names = tuple(name.strip() for name in targets.split(",") if name.strip())
    if not names:
        return dataset
    if not isinstance(dataset.labels, ValueSpace):
        raise InputError(f"config.data.targets: {dataset.name} has classes, not real values; leave it empty")
    there = dataset.labels.names
    if unknown := [name for name in names if name not in there]:
        raise InputError(f"config.data.targets: expected some of {', '.join(there)}, found {', '.join(unknown)}")
    if len(set(names)) < len(names):
        raise InputError(f"config.data.targets: expected each emotion once, found {targets}")
    columns = [there.index(name) for name in names]

    def kept(conversation: Conversation) -> Conversation:
        turns = (dataclasses.replace(t, values=tuple(t.values[c] for c in columns)) for t in conversation.turns)
        return dataclasses.replace(conversation, turns=tuple(turns))

    return dataclasses.replace(dataset, labels=ValueSpace(names), splits=_map(dataset, kept))


def choose_features(dataset: Dataset, config: Config) -> Dataset:
    """Keeps the features that the model takes, the utterances' from the configured text layer.

    Raises:
        InputError: The data lacks one.
    """
    wanted, there = config.model.feature_modalities, tuple(dataset.feature_sizes())
    layers = text_layers(there, config.data.text_layer) if "utterance" in wanted else []
    absent = [name for name in wanted if (not layers if name == "utterance" else name not in there)]
    if absent:
        hint = ", or set config.model.cosmic.commonsense=False" if COMMONSENSE in absent else ""
        raise InputError(
            f"{dataset.name}: config.model.modalities={config.model.modalities} needs {' and '.join(absent)} features, "
            f"the data has {', '.join(there) or 'none'}; put a feature file into the source folder{hint}"
        )

    def kept(conversation: Conversation) -> Conversation:
        features = {name: conversation.features[name] for name in wanted if name != "utterance"}
        if layers:
            features["utterance"] = np.mean([conversation.features[name] for name in layers], axis=0)
        return dataclasses.replace(conversation, features={name: features[name] for name in wanted})

    return dataclasses.replace(dataset, splits=_map(dataset, kept))


def text_layers(there: Iterable[str], layer: int) -> list[str]:
    """Returns the names of the utterance vectors to use: that of one layer, or those of all layers if it is 0.

    Args:
        there: Names of the features that there are.
        layer: ``config.data.text_layer``.
    """
    layers = [name for name in TEXT_LAYERS if name in there]
    return layers if layer == 0 else layers[layer - 1 : layer]


def without_utterance_vectors(dataset: Dataset) -> Dataset:
    """Drops the vectors of utterances that a corpus came with, of all text layers."""

    def kept(conversation: Conversation) -> Conversation:
        others = {name: rows for name, rows in conversation.features.items() if name not in TEXT_LAYERS}
        return dataclasses.replace(conversation, features=others)

    return dataclasses.replace(dataset, splits=_map(dataset, kept))


def _map(dataset: Dataset, change: Callable[[Conversation], Conversation]) -> dict[str, tuple[Conversation, ...]]:
    return {split: tuple(map(change, conversations)) for split, conversations in dataset.splits.items()}
