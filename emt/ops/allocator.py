"""Memory that is used again at every step."""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_freed_memory() -> bool:
    """Let this process keep what it frees, for the rest of its life; returns whether that is possible here.

    Glibc gives large blocks back to the system at once, and every new one is then filled with zeros page by
    page, which costs a training step at horizon 100 up to a quarter of its time. A worker that does the same
    step over and over needs the same blocks again. Does nothing where the C library is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return (
        mallopt is not None and bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
    )
