# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The file of COCO results."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from instance_seg_ros.cli.journal import Journal
from instance_seg_ros.cli.outputs import Outputs
from instance_seg_ros.cli.report import CocoResults

STDOUT = Path('-')


@contextlib.contextmanager
def write_at_the_end(
    results: CocoResults, path: Path | None, outputs: Outputs, journal: Journal | None = None
) -> Iterator[None]:
    """Write COCO results, also when the user interrupts; after an error there is no file.

    Args:
        results: collected so far.
        path: of the file, STDOUT for standard output, None for none.
        outputs: to write it with.
        journal: in which the file is noted.

    """
    interrupted: KeyboardInterrupt | None = None
    try:
        yield
    except KeyboardInterrupt as error:
        interrupted = error
    if path == STDOUT:
        print(results.text())
    elif path is not None:
        with outputs.open(path) as beside:
            beside.write_text(results.text(), encoding='utf-8')
            if journal is not None:
                journal.add_file(path, beside)
    if interrupted is not None:
        raise interrupted
