# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The package as notebooks, type checkers and data loaders use it."""

import copy
import multiprocessing
import pickle
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import instance_seg_ros
from instance_seg_ros import ImageError, Instances, Segmenter, run_instance_segmentation

SCRIPT = """
import cv2
import numpy as np
from instance_seg_ros import Segmenter, draw_instances, load_model, run_instance_segmentation

segmenter = Segmenter(model='person_mask_rcnn', confidence_threshold=0.5)
frame = np.asarray(cv2.imread('photo.jpg'))
found = segmenter(frame)
best = found[np.argmax(found.scores)]
drawn = draw_instances(frame, found)
_, results = run_instance_segmentation(frame, net=load_model())
"""
MISTAKES = (
    'segmenter.no_such_method()',
    'Segmenter(confidence_treshold=0.5)',
    'found.bokses',
    'segmenter.min_aera = 3',
)


@pytest.fixture
def image(photo: np.ndarray) -> np.ndarray:
    return cv2.resize(photo, (320, 240))


def test_the_tab_key_and_help_know_the_public_names() -> None:
    assert set(instance_seg_ros.__all__) <= set(dir(instance_seg_ros))
    for name in instance_seg_ros.__all__:
        assert f'``{name}``' in instance_seg_ros.__doc__
        assert getattr(instance_seg_ros, name).__name__ == name


@pytest.mark.slow
def test_a_type_checker_sees_the_public_names(tmp_path: Path) -> None:
    pytest.importorskip('mypy', reason='a type checker')
    for name, extra in (('right.py', ''), ('wrong.py', '\n'.join(MISTAKES))):
        (tmp_path / name).write_text(SCRIPT + extra)
    command = [sys.executable, '-m', 'mypy', '--strict', '--follow-imports=silent', '--no-pretty']
    done = subprocess.run(
        [*command, 'right.py', 'wrong.py'], cwd=tmp_path, capture_output=True, text=True
    )
    errors = [line for line in done.stdout.splitlines() if ': error:' in line]
    assert len(errors) == len(MISTAKES) and all('wrong.py' in line for line in errors), done.stdout


def found_by(segmenter: Segmenter, image: np.ndarray) -> list[str]:
    return segmenter(image).class_names


def test_a_segmenter_is_pickled_by_its_settings(small_model: Path, image: np.ndarray) -> None:
    segmenter = Segmenter(model=small_model, refiner='none', speed_preset='fast', classes=['sheep'])
    segmenter.confidence_threshold = 0.3
    # Bandit's rule is about bytes of strangers.
    for other in (pickle.loads(pickle.dumps(segmenter)), copy.deepcopy(segmenter)):  # noqa: S301
        assert other.settings == segmenter.settings
        assert other.manifest == segmenter.manifest
        assert found_by(other, image) == found_by(segmenter, image) != []


@pytest.mark.slow
def test_a_process_that_is_spawned_takes_a_segmenter(small_model: Path, image: np.ndarray) -> None:
    segmenter = Segmenter(model=small_model, refiner='none')
    with ProcessPoolExecutor(1, multiprocessing.get_context('spawn')) as pool:
        found = pool.submit(segmenter, image).result()
    assert found.class_names == found_by(segmenter, image) != []


