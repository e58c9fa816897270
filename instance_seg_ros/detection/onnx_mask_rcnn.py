# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Mask R-CNN in onnxruntime, in the three parts that docs/models.md describes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.detection.detections import ROW, Detections
from instance_seg_ros.detection.nms import suppress
from instance_seg_ros.detection.onnx_convert import REGION_INPUTS, OnnxParts
from instance_seg_ros.detection.text_graph import SCORE_FLOOR
from instance_seg_ros.errors import ModelError
from instance_seg_ros.onnx_sessions import Sessions
from instance_seg_ros.settings import AUTO, BF16, CPU_PROVIDER, F32, OPENVINO_PROVIDER

PARTS = OnnxParts.NAMES
# With this many regions, the output of a layer stays in the cache until the next layer reads it.
_REGIONS_AT_ONCE = 25
# Not the masks: OpenVINO 2025.4 made all those of one model 0.5.
_IN_BF16 = 'proposals', 'boxes'
_WARM_UP_SIZE = (192, 256)
_INPUTS = {
    'proposals': ({'image'}, set()),
    'boxes': ({'features', 'regions'}, {'region_scores'}),
    'masks': (set(), {'features', 'regions', 'region_features', 'class_ids'}),
}
_OUTPUTS = {
    'proposals': {'features', 'proposals'},
    'boxes': {'scores', 'boxes'},
    'masks': {'masks'},
}


