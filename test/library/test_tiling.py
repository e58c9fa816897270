# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Tiles: objects that seams cut, objects that are seen twice, small objects of real photos."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from instance_seg_ros import ImageError, Segmenter
from instance_seg_ros.instances import Instances
from instance_seg_ros.regions import Region, apply_ignore_mask, read_ignore_mask
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


def test_the_tiles_of_a_grid_go_row_by_row() -> None:
    tiles = make_tiles(parse_grid('3x2'), (180, 260), 34)
    assert tiles == [Region(x, y, 100, 100) for y in (0, 80) for x in (0, 80, 160)]


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


@pytest.mark.parametrize('masks', [True, False])
@pytest.mark.parametrize('scores', [(0.8, 0.7), (0.7, 0.8)])
def test_parts_above_and_below_a_seam_become_one(scores: tuple[float, float], masks: bool) -> None:
    tiles = Region(0, 0, 100, 120), Region(0, 80, 100, 120)
    parts = [
        found((120, 100), ((10, y, 20, 60), score))
        for y, score in zip((60, 0), scores, strict=True)
    ]
    whole = found((200, 100))
    if not masks:
        parts, whole = [replace(each, masks=None) for each in parts], replace(whole, masks=None)
    merged = merge_tiles(whole, list(zip(tiles, parts, strict=True)))
    assert merged.boxes.tolist() == [[10, 60, 30, 140]]
    assert merged.rois.tolist() == [[10, 60, 20, 80]]
    assert merged.scores.tolist() == pytest.approx([0.8])
    if masks:
        assert merged.full_mask(0).sum() == merged.full_mask(0)[60:140, 10:30].sum() == 20 * 80


@pytest.mark.parametrize('scores', [(0.7, 0.9, 0.8), (0.9, 0.7, 0.8), (0.8, 0.7, 0.9)])
def test_an_object_over_three_tiles_is_one(scores: tuple[float, float, float]) -> None:
    tiles = make_tiles((3, 1), (100, 260), 34)
    assert [tile.x for tile in tiles] == [0, 80, 160]
    boxes = (90, 10, 10, 20), (10, 10, 90, 20), (0, 10, 30, 20)
    parts = [found((100, 100), each) for each in zip(boxes, scores, strict=True)]
    merged = merge_tiles(found((100, 260)), list(zip(tiles, parts, strict=True)))
    assert merged.boxes.tolist() == [[90, 10, 190, 30]]
    assert merged.scores.tolist() == pytest.approx([0.9])


def test_what_ends_at_the_edge_of_the_image_is_whole() -> None:
    left, right = Region(0, 0, 120, 100), Region(80, 0, 120, 100)
    merged = merge_tiles(
        found((100, 200)),
        [
            (left, found((100, 120), ((90, 0, 20, 40), 0.6))),
            (right, found((100, 120), ((0, 0, 30, 50), 0.9))),
        ],
    )
    assert merged.boxes.tolist() == [[90, 0, 110, 40]]


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


def test_what_overlaps_in_the_whole_image_stays_as_it_is_without_tiles() -> None:
    # The box of a child in that of an adult; the tile sees the adult only.
    adult, child = (10, 10, 60, 80), (20, 40, 20, 40)
    whole = replace(found((100, 200), (adult, 0.9), (child, 0.7)), masks=None)
    seen = replace(found((100, 120), (adult, 0.8)), masks=None)
    merged = merge_tiles(whole, [(Region(0, 0, 120, 100), seen)])
    assert merged.boxes.tolist() == whole.boxes.tolist()


def test_with_boxes_alone_neighbours_stay_apart() -> None:
    whole = replace(found((100, 200), ((10, 10, 20, 20), 0.9)), masks=None)
    neighbour = replace(found((100, 120), ((21, 10, 20, 20), 0.8)), masks=None)
    assert len(merge_tiles(whole, [(Region(0, 0, 120, 100), neighbour)])) == 2


def test_objects_whose_masks_do_not_touch_stay_apart() -> None:
    # Two triangles of one square, as two people who lean over each other.
    box = 10, 10, 20, 20
    whole, other = found((100, 200), (box, 0.9)), found((100, 120), (box, 0.8))
    whole.masks, other.masks = [np.triu(whole.masks[0], 1)], [np.tril(other.masks[0])]
    assert len(merge_tiles(whole, [(Region(0, 0, 120, 100), other)])) == 2


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


@pytest.mark.parametrize('masks', [True, False])
def test_what_lies_in_ignored_pixels_is_dropped(masks: bool) -> None:
    ignored = np.zeros((100, 120), bool)
    ignored[:, 60:] = True
    instances = found((100, 120), ((20, 10, 50, 20), 0.9), ((70, 10, 40, 20), 0.8))
    kept = apply_ignore_mask(instances if masks else replace(instances, masks=None), ignored)
    assert kept.boxes.tolist() == [[20, 10, 70, 30]]
    assert (kept.masks is not None) == masks


def test_a_box_beyond_the_edge_is_ignored_by_what_is_in_the_image() -> None:
    ignored = np.zeros((100, 120), bool)
    ignored[:, :10] = True
    instances = replace(found((100, 120), ((0, 10, 12, 20), 0.9)), masks=None)
    instances.boxes = np.array([[-5, 10, 12, 30]], np.float32)
    assert len(apply_ignore_mask(instances, ignored)) == 0


def test_an_ignore_mask_of_another_size_is_refused() -> None:
    with pytest.raises(ImageError, match='ignore mask is 100 x 120, the image 120 x 100'):
        apply_ignore_mask(found((100, 120)), np.zeros((120, 100), bool))


def test_all_but_black_pixels_of_an_ignore_mask_are_ignored(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / 'mask.png'), np.array([[0, 1, 255]], np.uint8))
    assert read_ignore_mask(tmp_path / 'mask.png').tolist() == [[False, True, True]]


def test_a_region_beyond_the_image_is_refused() -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    assert Region(50, 30, 10, 10).view(image).shape == (10, 10, 3)
    for region in (Region(51, 30, 10, 10), Region(50, 31, 10, 10)):
        with pytest.raises(ImageError, match='the image is 60 x 40: expected one that has the'):
            region.view(image)


def test_tiles_leave_a_large_object_as_it_is() -> None:
    photo = cv2.imread(str(PHOTOS / 'astronaut.jpg'))
    segmenter = Segmenter(model='person_mask_rcnn', refiner='none')
    before = segmenter(photo)
    segmenter.tiles = '2x2'
    after = segmenter(photo)
    assert after.boxes[0] == pytest.approx(before.boxes[0])
    assert np.array_equal(after.full_mask(0), before.full_mask(0))
