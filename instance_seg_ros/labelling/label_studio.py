# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Tasks with predictions for Label Studio, which does not import COCO.

Brush masks have a packing of their own there: runs over the four channels of an RGBA picture, with
lengths of 3, 4, 8 or 16 bits. label-studio-sdk has a packer, but goes bit by bit and needs some
fifty packages; test/library/test_labelling.py reads our masks with it where it is installed.
"""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.labelling.labels import Label, LabelledImage, outlines

_LENGTH_BITS = (3, 4, 8, 16)
_CHANNELS = 4
_VALUE_BITS = 8
_LONGEST = 1 << _LENGTH_BITS[-1]


def task(image: LabelledImage, address: str, *, polygons: bool = False) -> dict[str, Any]:
    """Return one image as a task.

    Args:
        image: and its labels.
        address: of the image, as Label Studio is to fetch it.
        polygons: outlines, one for each part of a mask, instead of brush masks.

    """
    results = []
    for number, label in enumerate(image.labels, 1):
        values = _polygon_values(label, image.size) if polygons else [_brush_value(label)]
        for part, value in enumerate(values, 1):
            results.append(
                {
                    'id': f'{number}-{part}',
                    'type': 'polygonlabels' if polygons else 'brushlabels',
                    'from_name': 'label',
                    'to_name': 'image',
                    'original_width': image.size[1],
                    'original_height': image.size[0],
                    'image_rotation': 0,
                    'score': round(label.score, 4),
                    'value': value,
                }
            )
    scores = [label.score for label in image.labels]
    prediction = {
        'model_version': 'instance_seg_ros',
        'score': round(min(scores), 4) if scores else 0.0,
        'result': results,
    }
    return {'data': {'image': address}, 'predictions': [prediction]}


def labelling_interface(names: list[str], *, polygons: bool = False) -> str:
    """Return the XML of a project's labelling interface with these classes."""
    tag = 'PolygonLabels' if polygons else 'BrushLabels'
    labels = ''.join(f'    <Label value={quoteattr(name)}/>\n' for name in names)
    return (
        '<View>\n  <Image name="image" value="$image" zoom="true"/>\n'
        f'  <{tag} name="label" toName="image">\n{labels}  </{tag}>\n</View>\n'
    )


def packed_runs(mask: NDArray[np.uint8]) -> list[int]:
    """Return a mask as Label Studio packs brush masks.

    Args:
        mask: (height, width), zero outside.

    Returns:
        Bytes: the number of values, bits of a value, bits of the lengths, then the runs, row by
        row, of 255 inside and 0 outside.

    """
    inside = (mask != 0).ravel()
    starts = np.concatenate([[0], np.flatnonzero(inside[1:] != inside[:-1]) + 1])
    lengths = np.diff(starts, append=inside.size) * _CHANNELS
    bits = [format(inside.size * _CHANNELS, '032b'), format(_VALUE_BITS - 1, '05b')]
    bits += [format(size - 1, '04b') for size in _LENGTH_BITS]
    for length, value in zip(lengths.tolist(), inside[starts].tolist(), strict=True):
        colour = '1' * _VALUE_BITS if value else '0' * _VALUE_BITS
        while length > 0:
            run = min(length, _LONGEST)
            bits.append(f'1{_length_bits(run)}{colour}')
            length -= run
    joined = np.frombuffer(''.join(bits).encode(), np.uint8) - ord('0')
    return np.packbits(joined).tolist()


def _length_bits(run: int) -> str:
    kind = next(kind for kind, size in enumerate(_LENGTH_BITS) if run <= 1 << size)
    return format(kind, '02b') + format(run - 1, f'0{_LENGTH_BITS[kind]}b')


def _brush_value(label: Label) -> dict[str, Any]:
    return {'format': 'rle', 'rle': packed_runs(label.mask), 'brushlabels': [label.name]}


def _polygon_values(label: Label, size: tuple[int, int]) -> list[dict[str, Any]]:
    percent = 100 / np.array(size[::-1])
    return [
        {
            'points': (points * percent).round(3).tolist(),
            'closed': True,
            'polygonlabels': [label.name],
        }
        for points in outlines(label.mask)
    ]
