# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What the command line does with models: list, download, verify, add, remove and convert them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from instance_seg_ros import known_models
from instance_seg_ros.cli.console import CommandError, Console, print_out
from instance_seg_ros.cli.sources import find_images
from instance_seg_ros.detection.onnx_cache import folder_beside, write_parts
from instance_seg_ros.detection.onnx_calibration import observe_ranges, ranges_file, write_ranges
from instance_seg_ros.downloads import DEFAULT_TIMEOUT, DownloadError, part_of
from instance_seg_ros.errors import ModelError
from instance_seg_ros.images import read_image
from instance_seg_ros.install import data_folder, install_known, steps_by_hand
from instance_seg_ros.known_models import Digest, KnownModel, find_known
from instance_seg_ros.missing_files import half_installed, missing_words
from instance_seg_ros.model_folders import manifest_files
from instance_seg_ros.models import PART_ROLES, ModelManifest, find_model, read_manifest
from instance_seg_ros.own_models import add_own, remove
from instance_seg_ros.segmenter import Segmenter
from instance_seg_ros.settings import ONNXRUNTIME
from instance_seg_ros.text_files import is_file

DONE, DAMAGED = 0, 1


def run_models(options: argparse.Namespace) -> int:
    """Carry out ``models ACTION``; return the exit code.

    Raises:
        CommandError, ModelError: it cannot be done; the message says why.
    """
    actions: dict[str, Callable[[argparse.Namespace], int]] = {
        'list': _list,
        'download': _download,
        'verify': _verify,
        'path': _path,
        'add': _add,
        'remove': _remove,
        'convert': _convert,
        'calibrate': _calibrate,
    }
    return actions[options.action](options)


def _list(options: argparse.Namespace) -> int:
    rows = [_row(name, path) for name, path in sorted(manifest_files().items())]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)] if rows else []
    for name, state, where in rows:
        print_out(f'{name:{widths[0]}}  {state:{widths[1]}}  {where}')
    return DONE


def _row(name: str, path: Path) -> tuple[str, str, str]:
    """Return name, state, and where it is or what to do."""
    try:
        manifest = read_manifest(path)
    except ModelError as error:
        return name, 'unusable', str(error)
    missing = manifest.missing_files()
    if not missing:
        weights = manifest.weights or manifest.labels
        return name, 'installed', str(weights.parent)
    if problem := half_installed(name, manifest.files):
        return name, 'half installed', problem
    known = find_known(name)
    if known is None:
        return name, 'unusable', missing_words(manifest.files)
    begun = _megabytes_begun(known)
    about = f'about {known.megabytes} MB' + (f', {begun:.1f} MB are there' if begun else '')
    return name, 'not installed', f'instance-seg models download {known.alias} ({about})'


def _megabytes_begun(known: KnownModel) -> float:
    """Return how much there is of a download that was broken off."""
    parts = [part_of(data_folder() / file.download.name) for file in known.files]
    return sum(part.stat().st_size for part in parts if is_file(part)) / 1e6


def _download(options: argparse.Namespace) -> int:
    known = find_known(options.name)
    if known is None:
        names = ', '.join(model.alias for model in known_models.KNOWN_MODELS)
        raise CommandError(f'{options.name!r} is no model that can be downloaded. Known: {names}')
    if not options.source and (where := _installed_elsewhere(known)):
        print_out(f'{known.name} is in {where} already, whole')
        return DONE
    return _install(known, options.source, quiet=options.quiet, timeout=options.timeout)


def _installed_elsewhere(known: KnownModel) -> Path | None:
    """Return the folder of a model whose files are all there and right, None otherwise."""
    places = manifest_files()
    if known.name not in places:
        return None
    manifest = read_manifest(places[known.name])
    files = {path.name: path for path in manifest.files.values()}
    if all(f.name in files and f.digest.fits(files[f.name]) for f in known.files):
        return files[known.files[0].name].parent
    return None


def _install(
    known: KnownModel, sources: list[str], *, quiet: bool = True, timeout: float = DEFAULT_TIMEOUT
) -> int:
    with _Bars(Console(quiet=quiet)) as bars:
        try:
            installed = install_known(known, sources, progress=bars.show, timeout=timeout)
        except DownloadError as error:
            raise CommandError(f'{error}\n{steps_by_hand(known)}') from None
    for path in installed:
        print_out(path)
    if not installed:
        print_out(f'{known.name} is in {data_folder()} already, whole')
    if (where := manifest_files().get(known.name)) is not None:
        find_model(where)  # its files are found
    return DONE


