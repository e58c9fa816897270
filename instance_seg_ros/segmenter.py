# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The pipeline: an image in, instances out."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.detection import Detections, MaskRcnn
from instance_seg_ros.detection.frozen_graph import read_weights
from instance_seg_ros.errors import ImageError
from instance_seg_ros.instances import Instances
from instance_seg_ros.labels import ids_of, read_labels
from instance_seg_ros.models import EXACT, SHIPPED_MODEL, find_model, from_files
from instance_seg_ros.refinement.pasting import clip_rois, paste
from instance_seg_ros.refinement.refiner_file import CPU
from instance_seg_ros.refiners import Refiner, make_refiner

LOG = logging.getLogger(__name__)

MIN_SIDE = 34  # smaller images are accepted by the network and answered with junk


@dataclass(frozen=True)
class Settings:
    """What may change between two frames.

    Attributes:
        confidence_threshold: instances with a lower score are dropped, 0 to 1.
        nms_threshold: of two boxes of a class with a larger IoU the lower score is dropped, 0 to 1.
        mask_threshold: pixels with at least this probability belong to the instance, 0 to 1.
        classes: names to keep; empty keeps all.
        max_instances: at most so many, best scores first.
        input_max_side: larger images are scaled down to this longer side, pixels; 0 is the model's
            own.
        refine_passes: at most so many passes of a learned refiner. Each is finer than the one
            before, and those after the first are for large instances only.
        refine_budget_ms: time of a learned refiner for all instances of a frame, milliseconds; 0
            is without end. Where it is short, instances get fewer passes, and then ``smooth``; the
            best scores come first, and ``Instances.refined`` tells.
    """

    confidence_threshold: float = 0.5
    nms_threshold: float = 0.4
    mask_threshold: float = 0.5
    classes: tuple[str, ...] = ()
    max_instances: int = 100
    input_max_side: int = 0
    refine_passes: int = 2
    refine_budget_ms: float = 0.0

    def __post_init__(self) -> None:
        """Check the ranges; raises ValueError with the name, the value and what was expected."""
        for name in ('confidence_threshold', 'nms_threshold', 'mask_threshold'):
            _check_number(name, getattr(self, name), 0, 1, float)
        _check_number('max_instances', self.max_instances, 1, 10_000, int)
        if self.input_max_side != 0:
            _check_number('input_max_side', self.input_max_side, MIN_SIDE, 16_384, int)
        _check_number('refine_passes', self.refine_passes, 1, 8, int)
        _check_number('refine_budget_ms', self.refine_budget_ms, 0, 60_000, float)
        if not isinstance(self.classes, tuple) or not all(isinstance(n, str) for n in self.classes):
            raise ValueError(f'classes is {self.classes!r}: expected a list of names')


def _check_number(name: str, value: Any, low: float, high: float, kind: type) -> None:
    allowed = (int, np.integer) if kind is int else (int, float, np.integer, np.floating)
    if isinstance(value, bool) or not isinstance(value, allowed) or not low <= value <= high:
        also = ", or 0 for the model's own" if name == 'input_max_side' else ''
        noun = 'a whole number' if kind is int else 'a number'
        raise ValueError(f'{name} is {value!r}: expected {noun} from {low} to {high}{also}')


@dataclass(frozen=True)
class PreparedUpdate:
    """What :meth:`Segmenter.prepare` has checked and loaded; a frame uses exactly one of these.

    Attributes:
        settings: the new settings.
        class_ids: ids of the classes to keep; empty keeps all.
        refiner: name of the refiner in use.
        asked_refiner: the refiner's name as it was given, such as ``auto``.
        refine: the refiner; None for the plain resized mask.
    """

    settings: Settings
    class_ids: frozenset[int]
    refiner: str
    asked_refiner: str
    refine: Refiner | None


