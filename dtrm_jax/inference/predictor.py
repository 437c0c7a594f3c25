"""``dtrm_jax.load``: a trained model that predicts the emotions of any conversation."""

import collections
import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
import tqdm

from dtrm_jax.batch import Batch, PackShape
from dtrm_jax.compilation_cache import keep_compilations
from dtrm_jax.config import Config
from dtrm_jax.conversation import Conversation
from dtrm_jax.data.examples import Example, make_examples
from dtrm_jax.data.packing import PlannedPack, build_pack, largest_first, plan_packs
from dtrm_jax.inference import given as given_lib
from dtrm_jax.inference.prediction import Prediction, predictions_of
from dtrm_jax.inference.programs import Programs
from dtrm_jax.inference.reading import Source, read_trained
from dtrm_jax.inference.shapes import cut, filled, grown, ladder, of_turns, part_of, smallest, starts_in
from dtrm_jax.inference.stream import Stream
from dtrm_jax.inference.trained import Trained

Item = TypeVar("Item")

# So many of the largest packs' utterance slots are planned together, so that memory is bounded.
_PACKS_PER_BLOCK = 64
# Packs that are being computed while the next is built.
_IN_FLIGHT = 2

# Of some turns: the outputs ``[L, C]``, and the model's summary, name -> ``[L]``.
_Computed = tuple[np.ndarray, dict[str, np.ndarray]]


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
        self._programs = Programs(self.trained)

    @property
    def labels(self) -> tuple[str, ...]:
        """The emotions that the model predicts, in the order of its outputs."""
        return self.trained.manifest.labels.names

    @property
    def streams(self) -> bool:
        """Whether live conversations can be followed: ``stream`` begins one."""
        return self._programs.streams

    def predict(self, conversations: Any, *, progress: bool = False, insides: bool = False) -> list[Any]:
        """Predicts every turn of one conversation or of many.

        A conversation is a list of turns, or a ``Conversation``. A turn is a pair of speaker and text, or a dict with
        ``speaker`` and ``text`` and, if there are any, ``id`` and the feature vectors ``acoustic``, ``visual`` and
        ``utterance``. Labels are not needed, and not looked at.

        A modality that a turn lacks is absent, as in training. A model that reads no text needs features of one turn of
        a conversation at least.

        Args:
            conversations: One conversation, or an iterable of them, which is read as it is needed.
            progress: Whether a bar on standard error counts the conversations.
            insides: Whether predictions tell of the model's insides, such as where its attention looks.

        Returns:
            One ``Prediction`` per turn, or for many conversations a list of them per conversation, in order.

        Raises:
            InputError: A turn has no speaker or no text, a vector of the wrong size or two turns one id; the line names
                the conversation, the turn, what was expected and what was found.
        """
        single, items = given_lib.separate(conversations)
        total = 1 if single else len(conversations) if isinstance(conversations, Sequence) else None
        checked = (self._wanted.conversation(one, number) for number, one in enumerate(items, start=1))
        result: list[list[Prediction]] = []
        with tqdm.tqdm(total=total, unit="conversation", disable=not progress) as bar:
            for block in self._blocks(checked):
                result += self._predict_block(block, bar, insides)
        return result[0] if single else result

    def checked(self, conversation: Any, number: int = 1) -> Conversation:
        """Checks one conversation, in any form that ``predict`` takes, and returns it as the model reads it.

        Args:
            conversation: Its turns.
            number: Its id, if it has none.

        Raises:
            InputError: As ``predict``.
        """
        return self._wanted.conversation(conversation, number)

    def stream(self, conversation: str = "1", *, insides: bool = False) -> Stream:
        """Begins a live conversation, whose turns are predicted as they come.

        Many may go on side by side, in one thread or in several: they share the model and its compiled programs.

        Args:
            conversation: Its id, which its predictions have.
            insides: As for ``predict``.

        Raises:
            InputError: The model looks at later turns, or cannot go on from turn to turn.
        """
        return Stream(self._programs, self._wanted, conversation, insides=insides)

    def warm_up(self, *, insides: bool = False) -> None:
        """Compiles the programs of live conversations, one for every length that a sequence may have.

        A server does so when it starts. Otherwise the first turn of a length waits for its program.

        Args:
            insides: As for ``stream``, whose programs are others with them.

        Raises:
            InputError: As ``stream``.
        """
        self.stream()
        trained = self.trained
        longest = trained.config.tokens.max_length if trained.config.model.reads_text else 0
        for shape in of_turns(longest, trained.manifest.shape.features, self._wanted.values):
            step = self._programs.step(shape, insides=insides)
            jax.block_until_ready(step(trained.params, self._programs.no_memory, build_pack([], shape)))

    def warm_up_packs(self, *, insides: bool = False) -> None:
        """Compiles the programs of whole conversations, one for every shape of packs.

        Args:
            insides: As for ``predict``, whose programs are others with them.
        """
        for shape in self._ladder:
            jax.block_until_ready(self._run(shape, build_pack([], shape), insides))

    def _blocks(self, conversations: Iterable[Conversation]) -> Iterator[list[Conversation]]:
        """Returns conversations in lists of about as many turns as ``_PACKS_PER_BLOCK`` packs hold."""
        return in_blocks(conversations, len, _PACKS_PER_BLOCK * self._ladder[-1].utterances)

    def _predict_block(
        self, conversations: list[Conversation], bar: tqdm.tqdm, insides: bool
    ) -> list[list[Prediction]]:
        trained, labels = self.trained, self.trained.manifest.labels
        examples = make_examples(conversations, labels, trained.tokenizer, trained.normalization, trained.config)
        result: list[list[Prediction]] = [[] for _ in conversations]
        for index, (outputs_LxC, insides_L) in self._outputs(examples, insides):
            conversation = conversations[index]
            turns = [turn.id for turn in conversation.turns]
            result[index] = predictions_of(conversation.id, turns, outputs_LxC, labels, insides_L if insides else None)
            bar.update()
        return result

    def _outputs(self, examples: Sequence[Example], insides: bool) -> Iterator[tuple[int, _Computed]]:
        """Yields each conversation's index and what is computed of its turns."""
        lengths = [example.lengths for example in examples]
        left = largest_first(lengths)
        for shape in filled(self._ladder):
            fitting = [index for index in left if starts_in(shape, [examples[index]]) is not None]
            yield from self._together(examples, plan_packs(lengths, fitting, shape), insides)
            left = sorted(set(left) - set(fitting))
        for index in left:
            yield index, self._alone(examples[index], insides)

    def _together(
        self, examples: Sequence[Example], packs: Iterable[PlannedPack], insides: bool
    ) -> Iterator[tuple[int, _Computed]]:
        """Yields conversations that are packed; a pack is built while others are computed."""
        computing: collections.deque[tuple[tuple[int, ...], Any]] = collections.deque()
        for planned in packs:
            members = [examples[index] for index in planned.members]
            shape, starts = smallest(self._ladder, members)
            pack = build_pack(members, shape, starts)
            computing.append((planned.members, self._run(shape, pack, insides)))
            if len(computing) == _IN_FLIGHT:
                yield from _by_conversation(examples, *computing.popleft())
        for indices, computed in computing:
            yield from _by_conversation(examples, indices, computed)

    def _run(self, shape: PackShape, pack: Batch, insides: bool) -> Any:
        """Begins to compute a pack; returns the outputs and the summary, which is empty if it is not wanted."""
        if insides:
            return self._programs.inspect(shape)(self.trained.params, pack)
        return self._programs.predict(shape)(self.trained.params, pack), {}

    def _alone(self, example: Example, insides: bool) -> _Computed:
        """Returns what is computed of a conversation that does not fit into the largest shape."""
        turns = len(example.labels)
        if not self._programs.streams:
            shape = grown(self._ladder[-1], example)
            return _cut(self._run(shape, build_pack([example], shape), insides), 0, turns)
        memory, parts = self._programs.no_memory, []
        for run in cut(example, self._ladder[-1]):
            part = part_of(example, run)
            shape, starts = smallest(self._ladder, [part])
            pack = build_pack([part], shape, starts)
            pack.turn_U[: len(run)] = run
            step = self._programs.step(shape, insides=insides)
            output_UxC, memory, summary = step(self.trained.params, memory, pack)
            parts.append(_cut((output_UxC, summary), 0, len(run)))
        return jax.tree.map(lambda *x: np.concatenate(x), *parts)


