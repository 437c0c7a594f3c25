"""A live conversation: each turn is predicted as it comes, from what is remembered of those before.

A turn takes one pass of the encoder over its own sequence, and one row of attention per layer above it. What is kept of
the past is bounded by the window: the token ids of the last K turns, and the keys and values of as many per layer.
"""

import collections
import dataclasses
import threading
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from dtrm_jax.conversation import Conversation, Turn
from dtrm_jax.data.examples import Example, check_speakers, make_examples
from dtrm_jax.data.packing import build_pack
from dtrm_jax.data.tokenize import sequence_of, spoken
from dtrm_jax.errors import InputError
from dtrm_jax.inference.given import GivenTurn, Wanted, shown_id
from dtrm_jax.inference.prediction import Prediction, predictions_of
from dtrm_jax.inference.programs import Programs
from dtrm_jax.inference.shapes import of_turn


class Stream:
    """One live conversation. Turns are predicted as ``Predictor.predict`` would predict them in the whole.

    Args:
        programs: Of the model.
        wanted: What it reads of a turn.
        conversation: Id of the conversation.
        insides: Whether predictions tell of the model's insides.

    Raises:
        InputError: The model looks at later turns, or cannot go on from turn to turn.
    """

    def __init__(self, programs: Programs, wanted: Wanted, conversation: str, *, insides: bool = False):
        config = programs.trained.config
        if not programs.trained.is_causal:
            why = f" (config.tokens.future is {config.tokens.future})" if config.tokens.future else ""
            raise InputError(
                f"{programs.trained.name}: a live conversation needs a causal model, this one looks at later turns{why}"
            )
        if not programs.streams:
            raise InputError(
                f"{programs.trained.name}: config.model.architecture: {config.model.architecture} cannot go on from "
                "turn to turn; predict the conversation as a whole"
            )
        self._programs, self._wanted, self.conversation = programs, wanted, conversation
        self._insides, self._lock = insides, threading.Lock()
        self._window: collections.deque[tuple[int, list[int]]] = collections.deque(maxlen=config.tokens.window)
        self.reset()

    @property
    def turns(self) -> int:
        """How many turns it has."""
        return self._turns

    def reset(self) -> None:
        """Forgets all turns: the next one is the first."""
        with self._lock:
            self._turns, self._memory = 0, self._programs.no_memory
            self._speakers: dict[str, int] = {}  # numbered in the order in which they first appear
            self._window.clear()  # speaker and token ids of the last K turns

    def add(
        self, speaker: str, text: str, features: Mapping[str, Any] | None = None, *, id: str | None = None
    ) -> Prediction:
        """Predicts the next turn. One that is refused is not part of the conversation.

        Args:
            speaker: Who speaks.
            text: What is said.
            features: Modality -> feature vector; one that the turn lacks is left out or None. A model that reads no
                text must be given them, be they empty.
            id: Of the turn, for its prediction. If None, it is the number of the turn, from 1.

        Raises:
            InputError: The speaker is missing or one too many for the model, the text is empty and there are no
                features instead, a vector has the wrong size, or there are none for a model that reads no text.
        """
        with self._lock:
            name = str(self._turns + 1) if id is None else id
            where = f"conversation {shown_id(self.conversation)}, turn {shown_id(name)}"
            if features is None and not self._wanted.reads_text:
                sizes = " or ".join(f"{size} {modality}" for modality, size in self._wanted.sizes.items())
                raise InputError(f"{where}: expected {sizes} features, as this model reads no text, found none")
            if features is not None and not isinstance(features, Mapping):
                raise InputError(f"{where}: expected features by modality, found {type(features).__name__}")
            turn = self._wanted.turn(where, speaker, text, features or {})
            number = self._speakers.get(turn.speaker, len(self._speakers))
            check_speakers(where, number + 1, self._programs.trained.config)
            ids = self._encoded(turn)
            example = self._example(turn, number, ids)
            (length,) = example.lengths
            shape = of_turn(length, self._programs.trained.manifest.shape.features, self._wanted.values)
            pack = build_pack([example], shape)
            pack.turn_U[0] = self._turns
            step = self._programs.step(shape, insides=self._insides)
            output_UxC, memory, summary = step(self._programs.trained.params, self._memory, pack)
            labels = self._programs.trained.manifest.labels
            insides = {name: np.asarray(x) for name, x in summary.items()} if self._insides else None
            (prediction,) = predictions_of(self.conversation, [name], np.asarray(output_UxC), labels, insides)
            self._memory, self._turns = memory, self._turns + 1
            self._speakers[turn.speaker] = number
            self._window.append((number, ids[-self._programs.trained.config.tokens.max_length :]))
            return prediction

    def check_speakers(self, speakers: Iterable[str]) -> None:
        """Raises InputError if those of further turns would be more than the model admits, with those so far."""
        # Without the lock, which a turn holds while it is computed.
        known = self._speakers.copy().keys() | set(speakers)
        check_speakers(f"conversation {shown_id(self.conversation)}", len(known), self._programs.trained.config)

    def _encoded(self, turn: GivenTurn) -> list[int]:
        """Returns the token ids of a turn; none if the model reads no text."""
        trained = self._programs.trained
        if trained.tokenizer is None:
            return []
        (ids,) = trained.tokenizer.encode([spoken(Turn("", turn.speaker, turn.text), trained.config.tokens)])
        return ids

    def _example(self, turn: GivenTurn, speaker: int, ids: list[int]) -> Example:
        """Returns the turn as the packer takes it, with its context's tokens."""
        trained = self._programs.trained
        spoken_turn = Turn("", turn.speaker, turn.text, values=(None,) * self._wanted.values)
        alone = Conversation("", (spoken_turn,), self._wanted.features([turn]))
        (example,) = make_examples([alone], trained.manifest.labels, None, trained.normalization, trained.config)
        sequences = ()
        if trained.tokenizer is not None:
            speakers, utterances = zip(*self._window, (speaker, ids), strict=True)
            last = len(self._window)
            sequences = (sequence_of(last, utterances, speakers, trained.tokenizer.ids, trained.config.tokens),)
        return dataclasses.replace(example, sequences=sequences, speakers=np.array([speaker], np.int32))
