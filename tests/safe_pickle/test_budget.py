"""Small files that would take the machine down: each is refused, quickly and within its memory."""

import os
import pickle
import re
import resource
import struct
import subprocess
import sys

import numpy as np
import pytest

from dtrm_jax import safe_pickle
from dtrm_jax.data.readers import feature_files
from dtrm_jax.errors import InputError
from dtrm_jax.safe_pickle import budget
from dtrm_jax.safe_pickle.machine import MAX_KEY


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def shared_tuples(levels: int) -> bytes:
    """Pairs of pairs of pairs, each pair twice the same: 5 bytes a level, 2^levels values."""
    return b"N" + b"".join(b"q%ch%c\x86" % (level, level) for level in range(levels))


def array(raw: bytes) -> bytes:
    """An array over the bytes that an instruction pushes."""
    dtype = (
        b"cnumpy\ndtype\n" + text("u1") + b"\x85R" + pickle.dumps((3, "|", None, None, None, -1, -1, 0), 2)[2:-1] + b"b"
    )
    return (
        b"cnumpy._core.numeric\n_frombuffer\n("
        + raw
        + dtype
        + b"J%s\x85" % struct.pack("<i", 8 * 2**20)
        + text("C")
        + b"tR"
    )


def with_label(value: bytes) -> bytes:
    """A file of COSMIC's form, protocol 2, with one label that is no number."""
    names = pickle.dumps([{"a": ["M"]}], 2)[2:-2].replace(b"]q\x00", b"")
    one = text("a") + b"]" + text("x") + b"a"
    label = text("a") + b"](" + value + b"e"
    ids = b"](" + text("a") + b"e"
    return (
        b"\x80\x02]("
        + b"}"
        + one
        + b"s}"
        + label
        + b"s}"
        + one
        + b"s"
        + ids
        + b"]("
        + text("b")
        + b"e]("
        + text("c")
        + b"ee."
        + names[:0]
    )


MEGABYTES = b"T" + struct.pack("<i", 8 * 2**20) + bytes(8 * 2**20)


def tuples_of_one_hash(count: int) -> list[tuple[int, int]]:
    """Pairs (a, b): Python hashes a pair by xxHash with known constants, so that b can be solved for."""
    modulus, first, second, start = 2**64, 11400714785074694791, 14029467366897019727, 2870177450012600261

    def step(state: int, number: int) -> int:
        state = (state + number * second) % modulus
        return ((state << 31 | state >> 33) * first) % modulus

    wanted, pairs, a = step(start, 1), [], 0
    while len(pairs) < count:
        a += 1
        b = (wanted - step(start, a)) * pow(second, -1, modulus) % modulus
        if b < 2**61 - 1:  # the integers that are their own hash
            pairs.append((a, b))
    return pairs


