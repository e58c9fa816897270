# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The pipeline as its users see it: images and settings in, instances or a clear error out."""

import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from random_models import SHEEP, STOP_SIGN

from instance_seg_ros import ImageError, Instances, ModelError, Segmenter


@pytest.fixture(scope='module')
def image(photo: np.ndarray) -> np.ndarray:
    return cv2.resize(photo, (320, 240))


def assert_same(actual: Instances, expected: Instances) -> None:
    for name in ('boxes', 'scores', 'class_ids', 'rois', 'refined', 'coarse'):
        np.testing.assert_array_equal(getattr(actual, name), getattr(expected, name))
    for one, other in zip(actual.masks, expected.masks, strict=True):
        np.testing.assert_array_equal(one, other)


class TestResults:
    def test_shapes_types_and_order(self, segmenter: Segmenter, image: np.ndarray) -> None:
        found = segmenter(image)
        count = len(found)
        assert count > 3
        assert found.image_size == (240, 320)
        assert found.boxes.shape == (count, 4) and found.boxes.dtype == np.float32
        assert found.scores.dtype == np.float32 and (np.diff(found.scores) <= 0).all()
        assert found.class_ids.dtype == np.int32
        assert found.rois.shape == (count, 4) and found.rois.dtype == np.int32
        assert (found.rois[:, :2] >= 0).all()
        assert (found.rois[:, :2] + found.rois[:, 2:] <= (320, 240)).all()
        assert not found.refined.any()
        for mask, (_, _, w, h) in zip(found.masks, found.rois, strict=True):
            # The roi is as large as the mask, whatever the refiner looked at.
            assert not mask.any() or all(
                edge.any() for edge in (mask[0], mask[-1], mask[:, 0], mask[:, -1])
            )
            assert mask.shape == (h, w) and mask.dtype == np.uint8 and mask.max() <= 1
        assert any(mask.any() and not mask.all() for mask in found.masks)

    def test_names_are_those_of_the_models_own_numbering(
        self, segmenter: Segmenter, image: np.ndarray
    ) -> None:
        found = segmenter(image)
        assert set(zip(found.class_ids.tolist(), found.class_names, strict=True)) == {
            (STOP_SIGN, 'stop sign'),
            (SHEEP, 'sheep'),
        }
        assert len(segmenter.class_names) == 80

    def test_the_same_image_gives_the_same_result(
        self, segmenter: Segmenter, image: np.ndarray
    ) -> None:
        first = segmenter(image)
        segmenter(np.zeros((100, 150, 3), np.uint8))
        assert_same(segmenter(image), first)

    def test_the_image_is_left_as_it_was(self, segmenter: Segmenter, image: np.ndarray) -> None:
        copy = image.copy()
        copy.flags.writeable = False
        segmenter(copy)
        np.testing.assert_array_equal(copy, image)

    def test_views_of_an_image_are_like_the_image(
        self, segmenter: Segmenter, image: np.ndarray
    ) -> None:
        with_alpha = cv2.cvtColor(image, cv2.COLOR_BGR2BGRA)
        assert_same(segmenter(with_alpha[:, :, :3]), segmenter(image))
        mirrored = image[:, ::-1]
        assert_same(segmenter(mirrored), segmenter(mirrored.copy()))
        rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        assert_same(segmenter(rgb[:, :, ::-1]), segmenter(image))

    def test_boxes_alone_are_the_same_boxes(self, segmenter: Segmenter, image: np.ndarray) -> None:
        whole, boxes = segmenter(image), segmenter(image, masks=False)
        assert boxes.masks is None and boxes.coarse is None
        np.testing.assert_array_equal(boxes.boxes, whole.boxes)
        np.testing.assert_array_equal(boxes.class_ids, whole.class_ids)

    def test_boxes_are_known_half_way(self, segmenter: Segmenter, image: np.ndarray) -> None:
        pending = segmenter.detect(image)
        boxes, instances = segmenter.without_masks(pending), segmenter.finish(pending)
        assert boxes.masks is None and instances.masks is not None
        for name in ('boxes', 'scores', 'class_ids'):
            np.testing.assert_array_equal(getattr(boxes, name), getattr(instances, name))

    @pytest.mark.parametrize('tiles', ['1x1', '2x1'])
    def test_several_configurations_finish_one_image(
        self, segmenter: Segmenter, image: np.ndarray, tiles: str
    ) -> None:
        segmenter.tiles = tiles
        configurations = [segmenter.prepare(refiner=name) for name in ('none', 'smooth')]
        results = segmenter.finish_each(segmenter.detect(image), configurations)
        for configuration, result in zip(configurations, results, strict=True):
            segmenter.apply(configuration)
            assert_same(result, segmenter(image))

    @pytest.mark.parametrize('refiner', ['none', 'smooth'])
    def test_nothing_found_is_an_empty_result(
        self, small_model: Path, image: np.ndarray, refiner: str
    ) -> None:
        segmenter = Segmenter(model=str(small_model), refiner=refiner, confidence_threshold=1.0)
        found = segmenter(image)
        assert len(found) == 0 and found.masks == []
        assert found.image_size == (240, 320)
        assert not found.label_image().any()
        assert len(segmenter(image, masks=False)) == 0

    def test_no_box_overlaps_a_better_one_of_its_class(
        self, segmenter: Segmenter, image: np.ndarray
    ) -> None:
        found = segmenter(image)
        for i, one in enumerate(found.boxes):
            for j in range(i):
                if found.class_ids[i] == found.class_ids[j]:
                    assert overlap(one, found.boxes[j]) <= 0.4 + 1e-4

    def test_boxes_of_different_classes_may_overlap(
        self, segmenter: Segmenter, image: np.ndarray
    ) -> None:
        segmenter.update(nms_threshold=0.05, confidence_threshold=0.01)
        found = segmenter(image, masks=False)
        assert any(
            overlap(found.boxes[i], found.boxes[j]) > 0.1
            for i in range(len(found))
            for j in range(i)
            if found.class_ids[i] != found.class_ids[j]
        )

    def test_a_low_threshold_shows_low_scores(
        self, segmenter: Segmenter, image: np.ndarray
    ) -> None:
        segmenter.update(confidence_threshold=0.01, nms_threshold=1.0)
        assert segmenter(image, masks=False).scores.min() < 0.29  # the published graph's own limit

    def test_a_result_has_the_times_of_its_stages(
        self, segmenter: Segmenter, image: np.ndarray
    ) -> None:
        started = time.perf_counter()
        timings = segmenter(image).timings
        elapsed = 1e3 * (time.perf_counter() - started)
        assert set(timings) == {'detect', 'masks', 'refine'}
        assert 0 < sum(timings.values()) <= elapsed


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two boxes."""
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    shared = np.prod(np.clip(high - low, 0, None))
    return shared / (np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - shared)


class TestLargeImages:
    def test_results_are_in_pixels_of_the_image_given(
        self, segmenter: Segmenter, image: np.ndarray
    ) -> None:
        segmenter.input_max_side = 320
        small = segmenter(image)
        large = segmenter(cv2.resize(image, (640, 480), interpolation=cv2.INTER_NEAREST))
        # Halving an image whose pixels were doubled gives the same image.
        np.testing.assert_allclose(large.boxes, 2 * small.boxes, atol=0.01)
        np.testing.assert_array_equal(large.class_ids, small.class_ids)
        assert large.image_size == (480, 640)
        assert large.label_image().shape == (480, 640)
        for k in range(len(small)):
            doubled = cv2.resize(small.full_mask(k), (640, 480), interpolation=cv2.INTER_NEAREST)
            assert (doubled != large.full_mask(k)).mean() < 0.02

    def test_the_models_own_size_is_the_limit(
        self, small_model: Path, image: np.ndarray, tmp_path: Path
    ) -> None:
        manifest = small_model.read_text().replace('model', str(small_model.with_name('model')))
        path = tmp_path / 'own.yaml'
        path.write_text(manifest + 'input_max_side: 160\n')
        limited = Segmenter(model=str(path), refiner='none', confidence_threshold=0.3)
        free = Segmenter(
            model=str(path), refiner='none', confidence_threshold=0.3, input_max_side=160
        )
        assert_same(limited(image), free(image))
        free.input_max_side = 320
        assert len(free(image)) != len(limited(image))

    def test_small_images_are_scaled_up_where_the_model_asks_for_it(
        self, small_model: Path, image: np.ndarray, tmp_path: Path
    ) -> None:
        manifest = small_model.read_text().replace('model', str(small_model.with_name('model')))
        path = tmp_path / 'own.yaml'
        path.write_text(manifest + 'input_max_side: 640\nmax_upscale: 1.5\n')
        height, width = image.shape[:2]
        larger = cv2.resize(image, (width * 3 // 2, height * 3 // 2))
        plain = Segmenter(model=str(small_model), refiner='none', confidence_threshold=0.3)
        upscaling = Segmenter(model=str(path), refiner='none', confidence_threshold=0.3)
        found, expected = upscaling(image), plain(larger)
        np.testing.assert_allclose(found.boxes, expected.boxes / 1.5, atol=0.01)
        np.testing.assert_array_equal(found.scores, expected.scores)
        assert found.image_size == image.shape[:2]
        # The limit comes first.
        upscaling.input_max_side = max(height, width)
        assert_same(upscaling(image), plain(image))

    def test_sides_are_multiples_where_the_model_asks_for_it(
        self, small_model: Path, image: np.ndarray, tmp_path: Path
    ) -> None:
        manifest = small_model.read_text().replace('model', str(small_model.with_name('model')))
        path = tmp_path / 'own.yaml'
        path.write_text(manifest + 'size_multiple: 64\n')
        odd = cv2.resize(image, (310, 250))
        plain = Segmenter(model=str(small_model), refiner='none', confidence_threshold=0.3)
        aligned = Segmenter(model=str(path), refiner='none', confidence_threshold=0.3)
        found, expected = aligned(odd), plain(cv2.resize(odd, (320, 256)))
        assert len(expected) > 0
        np.testing.assert_array_equal(found.scores, expected.scores)
        np.testing.assert_allclose(
            found.boxes, expected.boxes * (310 / 320, 250 / 256, 310 / 320, 250 / 256), atol=0.01
        )
        assert found.image_size == (250, 310)
        # Not rounded to nothing.
        assert aligned(cv2.resize(image, (400, 40))).image_size == (40, 400)

    def test_a_speed_preset_is_a_smaller_input_with_fewer_proposals(
        self, small_model: Path, image: np.ndarray, tmp_path: Path
    ) -> None:
        manifest = small_model.read_text().replace('model', str(small_model.with_name('model')))
        path = tmp_path / 'own.yaml'
        path.write_text(manifest + 'presets: {fast: {input_max_side: 160, proposals: 6}}\n')
        exact, fast = (
            Segmenter(
                model=str(path),
                refiner='none',
                speed_preset=preset,
                confidence_threshold=0.02,
                nms_threshold=1.0,
            )
            for preset in ('exact', 'fast')
        )
        assert 0 < len(fast(image)) < len(exact(image))
        # The same can be had by hand, and the setting goes before the preset.
        fast.input_max_side = 320
        path.write_text(manifest + 'proposals: 6\n')
        by_hand = Segmenter(
            model=str(path), refiner='none', confidence_threshold=0.02, nms_threshold=1.0
        )
        assert_same(fast(image), by_hand(image))
        with pytest.raises(ValueError, match="speed_preset is 'warp'"):
            Segmenter(model=str(path), speed_preset='warp')

    def test_the_network_sees_an_image_in_its_shape(self, segmenter: Segmenter) -> None:
        image = np.zeros((240, 480, 3), np.uint8)
        height, width = segmenter.network_image(image).shape[:2]
        assert width == 2 * height
        segmenter.input_max_side = 160
        assert segmenter.network_image(image).shape == (80, 160, 3)

    def test_a_large_image_is_shrunk_without_moire(self, segmenter: Segmenter) -> None:
        segmenter.input_max_side = 400
        board = 255 * (np.indices((1500, 1500)).sum(0) % 2).astype(np.uint8)
        assert segmenter.network_image(np.dstack([board] * 3)).std() < 40

    def test_48_megapixels_take_seconds_not_minutes(self, segmenter: Segmenter) -> None:
        image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
        image = cv2.resize(image, (8000, 6000))
        segmenter.update(input_max_side=320, max_instances=5)
        started = time.process_time()  # of all threads, whatever else the machine does
        found = segmenter(image)
        assert time.process_time() - started < 40
        assert found.image_size == (6000, 8000)
        assert len(found) == 5
        assert found.boxes[:, 2].max() > 4000


class TestSettings:
    def test_a_higher_threshold_keeps_the_better_scores(
        self, segmenter: Segmenter, image: np.ndarray
    ) -> None:
        before = segmenter(image)
        limit = float(before.scores[2])
        segmenter.confidence_threshold = limit
        assert segmenter(image).scores.tolist() == before.scores[before.scores >= limit].tolist()
        segmenter.confidence_threshold = 0.3
        assert_same(segmenter(image), before)

    def test_the_class_filter_changes_between_frames(
        self, segmenter: Segmenter, image: np.ndarray
    ) -> None:
        both = segmenter(image)
        segmenter.classes = ['sheep']
        assert set(segmenter(image).class_names) == {'sheep'}
        segmenter.update(classes=('person',))
        assert len(segmenter(image)) == 0
        segmenter.classes = []
        assert_same(segmenter(image), both)

    def test_the_mask_threshold_shrinks_masks(
        self, segmenter: Segmenter, image: np.ndarray
    ) -> None:
        segmenter.mask_threshold = 0.4
        low = [int(mask.sum()) for mask in segmenter(image).masks]
        segmenter.mask_threshold = 0.6
        high = [int(mask.sum()) for mask in segmenter(image).masks]
        assert sum(high) < sum(low)
        assert all(a <= b for a, b in zip(high, low, strict=True))

    def test_max_instances_keeps_the_best(self, segmenter: Segmenter, image: np.ndarray) -> None:
        all_of_them = segmenter(image)
        segmenter.max_instances = 2
        assert_same(segmenter(image), all_of_them[:2])

    def test_the_nms_threshold_lets_boxes_overlap(
        self, segmenter: Segmenter, image: np.ndarray
    ) -> None:
        counts = []
        for threshold in (0.1, 0.4, 0.9):
            segmenter.nms_threshold = threshold
            counts.append(len(segmenter(image)))
        assert counts[0] < counts[1] < counts[2]

    def test_update_is_all_or_nothing(self, segmenter: Segmenter) -> None:
        before = segmenter.settings
        for wrong in ({'nms_threshold': 2}, {'classes': ['sheeep']}, {'colour': 'red'}):
            with pytest.raises(ValueError):
                segmenter.update(confidence_threshold=0.9, **wrong)
            assert segmenter.settings == before
        segmenter.update(confidence_threshold=0.9, classes=['sheep'])
        assert (segmenter.confidence_threshold, segmenter.classes) == (0.9, ('sheep',))

    def test_the_refiner_changes_with_the_settings_or_not_at_all(
        self, segmenter: Segmenter, image: np.ndarray
    ) -> None:
        before = segmenter.settings, segmenter.refiner
        with pytest.raises(ValueError):
            segmenter.update(refiner='none', nms_threshold=2)
        with pytest.raises(ModelError):
            segmenter.update(refiner='/nowhere/refiner.onnx', nms_threshold=0.3)
        assert (segmenter.settings, segmenter.refiner) == before
        for refiner, refined in (('none', False), ('smooth', True)):
            segmenter.update(refiner=refiner, nms_threshold=0.3)
            assert (segmenter.refiner, segmenter.nms_threshold) == (refiner, 0.3)
            found = segmenter(image).refined
            assert len(found) > 0 and (found == refined).all()

    def test_what_is_prepared_changes_nothing_until_it_is_applied(
        self, segmenter: Segmenter
    ) -> None:
        before = segmenter.settings
        prepared = segmenter.prepare(confidence_threshold=0.9)
        assert segmenter.settings == before
        segmenter.apply(prepared)
        assert segmenter.confidence_threshold == 0.9

    @pytest.mark.parametrize(
        'name, value, problem',
        [
            ('confidence_threshold', 1.5, 'is 1.5: expected a number from 0 to 1'),
            ('confidence_threshold', float('nan'), 'is nan'),
            ('nms_threshold', -0.1, 'is -0.1'),
            ('mask_threshold', '0.5', "is '0.5'"),
            ('max_instances', 0, 'is 0: expected a whole number from 1'),
            ('max_instances', 2.5, 'is 2.5'),
            ('max_instances', True, 'is True'),
            ('input_max_side', 10, "is 10: .* or 0 for the model's own"),
            ('classes', 'person', "is 'person': expected a list of names"),
            ('classes', None, 'is None: expected a list of names'),
            ('classes', [1, 2], r'is \[1, 2\]: expected a list of names'),
            ('num_threads', -1, 'is -1'),
            ('parallel_nets', 0, 'is 0'),
            ('low_memory', 'yes', "is 'yes': expected True or False"),
        ],
    )
    def test_a_value_out_of_range_names_itself(
        self, small_model: Path, name: str, value: object, problem: str
    ) -> None:
        with pytest.raises(ValueError, match=f'^{name} {problem}'):
            Segmenter(model=str(small_model), **{name: value})

    def test_an_unknown_class_lists_close_ones(self, small_model: Path) -> None:
        with pytest.raises(ValueError, match="no class 'stopsign'; did you mean stop sign"):
            Segmenter(model=str(small_model), classes=['stopsign'])

    def test_an_unknown_setting_lists_the_known_ones(self, segmenter: Segmenter) -> None:
        with pytest.raises(ValueError, match='treshold: no such setting.*confidence_threshold'):
            segmenter.update(treshold=0.5)

    def test_refiners(self, small_model: Path, image: np.ndarray) -> None:
        smooth = Segmenter(model=str(small_model), refiner='smooth', confidence_threshold=0.3)
        found = smooth(image)
        assert smooth.refiner == 'smooth'
        assert len(found) > 3 and found.refined.all()
        for mask, (x, y, w, h) in zip(found.masks, found.rois, strict=True):
            assert mask.shape == (h, w)
            assert x >= 0 and y >= 0 and x + w <= 320 and y + h <= 240
        assert not smooth(image, masks=False).refined.any()

    def test_an_unknown_refiner(self, small_model: Path) -> None:
        with pytest.raises(ModelError, match="refiner 'smoth': expected auto, gan, smooth, none"):
            Segmenter(model=str(small_model), refiner='smoth')


class TestBadImages:
    @pytest.mark.parametrize(
        'image, problem',
        [
            (None, 'is a NoneType.*cv2.imread gives None'),
            ([[1, 2], [3, 4]], 'is a list: expected a numpy array'),
            (np.zeros((0, 0, 3), np.uint8), 'is 0x0 pixels'),
            (np.zeros((480, 0, 3), np.uint8), 'is 0x480 pixels'),
            (np.zeros((1, 1, 3), np.uint8), 'is 1x1 pixels: expected at least 34x34'),
            (np.zeros((33, 640, 3), np.uint8), 'is 640x33 pixels: expected at least 34x34'),
            (np.zeros((480, 640), np.uint8), r'\(480, 640\).*COLOR_GRAY2BGR'),
            (np.zeros((480, 640, 1), np.uint8), r'\(480, 640, 1\).*COLOR_GRAY2BGR'),
            (np.zeros((480, 640, 4), np.uint8), r'\(480, 640, 4\).*image\[:, :, :3\]'),
            (np.zeros((2, 480, 640, 3), np.uint8), r'\(2, 480, 640, 3\): expected \(H, W, 3\)'),
            (np.zeros((480, 640, 3), np.uint16), 'type uint16: expected uint8; scale it'),
            (np.zeros((480, 640, 3), np.float32), 'type float32: expected uint8; multiply'),
            (np.full((480, 640, 3), np.nan), 'type float64: expected uint8'),
            (np.zeros((480, 640, 3), bool), 'type bool: expected uint8'),
        ],
    )
    def test_each_says_what_it_is_and_what_to_do(
        self, segmenter: Segmenter, image: object, problem: str
    ) -> None:
        with pytest.raises(ImageError, match=f'^image .*{problem}|^image {problem}'):
            segmenter(image)

    def test_the_next_image_works(self, segmenter: Segmenter, image: np.ndarray) -> None:
        before = segmenter(image)
        with pytest.raises(ImageError):
            segmenter(None)
        assert_same(segmenter(image), before)

    def test_the_smallest_image_works(self, segmenter: Segmenter) -> None:
        assert segmenter(np.zeros((34, 34, 3), np.uint8)).image_size == (34, 34)

    def test_a_very_wide_image_works(self, segmenter: Segmenter) -> None:
        found = segmenter(np.full((40, 4000, 3), 99, np.uint8))
        assert (found.boxes <= (4000, 40, 4000, 40)).all()


def test_layer_times_tell_where_the_time_of_a_frame_goes(
    small_model: Path, image: np.ndarray
) -> None:
    segmenter = Segmenter(model=str(small_model), refiner='none', confidence_threshold=0.3)
    assert len(segmenter(image)) > 0
    started = time.perf_counter()
    times = segmenter.layer_times(image)
    elapsed = 1e3 * (time.perf_counter() - started)
    assert list(times) == ['proposals', 'boxes', 'masks']
    assert times['proposals']['Conv/Conv2D'] > 0
    # Both stages run this one.
    shared = 'SecondStageFeatureExtractor/InceptionV2/Mixed_5a/Branch_0/Conv2d_0a_1x1/Conv2D'
    assert times['boxes'][shared] > 0 and times['masks'][shared] > 0
    sums = {stage: sum(layers.values()) for stage, layers in times.items()}
    assert min(sums.values()) > 0
    assert sum(sums.values()) <= elapsed


def run_python(code: str, *arguments: str) -> str:
    """Run code in a process of its own; return what it prints."""
    done = subprocess.run(
        [sys.executable, '-c', code, *arguments],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=Path(__file__).parent,
    )  # not where the sources would shadow the installed package
    assert done.returncode == 0, f'exit code {done.returncode}: {done.stderr[-2000:]}'
    return done.stdout


@pytest.mark.parametrize('low_memory', [False, True])
@pytest.mark.parametrize('parallel_nets', [1, 2])
@pytest.mark.slow
def test_threads_that_share_a_segmenter_get_correct_results(
    small_model: Path, parallel_nets: int, low_memory: bool
) -> None:
    # One net in two threads would end the whole process, so this is one of its own.
    output = run_python(
        """
