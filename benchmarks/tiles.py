# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What `tiles` does for small objects: AP by size and milliseconds an image, with and without.

python benchmarks/tiles.py --data annotations.json images/ --classes person

Tiles show the network more pixels only where an image has more than it sees: with photos of 512
pixels, --input-max-side 256 stands for images of twice the network's input.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from instance_seg_ros import Instances, Segmenter

sys.path.append(str(Path(__file__).parents[1]))  # the trainer is not installed

from training.detector.dataset import hold_out, load_photos  # noqa: E402
from training.detector.evaluate import Scores, evaluate  # noqa: E402

SIZES = ('AP', 'AP_small', 'AP_medium', 'AP_large')


class Timed(Segmenter):
    """A Segmenter that notes how long each image took."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.milliseconds: list[float] = []

    def __call__(self, *arguments: Any, **options: Any) -> Instances:
        started = time.perf_counter()
        found = super().__call__(*arguments, **options)
        self.milliseconds.append(1e3 * (time.perf_counter() - started))
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--data', nargs=2, required=True, metavar=('JSON', 'FOLDER'))
    parser.add_argument('--classes', nargs='+', default=['person'])
    parser.add_argument('--model', default='everyday_mask_rcnn')
    parser.add_argument('--photos', type=int, default=80, help='at most; those with id %% 8 == 5')
    parser.add_argument(
        '--input-max-side', type=int, default=0, help='what the network sees; 0: as the model says'
    )
    options = parser.parse_args()
    annotations, folder = options.data
    held = hold_out(load_photos(annotations, folder, options.classes), 8, 5)[1]
    photos = held[: options.photos]
    print(f'{len(photos)} photos, {sum(len(photo.annotations) for photo in photos)} objects')
    print(f'| tiles | kind | {" | ".join(SIZES)} | precision | recall | ms |')
    for tiles in ('1x1', '2x2'):
        segmenter = Timed(
            model=options.model,
            tiles=tiles,
            refiner='none',
            confidence_threshold=0.05,
            input_max_side=options.input_max_side,
            num_threads=1,
        )
        segmenter(photos[0].read())
        segmenter.milliseconds.clear()
        scores = evaluate(segmenter, photos, options.classes, progress=False)['all']
        milliseconds = statistics.median(segmenter.milliseconds)
        for line in lines(scores):
            print(f'| {tiles} | {line} | {milliseconds:.0f} |', flush=True)


def lines(scores: Scores) -> list[str]:
    """Return the cells of boxes and, where there are some, of masks."""
    kinds = (('box', scores.box), ('mask', scores.mask))
    return [
        f'{kind} | {" | ".join(cell(values[size]) for size in SIZES)} | '
        f'{cell(scores.precision)} | {cell(scores.recall)}'
        for kind, values in kinds
        if values['AP'] is not None
    ]


def cell(value: float | None) -> str:
    return '-' if value is None else f'{value:.3f}'


if __name__ == '__main__':
    main()
