import collections
import copyreg
import decimal
import os
import pathlib
import pickle
import resource
import struct
import subprocess
import sys

import numpy as np
import pytest

from dtrm_jax import safe_pickle
from dtrm_jax.errors import InputError
from dtrm_jax.safe_pickle import reading


def load(tmp_path: pathlib.Path, content: bytes):
    path = tmp_path / "file.pkl"
    path.write_bytes(content)
    return safe_pickle.load(path)


def refusal(tmp_path: pathlib.Path, content: bytes) -> str:
    with pytest.raises(InputError) as caught:
        load(tmp_path, content)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'file.pkl'}: ")
    assert "\n" not in message
    return message


BUILTINS = [
    {"id": ["M", "F"], "none": None, 7: (1, 2.5, True, False), (1, "a"): b"\x00\xff", -3: -(2**40)},
    [[], (), {}, {"a": {"b": [1]}}, (1,), (1, 2), (1, 2, 3, 4), "é’\U0001f600", 2**33, float("inf")],
    ["x" * 300, b"y" * 300, list(range(2500)), {str(n): n for n in range(2500)}],
]
ARRAYS = [
    np.arange(24.0).reshape(2, 3, 4),
    np.asfortranarray(np.arange(6, dtype=np.int16).reshape(2, 3)),
    np.arange(3, dtype=">f4"),
    np.array(["ab", "ç’"]),
    np.array([b"ab", b"c"]),
    np.array([True, False]),
    np.array([1 + 2j], np.complex64),
    np.zeros((0, 5), np.float32),
    np.array(3.0),
]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("value", BUILTINS)
def test_builtin_values_come_back_in_every_protocol(tmp_path, value, protocol):
    assert load(tmp_path, pickle.dumps(value, protocol)) == value


def test_sets_and_bytearrays_come_back(tmp_path):
    value = [{1, "a"}, frozenset((2, None)), bytearray(b"abc")]
    assert load(tmp_path, pickle.dumps(value, 5)) == value


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{array.shape}")
def test_arrays_come_back_in_every_protocol(tmp_path, array, protocol):
    result = load(tmp_path, pickle.dumps({"a": array, "again": [array]}, protocol))
    assert type(result["a"]) is np.ndarray
    assert result["again"][0] is result["a"]
    assert result["a"].dtype == array.dtype.newbyteorder("=")
    assert result["a"].flags.writeable and result["a"].dtype.isnative
    np.testing.assert_array_equal(result["a"], array)


@pytest.mark.parametrize("protocol", range(6))
def test_numpy_scalars_and_dtypes_come_back(tmp_path, protocol):
    values = [np.float32(2.5), np.int64(-3), np.bool_(True), np.str_("é"), np.str_(""), np.dtype("f8"), np.dtype(">i2")]
    results = load(tmp_path, pickle.dumps(values, protocol))
    assert results == values
    assert [type(result) for result in results] == [type(value) for value in values]


def test_numpy_before_and_after_version_2_is_one(tmp_path):
    before, since = b"numpy.core.multiarray", b"numpy._core.multiarray"
    old = pickle.dumps(np.arange(3), 2).replace(since, before)
    new = old.replace(before, since)
    assert old != new
    for content in (old, new):
        np.testing.assert_array_equal(load(tmp_path, content), np.arange(3))


def test_python_2_strings_are_latin_1(tmp_path):
    # What Python 2 writes for ["caf\xe9", numpy.float32(1)] in protocol 0 and for the string in protocol 1.
    text = rb"""(lp0
S'caf\xe9'
p1
acnumpy.core.multiarray
scalar
p2
(cnumpy
dtype
p3
(S'f4'
p4
I0
I1
tp5
Rp6
(I3
S'<'
p7
NNNI-1
I-1
I0
tp8
bS'\x00\x00\x80?'
p9
tp10
Rp11
a."""
    assert load(tmp_path, text) == ["café", np.float32(1)]
    assert load(tmp_path, b"U\x04caf\xe9.") == "café"


class Call:
    """Pickles as a call of ``function`` with ``arguments``."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


class SystemInState:
    """Pickles as an object whose state is a call."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return (collections.OrderedDict, (), {"a": Call(os.system, self.command)})


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