def in_blocks(items: Iterable[Item], turns: Callable[[Item], int], limit: int) -> Iterator[list[Item]]:
    """Yields items in lists, each of which ends with the item that brings it to ``limit`` turns.

    Args:
        items: They are taken as they are needed.
        turns: Returns how many turns an item has.
        limit: Of turns.
    """
    block, count = [], 0
    for item in items:
        block.append(item)
        count += turns(item)
        if count >= limit:
            yield block
            block, count = [], 0
    if block:
        yield block


def _by_conversation(
    examples: Sequence[Example], members: Sequence[int], computed: Any
) -> Iterator[tuple[int, _Computed]]:
    computed = jax.tree.map(np.asarray, computed)
    ends = list(itertools.accumulate(len(examples[index].labels) for index in members))
    for index, begin, end in zip(members, [0, *ends], ends, strict=False):
        yield index, _cut(computed, begin, end)


def _cut(computed: Any, begin: int, end: int) -> _Computed:
    """Returns some of a pack's slots."""
    return jax.tree.map(lambda x: np.asarray(x)[begin:end], computed)


def _for_prediction(config: Config) -> Config:
    """Returns the config without what only saves memory in the backward pass."""
    encoder = dataclasses.replace(config.model.encoder, chunks=1)
    return dataclasses.replace(config, model=dataclasses.replace(config.model, encoder=encoder, remat=False))
