"""The host allocator, pinned: memory that the loop frees stays mapped, so that no step page-faults for it again.

glibc gives large blocks back to the kernel at once, and takes them from it again at the next step; how
often depends on the address layout of the process, which differs from launch to launch.
"""

from __future__ import annotations

import ctypes

# malloc.h of glibc. M_TRIM_THRESHOLD is an int there: its largest value is 2 GiB - 1.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
RESERVE = (
    256 * 2**20
)  # bytes that are asked of the kernel beyond what is needed; untouched, they take no memory
_SETTINGS = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, RESERVE))


def pin() -> bool:
    """Keeps freed memory in the process from now on; True where every setting took.

    musl and macOS have no such settings.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(name, value) == 1 for name, value in _SETTINGS)
