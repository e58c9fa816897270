# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What the detector of everyday things learns from photos that are labelled in part: on toy sets
whose right answers are known.
"""

from dataclasses import replace

import pytest

torch = pytest.importorskip('torch', reason='the trainer needs PyTorch')

from training.everyday.losses import (
    LossSettings,
    assign_anchors,
    assign_regions,
    compute_losses,
    second_stage_losses,
)
from training.everyday.network import EverydayConfig, EverydayNetwork
from training.everyday.views import ANY_CATEGORY, IGNORED, OBJECT, Labels, ViewSettings, make_views

CLASSES = 4
SETTINGS = LossSettings()


def labels(
    things: list[tuple[list[float], int, int]], known: list[bool], masks: bool = False
) -> Labels:
    """Labels of one image from (box, category, kind)."""
    boxes = torch.tensor([[thing[0] for thing in things]]).reshape(1, -1, 4)
    count = len(things)
    return Labels(
        boxes=boxes,
        whole=boxes.clone(),
        category=torch.tensor([[thing[1] for thing in things]]).reshape(1, count),
        kind=torch.tensor([[thing[2] for thing in things]]).reshape(1, count),
        weight=torch.ones(1, count),
        mask=torch.arange(count)[None] if masks else torch.full((1, count), -1),
        flipped=torch.zeros(1, count, dtype=torch.bool),
        known=torch.tensor([known]),
    )


CAT = [0.1, 0.1, 0.5, 0.5]
ELSEWHERE = [0.6, 0.6, 0.9, 0.9]
ALL = [True] * CLASSES


def test_an_object_that_a_view_has_no_room_for_is_no_background() -> None:
    row = [[0.05 + 0.1 * i, 0.1, 0.13 + 0.1 * i, 0.9] for i in range(9)]
    things = labels([(box, 1 + (i == 8), OBJECT) for i, box in enumerate(row)], ALL)
    photo = torch.zeros(1, 3, 256, 256, dtype=torch.uint8)
    for room, known in (
        (9, [True] * 4),
        (8, [True, True, False, True]),
        (4, [True, False, False, True]),
    ):
        settings = ViewSettings(side=256, whole_sides=(250, 251), mosaic=0.0, objects=room)
        _, seen = make_views(
            photo,
            torch.tensor([[256, 256]]),
            things,
            torch.zeros(1, 4, dtype=torch.int64),
            settings,
            torch.Generator().manual_seed(0),
        )
        assert int((seen.kind != 0).sum()) == room
        assert seen.known.tolist() == [known]


def test_a_region_without_an_object_is_a_negative_for_the_complete_classes_alone() -> None:
    partial = labels([(CAT, 1, OBJECT)], [False, True, False, True])
    target, allowed, counts, _ = assign_regions(torch.tensor([[ELSEWHERE]]), partial, SETTINGS)
    assert target.item() == 0 and counts.item() == 1
    assert allowed[0, 0].tolist() == [True, False, True, False, True]  # background first


def test_an_object_tells_apart_all_classes_also_where_few_are_complete() -> None:
    partial = labels([(CAT, 1, OBJECT)], [False, True, False, False])
    target, allowed, _, matches = assign_regions(torch.tensor([[CAT]]), partial, SETTINGS)
    assert target.item() == 2 and matches.item() == 0
    assert allowed.all()


def test_what_may_be_of_a_class_is_no_negative_of_that_class() -> None:
    half_seen = labels([(ELSEWHERE, 2, IGNORED)], ALL)
    _, allowed, counts, _ = assign_regions(torch.tensor([[ELSEWHERE, CAT]]), half_seen, SETTINGS)
    assert allowed[0, 0].tolist() == [True, True, True, False, True]
    assert allowed[0, 1].all()
    assert counts.tolist() == [[1, 1]]


def test_a_region_within_a_crowd_of_anything_does_not_count() -> None:
    crowd = labels([([0.5, 0.5, 1.0, 1.0], ANY_CATEGORY, IGNORED)], ALL)
    _, _, counts, _ = assign_regions(torch.tensor([[ELSEWHERE, CAT]]), crowd, SETTINGS)
    assert counts.tolist() == [[0, 1]]


def test_anchors_are_negatives_only_outside_of_all_that_may_be_an_object() -> None:
    anchors = torch.tensor([CAT, ELSEWHERE, [0.0, 0.6, 0.3, 0.9]])
    target = labels([(CAT, 1, OBJECT), (ELSEWHERE, 2, IGNORED)], ALL)
    positive, usable, _, _ = assign_anchors(anchors, target, SETTINGS)
    assert positive[0].tolist() == [True, False, False]
    assert usable[0].tolist() == [True, False, True]


def test_where_a_class_is_not_complete_no_anchor_is_a_negative() -> None:
    anchors = torch.tensor([CAT, ELSEWHERE])
    target = labels([(CAT, 1, OBJECT)], [True, True, True, False])
    positive, usable, _, _ = assign_anchors(anchors, target, SETTINGS)
    assert positive[0].tolist() == usable[0].tolist() == [True, False]


def test_the_first_stage_proposes_only_the_classes_that_it_is_to() -> None:
    both = labels([(CAT, 1, OBJECT), (ELSEWHERE, 3, OBJECT)], ALL)
    anchors = torch.tensor([CAT, ELSEWHERE])
    positive, usable, _, _ = assign_anchors(anchors, both.of_categories((1,)), SETTINGS)
    assert positive.tolist() == [[True, False]] and usable.all()
    crowd = labels([(CAT, ANY_CATEGORY, IGNORED)], ALL)
    assert assign_anchors(anchors, crowd.of_categories((1,)), SETTINGS)[1].tolist() == [
        [False, True]
    ]


@pytest.mark.parametrize('masks', [True, False])
def test_masks_learn_only_where_there_are_masks(masks: bool) -> None:
    torch.manual_seed(0)
    network = EverydayNetwork(EverydayConfig(num_classes=CLASSES, proposals=8))
    image = torch.rand(2, 3, 64, 64) * 255
    one = labels([(CAT, 1, OBJECT)], ALL, masks)
    both = Labels(**{name: torch.cat([value, value]) for name, value in vars(one).items()})
    table = torch.ones(2, 1, 56, 56, dtype=torch.uint8)
    losses = compute_losses(
        network, network.levels(image), both, table, SETTINGS, torch.Generator().manual_seed(0)
    )
    losses['mask'].backward() if masks else sum(losses.values()).backward()
    gradient = network.mask_out.weight.grad
    assert (gradient is not None and gradient.abs().sum() > 0) == masks


@pytest.mark.parametrize('refined', [False, True])
def test_a_region_may_count_as_what_its_refined_box_shows(refined: bool) -> None:
    """A proposal that is off, whose box is moved onto the cat: found, or background?"""
    network = EverydayNetwork(EverydayConfig(num_classes=CLASSES))
    off = torch.tensor([[[0.3, 0.1, 0.7, 0.5]]])
    encodings = torch.tensor([[0.0, -5.0, 0.0, 0.0]])  # in tenths: half a width to the left
    scores = torch.tensor([[0.0, 0.0, 9.0, 0.0, 0.0]])  # sure of a cat
    losses = second_stage_losses(
        network,
        off,
        torch.ones(1, 1, dtype=torch.bool),
        torch.zeros(1, 256, 7, 7),
        encodings,
        scores,
        labels([(CAT, 1, OBJECT)], ALL),
        torch.ones(1, 1, 56, 56, dtype=torch.uint8),
        LossSettings(refined=refined),
        torch.Generator(),
    )
    assert losses['class'] < 0.01 if refined else losses['class'] > 5


@pytest.mark.parametrize('ratio, filled', [(1.0, False), (4 / 3, False), (4 / 3, True)])
def test_boxes_and_masks_go_with_the_picture_that_they_belong_to(
    ratio: float, filled: bool
) -> None:
    side = 96
    photo = torch.full((1, 3, side, side), 114, dtype=torch.uint8)  # as around the photo
    photo[:, :, 30:60, 12:36] = 255
    box = torch.tensor([12, 30, 36, 60]) / side
    target = labels([(box.tolist(), 1, OBJECT)], ALL)
    settings = ViewSettings(side=128, ratio=ratio, filled=filled, whole_sides=(90, 110), mosaic=0.0)
    generator = torch.Generator().manual_seed(3)
    chosen = torch.zeros(16, 4, dtype=torch.long)
    sizes = torch.tensor([[side, side]])
    images, views = make_views(photo, sizes, target, chosen, settings, generator)
    seen = 0
    for image, boxes, kinds in zip(images, views.boxes, views.kind, strict=True):
        brightness = image.mean(0)
        if kinds[0] != OBJECT:
            continue
        bright = brightness > (brightness.max() + brightness.min()) / 2
        rows, columns = bright.nonzero(as_tuple=True)
        measured = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        extent = torch.tensor(settings.size).flip(0).repeat(2)
        assert torch.allclose(boxes[0] * extent, torch.stack(measured).float(), atol=1.5)
        seen += 1
    assert seen > 8


@pytest.mark.parametrize('mosaic', [0.0, 1.0])
@pytest.mark.parametrize('ratio', [1.0, 3 / 2, 3 / 4])
def test_photos_cover_a_view_that_is_to_be_filled(ratio: float, mosaic: float) -> None:
    photos = torch.full((1, 3, 64, 64), 114, dtype=torch.uint8)
    photos[:, 0] = 220  # red, as nothing beside a photo is
    settings = ViewSettings(side=192, ratio=ratio, mosaic=mosaic, whole_sides=(90, 260))
    shares = []
    for filled in (False, True):
        images, _ = make_views(
            photos,
            torch.tensor([[48, 64]]),
            labels([([0.2, 0.2, 0.8, 0.8], 1, OBJECT)], ALL),
            torch.zeros(16, 4, dtype=torch.long),
            replace(settings, filled=filled, part_sides=(60, 120)),
            torch.Generator().manual_seed(5),
        )
        assert images.shape == (16, 3, *settings.size)
        # Colours change, and a few views become grey: there no edge of the photo is seen.
        spread = images.amax((2, 3)) - images.amin((2, 3))
        shares.append((spread.amax(1) < 8).float().mean())
    assert shares[0] < 0.7 and shares[1] == 1


def test_four_photos_share_a_view_and_each_keeps_its_labels() -> None:
    photos = torch.full((4, 3, 64, 64), 100, dtype=torch.uint8)
    each = [
        labels([([0.2, 0.2, 0.8, 0.8], k, OBJECT)], [True, True, True, k != 2]) for k in range(4)
    ]
    target = Labels(**{name: torch.cat([getattr(e, name) for e in each]) for name in vars(each[0])})
    settings = ViewSettings(side=256, part_sides=(80, 81), mosaic=1.0)
    _, views = make_views(
        photos,
        torch.full((4, 2), 64),
        target,
        torch.arange(4)[None],
        settings,
        torch.Generator().manual_seed(0),
    )
    there = views.kind[0] == OBJECT
    assert sorted(views.category[0][there].tolist()) == [0, 1, 2, 3]
    centres = (views.boxes[0][there][:, :2] + views.boxes[0][there][:, 2:]) / 2
    assert len({(x > 0.5, y > 0.5) for x, y in centres.tolist()}) == 4
    assert views.known[0].tolist() == [True, True, True, False]
