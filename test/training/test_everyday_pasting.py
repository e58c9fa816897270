# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Objects pasted into other photos, and masks that learn from boxes: on pictures whose right
answers are known.
"""

import pytest

torch = pytest.importorskip('torch', reason='the trainer needs PyTorch')

from training.everyday.box_masks import affinity_loss, box_mask_losses, lab, projection_loss
from training.everyday.pasting import PasteSettings, find_donors, paste_objects
from training.everyday.views import IGNORED, OBJECT, Labels

SIDE = 64
RED = torch.tensor([220.0, 30.0, 30.0])
FREE = 7  # slots of a view without an object


def labels(box: list[float], category: int, mask: int, known: bool) -> Labels:
    """Labels of one photo with one object and room for more."""
    count = 1 + FREE
    boxes = torch.zeros(1, count, 4)
    boxes[0, 0] = torch.tensor(box)

    def first(value: float, other: float, dtype: torch.dtype) -> torch.Tensor:
        return torch.tensor([[value, *[other] * FREE]], dtype=dtype)

    return Labels(
        boxes=boxes,
        whole=boxes.clone(),
        category=first(category, 0, torch.int64),
        kind=first(OBJECT, 0, torch.int64),
        weight=first(1, 0, torch.float32),
        mask=first(mask, -1, torch.int64),
        flipped=first(0, 0, torch.bool),
        known=torch.full((1, 4), known),
    )


def pasted(
    views: Labels, generator: int = 0, rows: int = SIDE, **changes: float | tuple[float, float]
) -> tuple[torch.Tensor, Labels]:
    """Paste a red disc of a photo that is labelled in part into grey views of SIDE columns."""
    count = len(views.kind)
    y, x = torch.meshgrid(torch.arange(SIDE) + 0.5, torch.arange(SIDE) + 0.5, indexing='ij')
    disc = ((x - 32) ** 2 + (y - 32) ** 2) < 16**2
    photo = torch.where(disc, RED[:, None, None], 0.0)[None].to(torch.uint8)
    donor = labels([0.25, 0.25, 0.75, 0.75], 3, 0, known=False)
    table = disc[16:48, 16:48][None, None].to(torch.uint8)
    settings = PasteSettings(**({'share': 1.0, 'least_pixels': 16} | changes))
    donors = find_donors(donor, torch.tensor([[SIDE, SIDE]]), torch.tensor([0]), settings)
    return paste_objects(
        torch.full((count, 3, rows, SIDE), 114.0),
        views,
        photo,
        torch.tensor([[SIDE, SIDE]]),
        donors,
        table,
        settings,
        torch.Generator().manual_seed(generator),
    )


def test_what_is_pasted_is_seen_and_labelled_and_the_labels_stay_complete() -> None:
    views = labels([0.0, 0.0, 0.02, 0.02], 1, -1, known=True)
    for seed in range(8):
        images, after = pasted(views, seed, sides=(0.3, 0.6))
        red = (images[0] - RED[:, None, None]).abs().amax(0) < 40
        rows, columns = red.nonzero(as_tuple=True)
        seen = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) / SIDE
        (slot,) = (after.category[0] == 3).nonzero()[:, 0]
        assert torch.allclose(after.boxes[0, slot], seen, atol=2 / SIDE)
        assert torch.equal(after.boxes[0, slot], after.whole[0, slot])
        assert after.kind[0, slot] == OBJECT and after.mask[0, slot] == 0
        # The disc alone is pasted, without what is around it in its photo.
        box = (seen[2:] - seen[:2]).prod() * SIDE**2
        assert 0.65 < red.sum() / box < 0.9 and (images[0].amax(0) > 90).all()
        assert after.known.all()


def test_what_is_pasted_keeps_its_shape_in_views_that_are_not_square() -> None:
    views = labels([0.0, 0.0, 0.02, 0.02], 1, -1, known=True)
    size = torch.tensor([SIDE, SIDE * 3 // 4])
    for seed in range(8):
        images, after = pasted(views, seed, rows=SIDE * 3 // 4, sides=(0.4, 1.0))
        rows, columns = ((images[0] - RED[:, None, None]).abs().amax(0) < 40).nonzero().T
        seen = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        (slot,) = (after.category[0] == 3).nonzero()[:, 0]
        assert torch.allclose(after.boxes[0, slot] * size.repeat(2), seen.float(), atol=2)
        width, height = seen[2:] - seen[:2]
        assert (width - height).abs() <= 2


def test_objects_that_are_covered_are_ignored_and_hidden_ones_left_out() -> None:
    everywhere = {'sides': (1.0, 1.0), 'gone_above': 0.97}
    hidden = labels([0.4, 0.4, 0.6, 0.6], 1, 2, known=True)
    half = labels([0.0, 0.0, 0.5, 0.5], 1, 2, known=True)
    beside = labels([0.0, 0.0, 0.08, 0.08], 1, 2, known=True)
    for view, kind, mask in ((hidden, 0, -1), (half, IGNORED, -1), (beside, OBJECT, 2)):
        _, after = pasted(view, **everywhere)
        kept = after.category[0, : FREE + 1] == 1
        if kind == 0:
            assert not (kept & (after.kind[0] != 0)).any()
        else:
            assert after.kind[0][kept].tolist() == [kind] and after.mask[0][kept].tolist() == [mask]


@pytest.mark.parametrize('share, expected', [(0.0, 0), (0.5, 100), (1.0, 200)])
def test_as_many_views_get_an_object_as_wanted(share: float, expected: int) -> None:
    one = labels([0.0, 0.0, 0.1, 0.1], 1, -1, known=True)
    views = one[torch.zeros(200, dtype=torch.long)]
    _, after = pasted(views, share=share)
    assert abs(int((after.category == 3).sum()) - expected) < 30


def test_objects_without_mask_and_at_the_edge_are_not_pasted() -> None:
    sizes, index = torch.tensor([[SIDE, SIDE]]), torch.tensor([0])
    for box, mask, count in (
        ([0.25, 0.25, 0.75, 0.75], 0, 1),
        ([0.25, 0.25, 0.75, 0.75], -1, 0),
        ([0.0, 0.25, 0.75, 0.75], 0, 0),
        ([0.25, 0.25, 0.75, 1.0], 0, 0),
        ([0.45, 0.45, 0.55, 0.55], 0, 0),
    ):
        target = labels(box, 3, mask, known=True)
        donors = find_donors(target, sizes, index, PasteSettings(least_pixels=16))
        assert len(donors.photo) == count


def disc_from_box(affinity: bool) -> float:
    """IoU of the mask of a disc that begins as its box and learns from this and the colours."""
    y, x = torch.meshgrid(torch.arange(120) + 0.5, torch.arange(120) + 0.5, indexing='ij')
    disc = (x - 60) ** 2 + (y - 60) ** 2 < 40**2
    image = torch.where(disc, RED[:, None, None], torch.tensor([40.0, 90.0, 200.0])[:, None, None])
    box, region = torch.tensor([[20, 20, 100, 100]]) / 120, torch.tensor([[0.1, 0.1, 0.9, 0.9]])
    at = ((torch.arange(15) + 0.5) / 15 * 0.8 + 0.1) * 120
    inside = (at - 60).abs() < 40
    logits = torch.where(inside & inside[:, None], 1.0, -1.0)[None].requires_grad_()
    optimizer = torch.optim.Adam([logits], 0.2)
    for _ in range(100):
        projection, pairs = box_mask_losses(logits, region, box, image[None], torch.tensor([0]))
        optimizer.zero_grad()
        (projection + pairs if affinity else projection).backward()
        optimizer.step()
    wanted = (at[None] - 60) ** 2 + (at[:, None] - 60) ** 2 < 40**2
    found = logits[0] > 0
    return float((found & wanted).sum() / (found | wanted).sum())


def test_a_mask_learns_the_outline_from_a_box_and_the_colours() -> None:
    assert disc_from_box(affinity=True) > 0.85
    assert disc_from_box(affinity=False) < 0.8  # the box alone does not say so


def test_a_mask_that_fills_its_box_is_right_for_the_projection() -> None:
    inside = torch.zeros(1, 15, dtype=torch.bool)
    inside[:, 3:12] = True
    full = torch.full((1, 15, 15), -20.0)
    full[:, 3:12, 3:12] = 20
    assert projection_loss(full, inside, inside) < 1e-3
    wide, empty = torch.full_like(full, 20), torch.full_like(full, -20)
    assert projection_loss(wide, inside, inside) > 0.3
    assert projection_loss(empty, inside, inside) > 1.9


def test_neighbours_of_other_colours_say_nothing() -> None:
    columns = torch.arange(15.0)
    stripes = (columns % 2 * 100).expand(1, 3, 15, 15).contiguous()
    inside = torch.ones(1, 15, 15, dtype=torch.bool)
    across = torch.where(columns % 2 == 0, 8.0, -8.0).expand(1, 15, 15)
    along = across.transpose(1, 2)
    assert affinity_loss(across, inside, stripes) < 0.01 < 1 < affinity_loss(along, inside, stripes)


def test_colours_are_those_of_opencv() -> None:
    cv2 = pytest.importorskip('cv2')
    rgb = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 255
    expected = cv2.cvtColor(rgb[0].permute(1, 2, 0).numpy() / 255, cv2.COLOR_RGB2LAB)
    assert torch.allclose(lab(rgb)[0].permute(1, 2, 0), torch.from_numpy(expected), atol=0.7)
