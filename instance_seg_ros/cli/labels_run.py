# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The command ``instance-seg labels``."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from instance_seg_ros.cli.console import CommandError, Console, plural
from instance_seg_ros.cli.label_options import COCO
from instance_seg_ros.cli.label_sources import from_bag, from_results
from instance_seg_ros.cli.outputs import Outputs
from instance_seg_ros.labelling.coco import CocoDataset
from instance_seg_ros.labelling.label_studio import labelling_interface, task
from instance_seg_ros.labelling.labels import LabelledImage

DONE, SOME_SKIPPED = 0, 1


def run_labels(options: argparse.Namespace, console: Console) -> int:
    """Write what was found for an annotation tool.

    Args:
        options: of the command line.
        console: what is printed.

    Returns:
        The exit code.

    Raises:
        CommandError: an input is bad, or an output cannot be written.

    """
    try:
        import pycocotools.mask  # noqa: F401  # it reads and packs the masks
    except ImportError:
        raise CommandError('labels needs pycocotools: pip install pycocotools') from None
    source = options.source
    if not source.exists():
        raise CommandError(f'{source}: no such file or folder. Expected COCO results, or a bag')
    outputs = Outputs(options.output, [source], overwrite=options.overwrite)
    return _LabelsRun(options, console, outputs).run(source)


class _LabelsRun:
    """What goes through a run."""

    def __init__(self, options: argparse.Namespace, console: Console, outputs: Outputs) -> None:
        self._options, self._console, self._outputs = options, console, outputs
        self._images = self._labels = self._skipped = 0

    def run(self, source: Path) -> int:
        coco = self._options.to == COCO
        names = ('annotations.json',) if coco else ('tasks.json', 'label_config.xml')
        for name in names:
            self._outputs.plan(self._options.output / name, name)
        self._outputs.prepare([self._options.output])
        write = self._coco if coco else self._label_studio
        for name, text in zip(names, write(self._found(source)), strict=True):
            self._outputs.write(self._options.output / name, text.encode('utf-8', 'replace'))
        self._console.say(
            f'{plural(self._images, "image")}, {plural(self._labels, "label")}: '
            f'{self._options.output / names[0]}'
        )
        if self._skipped:
            self._console.warn(f'{plural(self._skipped, "image")} could not be read')
        return SOME_SKIPPED if self._skipped else DONE

    def _found(self, source: Path) -> Iterator[LabelledImage]:
        """Yield the images that can be read, with the labels that are wanted, and count them."""
        read = from_results if source.suffix.lower() == '.json' else from_bag
        for image in read(source, self._options, self._console, self._outputs):
            if image is None:
                self._skipped += 1
                continue
            least = self._options.min_score
            labels = [label for label in image.labels if label.score >= least]
            self._images += 1
            self._labels += len(labels)
            yield LabelledImage(image.file_name, image.size, labels)

    def _coco(self, images: Iterator[LabelledImage]) -> list[str]:
        dataset = CocoDataset(polygons=self._options.polygons)
        for image in images:
            dataset.add(image)
        return [json.dumps(dataset.content())]

    def _label_studio(self, images: Iterator[LabelledImage]) -> list[str]:
        tasks: list[dict[str, Any]] = []
        names: set[str] = set()
        polygons = self._options.polygons
        for image in images:
            address = self._options.image_address + quote(os.fsencode(image.file_name))
            tasks.append(task(image, address, polygons=polygons))
            names |= {label.name for label in image.labels}
        return [json.dumps(tasks), labelling_interface(sorted(names), polygons=polygons)]
