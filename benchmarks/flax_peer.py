"""The same model around transformers' FlaxBertModel: one row per sequence, every row padded to the longest.

A JAX user has this without packing: one shape for all batches, so that the program is compiled once. Everything but the
encoder and the layout of the tokens is this project's own. Needs transformers below version 5.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from transformers import BertConfig as HuggingFaceConfig
from transformers.models.bert.modeling_flax_bert import FlaxBertModule

from benchmarks.ours import one_device
from dtrm_jax.batch import Batch, PackShape
from dtrm_jax.config import ModelConfig
from dtrm_jax.data.examples import Example
from dtrm_jax.data.packing import build_pack
from dtrm_jax.errors import InputError
from dtrm_jax.inference.compiled import make_predict
from dtrm_jax.models.dialogue_trm.discriminator import Discriminator
from dtrm_jax.models.dialogue_trm.intra_modal import IntraModal
from dtrm_jax.models.encoders.bert import BertConfig
from dtrm_jax.models.encoders.reading import mean_of_utterance, utterance_of_own
from dtrm_jax.models.interface import Model
from dtrm_jax.training import setup
from dtrm_jax.training.meter import runs_ahead
from dtrm_jax.training.step import AXIS, initial_state, make_train_step, parallelise


class PaddedDialogueTRM(Model):
    """DialogueTRM-U on FlaxBertModel, in packs of one row length, with one row per utterance slot.

    The parameters are those of ``DialogueTRM``.

    Attributes:
        config: Model settings.
        sizes: Of the encoder.
        window: K.
        outputs: C.
    """

    config: ModelConfig
    sizes: BertConfig
    window: int
    outputs: int

    @nn.compact
    def __call__(self, batch: Batch, *, deterministic: bool) -> Float[Array, "U C"]:
        """Returns the logits of every utterance slot."""
        config, sizes, dtype = self.config, self.sizes, jnp.dtype(self.config.dtype)
        huggingface = HuggingFaceConfig(
            vocab_size=sizes.vocab_size,
            hidden_size=sizes.hidden_size,
            num_hidden_layers=sizes.layers,
            num_attention_heads=sizes.heads,
            intermediate_size=sizes.intermediate_size,
            max_position_embeddings=sizes.max_positions,
            type_vocab_size=sizes.segment_types,
            layer_norm_eps=sizes.layer_norm_eps,
            hidden_dropout_prob=sizes.dropout,
            attention_probs_dropout_prob=sizes.attention_dropout,
        )
        rows = (self.shape.utterances, -1)
        ids, positions, segments, sequences = (
            x.reshape(rows)
            for x in (batch.token_ids_T, batch.position_ids_T, batch.segment_ids_T, batch.sequence_ids_T)
        )
        bert = FlaxBertModule(huggingface, dtype, add_pooling_layer=False, name="encoder")
        mask = (sequences >= 0).astype(jnp.int32)
        states = bert(ids, mask, segments, positions, None, deterministic=deterministic).last_hidden_state
        states_TxD = states.reshape(-1, states.shape[-1])
        by_cls = config.encoder.pooling == "cls"
        if by_cls:
            f_UxD = states_TxD[batch.cls_U]
        else:
            f_UxD = mean_of_utterance(states_TxD, utterance_of_own(batch), self.shape.utterances)
        intra_modal = IntraModal(config.intra_modal, config.context.utterance, self.window, dtype, name="intra_modal")
        r_UxD = intra_modal(f_UxD, batch.conversation_U, batch.turn_U, deterministic)
        return Discriminator(self.outputs, config.dropout, dtype, name="discriminator")(r_UxD, deterministic)


class FlaxPeer:
    """Trains and predicts with ``PaddedDialogueTRM``.

    Args:
        experiment: What to train.
        examples: The split that ``batches`` take their conversations from.
        batches: Indices of the conversations of each step.

    Raises:
        InputError: The config asks for something that the peer does not implement.
    """

    def __init__(self, experiment: setup.Experiment, examples: list[Example], batches: Sequence[Sequence[int]]):
        config, manifest = experiment.config, experiment.manifest
        if config.model.modalities != "u" or config.model.utterance != "encoder":
            raise InputError("config.model.modalities: the FlaxBertModel peer implements the text alone")
        self.batches = [[examples[index] for index in batch] for batch in batches]
        longest = max(max(example.lengths) for batch in self.batches for example in batch)
        turns = max(sum(len(example.lengths) for example in batch) for batch in self.batches)
        self.shape = PackShape(((longest, turns),), turns)
        model = PaddedDialogueTRM(
            shape=self.shape,
            config=config.model,
            sizes=manifest.encoder,
            window=config.tokens.window,
            outputs=len(manifest.labels),
        )
        optimizer = setup.build_optimizer(config.optimizer, manifest.total_steps, {"encoder"})
        weights_C = jnp.asarray(setup.class_weights(experiment))
        step = make_train_step(model, optimizer, experiment.task, weights_C, config.train.label_smoothing, AXIS)
        self.step, self.predictor = parallelise(step, one_device()), make_predict(model, experiment.task)
        self.state = jax.jit(lambda params: initial_state(params, optimizer))(setup.initial_params(experiment))
        self.rng = jax.random.key(config.train.seed)

    def train(self) -> list[float]:
        """Takes all steps; returns their losses."""
        sums = []
        for batch in self.batches:
            self.state, one = self.step(self.state, padded(batch, self.shape), self.rng)
            sums.append(one)
            if not runs_ahead():  # as ours does
                jax.block_until_ready(one)
        return [float(one.loss) / max(float(one.weight), 1.0) for one in sums]

    def predict(self) -> list[float]:
        """Predicts all batches; returns the sum of each one's largest probabilities."""
        packs = (jax.tree.map(lambda x: x[0], padded(batch, self.shape)) for batch in self.batches)
        outputs = ((np.asarray(self.predictor(self.state.params, pack)), pack) for pack in packs)  # one by one, as ours
        return [float(shares[pack.conversation_U >= 0].max(axis=-1).sum()) for shares, pack in outputs]


def padded(conversations: Sequence[Example], shape: PackShape) -> Batch:
    """Lays conversations out with one row per sequence, and a leading axis of one pack."""
    (length, _), *_ = shape.rows
    rows = iter(range(shape.utterances))
    starts = [[length * next(rows) for _ in conversation.sequences] for conversation in conversations]
    return jax.tree.map(lambda x: x[None], build_pack(conversations, shape, starts))
