# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""How well masks fit after refining, beside what users could pick instead, and what it takes.

Coarse masks are simulated from the true ones, by families of error (training/refiner/simulate.py),
and, where they are given, those of a real detector on the same images.

    python benchmarks/mask_refinement.py --data instances.json images/
    instance-seg image images/ --json coarse.json --coarse
    python benchmarks/mask_refinement.py --data instances.json images/ --coarse coarse.json
    pip install pydensecrf2     # for DenseCRF, too
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import this_machine
from library import FullSizeModel, Run, photo
from mask_methods import PLAIN, Method, methods
from people import people
from timing import Spread, measure

from instance_seg_ros import ModelError, Segmenter
from instance_seg_ros.models import find_refiner
from instance_seg_ros.refinement.refiner import MaskRefiner
from instance_seg_ros.refinement.smoother import MaskSmoother

# The trainer is not installed: these imports, mask_sheet's too, find it by this path (E402).
sys.path.append(str(Path(__file__).parents[1]))

from mask_sheet import write_sheet  # noqa: E402

from training.detector.dataset import DatasetError, Photo, hold_out  # noqa: E402
from training.refiner.crops import load_all_classes  # noqa: E402
from training.refiner.evaluate import HARM, Case, cases, detected_cases  # noqa: E402
from training.refiner.metrics import Scores, compare  # noqa: E402
from training.refiner.simulate import ALL_FAMILIES, FAMILIES, UNSEEN_FAMILIES  # noqa: E402

WORST = 10  # instances on a sheet of their own
DETECTOR = 'real detector'


@dataclass(frozen=True)
class Measured:
    """How a method did on a case.

    Attributes:
        case: the object with its coarse mask.
        family: of the coarse mask.
        masks: by method, uint8 (H, W) of the photo, 0 or 1.
        scores: by method.
        milliseconds: by method.
    """

    case: Case
    family: str
    masks: Mapping[str, np.ndarray]
    scores: Mapping[str, Scores]
    milliseconds: Mapping[str, float]

    def gain(self, method: str) -> float:
        """Return by how much the boundary IoU is above that of the plain mask."""
        return self.scores[method].boundary_iou - self.scores[PLAIN].boundary_iou


def main() -> int:
    options = _parser().parse_args()
    try:
        return _run(options)
    except (DatasetError, ModelError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2


def _run(options: argparse.Namespace) -> int:
    cv2.setNumThreads(options.threads)
    model = options.model or find_refiner()
    if model is None:
        print('no refiner is installed: give --model FILE to measure one', file=sys.stderr)
    tools = methods(model, tuple(options.sides), options.threads)
    photos = _photos(options)
    options.output.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {
        'machine': this_machine.describe(),
        'threads': options.threads,
        'families': {},
    }
    measured: list[Measured] = []
    sources = {family: cases(photos, family, options.most) for family in options.families}
    if options.coarse:
        sources[DETECTOR] = detected_cases(photos, options.coarse)
    for family, of_source in sources.items():
        of_family = [_measured(case, family, tools) for case in of_source]
        if not of_family:
            print(f'{family}: no object has a mask that is large enough', file=sys.stderr)
            return 2
        measured += of_family
        results['families'][family] = _figures(of_family, tools)
        print(f'{family}: {len(of_family)} objects', flush=True)
    results['seen'] = _figures([m for m in measured if m.family in FAMILIES], tools)
    results['unseen'] = _figures([m for m in measured if m.family in UNSEEN_FAMILIES], tools)
    if model is not None and options.repeats:
        results['frames'] = list(_frame_shares(model, options.repeats, options.threads))
    text = _report(results, len(measured))
    print(text)
    (options.output / 'report.md').write_text(text + '\n', 'utf-8')
    (options.output / 'results.json').write_text(json.dumps(results, indent=1) + '\n', 'utf-8')
    _write_sheets(measured, list(tools), options.output)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--data',
        nargs=2,
        action='append',
        required=True,
        type=Path,
        metavar=('JSON', 'IMAGES'),
        help='COCO annotation file with masks and its folder; may be given again',
    )
    parser.add_argument(
        '--hold-out',
        type=_modulus,
        default='8:5',
        metavar='N:K',
        help='take the images whose id %% N is K; 1:0 takes all (%(default)s)',
    )
    parser.add_argument('--model', type=Path, metavar='ONNX', help='default: the installed one')
    parser.add_argument('--families', nargs='+', choices=ALL_FAMILIES, default=list(ALL_FAMILIES))
    parser.add_argument(
        '--coarse',
        type=Path,
        metavar='JSON',
        help='what instance-seg image --json JSON --coarse wrote of the images',
    )
    parser.add_argument(
        '--most',
        type=int,
        default=60,
        metavar='N',
        help='objects of each family; 0 is one of every photo (%(default)s)',
    )
    parser.add_argument(
        '--sides',
        nargs='+',
        type=int,
        default=[128],
        metavar='PIXELS',
        help='of the crops of grabCut and DenseCRF (%(default)s)',
    )
    parser.add_argument('--threads', type=int, default=1, help='(%(default)s)')
    parser.add_argument(
        '--repeats',
        type=int,
        default=5,
        help='of the whole frames; 0 leaves them out (%(default)s)',
    )
    parser.add_argument(
        '--output',
        type=Path,
        default=Path('benchmark_output/mask_refinement'),
        metavar='FOLDER',
        help='(%(default)s)',
    )
    return parser


