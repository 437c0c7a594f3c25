"""The machine that the instructions of a pickle work on: a stack of values, a memo, and what may go into what."""

import collections
import dataclasses
import sys
from collections.abc import Iterable
from typing import Any

import numpy as np

from dtrm_jax.safe_pickle.budget import REFERENCE, SAME_HASH, Budget
from dtrm_jax.safe_pickle.construct import CONSTRUCTIONS, NDARRAY
from dtrm_jax.safe_pickle.values import Global, Refused, Unbuilt, brief

MAX_DEPTH = 32  # containers inside one another; the field's files have at most 4
MAX_KEY = 8  # entries of a tuple that is a key

_CONTAINERS = frozenset((list, tuple, dict, set, frozenset))
# The hashes of strings and bytes are secret, and few integers or floats have the same one. Of tuples and of NumPy's
# complex numbers, any number have.
_WELL_HASHED = frozenset((str, bytes, int, float, bool, type(None)))
_BOOKKEEPING = 170  # bytes that are kept on a container
_MEMO_ENTRY = 96  # bytes of an entry of the memo
# How protocols 0 to 2 write sets: a call with the list of their members.
_SETS = {f"{module} {kind.__name__}": kind for module in ("__builtin__", "builtins") for kind in (set, frozenset)}


@dataclasses.dataclass(slots=True)
class _Record:
    """What is known of a container.

    Attributes:
        container: The container, which is so kept alive: its id stays its own.
        depth: Containers inside one another, itself included.
        values: Values in it and in its containers, each as often as it occurs.
        placed: Whether it is in another container.
        hashes: How many keys have each hash, of those that anyone can give the same one.
    """

    container: Any
    depth: int = 1
    values: int = 0
    placed: bool = False
    hashes: collections.Counter[int] | None = None


class Machine:
    """A stack of values with one method for each kind of instruction.

    A container may be filled until it is put into another container, and not after that. So every depth is known when a
    container is placed, and no value can contain itself.

    Args:
        budget: What the file may build.
    """

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []  # the stacks below each open MARK
        self._memo: dict[int, Any] = {}
        self._records: dict[int, _Record] = {}  # by the id of the container

    def result(self) -> Any:
        """Returns the value on the stack at STOP."""
        return self._pop()

    def constant(self, value: Any) -> None:
        """Pushes a number, a text, bytes, a truth value or None."""
        kind = type(value)
        if kind is int and value.bit_length() > 64:
            raise Refused("an integer of more than 64 bits")
        if kind is not float:  # a float takes as much as a file's bytes for it allow
            self._budget.spend_on(value)
        self._stack.append(value)

    def skip(self, _: Any) -> None:
        """FRAME and PROTO change nothing here."""

    def mark(self, _: None) -> None:
        """MARK: what follows is collected until an instruction takes it."""
        self._budget.spend_on_structure(sys.getsizeof([]))
        self._marks.append(self._stack)
        self._stack = []

    def put(self, index: int | None) -> None:
        """Remembers the topmost value, under the next number if ``index`` is None."""
        # A dict: an index of any size costs one entry.
        self._budget.spend_on_structure(_MEMO_ENTRY)
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
        record = _Record(None)
        if kind in (set, frozenset):
            self._check_keys(items, record)
        record.container = kind(items)
        self._new(record)
        self._fill(record, items)

    def append(self, items: list[Any]) -> None:
        """Extends the list on the stack."""
        record = self._target(list)
        self._fill(record, items)
        record.container.extend(items)

    def add(self, items: list[Any]) -> None:
        """Extends the set on the stack."""
        record = self._target(set)
        self._check_keys(items, record)
        self._fill(record, items)
        record.container.update(items)

    def mapping(self, items: list[Any]) -> None:
        """Pushes a new dict of keys and values in turn."""
        self._new(_Record({}))
        self.set_items(items)

    def set_items(self, items: list[Any]) -> None:
        """Extends the dict on the stack by keys and values in turn."""
        keys, values = items[::2], items[1::2]
        record = self._target(dict)
        self._check_keys(keys, record)
        self._fill(record, items)
        record.container.update(zip(keys, values, strict=True))

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
        if type(name) is not str or type(module) is not str:
            raise Refused(f"{type(module).__name__} and {type(name).__name__} as the parts of a name")
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
        value = CONSTRUCTIONS[function.name](*arguments)
        self._budget.spend_on(value)
        self._stack.append(value)

    def build(self, _: None) -> None:
        """BUILD: gives an unfinished NumPy value its state."""
        state, target = self._pop(), self._stack.pop()
        if type(target) is not Unbuilt or target.value is not None:
            raise Refused("a state for something that is no new NumPy value")
        target.value = target.finish(state)
        self._budget.spend_on(target.value)
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

    def _target(self, kind: type) -> _Record:
        target = self._stack[-1]
        if type(target) is not kind:
            raise Refused(f"an item put into {type(target).__name__} as if it were {kind.__name__}")
        return self._records[id(target)]

    def _new(self, record: _Record) -> None:
        # The empty tuple is one for all.
        record = self._records.setdefault(id(record.container), record)
        self._budget.spend_on_structure(_BOOKKEEPING + sys.getsizeof(record.container))
        self._stack.append(record.container)

    def _fill(self, record: _Record, items: list[Any]) -> None:
        """Records that ``items`` go into a container."""
        self._budget.spend_on_structure(REFERENCE * len(items))
        values = record.values + len(items)
        for item in items:
            kind = type(item)
            if kind is float or kind is int:
                continue
            if kind in _CONTAINERS:
                inner = self._records[id(item)]
                inner.placed = True
                record.depth = max(record.depth, inner.depth + 1)
                values += inner.values
            elif kind is np.ndarray:
                values += item.size
            elif kind is str or kind is bytes:
                values += len(item) // 4
            elif kind is Global or kind is Unbuilt:
                raise Refused("a name or an unfinished NumPy value used as a value")
        if record.depth > MAX_DEPTH:
            raise Refused(f"containers nested more than {MAX_DEPTH} deep")
        self._budget.check_values(values)
        # Placed by now includes the container itself if it is among its items.
        if items and record.placed:
            raise Refused("a container that contains itself, or changes inside another")
        record.values = values

    def _check_keys(self, keys: list[Any], record: _Record) -> None:
        """Refuses keys that are no scalars or short tuples of scalars, and many keys with one hash."""
        for key in keys:
            kind = type(key)
            if kind in _WELL_HASHED:
                continue
            short = kind is tuple and len(key) <= MAX_KEY and self._records[id(key)].depth == 1
            if not isinstance(key, np.generic) and not short:
                raise Refused(
                    f"{kind.__name__} as a key" + (f", longer than {MAX_KEY} or nested" if kind is tuple else "")
                )
            if record.hashes is None:
                record.hashes = collections.Counter()
            record.hashes[hash(key)] += 1
            if record.hashes[hash(key)] > SAME_HASH:
                raise Refused(f"more than {SAME_HASH} keys with one hash")
