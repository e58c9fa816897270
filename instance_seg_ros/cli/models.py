# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What the command line does with models: convert them to ONNX."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from instance_seg_ros.detection.onnx_cache import folder_beside, write_parts
from instance_seg_ros.errors import ModelError
from instance_seg_ros.models import find_model


def add_models_command(commands: Any) -> None:
    """Add ``models convert`` to the parser's commands."""
    models = commands.add_parser('models', help='what can be done with models')
    actions = models.add_subparsers(dest='action', required=True, metavar='convert')
    convert = actions.add_parser(
        'convert',
        help='write the ONNX parts of a model, for the engine onnxruntime',
        description='Write the ONNX parts of a model. The engine onnxruntime looks for them beside '
        'the model and otherwise converts the model itself, once; see docs/models.md.',
    )
    convert.add_argument(
        'model',
        help='name of a model, path of its manifest (.yaml) or of its frozen graph (.pb), or auto',
    )
    convert.add_argument(
        '--output',
        type=Path,
        metavar='FOLDER',
        help='where the files go (default: the folder <frozen graph>_onnx beside the model)',
    )


def convert_model(options: argparse.Namespace) -> int:
    """Carry out ``models convert``; return the exit code.

    Raises:
        ModelError: there is no such model, it cannot be converted, or the folder not be written.

    """
    manifest = find_model(options.model)
    if manifest.weights is None:
        raise ModelError(f'model {manifest.name!r} has ONNX parts already')
    weights, text_graph = manifest.tensorflow_files()
    manifest.check_digests()
    for path in write_parts(weights, text_graph, options.output or folder_beside(weights)):
        print(path)
    return 0
