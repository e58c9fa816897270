# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""A user's own models: put into the data folder, and removed from there; no other is touched."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from instance_seg_ros import known_models
from instance_seg_ros.detection.onnx_cache import files_beside
from instance_seg_ros.detection.onnx_calibration import ranges_file
from instance_seg_ros.downloads import part_of
from instance_seg_ros.errors import ModelError
from instance_seg_ros.install import copy_checked, data_folder, writing
from instance_seg_ros.known_models import Digest, find_known, sha256_of
from instance_seg_ros.model_folders import manifest_files, package_folders
from instance_seg_ros.models import find_model, read_manifest
from instance_seg_ros.text_files import is_file, read_yaml

_NAME = r'[A-Za-z0-9][A-Za-z0-9_.-]{0,99}'
_TRIO = 'a manifest (.yaml), or a frozen graph (.pb), its text graph (.pbtxt) and labels (.txt)'


@dataclass(frozen=True)
class _Own:
    """A model to add.

    Attributes:
        content: of its manifest in the data folder.
        sources: its files, by the names that they get there.
        arguments: of the Segmenter, to try it.
    """

    content: dict[str, Any]
    sources: dict[str, Path]
    arguments: dict[str, Any]


def add_own(files: Sequence[Path], name: str = '', *, overwrite: bool = False) -> list[Path]:
    """Copy a model into the data folder, where its name is enough to use it.

    The model is loaded and run once before anything is copied.

    Args:
        files: a manifest, whose files are taken along; or frozen graph, text graph and labels,
            for which a manifest is written.
        name: of the model; '' for that of the manifest or of the frozen graph.
        overwrite: whether another model of that name in the data folder may be replaced.

    Returns:
        The files that were written.

    Raises:
        ModelError: these are not the files of one model, it cannot be used, its name is taken, or
            the folder cannot be written to.
    """
    for path in files:
        if not is_file(path):
            raise ModelError(f'{path}: no such file. Expected {_TRIO}')
    folder = data_folder()
    model = _model_of_manifest(files) or _model_of_trio(files, name)
    model.content['name'] = _checked_name(name or str(model.content['name']))
    _try(model)
    manifest = folder / f'{model.content["name"]}.yaml'
    plan = {folder / target: source for target, source in model.sources.items()}
    _check_free(plan, manifest, overwrite=overwrite)
    import yaml

    return _copy(plan, manifest, yaml.safe_dump(model.content, sort_keys=False), folder)


def remove(name: str) -> list[Path]:
    """Remove a model's files from the data folder, and only from there.

    Files that another model in the folder uses, too, stay.

    Returns:
        What was removed.

    Raises:
        ModelError: the folder has nothing of such a model, or its manifest cannot be read.
    """
    folder, known = data_folder(), find_known(name)
    if known is not None:
        files = [folder / file.name for file in known.files]
        files += [part_of(folder / each) for f in known.files for each in (f.name, f.download.name)]
        name = known.name
    else:
        files = _files_of(folder, name)
    kept = _used_by_others(folder, name)
    there = [path for path in files if os.path.lexists(path) and path not in kept]
    doomed = list(dict.fromkeys(there))  # a file that is loaded under its own name is there twice
    if not doomed:
        places = manifest_files()
        where = f'; {places[name]} is not there, and is left alone' if name in places else ''
        raise ModelError(f'model {name!r}: nothing of it is in {folder}{where}')
    for path in list(doomed):
        if path.suffix == '.pb':
            doomed += _parts_beside(path)
    with writing(folder):
        for path in doomed:
            path.unlink()  # of a link: the link
            if path.parent.name.endswith('_onnx'):
                with contextlib.suppress(OSError):  # other files are in it
                    path.parent.rmdir()
    return doomed


def _files_of(folder: Path, name: str) -> list[Path]:
    """Return the manifest of a model in a folder, and its files that are in the folder."""
    manifest = folder / f'{name}.yaml'
    if not re.fullmatch(_NAME, name) or not is_file(manifest):
        return []
    home = folder.resolve()
    files = read_manifest(manifest).files.values()
    return [*(path for path in files if path.parent.resolve().is_relative_to(home)), manifest]


def _used_by_others(folder: Path, name: str) -> set[Path]:
    used: set[Path] = set()
    for path in folder.glob('*.yaml'):
        if path.stem != name:
            with contextlib.suppress(ModelError):  # whatever it is, it stays
                used.update(read_manifest(path).files.values())
    return used


def _parts_beside(weights: Path) -> list[Path]:
    """Return what ``models convert`` and ``models calibrate`` wrote."""
    ranges = ranges_file(weights)
    return [*files_beside(weights), *([ranges] if os.path.lexists(ranges) else [])]


