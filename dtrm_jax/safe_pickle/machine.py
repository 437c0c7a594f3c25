"""The machine that the instructions of a pickle work on: a stack of values, a memo, and what may go into what."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from dtrm_jax.safe_pickle.construct import CONSTRUCTIONS, NDARRAY
from dtrm_jax.safe_pickle.values import Global, Refused, Unbuilt, brief

MAX_DEPTH = 32  # containers inside one another; the field's files have at most 4

_CONTAINERS = frozenset((list, tuple, dict, set, frozenset))
_KEYS = frozenset((str, bytes, int, float, complex, bool, type(None)))
# How protocols 0 to 2 write sets: a call with the list of their members.
_SETS = {f"{module} {kind.__name__}": kind for module in ("__builtin__", "builtins") for kind in (set, frozenset)}


class Machine:
    """A stack of values with one method for each kind of instruction.

    A container may be filled until it is put into another container, and not after that. So every depth is known when a
    container is placed, and no value can contain itself.
    """

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []  # the stacks below each open MARK
        self._memo: dict[int, Any] = {}
        self._containers: list[Any] = []  # keeps every container alive, so that its id stays its own
        self._depth: dict[int, int] = {}
        self._placed: set[int] = set()

    def result(self) -> Any:
        """Returns the value on the stack at STOP."""
        return self._pop()

    def constant(self, value: Any) -> None:
        """Pushes a number, a text, bytes, a truth value or None."""
        if type(value) is int and value.bit_length() > 64:
            raise Refused("an integer of more than 64 bits")
        self._stack.append(value)

    def skip(self, _: Any) -> None:
        """FRAME and PROTO change nothing here."""

    def mark(self, _: None) -> None:
        """MARK: what follows is collected until an instruction takes it."""
        self._marks.append(self._stack)
        self._stack = []

    def put(self, index: int | None) -> None:
        """Remembers the topmost value, under the next number if ``index`` is None."""
        # A dict: an index of any size costs one entry.
        self._memo[len(self._memo) if index is None else index] = self._stack[-1]

    def get(self, index: int) -> None:
        """Pushes a remembered value."""
        if index not in self._memo:
            raise LookupError(f"memo entry {index} is missing")
        value = self._memo[index]
        if type(value) is Unbuilt:
            if value.value is None:
                raise Refused("a NumPy value used before its state is given")
            value = value.value
        self._stack.append(value)

    def sequence(self, kind: type, items: Iterable[Any]) -> None:
        """Pushes a new list, tuple, set or frozenset."""
        items = list(items)
        if kind in (set, frozenset):
            self._check_keys(items)
        container = kind(items)
        self._new(container)
        self._fill(container, items)

    def append(self, items: list[Any]) -> None:
        """Extends the list on the stack."""
        target = self._target(list)
        self._fill(target, items)
        target.extend(items)

    def add(self, items: list[Any]) -> None:
        """Extends the set on the stack."""
        self._check_keys(items)
        target = self._target(set)
        self._fill(target, items)
        target.update(items)

    def mapping(self, items: list[Any]) -> None:
        """Pushes a new dict of keys and values in turn."""
        self._new({})
        self.set_items(items)

    def set_items(self, items: list[Any]) -> None:
        """Extends the dict on the stack by keys and values in turn."""
        keys, values = items[::2], items[1::2]
        self._check_keys(keys)
        target = self._target(dict)
        self._fill(target, items)
        target.update(zip(keys, values, strict=True))

    def name(self, name: str) -> None:
        """Pushes an admitted name, as "module name"."""
        if name == "numpy ndarray":
            self._stack.append(NDARRAY)
        elif name in CONSTRUCTIONS or name in _SETS:
            self._stack.append(Global(name))
        else:
            raise Refused(f"global {brief(name)}")

    def stack_name(self, _: None) -> None:
        """Pushes the name whose two parts are on the stack."""
        name, module = self._pop(), self._pop()
        self.name(f"{module} {name}")

    def reduce(self, _: None) -> None:
        """REDUCE: the construction that a name stands for, of the arguments on the stack."""
        arguments, function = self._pop(), self._stack.pop()
        if type(function) is not Global or type(arguments) is not tuple:
            raise Refused("a call of something that is no admitted name")
        if function.name in _SETS:
            if len(arguments) != 1 or type(arguments[0]) is not list:
                raise Refused(f"{function.name} of something else than a list")
            self.sequence(_SETS[function.name], arguments[0])
            return
        self._stack.append(CONSTRUCTIONS[function.name](*arguments))

    def build(self, _: None) -> None:
        """BUILD: gives an unfinished NumPy value its state."""
        state, target = self._pop(), self._stack.pop()
        if type(target) is not Unbuilt or target.value is not None:
            raise Refused("a state for something that is no new NumPy value")
        target.value = target.finish(state)
        self._stack.append(target.value)

    def pop_to_mark(self) -> list[Any]:
        """Takes everything since the last MARK."""
        items, self._stack = self._stack, self._marks.pop()
        return items

    def pop_last(self, count: int) -> list[Any]:
        """Takes the topmost values."""
        if len(self._stack) < count:
            raise EOFError("an instruction finds too few values")
        items = self._stack[-count:]
        del self._stack[-count:]
        return items

    def _pop(self) -> Any:
        value = self._stack.pop()
        if type(value) in (Global, Unbuilt):
            raise Refused("a name or an unfinished NumPy value used as a value")
        return value

    def _target(self, kind: type) -> Any:
        if type(self._stack[-1]) is not kind:
            raise Refused(f"an item put into {type(self._stack[-1]).__name__} as if it were {kind.__name__}")
        return self._stack[-1]

    def _new(self, container: Any) -> None:
        self._containers.append(container)
        self._depth.setdefault(id(container), 1)
        self._stack.append(container)

    def _fill(self, container: Any, items: list[Any]) -> None:
        """Records that ``items`` go into ``container``."""
        depth = self._depth[id(container)]
        for item in items:
            kind = type(item)
            if kind in _CONTAINERS:
                self._placed.add(id(item))
                depth = max(depth, self._depth[id(item)] + 1)
            elif kind is Global or kind is Unbuilt:
                raise Refused("a name or an unfinished NumPy value used as a value")
        if depth > MAX_DEPTH:
            raise Refused(f"containers nested more than {MAX_DEPTH} deep")
        # Placed by now includes the container itself if it is among its items.
        if items and id(container) in self._placed:
            raise Refused("a container that contains itself, or changes inside another")
        self._depth[id(container)] = depth

    def _check_keys(self, keys: list[Any]) -> None:
        for key in keys:
            flat = type(key) is tuple and self._depth[id(key)] == 1
            if type(key) not in _KEYS and not isinstance(key, np.generic) and not flat:
                raise Refused(f"{type(key).__name__} as a key")