class Noted(Segmenter):
    """A subclass with attributes of its own."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._tiles, self.refine, self.precision = [], 1, 'high'


def test_a_subclass_and_what_is_noted_stay(small_model: Path) -> None:
    segmenter = Noted(model=small_model, refiner='none')
    segmenter.camera = 'front'
    for other in (copy.copy(segmenter), copy.deepcopy(segmenter)):
        assert type(other) is Noted and (other.camera, other.precision) == ('front', 'high')


def test_a_copy_has_settings_of_its_own(small_model: Path, image: np.ndarray) -> None:
    segmenter = Segmenter(model=small_model, refiner='none')
    strict = copy.copy(segmenter)
    strict.confidence_threshold = 1.0
    assert len(segmenter(image)) > len(strict(image)) == 0


def test_results_can_be_compared(small_model: Path, image: np.ndarray) -> None:
    segmenter = Segmenter(model=small_model, refiner='none')
    found, again = segmenter(image), segmenter(image)
    assert found in [again, found] and found != again
    _, first = run_instance_segmentation(image, net=segmenter)
    _, second = run_instance_segmentation(image, net=segmenter)
    assert first == second == [dict(one) for one in first]
    assert first[0] != {**first[0], 'mask': 1 - first[0]['mask']}
    assert first[0] != first[1] and first[0] != 1


class TestSettingsOfASegmenter:
    @pytest.fixture
    def segmenter(self, small_model: Path) -> Segmenter:
        return Segmenter(model=small_model, refiner='none')

    def test_a_typing_error_is_not_taken_for_an_attribute(self, segmenter: Segmenter) -> None:
        with pytest.raises(AttributeError, match='Did you mean confidence_threshold'):
            segmenter.confidence_treshold = 0.9
        segmenter.camera = 'front'  # what a user notes is no typing error
        assert segmenter.camera == 'front'

    def test_what_needs_another_segmenter_is_said(self, segmenter: Segmenter) -> None:
        message = 'speed_preset: is chosen when a model is loaded. Create another Segmenter'
        with pytest.raises(AttributeError, match=message):
            segmenter.speed_preset = 'fast'
        with pytest.raises(ValueError, match=message):
            segmenter.update(speed_preset='fast')

    def test_changes_of_two_threads_both_last(self, segmenter: Segmenter) -> None:
        started = threading.Event()

        def load_a_refiner() -> None:
            started.set()
            segmenter.update(refiner='gan')

        for _ in range(5):
            segmenter.update(refiner='none', confidence_threshold=0.5)
            thread = threading.Thread(target=load_a_refiner)
            thread.start()
            started.wait()
            segmenter.confidence_threshold = 0.9
            thread.join()
            assert (segmenter.refiner, segmenter.confidence_threshold) == ('gan', 0.9)

    def test_only_configurations_are_applied(self, segmenter: Segmenter, image) -> None:
        with pytest.raises(TypeError, match=r'Settings: expected what prepare\(\) returns'):
            segmenter.apply(segmenter.settings)
        assert len(segmenter(image))


class TestStreams:
    @pytest.mark.parametrize('parallel_nets', [1, 4])
    def test_images_before_a_failure_of_the_source_come_first(
        self, small_model: Path, image: np.ndarray, parallel_nets: int
    ) -> None:
        def photos() -> Iterator[np.ndarray]:
            for _ in range(6):
                yield image
            raise ImageError('photo 6 is damaged')

        segmenter = Segmenter(model=small_model, refiner='none', parallel_nets=parallel_nets)
        found = []
        with pytest.raises(ImageError, match='photo 6 is damaged'):
            for _, instances in segmenter.stream(photos()):
                found.append(len(instances))
        assert len(found) == 6 and min(found) > 0

    @pytest.mark.parametrize('kind', ['image', 'path'])
    def test_one_image_is_no_stream(self, small_model: Path, image: np.ndarray, kind: str) -> None:
        segmenter = Segmenter(model=small_model, refiner='none')
        with pytest.raises(TypeError, match='expected several images'):
            segmenter.stream(image if kind == 'image' else 'video.mp4')
        several = np.empty(2, object)
        several[:] = [image, image[:200]]
        for images in (np.stack([image, image]), several):
            assert len(list(segmenter.stream(images))) == 2


class TestFunctions:
    def test_threads_load_a_model_once(
        self, small_model: Path, image: np.ndarray, caplog: pytest.LogCaptureFixture, tmp_path: Path
    ) -> None:
        model = Path(shutil.copytree(small_model.parent, tmp_path / 'a'), small_model.name)
        caplog.set_level('INFO', 'instance_seg_ros')
        arguments = (image, model)
        threads = [
            threading.Thread(target=run_instance_segmentation, args=arguments) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum('refiner' in record.message for record in caplog.records) == 1

    def test_a_relative_path_is_another_model_in_another_folder(
        self,
        small_model: Path,
        other_model: Path,
        image: np.ndarray,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        assert small_model.name == other_model.name
        classes = []
        for manifest in (small_model, other_model):
            monkeypatch.chdir(manifest.parent)
            _, found = run_instance_segmentation(image, manifest.name, confidence_threshold=0.0)
            classes.append({instance['class_name'] for instance in found})
        assert classes[0].isdisjoint(classes[1])

    def test_a_model_that_is_written_again_is_loaded_again(
        self, small_model: Path, other_model: Path, image: np.ndarray, tmp_path: Path
    ) -> None:
        model = Path(shutil.copytree(small_model.parent, tmp_path / 'm'), small_model.name)
        _, before = run_instance_segmentation(image, model, confidence_threshold=0.0)
        shutil.copytree(other_model.parent, tmp_path / 'm', dirs_exist_ok=True)
        model.write_text(model.read_text() + '\n')
        _, after = run_instance_segmentation(image, model, confidence_threshold=0.0)
        names = [{each['class_name'] for each in found} for found in (before, after)]
        assert names[0].isdisjoint(names[1])

    def test_weights_that_are_written_again_are_noticed(
        self, small_model: Path, image: np.ndarray, tmp_path: Path
    ) -> None:
        model = Path(shutil.copytree(small_model.parent, tmp_path / 'm'), small_model.name)
        run_instance_segmentation(image, model)
        weights = model.with_suffix('.pb')
        weights.write_bytes(weights.read_bytes() + b'\0')
        with pytest.raises(instance_seg_ros.ModelError, match=f'weights {weights}'):
            run_instance_segmentation(image, model)


class TestContainer:
    @pytest.fixture
    def overlapping(self) -> Instances:
        """Two instances with one mask, the better one last."""
        return Instances(
            boxes=[[0, 0, 8, 8]] * 2,
            scores=[0.3, 0.9],
            class_ids=[7, 5],
            class_names=['worse', 'better'],
            rois=[[0, 0, 8, 8]] * 2,
            masks=np.ones((2, 8, 8), bool).tolist(),
            refined=[False, False],
            image_size=[40, 40],
        )

    def test_lists_become_arrays(self, overlapping: Instances) -> None:
        assert overlapping.boxes.dtype == np.float32 and overlapping.class_ids.dtype == np.int32
        drawn = instance_seg_ros.draw_instances(np.zeros((40, 40, 3), np.uint8), overlapping)
        assert drawn.any() and overlapping.cutout(drawn, 0)[..., 3].all()
        empty = Instances([], [], [], [], [], [], [], [40, 40])
        assert empty.boxes.shape == empty.rois.shape == (0, 4)

    def test_masks_may_be_one_array(self, overlapping: Instances) -> None:
        overlapping.masks = np.stack(overlapping.masks)
        assert overlapping[::-1].full_mask(0).sum() == 64

    def test_the_best_score_lies_on_top_in_any_order(self, overlapping: Instances) -> None:
        for instances, best in ((overlapping, 1), (overlapping[::-1], 0)):
            assert instances.class_image().max() == 5 + 1 == np.unique(instances.class_image())[-1]
            assert instances.label_image().max() == best + 1
            assert instances.confidence_image().max() == round(0.9 * 255)

    @pytest.mark.parametrize(
        'index',
        [np.array(True), True, None, 2, [[0]], [[0], [0, 1]], 'a', 1.5, np.zeros((2, 2), int)],
    )
    def test_what_is_no_index_is_refused(self, overlapping: Instances, index: object) -> None:
        with pytest.raises(IndexError):
            overlapping[index]

    @pytest.mark.parametrize('index', [..., (1, 0), np.array(1), range(2), np.uint8(0)])
    def test_what_is_an_index_is_taken(self, overlapping: Instances, index: object) -> None:
        assert 1 <= len(overlapping[index]) <= 2

    @pytest.mark.parametrize(
        'picture', [np.zeros((40, 40, 3)), np.zeros((40, 40, 3), np.uint16), [[0]]]
    )
    def test_a_cutout_is_of_such_an_image(self, overlapping: Instances, picture: object) -> None:
        with pytest.raises(ImageError):
            overlapping.cutout(picture, 0)

    def test_a_class_without_a_category_is_named(self, overlapping: Instances) -> None:
        with pytest.raises(ValueError, match='no class id 7'):
            overlapping.to_coco(category_ids={5: 1})