ATTACKS = {
    "reduce 0": lambda command: pickle.dumps(Call(os.system, command), 0),
    "reduce 2": lambda command: pickle.dumps(Call(os.system, command), 2),
    "reduce 4": lambda command: pickle.dumps([1, {"a": Call(os.system, command)}], 4),
    "eval": lambda command: pickle.dumps(Call(eval, f"__import__('os').system({command!r})"), 2),
    "inst": lambda command: b"(S" + repr(command).encode() + b"\nios\nsystem\n.",
    "obj": lambda command: b"(cos\nsystem\n" + text(command) + b"o.",
    "state": lambda command: pickle.dumps(SystemInState(command), 2),
    "object array": lambda command: pickle.dumps(np.array([Call(os.system, command)], dtype=object), 2),
    "dictionary key": lambda command: b"}(" + pickle.dumps(Call(os.system, command), 2)[2:-1] + b"Nu.",
    "dotted name": lambda command: (
        b"\x80\x04" + text("numpy") + text("os.system") + b"\x93" + text(command) + b"\x85R."
    ),
    "extension": lambda command: b"\x80\x02\x82\x7f" + text(command) + b"\x85R.",
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_run_in_pickle_and_not_here(tmp_path, attack, monkeypatch):
    monkeypatch.setattr(np, "os", os, raising=False)  # a route to os for "dotted name"
    marker = tmp_path / "marker"
    content = ATTACKS[attack](f"touch '{marker}'")
    copyreg.add_extension("os", "system", 0x7F)
    try:
        pickle.loads(content)
        assert marker.exists(), "this payload does nothing even in pickle, so it proves nothing"
        marker.unlink()
        # By now the extension is in pickle's cache, which is never checked by find_class.
        assert "refused" in refusal(tmp_path, content)
    finally:
        copyreg.remove_extension("os", "system", 0x7F)
    assert not marker.exists()


class Persistent(pickle.Pickler):
    def persistent_id(self, value):
        return "id" if value == "secret" else None


def test_persistent_ids_are_refused(tmp_path):
    path = tmp_path / "file.pkl"
    with path.open("wb") as file:
        Persistent(file, 2).dump(["secret"])
    with pytest.raises(InputError, match="BINPERSID"):
        safe_pickle.load(path)


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (decimal.Decimal(1), "global decimal Decimal"),
        (print, "print"),
        (collections.OrderedDict(a=1), "collections OrderedDict"),
        (np.array([object], dtype=object), "'O8'|dtype"),
        (np.zeros(2, [("a", "f4"), ("b", "O")]), "dtype"),
        (np.array(["2020-01-01"], "M8[D]"), "dtype"),
        (np.ma.masked_array([1, 2]), "global numpy.ma"),
        (np.random.default_rng(0), "global numpy.random"),
        (2**70, "64 bits"),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("protocol", [2, 5])
def test_other_values_are_refused_by_name(tmp_path, value, named, protocol):
    message = refusal(tmp_path, pickle.dumps(value, protocol))
    assert "refused" in message
    assert any(name in message for name in named.split("|")), message


DTYPE = b"cnumpy\ndtype\n"
ARRAY = b"cnumpy._core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01bt"


def state(*values) -> bytes:
    return pickle.dumps(values, 2)[2:-1]


F8 = DTYPE + text("f8") + b"\x89\x88\x87R" + state(3, "<", None, None, None, -1, -1, 0) + b"b"


@pytest.mark.parametrize(
    "attack",
    {
        # An object field hidden in a dtype whose flags deny it: its raw bytes would be taken for pointers.
        "fields": ("dtype V8", DTYPE + text("V8") + b"\x89\x88\x87R."),
        "state with fields": (
            "with fields",
            DTYPE + text("f8") + b"\x85R" + state(3, "<", None, ("a",), {"a": 1}, 8, 1, 0) + b"b.",
        ),
        "state with another size": (
            "unknown layout",
            DTYPE + text("f8") + b"\x85R" + state(3, "<", None, None, None, 4, -1, 0) + b"b.",
        ),
        "object dtype": ("dtype O", DTYPE + text("O") + b"\x85R."),
        "dtype from a list": ("dtype", DTYPE + b"]\x85R."),
        "array of another class": ("a name", b"cnumpy._core.multiarray\n_reconstruct\ncnumpy\ndtype\n\x85R."),
        "array of a class named by a string": (
            "another class",
            b"cnumpy._core.multiarray\n_reconstruct\n" + text("numpy.matrix") + b"\x85R.",
        ),
        "array that is too short": (
            "expected 2 values",
            ARRAY + b"R(K\x01K\x02\x85" + F8 + b"\x89C\x08" + bytes(8) + b"tb.",
        ),
        "array of a huge shape": (
            "array of 0 bytes",
            ARRAY + b"R(K\x01(J\xff\xff\xff\x7fJ\xff\xff\xff\x7fJ\xff\xff\xff\x7ft" + F8 + b"\x89C\x00tb.",
        ),
        "array of a negative shape": ("shape", ARRAY + b"R(K\x01J\xff\xff\xff\xff\x85" + F8 + b"\x89C\x00tb."),
        "array without state": ("unfinished", ARRAY + b"R."),
        "array in a list before its state": ("unfinished", b"]" + ARRAY + b"Ra."),
        "array that contains itself": ("before its state", ARRAY + b"Rq\x09(K\x01K\x01\x85" + F8 + b"\x89h\x09tb."),
        "second state": ("a state for", F8 + state(3, "<", None, None, None, -1, -1, 0) + b"b."),
        "state of a list": ("a state for", b"]}b."),
        "state of a name": ("a state for", DTYPE + b"N}\x86b."),
        "name alone": ("a name", DTYPE + b"."),
        "name in a list": ("a name", b"]" + DTYPE + b"a."),
        "call of a string": ("a call", text("a") + b")R."),
        "another codec": ("codec", b"c_codecs\nencode\n" + text("a") + text("rot13") + b"\x86R."),
        "decompressing codec": ("codec", b"c_codecs\nencode\n" + text("a") + text("zlib") + b"\x86R."),
        "bytes of a size": ("damaged", b"c__builtin__\nbytes\nJ\xff\xff\xff\x7f\x85R."),
        "items into a string": ("put into str", text("a") + b"(K\x01e."),
        "pairs into a list": ("put into list", b"](K\x01K\x02u."),
        "list as a key": ("list as a key", b"}]K\x01s."),
        "list that contains itself": ("contains itself", b"]q\x00h\x00a."),
        "longer cycle": ("contains itself", b"]q\x00]q\x01h\x00ah\x01a."),
        "item discarded": ("POP", b"NN0."),
        "out-of-band buffer": ("NEXT_BUFFER", b"\x80\x05\x97."),
    }.items(),
    ids=lambda item: item[0],
)
def test_hostile_instructions_are_refused(tmp_path, attack):
    _, (words, content) = attack
    assert words in refusal(tmp_path, content)


def nested(start: bytes, wrap: bytes, depth: int, end: bytes = b"") -> bytes:
    return start + wrap * depth + end + b"."


@pytest.mark.parametrize(
    "content",
    {
        "memo index of 4 billion": b"\x80\x02Nr\xff\xff\xff\xff.",
        "nested lists": nested(b"", b"]", 10**6, b"a" * (10**6 - 1)),
        "nested tuples": nested(b"N", b"\x85", 10**6),
        "nested tuples as a key": nested(b"}N", b"\x85", 10**6, b"Ns"),
        "nested lists, built from within": nested(b"]q\x00", b"]h\x00aq\x00", 10**5),
        "marks": nested(b"", b"(", 10**5),
        "bytes of a claimed exabyte": b"\x80\x04\x8e" + struct.pack("<Q", 2**60) + b"x.",
        "frame of a claimed exabyte": b"\x80\x04\x95" + struct.pack("<Q", 2**60),
        "decimal of a million digits": b"L" + b"9" * 10**6 + b"L\n.",
    }.items(),
    ids=lambda item: item[0],
)
def test_a_small_file_costs_little_memory_and_never_crashes(tmp_path, content):
    (tmp_path / "file.pkl").write_bytes(content[1])
    code = (
        "import sys; from dtrm_jax import safe_pickle; from dtrm_jax.errors import InputError\n"
        f"try: value = safe_pickle.load({str(tmp_path / 'file.pkl')!r})\n"
        "except InputError as error: print('InputError', error)\n"
        "else: print(repr(value)[:40])\n"
    )
    # In a process of its own: the failures to be excluded are a crash and a machine out of memory.
    limit = 4 * 2**30
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    assert done.returncode == 0, done.stderr
    expected = "None" if content[0].startswith("memo") else "InputError"
    assert done.stdout.startswith(expected), done.stdout
    assert done.stdout.count("\n") == 1


def test_every_truncation_is_an_error(tmp_path):
    content = pickle.dumps({"a": [np.arange(3.0), "text", 1.5], "b": (1, 2)}, 4)
    for end in range(len(content)):
        refusal(tmp_path, content[:end])


# Of NumPy before version 2, where a damaged name of a dtype has a backslash.
@pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_random_damage_gives_values_or_input_errors(tmp_path, protocol):
    content = pickle.dumps({"a": [np.arange(3.0), np.float32(1), "text", 1.5], "b": ({1: b"x"}, 2)}, protocol)
    rng = np.random.default_rng(protocol)
    refused = 0
    for _ in range(400):
        damaged = bytearray(content)
        for position in rng.integers(len(content), size=rng.integers(1, 4)):
            damaged[position] = rng.integers(256)
        try:
            load(tmp_path, bytes(damaged))
        except InputError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 100


def test_strings_beyond_unicode_are_refused(tmp_path):
    content = pickle.dumps(np.array(["ab"]), 4)
    assert "Unicode" in refusal(tmp_path, content.replace(b"a\x00\x00\x00", b"\xff\xff\xff\x7f"))


def test_files_that_are_no_pickles(tmp_path, monkeypatch):
    assert "1 to" in refusal(tmp_path, b"")
    assert "not a pickle" in refusal(tmp_path, b"text\n") or "refused" in refusal(tmp_path, b"text\n")
    with pytest.raises(InputError, match="folder"):
        safe_pickle.load(tmp_path)
    with pytest.raises(InputError, match="missing.pkl"):
        safe_pickle.load(tmp_path / "missing.pkl")
    content = pickle.dumps(list(range(50)))
    monkeypatch.setattr(reading, "MAX_BYTES", len(content))
    assert load(tmp_path, content) == list(range(50))
    assert "bytes" in refusal(tmp_path, content + b" ")


@pytest.mark.parametrize("error", [MemoryError, RecursionError])
def test_running_out_of_memory_is_an_input_error(tmp_path, monkeypatch, error):
    def run(content):
        raise error

    monkeypatch.setattr(reading, "run", run)
    assert error.__name__ in refusal(tmp_path, pickle.dumps(1))


def test_depth_up_to_the_limit_is_read(tmp_path):
    value = 1
    for _ in range(safe_pickle.MAX_DEPTH):
        value = [value]
    assert load(tmp_path, pickle.dumps(value)) == value
    assert "deep" in refusal(tmp_path, pickle.dumps([value]))


@pytest.mark.parametrize("protocol", range(6))
def test_sets_come_back_from_every_protocol(tmp_path, protocol):
    value = {"train": {"Ses01", "Ses02"}, "test": frozenset({3, 4}), "none": set()}
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(value, protocol))
    assert safe_pickle.load(path) == value
    assert {name: type(x) for name, x in safe_pickle.load(path).items()} == {name: type(x) for name, x in value.items()}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"c__builtin__\nset\n(U\x03abctR.", "of something else than a list"),
        (b"c__builtin__\nset\n(tR.", "of something else than a list"),
        (b"c__builtin__\nset\n((lp0\n(lp1\natR.", "list as a key"),
        (b"c__builtin__\nset\n.", "a name or an unfinished NumPy value used as a value"),
    ],
)
def test_a_set_of_anything_else_is_refused(tmp_path, content, words):
    path = tmp_path / "x.pkl"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words):
        safe_pickle.load(path)
