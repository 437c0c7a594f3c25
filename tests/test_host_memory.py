"""Freed memory stays with the process, unless the user has settings of their own."""

import os
import platform
import subprocess
import sys

import pytest

from dtrm_jax import host_memory

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


# Prints how much of a block is in mappings that are advised to have large pages, and what the process occupies.
LARGE = """
import ctypes, pathlib, re, resource, sys
from dtrm_jax import host_memory

if sys.argv[1] == "few":
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30,) * 2)
host_memory.keep_freed_memory()
if sys.argv[1] == "given back":
    host_memory._MUCH = 0
    host_memory.give_back_if_much()
libc = ctypes.CDLL("libc.so.6")
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
size = 64 << 20
first = libc.malloc(size)
advised = 0
for mapping in re.split(r"\\n(?=[0-9a-f]+-[0-9a-f]+ )", pathlib.Path("/proc/self/smaps").read_text()):
    begin, end = (int(number, 16) for number in mapping.split()[0].split("-"))
    if re.search(r"VmFlags:.* hg", mapping):
        advised += max(0, min(end, first + size) - max(begin, first))
resident = int(re.search(r"VmRSS:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1]) << 10
print(advised / size, resident)
"""


def advised(case):
    result = subprocess.run([sys.executable, "-c", LARGE, case], capture_output=True, text=True, check=True)
    share, resident = result.stdout.split()
    return float(share), int(resident)


has_large_pages = pytest.mark.skipif(
    not os.path.exists("/sys/kernel/mm/transparent_hugepage/enabled")
    or not os.path.exists("/proc/self/smaps")
    or platform.libc_ver()[0] != "glibc",
    reason="another kernel or C library",
)


@has_large_pages
@pytest.mark.parametrize("case", ["kept", "given back"])
def test_memory_comes_in_large_pages(case):
    share, resident = advised(case)
    assert share > 0.9
    assert resident < 64 << 20, "addresses take no memory"


@has_large_pages
def test_a_process_of_few_addresses_keeps_them():
    assert advised("few")[0] == 0


# Frees blocks, of which one that is kept lies behind them; prints what share of them the process still occupies.
GIVEN_BACK = """
import ctypes, sys
from dtrm_jax import host_memory

setattr(host_memory, sys.argv[2], float(sys.argv[3]))
host_memory.keep_freed_memory()
libc = ctypes.CDLL("libc.so.6")
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

before, size = resident(), 64 << 20
blocks = [libc.malloc(size) for _ in range(3)]
for block in blocks:
    ctypes.memset(block, 1, size)
for block in blocks[:2]:
    libc.free(block)
getattr(host_memory, sys.argv[1])()
print((resident() - before) / size)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
@pytest.mark.parametrize(("share", "kept"), [(0, 1), (1, 3)])
@pytest.mark.parametrize(("function", "of"), [("give_back_if_much", "_MUCH"), ("give_back_if_very_much", "_VERY_MUCH")])
def test_freed_memory_is_given_back_by_who_has_much(function, of, share, kept):
    command = [sys.executable, "-c", GIVEN_BACK, function, of, str(share)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert abs(float(result.stdout) - kept) < 0.3


def test_memory_is_that_of_the_container_or_job(tmp_path):
    def limits(own: str) -> list[int]:
        (tmp_path / "own").write_text(own)
        return sorted(host_memory._limits(str(tmp_path / "groups"), str(tmp_path / "own")))

    none = [host_memory._NO_LIMIT]
    assert host_memory._limits(str(tmp_path), str(tmp_path / "not there")) == none
    assert limits("0::/\n") == none
    (tmp_path / "groups/jobs/mine").mkdir(parents=True)
    (tmp_path / "groups/memory.max").write_text("max\n")
    (tmp_path / "groups/jobs/memory.max").write_text("12884901888\n")
    (tmp_path / "groups/jobs/mine/memory.max").write_text("max\n")
    assert limits("0::/jobs/mine\n") == [12 << 30, *none]
    assert limits("0::/../jobs\n") == [12 << 30, *none]
    (tmp_path / "groups/memory").mkdir()
    (tmp_path / "groups/memory/memory.limit_in_bytes").write_text("2147483648\n")
    assert limits("7:cpu,cpuacct:/x\n4:memory:/docker/1f\n") == [2 << 30, *none]


def test_a_process_has_no_more_than_its_machine_or_its_limit(monkeypatch):
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    allowed = host_memory._allowed.__wrapped__  # which keeps nothing
    assert 0 < allowed() <= whole
    monkeypatch.setattr(host_memory, "_limits", lambda: [1 << 63, 12345])
    assert allowed() == 12345
