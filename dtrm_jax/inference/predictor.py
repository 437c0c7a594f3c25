"""``dtrm_jax.load``: a trained model that predicts the emotions of any conversation."""

import collections
import dataclasses
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
from dtrm_jax.data.packing import build_pack
from dtrm_jax.inference import given as given_lib
from dtrm_jax.inference.next_pack import NextPack, Prepared, next_pack
from dtrm_jax.inference.prediction import Prediction, predictions_of
from dtrm_jax.inference.programs import Programs
from dtrm_jax.inference.reading import Source, read_trained
from dtrm_jax.inference.shapes import cut, grown, ladder, of_turns, part_of, starts_in
from dtrm_jax.inference.stream import Stream
from dtrm_jax.inference.trained import Trained

Item = TypeVar("Item")

# So many of the largest packs' utterance slots are planned together, so that memory is bounded.
_PACKS_PER_BLOCK = 64
# Packs that are being computed while the next is built.
_IN_FLIGHT = 2

# Of some turns: the outputs ``[L, C]``, and the model's summary, name -> ``[L]``.
_Computed = tuple[np.ndarray, dict[str, np.ndarray]]
# The conversations of a pack, and what is being computed of its slots.
_Begun = tuple[Sequence[Prepared], Any]


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

    def checked(self, conversation: Any, number: int = 1, *, begun: bool = False) -> Conversation:
        """Checks one conversation, in any form that ``predict`` takes, and returns it as the model reads it.

        Args:
            conversation: Its turns.
            number: Its id, if it has none.
            begun: Whether the turns go on with others, so that none of them need have features.

        Raises:
            InputError: As ``predict``.
        """
        return self._wanted.conversation(conversation, number, begun=begun)

    def prepare(self, conversations: Sequence[Conversation]) -> list[Prepared]:
        """Returns conversations as they wait to be predicted.

        Args:
            conversations: From ``checked``.
        """
        trained = self.trained
        examples = make_examples(
            conversations, trained.manifest.labels, trained.tokenizer, trained.normalization, trained.config
        )
        return list(map(Prepared.of, conversations, examples))

    def next_pack(self, waiting: Sequence[Prepared]) -> NextPack:
        """Chooses which of the conversations that wait are predicted next, together; the first is one of them."""
        return next_pack(self._ladder, waiting)

    def predict_pack(
        self, waiting: Sequence[Prepared], pack: NextPack, *, insides: bool = False
    ) -> list[list[Prediction]]:
        """Predicts what ``next_pack`` chose, as ``predict`` does.

        Args:
            waiting: The conversations that it chose from.
            pack: What it chose.
            insides: As for ``predict``.

        Returns:
            A list per conversation, in the order of ``pack.members``.
        """
        return list(self._finish(self._begin([waiting[place] for place in pack.members], pack, insides), insides))

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
        prepared = self.prepare(conversations)
        left = sorted(range(len(prepared)), key=lambda index: -prepared[index].size)
        result: list[list[Prediction]] = [[] for _ in conversations]
        computing: collections.deque[tuple[list[int], _Begun]] = collections.deque()
        while left or computing:
            if left:  # a pack is built while others are computed
                pack = self.next_pack([prepared[index] for index in left])
                members = [left[place] for place in pack.members]
                computing.append((members, self._begin([prepared[index] for index in members], pack, insides)))
                taken = set(members)
                left = [index for index in left if index not in taken]
            if not left or len(computing) == _IN_FLIGHT:
                members, begun = computing.popleft()
                for index, turns in zip(members, self._finish(begun, insides), strict=True):
                    result[index] = turns
                    bar.update()
        return result

    def _begin(self, members: Sequence[Prepared], pack: NextPack, insides: bool) -> _Begun:
        """Begins to compute a pack."""
        examples = [one.example for one in members]
        if pack.shape is None:
            return members, self._alone(examples[0], insides)
        return members, self._run(pack.shape, build_pack(examples, pack.shape, pack.starts), insides)

    def _finish(self, begun: _Begun, insides: bool) -> Iterator[list[Prediction]]:
        """Waits for a pack; yields the predictions of each of its conversations."""
        members, computed = begun
        computed, labels = jax.tree.map(np.asarray, computed), self.trained.manifest.labels
        end = 0
        for one in members:
            begin, end = end, end + len(one.lengths)
            outputs_LxC, insides_L = _cut(computed, begin, end)
            turns = [turn.id for turn in one.conversation.turns]
            yield predictions_of(one.conversation.id, turns, outputs_LxC, labels, insides_L if insides else None)

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
        *others, largest = self._ladder
        for run, places in cut(example, largest):
            part = part_of(example, run)
            fitting = ((shape, starts) for shape in others if (starts := starts_in(shape, part)) is not None)
            shape, starts = next(fitting, (largest, places))
            pack = build_pack([part], shape, [starts])
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


def _cut(computed: Any, begin: int, end: int) -> _Computed:
    """Returns some of a pack's slots."""
    return jax.tree.map(lambda x: np.asarray(x)[begin:end], computed)


def _for_prediction(config: Config) -> Config:
    """Returns the config without what only saves memory in the backward pass."""
    encoder = dataclasses.replace(config.model.encoder, chunks=1)
    return dataclasses.replace(config, model=dataclasses.replace(config.model, encoder=encoder, remat=False))
