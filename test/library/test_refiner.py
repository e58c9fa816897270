# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The learned refiner, on small networks whose results are known in advance."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from instance_seg_ros import ImageError, ModelError, Segmenter
from instance_seg_ros.refinement.refiner import MaskRefiner
from instance_seg_ros.refinement.smoother import MaskSmoother, context_rois

tiny = pytest.importorskip('tiny_refiners')

CELLS = 15
HALF = np.full((1, CELLS, CELLS), 0.5, np.float32)
NO_COARSE = np.zeros((1, CELLS, CELLS), np.float32)


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp('refiners')


@pytest.fixture(scope='module')
def unchanged(folder: Path) -> MaskRefiner:
    return MaskRefiner(tiny.unchanged(folder / 'unchanged.onnx'), num_threads=1)


@pytest.fixture(scope='module')
def counting(folder: Path) -> MaskRefiner:
    """One that adds .25 to the mask with each pass."""
    return MaskRefiner(tiny.counting(folder / 'counting.onnx', 0.25), num_threads=1)


@pytest.fixture(scope='module')
def red_things(folder: Path) -> MaskRefiner:
    return MaskRefiner(tiny.red_things(folder / 'red.onnx'), num_threads=1)


@pytest.fixture
def image() -> np.ndarray:
    """Gray, 320 x 240."""
    return np.full((240, 320, 3), 90, np.uint8)


def only(result: tuple) -> tuple[list[int], np.ndarray]:
    """Return the ROI and the mask of the only instance."""
    rois, alphas = result
    (alpha,) = alphas
    return rois[0].tolist(), alpha


def boxes_of(*boxes: list[float]) -> np.ndarray:
    return np.array(boxes, np.float32).reshape(-1, 4)


