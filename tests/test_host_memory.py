"""Freed memory stays with the process, unless the user has settings of their own."""

import os
import platform
import subprocess
import sys

import pytest

# Allocates and frees 64 MB blocks through the C library; prints the page faults of the second and later times.
SCRIPT = """
import ctypes, resource, threading
from dtrm_jax.host_memory import keep_freed_memory

kept = keep_freed_memory()
libc = ctypes.CDLL("libc.so.6")
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]

def use(size=64 << 20):
    block = libc.malloc(size)
    ctypes.memset(block, 1, size)
    libc.free(block)

def work():
    use()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        use()
    print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


def page_faults(**settings):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, "-c", SCRIPT]
    result = subprocess.run(command, env=kept | settings, capture_output=True, text=True, check=True)
    did, faults = result.stdout.split()
    return did == "True", int(faults)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_memory_is_kept():
    did, faults = page_faults()
    assert did
    assert faults < 10
    did, without = page_faults(MALLOC_MMAP_MAX_="65536")
    assert not did, "the user's own setting holds"
    assert without > 20 * max(faults, 1)
