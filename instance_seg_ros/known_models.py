# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The published models that can be downloaded: their addresses, digests and limits."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Digest:
    """A digest on record.

    Attributes:
        algorithm: a name that hashlib knows.
        value: hexadecimal.
    """

    algorithm: str
    value: str

    def __str__(self) -> str:
        """Return such as "SHA-1 c8adff66..."."""
        return f'{self.algorithm.upper().replace("SHA", "SHA-")} {self.value}'

    def of(self, path: Path) -> str:
        """Return the digest that a file has, by the same algorithm.

        Raises:
            OSError: the file cannot be read.
        """
        digest = hashlib.new(self.algorithm)
        with path.open('rb') as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
        return digest.hexdigest()

    def fits(self, path: Path) -> bool:
        """Whether a file has this digest; False where it cannot be read."""
        try:
            return self.of(path) == self.value
        except OSError:
            return False


@dataclass(frozen=True)
class Download:
    """What is fetched for a file of a model: the file itself, or an archive that has it.

    Attributes:
        name: of the file that is fetched.
        urls: its addresses, the publisher's first; the next is tried where one fails.
        digest: it must have.
        largest: bytes; more are not read.
    """

    name: str
    urls: tuple[str, ...]
    digest: Digest
    largest: int


@dataclass(frozen=True)
class KnownFile:
    """A file of a published model.

    Attributes:
        name: as the model's manifest has it.
        digest: it must have.
        largest: bytes; more are not read.
        download: what is fetched for it.
        member: its name in the archive that is fetched, '' where the file itself is.
    """

    name: str
    digest: Digest
    largest: int
    download: Download
    member: str = ''


@dataclass(frozen=True)
class KnownModel:
    """A model whose manifest is shipped, and whose large files can be downloaded.

    Attributes:
        name: of its manifest.
        alias: short name for people.
        megabytes: that are fetched, about; for people.
        files: the ones that are not shipped.
    """

    name: str
    alias: str
    megabytes: int
    files: tuple[KnownFile, ...]

    def is_misnamed(self, name: str) -> bool:
        """Whether a file of another name looks like one of this model's, packed or renamed."""
        published = Path(self.files[0].download.name).name.split('.')[0]
        stems = '|'.join(re.escape(stem) for stem in (published, self.name))
        looks = rf'({stems})( ?\(\d+\))?(\.(pb|pbtxt|txt|tar|tgz|gz|zip))*'
        return re.fullmatch(looks, name, re.IGNORECASE) is not None and name not in {
            file.name for file in self.files
        }


_COCO_ARCHIVE = 'mask_rcnn_inception_v2_coco_2018_01_28.tar.gz'
_COCO_TEXT_GRAPH = 'mask_rcnn_inception_v2_coco_2018_01_28.pbtxt'
_TEXT_GRAPH_DIGEST = Digest(
    'sha256', '090923144d81b2e442093f965be27eccda11ce5f781eaf1c7ec76932ce99641e'
)

# The publisher's archive has no SHA-256 on record anywhere; its SHA-1 is OpenCV's.
KNOWN_MODELS = (
    KnownModel(
        name='mask_rcnn_inception_v2_coco',
        alias='coco',
        megabytes=180,
        files=(
            KnownFile(
                name='mask_rcnn_inception_v2_coco.pb',
                digest=Digest('sha1', 'c8adff66a1e23e607f57cf1a7cfabad0faa371f9'),
                largest=200_000_000,
                member='mask_rcnn_inception_v2_coco_2018_01_28/frozen_inference_graph.pb',
                download=Download(
                    name=_COCO_ARCHIVE,
                    urls=(
                        f'https://download.tensorflow.org/models/object_detection/{_COCO_ARCHIVE}',
                        'https://storage.googleapis.com/download.tensorflow.org/models/'
                        f'object_detection/{_COCO_ARCHIVE}',
                    ),
                    digest=Digest('sha1', 'f8a920756744d0f7ee812b3ec2474979f74ab40c'),
                    largest=400_000_000,
                ),
            ),
            KnownFile(
                name=_COCO_TEXT_GRAPH,
                digest=_TEXT_GRAPH_DIGEST,
                largest=1_000_000,
                download=Download(
                    name=_COCO_TEXT_GRAPH,
                    # Tags of releases, not a branch.
                    urls=tuple(
                        f'https://raw.githubusercontent.com/opencv/opencv_extra/{release}/'
                        f'testdata/dnn/{_COCO_TEXT_GRAPH}'
                        for release in ('4.10.0', '4.11.0')
                    ),
                    digest=_TEXT_GRAPH_DIGEST,
                    largest=1_000_000,
                ),
            ),
        ),
    ),
)


def find_known(name: str) -> KnownModel | None:
    """Return the published model of a name or alias, None where there is none."""
    return next((model for model in KNOWN_MODELS if name in (model.name, model.alias)), None)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises:
        OSError: it cannot be read.
    """
    return Digest('sha256', '').of(path)
