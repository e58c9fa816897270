# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""How many cases hypothesis tries, and what strategies of several tests share.

`make test` tries few; `make fuzz` sets FUZZ_EXAMPLES and another seed for each round.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import image_files
import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

LONGEST = 5.0  # processor seconds of a case
LONGEST_MESSAGE = 1000  # characters


def tried(share: float = 1.0) -> settings:
    """Return hypothesis' settings for a test: a share of FUZZ_EXAMPLES, or few."""
    given = os.environ.get('FUZZ_EXAMPLES')
    count = max(1, round(share * int(given))) if given else max(15, round(40 * share))
    return settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=given is None,
        suppress_health_check=list(HealthCheck),
    )


@contextmanager
def in_bounded_time() -> Iterator[None]:
    """Fail if the block takes too much of the processor; others on the machine do not count."""
    started = time.process_time()
    yield
    taken = time.process_time() - started
    assert taken < LONGEST, f'{taken:.1f} s of the processor'


def assert_clear(message: str) -> None:
    """Assert that an error message is one that a person can read in a log."""
    assert 0 < len(message) < LONGEST_MESSAGE, len(message)
    assert '\0' not in message and '\x1b' not in message


@cache
def encoded_images() -> list[bytes]:
    """Whole image files of all formats, small."""
    deep = image_files.photo().astype(np.uint16) * 257
    return [
        *(image_files.encoded(suffix) for suffix in ('.jpg', '.png', '.webp', '.bmp', '.tiff')),
        image_files.encoded('.png', deep),
        image_files.saved('JPEG', progressive=True),
        image_files.saved('JPEG', 'L'),
        image_files.saved('JPEG', 'CMYK'),
        image_files.saved('PNG', 'P'),
        image_files.saved('PNG', 'LA'),
        image_files.animated('PNG'),
        image_files.JPEG_2000,
    ]


EDITS = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 6), st.integers(0, 255)), max_size=6
)  # fmt: skip


@st.composite
def damaged_images(draw: st.DrawFn) -> bytes:
    """Image files, most of them damaged."""
    data = bytearray(draw(st.sampled_from(encoded_images())))
    reach = draw(st.sampled_from((40, 400, len(data))))
    for where, way, value in draw(EDITS):
        at = min(int(where * reach), len(data) - 1) if data else 0
        if way == 0:
            data[at : at + 1] = bytes([value])
        elif way == 1:
            data[at : at + 4] = bytes([value]) * 4
        elif way == 2:
            del data[at : at + value]
        elif way == 3:
            data[at:at] = bytes([value]) * value
        elif way == 4:
            data[at:at] = data[: 2 * value]
        elif way == 5:
            del data[at:]
        else:
            data[at : at + 2] = b'\xff' + bytes([value])
    return bytes(data)
