# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Keeps the process small and quick by settings of glibc's allocator.

By default glibc keeps freed memory where it is useless, and returns it where it is needed again
at once.

Other C libraries have no such functions, and are left as they are.
"""

import ctypes
import gc
import platform
from typing import Any

# Of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
LARGE = 1 << 20  # bytes
LARGEST_REUSED = 16 << 20  # bytes
MOST_KEPT = 16 << 20  # bytes


def share_freed_memory() -> None:
    """Let all threads allocate from one arena; to be called before there are any.

    By itself glibc gives each thread an arena of its own, up to eight for every core, and what is
    free in one is of no use to the others: with a full-size model that makes 90 MB. NumPy, OpenCV
    and DDS start threads when they are imported; an arena that is left to one of those grew by
    10 MB at some moment within thousands of images.
    """
    _set({M_ARENA_MAX: 1})


def return_freed_memory() -> None:
    """Let all that is free go back, and from now on each large block when it is freed.

    To be called before a model is loaded, which needs large blocks for a moment and others to stay.
    """
    _set({M_MMAP_THRESHOLD: LARGE, M_TRIM_THRESHOLD: LARGE})
    gc.collect()
    if _is_glibc():
        _libc().malloc_trim(0)


def reuse_freed_memory() -> None:
    """Keep large blocks that are freed from now on; to be called before a stream of images.

    By itself glibc returns them to the system, as every image and feature map is freed, so that the
    next one meets a page fault every 4 KiB: 2,600 in the person model's 640x480, 15 % of its time,
    and 2,000 more while rclpy receives an image of 1280x720. It costs 30 MB with a full-size model,
    which still meets 4,000 in a frame; with all kept, 25 MB more, it meets none and is 3 % faster.
    """
    _set({M_MMAP_THRESHOLD: LARGEST_REUSED, M_TRIM_THRESHOLD: MOST_KEPT})


def _set(options: dict[int, int]) -> None:
    if _is_glibc():
        for option, value in options.items():
            _libc().mallopt(option, value)


def _is_glibc() -> bool:
    return platform.libc_ver()[0] == 'glibc'


def _libc() -> Any:
    return ctypes.CDLL(None)