class TestWhatTheNetworkSees:
    def test_colours_are_rgb_and_edges_land_where_the_image_has_them(
        self, red_things: MaskRefiner, image: np.ndarray
    ) -> None:
        mask = np.zeros((240, 320), np.uint8)
        cv2.ellipse(mask, (150, 110), (80, 50), 20, 0, 360, 1, cv2.FILLED)
        image[mask > 0] = (0, 0, 255)
        image[200:, :] = (255, 0, 0)
        (x, y, w, h), alpha = only(red_things(image, boxes_of([70, 50, 230, 170]), HALF))
        found = np.zeros_like(mask)
        found[y : y + h, x : x + w] = alpha >= 0.5
        both, either = (found & mask).sum(), (found | mask).sum()
        assert both / either > 0.98

    @pytest.mark.parametrize(
        'box',
        [[100, 80, 170, 150], [40.3, 30.7, 250.2, 200.9], [-30, 20, 60, 130], [0, 0, 320, 240]],
    )
    def test_the_coarse_mask_lies_where_its_box_is(
        self, unchanged: MaskRefiner, image: np.ndarray, box: list[float]
    ) -> None:
        coarse = np.zeros((1, 28, 28), np.float32)
        coarse[:, :, 14:] = 1
        (x, y, w, h), alpha = only(unchanged(image, boxes_of(box), coarse))
        columns = x + np.flatnonzero(alpha[h // 2] >= 0.5)
        # Its right half, as far as it is in the image.
        assert columns[0] + 0.5 == pytest.approx((box[0] + box[2]) / 2, abs=1.6)
        assert columns[-1] + 0.5 == pytest.approx(min(box[2], 320), abs=1.6)
        rows = y + np.flatnonzero(
            alpha[:, np.clip(int(0.75 * box[2] + 0.25 * box[0]) - x, 0, w - 1)] >= 0.5
        )
        assert rows[0] + 0.5 == pytest.approx(max(box[1], 0), abs=1.6)
        assert rows[-1] + 0.5 == pytest.approx(min(box[3], 240), abs=1.6)

    def test_masks_outgrow_their_boxes(self, counting: MaskRefiner, image: np.ndarray) -> None:
        roi, alpha = only(counting(image, boxes_of([100, 80, 140, 120]), NO_COARSE))
        assert roi == [90, 70, 60, 60]
        np.testing.assert_allclose(alpha, 0.25, atol=1e-5)

    def test_views_of_an_image_are_like_the_image(
        self, red_things: MaskRefiner, photo: np.ndarray
    ) -> None:
        box = boxes_of([100, 10, 400, 500])
        expected = only(red_things(photo[:, ::-1].copy(), box, HALF))[1]
        view = photo[:, ::-1]
        view.flags.writeable = False
        np.testing.assert_array_equal(only(red_things(view, box, HALF))[1], expected)


class TestPasses:
    @pytest.mark.parametrize('side, passes', [(20, 1), (95, 1), (97, 2), (200, 2)])
    def test_a_second_pass_is_for_boxes_that_need_it(
        self, counting: MaskRefiner, image: np.ndarray, side: int, passes: int
    ) -> None:
        _, alpha = only(counting(image, boxes_of([10, 10, 10 + side, 40]), NO_COARSE))
        np.testing.assert_allclose(alpha, 0.25 * passes, atol=1e-5)

    def test_at_most_so_many_as_are_asked_for(
        self, counting: MaskRefiner, image: np.ndarray
    ) -> None:
        boxes, coarse = boxes_of([0, 0, 320, 240]), NO_COARSE
        for passes, value in ((1, 0.25), (2, 0.5), (8, 0.5)):
            (alpha,) = counting.refine(image, boxes, coarse, passes=passes).alphas
            np.testing.assert_allclose(alpha, value, atol=1e-5)

    def test_fewer_can_be_the_default(self, folder: Path, image: np.ndarray) -> None:
        refiner = MaskRefiner(tiny.counting(folder / 'one.onnx', 0.25), passes=1)
        _, alpha = only(refiner(image, boxes_of([0, 0, 320, 240]), NO_COARSE))
        np.testing.assert_allclose(alpha, 0.25, atol=1e-5)

    def test_they_are_those_of_the_model(self, folder: Path, image: np.ndarray) -> None:
        refiner = MaskRefiner(
            tiny.counting(
                folder / 'three.onnx',
                0.25,
                metadata={'passes': '32, 64,128', 'context': '0', 'version': 'x1'},
            )
        )
        assert refiner.traits.passes == (32, 64, 128) and refiner.traits.version == 'x1'
        # Without context the ROI is the box; boxes above 24 and 48 pixels are worth another pass.
        for side, passes in ((23, 1), (30, 2), (60, 3)):
            roi, alpha = only(refiner(image, boxes_of([8, 8, 8 + side, 20]), NO_COARSE))
            assert roi == [8, 8, side, 12]
            np.testing.assert_allclose(alpha, 0.25 * passes, atol=1e-5)

    def test_the_models_own_threshold_is_moved_to_a_half(
        self, folder: Path, image: np.ndarray
    ) -> None:
        refiner = MaskRefiner(tiny.unchanged(folder / 'third.onnx', metadata={'threshold': '0.3'}))
        for value in (0.25, 0.29, 0.31, 0.5, 1.0):
            (_, _, w, h), alpha = only(
                refiner(image, boxes_of([50, 50, 90, 90]), np.full((1, 9, 9), value, np.float32))
            )
            assert (alpha[h // 2, w // 2] >= 0.5) == (value >= 0.3)


class TestFinerPass:
    """It is made about the object that the pass before has found, not over all of the context."""

    BOX = (20.0, 20.0, 260.0, 220.0)

    def alphas(self, folder: Path, image: np.ndarray, coarse: np.ndarray) -> list[np.ndarray]:
        refiner = MaskRefiner(tiny.counting(folder / 'window.onnx', 0.05))
        refined = [refiner.refine(image, boxes_of(self.BOX), coarse, passes=n) for n in (1, 2)]
        return [next(iter(result.alphas)) for result in refined]

    def test_it_leaves_what_is_far_from_the_object(self, folder: Path, image: np.ndarray) -> None:
        coarse = np.zeros((1, CELLS, CELLS), np.float32)
        coarse[0, 6:9, 6:9] = 0.9
        once, twice = self.alphas(folder, image, coarse)
        changed = twice - once > 0.02
        assert changed[once > 0.3].all()  # the object, where 1 is not reached yet
        assert not changed[:20].any() and not changed[:, :20].any()
        assert changed.mean() < 0.5

    def test_without_an_object_it_looks_everywhere(self, folder: Path, image: np.ndarray) -> None:
        once, twice = self.alphas(folder, image, np.zeros((1, CELLS, CELLS), np.float32))
        np.testing.assert_allclose(twice - once, 0.05, atol=1e-5)


class TestBudget:
    def test_without_end_all_are_refined(self, counting: MaskRefiner, image: np.ndarray) -> None:
        boxes = boxes_of(*[[10, 10, 200, 200]] * 5)
        refined = counting.refine(image, boxes, np.repeat(NO_COARSE, 5, 0)).refined
        assert refined.dtype == bool and refined.tolist() == [True] * 5

    def test_without_time_the_smoother_does_it(
        self, counting: MaskRefiner, photo: np.ndarray
    ) -> None:
        boxes = boxes_of([100, 50, 300, 400], [200, 200, 260, 280])
        coarse = np.random.default_rng(0).random((2, CELLS, CELLS), np.float32)
        rois, alphas, refined = counting.refine(photo, boxes, coarse, budget_ms=0.001)
        assert refined.tolist() == [False, False]
        smooth_rois, smooth_alphas = MaskSmoother()(photo, boxes, coarse)
        np.testing.assert_array_equal(rois, smooth_rois)
        for alpha, expected in zip(alphas, smooth_alphas, strict=True):
            np.testing.assert_array_equal(alpha, expected)

    def test_little_time_goes_to_first_passes_and_to_the_best_scores(
        self, folder: Path, image: np.ndarray
    ) -> None:
        # Slow, so that the machine's hiccups count for little.
        slow = MaskRefiner(tiny.counting(folder / 'slow.onnx', 0.25, work=4), num_threads=1)
        count = 24
        boxes, coarse = boxes_of(*[[10, 10, 200, 200]] * count), np.repeat(NO_COARSE, count, 0)
        started = time.perf_counter()
        list(slow.refine(image, boxes[:2], coarse[:2], passes=1).alphas)
        two = 1e3 * (time.perf_counter() - started)
        _, alphas, refined = slow.refine(image, boxes, coarse, budget_ms=2.5 * two + 2 * count)
        assert refined.any() and not refined.all()
        assert (np.diff(refined.astype(int)) <= 0).all()  # the first ones
        for alpha, by_network in zip(alphas, refined, strict=True):
            np.testing.assert_allclose(alpha, 0.25 if by_network else 0, atol=1e-5)


class TestBadInput:
    @pytest.mark.parametrize(
        'box',
        [
            [-100, -100, -50, -50],
            [400, 300, 500, 400],
            [-1e6, 20, -1e5, 40],  # outside
            [50, 50, 50, 90],
            [50, 50, 90, 50],
            [70, 70, 70, 70],
            [320, 240, 320, 240],  # empty
            [90, 90, 50, 50],
        ],
    )
    def test_an_empty_or_outside_box_is_left_without_a_mask(
        self, counting: MaskRefiner, image: np.ndarray, box: list[float]
    ) -> None:
        rois, alphas, refined = counting.refine(image, boxes_of(box), np.ones_like(NO_COARSE))
        (x, y, w, h), (alpha,) = rois[0].tolist(), list(alphas)
        assert x >= 0 and y >= 0 and w > 0 and h > 0 and x + w <= 320 and y + h <= 240
        assert alpha.shape == (h, w) and not alpha.any() and not refined[0]

    @pytest.mark.parametrize(
        'box',
        [
            [0, 0, 320, 240],
            [-500, -400, 900, 800],
            [-3, -3, 20, 20],
            [310, 230, 320, 240],
            [100, 100, 100.5, 100.5],
            [0, 119, 320, 121],
            [319.5, 0, 320, 240],
            [-1e9, -1e9, 1e9, 1e9],
            [-3e38, -3e38, 3e38, 3e38],
        ],
    )
    @pytest.mark.filterwarnings('error')
    def test_touching_and_oversized_boxes_are_refined_inside_the_image(
        self, counting: MaskRefiner, image: np.ndarray, box: list[float]
    ) -> None:
        rois, alphas, refined = counting.refine(image, boxes_of(box), HALF)
        (x, y, w, h), (alpha,) = rois[0].tolist(), list(alphas)
        assert x >= 0 and y >= 0 and w > 0 and h > 0 and x + w <= 320 and y + h <= 240
        assert alpha.shape == (h, w) and alpha.dtype == np.float32
        assert np.isfinite(alpha).all() and alpha.max() > 0.3 and refined[0]

    @pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
    def test_a_coarse_mask_that_is_not_finite_is_left_as_it_is(
        self, counting: MaskRefiner, image: np.ndarray, bad: float
    ) -> None:
        coarse = np.repeat(HALF, 2, 0)
        coarse[0] = 1
        coarse[0, :, :9] = bad
        boxes = boxes_of([40, 40, 85, 85], [100, 100, 150, 150])
        rois, alphas, refined = counting.refine(image, boxes, coarse)
        assert refined.tolist() == [False, True]
        alpha = next(iter(alphas))
        columns = rois[0, 0] + np.flatnonzero(alpha[len(alpha) // 2] >= 0.5)
        assert (columns[0], columns[-1]) == pytest.approx((40 + 27, 84), abs=2)

    @pytest.mark.parametrize(
        'boxes, coarse, problem',
        [
            (boxes_of([0, 0, 9, 9]), HALF * 500, 'coarse ranges from 250 to 250: expected probab'),
            (boxes_of([0, 0, 9, 9]), HALF - 1, 'coarse ranges from -0.5'),
            (boxes_of([0, 0, 9, 9]), HALF[0], r'coarse has the shape \(15, 15\)'),
            (boxes_of([0, 0, 9, 9]), HALF[:, :9], r'coarse has the shape \(1, 9, 15\)'),
            (boxes_of([0, 0, 9, 9], [1, 1, 5, 5]), HALF, r'expected \(2, S, S\)'),
            (boxes_of([0, 0, 9, 9])[0], HALF, r'boxes has the shape \(4,\)'),
            (boxes_of([0, 0, np.nan, 9]), HALF, 'boxes: row 0 is .*nan'),
            (boxes_of([0, 0, np.inf, 9]), HALF, 'boxes: row 0 is .*inf'),
        ],
    )
    def test_what_cannot_be_meant_is_reported(
        self,
        counting: MaskRefiner,
        image: np.ndarray,
        boxes: np.ndarray,
        coarse: np.ndarray,
        problem: str,
    ) -> None:
        with pytest.raises(ValueError, match=problem):
            counting(image, boxes, coarse)

    @pytest.mark.parametrize(
        'limits', [{'passes': -1}, {'budget_ms': -5.0}, {'budget_ms': float('nan')}]
    )
    def test_limits_below_zero_are_reported(
        self, counting: MaskRefiner, image: np.ndarray, limits: dict[str, float]
    ) -> None:
        with pytest.raises(ValueError, match='expected 0 or more'):
            counting.refine(image, boxes_of([0, 0, 9, 9]), HALF, **limits)

    @pytest.mark.parametrize(
        'image, problem',
        [
            (None, 'image is a NoneType'),
            (np.zeros((240, 320), np.uint8), r'\(240, 320\).*COLOR_GRAY2BGR'),
            (np.zeros((240, 320, 1), np.uint8), r'\(240, 320, 1\): expected \(H, W, 3\)'),
            (np.zeros((240, 320, 4), np.uint8), r'\(240, 320, 4\)'),
            (np.zeros((240, 320, 3), np.float32), 'image is of the type float32'),
            (np.zeros((0, 320, 3), np.uint8), 'image is 320x0 pixels'),
        ],
    )
    def test_another_image_is_refused(
        self, counting: MaskRefiner, image: object, problem: str
    ) -> None:
        with pytest.raises(ImageError, match=problem):
            counting(image, boxes_of([0, 0, 9, 9]), HALF)

    def test_no_instance_needs_no_work(self, counting: MaskRefiner, image: np.ndarray) -> None:
        rois, alphas = counting(image, boxes_of(), np.zeros((0, CELLS, CELLS), np.float32))
        assert rois.shape == (0, 4) and list(alphas) == []

    @pytest.mark.parametrize('shape', [(1, 1), (1, 300), (300, 1)])
    def test_an_image_of_one_pixel_a_side(
        self, counting: MaskRefiner, shape: tuple[int, int]
    ) -> None:
        roi, alpha = only(
            counting(np.zeros((*shape, 3), np.uint8), boxes_of([0, 0, shape[1], shape[0]]), HALF)
        )
        assert roi == [0, 0, shape[1], shape[0]] and alpha.shape == shape
        assert alpha.min() >= 0.75 - 1e-5


class TestFiles:
    @pytest.mark.parametrize(
        'content, problem',
        [
            (None, 'No such file.*Expected an ONNX file'),
            (b'', 'cannot load it'),
            (b'version https://git-lfs.github.com/spec/v1\noid sha256:00\n', 'git-LFS pointer'),
            (b'<!DOCTYPE html><html></html>', 'web page'),
            (bytes(range(256)) * 40, 'cannot load it'),
        ],
    )
    def test_what_is_not_onnx(self, tmp_path: Path, content: bytes | None, problem: str) -> None:
        path = tmp_path / 'refiner.onnx'
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ModelError, match=f'^refiner {path}: .*{problem}'):
            MaskRefiner(path)

    def test_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match='Is a directory'):
            MaskRefiner(tmp_path)

    def test_half_a_file(self, tmp_path: Path) -> None:
        path = tiny.counting(tmp_path / 'half.onnx', 0.25, work=1)
        path.write_bytes(path.read_bytes()[:3000])
        with pytest.raises(ModelError, match='cannot load it'):
            MaskRefiner(path)

    @pytest.mark.parametrize(
        'inputs, output, problem',
        [
            (
                {'image': ['n', 3, 'h', 'w'], 'mask': ['n', 1, 'h', 'w']},
                'alpha',
                'inputs image, mask .*expected image and coarse, and alpha',
            ),
            ({'coarse': ['n', 1, 'h', 'w']}, 'alpha', 'inputs coarse '),
            ({'image': ['n', 3, 'h', 'w'], 'coarse': ['n', 1, 'h', 'w']}, 'out', 'outputs out'),
            (
                {'image': ['n', 3, 'h', 'w'], 'coarse': ['n', 'h', 'w']},
                'alpha',
                r"coarse is .*\['n', 'h', 'w'\]: expected tensor\(float\) \[n, 1, h, w\]",
            ),
            (
                {'image': ['n', 'h', 'w', 3], 'coarse': ['n', 1, 'h', 'w']},
                'alpha',
                'fails at 128x128 pixels',
            ),
            (
                {'image': ['n', 1, 'h', 'w'], 'coarse': ['n', 1, 'h', 'w']},
                'alpha',
                r'image is .*expected tensor\(float\) \[n, 3, h, w\]',
            ),
            (
                {'image': ['n', 3, 64, 64], 'coarse': ['n', 1, 64, 64]},
                'alpha',
                'fails at 128x128 pixels.*Expected free n, h and w',
            ),
        ],
    )
    def test_another_interface(
        self, tmp_path: Path, inputs: dict[str, list], output: str, problem: str
    ) -> None:
        shape = inputs.get('coarse', inputs.get('mask'))
        source = 'coarse' if 'coarse' in inputs else 'mask'
        path = tiny.write_refiner(
            tmp_path / 'foreign.onnx',
            [tiny.onnx.helper.make_node('Identity', [source], [output])],
            inputs=inputs,
            output=(output, shape),
        )
        with pytest.raises(ModelError, match=f'^refiner {path}: .*(?:{problem})'):
            MaskRefiner(path)

    def test_other_numbers(self, tmp_path: Path) -> None:
        path = tiny.unchanged(tmp_path / 'doubles.onnx', element_type=tiny.onnx.TensorProto.DOUBLE)
        with pytest.raises(ModelError, match=r'image is tensor\(double\)'):
            MaskRefiner(path)

    def test_logits_in_place_of_probabilities(self, tmp_path: Path) -> None:
        path = tiny.write_refiner(
            tmp_path / 'logits.onnx', [tiny.onnx.helper.make_node('Log', ['coarse'], ['alpha'])]
        )
        with pytest.raises(ModelError, match='alpha is .*from -0.693.*probabilities'):
            MaskRefiner(path)

    @pytest.mark.parametrize(
        'key, value, expected',
        [
            ('context', 'much', 'a number from 0 to 2'),
            ('context', '-0.5', 'a number from 0 to 2'),
            ('passes', '100', 'a multiple of 16'),
            ('passes', '', 'sides in pixels'),
            ('passes', '128;256', 'sides in pixels'),
            ('passes', '0', 'sides in pixels'),
            ('threshold', 'nan', 'a number from 0.01 to 0.99'),
        ],
    )
    def test_metadata_that_makes_no_sense(
        self, tmp_path: Path, key: str, value: str, expected: str
    ) -> None:
        path = tiny.unchanged(tmp_path / 'refiner.onnx', metadata={key: value})
        with pytest.raises(ModelError, match=f'says {key} {value!r}: expected .*{expected}'):
            MaskRefiner(path)

    def test_a_provider_that_this_onnxruntime_lacks(self, tmp_path: Path) -> None:
        path = tiny.unchanged(tmp_path / 'refiner.onnx')
        with pytest.raises(ModelError, match='NoExecutionProvider: .*only .*CPUExecutionProvider'):
            MaskRefiner(path, providers=['NoExecutionProvider'])
        for wrong in ('CPUExecutionProvider', []):
            with pytest.raises(ValueError, match='expected a list of names'):
                MaskRefiner(path, providers=wrong)
        assert MaskRefiner(path).provider == 'CPUExecutionProvider'

    def test_a_missing_provider_is_told_once_and_the_next_one_used(
        self, tmp_path: Path, photo: np.ndarray, caplog: pytest.LogCaptureFixture
    ) -> None:
        path = tiny.unchanged(tmp_path / 'refiner.onnx')
        refiner = MaskRefiner(path, providers=['CUDAExecutionProvider', 'CPUExecutionProvider'])
        box = np.array([[10, 10, 200, 200]], np.float32)
        for _ in range(2):
            refiner(photo, box, np.full((1, 15, 15), 0.5, np.float32))
        (message,) = caplog.messages
        assert 'CUDAExecutionProvider' in message and 'runs on CPUExecutionProvider now' in message
        assert refiner.provider == 'CPUExecutionProvider'


def test_threads_that_share_a_refiner_get_correct_results(
    red_things: MaskRefiner, photo: np.ndarray
) -> None:
    boxes = [boxes_of([x, 20, x + 150, 400]) for x in range(0, 320, 40)]
    expected = [only(red_things(photo, box, HALF))[1] for box in boxes]
    with ThreadPoolExecutor(4) as threads:
        for _ in range(3):
            found = threads.map(lambda box: only(red_things(photo, box, HALF))[1], boxes)
            for alpha, alone in zip(found, expected, strict=True):
                np.testing.assert_array_equal(alpha, alone)


class TestSegmenter:
    @pytest.fixture
    def path(self, folder: Path) -> Path:
        return tiny.counting(folder / 'segmenter.onnx', 0.25)

    def test_a_refiner_by_its_path(self, small_model: Path, photo: np.ndarray, path: Path) -> None:
        segmenter = Segmenter(
            model=str(small_model),
            refiner=str(path),
            confidence_threshold=0.3,
            mask_threshold=0.99,
            min_part=0.0,
        )
        found = segmenter(photo)
        assert segmenter.refiner == str(path)
        assert len(found) > 3 and found.refined.all()
        rois, alphas = MaskRefiner(path)(photo, found.boxes, found.coarse)
        for i, ((x, y, w, h), alpha) in enumerate(zip(rois.tolist(), alphas, strict=True)):
            expected = np.zeros(photo.shape[:2], bool)
            expected[y : y + h, x : x + w] = alpha >= 0.99
            np.testing.assert_array_equal(found.full_mask(i), expected)
        assert not segmenter(photo, masks=False).refined.any()

    def test_passes_and_budget_change_between_frames(
        self, small_model: Path, photo: np.ndarray, path: Path
    ) -> None:
        segmenter = Segmenter(
            model=str(small_model), refiner=str(path), confidence_threshold=0.3, mask_threshold=0.45
        )
        boxes = segmenter(photo).boxes
        surroundings = context_rois(boxes, *photo.shape[:2])[:, 2:].prod(1)

        def all_is_inside() -> list[bool]:
            areas = [int(mask.sum()) for mask in segmenter(photo).masks]
            return (areas == surroundings).tolist()

        # Two passes add .5 everywhere, also outside the boxes.
        large = (boxes[:, 2:] - boxes[:, :2]).max(1) > 96
        assert large.any()
        assert all_is_inside() == large.tolist()
        segmenter.refine_passes = 1
        assert not any(all_is_inside())
        segmenter.refine_budget_ms = 0.001
        found = segmenter(photo)
        assert len(found) > 3 and not found.refined.any()
        segmenter.update(refine_budget_ms=0, refine_passes=2)
        assert segmenter(photo).refined.all()

    @pytest.mark.parametrize(
        'name, value',
        [
            ('refine_passes', 0),
            ('refine_passes', 1.5),
            ('refine_budget_ms', -1),
            ('refine_budget_ms', float('nan')),
            ('refine_budget_ms', '5'),
        ],
    )
    def test_a_value_out_of_range_names_itself(
        self, segmenter: Segmenter, name: str, value: object
    ) -> None:
        with pytest.raises(ValueError, match=f'^{name} is {value!r}'):
            segmenter.update(**{name: value})

    def test_a_broken_refiner_leaves_the_one_in_use(
        self, small_model: Path, path: Path, tmp_path: Path
    ) -> None:
        segmenter = Segmenter(model=str(small_model), refiner=str(path))
        (tmp_path / 'broken.onnx').write_bytes(b'no')
        with pytest.raises(ModelError, match='broken.onnx'):
            segmenter.update(refiner=str(tmp_path / 'broken.onnx'), nms_threshold=0.2)
        assert segmenter.refiner == str(path) and segmenter.nms_threshold == 0.4


class TestInstalledRefiner:
    @pytest.fixture
    def models(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A folder that is looked through before that of the package."""
        monkeypatch.setenv('INSTANCE_SEG_ROS_MODELS', str(tmp_path))
        return tmp_path

    @pytest.mark.parametrize('name', ['gan', 'auto'])
    def test_it_is_found_by_name(
        self, small_model: Path, models: Path, photo: np.ndarray, name: str
    ) -> None:
        tiny.counting(models / 'mask_refiner.onnx', 0.25)
        segmenter = Segmenter(
            model=str(small_model), refiner=name, confidence_threshold=0.3, mask_threshold=0.2
        )
        assert segmenter.refiner == 'gan'
        assert all(mask.all() for mask in segmenter(photo).masks)

    def test_a_file_that_is_not_the_recorded_one(self, small_model: Path, models: Path) -> None:
        path = tiny.counting(models / 'mask_refiner.onnx', 0.25)
        digest = subprocess.run(
            ['sha256sum', path.name], cwd=models, capture_output=True, check=True
        ).stdout
        (models / 'mask_refiner.onnx.sha256').write_bytes(digest)
        assert Segmenter(model=str(small_model), refiner='gan').refiner == 'gan'
        tiny.counting(path, 0.125)
        for name in ('gan', 'auto'):
            with pytest.raises(ModelError, match='mask_refiner.onnx: its SHA256 is .*on record'):
                Segmenter(model=str(small_model), refiner=name)
        # It is a file like another, if it is given by its path.
        assert Segmenter(model=str(small_model), refiner=str(path)).refiner == str(path)
        (models / 'mask_refiner.onnx.sha256').write_text('<html>')
        with pytest.raises(ModelError, match='expected a line of sha256sum'):
            Segmenter(model=str(small_model), refiner='gan')

    def test_without_onnxruntime_auto_is_smooth_and_gan_says_what_to_install(
        self, small_model: Path, models: Path, tmp_path: Path
    ) -> None:
        tiny.counting(models / 'mask_refiner.onnx', 0.25)
        code = """
import sys

class Finder:
    def __init__(self, inner): self._inner = inner
    def find_spec(self, name, path=None, target=None):
        return None if name == 'onnxruntime' else self._inner.find_spec(name, path, target)

sys.meta_path[:] = [Finder(finder) for finder in sys.meta_path]
from instance_seg_ros import Segmenter
print(Segmenter(model=sys.argv[1]).refiner)
try:
    Segmenter(model=sys.argv[1], refiner='gan')
except RuntimeError as error:
    print(error)
"""
        done = subprocess.run(
            [sys.executable, '-c', code, str(small_model)],
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
        )
        used, error = done.stdout.splitlines()
        assert used == 'smooth'
        assert 'pip install onnxruntime' in error
