# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""
Memory that is freed goes back to the system: glibc would keep it, as a robot's node never ends.

Other C libraries have no such functions, and are left as they are.
"""
import ctypes
import gc
import platform
from typing import Any

M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
LARGE_BLOCK = 1 << 20  # bytes


def return_large_blocks() -> None:
    """
    Let large blocks go back as soon as they are freed, from now on.

    By itself glibc comes to keep blocks of up to 32 MB: with a full-size model 40 MB in all.
    """
    if platform.libc_ver()[0] == 'glibc':
        _libc().mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)


def return_freed_memory() -> None:
    """Let all that is free go back, such as an unloaded model's small pieces."""
    gc.collect()
    if platform.libc_ver()[0] == 'glibc':
        _libc().malloc_trim(0)


def _libc() -> Any:
    return ctypes.CDLL(None)
