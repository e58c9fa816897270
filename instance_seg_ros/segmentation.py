# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Three functions for a script: load a model, segment an image, draw the result.

Examples:
    >>> net = load_model()
    >>> camera = cv2.VideoCapture(0)
    >>> while (frame := camera.read()[1]) is not None:
    ...     cv2.imshow('instances', draw_instances(*run_instance_segmentation(frame, net=net)))
    ...     cv2.waitKey(1)

"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.detection.text_graph import read_text_graph, split
from instance_seg_ros.drawing import draw_instances
from instance_seg_ros.errors import ModelError
from instance_seg_ros.images import read_image
from instance_seg_ros.instances import Instances
from instance_seg_ros.models import COCO_MODEL, model_folders, read_manifest
from instance_seg_ros.refinement.pasting import clip_rois
from instance_seg_ros.segmenter import Segmenter

__all__ = ['Instance', 'draw_instances', 'load_model', 'run_instance_segmentation']

_COCO_CLASSES = 90


class Instance(Mapping[str, Any]):
    """One instance as a read-only mapping.

    Keys:
        class_id: int, in the model's own numbering.
        class_name: str.
        confidence: float, 0 to 1.
        bbox: (x1, y1, x2, y2), ints, pixels inside the image; ``image[y1:y2, x1:x2]`` is not empty.
        mask: uint8 (H, W), 0 or 1, as large as the image. Made when first asked for: it costs a
            megabyte or more for each instance.

    """

    _KEYS = ('class_id', 'class_name', 'confidence', 'bbox', 'mask')

    def __init__(self, instances: Instances) -> None:
        if len(instances) != 1:
            raise ValueError(f'instances has {len(instances)} rows: expected 1')
        self._instances = instances

    def __getitem__(self, key: str) -> Any:
        """Return a value; raises KeyError for another key than those above."""
        if key not in self._KEYS:
            raise KeyError(f'{key!r}: an instance has {", ".join(self._KEYS)}')
        return getattr(self, f'_{key}')

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
            model where it is installed, else the shipped person model.
        config_path: the OpenCV text graph (.pbtxt) of a frozen graph. None takes that of the
            manifest which names the frozen graph, else the file of the same name beside it.

    The names of the classes come from the manifest, else from ``<name>_labels.txt`` beside the
    frozen graph, else, for a model of 90 classes, from COCO.

    Raises:
        ModelError: a file is missing, broken or does not fit the others; the message names it.

    """
    if Path(model_path).suffix != '.pb':
        return Segmenter(model=str(model_path), text_graph_path=config_path or '')
    weights = Path(model_path).expanduser()
    manifest = _manifest_naming(weights)
    if manifest is not None and config_path is None:
        return Segmenter(model=str(manifest))
    text_graph = Path(config_path or weights.with_suffix('.pbtxt')).expanduser()
    if not weights.is_file():
        raise ModelError(f'weights {weights}: no such file. Expected a frozen graph (.pb)')
    if not text_graph.is_file():
        raise ModelError(
            f'text graph {text_graph}: no such file. cv2.dnn needs the OpenCV text graph (.pbtxt) '
            f'of {weights}: put it beside that file under the same name, or give its path as '
            'config_path'
        )
    labels = _labels(weights, text_graph, manifest)
    return Segmenter(model_path=weights, text_graph_path=text_graph, labels_path=labels)


def run_instance_segmentation(
    image_or_path: NDArray[np.uint8] | str | Path,
    model_path: str | Path = 'auto',
    confidence_threshold: float = 0.5,
    nms_threshold: float = 0.4,
    net: Segmenter | None = None,
) -> tuple[NDArray[np.uint8], list[Instance]]:
    """Segment one image.

    Args:
        image_or_path: uint8 (H, W, 3), BGR as OpenCV reads it, or the path of an image file.
        model_path: as load_model takes it, where there is no ``net``. Each model is loaded once and
            stays in memory for the next call.
        confidence_threshold: instances with a lower score are dropped, 0 to 1.
        nms_threshold: of two boxes of a class with a larger IoU the lower score is dropped, 0 to 1.
        net: what load_model returned; it keeps the two thresholds of this call.

    Returns:
        The image, uint8 (H, W, 3), and its instances by falling confidence.

    Raises:
        ImageError: the file cannot be read, or this is no such image.
        ModelError: as load_model.
        ValueError: a threshold is out of range.

    """
    image = image_or_path
    if isinstance(image, (str, Path)):
        image = read_image(image)
    segmenter = net if net is not None else _loaded(str(model_path))
    segmenter.update(confidence_threshold=confidence_threshold, nms_threshold=nms_threshold)
    return image, [Instance(instance) for instance in segmenter(image)]


@cache
def _loaded(model_path: str) -> Segmenter:
    return load_model(model_path)


def _manifest_naming(weights: Path) -> Path | None:
    """Return the manifest of some weights, None where there is none."""
    for folder in (weights.parent, *model_folders()):
        for path in sorted(folder.glob('*.yaml')):
            try:
                if read_manifest(path).weights.resolve() == weights.resolve():
                    return path
            except ModelError:  # another program's file, beside the weights by chance
                continue
    return None


def _labels(weights: Path, text_graph: Path, manifest: Path | None) -> Path:
    if manifest is not None:
        return read_manifest(manifest).labels
    beside = weights.with_name(f'{weights.stem}_labels.txt')
    if not beside.is_file() and (
        split(read_text_graph(text_graph), text_graph).num_classes == _COCO_CLASSES
    ):
        for folder in model_folders():
            coco = folder / f'{COCO_MODEL}.yaml'
            if coco.is_file():
                return read_manifest(coco).labels
    return beside
