# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Models on disk: what a manifest says, and where manifests are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from instance_seg_ros.detection.text_graph import read_text_graph, split
from instance_seg_ros.errors import ModelError
from instance_seg_ros.installed import DOCS
from instance_seg_ros.known_models import Digest, find_known, sha256_of
from instance_seg_ros.missing_files import half_installed, missing_words, remedy
from instance_seg_ros.model_folders import (
    SEARCH_PATH_VARIABLE,
    folders_of_the_user,
    manifest_files,
    model_folders,
)
from instance_seg_ros.paths import given_path
from instance_seg_ros.settings import EXACT, ONNXRUNTIME, OPENCV
from instance_seg_ros.text_files import is_file, read_text, read_yaml, shown

COCO_MODEL = 'mask_rcnn_inception_v2_coco'
SHIPPED_MODEL = 'everyday_mask_rcnn'
SHIPPED_REFINER = 'mask_refiner.onnx'
DEFAULT_INPUT_MAX_SIDE = 1365  # of the published pipeline config

_COCO_CLASSES = 90
_TENSORFLOW = ('weights', 'text_graph')
PART_ROLES = ('proposal_part', 'box_part', 'mask_part')
_FILES = (*_TENSORFLOW, *PART_ROLES, 'labels')
_NUMBERS = ('input_max_side', 'proposals')
_LARGEST_UPSCALE = 4.0
_LONGEST_PATH = 1000  # characters; longer ones would fill messages
_LARGEST = {'input_max_side': 16384, 'proposals': 10_000, 'size_multiple': 512}
_FOR_PEOPLE = ('description', 'licence', 'card')
_OPTIONAL = (
    *_NUMBERS,
    'engine',
    'max_upscale',
    'size_multiple',
    'presets',
    'sha256',
    'sha1',
    *_FOR_PEOPLE,
)


@dataclass(frozen=True)
class SpeedPreset:
    """Time saved at the price of accuracy.

    Attributes:
        input_max_side: longest side in pixels that images are scaled down to.
        proposals: regions that the first stage hands on.
    """

    input_max_side: int
    proposals: int


# For models without presets of their own. The published graph has 100 proposals at 1365 pixels.
DEFAULT_PRESETS = {'balanced': SpeedPreset(800, 40), 'fast': SpeedPreset(576, 20)}


@dataclass(frozen=True)
class ModelManifest:
    """The files of a model, and how to run it.

    Attributes:
        name: as users give it.
        weights, text_graph: frozen graph and text graph, None for a model of ONNX parts only; see
            docs/models.md.
        labels: label file.
        digests: file role to (algorithm, hexadecimal digest) on record.
        input_max_side: longest side in pixels that images are scaled down to.
        max_upscale: smaller images are scaled up towards that side, by this factor at most.
        size_multiple: both sides are scaled to the nearest multiple of this number of pixels.
        proposals: regions that the first stage hands on, None for the text graph's own number.
        presets: by name, what to run it with where speed counts more.
        engine: that is faster for this model, '' where it does not say.
        proposal_part, box_part, mask_part: ONNX parts, None where they are to be converted.
        path: of the manifest that all this was read from, None where there is none.
    """

    name: str
    weights: Path | None
    text_graph: Path | None
    labels: Path
    digests: dict[str, tuple[str, str]] = field(default_factory=dict)
    input_max_side: int = DEFAULT_INPUT_MAX_SIDE
    max_upscale: float = 1.0
    size_multiple: int = 1
    proposals: int | None = None
    presets: dict[str, SpeedPreset] = field(default_factory=lambda: dict(DEFAULT_PRESETS))
    engine: str = ''
    proposal_part: Path | None = None
    box_part: Path | None = None
    mask_part: Path | None = None
    path: Path | None = None

    @property
    def files(self) -> dict[str, Path]:
        """The files that the model has, by their roles."""
        return {role: path for role in _FILES if (path := getattr(self, role)) is not None}

    @property
    def parts(self) -> dict[str, Path]:
        """The model's own ONNX parts by name, empty where it has none."""
        names = ('proposals', 'boxes', 'masks')
        paths = (self.proposal_part, self.box_part, self.mask_part)
        return {n: path for n, path in zip(names, paths, strict=True) if path is not None}

    def tensorflow_files(self) -> tuple[Path, Path]:
        """Return frozen graph and text graph of a model that has them."""
        assert self.weights is not None and self.text_graph is not None
        return self.weights, self.text_graph

    def missing_files(self) -> list[Path]:
        """Return the files that are not there."""
        return [path for path in self.files.values() if not is_file(path)]

    def at_speed(self, preset: str) -> ModelManifest:
        """Return the manifest with the sizes of a preset; ``exact`` changes nothing.

        Raises:
            ValueError: no such preset.
        """
        if preset == EXACT:
            return self
        if preset not in self.presets:
            raise ValueError(
                f'speed_preset is {preset!r}: model {self.name!r} knows '
                f'{", ".join((EXACT, *self.presets))}'
            )
        chosen = self.presets[preset]
        return replace(
            self,
            input_max_side=min(chosen.input_max_side, self.input_max_side),
            proposals=min(chosen.proposals, self.proposals or chosen.proposals),
        )

    def check_digests(self) -> None:
        """Compare every file with the digest on record.

        Raises:
            ModelError: a file differs: cv2.dnn would load it and run with wrong weights.
        """
        for role, (algorithm, expected) in self.digests.items():
            path: Path = getattr(self, role)
            actual = Digest(algorithm, expected).of(path)
            if actual != expected.lower():
                raise ModelError(
                    f'{role} {path}: its {algorithm.upper()} is {actual}, model {self.name!r} has '
                    f'{expected} on record. The file is damaged or another one: download it again, '
                    'or correct the manifest if you changed it on purpose'
                )


