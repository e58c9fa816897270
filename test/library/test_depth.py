# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Places in space, in scenes whose geometry is known."""

import math
from dataclasses import replace

import numpy as np
import pytest
from boards import CAMERA, board, instances_of, with_background, with_mixed_outlines

from instance_seg_ros.depth import DepthError, Intrinsics, depth_in_metres, locate
from instance_seg_ros.instances import Instances


@pytest.mark.parametrize('tilt', [-0.8, -0.3, 0.0, 0.5, 0.9])
@pytest.mark.parametrize('bleed', [0.0, 0.2])
@pytest.mark.parametrize('mixed', [False, True])
@pytest.mark.parametrize('center', [(0, 0, 0.9), (0.3, -0.1, 1.5), (-0.5, 0.2, 3.5)])
def test_the_centre_is_right_within_one_per_cent(
    center: tuple[float, float, float], mixed: bool, bleed: float, tilt: float
) -> None:
    rng = np.random.default_rng(7)
    mask, depth = board(center, (0.4, 0.3), tilt, background=center[2] + 0.6)
    grown = with_background(mask, bleed)
    depth = with_mixed_outlines(depth) if mixed else depth
    depth *= 1 + rng.normal(0, 0.003, depth.shape).astype(np.float32)
    depth[rng.random(depth.shape) < 0.1] = 0
    (found,) = locate(instances_of(grown), depth_in_metres(depth), CAMERA)
    distance = float(np.linalg.norm(center))
    assert np.linalg.norm(found.center - center) < 0.01 * distance
    true_size = (0.4 * math.cos(tilt), 0.3, 0.4 * abs(math.sin(tilt)))
    assert np.abs(found.size - true_size).max() < 0.05 * distance


def test_millimetres_and_metres_say_the_same() -> None:
    mask, depth = board((0, 0, 2), (0.5, 0.5), 0.3, 4)
    in_metres = locate(instances_of(mask), depth_in_metres(depth), CAMERA)[0]
    millimetres = np.rint(depth * 1000).astype(np.uint16)
    in_millimetres = locate(instances_of(mask), depth_in_metres(millimetres), CAMERA)[0]
    assert np.allclose(in_metres.center, in_millimetres.center, atol=2e-3)


def test_depth_of_half_the_resolution() -> None:
    mask, _ = board((0.2, 0.1, 2), (0.5, 0.5), 0.3, 4)
    small = CAMERA.scaled_to(320, 240)
    _, depth = board((0.2, 0.1, 2), (0.5, 0.5), 0.3, 4, small)
    for camera in (CAMERA, small):  # the camera info may be of either size
        (found,) = locate(instances_of(mask), depth, camera)
        assert np.linalg.norm(found.center - (0.2, 0.1, 2)) < 0.02


def test_pixels_need_not_be_square_nor_images_of_one_shape() -> None:
    camera = Intrinsics.from_projection([600, 0, 300, 0, 0, 300, 200, 0, 0, 0, 1, 0], 640, 480)
    center, size = (0.2, -0.1, 2), (0.6, 0.4)
    mask, whole = board(center, size, 0, 4, camera)
    # Half as wide and a quarter as high; the image begins at -0.5.
    squeezed = Intrinsics(300, 75, 149.75, 49.625, 320, 120)
    _, small = board(center, size, 0, 4, squeezed)
    for depth in (whole, small):
        (found,) = locate(instances_of(mask), depth, camera)
        assert found.center == pytest.approx(center, abs=0.01)
        assert found.size == pytest.approx((*size, 0), abs=0.03)


def test_points_lie_on_the_surface_and_know_their_pixels() -> None:
    mask, depth = board((0, 0, 2), (0.5, 0.5), 0.0, 4)
    (found,) = locate(instances_of(mask), depth, CAMERA)
    assert np.allclose(found.points[:, 2], 2)
    columns, rows = found.pixels.T
    assert mask[rows, columns].all()
    assert np.allclose(found.points[:, 0], (columns - CAMERA.cx) / CAMERA.fx * 2, atol=1e-5)


def test_points_are_of_the_mask_alone() -> None:
    wall = np.full((480, 640), 2, np.float32)  # all as far as the object
    mask = np.zeros((480, 640), np.uint8)
    mask[100:200, 100:200] = np.tri(100)
    (found,) = locate(instances_of(mask), wall, CAMERA)
    columns, rows = found.pixels.T
    assert mask[rows, columns].all()


def test_pixels_at_the_outline_count_for_the_size() -> None:
    mask, depth = board((0, 0, 2), (0.5, 0.4), 0, 4)
    (found,) = locate(instances_of(mask), depth, CAMERA)
    assert found.size[:2] == pytest.approx((0.49, 0.39), abs=0.01)  # of the inner 98 %


def test_a_thin_object_has_a_place() -> None:
    mask, depth = board((0, 0, 2), (0.02, 0.5), 0, 4)  # five pixels wide
    (found,) = locate(instances_of(mask), depth, CAMERA)
    assert found.center == pytest.approx((0, 0, 2), abs=0.01)


def test_an_object_at_the_edge_of_the_image() -> None:
    mask, depth = board((0.9, 0, 2), (0.8, 0.5), 0, 4)
    (found,) = locate(instances_of(mask), depth, CAMERA)
    assert found.pixels[:, 0].max() == 639


