# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""
Keeps the process small: glibc keeps much of what is freed, and a robot's node never ends.

Other C libraries have no such functions, and are left as they are.
"""
import ctypes
import gc
import platform
from typing import Any

M_ARENA_MAX = -8  # of glibc's malloc.h


def share_free_memory() -> None:
    """
    Let all threads allocate from one arena; to be called before there are any.

    By itself glibc gives each thread an arena of its own, up to eight for every core, and what is
    free in one is of no use to the others: with a full-size model that makes 90 MB.
    """
    if platform.libc_ver()[0] == 'glibc':
        _libc().mallopt(M_ARENA_MAX, 1)


def return_freed_memory() -> None:
    """Let all that is free go back, such as an unloaded model's small pieces."""
    gc.collect()
    if platform.libc_ver()[0] == 'glibc':
        _libc().malloc_trim(0)


def _libc() -> Any:
    return ctypes.CDLL(None)
