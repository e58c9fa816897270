# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""A published model that is small: the shipped one's network, packed and described as COCO's is."""

import gzip
import hashlib
import io
import tarfile
from dataclasses import replace
from pathlib import Path

import yaml

from instance_seg_ros import known_models
from instance_seg_ros.known_models import Digest, Download, KnownFile, KnownModel

MODELS = Path(__file__).parents[2] / 'models'
WEIGHTS = (MODELS / 'person_mask_rcnn.pb').read_bytes()
TEXT_GRAPH = (MODELS / 'person_mask_rcnn.pbtxt').read_bytes()
ARCHIVE_NAME, MEMBER = 'tiny_2018_01_28.tar.gz', 'tiny_2018_01_28/frozen_inference_graph.pb'
TEXT_GRAPH_NAME = 'tiny_2018_01_28.pbtxt'


def digest(content: bytes, algorithm: str = 'sha256') -> Digest:
    return Digest(algorithm, hashlib.new(algorithm, content).hexdigest())


def pack(members: list[tuple[tarfile.TarInfo | str, bytes]]) -> bytes:
    """Return a tar.gz, the same one each time."""
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode='wb', mtime=0, compresslevel=1) as stream,
        tarfile.open(fileobj=stream, mode='w') as archive,
    ):
        for about, content in members:
            entry = tarfile.TarInfo(about) if isinstance(about, str) else about
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


ARCHIVE = pack(
    [('tiny_2018_01_28/checkpoint', b'x'), (MEMBER, WEIGHTS), ('tiny_2018_01_28/last', b'y')]
)


def tiny_model(url: str, archive: bytes = ARCHIVE) -> KnownModel:
    """Return the model as a server at an address publishes it."""
    packed = Download(
        ARCHIVE_NAME,
        (f'{url}/{ARCHIVE_NAME}', f'{url}/second/{ARCHIVE_NAME}'),
        digest(archive, 'sha1'),
        largest=8_000_000,
    )
    graph = Download(TEXT_GRAPH_NAME, (f'{url}/{TEXT_GRAPH_NAME}',), digest(TEXT_GRAPH), 300_000)
    return KnownModel(
        'tiny',
        'small',
        4,
        (
            KnownFile('tiny.pb', digest(WEIGHTS, 'sha1'), 5_000_000, packed, MEMBER),
            KnownFile(TEXT_GRAPH_NAME, graph.digest, 300_000, graph),
        ),
    )


def with_addresses(model: KnownModel, *urls: str) -> KnownModel:
    """Return a model with other addresses for its archive."""
    weights, graph = model.files
    moved = replace(weights, download=replace(weights.download, urls=urls))
    return replace(model, files=(moved, graph))


def write_tiny_manifest(folder: Path) -> None:
    """Write what a package has of such a model: manifest and labels."""
    folder.mkdir(exist_ok=True)
    (folder / 'tiny_labels.txt').write_text('person\n')
    content = {
        'name': 'tiny',
        'weights': 'tiny.pb',
        'text_graph': TEXT_GRAPH_NAME,
        'labels': 'tiny_labels.txt',
        'sha1': {'weights': digest(WEIGHTS, 'sha1').value},
        'sha256': {'text_graph': digest(TEXT_GRAPH).value},
        'input_max_side': 160,
    }
    (folder / 'tiny.yaml').write_text(yaml.safe_dump(content))


def publish(*models: KnownModel) -> None:
    """Let these be the models that can be downloaded, in a process that ends soon."""
    known_models.KNOWN_MODELS = models
