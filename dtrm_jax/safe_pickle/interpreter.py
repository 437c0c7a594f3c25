"""Reads third-party pickles without executing them.

The field publishes its files as pickles, and a pickle is a program: `pickle.load` calls whatever the file names. This
reader does not run that program. It interprets the few instructions that builtin containers, scalars and NumPy arrays
are written with, and builds those values itself. A name in the file selects one of the constructions below and never
becomes a callable; nothing is imported, no attribute of any object is looked up or set.

Restricting ``Unpickler.find_class`` would not be enough. With ``numpy.dtype`` admitted, BUILD hands a file's state to
``dtype.__setstate__``, which can make an object dtype that reads raw bytes as pointers; EXT instructions bypass
``find_class`` once cached; one large memo index makes the unpickler fill gigabytes; hashing deeply nested tuples
overflows the C stack. Here dtypes are plain numbers and strings only, and all of those are refused.
"""

import codecs
import io
import math
import mmap
import pathlib
import pickletools
import re
import struct
import sys
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from dtrm_jax.errors import InputError

MAX_BYTES = 4 * 2**30  # of a file; the field's largest feature pickles are below 2 GiB
MAX_DEPTH = 32  # containers inside one another; the field's files have at most 4

_CONTAINERS = frozenset((list, tuple, dict, set, frozenset))
_KEYS = frozenset((str, bytes, int, float, complex, bool, type(None)))
_PLAIN_DTYPE = re.compile(r"[<>=|]?(\?|[biufc]\d{1,2}|[SU]\d{1,6})")
_NDARRAY = "numpy.ndarray"  # stands for the class in _reconstruct's arguments; as a string it can do no harm elsewhere


class _Refused(Exception):
    """The file asks for something that is not admitted."""


class _Global:
    """A name from the file; inert, REDUCE looks its construction up."""

    __slots__ = ("name",)

    def __init__(self, name: str):
        self.name = name


class _Unbuilt:
    """A dtype or an array between the instruction that creates it and the one that brings its state."""

    __slots__ = ("finish", "value")

    def __init__(self, finish: Callable[[Any], Any]):
        self.finish = finish
        self.value = None


