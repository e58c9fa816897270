# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""ONNX parts of an exported model, named in its manifest, by the package's own converter."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

from training.graph.tensorflow_files import write_atomically

PROCESSOR, GPU = 'processor', 'gpu'
# By their names: their keys in a manifest.
_KEYS = {'proposals': 'proposal_part', 'boxes': 'box_part', 'masks': 'mask_part'}


def add_onnx_option(parser: argparse.ArgumentParser) -> None:
    """Add --onnx."""
    parser.add_argument(
        '--onnx',
        nargs='?',
        const=PROCESSOR,
        choices=[PROCESSOR, GPU],
        help='write the ONNX parts, too, and name them in the manifest: onnxruntime then needs no '
        "conversion; for a processor, or of operations that all GPUs' providers have",
    )


def add_onnx_parts(manifest: Path, target: str = PROCESSOR) -> list[Path]:
    """Convert a model and name the parts, with their digests, in its manifest.

    Args:
        manifest: that names a frozen graph and a text graph; it is written again.
        target: ``processor`` or ``gpu``, what the parts are to be fast on.

    Returns:
        The files of the parts, beside the manifest.

    Raises:
        ModelError: the manifest or its files cannot be read or converted.
        OSError: a file cannot be written; the manifest is written last.

    """
    import yaml

    from instance_seg_ros.detection.onnx_convert import convert
    from instance_seg_ros.models import read_manifest

    model = read_manifest(manifest)
    weights, text_graph = model.tensorflow_files()
    content = yaml.safe_load(manifest.read_text(encoding='utf-8'))
    digests = dict(content.get('sha256', {}))
    paths = []
    for name, payload in convert(weights, text_graph, target == PROCESSOR).by_name().items():
        path = manifest.with_name(f'{manifest.stem}_{name}.onnx')
        write_atomically(path, payload)
        content[_KEYS[name]] = path.name
        digests[_KEYS[name]] = hashlib.sha256(payload).hexdigest()
        paths.append(path)
    content['sha256'] = digests
    write_atomically(manifest, yaml.safe_dump(content, sort_keys=False).encode())
    return paths


def export_onnx(options: argparse.Namespace, manifest: Path) -> None:
    """Do what --onnx says for a model that was just exported."""
    if options.onnx:
        for path in add_onnx_parts(manifest, options.onnx):
            print(f'wrote {path}')
