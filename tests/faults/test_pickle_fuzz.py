"""Damaged and hostile pickles: each is read or refused in one line, within 2 seconds and its limit of memory."""

import io
import json
import os
import pickle
import random
import struct
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np

from dtrm_jax.data.readers import feature_files
from dtrm_jax.errors import InputError
from tests import field_files

SECONDS = 2
SPARE_BYTES = 64 * 2**20
# What an attacker would put in: marks, memo accesses, calls, builds, containers, and the end.
_PIECES = [bytes([code]) for code in b"().012]}eutsaRbNh\x85\x86\x87\x88\x89\x8f\x90\x91\x93\x94"] + [
    *(b"h%c" % n for n in range(12)),
    *(b"q%c" % n for n in range(6)),
    b"h\x00h\x00\x86q\x00" * 24,
    b"h\x01" * 200,
    b"r\xff\xff\xff\x7f",
    b"j\xff\xff\xff\xff",
    b"\x8e" + struct.pack("<Q", 2**60),
    b"T" + struct.pack("<i", 2**31 - 1),
    b"\x8a\xff" + bytes(255),
    b"cos\nsystem\n",
    b"cnumpy\ndtype\n",
    b"cnumpy.core.multiarray\n_reconstruct\n",
    b"cbuiltins\nset\n",
    b"I" + b"9" * 5000 + b"\n",
]


def seeds(folder: Path) -> list[bytes]:
    """Files of the field's layouts in every protocol, of NumPy 1 and 2, and as Python 2 wrote them."""
    made = field_files.make({"train": ["a", "b"], "dev": ["c"], "test": ["d"]}, turns=lambda _: 2)
    writers = (field_files.cosmic, field_files.iemocap_features)
    python2 = [writer(folder / "seed.pkl", made).read_bytes() for writer in writers]
    values = [pickle.loads(content, encoding="latin1") for content in python2]
    values += [
        {"a": np.arange(6.0).reshape(2, 3), "b": [np.float32(1), np.bool_(True), np.array(["x", "yz"])], "c": None},
        [{1, "a"}, frozenset((2, None)), {(1, "a"): b"\x00\xff", 2.5: bytearray(b"z")}, -(2**40), "é’"],
    ]
    contents = [pickle.dumps(value, protocol) for value in values for protocol in range(6)]
    numpy1 = [old_numpy(content) for content in contents if b"numpy._core" in content]
    return [*python2, *contents, *numpy1]


def old_numpy(content: bytes) -> bytes:
    """The names that NumPy 1 wrote; in protocol 4, texts have their length before them, and so has the one frame."""
    content = content[:2] + content[11:] if content[2:3] == b"\x95" else content
    for name in (b"numpy._core.multiarray", b"numpy._core.numeric"):
        short = name.replace(b"_core", b"core")
        content = content.replace(b"\x8c%c" % len(name) + name, b"\x8c%c" % len(short) + short).replace(name, short)
    return content


def mutate(seeds: list[bytes], choose: random.Random) -> bytes:
    """A seed with one to four pieces changed, cut, repeated, put in, or taken from another seed."""
    content = bytearray(choose.choice(seeds))
    for _ in range(choose.randint(1, 4)):
        start = choose.randrange(len(content) + 1)
        end = min(len(content), start + choose.choice((1, 1, 2, 4, 8, 64)))
        kind = choose.randrange(6)
        if kind == 0 and start < len(content):
            content[start] ^= 1 << choose.randrange(8)
        elif kind == 1:
            content[start:end] = choose.randbytes(end - start)
        elif kind == 2:
            del content[start:end]
        elif kind == 3:
            content[start:start] = content[start:end] * choose.choice((1, 2, 100))
        elif kind == 4:
            content[start:start] = choose.choice(_PIECES)
        else:
            other = choose.choice(seeds)
            content[start:] = other[choose.randrange(len(other)) :]
    return bytes(content)


def attack(folder: Path, seed: int, files: int) -> dict[str, int | float]:
    """Reads mutated files as a corpus; this process is the one that is measured.

    Raises:
        AssertionError: A file took too long or too much memory, or its error is no single line. ``culprit.pkl`` has it.
    """
    import resource
    import time

    choose, path, own = random.Random(seed), folder / "x.pkl", seeds(folder)
    counts: dict[str, int | float] = {"tried": files, "read": 0, "refused": 0, "slowest_seconds": 0.0}

    def peak() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    for content in own:  # imports and caches of the reader are no part of the cost
        path.write_bytes(content)
        try:
            feature_files.read(path)
        except InputError:
            pass
    highest = peak()
    for _ in range(files):
        content = mutate(own, choose)
        path.write_bytes(content)
        (folder / "culprit.pkl").write_bytes(content)
        start = time.process_time()
        try:
            feature_files.read(path)
            counts["read"] += 1
        except InputError as error:
            counts["refused"] += 1
            line = str(error)
            assert line.isprintable() and line.startswith(str(path)) and len(line) < 2000, line
        seconds = time.process_time() - start
        assert seconds < SECONDS, seconds
        counts["slowest_seconds"] = max(counts["slowest_seconds"], round(seconds, 3))
        now = peak()
        assert now - highest < SPARE_BYTES + 4 * len(content), now - highest
        highest = max(highest, now)
    return counts


def test_mutated_pickles_are_read_or_refused(tmp_path, thorough, count):
    files = 100_000 if thorough else 3_000
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.test_pickle_fuzz", str(tmp_path), "0", str(files)],
        capture_output=True,
        text=True,
        timeout=3000,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr[-2000:]
    counts = json.loads(done.stdout)
    assert counts["read"] + counts["refused"] == files
    assert (
        counts["read"] > files / 100 and counts["refused"] > files / 4
    )  # the mutations are neither all deadly nor void
    count("Damaged and hostile pickles", **counts, tracebacks=0, hangs=0)


def test_the_seeds_are_what_they_claim(tmp_path):
    own = seeds(tmp_path)
    read = 0
    for content in own:
        (tmp_path / "x.pkl").write_bytes(content)
        try:
            feature_files.read(tmp_path / "x.pkl")
            read += 1
        except InputError:
            # A value that is no corpus; NumPy 2 warns of the names of NumPy 1.
            with warnings.catch_warnings(action="ignore"):
                pickle.load(io.BytesIO(content), encoding="latin1")
    assert read >= 14
    assert any(b"numpy.core.multiarray" in content for content in own)
    assert any(b"numpy._core.multiarray" in content for content in own)


if __name__ == "__main__":
    print(json.dumps(attack(Path(sys.argv[1]), seed=int(sys.argv[2]), files=int(sys.argv[3]))))