def find_model(
    model: str | Path = 'auto',
    *,
    model_path: str | Path = '',
    text_graph_path: str | Path = '',
    labels_path: str | Path = '',
) -> ModelManifest:
    """Find the files of a model. Every way to name a model ends here, so all follow one rule.

    1. ``model_path``, or a ``model`` that ends in .pb, is a frozen graph. The manifest that names
       it describes it, if there is one beside it or among the installed models. Without one, the
       text graph is the .pbtxt of the same name and the label file the ``_labels.txt`` of the same
       name; where that is missing, a model of 90 classes has COCO's.
    2. Otherwise ``model`` is a name, the path of a manifest, or ``auto``.
    3. ``text_graph_path`` and ``labels_path`` replace the files that were found so.

    Args:
        model: ``auto`` (the COCO model where its files are installed, else the shipped one), a
            model's name, the path of a manifest (.yaml), or the path of a frozen graph (.pb).
        model_path: a frozen graph, in place of ``model``. Empty: as ``model`` says.
        text_graph_path: a text graph in place of the model's own. Empty: its own.
        labels_path: a label file in place of the model's own. Empty: its own.

    Raises:
        ModelError: there is no such model, or one of its files is missing.

    Examples:
        >>> manifest = find_model('person_mask_rcnn')
        >>> manifest.weights.name, manifest.input_max_side
        ('person_mask_rcnn.pb', 544)
    """
    weights = str(model_path) or (str(model) if Path(model).suffix == '.pb' else '')
    graph = given_path(weights)
    described = _manifest_naming(graph) if weights else _of_name(str(model))
    found = described or _files_beside(graph)
    given = {
        role: given_path(path)
        for role, path in (('text_graph', text_graph_path), ('labels', labels_path))
        if str(path)
    }
    digests = {role: digest for role, digest in found.digests.items() if role not in given}
    found = replace(found, digests=digests, **given)  # type: ignore[arg-type]
    if described is None and 'labels' not in given and not is_file(found.labels):
        found = replace(found, labels=_coco_labels_for(found) or found.labels)
    return _complete(found)


def hint_at_coco(asked: str, name: str) -> str:
    """Return how to install the COCO model, where the shipped one was taken for want of it.

    Args:
        asked: the model that was asked for.
        name: of the one that was taken.

    Returns:
        A sentence, '' where there is nothing to say.

    Examples:
        >>> hint_at_coco('auto', 'everyday_mask_rcnn')[:31]
        'the COCO model is not installed'
        >>> hint_at_coco('person_mask_rcnn', 'person_mask_rcnn')
        ''
    """
    if asked != 'auto' or name != SHIPPED_MODEL:
        return ''
    return (
        'the COCO model is not installed: the shipped small model finds some everyday things. '
        f'`instance-seg models download coco` installs the other ({DOCS}/models.md)'
    )


def find_refiner() -> Path | None:
    """Return the mask refiner that is installed, None where there is none."""
    found = (folder / SHIPPED_REFINER for folder in model_folders())
    return next((path for path in found if path.is_file()), None)


def check_recorded_digest(path: Path) -> None:
    """Compare a file with ``<name>.sha256`` beside it, as ``sha256sum`` writes it, if there is one.

    Raises:
        ModelError: the file differs, or the record cannot be read.
    """
    record = path.with_name(f'{path.name}.sha256')
    if not record.is_file():
        return
    words = read_text(record, 'record', 'Expected a line of sha256sum', 10_000).split()
    if len(words) != 2 or len(words[0]) != 64:
        raise ModelError(
            f'{record}: expected a line of sha256sum: 64 hexadecimal digits and a file name'
        )
    actual = sha256_of(path)
    if actual != words[0].lower():
        raise ModelError(
            f'{path}: its SHA256 is {actual}, {record.name} has {words[0]} on record. The file is '
            'damaged or another one: install it again, or remove the record if you changed the '
            'file on purpose'
        )


