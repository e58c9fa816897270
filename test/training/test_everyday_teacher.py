# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The teacher: networks in ncnn's format, and what it adds to labels."""

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from random_models import REPOSITORY

torch = pytest.importorskip('torch', reason='the trainer needs PyTorch')

from torch.nn import functional

from training.everyday.ncnn_reader import NcnnModule
from training.everyday.teacher import Teacher, completed_labels
from training.everyday.views import IGNORED, OBJECT, Labels

NETWORK = """7767517
8 9
Input                images  0 1 images
YoloV5Focus          focus   1 1 images in
Convolution          first   1 1 in a 0=4 1=3 3=2 4=1 5=1 6=108
Swish                swish   1 1 a b
Split                split   1 2 b c d
ConvolutionDepthWise second  1 1 c e 0=4 1=3 4=1 5=1 6=36 7=4 9=4
Pooling              pool    1 1 d f 1=5 3=2 5=1
Concat               concat  2 1 e f out
"""
HALF = 0x01306B47


def write_network(folder: Path, tag: int) -> tuple[Path, Path, list[np.ndarray]]:
    """Write a network; return its files and its arrays."""
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=n).astype(np.float32) for n in (108, 4, 36, 4)]
    data = b''
    for kernel, bias in (arrays[:2], arrays[2:]):
        stored = kernel.astype('<f2') if tag == HALF else kernel
        data += struct.pack('<I', tag) + stored.tobytes() + bias.tobytes()
    (folder / 'net.param').write_text(NETWORK)
    (folder / 'net.bin').write_bytes(data)
    return folder / 'net.param', folder / 'net.bin', arrays


@pytest.mark.parametrize('tag', [0, HALF])
def test_a_network_in_ncnns_format_is_computed(tmp_path: Path, tag: int) -> None:
    description, weights, arrays = write_network(tmp_path, tag)
    first, first_bias, second, second_bias = map(torch.from_numpy, arrays)
    image = torch.rand(2, 3, 16, 24)
    x = functional.conv2d(image, first.view(4, 3, 3, 3), first_bias, 2, 1)
    x = functional.silu(x)
    y = functional.conv2d(x, second.view(4, 1, 3, 3), second_bias, 1, 1, groups=4).sigmoid()
    expected = torch.cat([y, functional.max_pool2d(x, 5, 1, 2)], 1)
    middle, out = NcnnModule(description, weights)(image, ['b', 'out'])
    tolerance = 1e-5 if tag == 0 else 1e-2
    assert torch.allclose(middle, x, atol=tolerance)
    assert torch.allclose(out, expected, atol=tolerance)


def test_files_of_different_networks_are_refused(tmp_path: Path) -> None:
    description, weights, _ = write_network(tmp_path, 0)
    weights.write_bytes(weights.read_bytes() + b'1234')
    with pytest.raises(ValueError, match='holds more than'):
        NcnnModule(description, weights)


@pytest.fixture(scope='module')
def teacher(teacher_folder: Path) -> Teacher:
    files = teacher_folder / 'yolox-nano.param', teacher_folder / 'yolox-nano.bin'
    return Teacher(*files, torch.device('cpu'))


@pytest.mark.parametrize('complete', [False, True])
def test_what_the_teacher_is_sure_of_is_an_object_where_its_class_is_not_complete(
    teacher: Teacher, complete: bool
) -> None:
    cat = 15
    image = cv2.imread(str(REPOSITORY / 'demo' / 'photos' / 'chelsea.jpg'))[:, :, ::-1].copy()
    photos = torch.full((1, 3, 512, 512), 114, dtype=torch.uint8)
    photos[0, :, : image.shape[0], : image.shape[1]] = torch.from_numpy(image).permute(2, 0, 1)
    nothing = torch.zeros(1, 4, dtype=torch.long)
    labels = Labels(
        boxes=torch.zeros(1, 4, 4),
        whole=torch.zeros(1, 4, 4),
        category=nothing,
        kind=nothing,
        weight=torch.zeros(1, 4),
        mask=nothing - 1,
        flipped=nothing.bool(),
        known=torch.full((1, 80), complete),
    )
    found = completed_labels(teacher, photos, torch.tensor([image.shape[:2]]), labels, 16)
    cats = (found.category[0] == cat) & (found.kind[0] == OBJECT)
    assert cats.sum() == (0 if complete else 1)
    assert found.known.all()
    assert (found.kind[0][~cats] != OBJECT).all() or not complete
    if not complete:
        box = found.boxes[0][cats][0]
        assert (box[2] - box[0]) * (box[3] - box[1]) > 0.4
        assert 0.5 <= float(found.weight[0][cats]) <= 1
        assert set(found.kind[0].tolist()) <= {0, OBJECT, IGNORED}
