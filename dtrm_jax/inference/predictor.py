"""``dtrm_jax.load``: a trained model that predicts the emotions of any conversation."""

import collections
import dataclasses
import itertools
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
import tqdm

from dtrm_jax.batch import PackShape
from dtrm_jax.compilation_cache import keep_compilations
from dtrm_jax.config import Config
from dtrm_jax.conversation import Conversation
from dtrm_jax.data.examples import Example, make_examples
from dtrm_jax.data.packing import build_pack, largest_first, plan_packs
from dtrm_jax.inference import given as given_lib
from dtrm_jax.inference.prediction import Prediction, predictions_of
from dtrm_jax.inference.programs import Predict, make_predict
from dtrm_jax.inference.reading import Source, read_trained
from dtrm_jax.inference.shapes import grown, ladder, starts_in
from dtrm_jax.inference.trained import Trained

# So many of the largest packs' utterance slots are planned together, so that memory is bounded.
_PACKS_PER_BLOCK = 64
# Packs that are being computed while the next is built.
_IN_FLIGHT = 2


def load(source: Source, *, checkpoint: str = "best") -> "Predictor":
    """Loads a trained model to predict with; neither its corpus nor the optimizer's state is needed.

    Example:
        >>> import dtrm_jax
        >>> predictor = dtrm_jax.load("runs/first")
        >>> turns = predictor.predict([("Ann", "I passed!"), ("Bob", "Oh, great."), ("Ann", "Thank you.")])
        >>> [turn.label in predictor.labels for turn in turns]
        [True, True, True]

    Args:
        source: A run directory, or its path, wherever it lies now; a folder that was exported (``dtrm-export``); or,
            where there is no such folder, ``owner/name`` on the Hugging Face hub.
        checkpoint: "best" (by the dev metric), "latest" or a step. What was exported has one checkpoint only, the best.

    Raises:
        InputError: There is no trained model, a file of it is damaged, or it has no such checkpoint.
    """
    keep_compilations()
    return Predictor(read_trained(source, checkpoint=checkpoint))


class Predictor:
    """A trained model that predicts. Threads may share one.

    Args:
        trained: The model.
    """

    def __init__(self, trained: Trained):
        self.trained = dataclasses.replace(trained, config=_for_prediction(trained.config))
        self._wanted = given_lib.Wanted.of(trained)
        self._ladder = ladder(trained)
        self._programs: dict[PackShape, Predict] = {}
        self._lock = threading.Lock()

    @property
    def labels(self) -> tuple[str, ...]:
        """The emotions that the model predicts, in the order of its outputs."""
        return self.trained.manifest.labels.names

    def predict(self, conversations: Any, *, progress: bool = False) -> list[Any]:
        """Predicts every turn of one conversation or of many.

        A conversation is a list of turns, or a ``Conversation``. A turn is a pair of speaker and text, or a dict with
        ``speaker`` and ``text`` and, if there are any, ``id`` and the feature vectors ``acoustic``, ``visual`` and
        ``utterance``. Labels are not needed, and not looked at.

        A modality that a turn lacks is absent, as in training. A model that reads no text needs features of one turn of
        a conversation at least.

        Args:
            conversations: One conversation, or an iterable of them, which is read as it is needed.
            progress: Whether a bar on standard error counts the conversations.

        Returns:
            One ``Prediction`` per turn, or for many conversations a list of them per conversation, in order.

        Raises:
            InputError: A turn has no speaker or no text, a vector of the wrong size or two turns one id; the line names
                the conversation, the turn, what was expected and what was found.
        """
        single, items = given_lib.separate(conversations)
        total = len(conversations) if isinstance(conversations, Sequence) and not single else None
        checked = (self._wanted.conversation(one, number) for number, one in enumerate(items, start=1))
        result: list[list[Prediction]] = []
        with tqdm.tqdm(total=total, unit="conversation", disable=not progress) as bar:
            for block in self._blocks(checked):
                result += self._predict_block(block, bar)
        return result[0] if single else result

    def _blocks(self, conversations: Iterable[Conversation]) -> Iterator[list[Conversation]]:
        """Yields conversations in lists of about as many turns as ``_PACKS_PER_BLOCK`` packs hold."""
        limit, block, turns = _PACKS_PER_BLOCK * self._ladder[-1].utterances, [], 0
        for conversation in conversations:
            block.append(conversation)
            turns += len(conversation)
            if turns >= limit:
                yield block
                block, turns = [], 0
        if block:
            yield block

    def _predict_block(self, conversations: list[Conversation], bar: tqdm.tqdm) -> list[list[Prediction]]:
        trained, labels = self.trained, self.trained.manifest.labels
        examples = make_examples(conversations, labels, trained.tokenizer, trained.normalization, trained.config)
        result: list[list[Prediction]] = [[] for _ in conversations]
        for index, outputs_LxC in self._outputs(examples):
            conversation = conversations[index]
            turns = [turn.id for turn in conversation.turns]
            result[index] = predictions_of(conversation.id, turns, outputs_LxC, labels)
            bar.update()
        return result

    def _outputs(self, examples: Sequence[Example]) -> Iterator[tuple[int, np.ndarray]]:
        """Yields each conversation's index and ``[L, C]`` outputs, pack by pack."""
        computing: collections.deque[tuple[tuple[int, ...], jax.Array]] = collections.deque()
        for members, shape, starts in self._packs(examples):
            pack = build_pack([examples[index] for index in members], shape, starts)
            computing.append((members, self._program(shape)(self.trained.params, pack)))
            if len(computing) == _IN_FLIGHT:
                yield from _by_conversation(examples, *computing.popleft())
        for members, output_UxC in computing:
            yield from _by_conversation(examples, members, output_UxC)

    def _packs(
        self, examples: Sequence[Example]
    ) -> Iterator[tuple[tuple[int, ...], PackShape, Sequence[Sequence[int]]]]:
        """Yields the members of every pack, its shape and the places of its sequences."""
        largest, lengths = self._ladder[-1], [example.lengths for example in examples]
        fitting = [index for index in largest_first(lengths) if starts_in(largest, [examples[index]]) is not None]
        for planned in plan_packs(lengths, fitting, largest):
            yield planned.members, *self._smallest([examples[index] for index in planned.members])
        for index in sorted(set(range(len(examples))) - set(fitting)):
            shape = grown(largest, examples[index])
            yield (index,), shape, starts_in(shape, [examples[index]])

    def _smallest(self, members: Sequence[Example]) -> tuple[PackShape, Sequence[Sequence[int]]]:
        """Returns the smallest shape of the ladder that holds conversations, and their places."""
        for shape in self._ladder:
            if (starts := starts_in(shape, members)) is not None:
                return shape, starts
        raise RuntimeError("a planned pack does not fit into its own shape")

    def _program(self, shape: PackShape) -> Predict:
        with self._lock:
            if shape not in self._programs:
                self._programs[shape] = make_predict(self.trained.model(shape), self.trained.task)
            return self._programs[shape]


def _by_conversation(
    examples: Sequence[Example], members: Sequence[int], output_UxC: jax.Array
) -> Iterator[tuple[int, np.ndarray]]:
    outputs = np.asarray(output_UxC)
    ends = list(itertools.accumulate(len(examples[index].labels) for index in members))
    for index, begin, end in zip(members, [0, *ends], ends, strict=False):
        yield index, outputs[begin:end]


def _for_prediction(config: Config) -> Config:
    """Returns the config without what only saves memory in the backward pass."""
    encoder = dataclasses.replace(config.model.encoder, chunks=1)
    return dataclasses.replace(config, model=dataclasses.replace(config.model, encoder=encoder, remat=False))
