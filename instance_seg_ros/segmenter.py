# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The pipeline: an image in, instances out."""

from __future__ import annotations

import difflib
import logging
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.class_names import class_ids_of, read_class_names, thresholds_of
from instance_seg_ros.configuration import Configuration, PendingInstances
from instance_seg_ros.detection.frozen_graph import read_weights
from instance_seg_ros.detection.input_size import choose_input_size, match_padding, resize_image
from instance_seg_ros.detection.loader import load_detector
from instance_seg_ros.images import check_image
from instance_seg_ros.instances import Instances
from instance_seg_ros.models import find_model, hint_at_coco
from instance_seg_ros.refinement.interface import Refiner
from instance_seg_ros.refinement.loader import load_refiner
from instance_seg_ros.refinement.parts import without_crumbs
from instance_seg_ros.regions import Region
from instance_seg_ros.rois import clip_rois, trim_to_masks
from instance_seg_ros.schema import check_names, settings_of
from instance_seg_ros.selection import select_detections
from instance_seg_ros.settings import MIN_IMAGE_SIDE, ModelSettings, Settings
from instance_seg_ros.tiling import make_tiles, merge_tiles, parse_grid
from instance_seg_ros.trial import try_model
from instance_seg_ros.typed_settings import SettingProperties

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from instance_seg_ros.typed_settings import LiveArguments, SegmenterArguments

LOG = logging.getLogger(__name__)

_LIVE = settings_of(Settings)
_MODEL = settings_of(ModelSettings)
_MODEL_NAMES = {each.name for each in _MODEL}
_AT_LOADING = 'is chosen when a model is loaded. Create another Segmenter with it'