def load(path: str | pathlib.Path) -> Any:
    """Returns the value pickled in a file, of builtin containers and scalars and NumPy arrays, scalars and dtypes.

    Strings of Python 2 are decoded as Latin-1; arrays come out in native byte order. Values nest at most `MAX_DEPTH`
    deep and never contain themselves.

    Args:
        path: A file of any pickle protocol, at most `MAX_BYTES` long.

    Raises:
        InputError: The file cannot be read, is damaged, or holds anything else; nothing in it has been executed.
    """
    path = pathlib.Path(path)
    try:
        if not path.is_file():
            raise InputError(f"{path}: expected a pickle file, found {'a folder' if path.is_dir() else 'none'}")
        size = path.stat().st_size
        if not 0 < size <= MAX_BYTES:
            raise InputError(f"{path}: expected a pickle of 1 to {MAX_BYTES} bytes, found {size} bytes")
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _Interpreter(content).run()
    except _Refused as error:
        raise InputError(f"{path}: refused, only builtin and NumPy values are read: {error}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except InputError:
        raise
    except (ValueError, TypeError, LookupError, ArithmeticError, EOFError, struct.error) as error:
        raise InputError(f"{path}: not a pickle, or damaged: {_brief(str(error))}") from None
    except (MemoryError, RecursionError) as error:
        raise InputError(f"{path}: too large or too deeply nested to be read: {type(error).__name__}") from None


class _Interpreter:
    """The instructions of a pickle, on a stack of values.

    Containers may be filled until they are put into another container and not after, so that every depth is known when
    the container is placed and no value can contain itself.
    """

    def __init__(self, content: mmap.mmap | io.BytesIO):
        self._content = content
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []  # the stacks below each open MARK
        self._memo: dict[int, Any] = {}
        self._containers: list[Any] = []  # keeps every container alive, so that its id stays its own
        self._depth: dict[int, int] = {}
        self._placed: set[int] = set()

    def run(self) -> Any:
        """Returns the value on the stack at STOP."""
        while code := self._content.read(1):
            if code == b".":
                return self._pop()
            if code not in _INSTRUCTIONS:
                raise _Refused(f"instruction {_NAMES[code]}" if code in _NAMES else f"unknown instruction {code!r}")
            read, execute = _INSTRUCTIONS[code]
            execute(self, read(self._content) if read else None)
        raise EOFError("truncated, the STOP instruction is missing")

    def constant(self, value: Any) -> None:
        if type(value) is int and value.bit_length() > 64:
            raise _Refused("an integer of more than 64 bits")
        self._stack.append(value)

    def skip(self, _: Any) -> None:
        """FRAME and PROTO change nothing here."""

    def mark(self, _: None) -> None:
        self._marks.append(self._stack)
        self._stack = []

    def put(self, index: int | None) -> None:
        # A dict: an index of any size costs one entry.
        self._memo[len(self._memo) if index is None else index] = self._stack[-1]

    def get(self, index: int) -> None:
        if index not in self._memo:
            raise LookupError(f"memo entry {index} is missing")
        value = self._memo[index]
        if type(value) is _Unbuilt:
            if value.value is None:
                raise _Refused("a NumPy value used before its state is given")
            value = value.value
        self._stack.append(value)

    def sequence(self, kind: type, items: Iterable[Any]) -> None:
        items = list(items)
        if kind in (set, frozenset):
            self._check_keys(items)
        container = kind(items)
        self._new(container)
        self._fill(container, items)

    def append(self, items: list[Any]) -> None:
        target = self._target(list)
        self._fill(target, items)
        target.extend(items)

    def add(self, items: list[Any]) -> None:
        self._check_keys(items)
        target = self._target(set)
        self._fill(target, items)
        target.update(items)

    def mapping(self, items: list[Any]) -> None:
        self._new({})
        self.set_items(items)

    def set_items(self, items: list[Any]) -> None:
        keys, values = items[::2], items[1::2]
        self._check_keys(keys)
        target = self._target(dict)
        self._fill(target, items)
        target.update(zip(keys, values, strict=True))

    def name(self, name: str) -> None:
        if name == "numpy ndarray":
            self._stack.append(_NDARRAY)
        elif name in _CONSTRUCTIONS or name in _SETS:
            self._stack.append(_Global(name))
        else:
            raise _Refused(f"global {_brief(name)}")

    def stack_name(self, _: None) -> None:
        name, module = self._pop(), self._pop()
        self.name(f"{module} {name}")

    def reduce(self, _: None) -> None:
        arguments, function = self._pop(), self._stack.pop()
        if type(function) is not _Global or type(arguments) is not tuple:
            raise _Refused("a call of something that is no admitted name")
        if function.name in _SETS:
            if len(arguments) != 1 or type(arguments[0]) is not list:
                raise _Refused(f"{function.name} of something else than a list")
            self.sequence(_SETS[function.name], arguments[0])
            return
        self._stack.append(_CONSTRUCTIONS[function.name](*arguments))

    def build(self, _: None) -> None:
        state, target = self._pop(), self._stack.pop()
        if type(target) is not _Unbuilt or target.value is not None:
            raise _Refused("a state for something that is no new NumPy value")
        target.value = target.finish(state)
        self._stack.append(target.value)

    def pop_to_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._marks.pop()
        return items

    def pop_last(self, count: int) -> list[Any]:
        if len(self._stack) < count:
            raise EOFError("an instruction finds too few values")
        items = self._stack[-count:]
        del self._stack[-count:]
        return items

    def _pop(self) -> Any:
        value = self._stack.pop()
        if type(value) in (_Global, _Unbuilt):
            raise _Refused("a name or an unfinished NumPy value used as a value")
        return value

    def _target(self, kind: type) -> Any:
        if type(self._stack[-1]) is not kind:
            raise _Refused(f"an item put into {type(self._stack[-1]).__name__} as if it were {kind.__name__}")
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
            elif kind is _Global or kind is _Unbuilt:
                raise _Refused("a name or an unfinished NumPy value used as a value")
        if depth > MAX_DEPTH:
            raise _Refused(f"containers nested more than {MAX_DEPTH} deep")
        # Placed by now includes the container itself if it is among its items.
        if items and id(container) in self._placed:
            raise _Refused("a container that contains itself, or changes inside another")
        self._depth[id(container)] = depth

    def _check_keys(self, keys: list[Any]) -> None:
        for key in keys:
            flat = type(key) is tuple and self._depth[id(key)] == 1
            if type(key) not in _KEYS and not isinstance(key, np.generic) and not flat:
                raise _Refused(f"{type(key).__name__} as a key")


def _plain_dtype(code: Any, *_: Any) -> _Unbuilt:
    """``numpy.dtype(code, align, copy)``, whose state brings the byte order."""
    if type(code) is not str or not _PLAIN_DTYPE.fullmatch(code):
        raise _Refused(f"NumPy dtype {_brief(code)}, only numbers, booleans and strings are read")
    dtype = np.dtype(code)

    def finish(state: Any) -> np.dtype:
        # (version, byte order, subarray, names, fields, item size, alignment, flags)
        plain = type(state) is tuple and len(state) == 8 and state[1] in ("<", ">", "=", "|")
        if not plain or state[2:5] != (None, None, None) or state[5] not in (-1, dtype.itemsize):
            raise _Refused(f"a NumPy dtype {code!r} with fields, subarrays or an unknown layout")
        return dtype.newbyteorder(state[1])

    return _Unbuilt(finish)


def _array(dtype: Any, shape: Any, order: str, raw: Any) -> np.ndarray:
    """Returns a new native array over ``raw``; the size is checked before NumPy sees it."""
    raw = raw.encode("latin-1") if type(raw) is str else raw  # Python 2 wrote bytes as strings
    if not isinstance(dtype, np.dtype) or type(raw) not in (bytes, bytearray):
        raise _Refused("a NumPy value that is not made of raw bytes and a dtype")
    if type(shape) is not tuple or len(shape) > 32 or any(type(n) is not int or n < 0 for n in shape):
        raise _Refused("a NumPy array without a shape")
    if len(raw) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"array of {len(raw)} bytes, expected {math.prod(shape)} values of {dtype.itemsize} bytes")
    if dtype.itemsize == 0:  # only the scalar "" has no bytes; an array of such strings could claim any length
        if shape != ():
            raise _Refused("a NumPy array of items without size")
        return np.zeros((), dtype)
    array = np.ndarray(shape, dtype, raw, order=order).astype(dtype.newbyteorder("="))
    if dtype.kind == "U" and np.frombuffer(array.tobytes(), np.uint32).max(initial=0) > sys.maxunicode:
        raise ValueError("array of strings with a character beyond Unicode")
    return array