def _photos(options: argparse.Namespace) -> list[Photo]:
    photos = [p for file, folder in options.data for p in load_all_classes(file, folder)]
    modulus, remainder = options.hold_out
    return hold_out(photos, modulus, remainder)[1]


def _modulus(text: str) -> tuple[int, int]:
    modulus, colon, remainder = text.partition(':')
    if not (colon and modulus.isdecimal() and remainder.isdecimal() and int(modulus)):
        raise argparse.ArgumentTypeError(f'{text!r}: expected N:K, such as 8:5')
    return int(modulus), int(remainder)


def _measured(case: Case, family: str, tools: Mapping[str, Method]) -> Measured:
    diagonal = float(np.hypot(*case.truth.shape))
    masks, scores, milliseconds = {}, {}, {}
    for name, method in tools.items():
        started = time.perf_counter()
        (x, y, w, h), alpha = method(case.photo, case.box, case.coarse)
        milliseconds[name] = 1e3 * (time.perf_counter() - started)
        mask = np.zeros(case.truth.shape, np.uint8)
        mask[y : y + h, x : x + w] = alpha >= 0.5
        masks[name], scores[name] = mask, compare(mask, case.truth, diagonal)
    return Measured(case, family, masks, scores, milliseconds)


def _figures(measured: Sequence[Measured], tools: Iterable[str]) -> dict[str, Any]:
    """Return means by method: the figures of Scores, harmed, milliseconds."""
    if not measured:
        return {}
    return {
        name: {
            **asdict(Scores.mean([m.scores[name] for m in measured])),
            'gain': float(np.mean([m.gain(name) for m in measured])),
            'harmed': float(np.mean([m.gain(name) < -HARM for m in measured])),
            'milliseconds': asdict(Spread.of(np.array([m.milliseconds[name] for m in measured]))),
            'objects': len(measured),
        }
        for name in tools
    }


def _frame_shares(model: Path, repeats: int, threads: int) -> Iterable[dict[str, Any]]:
    """Yield what refining 10 people takes of a whole frame."""
    refiner = MaskRefiner(model, num_threads=threads)
    with tempfile.TemporaryDirectory() as folder:
        published = FullSizeModel(Path(folder)).segmenter(refiner='none')
    person = Segmenter(model='person_mask_rcnn', refiner='none')
    for width, height in ((640, 480), (1280, 720)):
        image, ten = photo(width, height), people(height, width, 10)
        assert ten.coarse is not None
        run, boxes, coarse = Run(published, image, 10), ten.boxes, ten.coarse

        def refined(
            refine: MaskRefiner | MaskSmoother,
            passes: int = 0,
            image: Any = image,
            boxes: Any = boxes,
            coarse: Any = coarse,
        ) -> None:
            list(refine.refine(image, boxes, coarse, passes=passes).alphas)

        times = measure(
            {
                'COCO network': run,
                'person network': partial(person, image),
                'smooth': lambda: refined(MaskSmoother()),
                'one pass': lambda: refined(refiner, 1),
                'all passes': lambda: refined(refiner),
            },
            repeats,
        )
        yield {
            'width': width,
            'height': height,
            'milliseconds': {name: float(np.median(taken)) for name, taken in times.items()},
        }