class Segmenter(SettingProperties):
    """Loads a model once, then turns images into :class:`Instances`.

    Threads may share it. For another process it is pickled by its settings and loaded again, where
    relative paths count from the folder of that process. Take the start method ``spawn``: a process
    that is forked while a thread segments an image may wait for that thread for ever.

    Args:
        settings: the fields of :class:`ModelSettings` and :class:`Settings`, by name. Those of
            ``Settings`` are also properties that can be set between frames.

    Attributes:
        manifest: the files and sizes of the model in use.

    Raises:
        ModelError: a model file is missing, broken or does not fit the others.
        ValueError: a setting is unknown or out of range, or a class is unknown to the model.

    Examples:
        >>> segmenter = Segmenter(model='person_mask_rcnn', confidence_threshold=0.6)
        >>> instances = segmenter(cv2.imread('demo/photos/astronaut.jpg'))
        >>> instances.class_names, instances.boxes.shape
        (['person'], (1, 4))
        >>> segmenter.confidence_threshold = 0.99  # from the next frame on
        >>> len(segmenter(image))
        0
    """

    def __init__(self, **settings: Unpack[SegmenterArguments]) -> None:
        given: dict[str, Any] = dict(settings)
        check_names(list(given), (*_MODEL, *_LIVE))
        chosen = ModelSettings(**_those_of(_MODEL, given))
        live = Settings(**_those_of(_LIVE, given))
        if chosen.num_threads:  # else OpenCV stays as it is: the number holds for the process
            cv2.setNumThreads(chosen.num_threads)
        manifest = find_model(
            chosen.model,
            model_path=chosen.model_path,
            text_graph_path=chosen.text_graph_path,
            labels_path=chosen.labels_path,
        )
        self.manifest = manifest.at_speed(chosen.speed_preset)
        if self.manifest.weights is not None:
            # Before the digests: "is a web page" says more than "has another digest".
            read_weights(self.manifest.weights)
        self.manifest.check_digests()
        tried = self.manifest if chosen.trust_model else try_model(self.manifest, chosen)
        self._detector = load_detector(tried, chosen)
        self._chosen = chosen
        self._names = read_class_names(self.manifest.labels, self._detector.num_classes)
        self._updates = threading.Lock()
        self._configuration = self._configure(live, self._load_refiner(live.refiner))
        _log_model(str(chosen.model), self.manifest.name, self.engine, self.refiner)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the settings, and what a user has noted; the model is loaded again."""
        noted = {
            name: value
            for name, value in vars(self).items()
            if not name.startswith('_') and name != 'manifest'
        }
        return _load, (type(self), vars(self._chosen) | vars(self.settings)), noted

    def __copy__(self) -> Self:
        """Return another set of settings for the same model in memory."""
        other = object.__new__(type(self))
        vars(other).update(vars(self), _updates=threading.Lock())
        return other

    if not TYPE_CHECKING:  # a type checker would take every name for one that can be set

        def __setattr__(self, name: str, value: Any) -> None:
            """Set a live setting, or what a user notes; not what would have no effect."""
            if type(self) is Segmenter and not name.startswith('_') and name != 'manifest':
                _check_attribute(name)
            super().__setattr__(name, value)

    @property
    def model_name(self) -> str:
        """Name of the model in use.

        Examples:
            >>> segmenter.model_name
            'person_mask_rcnn'
        """
        return self.manifest.name

    @property
    def engine(self) -> str:
        """What runs the network: ``opencv``, or ``onnxruntime`` with its execution provider.

        Examples:
            >>> segmenter.engine.split()[0] in ('opencv', 'onnxruntime')
            True
        """
        return self._detector.engine

    @property
    def class_names(self) -> dict[int, str]:
        """Class id to name, in the model's own numbering; ids without a class are left out.

        Examples:
            >>> segmenter.class_names
            {0: 'person'}
        """
        return dict(self._names)

    @property
    def configuration(self) -> Configuration:
        """What the next frame is segmented with.

        Examples:
            >>> segmenter.configuration.refiner.name == segmenter.refiner
            True
        """
        return self._configuration

    @property
    def settings(self) -> Settings:
        """The settings of the next frame.

        Examples:
            >>> segmenter.settings.confidence_threshold
            0.5
        """
        return self._configuration.settings

    @property
    def refiner(self) -> str:
        """Name of the refiner in use, where the setting may say ``auto``.

        Examples:
            >>> segmenter.refiner = 'none'
            >>> segmenter.refiner
            'none'
        """
        return self._configuration.refiner.name

    @refiner.setter
    def refiner(self, value: str) -> None:
        self.update(refiner=value)

    def update(self, **settings: Unpack[LiveArguments]) -> None:
        """Change some settings from the next frame on: all of them, or, with an error, none.

        It does not wait for a frame that another thread is segmenting.

        Args:
            settings: the fields of :class:`Settings` that change, by name.

        Raises:
            ValueError: an unknown setting, a value out of range, or an unknown class.
            ModelError: the refiner cannot be loaded.

        Examples:
            >>> segmenter.update(confidence_threshold=0.99, refiner='smooth')
            >>> len(segmenter(image))
            0
        """
        with self._updates:  # or one of two threads would undo what the other changed
            self.apply(self.prepare(**settings))

    def prepare(self, **settings: Unpack[LiveArguments]) -> Configuration:
        """Do all of :meth:`update` that may fail, and change nothing yet.

        Returns:
            The new configuration, for :meth:`apply` or for single images in :meth:`detect`.

        Raises:
            ValueError: an unknown setting, a value out of range, or an unknown class.
            ModelError: the refiner cannot be loaded.

        Examples:
            >>> strict = segmenter.prepare(confidence_threshold=0.99)
            >>> segmenter.confidence_threshold  # as before
            0.5
            >>> pending = segmenter.detect(image, configuration=strict)  # only this image
            >>> len(segmenter.finish(pending))
            0
        """
        given: dict[str, Any] = dict(settings)
        _check_live(list(given))
        current = self._configuration
        changed = replace(current.settings, **given)
        same = changed.refiner == current.settings.refiner
        return self._configure(
            changed, current.refiner if same else self._load_refiner(changed.refiner)
        )

    def apply(self, configuration: Configuration) -> None:
        """Use what :meth:`prepare` returned, from the next frame on; of two threads the last wins.

        Raises:
            TypeError: it is something else.

        Examples:
            >>> segmenter.apply(segmenter.prepare(confidence_threshold=0.99))
            >>> segmenter.confidence_threshold
            0.99
        """
        if not isinstance(configuration, Configuration):
            raise TypeError(f'{type(configuration).__name__}: expected what prepare() returns')
        # One reference is replaced: a frame sees all of the change or nothing.
        self._configuration = configuration

    def __call__(self, image_bgr: NDArray[Any], *, masks: bool = True) -> Instances:
        """Segment one image.

        Args:
            image_bgr: uint8 (H, W, 3), BGR as OpenCV reads it; at least 34 pixels a side.
            masks: False skips the mask stage: boxes only, for about a third of the time.

        Returns:
            The instances, in pixels of this image, with the milliseconds of each stage.

        Raises:
            ImageError: not such an image.

        Examples:
            >>> instances = segmenter(image)
            >>> instances.class_names
            ['person']
            >>> sorted(instances.timings)
            ['detect', 'masks', 'refine']
        """
        return self.finish(self.detect(image_bgr, masks=masks))

    def detect(
        self,
        image_bgr: NDArray[Any],
        *,
        masks: bool = True,
        configuration: Configuration | None = None,
    ) -> PendingInstances:
        """Do the first half of a call: find boxes.

        A second thread can :meth:`finish` the previous image at the same time.

        Args:
            image_bgr: as for a call; it must stay as it is until it is finished.
            masks: whether the second half is to compute masks.
            configuration: of :meth:`prepare`, for this image only; by default the one in use.

        Returns:
            What :meth:`finish` and :meth:`without_masks` take.

        Raises:
            ImageError: not such an image.
            ModelError: the model's weights had to be read again for an image of a new size, and
                are gone or have changed.

        Examples:
            >>> pending = segmenter.detect(image)
            >>> segmenter.finish(pending).class_names
            ['person']
        """
        check_image(image_bgr, min_side=MIN_IMAGE_SIDE)
        configuration = configuration or self._configuration
        size = self._input_size(image_bgr.shape, configuration.settings)
        whole = self._detect(image_bgr, size, masks, configuration)
        height, width = image_bgr.shape[:2]
        tiles = make_tiles(configuration.tiles, (height, width), MIN_IMAGE_SIDE)
        if not tiles:
            return whole
        parts = []
        for tile in tiles:
            view = tile.view(image_bgr)
            tile_size = match_padding(self._input_size(view.shape, configuration.settings), size)
            parts.append((tile, self._detect(view, tile_size, masks, configuration)))
        milliseconds = whole.milliseconds + sum(part.milliseconds for _, part in parts)
        return replace(whole, tiles=tuple(parts), milliseconds=milliseconds)

    def _detect(
        self,
        image: NDArray[np.uint8],
        size: tuple[int, int],
        masks: bool,
        configuration: Configuration,
    ) -> PendingInstances:
        started = time.perf_counter()
        detections = self._detector.detect(resize_image(image, size))
        boxes = detections.boxes(*image.shape[:2])
        keep = select_detections(detections, boxes, configuration)
        milliseconds = 1e3 * (time.perf_counter() - started)
        return PendingInstances(image, detections, boxes, keep, masks, configuration, milliseconds)

    def without_masks(self, pending: PendingInstances) -> Instances:
        """Return the boxes, scores and classes before :meth:`finish`; they are the same afterwards.

        With ``tiles`` they may differ: parts of an object are put together by boxes here, by masks
        there.

        Returns:
            The instances, in pixels of the image, without masks; their ROIs are those of the boxes.

        Examples:
            >>> pending = segmenter.detect(image)
            >>> boxes_first = segmenter.without_masks(pending)
            >>> boxes_first.masks is None, len(boxes_first)
            (True, 1)
        """
        instances = self._without_masks(pending)
        parts = [(tile, self._without_masks(part)) for tile, part in pending.tiles]
        return _merged(instances, parts, pending.configuration.settings.max_instances)

    def _without_masks(self, pending: PendingInstances) -> Instances:
        boxes = pending.boxes[pending.keep]
        class_ids = pending.detections.class_ids[pending.keep]
        height, width = pending.image.shape[:2]
        return Instances(
            boxes=boxes,
            scores=pending.detections.scores[pending.keep],
            class_ids=class_ids,
            class_names=[self._names[int(i)] for i in class_ids],
            rois=clip_rois(boxes, height, width),
            masks=None,
            refined=np.full(len(boxes), False),
            image_size=(height, width),
            timings={'detect': pending.milliseconds, 'masks': 0.0, 'refine': 0.0},
        )

    def finish(self, pending: PendingInstances) -> Instances:
        """Do the second half of a call: masks, sharpened by the refiner.

        Returns:
            The instances, in pixels of the image, with the milliseconds of each stage.

        Examples:
            >>> complete = segmenter.finish(segmenter.detect(image))
            >>> complete.masks[0].shape == (complete.rois[0, 3], complete.rois[0, 2])
            True
        """
        return self.finish_each(pending, [pending.configuration])[0]

    def finish_each(
        self, pending: PendingInstances, configurations: Sequence[Configuration]
    ) -> list[Instances]:
        """Do the second half once for each configuration; the mask head runs only once.

        Args:
            pending: of :meth:`detect`; its boxes are those of all results.
            configurations: of :meth:`prepare`; what they set for masks counts, such as the refiner.

        Returns:
            For each configuration what :meth:`finish` would return.

        Examples:
            >>> configurations = [segmenter.prepare(refiner=name) for name in ('none', 'smooth')]
            >>> plain, smooth = segmenter.finish_each(segmenter.detect(image), configurations)
            >>> plain.class_names == smooth.class_names
            True
        """
        if not pending.masks:
            return [self.without_masks(pending) for _ in configurations]
        wholes = self._finish_each(pending, configurations)
        parts = [(tile, self._finish_each(part, configurations)) for tile, part in pending.tiles]
        return [
            _merged(
                whole,
                [(tile, instances[i]) for tile, instances in parts],
                pending.configuration.settings.max_instances,
            )
            for i, whole in enumerate(wholes)
        ]

    def _finish_each(
        self, pending: PendingInstances, configurations: Sequence[Configuration]
    ) -> list[Instances]:
        instances = self._without_masks(pending)
        started = time.perf_counter()
        instances.coarse = self._detector.masks(pending.detections, pending.keep)
        instances.timings['masks'] = 1e3 * (time.perf_counter() - started)
        return [_refined(pending.image, instances, each) for each in configurations]

    def layer_times(self, image_bgr: NDArray[Any]) -> dict[str, dict[str, float]]:
        """Segment an image, for profiling; the work of other threads is counted, too.

        Returns:
            Milliseconds in the network's stages ``proposals``, ``boxes`` and ``masks``, by layer.

        Examples:
            >>> sorted(segmenter.layer_times(image))
            ['boxes', 'masks', 'proposals']
        """
        with self._detector.layer_times() as times:
            self(image_bgr)
        return times

    def network_image(self, image_bgr: NDArray[Any]) -> NDArray[np.uint8]:
        """Return an image as the network sees it, at the model's own size.

        Raises:
            ImageError: not an image as for a call.

        Examples:
            >>> segmenter.network_image(image).shape
            (544, 544, 3)
        """
        check_image(image_bgr, min_side=MIN_IMAGE_SIDE)
        size = self._input_size(image_bgr.shape, self._configuration.settings)
        return resize_image(image_bgr, size)

    def stream(
        self, images: Iterable[NDArray[Any]], *, masks: bool = True
    ) -> Iterator[tuple[NDArray[np.uint8], Instances]]:
        """Segment images that can wait a little, such as those of a video.

        While one image is finished, and while the caller uses it, the next ``parallel_nets`` images
        are in the box network.

        Args:
            images: each as for a call; they are read ``parallel_nets`` images ahead, and must stay
                as they are until they are returned.
            masks: as for a call.

        Yields:
            Every image with its instances, in their order.

        Raises:
            ImageError: not such an image. What ``images`` raises comes after the images before.
            TypeError: ``images`` is one image or a path.

        Examples:
            >>> for frame, found in segmenter.stream([image, image[:, ::-1].copy()]):
            ...     print(frame.shape, found.class_names)
            (512, 512, 3) ['person']
            (512, 512, 3) ['person']
        """
        is_image = isinstance(images, np.ndarray) and images.ndim in (2, 3)
        if is_image or isinstance(images, (str, Path)):
            raise TypeError(
                'images is a single image or a path: expected several images, such as a list'
            )
        return self._stream(images, masks)

    def _stream(
        self, images: Iterable[NDArray[Any]], masks: bool
    ) -> Iterator[tuple[NDArray[np.uint8], Instances]]:
        under_way: deque[tuple[NDArray[np.uint8], Future[PendingInstances]]] = deque()
        with ThreadPoolExecutor(self._chosen.parallel_nets, 'detect') as threads:
            try:
                for started in self._submitted(images, masks, threads):
                    under_way.append(started)
                    if len(under_way) > self._chosen.parallel_nets:
                        yield self._next_of(under_way)
                while under_way:
                    yield self._next_of(under_way)
            finally:
                threads.shutdown(cancel_futures=True)

    def _submitted(
        self, images: Iterable[NDArray[Any]], masks: bool, threads: ThreadPoolExecutor
    ) -> Iterator[tuple[NDArray[np.uint8], Future[PendingInstances]]]:
        try:
            for image in images:
                yield image, threads.submit(self.detect, image, masks=masks)
        except Exception as error:  # of the source; the images before it come first
            failed: Future[PendingInstances] = Future()
            failed.set_exception(error)  # raised when its turn comes; there is no image
            yield np.empty((0, 0, 3), np.uint8), failed

    def _next_of(
        self, under_way: deque[tuple[NDArray[np.uint8], Future[PendingInstances]]]
    ) -> tuple[NDArray[np.uint8], Instances]:
        image, pending = under_way.popleft()
        return image, self.finish(pending.result())

    def _input_size(self, shape: tuple[int, ...], settings: Settings) -> tuple[int, int]:
        manifest = self.manifest
        return choose_input_size(
            shape,
            settings.input_max_side or manifest.input_max_side,
            manifest.max_upscale,
            manifest.size_multiple,
        )

    def _configure(self, settings: Settings, refiner: Refiner) -> Configuration:
        wanted = settings.classes or self._names.values()
        class_ids = class_ids_of(wanted, self._names)
        thresholds = thresholds_of(settings.class_thresholds, self._names)
        return Configuration(settings, class_ids, thresholds, parse_grid(settings.tiles), refiner)

    def _load_refiner(self, name: str) -> Refiner:
        chosen = self._chosen
        return load_refiner(
            name, chosen.num_threads, chosen.refine_providers, trusted=chosen.trust_model
        )


def _refined(
    image: NDArray[np.uint8], instances: Instances, configuration: Configuration
) -> Instances:
    """Return the instances, whose coarse masks are known, with masks of the image's resolution."""
    started = time.perf_counter()
    settings = configuration.settings
    assert instances.coarse is not None
    rois, alphas, refined = configuration.refiner.refine(
        image,
        instances.boxes,
        instances.coarse,
        passes=settings.refine_passes,
        budget_ms=settings.refine_budget_ms,
    )
    masks = [
        without_crumbs((alpha >= settings.mask_threshold).astype(np.uint8), settings.min_part)
        for alpha in alphas
    ]
    rois, masks = trim_to_masks(rois, masks)
    timings = instances.timings | {'refine': 1e3 * (time.perf_counter() - started)}
    return replace(instances, rois=rois, masks=masks, refined=refined, timings=timings)


