# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""A trained checkpoint as the files that the Segmenter loads.

    python -m training.everyday export --run RUN --output models/everyday_mask_rcnn --settings FILE

The settings say which classes are reported and what is added to their logits.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from instance_seg_ros.text_files import shown
from training.detector.export import check_settings, export_nodes
from training.everyday.graph import GRAPH_NUMBERS, describe, read_network
from training.everyday.network import (
    SIZE_MULTIPLE,
    Convolution,
    EverydayConfig,
    EverydayNetwork,
    with_rows,
)
from training.everyday.packed_data import read_names

LOG = logging.getLogger(__name__)

_NO_CLASS = '-'
_LARGEST_CHANGE = 100  # of a logit: from sure to impossible is less
INPUT_MAX_SIDE = 544
PROPOSALS = 100
# Older runs say 600, which often are those of one large object: half of the photos would have 20
# proposals or fewer.
CANDIDATES = 2500


def load_network(checkpoint: Path) -> EverydayNetwork:
    """Return the averaged network that a run wrote, in evaluation mode on the CPU.

    ``CANDIDATES`` anchors enter its first stage's NMS and ``PROPOSALS`` leave it, whatever the run
    had.

    Raises:
        ValueError: the file is missing, broken or another one.
    """
    try:
        content = torch.load(checkpoint, map_location='cpu', weights_only=True)
        config = EverydayConfig.from_dict(content['config'])
        network = EverydayNetwork(replace(config, rpn_candidates=CANDIDATES, proposals=PROPOSALS))
        state = {k: v.float() if v.is_floating_point() else v for k, v in content['state'].items()}
        for name, layer in network.named_modules():
            # A run that went on from a frozen graph has the norms in kernels and biases.
            norms = f'{name}.norm.weight', f'{name}.scale'
            if isinstance(layer, Convolution) and not any(norm in state for norm in norms):
                layer.absorb_norm()
        network.load_state_dict(state)
    except Exception as error:  # torch raises many types for a broken file
        raise ValueError(
            f'{checkpoint}: cannot be read as averaged weights ({error}). Give the file that '
            'train wrote into --output: everyday.pt, or as --name says'
        ) from error
    return network.eval()


def export(
    network: EverydayNetwork,
    names: Mapping[int, str],
    stem: Path,
    *,
    reported: Sequence[str] | None = None,
    logit_changes: Mapping[str, float] = {},
    settings: Mapping[str, Any] = {},
    float16: bool = False,
) -> Path:
    """Write weights, text graph, labels and manifest.

    Args:
        network: in evaluation mode.
        names: category id, from 1, to name, as many as the network has classes, rising. Where an
            id is above ``GRAPH_NUMBERS``, the graph counts the classes from 1 instead.
        stem: path without ending.
        reported: names of the classes that are reported; by default all. The others still take
            probability away from these.
        logit_changes: by name, what is added to the class's logit, or to ``background``'s.
        settings: of the manifest, in place of or beside the usual ones.
        float16: whether kernels are stored as float16, in half the size.

    Returns:
        The path of the manifest.
    """
    names = _graph_names(names)
    ids = sorted(names)
    numbers = {names[i]: i - 1 for i in ids} | {'background': -1}
    wanted = set(names.values() if reported is None else reported)
    nodes, arrays = describe(
        network,
        [i - 1 for i in ids],
        {numbers[name]: change for name, change in logit_changes.items()},
        [numbers[name] for name in wanted],
    )
    labels = [names.get(i, _NO_CLASS) for i in range(1, max(ids) + 1)]
    labels = [name if name in wanted else _NO_CLASS for name in labels]
    usual = {
        'input_max_side': INPUT_MAX_SIDE,
        'max_upscale': 1.0625,
        'size_multiple': SIZE_MULTIPLE,
        'proposals': PROPOSALS,
        'presets': {
            'balanced': {'input_max_side': 480, 'proposals': 48},
            'fast': {'input_max_side': 384, 'proposals': 32},
        },
    }
    return export_nodes(nodes, arrays, labels, stem, usual | dict(settings), float16)


def _graph_names(names: Mapping[int, str]) -> Mapping[int, str]:
    """Return names by their numbers in the graph: its rows would be as many as a large id says."""
    if max(names) <= GRAPH_NUMBERS:
        return names
    counted = dict(enumerate((names[i] for i in sorted(names)), 1))
    if max(names) > len(names):
        LOG.info(
            'the largest category id is %d, above %d: the model numbers its classes 1 to %d',
            max(names),
            GRAPH_NUMBERS,
            len(names),
        )
    return counted


