# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Tiles: objects that seams cut, objects that are seen twice, small objects of real photos."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from instance_seg_ros import Segmenter
from instance_seg_ros.instances import Instances
from instance_seg_ros.regions import Region, apply_ignore_mask
from instance_seg_ros.tiling import make_tiles, merge_tiles, parse_grid

PHOTOS = Path(__file__).resolve().parents[2] / 'demo' / 'photos'


def found(
    image_size: tuple[int, int], *things: tuple[tuple[int, int, int, int], float], class_id: int = 0
) -> Instances:
    """Return instances that fill their boxes x, y, width, height."""
    rois = np.array([box for box, _ in things], np.int32).reshape(-1, 4)
    boxes = np.concatenate([rois[:, :2], rois[:, :2] + rois[:, 2:]], 1).astype(np.float32)
    count = len(things)
    return Instances(
        boxes,
        np.array([score for _, score in things], np.float32),
        np.full(count, class_id, np.int32),
        ['thing'] * count,
        rois,
        [np.ones((h, w), np.uint8) for _, _, w, h in rois.tolist()],
        np.zeros(count, bool),
        image_size,
    )


@pytest.mark.parametrize('text', ['', '0x1', '2', '2x', '9x9', 'axb', '2x2x2', '-1x2'])
def test_a_wrong_grid_is_named(text: str) -> None:
    with pytest.raises(ValueError, match='tiles is .*expected columns x rows'):
        parse_grid(text)


@pytest.mark.parametrize('grid', [(1, 1), (2, 1), (2, 2), (3, 4), (8, 8)])
@pytest.mark.parametrize('size', [(480, 640), (35, 1000), (34, 34), (36, 36), (1081, 1919)])
def test_tiles_cover_the_image_and_overlap(grid: tuple[int, int], size: tuple[int, int]) -> None:
    seen = np.zeros(size, int)
    tiles = make_tiles(grid, size, 34)
    for tile in tiles:
        view = tile.view(seen)
        assert view.shape == (tile.height, tile.width) and min(view.shape) >= 34
        view += 1
    assert len({(tile.x, tile.y) for tile in tiles}) == len(tiles)
    if tiles:
        assert seen.min() >= 1 and seen.max() > seen.min()


def test_an_object_in_two_tiles_is_one() -> None:
    size = (100, 200)
    left, right = Region(0, 0, 120, 100), Region(80, 0, 120, 100)
    merged = merge_tiles(
        found(size),
        [
            (left, found((100, 120), ((90, 10, 20, 20), 0.8))),
            (right, found((100, 120), ((10, 10, 20, 20), 0.9))),
        ],
    )
    assert merged.boxes.tolist() == [[90, 10, 110, 30]]
    assert merged.scores.tolist() == pytest.approx([0.9])


def test_the_parts_of_an_object_on_a_seam_become_one_mask() -> None:
    size = (100, 200)
    left, right = Region(0, 0, 120, 100), Region(80, 0, 120, 100)
    merged = merge_tiles(
        found(size),
        [
            (left, found((100, 120), ((60, 10, 60, 20), 0.8))),
            (right, found((100, 120), ((0, 10, 60, 20), 0.7))),
        ],
    )
    assert merged.boxes.tolist() == [[60, 10, 140, 30]]
    assert merged.full_mask(0).sum() == 80 * 20


def test_the_whole_object_goes_before_its_parts() -> None:
    size = (100, 200)
    merged = merge_tiles(
        found(size, ((60, 10, 80, 20), 0.6)),
        [(Region(0, 0, 120, 100), found((100, 120), ((60, 10, 60, 20), 0.9)))],
    )
    assert merged.boxes.tolist() == [[60, 10, 140, 30]]


def test_neighbours_and_other_classes_stay_apart() -> None:
    size = (100, 200)
    tile = Region(0, 0, 120, 100)
    whole = found(size, ((10, 10, 20, 20), 0.9))
    neighbour = found((100, 120), ((31, 10, 20, 20), 0.8))
    other = found((100, 120), ((10, 10, 20, 20), 0.7), class_id=1)
    merged = merge_tiles(whole, [(tile, neighbour), (tile, other)])
    assert merged.class_ids.tolist() == [0, 0, 1]


def test_nothing_in_nothing_is_nothing() -> None:
    assert len(merge_tiles(found((50, 50)), [(Region(0, 0, 50, 50), found((50, 50)))])) == 0


@pytest.fixture(scope='module')
def small_person() -> np.ndarray:
    """Return a large image with a small photo of a person in it."""
    photo = cv2.imread(str(PHOTOS / 'astronaut.jpg'))
    image = np.full((1200, 1600, 3), 110, np.uint8)
    image[20:180, 30:190] = cv2.resize(photo, (160, 160), interpolation=cv2.INTER_AREA)
    return image


def test_tiles_find_what_is_too_small_for_the_whole_image(small_person: np.ndarray) -> None:
    segmenter = Segmenter(model='person_mask_rcnn', refiner='none')
    assert len(segmenter(small_person)) == 0
    segmenter.tiles = '3x3'
    instances = segmenter(small_person)
    assert instances.class_names == ['person']
    x1, y1, x2, y2 = instances.boxes[0]
    assert 30 <= x1 < x2 <= 190 and 20 <= y1 < y2 <= 180
    mask = instances.full_mask(0)
    assert mask[20:180, 30:190].sum() == mask.sum() > 2000


def test_tiles_without_masks(small_person: np.ndarray) -> None:
    segmenter = Segmenter(model='person_mask_rcnn', tiles='3x3')
    instances = segmenter(small_person, masks=False)
    assert instances.class_names == ['person'] and instances.masks is None


@pytest.mark.parametrize('masks', [False, True])
def test_tiles_find_no_more_than_is_wanted(masks: bool) -> None:
    photo = cv2.imread(str(PHOTOS / 'astronaut.jpg'))
    segmenter = Segmenter(tiles='3x3', max_instances=2, refiner='none', confidence_threshold=0.1)
    assert segmenter.detect(photo).tiles
    assert len(segmenter(photo, masks=masks)) == 2


def test_a_mask_that_ignored_pixels_cut_has_a_roi_of_its_size() -> None:
    ignored = np.zeros((100, 120), bool)
    ignored[:, :30] = True
    instances = apply_ignore_mask(found((100, 120), ((20, 10, 40, 20), 0.9)), ignored)
    assert instances.rois.tolist() == [[30, 10, 30, 20]]
    assert [mask.shape for mask in instances.masks] == [(20, 30)]
    assert instances.boxes.tolist() == [[20, 10, 60, 30]]


def test_tiles_leave_a_large_object_as_it_is() -> None:
    photo = cv2.imread(str(PHOTOS / 'astronaut.jpg'))
    segmenter = Segmenter(model='person_mask_rcnn', refiner='none')
    before = segmenter(photo)
    segmenter.tiles = '2x2'
    after = segmenter(photo)
    assert after.boxes[0] == pytest.approx(before.boxes[0])
    assert np.array_equal(after.full_mask(0), before.full_mask(0))
