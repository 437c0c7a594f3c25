"""Memory of the host: memory that a step has freed is kept for the next one, in large pages.

XLA's CPU backend allocates the temporaries of a program anew every time that it runs. glibc maps large blocks from the
kernel and unmaps them when they are freed, so that every step of training would fault all its pages in again: with
MiniLM a fifth to a third of its time. And of pages of 4 kB, a step of an encoder touches a million, far more than a
processor knows the addresses of; pages of 2 MB make it some 7 % faster (docs/speed.md).
"""

import ctypes
import functools
import os

# glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8
_TOP_PAD = 64 << 20  # bytes by which the heap grows at least
_NEVER = -1  # as a trim threshold
_MADV_HUGEPAGE = 14  # Linux' sys/mman.h
_LARGE_PAGE = 2 << 20
_MOST = 64 << 30  # bytes of the heap that may lie in large pages
_NO_LIMIT = 1 << 63
# Shares of the memory that a process may have; who has less need not give back what has been freed.
_MUCH, _VERY_MUCH = 1 / 3, 1 / 2
_USER_SETTINGS = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_MMAP_MAX_", "MALLOC_ARENA_MAX")


def keep_freed_memory() -> bool:
    """Makes glibc's allocator keep freed memory, in large pages, for the rest of the process.

    Call it before there are threads, so that they share one arena. Does nothing where the C library is another one,
    or where the user has set one of glibc's own variables (``MALLOC_MMAP_MAX_``, ...).

    Returns:
        Whether it did.
    """
    if any(name in os.environ for name in _USER_SETTINGS):
        return False
    try:
        libc = ctypes.CDLL("libc.so.6")
        mallopt = libc.mallopt
    except (OSError, AttributeError):
        return False
    settings = (
        (_M_ARENA_MAX, 1),
        (_M_MMAP_MAX, 0),  # everything comes from the heap ...
        (_M_TOP_PAD, _TOP_PAD),
        (_M_TRIM_THRESHOLD, _NEVER),  # ... and stays there
    )
    done = all(mallopt(name, value) for name, value in settings)
    if done:
        _ask_for_large_pages(libc)
    return done


def _ask_for_large_pages(libc: ctypes.CDLL) -> None:
    """Advises the kernel to give the heap large pages as it is written to; takes no memory.

    The heap has to have its addresses for that. So it grows by as much as half of what the process may have, of which
    nothing is touched, and keeps them. Does nothing where the user limits the addresses of processes (``ulimit -v``).
    """
    if _has_few_addresses():
        return
    size = min(_allowed() // 2, _MOST)
    libc.malloc.argtypes, libc.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
    libc.free.argtypes = [ctypes.c_void_p]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    block = libc.malloc(size)
    if block:
        first = -(-block // _LARGE_PAGE) * _LARGE_PAGE
        libc.madvise(first, (block + size - first) // _LARGE_PAGE * _LARGE_PAGE, _MADV_HUGEPAGE)
        libc.free(block)


def _has_few_addresses() -> bool:
    """Says whether the addresses of this process are limited; also where that cannot be known."""
    try:
        with open("/proc/self/limits") as file:
            lines = file.read().splitlines()
    except OSError:
        return True
    limits = [line for line in lines if line.startswith(("Max address space", "Max data size"))]
    return not all(line.split()[3] == "unlimited" for line in limits)


def give_back_if_much() -> None:
    """Gives freed memory back to the kernel if this process has a large share of what it may have.

    To be called between programs of different sizes, as training and evaluation are. What each of them frees may be in
    too small pieces for the other, so that kept memory grows to several times what either needs.
    """
    _give_back_above(_MUCH)


def give_back_if_very_much() -> None:
    """Gives freed memory back if this process has more than half of what it may have; to be called after every step.

    Small blocks that stay, such as those of a checkpoint that is written beside training, take a little of the block
    that a step has freed. It is too small for the next step then, which takes a new one; the old one, of several GB,
    would be kept for no use, and so on with every such accident.
    """
    _give_back_above(_VERY_MUCH)


def _give_back_above(share: float) -> None:
    try:
        with open("/proc/self/statm") as file:
            resident = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        if resident > share * _allowed():
            libc = ctypes.CDLL("libc.so.6")
            libc.malloc_trim(0)
            _ask_for_large_pages(libc)  # the heap has given its addresses back, too
    except (OSError, AttributeError):
        return


@functools.cache  # it is asked for after every step
def _allowed() -> int:
    """Returns the bytes of memory that this process may have: the machine's, or fewer in a container or a job."""
    return min(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), *_limits())


def _limits(groups: str = "/sys/fs/cgroup", own: str = "/proc/self/cgroup") -> list[int]:
    """Returns the limits of the control groups that this process is in, and of those above them.

    Args:
        groups: Where the kernel shows the groups, of version 2 or, in a folder ``memory``, of version 1.
        own: Names those of this process, a line each: ``0::/path``, or ``4:memory:/path`` in version 1.
    """
    try:
        with open(own) as file:
            lines = [line.rstrip("\n").split(":", 2) for line in file]
    except OSError:
        return [_NO_LIMIT]
    found = [_NO_LIMIT]
    for _, controllers, path in (line for line in lines if len(line) == 3):
        if controllers and "memory" not in controllers.split(","):
            continue
        folder, name = (f"{groups}/memory", "memory.limit_in_bytes") if controllers else (groups, "memory.max")
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for depth in range(len(parts) + 1):  # a container may see its own group as the root
            try:
                with open("/".join([folder, *parts[:depth], name])) as file:
                    found.append(int(file.read()))
            except (OSError, ValueError):  # not there, or "max"
                continue
    return found
