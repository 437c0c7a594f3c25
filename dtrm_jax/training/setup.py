"""From a config to everything that training starts from."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import optax

from dtrm_jax.batch import PackShape
from dtrm_jax.config import Config
from dtrm_jax.conversation import Conversation, Dataset
from dtrm_jax.data import protocol
from dtrm_jax.data.encoder_tokenizer import EncoderTokenizer, load_tokenizer, word_tokenizer
from dtrm_jax.data.examples import Example, make_examples
from dtrm_jax.data.features import Normalization
from dtrm_jax.data.fingerprint import fingerprint
from dtrm_jax.data.packing import PLANNER, build_pack
from dtrm_jax.data.plans import TrainPlan, plan_training
from dtrm_jax.data.tokenize import spoken
from dtrm_jax.errors import InputError
from dtrm_jax.models import architecture, build_model, encoders
from dtrm_jax.models.encoders import hub
from dtrm_jax.models.encoders.bert import BertConfig
from dtrm_jax.models.encoders.family import Encoder
from dtrm_jax.models.encoders.weights import load_params
from dtrm_jax.models.interface import Model
from dtrm_jax.run_directory import Manifest, RunDirectory
from dtrm_jax.settings import leaves
from dtrm_jax.tasks import METRICS, Task, task_of
from dtrm_jax.training.beginning import Beginning, beginning
from dtrm_jax.training.optimizer import build_optimizer
from dtrm_jax.training.step import AXIS, TrainStep, make_train_step
from dtrm_jax.training.transfer import transfer


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """A config with its data, prepared and planned.

    Attributes:
        config: The experiment's config.
        dataset: The conversations.
        tokenizer: Of the encoder; None if no text is encoded.
        normalization: Statistics of the features.
        train: The prepared training split.
        dev: The prepared dev split.
        test: The prepared test split, if training is to score it; else empty.
        manifest: What goes into the run directory besides the config.
        plan: Shape and packs of every step.
        beginning: What is taken over from another run; None if there is none.
    """

    config: Config
    dataset: Dataset
    tokenizer: EncoderTokenizer | None
    normalization: Normalization
    train: list[Example]
    dev: list[Example]
    test: list[Example]
    manifest: Manifest
    plan: TrainPlan
    beginning: Beginning | None = None

    @property
    def task(self) -> Task:
        """What is predicted."""
        return task_of(self.dataset.labels, self.config.data.neutral)

    @property
    def ignored(self) -> list[str]:
        """Settings that mean nothing for what is predicted, and are set all the same, a line each."""
        task, values = self.task, {path: value for path, *_, value in leaves(self.config)}
        return [
            f"config.{path}={values[path]} is for classes, and means nothing for {task.emotions}"
            for path in task.ignored
            if values[path]
        ]

    @property
    def scorable(self) -> tuple[str, ...]:
        """The splits whose turns have annotations, at least one of them."""
        splits = self.dataset.splits.items()
        return tuple(name for name, conversations in splits if any(map(_is_annotated, conversations)))

    def model(self, shape: PackShape) -> Model:
        """Builds the model for packs of ``shape``."""
        return build_model(self.config, self.manifest.encoder, len(self.dataset.labels), shape)


def prepare(config: Config, run: RunDirectory | None = None) -> Experiment:
    """Reads, prepares and plans.

    Args:
        config: Of the experiment.
        run: Its run directory, in which it may have been begun. If None, it begins now.

    Raises:
        InputError: The data, the encoder or the run to begin with is unavailable, or a split is missing or without
            labels.
    """
    architecture(config)
    begun = beginning(config, run)
    config = begun.adopted(config) if begun else config
    dataset = protocol.load(config)
    used = ("train", "dev", "test") if config.train.score_test else ("train", "dev")
    protocol.require_splits(dataset, used)
    config = with_metric(config, task_of(dataset.labels, config.data.neutral), dataset.name)
    tokenizer, encoder = encoder_of(config, dataset, begun) if config.model.reads_text else (None, None)
    try:
        normalization = Normalization.fit(
            dataset.splits["train"], config.model.feature_modalities, config.data.feature_bound
        )
    except InputError as error:
        raise InputError(f"{dataset.name}: {error}") from error
    dataset = dataclasses.replace(dataset, notes=(*dataset.notes, *normalization.describe_far(dataset.splits)))
    prepared = {split: _examples(dataset, split, tokenizer, normalization, config) for split in used}
    for split in used:
        if not any(map(_is_annotated, dataset.splits[split])):
            raise InputError(f"{dataset.name}: expected labelled turns in the {split} split, found none")
    plan = plan_training(prepared["train"], config)
    manifest = Manifest(
        corpus=dataset.name,
        labels=dataset.labels,
        encoder=encoder,
        shape=plan.shape,
        total_steps=len(plan.steps),
        planner=PLANNER,
        data=fingerprint(dataset),
        notes=dataset.notes,
        init_from=begun.origin if begun else None,
    )
    return Experiment(
        config=config,
        dataset=dataset,
        tokenizer=tokenizer,
        normalization=normalization,
        train=prepared["train"],
        dev=prepared["dev"],
        test=prepared.get("test", []),
        manifest=manifest,
        plan=plan,
        beginning=begun,
    )


def _examples(
    dataset: Dataset,
    split: str,
    tokenizer: EncoderTokenizer | None,
    normalization: Normalization,
    config: Config,
) -> list[Example]:
    try:
        return make_examples(dataset.splits[split], dataset.labels, tokenizer, normalization, config)
    except InputError as error:
        raise InputError(f"{dataset.name}, {split} split, {error}") from error


def _is_annotated(conversation: Conversation) -> bool:
    return any(turn.label is not None or any(value is not None for value in turn.values) for turn in conversation.turns)


def with_metric(config: Config, task: Task, corpus: str) -> Config:
    """Returns the config with the dev metric named that selects checkpoints.

    Args:
        config: Its ``train.select_by`` may be empty: the default of the task.
        task: The kind of emotions that the corpus has.
        corpus: Its name, for the error.

    Raises:
        InputError: The metric is not one of this kind of emotions.
    """
    name = config.train.select_by or task.default_metric
    names = [metric.name for metric in task.metrics]
    if name not in names:
        hint = "; name config.data.neutral for it" if METRICS[name].needs_neutral else ""
        raise InputError(
            f"config.train.select_by: {corpus} has {task.emotions}, expected one of {', '.join(names)}, "
            f"found {name}{hint}"
        )
    return dataclasses.replace(config, train=dataclasses.replace(config.train, select_by=name))


def encoder_of(config: Config, dataset: Dataset, begun: Beginning | None) -> tuple[EncoderTokenizer, Encoder]:
    """Returns the tokenizer and the sizes of the encoder: of the run that is begun with, or the configured one.

    Raises:
        InputError: The pretrained encoder is unavailable, or takes shorter sequences than the config asks for.
    """
    settings = config.model.encoder
    own = {
        "dropout": settings.dropout,
        "attention_dropout": settings.attention_dropout,
        "products": settings.products,
    }
    if begun and begun.origin.encoder:
        encoder = dataclasses.replace(begun.encoder, **own)
        _check_positions(config, encoder, f"the encoder of {config.train.init_from}")
        return begun.tokenizer, encoder
    if settings.pretrained:
        folder = hub.locate(settings.pretrained)
        encoder = encoders.read_encoder(folder, learned_segments=settings.segment_embedding, **own)
        _check_positions(config, encoder, settings.pretrained)
        return load_tokenizer(folder, encoder.special, encoder.vocab_size), encoder
    if settings.hidden_size % settings.heads:
        width, found = settings.hidden_size, settings.heads
        raise InputError(f"config.model.encoder.heads: expected a divisor of the width {width}, found {found}")
    turns = (turn for conversation in dataset.splits["train"] for turn in conversation.turns)
    tokenizer = word_tokenizer(spoken(turn, config.tokens) for turn in turns)
    return tokenizer, BertConfig(
        vocab_size=tokenizer.size,
        hidden_size=settings.hidden_size,
        layers=settings.layers,
        heads=settings.heads,
        intermediate_size=settings.intermediate_size,
        max_positions=config.tokens.max_length,
        **own,
    )


def _check_positions(config: Config, encoder: Encoder, name: str) -> None:
    """Raises InputError if the config's sequences are longer than an encoder takes."""
    if config.tokens.max_length > encoder.longest:
        raise InputError(
            f"config.tokens.max_length: expected at most {encoder.longest}, the positions of {name}, "
            f"found {config.tokens.max_length}"
        )