def _merged(
    whole: Instances, tiles: list[tuple[Region, Instances]], max_instances: int
) -> Instances:
    if not tiles:
        return whole
    merged = merge_tiles(whole, tiles)[:max_instances]
    timings = {
        stage: whole.timings[stage] + sum(part.timings[stage] for _, part in tiles)
        for stage in whole.timings
    }
    return replace(merged, timings=timings)


def _load(kind: type[Segmenter], settings: dict[str, Any]) -> Segmenter:
    return kind(**settings)


def _check_live(names: Sequence[str]) -> None:
    for name in names:
        if name in _MODEL_NAMES:
            raise ValueError(f'{name}: {_AT_LOADING}')
    check_names(names, _LIVE)


def _check_attribute(name: str) -> None:
    if name in _MODEL_NAMES:
        raise AttributeError(f'{name}: {_AT_LOADING}')
    if not hasattr(Segmenter, name):
        similar = difflib.get_close_matches(name, [each.name for each in _LIVE], 1, 0.85)
        if similar:
            raise AttributeError(f'{name}: no such setting. Did you mean {similar[0]}?')


def _those_of(settings: Iterable[Any], given: dict[str, Any]) -> dict[str, Any]:
    return {each.name: given[each.name] for each in settings if each.name in given}


def _log_model(asked: str, name: str, engine: str, refiner: str) -> None:
    LOG.info('model %s in %s, refiner %s', name, engine, refiner)
    if hint := hint_at_coco(asked, name):
        LOG.info('%s', hint)