@dataclass(frozen=True)
class Detected:
    """An image half way through: :meth:`Segmenter.detect` returns it for :meth:`Segmenter.finish`.

    Attributes:
        image: uint8 (H, W, 3), BGR, as it was given.
        detections: all that the box network found.
        boxes: float32 (N, 4) of the detections, x1, y1, x2, y2 in pixels of the image.
        keep: positions of those that survive threshold, class filter and NMS, best first.
        masks: whether they are to get masks.
        update: what the image is segmented with.
        milliseconds: that this stage took.
    """

    image: NDArray[np.uint8]
    detections: Detections
    boxes: NDArray[np.float32]
    keep: NDArray[np.intp]
    masks: bool
    update: PreparedUpdate
    milliseconds: float


class Segmenter:
    """Loads a model once, then turns images into :class:`Instances`.

    Threads may share it.

    Args:
        model: ``auto`` (the COCO model where it is installed, else the shipped person model), a
            model's name, or the path of a manifest.
        model_path, text_graph_path, labels_path: a plain .pb/.pbtxt/labels trio in place of a
            manifest. Beside a given .pb, the other two default to the same name with .pbtxt and
            _labels.txt.
        refiner: ``gan`` (a network in onnxruntime), the path of such a network, ``smooth`` (about
            2 ms an instance), ``none`` (the plain resized mask), ``auto`` (``gan`` where it and
            onnxruntime are installed, else ``smooth``).
        refine_providers: onnxruntime's execution providers, the preferred one first.
        speed_preset: ``exact``, or ``balanced`` or ``fast``: fewer proposals and a smaller input.
            A setting of ``input_max_side`` goes before the preset's.
        num_threads: threads of OpenCV and of onnxruntime, 0 for all cores. OpenCV has one such
            number for the process.
        parallel_nets: so many images can be in the box network at a time. More than 1 gives more
            frames per second on several cores, each of them later, and takes the memory of another
            network.
        low_memory: do without Winograd convolutions, which hold seven times the memory of their
            weights: 200 MB less with the COCO model, for half more time. Results differ in their
            last digits.
        settings: the fields of :class:`Settings`, by name; each is also a property that can be set
            between frames.

    Raises:
        ModelError: a model file is missing, broken or does not fit the others.
        ValueError: a parameter is out of range, or a class is unknown to the model.

    Examples:
        >>> segmenter = Segmenter(confidence_threshold=0.6)
        >>> instances = segmenter(cv2.imread('street.jpg'))
        >>> print(instances.class_names, instances.boxes)

    """

    def __init__(
        self,
        *,
        model: str = 'auto',
        model_path: str | Path = '',
        text_graph_path: str | Path = '',
        labels_path: str | Path = '',
        refiner: str = 'auto',
        refine_providers: Sequence[str] = (CPU,),
        speed_preset: str = EXACT,
        num_threads: int = 0,
        parallel_nets: int = 1,
        low_memory: bool = False,
        **settings: Any,
    ) -> None:
        _check_number('num_threads', num_threads, 0, 1024, int)
        _check_number('parallel_nets', parallel_nets, 1, 16, int)
        if not isinstance(low_memory, bool):
            raise ValueError(f'low_memory is {low_memory!r}: expected True or False')
        checked = Settings(**_known(settings))
        if num_threads:
            cv2.setNumThreads(num_threads)
        own = any(str(path) for path in (model_path, text_graph_path, labels_path))
        manifest = (
            find_model(model)
            if not own
            else from_files(str(model_path), str(text_graph_path), str(labels_path), model)
        )
        self.manifest = manifest.at_speed(speed_preset)
        # First what has a clearer name than a wrong digest: a web page, a git-LFS pointer ...
        read_weights(self.manifest.weights)
        self.manifest.check_digests()
        self._detector = MaskRcnn(
            self.manifest.weights,
            self.manifest.text_graph,
            self.manifest.proposals,
            parallel_nets,
            low_memory,
        )
        self._parallel_nets = parallel_nets
        self._num_threads, self._refine_providers = num_threads, refine_providers
        self._names = read_labels(self.manifest.labels, self._detector.num_classes)
        self._current = self._with_refiner(refiner, checked, ids_of(checked.classes, self._names))
        self.timings: dict[str, float] = {}
        _log_model(model, self.manifest.name, self.refiner)

    @property
    def model_name(self) -> str:
        """Name of the model in use."""
        return self.manifest.name

    @property
    def class_names(self) -> dict[int, str]:
        """Class id to name, in the model's own numbering; ids without a class are left out."""
        return dict(self._names)

    @property
    def settings(self) -> Settings:
        """What the next frame is segmented with."""
        return self._current.settings

    @property
    def refiner(self) -> str:
        """Name of the refiner in use."""
        return self._current.refiner

    def update(self, *, refiner: str | None = None, **settings: Any) -> None:
        """Change some settings from the next frame on: all of them, or, with an error, none.

        It does not wait for a frame that another thread is segmenting.

        Args:
            refiner: as for the constructor; None keeps the one in use.
            settings: the fields of :class:`Settings` that change, by name.

        Raises:
            ValueError: an unknown setting, a value out of range, or an unknown class.
            ModelError: the refiner cannot be loaded.

        """
        self.apply(self.prepare(refiner=refiner, **settings))

    def prepare(self, *, refiner: str | None = None, **settings: Any) -> PreparedUpdate:
        """Do all of :meth:`update` that may fail, and change nothing yet; see there."""
        current = self._current
        changed = replace(current.settings, **_known(settings))
        class_ids = ids_of(changed.classes, self._names)
        if refiner is None or refiner == current.asked_refiner:
            return replace(current, settings=changed, class_ids=class_ids)
        return self._with_refiner(refiner, changed, class_ids)

    def _with_refiner(
        self, asked: str, settings: Settings, class_ids: frozenset[int]
    ) -> PreparedUpdate:
        name, refine = make_refiner(asked, self._num_threads, self._refine_providers)
        return PreparedUpdate(settings, class_ids, name, asked, refine)

    def apply(self, update: PreparedUpdate) -> None:
        """Use what :meth:`prepare` returned, from the next frame on."""
        # One reference: a frame sees all of it or nothing.
        self._current = update

    def __call__(self, image_bgr: NDArray[np.uint8], *, masks: bool = True) -> Instances:
        """Segment one image.

        Args:
            image_bgr: uint8 (H, W, 3), BGR as OpenCV reads it; at least 34 pixels a side.
            masks: False skips the mask stage: boxes only, for about a third of the time.

        Returns:
            The instances, in pixels of this image. ``timings`` then holds the milliseconds of each
            stage.

        Raises:
            ImageError: not such an image.

        """
        return self.finish(self.detect(image_bgr, masks=masks))

    def detect(
        self,
        image_bgr: NDArray[np.uint8],
        *,
        masks: bool = True,
        update: PreparedUpdate | None = None,
    ) -> Detected:
        """Do the first half of a call: find boxes.

        A second thread can meanwhile :meth:`finish` the image before.

        Args:
            image_bgr: as for a call; it must stay as it is until it is finished.
            masks: whether the second half is to compute masks.
            update: of :meth:`prepare`, for this image alone; by default what was applied last.

        Returns:
            What :meth:`finish` takes.

        Raises:
            ImageError: not such an image.
            ModelError: the model's weights, read again for an image of some other sizes than the
                ones before, are gone or have changed.

        """
        check_image(image_bgr)
        update = update or self._current
        started = time.perf_counter()
        detections = self._detector.detect(self._scaled(image_bgr, update.settings))
        boxes = detections.boxes(*image_bgr.shape[:2])
        keep = self._select(detections, boxes, update)
        return Detected(
            image_bgr, detections, boxes, keep, masks, update, 1e3 * (time.perf_counter() - started)
        )

    def boxes(self, detected: Detected) -> Instances:
        """Return what is known half way through: boxes, scores and classes as of :meth:`finish`.

        Returns:
            The instances, in pixels of the image, without masks; their ROIs are those of the boxes.

        """
        return self._assemble(detected, None)

    def finish(self, detected: Detected) -> Instances:
        """Do the second half of a call: masks, sharpened where there is a refiner.

        Returns:
            The instances, in pixels of the image. ``timings`` then holds the milliseconds of each
            stage.

        """
        started = time.perf_counter()
        coarse = (
            self._detector.masks(detected.detections, detected.keep) if detected.masks else None
        )
        masked = time.perf_counter()
        instances = self._assemble(detected, coarse)
        self.timings = {
            'detect': detected.milliseconds,
            'masks': 1e3 * (masked - started),
            'refine': 1e3 * (time.perf_counter() - masked),
        }
        return instances

    def layer_times(self, image_bgr: NDArray[np.uint8]) -> dict[str, dict[str, float]]:
        """Segment an image, for profiling; what other threads do meanwhile counts, too.

        Returns:
            Milliseconds in the network's stages ``proposals``, ``boxes`` and ``masks``, by layer.

        """
        with self._detector.layer_times() as times:
            self(image_bgr)
        return times

    def stream(
        self, images: Iterable[NDArray[np.uint8]], *, masks: bool = True
    ) -> Iterator[tuple[NDArray[np.uint8], Instances]]:
        """Segment images that do not have to be answered at once, such as those of a video.

        While one is finished, and while the caller uses it, the next ``parallel_nets`` are in the
        box network.

        Args:
            images: each as for a call; it is taken so many images early, and must stay as it is.
            masks: as for a call.

        Yields:
            Every image with its instances, in their order.

        Raises:
            ImageError: not such an image.

        """
        under_way: deque[tuple[NDArray[np.uint8], Future[Detected]]] = deque()
        with ThreadPoolExecutor(self._parallel_nets, 'detect') as threads:
            try:
                for image in images:
                    under_way.append((image, threads.submit(self.detect, image, masks=masks)))
                    if len(under_way) > self._parallel_nets:
                        yield self._next_of(under_way)
                while under_way:
                    yield self._next_of(under_way)
            finally:
                threads.shutdown(cancel_futures=True)

    def _next_of(
        self, under_way: deque[tuple[NDArray[np.uint8], Future[Detected]]]
    ) -> tuple[NDArray[np.uint8], Instances]:
        image, detected = under_way.popleft()
        return image, self.finish(detected.result())

    def _scaled(self, image: NDArray[np.uint8], settings: Settings) -> NDArray[np.uint8]:
        limit = settings.input_max_side or self.manifest.input_max_side
        height, width = image.shape[:2]
        scale = min(limit / max(height, width), self.manifest.max_upscale)
        size = self._side(width * scale), self._side(height * scale)
        if size == (width, height):
            return image
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        return cv2.resize(image, size, interpolation=method)

    def _side(self, pixels: float) -> int:
        multiple = self.manifest.size_multiple
        return max(round(pixels / multiple), math.ceil(MIN_SIDE / multiple)) * multiple

    def _select(
        self, detections: Detections, boxes: NDArray[np.float32], current: PreparedUpdate
    ) -> NDArray[np.intp]:
        """Positions of the detections that survive threshold, class filter and NMS, best first."""
        settings = current.settings
        usable = detections.scores >= settings.confidence_threshold
        usable &= np.isin(detections.class_ids, list(current.class_ids or self._names))
        candidates = np.flatnonzero(usable)
        if len(candidates) == 0:
            return candidates
        x1y1, x2y2 = boxes[candidates, :2], boxes[candidates, 2:]
        kept = cv2.dnn.NMSBoxesBatched(
            np.concatenate([x1y1, x2y2 - x1y1], 1).tolist(),
            detections.scores[candidates].tolist(),
            detections.class_ids[candidates].tolist(),
            0.0,
            settings.nms_threshold,
        )
        # Rows come by falling score, so their order is that of the scores.
        return np.sort(candidates[np.asarray(kept, np.intp)])[: settings.max_instances]

    def _assemble(self, detected: Detected, coarse: NDArray[np.float32] | None) -> Instances:
        image, current, keep = detected.image, detected.update, detected.keep
        height, width = image.shape[:2]
        boxes = detected.boxes[keep]
        class_ids = detected.detections.class_ids[keep]
        refined = np.full(len(keep), False)
        masks: list[NDArray[np.uint8]] | None = None
        if coarse is None:
            rois = clip_rois(boxes, height, width)
        elif current.refine is not None:
            settings = current.settings
            rois, alphas, refined = current.refine.refine(
                image,
                boxes,
                coarse,
                passes=settings.refine_passes,
                budget_ms=settings.refine_budget_ms,
            )
            masks = [_binary(alpha, current.settings) for alpha in alphas]
        else:
            rois = clip_rois(boxes, height, width)
            pasted = (
                paste(mask, box, (x, y), (1, 1), (h, w), outside=True)
                for mask, box, (x, y, w, h) in zip(coarse, boxes, rois.tolist(), strict=True)
            )
            masks = [_binary(alpha, current.settings) for alpha in pasted]
        return Instances(
            boxes=boxes,
            scores=detected.detections.scores[keep],
            class_ids=class_ids,
            class_names=[self._names[int(i)] for i in class_ids],
            rois=rois,
            masks=masks,
            refined=refined,
            image_size=(height, width),
            coarse=coarse,
        )


