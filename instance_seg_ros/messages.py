# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""For those who receive InstanceMaskArrays: masks as arrays, and as supervision's Detections.

Needs no ROS: messages that rosbags has read from a bag will do, too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.run_lengths import mask_from_rle_counts, run_lengths

__all__ = [
    'mask_from_message',
    'mask_from_rle_counts',
    'masks_from_array',
    'run_lengths',
    'to_supervision',
]

# The constants of InstanceMask.msg.
MONO8_CROP, RLE_CROP = 0, 1


def mask_from_message(mask: Any, image_size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Rebuild the mask of a message, of either encoding.

    Args:
        mask: an InstanceMask, one of an InstanceMaskArray.
        image_size: (image_height, image_width) of that array, for a mask over the whole image.
            None: only over the region of interest.

    Returns:
        uint8 (height, width), 1 inside of the object and 0 outside.

    Raises:
        ValueError: the content does not fit the region of interest, the region lies outside of the
            image, or the encoding is none of InstanceMask.

    """
    cropped = _cropped_mask(mask)
    if image_size is None:
        return cropped
    full = np.zeros(image_size, np.uint8)
    _paste(mask, cropped, full)
    return full


def masks_from_array(message: Any) -> NDArray[np.uint8]:
    """Rebuild all masks of an InstanceMaskArray over the whole image.

    Args:
        message: an InstanceMaskArray.

    Returns:
        uint8 (N, image_height, image_width), 1 inside of the object and 0 outside. For many
        instances in large images, :func:`mask_from_message` for each takes less memory.

    Raises:
        ValueError: as mask_from_message.

    """
    masks = np.zeros((len(message.masks), message.image_height, message.image_width), np.uint8)
    for mask, full in zip(message.masks, masks, strict=True):
        _paste(mask, _cropped_mask(mask), full)
    return masks


def to_supervision(message: Any) -> Any:
    """Convert an InstanceMaskArray for the package supervision.

    Args:
        message: an InstanceMaskArray.

    Returns:
        supervision.Detections with mask, confidence, class_id, data['class_name'], xyxy (the
        bounds of the masks, pixels) and, where the node tracks, tracker_id.

    Raises:
        ImportError: supervision is not installed.
        ValueError: as mask_from_message.

    """
    try:
        import supervision
    except ImportError as error:
        raise ImportError(
            f'to_supervision needs the package supervision: pip install supervision ({error})'
        ) from error
    rois = [(m.roi.x_offset, m.roi.y_offset, m.roi.width, m.roi.height) for m in message.masks]
    bounds = np.array(rois, np.float32).reshape(-1, 4)
    bounds[:, 2:] += bounds[:, :2]
    tracked = len(message.masks) > 0 and all(mask.id for mask in message.masks)
    return supervision.Detections(
        xyxy=bounds,
        mask=masks_from_array(message).astype(bool),
        confidence=np.array([mask.score for mask in message.masks], np.float32),
        class_id=np.array([int(mask.class_id) for mask in message.masks], int),
        tracker_id=np.array([int(mask.id) for mask in message.masks]) if tracked else None,
        data={'class_name': np.array([mask.class_name for mask in message.masks], str)},
    )


def _paste(mask: Any, cropped: NDArray[np.uint8], full: NDArray[np.uint8]) -> None:
    x, y, (height, width) = mask.roi.x_offset, mask.roi.y_offset, cropped.shape
    if y + height > full.shape[0] or x + width > full.shape[1]:
        raise ValueError(
            f'roi is {width} x {height} at ({x}, {y}): it does not lie inside an image of '
            f'{full.shape[1]} x {full.shape[0]}. Expected image_size as (height, width)'
        )
    full[y : y + height, x : x + width] = cropped


def _cropped_mask(mask: Any) -> NDArray[np.uint8]:
    height, width = mask.roi.height, mask.roi.width
    if mask.encoding == RLE_CROP:
        return mask_from_rle_counts(mask.rle_counts, height, width)
    if mask.encoding != MONO8_CROP:
        raise ValueError(
            f'encoding is {mask.encoding}, expected MONO8_CROP ({MONO8_CROP}) or RLE_CROP '
            f'({RLE_CROP})'
        )
    image = mask.mask
    step = image.step or image.width
    fits = (image.height, image.width) == (height, width) and step >= width
    if not fits or image.encoding != 'mono8' or len(image.data) != height * step:
        raise ValueError(
            f'mask is {image.encoding!r} {image.width} x {image.height} with {len(image.data)} '
            f"bytes, expected 'mono8' of the roi's {width} x {height}"
        )
    pixels = np.frombuffer(image.data, np.uint8).reshape(height, step)[:, :width]
    return (pixels != 0).astype(np.uint8)
