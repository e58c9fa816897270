# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Manifests, where they are looked for, and model files that are not what they should be."""

import logging
import os
import re
import shutil
from pathlib import Path

import cv2
import pytest
import yaml

from instance_seg_ros import ModelError, Segmenter, find_model
from instance_seg_ros.models import COCO_MODEL, SHIPPED_MODEL, read_manifest

without_coco = pytest.mark.skipif(
    not read_manifest(
        find_model(SHIPPED_MODEL).weights.with_name(f'{COCO_MODEL}.yaml')
    ).missing_files(),
    reason='the COCO model is installed',
)


@pytest.fixture
def folder(small_model: Path, tmp_path: Path) -> Path:
    """A copy of the small model's files, to be spoilt."""
    target = tmp_path / 'models'
    shutil.copytree(small_model.parent, target)
    return target


def edit(folder: Path, **changes: object) -> Path:
    """Change keys of the manifest (None removes one); return its path."""
    path = folder / 'model.yaml'
    content = yaml.safe_load(path.read_text()) | changes
    path.write_text(yaml.safe_dump({k: v for k, v in content.items() if v is not None}))
    return path


def load(folder: Path) -> Segmenter:
    return Segmenter(model=str(folder / 'model.yaml'), refiner='none')


def load_trio(folder: Path, **paths: Path) -> Segmenter:
    """Load the three files without a manifest, so without digests."""
    trio = {
        'model_path': folder / 'model.pb',
        'text_graph_path': folder / 'model.pbtxt',
        'labels_path': folder / 'model_labels.txt',
    }
    return Segmenter(**trio | paths, refiner='none')


