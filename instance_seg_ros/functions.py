# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Three functions for a script: load a model, segment an image, draw the result.

Examples:
    >>> net = load_model('person_mask_rcnn')
    >>> image, instances = run_instance_segmentation('demo/photos/astronaut.jpg', net=net)
    >>> instances[0]['class_name']
    'person'
    >>> written = cv2.imwrite('annotated.png', draw_instances(image, instances))
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.drawing import draw_instances
from instance_seg_ros.images import read_image
from instance_seg_ros.instances import Instances
from instance_seg_ros.models import find_model
from instance_seg_ros.paths import given_path
from instance_seg_ros.rois import clip_rois
from instance_seg_ros.segmenter import Segmenter
from instance_seg_ros.text_files import is_file

__all__ = ['Instance', 'draw_instances', 'load_model', 'run_instance_segmentation']


class Instance(Mapping[str, Any]):
    """One instance as a read-only mapping.

    Keys:
        - ``class_id``: int, in the model's own numbering.
        - ``class_name``: str.
        - ``confidence``: float, 0 to 1.
        - ``bbox``: (x1, y1, x2, y2), ints, pixels inside the image; ``image[y1:y2, x1:x2]`` is not
          empty.
        - ``mask``: uint8 (H, W), 0 or 1, as large as the image. Computed at the first access,
          because it takes a megabyte or more for each instance.

    Examples:
        >>> _, (person,) = run_instance_segmentation(image, net=segmenter)
        >>> person['class_name'], person['mask'].shape
        ('person', (512, 512))
        >>> x1, y1, x2, y2 = person['bbox']
        >>> cropped = image[y1:y2, x1:x2]
    """

    _KEYS = ('class_id', 'class_name', 'confidence', 'bbox', 'mask')

    def __init__(self, instances: Instances) -> None:
        if len(instances) != 1:
            raise ValueError(f'instances has {len(instances)} rows: expected 1')
        self._instances = instances

    def __getitem__(self, key: str) -> Any:
        """Return a value; raises KeyError for any key but those above."""
        if key not in self._KEYS:
            raise KeyError(f'{key!r}: an instance has {", ".join(self._KEYS)}')
        return getattr(self, f'_{key}')

    def __eq__(self, other: object) -> bool:
        """Compare with another mapping, the mask pixel by pixel."""
        if not isinstance(other, Mapping):
            return NotImplemented
        return self.keys() == other.keys() and all(
            np.array_equal(self[key], other[key]) for key in self
        )

    __hash__ = None  # type: ignore[assignment]  # as of any mapping

    def __iter__(self) -> Iterator[str]:
        """Yield the keys."""
        return iter(self._KEYS)

    def __len__(self) -> int:
        """Return the number of keys."""
        return len(self._KEYS)

    def __repr__(self) -> str:
        """Return all but the mask."""
        return f'<{self._class_name} {self._confidence:.2f} at {self._bbox}>'

    @property
    def _class_id(self) -> int:
        return int(self._instances.class_ids[0])

    @property
    def _class_name(self) -> str:
        return self._instances.class_names[0]

    @property
    def _confidence(self) -> float:
        return float(self._instances.scores[0])

    @property
    def _bbox(self) -> tuple[int, int, int, int]:
        x, y, w, h = clip_rois(self._instances.boxes, *self._instances.image_size)[0].tolist()
        return x, y, x + w, y + h

    @cached_property
    def _mask(self) -> NDArray[np.uint8]:
        return self._instances.full_mask(0)


def load_model(model_path: str | Path = 'auto', config_path: str | Path | None = None) -> Segmenter:
    """Load a Mask R-CNN, to be given to run_instance_segmentation as ``net``.

    Args:
        model_path: a frozen graph (.pb), a manifest (.yaml), a model's name, or ``auto``: the COCO
            model where it is installed, else ``everyday_mask_rcnn``, which is shipped.
        config_path: the OpenCV text graph (.pbtxt) in place of the model's own.

    See :func:`instance_seg_ros.find_model` for the files that belong to a frozen graph.

    Raises:
        ModelError: a file is missing, broken or does not fit the others; the message names it.

    Examples:
        >>> net = load_model('person_mask_rcnn')
        >>> net.model_name
        'person_mask_rcnn'
    """
    return Segmenter(model=model_path, text_graph_path=config_path or '')


def run_instance_segmentation(
    image_or_path: NDArray[Any] | str | os.PathLike[str],
    model_path: str | Path = 'auto',
    confidence_threshold: float = 0.5,
    nms_threshold: float = 0.4,
    net: Segmenter | None = None,
) -> tuple[NDArray[np.uint8], list[Instance]]:
    """Segment one image.

    Args:
        image_or_path: uint8 (H, W, 3), BGR as OpenCV reads it, or the path of an image file.
        model_path: as load_model takes it, where there is no ``net``. Each model is loaded once and
            stays in memory for the next call; it is loaded again if one of its files has changed.
        confidence_threshold: instances with a lower score are dropped, 0 to 1.
        nms_threshold: of two boxes of a class with a larger IoU the lower score is dropped, 0 to 1.
        net: what load_model returned; its own two thresholds do not count here, and stay.

    Returns:
        The image, uint8 (H, W, 3), and its instances by falling confidence.

    Raises:
        ImageError: the file cannot be read, or this is no such image.
        ModelError: as load_model.
        ValueError: a threshold is out of range.

    Examples:
        >>> frame, found = run_instance_segmentation('demo/photos/astronaut.jpg', net=segmenter)
        >>> [instance['class_name'] for instance in found]
        ['person']
    """
    image = image_or_path
    if isinstance(image, (str, os.PathLike)):
        image = read_image(image)
    segmenter = net if net is not None else _loaded(model_path)
    configuration = segmenter.prepare(
        confidence_threshold=confidence_threshold, nms_threshold=nms_threshold
    )
    pending = segmenter.detect(image, configuration=configuration)
    return image, [Instance(instance) for instance in segmenter.finish(pending)]


_Stamp = tuple[int, int]

_loading = threading.Lock()
_models: dict[str, tuple[dict[Path, _Stamp | None], Segmenter]] = {}


def _loaded(model_path: str | Path) -> Segmenter:
    """Return a model that stays loaded, by its absolute path if it is a file, else by its name."""
    file = os.path.abspath(given_path(model_path))
    key = file if file in _models or is_file(Path(file)) else str(model_path)
    if (known := _known(key)) is not None:
        return known
    with _loading:  # or each of several threads would load it
        if (known := _known(key)) is not None:
            return known
        # Before it is loaded: what is written meanwhile has changed since.
        stamps = {file: _stamp(file) for file in _files(model_path)}
        segmenter = load_model(model_path)
        _models[key] = stamps, segmenter
        return segmenter


def _known(key: str) -> Segmenter | None:
    """Return a model that is loaded, unless a file of it has changed; one that is gone has not."""
    if key not in _models:
        return None
    stamps, segmenter = _models[key]
    unchanged = all(_stamp(file) in (None, stamp) for file, stamp in stamps.items())
    return segmenter if unchanged else None


def _files(model_path: str | Path) -> list[Path]:
    """Return the absolute paths of all files of a model, its manifest included."""
    manifest = find_model(model_path)
    described = [] if manifest.path is None else [manifest.path]
    return [file.absolute() for file in (*described, *manifest.files.values())]


def _stamp(file: Path) -> _Stamp | None:
    """Return what changes with the content of a file; None where there is no such file."""
    if not is_file(file):
        return None
    about = file.stat()
    return about.st_mtime_ns, about.st_size