def _report(results: dict[str, Any], count: int) -> str:
    machine = results['machine']
    lines = [
        '# Masks after refining',
        '',
        f'{count} objects with coarse masks, simulated unless it says otherwise; means. Threads: '
        f'{results["threads"]} of {machine["processor"]}, load before {machine["load before"]}; '
        'milliseconds are medians per instance. BIoU: boundary IoU, 2 % of the diagonal; F: '
        'boundary F-measure within the pixels named; clutter: false area over true area; harmed: '
        f'BIoU fell by more than {HARM}.',
    ]
    titles = {
        name: f'{name}{" (never trained on)" if name in UNSEEN_FAMILIES else ""}'
        for name in results['families']
    }
    tables = {
        **{titles[name]: table for name, table in results['families'].items()},
        'All families that were trained on': results['seen'],
        'All families that were never trained on': results['unseen'],
    }
    for title, table in tables.items():
        if table:
            lines += ['', f'## {title}, {table[PLAIN]["objects"]} objects', '', *_table(table)]
    if 'frames' in results:
        lines += ['', '## A whole frame with 10 people', '', *_frames_table(results['frames'])]
    return '\n'.join(lines)


def _table(table: dict[str, Any]) -> list[str]:
    lines = [
        '| method | IoU | BIoU | gain | F 2 px | F 3 px | clutter | harmed | ms |',
        '|---|---|---|---|---|---|---|---|---|',
    ]
    for name, row in table.items():
        lines.append(
            f'| {name} | {row["iou"]:.3f} | {row["boundary_iou"]:.3f} | {row["gain"]:+.3f} '
            f'| {row["boundary_f2"]:.3f} | {row["boundary_f3"]:.3f} | {row["clutter"]:.3f} '
            f'| {row["harmed"]:.1%} | {row["milliseconds"]["median"]:.1f} |'
        )
    return lines


def _frames_table(frames: list[dict[str, Any]]) -> list[str]:
    lines = [
        '| frame | network | its own ms | refiner | ms | share of the frame |',
        '|---|---|---|---|---|---|',
    ]
    for frame in frames:
        times = frame['milliseconds']
        for network in ('COCO network', 'person network'):
            for refiner in ('smooth', 'one pass', 'all passes'):
                share = times[refiner] / (times[refiner] + times[network])
                lines.append(
                    f'| {frame["width"]}x{frame["height"]} | {network} | {times[network]:.0f} '
                    f'| {refiner} | {times[refiner]:.0f} | {share:.0%} |'
                )
    return lines


def _write_sheets(measured: Sequence[Measured], names: list[str], folder: Path) -> None:
    """Write two objects of each family, and those with which the last method did worst."""
    some = []
    for number, family in enumerate(dict.fromkeys(m.family for m in measured)):
        of_family = [m for m in measured if m.family == family]
        # The families have the same objects in the same order: not the same two of all.
        some += [of_family[i % len(of_family)] for i in (2 * number, 2 * number + 1)]
    worst = sorted(measured, key=lambda m: m.gain(names[-1]))[:WORST]
    for name, chosen in (('contact_sheet.png', some), ('worst.png', worst)):
        write_sheet(
            folder / name,
            [
                (
                    m.case,
                    f'{m.family} {m.case.image_id} {m.gain(names[-1]):+.2f}',
                    {method: m.masks[method] for method in names},
                )
                for m in chosen
            ],
        )
        print(f'wrote {folder / name}')


if __name__ == '__main__':
    sys.exit(main())