def blended(
    network: EverydayNetwork, graph: Path, numbers: Sequence[int], share: float
) -> EverydayNetwork:
    """Move a run's network towards the frozen graph that it went on from, and return it.

    What a short training learns and what the long one before it knew are both in the mean of their
    weights (Wortsman et al. 2022, arXiv 2109.01903).

    Args:
        network: of the run.
        graph: that the run went on from, with its classes.
        numbers: category ids of the run's classes, rising.
        share: of the run's weights, 0 to 1; 1: the run's alone.

    Raises:
        ValueError: the run did not go on from such a graph.
        OSError: the graph cannot be read.
    """
    if max(numbers) > GRAPH_NUMBERS:
        raise ValueError(
            f'{graph}: has the category ids 1 to {GRAPH_NUMBERS}, the run has {max(numbers)}: '
            'expected a run with the classes of the graph (train --keep-classes)'
        )
    config = replace(network.config, num_classes=GRAPH_NUMBERS)
    before = with_rows(read_network(graph, config), numbers).state_dict()
    after = network.state_dict()
    if before.keys() != after.keys():
        raise ValueError(f'{graph}: is no graph that the run went on from (train --init)')
    mean = {name: torch.lerp(before[name], after[name], share) for name in after}
    network.load_state_dict(mean)
    return network


def read_choices(path: Path, names: Mapping[int, str]) -> dict[str, Any]:
    """Return what a file chooses of ``reported``, ``logit_changes`` and ``settings``.

    Args:
        path: the file.
        names: category id to name of the classes.

    Raises:
        ValueError: it is no JSON of these, names a class that there is not, or would make a model
            that does not load.
        OSError: it cannot be read.
    """
    try:
        chosen = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f'{path}: cannot be read as JSON ({error}). Correct the file') from None
    checks = {'reported': _check_reported, 'logit_changes': _check_changes, 'settings': _check_keys}
    if not isinstance(chosen, dict) or not set(chosen) <= set(checks):
        raise ValueError(f'{path}: expected a JSON mapping with the keys {", ".join(checks)}')
    for key, value in chosen.items():
        try:
            checks[key](value, list(names.values()))
        except ValueError as error:
            raise ValueError(f'{path}: {key}: {error}') from None
    return chosen


def _check_reported(value: Any, classes: Sequence[str]) -> None:
    if not isinstance(value, list) or not value:
        raise ValueError(f'is {shown(value)}, expected a list of classes, at least one')
    _check_known(value, classes)


def _check_changes(value: Any, classes: Sequence[str]) -> None:
    if not isinstance(value, dict):
        raise ValueError(f'is {shown(value)}, expected a mapping of classes to numbers')
    _check_known(value, [*classes, 'background'])
    for name, change in value.items():
        if type(change) not in (int, float) or not abs(change) <= _LARGEST_CHANGE:
            raise ValueError(
                f'{name} is {shown(change)}, expected a number from -{_LARGEST_CHANGE} to '
                f'{_LARGEST_CHANGE}'
            )


def _check_keys(value: Any, _classes: Sequence[str]) -> None:
    if not isinstance(value, dict):
        raise ValueError(f'is {shown(value)}, expected a mapping of keys of the manifest')
    check_settings(value)
    multiple = value.get('size_multiple', SIZE_MULTIPLE)
    if type(multiple) is not int or multiple % SIZE_MULTIPLE:
        raise ValueError(
            f'size_multiple is {shown(multiple)}, expected a multiple of {SIZE_MULTIPLE}: the '
            'network halves its input five times'
        )


def _check_known(wanted: Iterable[Any], known: Sequence[str]) -> None:
    if missing := [shown(name) for name in wanted if name not in known]:
        raise ValueError(
            f'{", ".join(missing[:5])}: no such class. Expected some of: {", ".join(known)}'
        )


def main() -> None:
    """Export a file of averaged weights by its path."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint', type=Path)
    parser.add_argument('stem', type=Path)
    parser.add_argument('--names', type=Path, required=True, help='names.json of the packed data')
    parser.add_argument('--settings', type=Path, help='JSON: reported, logit_changes, settings')
    options = parser.parse_args()
    names = read_names(options.names)
    chosen = read_choices(options.settings, names) if options.settings else {}
    print(export(load_network(options.checkpoint), names, options.stem, **chosen))


if __name__ == '__main__':
    main()
