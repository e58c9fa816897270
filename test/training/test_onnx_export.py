# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""ONNX parts that the trainers export give what the frozen graph gives."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from random_models import REPOSITORY

pytest.importorskip('onnxruntime', reason='it runs the parts')

from instance_seg_ros import ModelError, Segmenter
from training.onnx_export import GPU, PROCESSOR, add_onnx_parts


@pytest.mark.parametrize('target', [PROCESSOR, GPU])
@pytest.mark.parametrize('name', ['person_mask_rcnn', 'everyday_mask_rcnn'])
@pytest.mark.slow
def test_parts_give_what_the_frozen_graph_gives(
    tmp_path: Path, photo: np.ndarray, name: str, target: str
) -> None:
    for path in (REPOSITORY / 'models').glob('*'):
        if path.stem.removesuffix('_labels') in (name, name.removesuffix('_mask_rcnn')):
            shutil.copyfile(path, tmp_path / path.name)
    manifest = tmp_path / f'{name}.yaml'
    options = {'refiner': 'none', 'confidence_threshold': 0.2}
    expected = Segmenter(model=manifest, engine='opencv', **options)(photo)
    paths = add_onnx_parts(manifest, target)
    content = yaml.safe_load(manifest.read_text())
    for role in ('weights', 'text_graph'):  # the parts do without
        (tmp_path / content.pop(role)).unlink()
        content['sha256'].pop(role)
    manifest.write_text(yaml.safe_dump(content))
    assert set(content['sha256']) == {'labels', 'proposal_part', 'box_part', 'mask_part'}
    found = Segmenter(model=manifest, **options)(photo)
    assert len(found) == len(expected) > 0 and found.class_names == expected.class_names
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-3)
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=1)
    for one, other in zip(found.masks, expected.masks, strict=True):
        assert (one != other).mean() < 1e-3
    paths[0].write_bytes(b'damaged')
    with pytest.raises(ModelError, match=paths[0].name):
        Segmenter(model=manifest, **options)