def _model_of_manifest(files: Sequence[Path]) -> _Own | None:
    """Return the model of a manifest, None where none is among the files."""
    path = next((path for path in files if path.suffix in ('.yaml', '.yml')), None)
    if path is None:
        return None
    manifest = find_model(path)
    own = {each.resolve() for each in (*manifest.files.values(), path)}
    if manifest.weights is not None:
        own.add(ranges_file(manifest.weights).resolve())
    strangers = [str(each) for each in files if each.resolve() not in own]
    if strangers:
        raise ModelError(
            f'{", ".join(strangers)}: not a file of the model of {path}; add one model at a time'
        )
    content = read_yaml(path, 'manifest', f'Expected {_TRIO}')
    for role in manifest.files:
        inner = PurePath(content[role])
        if inner.is_absolute() or '..' in inner.parts:
            raise ModelError(
                f'manifest {path}: {role} is {content[role]}, which lies in another folder; '
                'expected a file beside the manifest or below it'
            )
    sources = {content[role]: each for role, each in manifest.files.items()}
    sources |= _ranges_of(sources)
    return _Own(content, sources, {'model': str(path)})


def _model_of_trio(files: Sequence[Path], name: str) -> _Own:
    by_suffix = {path.suffix: path for path in files}
    graph, text_graph = by_suffix.get('.pb'), by_suffix.get('.pbtxt')
    if graph is None or text_graph is None or len(files) != len(by_suffix) or len(files) > 3:
        raise ModelError(f'{", ".join(map(str, files))}: expected {_TRIO}')
    labels = next((path for path in files if path not in (graph, text_graph)), '')
    name = name or graph.stem
    places = {
        'model_path': str(graph),
        'text_graph_path': str(text_graph),
        'labels_path': str(labels),
    }
    found = find_model(**places).files
    targets = {
        'weights': f'{name}.pb',
        'text_graph': f'{name}.pbtxt',
        'labels': f'{name}_labels.txt',
    }
    digests = {role: sha256_of(path) for role, path in found.items()}
    sources = {targets[role]: path for role, path in found.items()}
    sources |= _ranges_of(sources)
    return _Own({'name': name, **targets, 'sha256': digests}, sources, places)


def _ranges_of(sources: Mapping[str, Path]) -> dict[str, Path]:
    """Return the ranges for int8 beside a frozen graph, by the name that they get."""
    return {
        str(ranges_file(Path(target))): ranges_file(path)
        for target, path in sources.items()
        if path.suffix == '.pb' and is_file(ranges_file(path))
    }


def _checked_name(name: str) -> str:
    if not re.fullmatch(_NAME, name):
        raise ModelError(f'name {name!r}: expected letters, digits, _, - and . (--name gives it)')
    shipped = {path.stem for folder in package_folders() for path in folder.glob('*.yaml')}
    if name in shipped or name in ('auto', 'frozen_inference_graph') or find_known(name):
        raise ModelError(
            f'name {name!r}: would hide a model that comes with the package, or says nothing; '
            'give another one with --name'
        )
    return name


def _try(model: _Own) -> None:
    """Load the model and run it once, as every start does."""
    from instance_seg_ros.segmenter import Segmenter  # late: it imports the engines

    Segmenter(refiner='none', **model.arguments)


def _check_free(plan: Mapping[Path, Path], manifest: Path, *, overwrite: bool) -> None:
    """See that no file of another model would be replaced, and none at all unasked."""
    home = manifest.parent.resolve()
    published = {file.name for model in known_models.KNOWN_MODELS for file in model.files}
    others = _used_by_others(manifest.parent, manifest.stem)
    for target, source in plan.items():
        if target.name in published:
            raise ModelError(f'{target.name}: is the name of a published file; rename it first')
        if not target.parent.resolve().is_relative_to(home):
            raise ModelError(f'{target}: lies outside of {home}, by a link')
        if target in others and is_file(target) and sha256_of(target) != sha256_of(source):
            raise ModelError(f'{target}: is a file of another model; rename {source} first')
    taken = [str(path) for path in (*plan, manifest) if os.path.lexists(path)]
    if taken and not overwrite:
        raise ModelError(f'{", ".join(taken)}: exists. Give another --name, or --overwrite')


def _copy(plan: dict[Path, Path], manifest: Path, content: str, folder: Path) -> list[Path]:
    with writing(folder):
        parts = []
        for target, source in plan.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            digest = Digest('sha256', sha256_of(source))
            copy_checked(source, part_of(target), digest, source.stat().st_size)
            parts.append((part_of(target), target))
        part_of(manifest).write_text(content, 'utf-8')
        for part, target in [*parts, (part_of(manifest), manifest)]:  # the manifest last
            os.replace(part, target)
    return [*plan, manifest]