def read_manifest(path: Path) -> ModelManifest:
    """Read a manifest.

    The paths in it are relative to it; what is not there is looked for in the folders of
    INSTANCE_SEG_ROS_MODELS and in the user's data folder, so that a model's downloaded files need
    not lie among installed ones.

    Raises:
        ModelError: the file is missing, is no YAML mapping, or lacks or does not know a key.
    """
    content = read_yaml(
        path, 'manifest', f'Expected the YAML file of a model; see {DOCS}/models.md'
    )
    if not isinstance(content, dict):
        raise ModelError(
            f'manifest {path}: expected a mapping with the keys name, {", ".join(_TENSORFLOW)}, '
            'labels'
        )
    needed = ('name', *_needed_files(content))
    missing = [key for key in needed if not isinstance(content.get(key), str)]
    unknown = sorted(_key(key) for key in set(content) - {'name', *_FILES, *_OPTIONAL})
    if missing or unknown:
        problems = [f'lacks {", ".join(missing)}'] * bool(missing)
        problems += [f'has unknown keys {", ".join(unknown[:10])}'] * bool(unknown)
        raise ModelError(f'manifest {path}: {" and ".join(problems)}')
    name = content['name']
    if not name.isprintable() or not 0 < len(name) <= 100:
        raise ModelError(
            f'manifest {path}: name is {shown(name)}, expected 1 to 100 printable characters'
        )
    for role in _FILES:
        if len(str(content.get(role, ''))) > _LONGEST_PATH:
            raise ModelError(
                f'manifest {path}: {role} is {shown(content[role])}, expected the name of a file'
            )
    return _manifest(path, content)


def _manifest(path: Path, content: dict[str, Any]) -> ModelManifest:
    digests = {
        role: (algorithm, digest)
        for algorithm in ('sha1', 'sha256')
        for role, digest in _digests(path, algorithm, content.get(algorithm, {})).items()
    }
    options: dict[str, Any] = _numbers(path, content, (*_NUMBERS, 'size_multiple'))
    if 'max_upscale' in content:
        options['max_upscale'] = _upscale(path, content['max_upscale'])
    if 'presets' in content:
        options['presets'] = _presets(path, content['presets'])
    if 'engine' in content:
        options['engine'] = _engine(path, content['engine'])
    files: dict[str, Any] = {
        role: _find_file(path.parent, content[role]) if role in content else None for role in _FILES
    }
    for role in digests:
        if files[role] is None:
            raise ModelError(f'manifest {path}: has a digest of {role}, which it does not name')
    return ModelManifest(content['name'], **files, digests=digests, path=path, **options)


def _needed_files(content: dict[str, Any]) -> tuple[str, ...]:
    """Return the files that a manifest must name: those of TensorFlow, or all ONNX parts."""
    has_parts = any(role in content for role in PART_ROLES)
    tensorflow = _TENSORFLOW if not has_parts or any(r in content for r in _TENSORFLOW) else ()
    return (*tensorflow, *(PART_ROLES if has_parts else ()), 'labels')


def _engine(path: Path, value: Any) -> str:
    if value not in (OPENCV, ONNXRUNTIME):
        raise ModelError(
            f'manifest {path}: engine is {shown(value)}, expected {OPENCV} or {ONNXRUNTIME}: the '
            'one that is faster for this model'
        )
    return str(value)


def _numbers(
    path: Path, content: dict[str, Any], keys: Iterable[str], of: str = ''
) -> dict[str, int]:
    numbers = {key: content[key] for key in keys if key in content}
    for key, value in numbers.items():
        if type(value) is not int or not 0 < value <= _LARGEST[key]:
            raise ModelError(
                f'manifest {path}: {of}{key} is {shown(value)}, expected a whole number above 0 '
                f'and at most {_LARGEST[key]}'
            )
    return numbers


def _key(key: Any) -> str:
    """Return a key of a file for a message."""
    plain = isinstance(key, str) and key.isprintable() and len(key) <= 50
    return key if plain else shown(key)


def _upscale(path: Path, value: Any) -> float:
    if type(value) not in (int, float) or not 1 <= value <= _LARGEST_UPSCALE:
        raise ModelError(
            f'manifest {path}: max_upscale is {shown(value)}, expected a factor from 1 (no '
            f'scaling up) to {_LARGEST_UPSCALE:g}'
        )
    return float(value)