import sys, threading
import numpy as np
from instance_seg_ros import Segmenter

segmenter = Segmenter(model=sys.argv[1], refiner='smooth', confidence_threshold=0.3,
                      max_instances=10, parallel_nets=int(sys.argv[2]),
                      low_memory=sys.argv[3] == 'True')
images = [np.random.default_rng(i).integers(0, 256, (200 + 40 * i, 300, 3), np.uint8)
          for i in range(3)]
expected = [segmenter(image).label_image() for image in images]
wrong = []

def work(k):
    for _ in range(5):
        if not np.array_equal(segmenter(images[k]).label_image(), expected[k]):
            wrong.append(k)

threads = [threading.Thread(target=work, args=(k,)) for k in range(3)]
for thread in threads:
    thread.start()
for _ in range(20):
    segmenter.update(max_instances=10)
for thread in threads:
    thread.join()
print('wrong', wrong, sum(int(e.max()) for e in expected) > 0)
""",
        str(small_model),
        str(parallel_nets),
        str(low_memory),
    )
    assert output == 'wrong [] True\n'


@pytest.mark.slow
def test_low_memory_finds_the_same_with_less(half_size_model: Path, image: np.ndarray) -> None:
    code = """
import re, sys
import numpy as np
from instance_seg_ros import Segmenter
from instance_seg_ros.memory import return_freed_memory

