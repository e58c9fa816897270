# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The container of a frame's instances."""

from dataclasses import replace

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from instance_seg_ros import Instances

HEIGHT, WIDTH = 40, 60


@pytest.fixture
def three() -> Instances:
    """Three instances; the first two overlap in the columns 15 to 19 of the rows 10 to 19."""
    rois = np.array([[10, 10, 10, 10], [15, 5, 20, 15], [50, 30, 10, 10]], np.int32)
    masks = [np.ones((h, w), np.uint8) for _, _, w, h in rois]
    masks[2] = np.eye(10, dtype=np.uint8)
    boxes = np.concatenate([rois[:, :2], rois[:, :2] + rois[:, 2:]], 1).astype(np.float32)
    return Instances(
        boxes,
        np.array([0.9, 0.8, 0.7], np.float32),
        np.array([0, 12, 0], np.int32),
        ['person', 'stop sign', 'person'],
        rois,
        masks,
        np.array([True, False, True]),
        (HEIGHT, WIDTH),
        np.arange(3 * 4, dtype=np.float32).reshape(3, 2, 2),
    )


def assert_rows(part: Instances, whole: Instances, rows: list[int]) -> None:
    assert len(part) == len(rows)
    assert part.image_size == whole.image_size
    for name in ('boxes', 'scores', 'class_ids', 'rois', 'refined', 'coarse'):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[rows])
    assert part.class_names == [whole.class_names[i] for i in rows]
    for mask, i in zip(part.masks, rows, strict=True):
        np.testing.assert_array_equal(mask, whole.masks[i])


@pytest.mark.parametrize(
    'index, rows',
    [
        (1, [1]),
        (-1, [2]),
        (np.int64(2), [2]),
        (slice(1, None), [1, 2]),
        (slice(None, None, -1), [2, 1, 0]),
        (np.array([True, False, True]), [0, 2]),
        (np.array([False, False, False]), []),
        (np.array([2, 0]), [2, 0]),
        ([1, 1], [1, 1]),
        ([], []),
    ],
)
def test_every_array_is_indexed_alike(three: Instances, index, rows) -> None:
    assert_rows(three[index], three, rows)


@pytest.mark.parametrize('index', [3, -4, np.array([True, False])])
def test_an_index_that_does_not_fit_is_an_error(three: Instances, index) -> None:
    with pytest.raises(IndexError):
        three[index]


def test_iteration_gives_each_instance(three: Instances) -> None:
    assert [one.class_names for one in three] == [['person'], ['stop sign'], ['person']]


def test_indexing_without_masks_stays_without(three: Instances) -> None:
    three.masks = three.coarse = None
    assert three[1:].masks is None
    assert three[1:].coarse is None


def test_full_mask_lies_where_the_roi_says(three: Instances) -> None:
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[30:40, 50:60] = np.eye(10)
    np.testing.assert_array_equal(three.full_mask(2), expected)
    assert three.full_mask(2).dtype == np.uint8


def test_label_image_has_the_best_score_on_top(three: Instances) -> None:
    labels = three.label_image()
    assert labels.shape == (HEIGHT, WIDTH) and labels.dtype == np.uint16
    assert (labels[10:20, 10:20] == 1).all()  # its overlap with the second included
    assert (labels[5:10, 15:35] == 2).all()
    assert labels[30, 50] == 3 and labels[30, 51] == 0
    assert (labels == 0).sum() == HEIGHT * WIDTH - 100 - (300 - 50) - 10


def test_cutout_is_transparent_outside_the_mask(three: Instances) -> None:
    image = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    cutout = three.cutout(image, 2)
    assert cutout.shape == (10, 10, 4)
    np.testing.assert_array_equal(cutout[:, :, :3], image[30:40, 50:60])
    np.testing.assert_array_equal(cutout[:, :, 3], 255 * np.eye(10))


@pytest.mark.parametrize('shape', [(20, 30, 3), (HEIGHT, WIDTH), (HEIGHT, WIDTH, 4)])
def test_cutout_of_another_image_is_an_error(three: Instances, shape) -> None:
    with pytest.raises(ValueError, match=r'shape .*expected \(40, 60, 3\)'):
        three.cutout(np.zeros(shape, np.uint8), 0)


