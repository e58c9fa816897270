# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Damaged files, settings, streams and depth: used, or refused in a sentence. See `make fuzz`."""

import os
from typing import Any

import fuzz_children
import numpy as np
import pytest
from fuzzing import assert_clear, tried
from hypothesis import example, given
from hypothesis import strategies as st

from instance_seg_ros import ImageError, Instances, ModelError, Segmenter
from instance_seg_ros.depth import Intrinsics, depth_in_metres, locate
from instance_seg_ros.schema import settings_of
from instance_seg_ros.settings import Settings
from instance_seg_ros.tracking import InstanceTracker

ROSBAGS = ('mcap', 'db3', 'bag', 'metadata.yaml')


def kinds() -> tuple[str, ...]:
    """Return the kinds of files that can be read here."""
    missing = set()
    for module, needed in (('rosbags.highlevel', ROSBAGS), ('onnx', ('refiner',))):
        try:
            __import__(module)
        except ImportError:
            missing |= set(needed)
    return tuple(kind for kind in fuzz_children.KINDS if kind not in missing)


@pytest.mark.slow
def test_files_of_all_kinds_are_read_or_refused() -> None:
    # Those that start another process take a second each: few of them.
    quick = tuple(kind for kind in kinds() if kind not in fuzz_children.TRIED)
    report = fuzz_children.read_files(80, seed=int(os.environ.get('FUZZ_SEED', 0)), kinds=quick)
    assert not report.findings, '\n'.join(report.findings)
    assert report.counts['image', 'read'] and report.counts['image', 'refused']


# ---- settings
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9),
    st.binary(max_size=3),
    st.sampled_from(['person', 'smooth', '2x2', 'person:0.5', ('person',), ('person:nan',)]),
    st.lists(st.text(max_size=5) | st.integers(), max_size=3),
    st.tuples(st.text(max_size=5)),
)  # fmt: skip
NAMES = [setting.name for setting in settings_of(Settings)]


@pytest.fixture(scope='module')
def segmenter() -> Segmenter:
    return Segmenter(model='person_mask_rcnn', refiner='none', confidence_threshold=0.3)


@tried(2.0)
@given(changes=st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=3))
def test_any_settings_are_taken_or_refused(segmenter: Segmenter, changes: dict[str, Any]) -> None:
    before = segmenter.confidence_threshold
    try:
        segmenter.prepare(**changes)
    except (ValueError, ModelError) as error:
        assert_clear(str(error).replace('\x1b', '').replace('\0', ''))
    assert segmenter.confidence_threshold == before


# ---- identities: times jump, boxes are anywhere
BOX = st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4), st.floats(0, 5e3), st.floats(0, 5e3))
TIMES = st.floats(-(2.0**31), 2.0**31 + 5) | st.sampled_from([0.0, 1e-9, 1.7e9, 1.7e9 + 1e-6])


def instances_at(boxes: list[tuple[float, ...]], class_id: int = 0) -> Instances:
    count = len(boxes)
    corners = np.array(boxes, np.float32).reshape(count, 4)
    corners[:, 2:] += corners[:, :2]
    return Instances(
        boxes=corners,
        scores=np.full(count, 0.9, np.float32),
        class_ids=np.full(count, class_id, np.int32),
        class_names=['thing'] * count,
        rois=np.zeros((count, 4), np.int32),
        masks=None,
        refined=np.zeros(count, bool),
        image_size=(480, 640),
    )


@tried()
@given(st.lists(st.tuples(TIMES, st.lists(BOX, max_size=5)), max_size=8))
@example([(0.0, []), (5e-324, []), (1.0, [])])  # the quotient of the gaps is infinite
def test_identities_of_any_stream_are_distinct(frames: list[Any]) -> None:
    tracker = InstanceTracker()
    for time, boxes in frames:
        ids = tracker.update(instances_at(boxes), time)
        assert len(set(ids.tolist())) == len(boxes) and (ids > 0).all()


# ---- depth and intrinsics
ANY = st.floats() | st.sampled_from([0.0, 300.0, -1.0, 1e-300, 1e300])


@tried(2.0)
@given(
    st.lists(ANY, min_size=12, max_size=12),
    st.integers(0, 2**32 - 1) | st.sampled_from([0, 64]),
    st.integers(0, 2**32 - 1) | st.sampled_from([0, 64]),
    st.floats(width=32),
    st.sampled_from([(64, 64), (1, 1), (33, 70), (128, 128)]),
)
def test_any_depth_and_camera_give_places_or_an_error(
    p: list[float], width: int, height: int, metres: float, shape: tuple[int, int]
) -> None:
    mask = np.ones((20, 30), np.uint8)
    found = instances_at([(4.0, 5.0, 30.0, 20.0)])
    found.masks, found.rois = [mask], np.array([[4, 5, 30, 20]], np.int32)
    found.image_size = (64, 64)
    depth = np.full(shape, metres, np.float32)
    depth[::3] = 1.0
    try:
        places = locate(found, depth_in_metres(depth), Intrinsics.from_projection(p, width, height))
    except ImageError as error:
        assert_clear(str(error))
    else:
        for each in places:
            assert each.points.shape[1] == 3
            assert np.isfinite(each.points).all()
            assert np.isfinite([*each.center, *each.size, each.distance]).all()
