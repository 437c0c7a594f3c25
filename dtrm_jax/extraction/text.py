"""The vectors that a trained model's text encoder gives utterances, as features to train on.

This is the protocol of COSMIC (Ghosal et al., 2020): an encoder is fine-tuned first, and the model of conversations is
then trained on its vectors, which do not change any more.
"""

import dataclasses
import hashlib
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flax.traverse_util
import numpy as np
import tqdm

from dtrm_jax import config as config_lib
from dtrm_jax.conversation import Conversation, LabelSpace, ValueSpace
from dtrm_jax.data import protocol
from dtrm_jax.data.examples import make_examples
from dtrm_jax.data.features import Normalization, present_rows
from dtrm_jax.data.fingerprint import fingerprint
from dtrm_jax.data.plans import plan_evaluation
from dtrm_jax.data.readers import table, table_turns
from dtrm_jax.errors import InputError
from dtrm_jax.evaluation.evaluator import by_conversation
from dtrm_jax.extraction import tables as tables_lib
from dtrm_jax.extraction.folder import Folder
from dtrm_jax.inference.trained import Trained
from dtrm_jax.inference.utterance_vectors import PART, make_utterance_vectors

MODALITY = "utterance"


class Extracted(NamedTuple):
    """What an extraction has come to.

    Attributes:
        turns: Of all splits.
        present: Those with a vector; the others have no text.
        size: D, the numbers of a vector.
        was_complete: Whether the folder held all of it already, so that nothing was done.
    """

    turns: int
    present: int
    size: int
    was_complete: bool


def extract_of_table(trained: Trained, source: pathlib.Path, folder: pathlib.Path, *, columns: str) -> Extracted:
    """Extracts the vectors of people's own tables, which are copied with them; their labels mean nothing here.

    Args:
        trained: A model that reads text.
        source: A folder of tables, or one file.
        folder: Is new or empty, and appears when it is complete.
        columns: The setting ``data.columns``.

    Raises:
        InputError: The model reads no text, keeps no encoder by itself, or reads later turns with an utterance; a table
            is malformed; or the folder holds something else.
    """
    _check(trained)
    tables = tables_lib.read(source, columns, MODALITY, text_needed=True)
    files = tables_lib.digests(source)
    output = Folder(folder, _settings(trained) | {"columns": columns, "files": files})
    if (record := output.complete()) is not None:
        return _extracted(record, was_complete=True)
    splits = {split: table_turns.conversations(one, None, table.features_of(one)) for split, one in tables.items()}
    vectors = _vectors(trained, splits, trained.manifest.labels)
    arrays = {}
    for split, one in tables.items():
        of_turn = {
            (conversation.id, turn.id): row
            for conversation, matrix in zip(splits[split], vectors[split], strict=True)
            for turn, row in zip(conversation.turns, matrix, strict=True)
        }
        arrays[split] = np.stack([of_turn[row.values["conversation"], row.values["turn"]] for row in one.rows])
    about = _about(list(arrays.values()))
    with output.begun(), output.appearing(about) as new:
        tables_lib.write(tables, new, MODALITY, arrays, source=source, known=files)
    return _extracted(about, was_complete=False)


def extract_of_corpus(trained: Trained, folder: pathlib.Path, *, source: str | None) -> Extracted:
    """Extracts the vectors of the corpus that a model was trained on, with its splits, labels and all other features.

    Args:
        trained: A model that reads text.
        folder: As for ``extract_of_table``.
        source: Folder of the raw files, if it is not the one that the model was trained with.

    Raises:
        InputError: The model reads no text, keeps no encoder by itself, or reads later turns with an utterance; the
            corpus cannot be read; or the folder holds something else.
    """
    _check(trained)
    config = trained.config
    if source is not None:
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, source=source))
    # The extracted vectors take the place of those that it may come with.
    dataset = protocol.without_utterance_vectors(protocol.load_with_all_features(config))
    output = Folder(folder, _settings(trained) | {"corpus": dataset.name, "data": fingerprint(dataset)})
    if (record := output.complete()) is not None:
        return _extracted(record, was_complete=True)
    vectors = {
        split: np.concatenate(found) for split, found in _vectors(trained, dataset.splits, dataset.labels).items()
    }
    about = _about(list(vectors.values()))
    with output.begun(), output.appearing(about) as new:
        tables_lib.write_dataset(dataset, new, MODALITY, vectors)
    return _extracted(about, was_complete=False)


def _vectors(
    trained: Trained, splits: Mapping[str, Sequence[Conversation]], labels: LabelSpace | ValueSpace
) -> dict[str, list[np.ndarray]]:
    """Returns float32 ``[L, D]`` of every conversation; NaN where a turn has no text."""
    conversations = [conversation for split in splits.values() for conversation in split]
    examples = make_examples(conversations, labels, trained.tokenizer, Normalization({}, {}, bound=0.0), trained.config)
    plan = plan_evaluation(examples, trained.config)
    program = make_utterance_vectors(trained, plan.shape)
    with tqdm.tqdm(total=len(plan.packs), unit="pack", desc="encoding", mininterval=1) as bar:

        def run(pack: Any) -> Any:
            bar.update()
            return program(pack)

        found = iter(by_conversation(plan, examples, run))
    return {split: [_of_texts(one, next(found)) for one in own] for split, own in splits.items()}


def _of_texts(conversation: Conversation, vectors_LxD: np.ndarray) -> np.ndarray:
    empty = np.array([not turn.text.strip() for turn in conversation.turns])
    return np.where(empty[:, None], np.float32(np.nan), vectors_LxD)


def _check(trained: Trained) -> None:
    """Refuses a model without an encoder, and one whose vectors would make whatever is trained on them not causal.

    A model takes vectors as what is known of a turn when it is said, and would be called causal all the same.
    """
    if not trained.config.model.reads_text:
        raise InputError(f"{trained.name}: expected a model that reads text, found one that takes features alone")
    if PART not in trained.params:
        raise InputError(f"{trained.name}: expected a part {PART} of the parameters, found {', '.join(trained.params)}")
    if trained.config.tokens.reads_later:
        raise InputError(
            f"{trained.name}: config.tokens.future: expected 0, as vectors must not hold what is said later, found "
            f"{trained.config.tokens.future}; train the encoder with --config.tokens.future=0, or alone with "
            "--config.tokens.indi_context=false"
        )


def _settings(trained: Trained) -> dict[str, Any]:
    """Returns what the vectors depend on besides the texts."""
    digest = hashlib.sha256()
    for path, array in sorted(flax.traverse_util.flatten_dict(trained.params[PART], sep=".").items()):
        digest.update(path.encode() + np.asarray(array).tobytes())
    values = config_lib.to_dict(trained.config)
    return {
        "extracted": "text",
        "run": trained.name,
        "step": trained.step,
        "encoder": digest.hexdigest(),
        "pooling": values["model"]["encoder"]["pooling"],
        "tokens": values["tokens"],
    }


def _about(arrays: Sequence[np.ndarray]) -> dict[str, Any]:
    present = sum(int(present_rows(array).sum()) for array in arrays)
    return {"turns": sum(map(len, arrays)), "present": present, "size": arrays[0].shape[1]}


def _extracted(about: Mapping[str, Any], *, was_complete: bool) -> Extracted:
    return Extracted(about["turns"], about["present"], about["size"], was_complete)
