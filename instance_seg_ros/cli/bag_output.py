# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The place of a bag that is written: checked before any work, and never half of a bag.

All is written in a hidden folder beside the place, which is kept until the bag is whole, so that
the same command goes on after a kill; then the bag is renamed.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import yaml

from instance_seg_ros.bags import BAG_SUFFIXES
from instance_seg_ros.cli.outputs import OutputError, place_of, written


class BagOutput:
    """A folder that is to become a bag.

    Args:
        path: of the bag.
        source, files: the bag that is read, and its files.
        overwrite: whether a bag that exists may be replaced.

    Attributes:
        path: of the bag.
        journal: where results are kept until they are complete.

    Raises:
        OutputError: the path is or touches the source, is no name of a folder, or exists.

    """

    def __init__(self, path: Path, source: Path, files: list[Path], *, overwrite: bool) -> None:
        self.path = path
        self._place = place_of(path)
        self._overwrite = overwrite
        if self._place.suffix in BAG_SUFFIXES:
            raise OutputError(
                f'{path}: expected the name of a folder, which becomes a rosbag2 bag, without '
                f'{self._place.suffix}'
            )
        self._check_source(source, files)
        self._check_existing()
        self._work = self._place.with_name(f'.instance-seg-{self._place.name}.unfinished')
        self.journal = self._work / 'journal.sqlite'

    def _check_source(self, source: Path, files: list[Path]) -> None:
        place, read = self._place.resolve(), source.resolve()
        folders = {read, *(file.resolve() for file in files)}
        if place in folders or any(place in each.parents for each in folders):
            raise OutputError(f'{self.path}: is read by this command; give another place')
        if read.is_dir() and read in place.parents:
            raise OutputError(f'{self.path}: would be inside of {source}; give another place')

    def _check_existing(self) -> None:
        place = self._place
        if not place.exists() and not place.is_symlink():
            return
        if not self._overwrite:
            raise OutputError(
                f'{self.path}: exists. Give another place, or --overwrite to replace what is there'
            )
        strange = _what_is_no_bag(place)
        if strange:
            raise OutputError(
                f'{self.path}: {strange}. --overwrite replaces only bags; give another place'
            )

    def begin(self) -> None:
        """Make the folder for the work; put back what a killed run was replacing.

        Raises:
            OutputError: it cannot be written.

        """
        with written(self.path):
            self._work.mkdir(parents=True, exist_ok=True)
            if self._replaced.exists() and not self._place.exists():
                self._replaced.rename(self._place)

    @contextlib.contextmanager
    def writing(self) -> Iterator[Path]:
        """Lend the folder in which the bag is written; it does not exist yet.

        Raises:
            OutputError: it cannot be written.

        """
        shutil.rmtree(self._bag.parent, ignore_errors=True)
        with written(self.path):
            self._bag.parent.mkdir()
            yield self._bag

    def finish(self) -> None:
        """Rename the bag that was written to its place, and remove the rest.

        Raises:
            OutputError: something has come to be there that may not be replaced.

        """
        self._check_existing()
        with written(self.path):
            if self._place.exists():
                self._place.rename(self._replaced)
            self._bag.rename(self._place)
            shutil.rmtree(self._work)

    @property
    def _bag(self) -> Path:
        # A storage file is named by its folder, so that one has its final name already.
        return self._work / 'bag' / self._place.name

    @property
    def _replaced(self) -> Path:
        return self._work / 'replaced'


def _what_is_no_bag(place: Path) -> str:
    """Return what is there that is no rosbag2 bag; '' where all is."""
    if place.is_symlink() or not place.is_dir():
        return 'is no folder'
    metadata = place / 'metadata.yaml'
    try:
        about = yaml.safe_load(metadata.read_text('utf-8'))['rosbag2_bagfile_information']
        own = {'metadata.yaml', *(Path(name).name for name in about['relative_file_paths'])}
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return 'is no rosbag2 bag'
    others = sorted({each.name for each in place.iterdir()} - own)
    return f'has other files than a bag has, such as {others[0]}' if others else ''
