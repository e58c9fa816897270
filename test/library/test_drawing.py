# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What a user sees in a drawn frame."""

import itertools

import cv2
import numpy as np
import pytest

from instance_seg_ros import ImageError, Instances, draw_instances
from instance_seg_ros.caption_layout import place_captions
from instance_seg_ros.drawing import PALETTE, instance_colour


def ellipses(size: tuple[int, int], boxes: list[list[float]], name: str = 'person') -> Instances:
    """An elliptic instance in each box."""
    rois = np.array([[x1, y1, x2 - x1, y2 - y1] for x1, y1, x2, y2 in boxes], np.int32)
    rois = rois.reshape(-1, 4)
    masks = [
        cv2.ellipse(
            np.zeros((h, w), np.uint8), (w // 2, h // 2), (w // 2, h // 2), 0, 0, 360, 1, cv2.FILLED
        )
        for _, _, w, h in rois.tolist()
    ]
    count = len(boxes)
    return Instances(
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        scores=np.linspace(0.95, 0.55, count, dtype=np.float32),
        class_ids=np.zeros(count, np.int32),
        class_names=[name] * count,
        rois=rois,
        masks=masks,
        refined=np.zeros(count, bool),
        image_size=size,
    )


def mappings(instances: Instances) -> list[dict]:
    """The same as plain dictionaries with full masks."""
    return [
        {
            'bbox': tuple(instances.boxes[i]),
            'class_name': instances.class_names[i],
            'confidence': float(instances.scores[i]),
            'mask': instances.full_mask(i),
        }
        for i in range(len(instances))
    ]


def without_masks(instances: Instances) -> Instances:
    return Instances(
        instances.boxes,
        instances.scores,
        instances.class_ids,
        instances.class_names,
        instances.rois,
        None,
        instances.refined,
        instances.image_size,
    )


def changed(frame: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    return (frame != drawn).any(2)


def test_the_frame_itself_stays_as_it_is(photo: np.ndarray) -> None:
    before = photo.copy()
    drawn = draw_instances(photo, ellipses(photo.shape[:2], [[100, 100, 300, 400]]))
    assert np.array_equal(photo, before)
    assert drawn.shape == photo.shape and drawn.dtype == np.uint8
    assert changed(photo, drawn).any()


def test_nothing_found_draws_nothing(photo: np.ndarray) -> None:
    assert np.array_equal(draw_instances(photo, Instances.empty(photo.shape[:2])), photo)
    assert np.array_equal(draw_instances(photo, []), photo)


@pytest.mark.parametrize('alpha', [0.25, 0.5, 1.0])
def test_the_overlay_mixes_photo_and_colour_within_the_mask_alone(
    photo: np.ndarray, alpha: float
) -> None:
    instances = ellipses(photo.shape[:2], [[100, 100, 300, 400]])
    drawn = draw_instances(photo, instances, alpha)
    mask = instances.full_mask(0)
    deep_inside = cv2.erode(mask, np.ones((15, 15))) > 0
    expected = alpha * np.array(PALETTE[0]) + (1 - alpha) * photo[deep_inside]
    assert np.abs(drawn[deep_inside] - expected).max() <= 1
    near_the_box = np.zeros(mask.shape, bool)
    near_the_box[70:410, 90:310] = True
    assert not changed(photo, drawn)[~near_the_box].any()
    corner = np.s_[108:125, 108:125]  # in the box, outside the ellipse
    assert np.array_equal(drawn[corner], photo[corner])


def test_alpha_zero_leaves_the_inside_clear(photo: np.ndarray) -> None:
    drawn = draw_instances(photo, ellipses(photo.shape[:2], [[100, 100, 300, 400]]), 0)
    assert np.array_equal(drawn[200:300, 160:240], photo[200:300, 160:240])
    assert changed(photo, drawn).any()


def test_a_hole_in_a_mask_shows_the_photo(photo: np.ndarray) -> None:
    instances = ellipses(photo.shape[:2], [[100, 100, 300, 400]])
    cv2.circle(instances.masks[0], (100, 150), 40, 0, cv2.FILLED)
    drawn = draw_instances(photo, instances)
    assert np.array_equal(drawn[235:265, 185:215], photo[235:265, 185:215])


@pytest.mark.parametrize('brightness', [0, 128, 255])
@pytest.mark.parametrize('index', range(len(PALETTE)))
def test_the_outline_stands_out_from_any_background(index: int, brightness: int) -> None:
    frame = np.full((480, 640, 3), brightness, np.uint8)
    elsewhere, here = [500, 300, 620, 460], [200, 100, 440, 380]
    drawn = draw_instances(frame, ellipses((480, 640), [elsewhere] * index + [here]), alpha=0)
    edge = drawn[130:152, 225:245].reshape(-1, 3)  # of the ellipse; clear of box and label
    assert max(contrast(tuple(pixel), (brightness,) * 3) for pixel in edge) > 3


@pytest.mark.parametrize('index', range(len(PALETTE)))
def test_the_text_stands_out_from_its_plate(index: int) -> None:
    size = (1500, 2000)
    elsewhere, here = [1500, 900, 1900, 1400], [300, 300, 900, 900]
    frame = np.full((*size, 3), 77, np.uint8)
    drawn = draw_instances(frame, ellipses(size, [elsewhere] * index + [here]))
    above = drawn[200:296, 300:900]
    plate = (above == PALETTE[index]).all(2)
    row = int(plate.sum(1).argmax())  # the padding above or below the text
    width = int(np.flatnonzero(plate[row])[-1])
    inks = above[plate.any(1)][:, 3 : width - 3].reshape(-1, 3)
    assert max(contrast(tuple(ink), PALETTE[index]) for ink in np.unique(inks, axis=0)) > 4.5


def test_colours_near_each_other_differ_in_all_kinds_of_colour_vision() -> None:
    for deficiency in COLOUR_VISION.values():
        lab = simulated_lab(np.array(PALETTE), deficiency)
        for distance, least in ((1, 25), (2, 18), (3, 15)):
            assert np.linalg.norm(lab - np.roll(lab, distance, 0), axis=1).min() > least


def test_an_instance_keeps_its_colour(photo: np.ndarray) -> None:
    instances = ellipses(photo.shape[:2], [[20, 60, 200, 400], [260, 60, 480, 400]])
    both, first = draw_instances(photo, instances), draw_instances(photo, instances[:1])
    assert np.array_equal(both[:, :230], first[:, :230])
    assert not np.array_equal(both[200, 370], first[200, 370])


# ---- overlapping instances
def test_a_small_instance_lies_on_top_of_a_large_one_whatever_their_order(
    photo: np.ndarray,
) -> None:
    size = photo.shape[:2]
    large, small = [50, 50, 450, 450], [220, 220, 300, 300]
    for boxes, index in (([large, small], 1), ([small, large], 0)):
        drawn = draw_instances(photo, ellipses(size, boxes), alpha=1)
        assert tuple(drawn[260, 285]) == PALETTE[index]


def test_labels_of_instances_in_one_place_do_not_cover_each_other() -> None:
    boxes = [(200, 200, 400, 400)] * 6
    sizes = [(120, 20)] * 6
    places = place_captions(boxes, sizes, (480, 640))
    for i, (x, y) in enumerate(places):
        for other_x, other_y in places[:i]:
            assert abs(x - other_x) >= 120 or abs(y - other_y) >= 20


def test_labels_stay_inside_the_image() -> None:
    boxes = [(0, 0, 30, 30), (600, 0, 639, 40), (0, 450, 20, 479), (610, 470, 639, 479)]
    for (x, y), (w, h) in zip(
        place_captions(boxes, [(150, 24)] * 4, (480, 640)), [(150, 24)] * 4, strict=True
    ):
        assert 0 <= x <= 640 - w and 0 <= y <= 480 - h


def test_a_label_stands_on_its_box_where_there_is_room() -> None:
    assert place_captions([(100, 100, 300, 300)], [(80, 20)], (480, 640)) == [(100, 80)]


# ---- sizes
@pytest.mark.parametrize('size', [(48, 64), (480, 640), (3000, 4000), (2000, 100)])
def test_lines_and_text_suit_the_size_of_the_image(size: tuple[int, int]) -> None:
    height, width = size
    frame = np.full((*size, 3), 128, np.uint8)
    box = [width // 4, height // 2, width * 3 // 4, height * 9 // 10]
    drawn = draw_instances(frame, ellipses(size, [box]), alpha=0)
    share = changed(frame, drawn).mean()
    assert 0.005 < share < (0.5 if max(size) < 100 else 0.1)


def test_a_long_name_in_a_small_image_is_cut_and_the_confidence_stays(photo: np.ndarray) -> None:
    small = cv2.resize(photo, (64, 48))
    instances = ellipses((48, 64), [[10, 10, 50, 40]], 'a very long name of a class indeed')
    sure = draw_instances(small, instances)
    instances.scores[0] = 0.11
    assert changed(sure, draw_instances(small, instances)).any()


@pytest.mark.parametrize(
    'box',
    [[0, 0, 1, 1], [511, 511, 512, 512], [0, 0, 512, 512], [500, 0, 512, 512], [0, 300, 512, 301]],
)
def test_boxes_at_the_borders_and_of_one_pixel(photo: np.ndarray, box: list[float]) -> None:
    instances = ellipses(photo.shape[:2], [box])
    instances.masks[0][:] = 1
    drawn = draw_instances(photo, instances, alpha=1)
    x, y = int(box[0]), int(box[1])
    assert changed(photo, drawn)[max(0, y - 3) : y + 4, max(0, x - 3) : x + 4].any()


@pytest.mark.parametrize('size', [(1, 1), (1, 700), (700, 1), (34, 34)])
def test_even_the_smallest_frames_are_drawn(size: tuple[int, int]) -> None:
    frame = np.zeros((*size, 3), np.uint8)
    drawn = draw_instances(frame, ellipses(size, [[0, 0, size[1], size[0]]]))
    assert drawn.shape == frame.shape


def test_an_empty_mask_shows_its_box(photo: np.ndarray) -> None:
    instances = ellipses(photo.shape[:2], [[100, 100, 300, 400]])
    instances.masks[0][:] = 0
    drawn = draw_instances(photo, instances)
    assert changed(photo, drawn)[100, 150:250].all()


# ---- what is accepted
def test_the_box_is_drawn_around_the_mask_up_to_its_last_pixel() -> None:
    frame = np.zeros((150, 150, 3), np.uint8)  # so small that lines are one pixel wide
    drawn = draw_instances(frame, ellipses((150, 150), [[40, 50, 100, 120]]))
    assert tuple(drawn[119, 99]) == PALETTE[0] and tuple(drawn[118, 40]) == PALETTE[0]
    assert not drawn[120:].any() and not drawn[60:, 100:].any()


def test_without_masks_the_boxes_are_drawn(photo: np.ndarray) -> None:
    instances = ellipses(photo.shape[:2], [[100, 100, 300, 400]])
    drawn = draw_instances(photo, without_masks(instances))
    assert changed(photo, drawn)[100, 150:250].all()
    assert np.array_equal(drawn[110:390, 110:290], photo[110:390, 110:290])


def test_a_list_of_mappings_gives_the_same_picture(photo: np.ndarray) -> None:
    instances = ellipses(photo.shape[:2], [[100, 100, 300, 400], [200, 50, 500, 300]])
    assert np.array_equal(
        draw_instances(photo, mappings(instances)), draw_instances(photo, instances)
    )


def test_mappings_have_distances_too(photo: np.ndarray) -> None:
    instances = ellipses(photo.shape[:2], [[60, 100, 160, 300], [300, 100, 400, 300]])
    drawn = draw_instances(photo, mappings(instances), distances={1: 2.5})
    assert np.array_equal(drawn, draw_instances(photo, instances, distances={1: 2.5}))


def test_mappings_without_a_mask_and_with_a_boolean_one(photo: np.ndarray) -> None:
    instances = ellipses(photo.shape[:2], [[100, 100, 300, 400]])
    [item] = mappings(instances)
    as_booleans = draw_instances(photo, [{**item, 'mask': item['mask'].astype(bool)}])
    assert np.array_equal(as_booleans, draw_instances(photo, instances))
    no_mask = draw_instances(photo, [{**item, 'mask': None}])
    assert np.array_equal(no_mask, draw_instances(photo, without_masks(instances)))


def test_a_frame_that_cannot_be_written_to_is_fine(photo: np.ndarray) -> None:
    rgb_seen_as_bgr = photo[:, :, ::-1]  # neither contiguous nor writable
    rgb_seen_as_bgr.setflags(write=False)
    drawn = draw_instances(rgb_seen_as_bgr, ellipses(photo.shape[:2], [[100, 100, 300, 400]]))
    assert np.array_equal(drawn[:40], rgb_seen_as_bgr[:40])


@pytest.mark.parametrize(
    'frame',
    [
        None,
        'photo.jpg',
        np.zeros((40, 40), np.uint8),
        np.zeros((40, 40, 4), np.uint8),
        np.zeros((40, 40, 3), np.float32),
        np.zeros((40, 40, 3), np.uint16),
        np.zeros((0, 40, 3), np.uint8),
    ],
)
def test_another_frame_than_8_bit_bgr_is_refused(frame: object) -> None:
    with pytest.raises(ImageError, match='^frame .*expected '):
        draw_instances(frame, Instances.empty((40, 40)))


def test_instances_of_another_image_are_refused(photo: np.ndarray) -> None:
    instances = ellipses((480, 640), [[100, 100, 300, 400]])
    with pytest.raises(ImageError, match='512x512 pixels.* 640x480'):
        draw_instances(photo, instances)
    with pytest.raises(ImageError, match=r'mask of instance 0 .*\(480, 640\)'):
        draw_instances(photo, mappings(instances))


@pytest.mark.parametrize('alpha', [-0.1, 1.1, float('nan'), '0.5', None, True])
def test_an_opacity_out_of_range_is_refused(photo: np.ndarray, alpha: object) -> None:
    with pytest.raises(ValueError, match='alpha is .* 0 to 1'):
        draw_instances(photo, Instances.empty(photo.shape[:2]), alpha)


def test_what_is_neither_instances_nor_mappings_is_named(photo: np.ndarray) -> None:
    instances = ellipses(photo.shape[:2], [[100, 100, 300, 400]])
    with pytest.raises(TypeError, match='single mapping: expected a list'):
        draw_instances(photo, mappings(instances)[0])
    with pytest.raises(
        TypeError, match=r'instances\[0\] is of the type Instances: expected Instances as a'
    ):
        draw_instances(photo, list(instances))
    with pytest.raises(ValueError, match=r'instances\[0\] lacks mask: expected bbox'):
        draw_instances(photo, [{'bbox': (1, 1, 9, 9), 'class_name': 'a', 'confidence': 0.5}])


# ---- colours as people see them
def relative_luminance(bgr: tuple[int, int, int]) -> float:
    """As WCAG 2 defines it."""
    linear = [
        v / 255 / 12.92 if v / 255 <= 0.04045 else ((v / 255 + 0.055) / 1.055) ** 2.4 for v in bgr
    ]
    return 0.0722 * linear[0] + 0.7152 * linear[1] + 0.2126 * linear[2]


def contrast(one: tuple[int, int, int], other: tuple[int, int, int]) -> float:
    low, high = sorted((relative_luminance(one), relative_luminance(other)))
    return (high + 0.05) / (low + 0.05)


# Linear RGB to what people with one kind of cone missing see; Machado et al. 2009, severity 1.
COLOUR_VISION = {
    'normal': np.eye(3),
    'red-blind': np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    'green-blind': np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    'blue-blind': np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}


def simulated_lab(bgr: np.ndarray, deficiency: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of colours as they are seen."""
    rgb = bgr[:, ::-1] / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = (linear @ deficiency.T).clip(0, 1)
    seen = np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055)
    return cv2.cvtColor(seen[None].astype(np.float32), cv2.COLOR_RGB2Lab)[0]


def tracked(image: np.ndarray, boxes: list[list[int]], ids: list[int]) -> np.ndarray:
    instances = ellipses(image.shape[:2], boxes)
    instances.track_ids = np.array(ids, np.int64)
    return draw_instances(image, instances)


def test_the_colour_follows_the_track_id(photo: np.ndarray) -> None:
    left, right = [60, 100, 160, 300], [300, 100, 400, 300]
    one, other = tracked(photo, [left, right], [4, 7]), tracked(photo, [right, left], [7, 4])
    inside = np.s_[150:250, 90:130]  # of the left one
    assert np.array_equal(one[inside], other[inside])
    assert not np.array_equal(one[inside], tracked(photo, [left, right], [5, 7])[inside])


def test_id_and_distance_are_in_the_caption(photo: np.ndarray) -> None:
    boxes = [[60, 100, 260, 300]]
    instances = ellipses(photo.shape[:2], boxes)
    plain = draw_instances(photo, instances)
    for drawn in (
        tracked(photo, boxes, [1]),  # the colour of the first one, too
        draw_instances(photo, instances, distances={0: 2.5}),
    ):
        differs = changed(plain, drawn)
        assert differs.any() and not differs[105:].any()  # above the box


def test_a_drawn_colour_is_that_of_the_legend(photo: np.ndarray) -> None:
    boxes = [[60, 100, 160, 300], [300, 100, 400, 300]]
    instances = ellipses(photo.shape[:2], boxes)
    for ids in (None, np.array([1, 5])):
        instances.track_ids = ids
        drawn = draw_instances(photo, instances, alpha=1)
        for i, (x1, y1, x2, y2) in enumerate(boxes):
            inside = drawn[(y1 + y2) // 2, (x1 + x2) // 2]
            assert tuple(inside) == instance_colour(instances, i)
    assert [instance_colour(instances, i) for i in (0, 1)] == [PALETTE[0], PALETTE[4]]


def test_every_digit_of_a_caption_counts(photo: np.ndarray) -> None:
    instances = ellipses(photo.shape[:2], [[60, 100, 160, 300], [300, 100, 400, 300]])
    pictures = [
        draw_instances(photo, instances, distances=distances)
        for distances in ({}, {1: 2.6}, {1: 2.74}, {0: 2.6})
    ]
    instances.scores[1] = 0.56
    pictures.append(draw_instances(photo, instances))
    for one, other in itertools.combinations(pictures, 2):
        assert changed(one, other).any()
    # The distance of one says nothing of the other.
    assert not changed(pictures[0], pictures[1])[:, :250].any()
    assert not changed(pictures[0], pictures[3])[:, 290:].any()


@pytest.mark.parametrize(
    ('one', 'other'),
    [('Tür', 'T??r'), ('Tür', 'Tör'), ('人', '???'), ('人', '狗'), ('niño', 'ni??o'), ('я', 'я́')],
)
def test_names_beyond_ascii_are_not_alike(one: str, other: str, photo: np.ndarray) -> None:
    pictures = [
        draw_instances(photo, ellipses(photo.shape[:2], [[60, 100, 260, 300]], name=name))
        for name in (one, other)
    ]
    assert not np.array_equal(*pictures)


def test_names_beyond_ascii_stand_on_a_plate_inside_the_image() -> None:
    frame = np.full((60, 90, 3), 90, np.uint8)
    name = 'Außerordentlich große Tür des Hauses'
    drawn = draw_instances(frame, ellipses((60, 90), [[2, 2, 88, 58]], name=name))
    assert drawn.shape == frame.shape and changed(frame, drawn).any()
