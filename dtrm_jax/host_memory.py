"""Memory of the host: memory that a step has freed is kept for the next one.

XLA's CPU backend allocates the temporaries of a program anew every time that it runs. glibc maps large blocks from the
kernel and unmaps them when they are freed, so that every step of training would fault all its pages in again: with
MiniLM a fifth to a third of its time.
"""

import ctypes
import os

# glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8
_TOP_PAD = 64 << 20  # bytes by which the heap grows at least
_NEVER = -1  # as a trim threshold
_USER_SETTINGS = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_MMAP_MAX_", "MALLOC_ARENA_MAX")


def keep_freed_memory() -> bool:
    """Makes glibc's allocator keep freed memory, for the rest of the process.

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
    return all(mallopt(name, value) for name, value in settings)