def initial_params(experiment: Experiment, say: Callable[[str], None] = print) -> Any:
    """Initialises the parameters from the seed, and takes over those of another run or of pretrained weights.

    What the weights do not hold, learned segment embeddings, stays as it was initialised.

    Args:
        experiment: The experiment.
        say: Is given what is taken over from another run, line by line.

    Raises:
        InputError: The weights do not fit, or the other run is not there or does not fit.
    """
    begun = experiment.beginning
    if begun is None:
        return _own_params(experiment, pretrained=True)
    return transfer(
        _own_params(experiment, pretrained=not begun.origin.encoder),
        begun.read(experiment.config.train.init_from),
        config=experiment.config,
        labels=experiment.dataset.labels,
        build=lambda outputs: build_model(
            experiment.config, experiment.manifest.encoder, outputs, experiment.manifest.shape
        ),
        say=say,
    )


def _own_params(experiment: Experiment, *, pretrained: bool) -> Any:
    """Returns the parameters that the config describes, with the encoder's pretrained weights if that is wanted."""
    config, manifest = experiment.config, experiment.manifest
    model = experiment.model(manifest.shape)
    pack = build_pack([], manifest.shape)
    key = jax.random.fold_in(jax.random.key(config.train.seed), 0)
    params = jax.jit(lambda key, pack: model.init(key, pack, deterministic=True)["params"])(key, pack)
    if manifest.encoder is None or not (pretrained and config.model.encoder.pretrained):
        return params
    if "encoder" not in params:
        raise InputError(
            f"config.model.encoder.pretrained: {config.model.architecture} has no part called encoder to load it into"
        )
    loaded = load_params(hub.locate(config.model.encoder.pretrained), manifest.encoder)
    initial = flax.traverse_util.flatten_dict(params["encoder"])
    stored = flax.traverse_util.flatten_dict(jax.tree.map(jnp.asarray, loaded))
    return {**params, "encoder": flax.traverse_util.unflatten_dict(initial | stored)}


def pure_step(experiment: Experiment) -> tuple[optax.GradientTransformation, TrainStep]:
    """Returns the experiment's optimizer and its train step, which sums over the axis ``step.AXIS`` of devices."""
    config = experiment.config
    model, weights_C = experiment.model(experiment.manifest.shape), jnp.asarray(class_weights(experiment))
    optimizer = build_optimizer(config.optimizer, experiment.manifest.total_steps, model.encoder_parts)
    return optimizer, make_train_step(
        model,
        optimizer,
        experiment.task,
        weights_C,
        config.train.label_smoothing,
        axis_name=AXIS,
        skip_nonfinite=config.train.skip_nonfinite_steps > 0,
    )


def class_weights(experiment: Experiment) -> np.ndarray:
    """Returns float32 ``[C]``: the weights of the classes in the loss, from their frequencies in the training split."""
    labels = np.concatenate([example.labels for example in experiment.train])
    return experiment.task.output_weights(labels, experiment.config.train.class_balance)
