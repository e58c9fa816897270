# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Keeps NumPy's OpenBLAS from starting threads."""

import os


def start_no_matrix_threads() -> None:
    """Let OpenBLAS work in the calling thread; to be called before NumPy is imported.

    No large matrices are multiplied here, but as soon as NumPy is imported OpenBLAS starts a
    thread for each core, and each looks for work at full speed for 0.1 s. A number that the user
    has set is kept.
    """
    os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')