return_freed_memory()
segmenter = Segmenter(model=sys.argv[1], refiner='none', confidence_threshold=0.02,
                      max_instances=5, low_memory=sys.argv[2] == 'low')
image = np.load(sys.argv[3])
segmenter(image)
found = segmenter(image)
np.savez(sys.argv[4], boxes=found.boxes, scores=found.scores, labels=found.label_image())
print(re.search(r'VmRSS:\\s+(\\d+)', open('/proc/self/status').read())[1])
"""
    folder = half_size_model.parent
    np.save(folder / 'image.npy', image)
    kilobytes, found = {}, {}
    for kind in ('usual', 'low'):
        result = folder / f'{kind}.npz'
        kilobytes[kind] = int(
            run_python(code, str(half_size_model), kind, str(folder / 'image.npy'), str(result))
        )
        found[kind] = np.load(result)
    assert kilobytes['low'] < kilobytes['usual'] - 35_000
    assert len(found['usual']['scores']) > 0
    np.testing.assert_allclose(found['low']['scores'], found['usual']['scores'], atol=1e-4)
    np.testing.assert_allclose(found['low']['boxes'], found['usual']['boxes'], atol=0.05)
    assert (found['low']['labels'] != found['usual']['labels']).mean() < 1e-3


class TestStream:
    @pytest.mark.parametrize('parallel_nets', [1, 2])
    @pytest.mark.slow
    def test_every_image_with_its_result_in_order(
        self, small_model: Path, parallel_nets: int
    ) -> None:
        segmenter = Segmenter(
            model=str(small_model),
            confidence_threshold=0.3,
            max_instances=8,
            parallel_nets=parallel_nets,
        )
        images = [
            np.random.default_rng(i).integers(0, 256, (100 + 20 * i, 150, 3), np.uint8)
            for i in range(5)
        ]
        streamed = list(segmenter.stream(iter(images)))
        assert len(streamed) == 5
        for image, (same_image, found) in zip(images, streamed, strict=True):
            assert same_image is image
            assert_same(found, segmenter(image))

    def test_a_stream_can_be_without_masks(self, segmenter: Segmenter, image: np.ndarray) -> None:
        for _, found in segmenter.stream([image, image], masks=False):
            assert len(found) and found.masks is None

    def test_the_next_image_is_taken_while_one_is_in_use(
        self, segmenter: Segmenter, image: np.ndarray
    ) -> None:
        taken = []

        def images():
            for number in range(4):
                taken.append(number)
                yield image

        stream = segmenter.stream(images())
        next(stream)
        assert taken == [0, 1]
        stream.close()
        assert taken == [0, 1]

    def test_a_bad_image_is_reported_in_its_turn(
        self, segmenter: Segmenter, image: np.ndarray
    ) -> None:
        stream = segmenter.stream([image, image[:, :, 0], image])
        next(stream)
        with pytest.raises(ImageError, match=r'expected \(H, W, 3\)'):
            next(stream)

    def test_nothing_of_no_images(self, segmenter: Segmenter) -> None:
        assert list(segmenter.stream([])) == []


def test_importing_the_package_imports_nothing_large() -> None:
    output = run_python("""
import sys
import instance_seg_ros
large = {'cv2', 'numpy', 'onnxruntime', 'rclpy', 'yaml', 'pycocotools'}
print(sorted(large & set(sys.modules)))
""")
    assert output == '[]\n'


def test_the_library_imports_no_ros_and_no_onnxruntime(small_model: Path) -> None:
    output = run_python(
        """
import sys
import numpy as np
from instance_seg_ros import Segmenter
Segmenter(model=sys.argv[1], refiner='smooth')(np.zeros((100, 100, 3), np.uint8))
print(sorted({'onnxruntime', 'rclpy', 'pycocotools'} & set(sys.modules)))
""",
        str(small_model),
    )
    assert output == '[]\n'