@pytest.mark.parametrize(
    'roi',
    [
        (0, 0, 1, 1),
        (59, 39, 1, 1),
        (0, 0, 60, 40),
        (0, 39, 60, 1),
        (59, 0, 1, 40),
        (7, 5, 20, 11),
        (7, 5, 0, 0),
        (0, 0, 0, 40),
    ],
)
@pytest.mark.parametrize('pattern', ['full', 'empty', 'noise'])
def test_coco_masks_are_those_of_pycocotools(
    three: Instances, roi: tuple[int, int, int, int], pattern: str
) -> None:
    noise = np.random.default_rng(0).integers(0, 2, roi[:1:-1], np.uint8)
    one = three[0]
    one.rois = np.array([roi], np.int32)
    one.masks = [{'full': noise * 0 + 1, 'empty': noise * 0, 'noise': noise}[pattern]]
    expected = coco_mask.encode(np.asfortranarray(one.full_mask(0)))
    (result,) = one.to_coco()
    assert result['segmentation']['counts'] == expected['counts'].decode()
    assert result['segmentation']['size'] == [HEIGHT, WIDTH]


def test_coco_results_are_what_pycocotools_reads(three: Instances) -> None:
    results = three.to_coco(image_id=7)
    assert [r['category_id'] for r in results] == [0, 12, 0]
    assert {r['image_id'] for r in results} == {7}
    assert results[1]['bbox'] == [15, 5, 20, 15]
    assert results[1]['score'] == pytest.approx(0.8)
    for i, result in enumerate(results):
        assert isinstance(result['segmentation']['counts'], str)
        np.testing.assert_array_equal(coco_mask.decode(result['segmentation']), three.full_mask(i))


def test_coco_results_with_cocos_own_category_ids(three: Instances) -> None:
    assert [r['category_id'] for r in three.to_coco(category_ids={0: 1, 12: 13})] == [1, 13, 1]


def test_coco_results_without_masks_have_no_segmentation(three: Instances) -> None:
    three.masks = None
    assert ['segmentation' in r for r in three.to_coco()] == [False] * 3


def test_without_masks_the_reason_is_named(three: Instances) -> None:
    three.masks = None
    for use in (
        lambda: three.full_mask(0),
        three.label_image,
        lambda: three.cutout(np.zeros((HEIGHT, WIDTH, 3), np.uint8), 0),
    ):
        with pytest.raises(ValueError, match='masks=False'):
            use()


def test_no_instance_at_all_is_valid_everywhere() -> None:
    empty = Instances.empty((HEIGHT, WIDTH))
    assert len(empty) == 0 and list(empty) == [] and empty.to_coco() == []
    assert empty.boxes.shape == (0, 4) and empty.rois.shape == (0, 4)
    assert not empty.label_image().any()
    assert empty.label_image().shape == (HEIGHT, WIDTH)
    for index in (slice(None), np.zeros(0, bool), []):
        assert len(empty[index]) == 0


def test_arrays_that_are_not_parallel_are_an_error(three: Instances) -> None:
    with pytest.raises(ValueError, match='scores has 2 rows, boxes has 3'):
        Instances(
            three.boxes,
            three.scores[:2],
            three.class_ids,
            three.class_names,
            three.rois,
            three.masks,
            three.refined,
            three.image_size,
        )


def test_arrays_with_more_rows_are_an_error(three: Instances) -> None:
    with pytest.raises(ValueError, match='track_ids has 4 rows, boxes has 3'):
        replace(three, track_ids=np.arange(1, 5))


def test_times_and_track_ids_go_with_the_instances(three: Instances) -> None:
    assert 'track_id' not in three.to_coco()[0]
    three.track_ids = np.array([7, 4, 9])
    three.timings = {'detect': 3.0}
    part = three[[2, 0]]
    assert part.track_ids.tolist() == [9, 7] and part.timings == {'detect': 3.0}
    assert [row['track_id'] for row in part.to_coco()] == [9, 7]
