# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The images of a bag with the instance masks that the bag has for them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.bags.errors import BagError
from instance_seg_ros.bags.messages import COMPRESSED_IMAGE, to_bgr8
from instance_seg_ros.bags.reader import BagImage, BagReader
from instance_seg_ros.errors import ImageError
from instance_seg_ros.image_header import JPEG, read_header
from instance_seg_ros.image_messages import encode_jpeg
from instance_seg_ros.labelling.labels import Label, LabelledImage
from instance_seg_ros.messages import mask_from_message

_Stamp = tuple[int, int, str]

_QUALITY = 95
_HEAD = 65536  # bytes in which a JPEG has its EXIF entry


@dataclass(frozen=True)
class LabelledFrame:
    """An image and its labels, or why there is none.

    Attributes:
        image: with the name that the file is to have.
        jpeg: the content of that file.
        problem: None where all is well.
    """

    image: LabelledImage
    jpeg: bytes
    problem: str | None = None


class LabelledFrames:
    """The images of a bag that have masks, matched by stamp and frame_id.

    Where several messages have one stamp, as those of a driver that sets none, they are matched in
    their order, if there are as many images as masks; else they are left out.

    Args:
        reader: of the bag.
        topic: of the images, None for the only one that is no output of the node.
        masks_topic: of the masks, None for the only one.

    Attributes:
        file_names: of the images that have masks.
        without_image: how many messages of masks have a stamp that no image has.
        left_out: a line about those with a stamp of more or fewer images than masks, or ''.

    Raises:
        BagError: there is no such topic, or several; no image belongs to any masks.

    """

    def __init__(self, reader: BagReader, topic: str | None, masks_topic: str | None) -> None:
        self._reader = reader
        masks = reader.masks_topic(masks_topic)
        node = f'{masks.rpartition("/")[0]}/'
        self._topic = reader.image_topic(topic, not_below=node)
        self._window = reader.window(0, None)
        found: dict[_Stamp, list[Any]] = defaultdict(list)
        for each in reader.images(masks, self._window, 1):
            found[_stamp(each.message)].append(each.message)
        if not found:
            raise BagError(f'{reader.path}: {masks} has no messages')
        images = Counter(
            _stamp(each.message) for each in reader.images(self._topic, self._window, 1)
        )
        self.without_image = sum(len(of) for s, of in found.items() if not images[s])
        self.left_out = _described(
            {s: len(of) for s, of in found.items() if images[s] not in (0, len(of))}, images
        )
        self._masks = _named({s: of for s, of in found.items() if images[s] == len(of)})
        if not self._masks:
            raise BagError(f'{reader.path}: {self.left_out or self._no_image()}')
        self.file_names = [name for own in self._masks.values() for name, _ in own]

    def __iter__(self) -> Iterator[LabelledFrame]:
        """Yield them as they were recorded.

        Raises:
            BagError: the bag is damaged.

        """
        waiting = {stamp: iter(own) for stamp, own in self._masks.items()}
        for image in self._reader.images(self._topic, self._window, 1):
            own = waiting.get(_stamp(image.message))
            if own is not None:
                yield _frame(image, *next(own))

    def _no_image(self) -> str:
        return (
            f'no image of {self._topic} has the stamp of any masks. '
            'Was it written with --keep-input, from this topic?'
        )


def _described(uneven: dict[_Stamp, int], images: Counter[_Stamp]) -> str:
    """Return a line about masks that cannot be matched with the images of their stamp."""
    if not uneven:
        return ''
    stamp, masks = next(iter(uneven.items()))
    return (
        f'left out {sum(uneven.values())} mask messages whose images are not known: the stamp '
        f'{stamp[0]}.{stamp[1]:09d} has {images[stamp]} images, but {masks} mask messages. If '
        'instance-seg bag wrote it with --every, write it without'
    )


def _named(found: dict[_Stamp, list[Any]]) -> dict[_Stamp, list[tuple[str, Any]]]:
    """Return the masks with the names of their images: 7_000000005.jpg, then 7_000000005_2.jpg."""
    taken: Counter[str] = Counter()
    named: dict[_Stamp, list[tuple[str, Any]]] = defaultdict(list)
    for stamp, messages in found.items():
        name = f'{stamp[0]}_{stamp[1]:09d}'
        for masks in messages:
            taken[name] += 1
            number = f'_{taken[name]}' if taken[name] > 1 else ''
            named[stamp].append((f'{name}{number}.jpg', masks))
    return named


def _frame(image: BagImage, name: str, masks: Any) -> LabelledFrame:
    size = masks.image_height, masks.image_width
    try:
        pixels = to_bgr8(image.message, image.message_type)
        if pixels.shape[:2] != size:
            raise ImageError(
                f'is {pixels.shape[1]}x{pixels.shape[0]}, its masks {size[1]}x{size[0]}'
            )
        labels = [_label(mask, size) for mask in masks.masks]
        jpeg = _jpeg(image, pixels)
    except (ImageError, ValueError) as error:
        return LabelledFrame(LabelledImage(name, size), b'', f'{name}: {error}')
    return LabelledFrame(
        LabelledImage(name, size, [each for each in labels if each.mask.any()]), jpeg
    )


def _jpeg(image: BagImage, pixels: NDArray[np.uint8]) -> bytes:
    if image.message_type == COMPRESSED_IMAGE and _is_plain_jpeg(bytes(image.message.data)):
        return bytes(image.message.data)
    return encode_jpeg(pixels, _QUALITY).tobytes()


def _label(mask: Any, size: tuple[int, int]) -> Label:
    track_id = int(mask.id) if mask.id.isdecimal() else None
    pixels = mask_from_message(mask, size)
    return Label(int(mask.class_id) + 1, mask.class_name, float(mask.score), pixels, track_id)


def _is_plain_jpeg(data: bytes) -> bool:
    """Return whether every program shows the pixels as they are: no EXIF entry turns them."""
    return read_header(data).format == JPEG and b'Exif\0\0' not in data[:_HEAD]


def _stamp(message: Any) -> _Stamp:
    header = message.header
    return header.stamp.sec, header.stamp.nanosec, header.frame_id