def _reconstruct(subtype: Any, *_: Any) -> _Unbuilt:
    """``_reconstruct(ndarray, (0,), b"b")``; everything about the array is in its state."""
    if type(subtype) is not str or subtype != _NDARRAY:
        raise _Refused("a NumPy array of another class")

    def finish(state: Any) -> np.ndarray:
        if type(state) is not tuple or len(state) != 5:
            raise _Refused("a NumPy array with an unknown state")
        _, shape, dtype, fortran, raw = state
        return _array(dtype, shape, "F" if fortran else "C", raw)

    return _Unbuilt(finish)


def _frombuffer(raw: Any, dtype: Any, shape: Any, order: Any, *axis_order: Any) -> np.ndarray:
    """How protocol 5 writes a contiguous array."""
    if order not in ("C", "F") or axis_order not in ((), (None,)):
        raise _Refused("a NumPy array in an unknown order")
    return _array(dtype, shape, order, raw)


def _scalar(dtype: Any, raw: Any) -> np.generic:
    return _array(dtype, (), "C", raw)[()]


def _encode(text: Any, encoding: Any) -> bytes:
    """How protocols 0 to 2 write bytes; other codecs could decompress or compute."""
    if type(text) is not str or encoding not in ("latin1", "latin-1"):
        raise _Refused("_codecs.encode with another codec than latin1")
    return text.encode("latin-1")


def _no_bytes() -> bytes:
    """``bytes()``, how Python 3 writes empty bytes in protocols 0 to 2; taking no size, it cannot allocate."""
    return b""