class TestWhatIsFound:
    @without_coco
    def test_auto_is_the_shipped_model_where_the_coco_model_is_not_installed(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.INFO):
            segmenter = Segmenter()
        assert segmenter.model_name == SHIPPED_MODEL
        assert f'model {SHIPPED_MODEL}' in caplog.text
        assert 'the COCO model is not installed' in caplog.text
        assert '`instance-seg models download coco`' in caplog.text

    def test_auto_is_the_coco_model_where_its_files_are(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        edit(folder, name=COCO_MODEL).rename(folder / f'{COCO_MODEL}.yaml')
        monkeypatch.setenv(
            'INSTANCE_SEG_ROS_MODELS', os.pathsep.join(['/nowhere', '', str(folder)])
        )
        with caplog.at_level(logging.INFO):
            segmenter = Segmenter()
        assert segmenter.model_name == COCO_MODEL
        assert segmenter.manifest.weights == folder / 'model.pb'
        assert f'model {COCO_MODEL}' in caplog.text

    @without_coco
    def test_a_coco_manifest_without_its_files_does_not_count(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        edit(folder, name=COCO_MODEL).rename(folder / f'{COCO_MODEL}.yaml')
        (folder / 'model.pb').unlink()
        (folder / 'model.pbtxt').unlink()
        monkeypatch.setenv('INSTANCE_SEG_ROS_MODELS', str(folder))
        assert find_model('auto').name == SHIPPED_MODEL

    @without_coco
    @pytest.mark.parametrize(
        'file, other', [('model.pb', 'model.pbtxt'), ('model.pbtxt', 'model.pb')]
    )
    def test_a_half_installed_coco_model_is_not_silently_replaced(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, file: str, other: str
    ) -> None:
        edit(folder, name=COCO_MODEL).rename(folder / f'{COCO_MODEL}.yaml')
        (folder / file).unlink()
        monkeypatch.setenv('INSTANCE_SEG_ROS_MODELS', str(folder))
        words = f'{file} is missing in {folder}, where {other} is.*models download coco'
        with pytest.raises(ModelError, match=f'{words}.*{SHIPPED_MODEL}'):
            Segmenter()
        assert find_model(SHIPPED_MODEL).name == SHIPPED_MODEL

    @without_coco
    @pytest.mark.parametrize(
        'name',
        [
            'mask_rcnn_inception_v2_coco_2018_01_28.tar.gz',
            'mask_rcnn_inception_v2_coco_2018_01_28.pb',
            'mask_rcnn_inception_v2_coco_2018_01_28 (1).pbtxt',
            'mask_rcnn_inception_v2_coco_2018_01_28.pbtxt.txt',
            'Mask_RCNN_Inception_v2_COCO.pbtxt',
        ],
    )
    def test_a_misnamed_file_of_the_coco_model_is_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        (tmp_path / name).touch()
        monkeypatch.setenv('INSTANCE_SEG_ROS_MODELS', str(tmp_path))
        path = re.escape(str(tmp_path / name))
        with pytest.raises(
            ModelError, match=rf'are missing, but {path} is there.*models add {path}'
        ):
            find_model('auto')

    @without_coco
    def test_other_files_of_the_user_do_not_count(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in (
            'mask_rcnn_inception_v2_coco_of_mine.pb',
            'frozen_inference_graph.pb',
            'a.txt',
        ):
            (tmp_path / name).touch()
        monkeypatch.setenv('INSTANCE_SEG_ROS_MODELS', str(tmp_path))
        assert find_model('auto').name == SHIPPED_MODEL

    def test_a_model_in_the_data_folder_is_found_without_a_variable(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv('XDG_DATA_HOME', str(tmp_path / 'data'))
        target = tmp_path / 'data' / 'instance_seg_ros' / 'models'
        shutil.copytree(folder, target)
        assert find_model('model').weights == target / 'model.pb'

    def test_files_of_an_installed_manifest_may_lie_in_a_folder_of_the_user(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        downloads = tmp_path / 'downloads'
        downloads.mkdir()
        (folder / 'model.pb').rename(downloads / 'model.pb')
        assert read_manifest(folder / 'model.yaml').missing_files() == [folder / 'model.pb']
        monkeypatch.setenv('INSTANCE_SEG_ROS_MODELS', str(downloads))
        assert find_model(str(folder / 'model.yaml')).weights == downloads / 'model.pb'

    def test_a_name_is_found_in_a_folder_of_the_user(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv('INSTANCE_SEG_ROS_MODELS', str(folder))
        assert find_model('model').weights == folder / 'model.pb'

    def test_an_unknown_name_lists_the_known_ones(self) -> None:
        with pytest.raises(ModelError, match=f"'yolo': not found.*{SHIPPED_MODEL}, {COCO_MODEL}"):
            find_model('yolo')

    @without_coco
    def test_a_missing_coco_model_says_where_to_get_it(self) -> None:
        with pytest.raises(ModelError, match=rf'{COCO_MODEL}\.pb.*missing.*docs/models\.md'):
            find_model(COCO_MODEL)

    def test_a_plain_trio_of_files(self, folder: Path) -> None:
        segmenter = load_trio(folder)
        assert segmenter.class_names[12] == 'stop sign'
        assert segmenter.model_name == 'model'

    def test_beside_the_weights_the_other_two_are_found(self, folder: Path) -> None:
        assert Segmenter(model_path=folder / 'model.pb').class_names[12] == 'stop sign'

    def test_labels_of_ones_own_for_a_named_model(self, tmp_path: Path) -> None:
        labels = tmp_path / 'german.txt'
        labels.write_text('Mensch\n')
        segmenter = Segmenter(model='person_mask_rcnn', labels_path=labels)
        assert segmenter.class_names == {0: 'Mensch'}


class TestManifests:
    @pytest.mark.parametrize(
        'changes, problem',
        [
            ({'weights': None}, 'lacks weights'),
            ({'labels': 3}, 'lacks labels'),
            ({'colour': 'red'}, 'has unknown keys colour'),
            ({'input_max_side': 0}, 'input_max_side is 0, expected a whole number above 0'),
            ({'input_max_side': True}, 'input_max_side is True'),
            ({'proposals': 'many'}, "proposals is 'many'"),
            ({'size_multiple': 0}, 'size_multiple is 0, expected a whole number above 0'),
            ({'max_upscale': 0.5}, r'max_upscale is 0\.5, expected a factor from 1'),
            ({'max_upscale': 'much'}, "max_upscale is 'much', expected a factor"),
            ({'max_upscale': True}, 'max_upscale is True'),
            ({'presets': ['fast']}, r"presets is \['fast'\], expected a mapping of names"),
            ({'presets': {'fast': {'proposals': 5}}}, 'presets is .*input_max_side and proposals'),
            (
                {'presets': {'fast': {'proposals': 0, 'input_max_side': 96}}},
                'presets: fast: proposals is 0, expected a whole number above 0',
            ),
            ({'sha256': 'abc'}, "sha256 is 'abc', expected a mapping"),
            (
                {'sha256': {'weight': 'abc'}},
                '.*expected a mapping of weights, text_graph, .*labels',
            ),
        ],
    )
    def test_errors_in_a_manifest_name_file_and_key(self, folder: Path, changes, problem) -> None:
        path = edit(folder, **changes)
        with pytest.raises(ModelError, match=rf'model\.yaml: {problem}'):
            find_model(str(path))

    @pytest.mark.parametrize(
        'content, problem',
        [
            ('', 'expected a mapping'),
            ('- a\n- b\n', 'expected a mapping'),
            ('name: [unclosed', 'is not YAML'),
        ],
    )
    def test_what_is_no_manifest_is_refused(self, tmp_path: Path, content, problem) -> None:
        path = tmp_path / 'model.yaml'
        path.write_text(content)
        with pytest.raises(ModelError, match=rf'model\.yaml: {problem}'):
            find_model(str(path))

    def test_a_missing_manifest_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match=r'nowhere\.yaml: No such file'):
            find_model(str(tmp_path / 'nowhere.yaml'))

    def test_input_size_and_proposals_are_read(self, folder: Path) -> None:
        path = edit(folder, input_max_side=320, proposals=7, sha256=None)
        manifest = find_model(str(path))
        assert (manifest.input_max_side, manifest.proposals) == (320, 7)
        Segmenter(model=str(path))  # and the graph with its changed number of proposals loads

    def test_a_speed_preset_lowers_input_size_and_proposals(self, folder: Path) -> None:
        path = edit(
            folder,
            input_max_side=320,
            proposals=12,
            presets={
                'fast': {'input_max_side': 160, 'proposals': 5},
                'more': {'input_max_side': 640, 'proposals': 50},
            },
        )
        manifest = find_model(str(path))
        fast, more = manifest.at_speed('fast'), manifest.at_speed('more')
        assert (fast.input_max_side, fast.proposals) == (160, 5)
        assert (more.input_max_side, more.proposals) == (320, 12)
        assert manifest.at_speed('exact') == manifest
        with pytest.raises(ValueError, match="speed_preset is 'warp': .*exact, fast, more"):
            manifest.at_speed('warp')


def spoil(path: Path) -> None:
    """Flip bytes in the middle of a file: cv2.dnn would load it."""
    payload = bytearray(path.read_bytes())
    middle = len(payload) // 2
    payload[middle : middle + 16] = bytes(b ^ 0xFF for b in payload[middle : middle + 16])
    path.write_bytes(payload)


class TestFilesThatAreNotWhatTheyShouldBe:
    @pytest.mark.parametrize('file', ['model.pb', 'model.pbtxt', 'model_labels.txt'])
    def test_a_changed_file_is_caught_by_its_digest(self, folder: Path, file: str) -> None:
        spoil(folder / file)
        with pytest.raises(ModelError, match=rf'{file}: its SHA256 is .* on record'):
            load(folder)

    @pytest.mark.parametrize('file', ['model.pb', 'model.pbtxt', 'model_labels.txt'])
    def test_a_missing_file_is_named(self, folder: Path, file: str) -> None:
        (folder / file).unlink()
        for attempt in (load, load_trio):
            with pytest.raises(ModelError, match=rf'{folder}/model\.yaml.*{file} is missing'):
                attempt(folder)

    def test_weights_without_a_text_graph_ask_for_it(self, folder: Path) -> None:
        (folder / 'model.pbtxt').unlink()
        with pytest.raises(ModelError, match=r'model\.pbtxt is missing'):
            Segmenter(model_path=folder / 'model.pb')

    @pytest.mark.parametrize(
        'content, problem',
        [
            (b'', 'the file is empty'),
            (
                b'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n',
                'git-LFS pointer',
            ),
            (b'\n<!DOCTYPE html>\n<html><body>Not found</body></html>', 'is a web page'),
            (b'\x80\x02}q\x00' * 1000, 'is not a frozen graph'),
            (b'\x0a' + b'garbage!' * 1000, 'is not a frozen graph|is truncated'),
            (b'hello', 'is not a frozen graph'),
        ],
    )
    @pytest.mark.parametrize('attempt', [load, load_trio])  # with and without a digest on record
    def test_weights_that_are_none(self, folder: Path, content, problem, attempt) -> None:
        (folder / 'model.pb').write_bytes(content)
        with pytest.raises(ModelError, match=rf'model\.pb: .*({problem})'):
            attempt(folder)

    def test_an_opencv_that_reads_no_tensorflow_graphs(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delattr(cv2.dnn, 'readNetFromTensorflow')  # as in 5.1
        assert load(folder).engine.startswith('onnxruntime')
        with pytest.raises(
            ModelError, match=r'engine opencv: OpenCV .* has no reader of TensorFlow'
        ):
            Segmenter(model=str(folder / 'model.yaml'), engine='opencv', refiner='none')

    @pytest.mark.parametrize('kept', [0.1, 0.5, 0.99])
    def test_truncated_weights(self, folder: Path, kept: float) -> None:
        payload = (folder / 'model.pb').read_bytes()
        (folder / 'model.pb').write_bytes(payload[: int(kept * len(payload))])
        with pytest.raises(ModelError, match=r'model\.pb: is truncated: \d+ bytes'):
            load_trio(folder)

    def test_swapped_weights_and_text_graph(self, folder: Path) -> None:
        with pytest.raises(ModelError, match=r'model\.pbtxt: is a text graph'):
            load_trio(
                folder, model_path=folder / 'model.pbtxt', text_graph_path=folder / 'model.pb'
            )

    def test_weights_and_text_graph_of_different_models(
        self, folder: Path, other_model: Path
    ) -> None:
        with pytest.raises(ModelError, match=r'do not work together.*same model'):
            load_trio(folder, model_path=other_model.with_name('model.pb'))

    def test_labels_of_another_model(self, folder: Path, other_model: Path) -> None:
        with pytest.raises(ModelError, match=r'has 3 lines, the model has 90 class ids'):
            load_trio(folder, labels_path=other_model.with_name('model_labels.txt'))

    def test_80_labels_for_a_model_of_90_class_ids(self, folder: Path, coco_names) -> None:
        names = [name for name in coco_names if name != '-']
        (folder / 'model_labels.txt').write_text('\n'.join(names) + '\n')
        with pytest.raises(ModelError, match=r'has 80 lines, the model has 90.*"-"'):
            load_trio(folder)
