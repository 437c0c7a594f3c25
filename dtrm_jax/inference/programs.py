"""The compiled programs of a trained model, one per shape of packs, shared by all that use it."""

import functools
import threading
from typing import Any

from dtrm_jax.batch import PackShape
from dtrm_jax.inference.compiled import Inspect, Predict, Step, make_inspect, make_predict, make_step, no_memory
from dtrm_jax.inference.trained import Trained
from dtrm_jax.models import architecture


class Programs:
    """Programs that are compiled when they are first used. Threads may share them.

    Args:
        trained: The model.
    """

    def __init__(self, trained: Trained):
        self.trained = trained
        self._predict: dict[PackShape, Predict] = {}
        self._inspect: dict[PackShape, Inspect] = {}
        self._step: dict[tuple[PackShape, bool], Step] = {}
        self._lock = threading.Lock()

    @property
    def streams(self) -> bool:
        """Whether a pack may go on where an earlier one ended."""
        return self.trained.is_causal and architecture(self.trained.config).streams

    @functools.cached_property
    def no_memory(self) -> Any:
        """What the model remembers before the first turn."""
        return no_memory(self.trained.model(self.trained.manifest.shape))

    def predict(self, shape: PackShape) -> Predict:
        """Returns ``compiled.make_predict`` of packs of a shape."""
        with self._lock:
            if shape not in self._predict:
                self._predict[shape] = make_predict(self.trained.model(shape), self.trained.task)
            return self._predict[shape]

    def inspect(self, shape: PackShape) -> Inspect:
        """Returns ``compiled.make_inspect`` of packs of a shape."""
        with self._lock:
            if shape not in self._inspect:
                self._inspect[shape] = make_inspect(self.trained.model(shape), self.trained.task)
            return self._inspect[shape]

    def step(self, shape: PackShape, *, insides: bool) -> Step:
        """Returns ``compiled.make_step`` of packs of a shape."""
        with self._lock:
            if (shape, insides) not in self._step:
                model, task = self.trained.model(shape), self.trained.task
                self._step[shape, insides] = make_step(model, task, insides=insides)
            return self._step[shape, insides]