_CONSTRUCTIONS: dict[str, Callable[..., Any]] = {
    "numpy dtype": _plain_dtype,
    "_codecs encode": _encode,
    "__builtin__ bytes": _no_bytes,
}
for _core in ("numpy.core", "numpy._core"):  # as spelled before and after NumPy 2
    _CONSTRUCTIONS[f"{_core}.multiarray _reconstruct"] = _reconstruct
    _CONSTRUCTIONS[f"{_core}.multiarray scalar"] = _scalar
    _CONSTRUCTIONS[f"{_core}.numeric _frombuffer"] = _frombuffer


# How protocols 0 to 2 write sets: a call with the list of their members.
_SETS = {f"{module} {kind.__name__}": kind for module in ("__builtin__", "builtins") for kind in (set, frozenset)}


def _read_string(content: mmap.mmap | io.BytesIO) -> str:
    """Python 2's quoted strings; pickletools' own reader takes ASCII only."""
    line = content.readline()
    text = line.strip()
    if not line.endswith(b"\n") or len(text) < 2 or text[:1] != text[-1:] or text[:1] not in (b"'", b'"'):
        raise ValueError("a string without quotes")
    return codecs.escape_decode(text[1:-1])[0].decode("latin-1")


def _instructions() -> dict[bytes, tuple[Callable[[Any], Any] | None, Callable[[_Interpreter, Any], None]]]:
    """Returns every admitted opcode with the reader of its argument and its method."""
    run = _Interpreter
    methods: dict[str, Callable[[_Interpreter, Any], None]] = {
        "NONE": lambda self, _: self.constant(None),
        "NEWTRUE": lambda self, _: self.constant(True),
        "NEWFALSE": lambda self, _: self.constant(False),
        "EMPTY_LIST": lambda self, _: self.sequence(list, ()),
        "LIST": lambda self, _: self.sequence(list, self.pop_to_mark()),
        "APPEND": lambda self, _: self.append(self.pop_last(1)),
        "APPENDS": lambda self, _: self.append(self.pop_to_mark()),
        "EMPTY_TUPLE": lambda self, _: self.sequence(tuple, ()),
        "TUPLE": lambda self, _: self.sequence(tuple, self.pop_to_mark()),
        "TUPLE1": lambda self, _: self.sequence(tuple, self.pop_last(1)),
        "TUPLE2": lambda self, _: self.sequence(tuple, self.pop_last(2)),
        "TUPLE3": lambda self, _: self.sequence(tuple, self.pop_last(3)),
        "EMPTY_DICT": lambda self, _: self.mapping([]),
        "DICT": lambda self, _: self.mapping(self.pop_to_mark()),
        "SETITEM": lambda self, _: self.set_items(self.pop_last(2)),
        "SETITEMS": lambda self, _: self.set_items(self.pop_to_mark()),
        "EMPTY_SET": lambda self, _: self.sequence(set, ()),
        "ADDITEMS": lambda self, _: self.add(self.pop_to_mark()),
        "FROZENSET": lambda self, _: self.sequence(frozenset, self.pop_to_mark()),
        "MARK": run.mark,
        "PUT": run.put,
        "BINPUT": run.put,
        "LONG_BINPUT": run.put,
        "MEMOIZE": run.put,
        "GET": run.get,
        "BINGET": run.get,
        "LONG_BINGET": run.get,
        "GLOBAL": run.name,
        "STACK_GLOBAL": run.stack_name,
        "REDUCE": run.reduce,
        "BUILD": run.build,
        "PROTO": run.skip,
        "FRAME": run.skip,
    }
    for name in (
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    ):
        methods[name] = run.constant
    readers = {opcode.name: opcode.arg.reader if opcode.arg else None for opcode in pickletools.opcodes}
    readers["STRING"] = _read_string
    return {code: (readers[name], methods[name]) for code, name in _NAMES.items() if name in methods}


_NAMES = {opcode.code.encode("latin-1"): opcode.name for opcode in pickletools.opcodes}
_INSTRUCTIONS = _instructions()


def _brief(value: Any) -> str:
    """Returns ``value`` on one line, cut to a length that fits a message."""
    text = " ".join(value.split()) if isinstance(value, str) else repr(type(value))
    text = text.encode("ascii", "backslashreplace").decode("ascii")
    return text if len(text) <= 120 else text[:117] + "..."