def _binary(alpha: NDArray[np.float32], settings: Settings) -> NDArray[np.uint8]:
    return (alpha >= settings.mask_threshold).astype(np.uint8)


def _setting(name: str) -> property:
    def read(self: Segmenter) -> Any:
        return getattr(self.settings, name)

    def write(self: Segmenter, value: Any) -> None:
        self.update(**{name: value})

    return property(read, write, doc=f'The setting {name}; see Settings.')


for _field in fields(Settings):
    setattr(Segmenter, _field.name, _setting(_field.name))


def check_image(image: Any) -> None:
    """Raise ImageError unless this is an uint8 BGR image of a size that makes sense."""
    if not isinstance(image, np.ndarray):
        raise ImageError(
            f'image is a {type(image).__name__}: expected a numpy array uint8 (H, W, 3), BGR. '
            'cv2.imread gives None for a file that it cannot read'
        )
    if image.ndim != 3 or image.shape[2] != 3:
        hints = {
            (2, 0): 'convert it by cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)',
            (3, 1): 'convert it by cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)',
            (3, 4): 'drop the alpha channel by image[:, :, :3]',
        }
        hint = hints.get((image.ndim, image.shape[2] if image.ndim == 3 else 0), 'convert it')
        raise ImageError(f'image has the shape {image.shape}: expected (H, W, 3), BGR; {hint}')
    if image.dtype != np.uint8:
        hint = (
            'multiply one that ranges from 0 to 1 by 255 and convert it'
            if image.dtype.kind == 'f'
            else 'scale it to 0 to 255 and convert it'
        )
        raise ImageError(f'image is of the type {image.dtype}: expected uint8; {hint}')
    if min(image.shape[:2]) < MIN_SIDE:
        raise ImageError(
            f'image is {image.shape[1]}x{image.shape[0]} pixels: expected at least '
            f'{MIN_SIDE}x{MIN_SIDE}'
        )


def _known(settings: dict[str, Any]) -> dict[str, Any]:
    names = [field.name for field in fields(Settings)]
    for name in settings:
        if name not in names:
            raise ValueError(f'{name}: no such setting; known are {", ".join(names)}')
    classes = settings.get('classes')
    if isinstance(classes, Iterable) and not isinstance(classes, str):
        settings = settings | {'classes': tuple(classes)}
    return settings


def _log_model(asked: str, name: str, refiner: str) -> None:
    LOG.info('model %s, refiner %s', name, refiner)
    if asked == 'auto' and name == SHIPPED_MODEL:
        LOG.info(
            'the COCO model is not installed: the shipped small model finds people only '
            '(docs/models.md says how to install the other)'
        )