def test_objects_know_which_instance_they_are() -> None:
    masks = [board((x, 0, 2), (0.3, 0.3), 0, 4)[0] for x in (-0.5, 0, 0.5)]
    depth = np.where(sum(masks), np.float32(2), np.float32(4))
    depth[masks[1] > 0] = np.nan
    found = locate(together([instances_of(mask) for mask in masks]), depth, CAMERA)
    assert [each.index for each in found] == [0, 2]
    assert [each.center[0] for each in found] == pytest.approx([-0.5, 0.5], abs=0.01)


def together(each: list[Instances]) -> Instances:
    """Return one container of several."""
    arrays = {
        name: np.concatenate([getattr(one, name) for one in each])
        for name in ('boxes', 'scores', 'class_ids', 'rois', 'refined')
    }
    names, masks = [one.class_names[0] for one in each], [one.masks[0] for one in each]
    return replace(each[0], **arrays, class_names=names, masks=masks)


def test_the_depth_image_stays_as_it_is() -> None:
    mask, depth = board((0, 0, 2), (0.5, 0.5), 0, 4)
    depth[::2] = 0
    before = depth.copy()
    locate(instances_of(mask), depth, CAMERA)
    np.testing.assert_array_equal(depth, before)


def test_a_few_points_are_no_object() -> None:
    mask, depth = board((0, 0, 2), (0.5, 0.5), 0, 4)
    few = np.full_like(depth, np.nan)
    few[240, 320:329] = depth[240, 320:329]
    assert locate(instances_of(mask), few, CAMERA) == []


def test_no_depth_gives_no_object() -> None:
    mask, depth = board((0, 0, 2), (0.5, 0.5), 0.0, 4)
    for nothing in (0, np.nan, np.inf, -1):
        assert (
            locate(instances_of(mask), depth_in_metres(np.full_like(depth, nothing)), CAMERA) == []
        )


@pytest.mark.parametrize('depth', [np.zeros((4, 4, 3), np.uint16), np.zeros((4, 4), np.uint8)])
def test_another_depth_image_is_named(depth: np.ndarray) -> None:
    with pytest.raises(DepthError, match='expected .height, width., uint16 in millimetres'):
        depth_in_metres(depth)


@pytest.mark.parametrize(
    'values',
    [
        (0, 500, 1, 1),
        (500, 0, 1, 1),
        (math.nan, 500, 1, 1),
        (1e-300, 500, 1, 1),
        (500, 500, 1e300, 1),
    ],
)
def test_a_camera_info_of_zeros_is_named(values: tuple[float, float, float, float]) -> None:
    with pytest.raises(DepthError, match='the camera info has fx .*Is the camera calibrated'):
        Intrinsics(*values, 640, 480)


@pytest.mark.parametrize('size', [(0, 480), (640, 0), (-1, 480)])
def test_a_camera_info_without_a_size_is_named(size: tuple[int, int]) -> None:
    with pytest.raises(DepthError, match='expected focal lengths and a size above 0'):
        Intrinsics(500, 500, 1, 1, *size)


@pytest.mark.parametrize('metres', [1000.0, 5000.0])
def test_what_is_further_than_any_depth_camera_sees_is_no_measurement(metres: float) -> None:
    assert np.isnan(depth_in_metres(np.full((2, 2), metres, np.float32))).all()


@pytest.mark.parametrize('nothing', [0.0, -1.0, np.nan])
def test_pixels_without_a_measurement_say_nothing(nothing: float) -> None:
    mask, depth = board((0, 0, 2), (0.5, 0.5), 0.0, 4)
    depth[::2] = nothing
    (found,) = locate(instances_of(mask), depth, CAMERA)
    assert found.distance == pytest.approx(2, rel=0.01)


@pytest.mark.parametrize(
    'depth', [np.ones((480, 640), np.uint16), np.ones((480, 640, 1)), np.ones((0, 4)), None]
)
def test_what_is_no_depth_in_metres_is_refused(depth: object) -> None:
    mask, _ = board((0, 0, 2), (0.5, 0.5), 0.0, 4)
    with pytest.raises(DepthError, match='float32 in metres'):
        locate(instances_of(mask), depth, CAMERA)


def test_instances_without_masks_are_nowhere() -> None:
    mask, depth = board((0, 0, 2), (0.5, 0.5), 0.0, 4)
    instances = instances_of(mask)
    instances.masks = None
    with pytest.raises(ValueError, match='there are no masks'):
        locate(instances, depth, CAMERA)
    assert locate(instances[:0], depth, CAMERA) == []


@pytest.mark.parametrize('kind', ['>u2', '<u2', '>f4', '<f4'])
def test_the_byte_order_of_a_depth_image_is_heeded(kind: str) -> None:
    metres = depth_in_metres(np.full((2, 2), 3, kind))
    assert metres == pytest.approx(3 if 'f' in kind else 0.003)


def test_a_projection_matrix_has_twelve_numbers() -> None:
    k = [500.0, 0, 319.5, 0, 500.0, 239.5, 0, 0, 1]
    with pytest.raises(DepthError, match='has 9 numbers'):
        Intrinsics.from_projection(k, 640, 480)
    p = np.insert(np.reshape(k, (3, 3)), 3, 0, axis=1)
    assert Intrinsics.from_projection(p, 640, 480).cy == 239.5