class OnnxMaskRcnn:
    """The network, in parts. Threads may share it.

    Args:
        files: path or bytes of each part, by the names in ``PARTS``; see docs/models.md.
        name: what messages call the model.
        proposals: regions that the first stage hands on, if the part's own number is larger.
        num_threads: of onnxruntime, 0 for all cores.
        providers: onnxruntime's execution providers, the preferred one first; see Sessions.
        low_memory: give the memory of an image back when it is done; slower.
        precision: that of the files, or bf16, which OpenVINO's provider makes of f32.

    Attributes:
        num_classes: foreground classes.
        mask_size: side of a mask.

    Raises:
        ModelError: onnxruntime is not installed, no provider works, or a file is not such a part.

    """

    def __init__(
        self,
        files: Mapping[str, Path | bytes],
        name: str,
        proposals: int | None = None,
        num_threads: int = 0,
        providers: Sequence[str] = (CPU_PROVIDER,),
        low_memory: bool = False,
        precision: str = F32,
    ) -> None:
        self._name, self._proposals, self._precision = name, proposals, precision
        bf16 = _IN_BF16 if precision == BF16 else ()
        self._sessions = Sessions(files, name, num_threads, providers, low_memory, bf16)
        self._check_interface()
        inputs = self._sessions.inputs('boxes')
        self._region_inputs = [name for name in REGION_INPUTS if name in inputs]
        metadata = self._sessions.metadata('boxes')
        self._nms_threshold = self._number(metadata, 'nms_threshold', 0.6)
        self._max_detections = int(self._number(metadata, 'max_detections', 100))
        self._times: dict[str, dict[str, float]] | None = None
        try:
            self.num_classes, self.mask_size = self._warm_up()
        except ModelError as error:
            raise ModelError(
                f'{error}. That was a first run of all parts: are the files of the same model?'
            ) from None

    @property
    def engine(self) -> str:
        """Name of the engine, with the execution provider that it runs on."""
        precision = '' if self._precision in (AUTO, F32) else f', {self._precision}'
        return f'onnxruntime ({self._sessions.provider}{precision})'

    def detect(self, image_bgr: NDArray[np.uint8]) -> Detections:
        """Find boxes in an image.

        Args:
            image_bgr: uint8 (H, W, 3); the network sees it at this size.

        Raises:
            ModelError: onnxruntime fails, and there is no other provider.

        """
        proposals, features = self._propose(image_bgr)
        used = [array[: self._proposals] for array in proposals]
        return Detections(self._rows(*self._boxes(features, used)), features)

    def masks(self, detections: Detections, keep: NDArray[np.intp]) -> NDArray[np.float32]:
        """Mask probabilities of some detections, each for its own class.

        Args:
            detections: of :meth:`detect`.
            keep: their positions, int (K,).

        Returns:
            float32 (K, M, M) over each box, M being ``mask_size``.

        Raises:
            ModelError: onnxruntime fails, and there is no other provider.

        """
        if len(keep) == 0:
            return np.zeros((0, self.mask_size, self.mask_size), np.float32)
        regions, class_ids = detections.rows[keep, 3:], detections.class_ids[keep]
        masks = np.concatenate(
            [
                self._masks(detections.features, some, ids)
                for some, ids in self._portions(regions, class_ids)
            ]
        )
        return masks[np.arange(len(keep)), class_ids if masks.shape[1] > 1 else 0]

    @contextlib.contextmanager
    def layer_times(self) -> Iterator[dict[str, dict[str, float]]]:
        """Sum up milliseconds by layer of ``proposals``, ``boxes``, ``masks`` in the block.

        Every part runs a second time, for its times.
        """
        self._times = {part: {} for part in PARTS}
        try:
            yield self._times
        finally:
            self._times = None

    # ---- parts
    def _propose(self, image_bgr: NDArray[np.uint8]) -> tuple[list[NDArray[Any]], Any]:
        """Return what the part of the boxes reads of all proposals, and the features."""
        blob = cv2.dnn.blobFromImage(image_bgr, swapRB=True, crop=False)
        wanted = [REGION_INPUTS[name] for name in self._region_inputs]
        *proposals, features = self._run('proposals', {'image': blob}, wanted, ['features'])
        return proposals, features

    def _boxes(
        self, features: Any, proposals: Sequence[NDArray[Any]]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        portions = [
            self._run('boxes', self._region_feed(features, *some), ['scores', 'boxes'])
            for some in self._portions(*proposals)
        ]
        scores, boxes = (np.concatenate(arrays) for arrays in zip(*portions, strict=True))
        return scores, boxes

    def _masks(
        self, features: Any, regions: NDArray[np.float32], class_ids: NDArray[np.int32]
    ) -> NDArray[np.float32]:
        feed = {'features': features, 'regions': regions}
        wanted = self._sessions.inputs('masks')
        if 'region_features' in wanted:
            # Scores do not change the features, but the part cannot run without them.
            scored = self._region_feed(features, regions, np.ones(len(regions), np.float32))
            (feed['region_features'],) = self._run(
                'boxes', scored, [], ['region_features'], 'masks'
            )
        feed['class_ids'] = class_ids.astype(np.int64)
        (masks,) = self._run('masks', {name: feed[name] for name in wanted}, ['masks'])
        return np.asarray(masks, np.float32)

    def _region_feed(self, features: Any, *regions: NDArray[Any]) -> dict[str, Any]:
        """Return what the part of the boxes reads, of regions (n, 4) and their scores (n,)."""
        return {'features': features, **dict(zip(self._region_inputs, regions, strict=False))}

    def _portions(self, *arrays: NDArray[Any]) -> list[tuple[NDArray[Any], ...]]:
        """Return arrays of the same length in portions."""
        on_processor = self._sessions.provider in (CPU_PROVIDER, OPENVINO_PROVIDER)
        rows = max(len(arrays[0]), 1)
        count = _REGIONS_AT_ONCE if on_processor else rows
        return [
            tuple(array[start : start + count] for array in arrays)
            for start in range(0, rows, count)
        ]

    def _run(
        self,
        part: str,
        feed: dict[str, Any],
        arrays: Sequence[str],
        on_device: Sequence[str] = (),
        stage: str = '',
    ) -> list[Any]:
        if self._times is not None:
            times = self._times[stage or part]
            for layer, milliseconds in self._sessions.layer_times(part, feed).items():
                times[layer] = times.get(layer, 0.0) + milliseconds
        return self._sessions.run(part, feed, arrays, on_device)

    def _rows(self, scores: NDArray[np.float32], boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return rows as Detections has them, of scores (P, classes) and boxes (P, ..., 4)."""
        regions, class_ids = np.nonzero(scores > SCORE_FLOOR)
        found = scores[regions, class_ids]
        order = np.argsort(-found, kind='stable')
        regions, class_ids, found = regions[order], class_ids[order], found[order]
        chosen = boxes[regions, class_ids if boxes.shape[1] > 1 else 0]
        kept = suppress(chosen, class_ids, self._nms_threshold)[: self._max_detections]
        rows = np.zeros((len(kept), ROW), np.float32)
        rows[:, 1], rows[:, 2], rows[:, 3:] = class_ids[kept], found[kept], chosen[kept]
        return rows[(rows[:, 5] > rows[:, 3]) & (rows[:, 6] > rows[:, 4])]

    # ---- checks
    def _check_interface(self) -> None:
        for part in PARTS:
            needed, allowed = _INPUTS[part]
            inputs, outputs = self._sessions.inputs(part), self._sessions.outputs(part)
            fits = needed <= set(inputs) <= needed | allowed and set(inputs)
            lacking = _OUTPUTS[part] - set(outputs)
            if not fits or lacking:
                raise ModelError(
                    f'{self._name}: its part {part} has the inputs {", ".join(inputs)} and the '
                    f'outputs {", ".join(outputs)}: expected '
                    f'{", ".join(sorted(needed or allowed))} and '
                    f'{", ".join(sorted(_OUTPUTS[part]))}; see docs/models.md'
                )
        given = self._sessions.outputs('boxes')
        proposed = self._sessions.outputs('proposals')
        if 'region_scores' in self._sessions.inputs('boxes') and 'proposal_scores' not in proposed:
            raise ModelError(
                f'{self._name}: its part boxes reads region_scores, and its part proposals has no '
                'output proposal_scores'
            )
        if 'region_features' in self._sessions.inputs('masks') and 'region_features' not in given:
            raise ModelError(
                f'{self._name}: its part masks reads region_features, which is not among the '
                'outputs of its part boxes'
            )

    def _warm_up(self) -> tuple[int, int]:
        """Run all parts once; return the number of classes and the side of a mask."""
        height, width = _WARM_UP_SIZE
        image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
        proposals, features = self._propose(image)
        self._check('proposals', proposals[0], (None, 4))
        for scores in proposals[1:]:
            self._check('proposal_scores', scores, (len(proposals[0]),))
        region = np.array([[0.25, 0.25, 0.75, 0.75]], np.float32)
        scores, boxes = self._boxes(features, [region, np.ones(1, np.float32)][: len(proposals)])
        self._check('scores', scores, (1, None))
        classes = scores.shape[1]
        self._check('boxes', boxes, (1, classes if boxes.shape[1:2] != (1,) else 1, 4))
        masks = self._masks(features, region, np.zeros(1, np.int32))
        side = masks.shape[-1]
        self._check('masks', masks, (1, classes if masks.shape[1:2] != (1,) else 1, side, side))
        return classes, side

    def _check(self, output: str, array: NDArray[Any], expected: tuple[int | None, ...]) -> None:
        fits = array.ndim == len(expected) and all(
            side == wanted or wanted is None
            for side, wanted in zip(array.shape, expected, strict=True)
        )
        if not fits:
            sides = ', '.join('n' if side is None else str(side) for side in expected)
            raise ModelError(
                f'{self._name}: its output {output} has the shape {array.shape}, expected ({sides})'
            )
        if not np.isfinite(array).all():
            raise ModelError(
                f'{self._name}: its output {output} is not finite; the weights are corrupted. '
                'Download or export the model again'
            )

    def _number(self, metadata: dict[str, str], key: str, default: float) -> float:
        try:
            value = float(metadata.get(key, default))
        except ValueError:
            value = -1.0
        if not value > 0:
            raise ModelError(
                f'{self._name}: the metadata of its part boxes say {key} {metadata[key]!r}: '
                'expected a number above 0'
            )
        return value


__all__ = ['PARTS', 'OnnxMaskRcnn']
