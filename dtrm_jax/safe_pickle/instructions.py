"""The admitted instructions of a pickle: how each reads its argument, and what it does to the machine."""

import codecs
import mmap
import pickletools
from collections.abc import Callable
from typing import Any

from dtrm_jax.safe_pickle.budget import Budget
from dtrm_jax.safe_pickle.machine import Machine
from dtrm_jax.safe_pickle.values import Refused

_CONSTANTS = (
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE "
    "SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8"
).split()


def run(content: mmap.mmap) -> Any:
    """Returns the value of a pickle.

    Args:
        content: The file, from its beginning.

    Raises:
        Refused: An instruction is not admitted, or does something that is not.
        EOFError: The file ends too early.
        ValueError, LookupError, TypeError, ArithmeticError, struct.error: The file is damaged.
    """
    machine = Machine(Budget(len(content)))
    while code := content.read(1):
        if code == b".":
            return machine.result()
        if code not in _INSTRUCTIONS:
            raise Refused(f"instruction {_NAMES[code]}" if code in _NAMES else f"unknown instruction {code!r}")
        read, execute = _INSTRUCTIONS[code]
        execute(machine, read(content) if read else None)
    raise EOFError("truncated, the STOP instruction is missing")


def _read_string(content: mmap.mmap) -> str:
    """Python 2's quoted strings; pickletools' own reader takes ASCII only."""
    line = content.readline()
    text = line.strip()
    if not line.endswith(b"\n") or len(text) < 2 or text[:1] != text[-1:] or text[:1] not in (b"'", b'"'):
        raise ValueError("a string without quotes")
    return codecs.escape_decode(text[1:-1])[0].decode("latin-1")


def _instructions() -> dict[bytes, tuple[Callable[[Any], Any] | None, Callable[[Machine, Any], None]]]:
    """Returns every admitted opcode with the reader of its argument and its method."""
    methods: dict[str, Callable[[Machine, Any], None]] = {
        "NONE": lambda machine, _: machine.constant(None),
        "NEWTRUE": lambda machine, _: machine.constant(True),
        "NEWFALSE": lambda machine, _: machine.constant(False),
        "EMPTY_LIST": lambda machine, _: machine.sequence(list, ()),
        "LIST": lambda machine, _: machine.sequence(list, machine.pop_to_mark()),
        "APPEND": lambda machine, _: machine.append(machine.pop_last(1)),
        "APPENDS": lambda machine, _: machine.append(machine.pop_to_mark()),
        "EMPTY_TUPLE": lambda machine, _: machine.sequence(tuple, ()),
        "TUPLE": lambda machine, _: machine.sequence(tuple, machine.pop_to_mark()),
        "TUPLE1": lambda machine, _: machine.sequence(tuple, machine.pop_last(1)),
        "TUPLE2": lambda machine, _: machine.sequence(tuple, machine.pop_last(2)),
        "TUPLE3": lambda machine, _: machine.sequence(tuple, machine.pop_last(3)),
        "EMPTY_DICT": lambda machine, _: machine.mapping([]),
        "DICT": lambda machine, _: machine.mapping(machine.pop_to_mark()),
        "SETITEM": lambda machine, _: machine.set_items(machine.pop_last(2)),
        "SETITEMS": lambda machine, _: machine.set_items(machine.pop_to_mark()),
        "EMPTY_SET": lambda machine, _: machine.sequence(set, ()),
        "ADDITEMS": lambda machine, _: machine.add(machine.pop_to_mark()),
        "FROZENSET": lambda machine, _: machine.sequence(frozenset, machine.pop_to_mark()),
        "MARK": Machine.mark,
        "PUT": Machine.put,
        "BINPUT": Machine.put,
        "LONG_BINPUT": Machine.put,
        "MEMOIZE": Machine.put,
        "GET": Machine.get,
        "BINGET": Machine.get,
        "LONG_BINGET": Machine.get,
        "GLOBAL": Machine.name,
        "STACK_GLOBAL": Machine.stack_name,
        "REDUCE": Machine.reduce,
        "BUILD": Machine.build,
        "PROTO": Machine.skip,
        "FRAME": Machine.skip,
    }
    for name in _CONSTANTS:
        methods[name] = Machine.constant
    readers = {opcode.name: opcode.arg.reader if opcode.arg else None for opcode in pickletools.opcodes}
    readers["STRING"] = _read_string
    return {code: (readers[name], methods[name]) for code, name in _NAMES.items() if name in methods}


_NAMES = {opcode.code.encode("latin-1"): opcode.name for opcode in pickletools.opcodes}
_INSTRUCTIONS = _instructions()
