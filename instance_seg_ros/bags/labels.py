# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The images of a bag with the instance masks that the bag has for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from instance_seg_ros.bags.errors import BagError
from instance_seg_ros.bags.messages import COMPRESSED_IMAGE, to_bgr8
from instance_seg_ros.bags.reader import BagImage, BagReader
from instance_seg_ros.errors import ImageError
from instance_seg_ros.image_header import JPEG, read_header
from instance_seg_ros.image_messages import encode_jpeg
from instance_seg_ros.labelling.labels import Label, LabelledImage
from instance_seg_ros.messages import mask_from_message

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

    Args:
        reader: of the bag.
        topic: of the images, None for the only one that is no output of the node.
        masks_topic: of the masks, None for the only one.

    Raises:
        BagError: there is no such topic, or several; no image has masks.

    """

    def __init__(self, reader: BagReader, topic: str | None, masks_topic: str | None) -> None:
        self._reader = reader
        masks = reader.masks_topic(masks_topic)
        node = f'{masks.rpartition("/")[0]}/'
        self._topic = reader.image_topic(topic, not_below=node)
        self._window = reader.window(0, None)
        self._masks = {
            _stamp(each.message): each.message for each in reader.images(masks, self._window, 1)
        }
        if not self._masks:
            raise BagError(f'{reader.path}: {masks} has no messages')
        self.without_image = 0  # counted by the iteration
        self.file_names = [_file_name(stamp) for stamp in self._masks]

    def __iter__(self) -> Iterator[LabelledFrame]:
        """Yield them as they were recorded.

        Raises:
            BagError: no image belongs to any masks, or the bag is damaged.

        """
        waiting = dict(self._masks)
        for image in self._reader.images(self._topic, self._window, 1):
            masks = waiting.pop(_stamp(image.message), None)
            if masks is not None:
                yield _frame(image, masks)
        self.without_image = len(waiting)
        if len(waiting) == len(self._masks):
            raise BagError(
                f'{self._reader.path}: no image of {self._topic} has the stamp of any masks. '
                'Was it written with --keep-input, from this topic?'
            )


def _frame(image: BagImage, masks: Any) -> LabelledFrame:
    name = _file_name(_stamp(image.message))
    size = masks.image_height, masks.image_width
    try:
        pixels = to_bgr8(image.message, image.message_type)
        if pixels.shape[:2] != size:
            raise ImageError(
                f'is {pixels.shape[1]}x{pixels.shape[0]}, its masks {size[1]}x{size[0]}'
            )
        labels = [_label(mask, size) for mask in masks.masks]
    except (ImageError, ValueError) as error:
        return LabelledFrame(LabelledImage(name, size), b'', f'{name}: {error}')
    if image.message_type == COMPRESSED_IMAGE and _is_plain_jpeg(bytes(image.message.data)):
        jpeg = bytes(image.message.data)
    else:
        jpeg = encode_jpeg(pixels, _QUALITY).tobytes()
    return LabelledFrame(
        LabelledImage(name, size, [each for each in labels if each.mask.any()]), jpeg
    )


def _label(mask: Any, size: tuple[int, int]) -> Label:
    track_id = int(mask.id) if mask.id.isdecimal() else None
    pixels = mask_from_message(mask, size)
    return Label(int(mask.class_id) + 1, mask.class_name, float(mask.score), pixels, track_id)


def _is_plain_jpeg(data: bytes) -> bool:
    """Return whether every program shows the pixels as they are: no EXIF entry turns them."""
    return read_header(data).format == JPEG and b'Exif\0\0' not in data[:_HEAD]


def _stamp(message: Any) -> tuple[int, int, str]:
    header = message.header
    return header.stamp.sec, header.stamp.nanosec, header.frame_id


def _file_name(stamp: tuple[int, int, str]) -> str:
    return f'{stamp[0]}_{stamp[1]:09d}.jpg'