SAME_HASH = tuples_of_one_hash(4000)  # a container of them is filled in quadratic time
HOSTILE = {
    "a name of shared tuples": (b"\x80\x04" + shared_tuples(28) + text("x") + b"\x93.", "repeat one another"),
    "a name that is no text": (b"\x80\x04]" + text("x") + b"\x93.", "list and str as the parts of a name"),
    "a label of shared tuples": (with_label(shared_tuples(28)), "repeat one another"),
    "a vector of shared tuples": (
        pickle.dumps({}, 2)[:2] + b"}" + text("k") + shared_tuples(28) + b"s.",
        "repeat one another",
    ),
    "an array in a list again and again": (
        b"\x80\x02" + array(MEGABYTES) + b"q\x00](" + b"h\x00" * 10**4 + b"e.",
        "repeat one another",
    ),
    "a text in a list again and again": (
        b"](" + text("x" * 2**22) + b"q\x00" + b"h\x00" * 10**4 + b"e.",
        "repeat one another",
    ),
    "copies of an array": (b"\x80\x02](" + MEGABYTES + b"q\xc8" + array(b"h\xc8") * 400 + b"e.", "copies of one"),
    "copies of bytes": (
        b"](" + text("x" * 2**22) + b"q\x00" + (b"c_codecs\nencode\nh\x00" + text("latin1") + b"\x86R") * 400 + b"e.",
        "copies of one",
    ),
    "copies of a list as sets": (
        b"](](" + b"K\x01" * 10**5 + b"eq\x00" + b"cbuiltins\nset\nh\x00\x85R" * 10**4 + b"e.",
        "can fill",
    ),
    "lists": (b"](" + b"]" * 10**6 + b"e.", "can fill"),
    "marks": (b"(" * 2 * 10**6 + b".", "can fill"),
    "memo entries": (b"N" + b"\x94" * 10**6 + b".", "can fill"),
    "keys of one hash": (pickle.dumps(dict.fromkeys(SAME_HASH), 2), "keys with one hash"),
    "members of one hash": (pickle.dumps(set(SAME_HASH), 4), "keys with one hash"),
    "a long key": (pickle.dumps({tuple(range(MAX_KEY + 1)): 1}, 2), "tuple as a key"),
    "a nested key": (pickle.dumps({(1, (2,)): 1}, 2), "tuple as a key"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_within_seconds_and_its_memory(tmp_path, name):
    content, words = HOSTILE[name]
    path = tmp_path / "x.pkl"
    path.write_bytes(content)
    code = (
        "import resource, sys, time; from pathlib import Path\n"
        "from dtrm_jax.data.readers import feature_files; from dtrm_jax.errors import InputError\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before, start = peak(), time.process_time()\n"
        "try: feature_files.read(Path(sys.argv[1]))\n"
        "except InputError as error: print(error)\n"
        "print(time.process_time() - start, (peak() - before) * 1024)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30,) * 2),
    )
    assert done.returncode == 0, done.stderr
    message, cost = done.stdout.strip().split("\n")
    assert words in message and message.startswith(str(path))
    seconds, memory = map(float, cost.split())
    assert seconds < 20  # of the processor: a hang takes hours
    assert memory < 4 * len(content) + 64 * 2**20


def test_the_seeds_of_one_hash_do_have_one():
    assert len({hash(key) for key in SAME_HASH}) == 1


def test_what_the_field_repeats_is_read(tmp_path):
    """Names, one-hot vectors and shared arrays that occur a few times are no attack."""
    vector = np.zeros(100, np.float32)
    value = {"speakers": ["Monica"] * 5000, "vectors": [vector] * 50, "keys": {(1, "a"): 1, 1.5: 2, np.float32(3): 3}}
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(value, 4))
    loaded = safe_pickle.load(path)
    assert loaded["speakers"] == value["speakers"] and loaded["keys"] == value["keys"]
    assert all(x is loaded["vectors"][0] for x in loaded["vectors"])


@pytest.mark.parametrize(
    "value",
    [
        [[float(i) for i in range(1000)] for _ in range(1000)],
        {f"dia{i}_utt0": np.full(10, i, np.float32) for i in range(20000)},
        [["word"] * 10 for _ in range(20000)],
        np.zeros(2**24),
    ],
    ids=["floats", "small arrays", "words", "one array"],
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_large_honest_files_stay_within_the_budget(tmp_path, monkeypatch, value, protocol):
    """Without the spare memory at a hundred times this size, and so without it here."""
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(value, protocol))
    monkeypatch.setattr(budget, "SPARE_BYTES", 2**20)
    loaded = safe_pickle.load(path)
    if type(value) is dict:
        assert list(loaded) == list(value)
        loaded, value = np.stack(list(loaded.values())), np.stack(list(value.values()))
    assert np.array_equal(loaded, value) if isinstance(value, np.ndarray) else loaded == value


def test_limits_in_the_readme_are_those_of_the_code():
    readme = (safe_pickle.__file__ or "").replace("__init__.py", "README.md")
    with open(readme, encoding="utf-8") as file:
        words = " ".join(file.read().split())
    assert re.search(rf"up to {safe_pickle.MAX_DEPTH} inside", words)
    assert f"at most {MAX_KEY} scalars" in words and f"more than {budget.SAME_HASH} keys" in words
    assert f"than {budget.VALUES_PER_BYTE} for each byte of the file and {budget.SPARE_VALUES:,}" in words
    assert (
        f"than {budget.BYTES_PER_BYTE} bytes for each byte of the file and {budget.SPARE_BYTES // 2**20} MiB" in words
    )


def test_a_label_that_is_no_number_is_named_by_its_type(tmp_path):
    path = tmp_path / "x.pkl"
    path.write_bytes(with_label(b"]" + b"K\x01" * 0))
    with pytest.raises(InputError, match="expected a finite number as label, found list"):
        feature_files.read(path)