def _presets(path: Path, value: Any) -> dict[str, SpeedPreset]:
    valid = isinstance(value, dict) and all(
        isinstance(preset, dict) and set(preset) == set(_NUMBERS) for preset in value.values()
    )
    if not valid:
        raise ModelError(
            f'manifest {path}: presets is {shown(value)}, expected a mapping of names to '
            f'{" and ".join(_NUMBERS)}'
        )
    return {
        str(name): SpeedPreset(**_numbers(path, preset, _NUMBERS, f'presets: {_key(name)}: '))
        for name, preset in value.items()
    }


def _digests(path: Path, algorithm: str, value: Any) -> dict[str, str]:
    valid = (
        isinstance(value, dict)
        and set(value) <= set(_FILES)
        and all(isinstance(digest, str) for digest in value.values())
    )
    if not valid:
        raise ModelError(
            f'manifest {path}: {algorithm} is {shown(value)}, expected a mapping of '
            f'{", ".join(_FILES)} or some of them to digests in quotes'
        )
    return value


def _find_file(folder: Path, name: str) -> Path:
    """Return a file of a manifest's folder, or, where it is not there, of the user's folders."""
    folders = [folder, *folders_of_the_user()]
    return next((f / name for f in folders if is_file(f / name)), folder / name)


def _manifest_naming(weights: Path) -> ModelManifest | None:
    """Return the manifest that names a frozen graph, None if there is none."""
    for folder in (weights.parent, *model_folders()):
        for path in sorted(folder.glob('*.yaml')):
            try:
                manifest = read_manifest(path)
            except ModelError:  # another program's file that lies there by chance
                continue
            named = manifest.weights
            if named is not None and named.resolve() == weights.resolve():
                return manifest
    return None


def _files_beside(weights: Path) -> ModelManifest:
    labels = weights.with_name(f'{weights.stem}_labels.txt')
    return ModelManifest(weights.stem, weights, weights.with_suffix('.pbtxt'), labels)


def _of_name(name: str) -> ModelManifest:
    if name == 'auto':
        return _auto()
    path = given_path(name)
    if path.suffix in ('.yaml', '.yml'):
        return read_manifest(path)
    for folder in model_folders():
        if is_file(folder / f'{name}.yaml'):
            return read_manifest(folder / f'{name}.yaml')
    known = sorted(manifest_files())
    published = find_known(name)
    if published is not None and published.name in known:  # by its short name
        return _of_name(published.name)
    raise ModelError(
        f'model {name!r}: not found. Known are auto, {", ".join(known) or "none"}; or give the '
        f'path of a manifest (.yaml) or of a frozen graph (.pb), or add a folder to '
        f'{SEARCH_PATH_VARIABLE}'
    )


def _coco_labels_for(manifest: ModelManifest) -> Path | None:
    """Return COCO's label file for a model of its 90 classes, None for others."""
    if manifest.text_graph is None or not is_file(manifest.text_graph):
        return None
    graph = split(read_text_graph(manifest.text_graph), manifest.text_graph)
    if graph.num_classes != _COCO_CLASSES:
        return None
    manifests = (folder / f'{COCO_MODEL}.yaml' for folder in model_folders())
    return next((read_manifest(path).labels for path in manifests if path.is_file()), None)


def _auto() -> ModelManifest:
    shipped, problem = None, ''
    for folder in model_folders():
        coco, small = folder / f'{COCO_MODEL}.yaml', folder / f'{SHIPPED_MODEL}.yaml'
        if coco.is_file():
            manifest = read_manifest(coco)
            if not manifest.missing_files():
                return manifest
            problem = problem or half_installed(manifest.name, manifest.files)
        if shipped is None and small.is_file():
            shipped = small
    if problem:  # who installed a part of it expects to get it, not another one
        raise ModelError(f'{problem}; or name another model than auto, such as {SHIPPED_MODEL}')
    if shipped is None:
        raise ModelError(
            f'model auto: neither {COCO_MODEL} nor {SHIPPED_MODEL} is in '
            f'{", ".join(map(str, model_folders())) or "any known folder"}. Install the package '
            f'again, or add the folder of its models to {SEARCH_PATH_VARIABLE}'
        )
    return read_manifest(shipped)


def _complete(manifest: ModelManifest) -> ModelManifest:
    if manifest.missing_files():
        source = f' (manifest {manifest.path})' if manifest.path is not None else ''
        raise ModelError(
            f'model {manifest.name!r}{source}: {missing_words(manifest.files)}. '
            f'{remedy(manifest.name, manifest.files)}. Or put the files there or in a folder that '
            f'{SEARCH_PATH_VARIABLE} names, or give their paths as model_path, text_graph_path '
            'and labels_path'
        )
    return manifest