class _Bars:
    """A bar of progress for each file that is fetched."""

    def __init__(self, console: Console) -> None:
        self._console, self._name = console, ''
        self._bar: Any = None

    def __enter__(self) -> _Bars:
        return self

    def __exit__(self, *about: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, name: str, done: int, total: int | None) -> None:
        """Show how much of a file is there."""
        if name != self._name:
            self.__exit__()
            self._name = name
            self._bar = self._console.bytes_bar(name, done, total)
        self._bar.update(done - self._bar.n)


def _verify(options: argparse.Namespace) -> int:
    places = manifest_files()
    names = [_full_name(options.name)] if options.name else sorted(places)
    code = DONE
    for name in names:
        manifest = find_model(name) if options.name else _installed(name, places[name])
        if isinstance(manifest, str):
            print_out(f'{name}: {manifest}')
            code = DAMAGED
        elif manifest is not None and not _verify_one(manifest):
            code = DAMAGED
    return code


def _installed(name: str, path: Path) -> ModelManifest | str | None:
    """Return a manifest, what is wrong with it, or None for a model that is not installed."""
    try:
        manifest = read_manifest(path)
    except ModelError as error:
        return str(error)
    if not manifest.missing_files():
        return manifest
    if find_known(name) is not None:
        return half_installed(name, manifest.files) or None
    return missing_words(manifest.files)


def _verify_one(manifest: ModelManifest) -> bool:
    """Print a line for each file of a model; return whether all are right."""
    right = True
    for role, path in manifest.files.items():
        verdict = 'no digest on record'
        if role in manifest.digests:
            digest = Digest(*manifest.digests[role])
            actual = digest.of(path)
            verdict = 'right'
            if actual != digest.value.lower():
                right, verdict = False, f'DAMAGED or another file: expected {digest}, got {actual}'
        print_out(f'{manifest.name}: {path}: {verdict}')
    return right


def _path(options: argparse.Namespace) -> int:
    if not options.name:
        print_out(data_folder())
        return DONE
    name = _full_name(options.name)
    manifest = find_model(name)
    for path in (*filter(None, [manifest_files().get(name)]), *manifest.files.values()):
        print_out(path)
    return DONE


def _full_name(name: str) -> str:
    known = find_known(name)
    return name if known is None else known.name


def _add(options: argparse.Namespace) -> int:
    for known in known_models.KNOWN_MODELS:
        if any(_belongs_to(Path(file), known) for file in options.files):
            return _install(known, list(map(str, options.files)))
    for path in add_own(options.files, options.name, overwrite=options.overwrite):
        print_out(path)
    return DONE


def _belongs_to(path: Path, known: KnownModel) -> bool:
    """Whether a file is one of a published model's, whatever its name."""
    own = {name for file in known.files for name in (file.name, file.download.name)}
    if path.name in own or known.is_misnamed(path.name):
        return True
    digests = {digest for file in known.files for digest in (file.digest, file.download.digest)}
    return is_file(path) and any(digest.fits(path) for digest in digests)


def _remove(options: argparse.Namespace) -> int:
    for path in remove(options.name):
        print_out(f'removed {path}')
    return DONE


def _convert(options: argparse.Namespace) -> int:
    manifest = find_model(options.model)
    if manifest.weights is None:
        raise ModelError(f'model {manifest.name!r} has ONNX parts already')
    weights, text_graph = manifest.tensorflow_files()
    manifest.check_digests()
    for path in write_parts(weights, text_graph, options.output or folder_beside(weights)):
        print_out(path)
    return DONE


def _calibrate(options: argparse.Namespace) -> int:
    manifest = find_model(options.model)
    if manifest.weights is None:
        raise ModelError(
            f'model {manifest.name!r} has ONNX parts of its own, which stay as they are'
        )
    if manifest.parts:
        raise ModelError(
            f'model {manifest.name!r} names ONNX parts of its own, which int8 leaves as they are. '
            f'Take {", ".join(PART_ROLES)} out of {manifest.path}, and calibrate it then'
        )
    weights, text_graph = manifest.tensorflow_files()
    photos = find_images(options.photos).files
    segmenter = Segmenter(model=options.model, engine=ONNXRUNTIME, refiner='none')
    images = (segmenter.network_image(read_image(Path(photo.path))) for photo in photos)
    path = ranges_file(weights)
    try:
        write_ranges(path, weights, text_graph, observe_ranges(weights, text_graph, images))
    except OSError as error:
        raise ModelError(
            f'{path}: cannot be written: {error.strerror}. Copy the model to the data folder: '
            'instance-seg models add'
        ) from None
    print_out(path)
    return DONE
