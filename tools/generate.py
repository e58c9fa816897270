# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Writes the files that are generated from the settings: `make generate`; --check only compares.

The settings are in instance_seg_ros/settings.py and instance_seg_ros/ros/settings.py. Needs nothing
but Python.
"""

import argparse
import sys
import textwrap
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from instance_seg_ros.ros.settings import all_settings  # noqa: E402
from instance_seg_ros.schema import Applies, Setting, settings_of  # noqa: E402
from instance_seg_ros.settings import ModelSettings, Settings  # noqa: E402

BEGIN, END = '<!-- settings: written by make generate -->', '<!-- end of settings -->'
# Those that people change first; docs/ros-interface.md has all.
README_SETTINGS = (
    'model',
    'engine',
    'confidence_threshold',
    'classes',
    'refiner',
    'speed_preset',
    'image_topics',
    'image_transport',
    'max_rate',
    'tracking',
    'depth_topic',
    'mask_encoding',
    'autostart',
)
APPLIES = {Applies.LIVE: 'live', Applies.AT_CONFIGURE: 're-configure', Applies.AT_START: 'start'}
ROS_TYPES = {float: 'double', int: 'int', bool: 'bool', str: 'string', tuple: 'string[]'}

PYTHON_HEAD = '''\
# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The settings as arguments and properties of the Segmenter, for type checkers and editors.

Written by ``make generate`` from settings.py: change that file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from instance_seg_ros.settings import Settings

if TYPE_CHECKING:
    from typing_extensions import Unpack


class LiveArguments(TypedDict, total=False):
    """The fields of Settings."""

{live}


class SegmenterArguments(LiveArguments, total=False):
    """The fields of ModelSettings and Settings."""

{model}


class SettingProperties(ABC):
    """A property for each field of Settings."""

    @property
    @abstractmethod
    def settings(self) -> Settings:
        """The settings in use."""

    @abstractmethod
    def update(self, **settings: Unpack[LiveArguments]) -> None:
        """Change some settings."""
'''

PYTHON_PROPERTY = '''
    @property
    def {name}(self) -> {type}:
        """The setting ``{name}``, which applies from the next frame.

        {help}
        """
        return self.settings.{name}

    @{name}.setter
    def {name}(self, value: {argument}) -> None:
        self.update({name}=value)
'''

YAML_HEAD = """\
# Parameters of the node instance_seg, with their defaults. Those marked (C) are read when the node
# is configured, (S) at start only; the others change live, from the next frame on. Thresholds have
# no unit. Written by `make generate`: to change values, copy the file.
/**:
  ros__parameters:
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--check', action='store_true', help='only say which files are stale')
    check = parser.parse_args().check
    stale = [path for path, text in _files() if path.read_text('utf-8') != text]
    for path, text in [] if check else _files():
        path.write_text(text, 'utf-8')
    for path in stale:
        print(f'{path.relative_to(ROOT)}: {"is stale: run make generate" if check else "written"}')
    return 1 if check and stale else 0


def _files() -> Iterator[tuple[Path, str]]:
    """Yield each file with the text that it should have."""
    yield ROOT / 'instance_seg_ros' / 'typed_settings.py', python_module()
    yield ROOT / 'config' / 'seg.yaml', parameter_file()
    readme, interface = ROOT / 'README.md', ROOT / 'docs' / 'ros-interface.md'
    yield readme, _between_markers(readme, readme_table())
    yield interface, _between_markers(interface, interface_table())


def python_module() -> str:
    """Return the typed arguments and properties of the Segmenter."""
    live, model = settings_of(Settings), settings_of(ModelSettings)
    text = PYTHON_HEAD.format(live=_typed_fields(live), model=_typed_fields(model))
    for setting in live:
        text += PYTHON_PROPERTY.format(
            name=setting.name,
            type=setting.annotation,
            argument=_argument_type(setting),
            help=textwrap.fill(f'{setting.help}.', 92, subsequent_indent=' ' * 8),
        )
    return text


def _typed_fields(settings: Iterable[Setting]) -> str:
    return '\n'.join(f'    {each.name}: {_argument_type(each)}' for each in settings)


def _argument_type(setting: Setting) -> str:
    return 'Sequence[str]' if setting.kind is tuple else setting.annotation


def parameter_file() -> str:
    """Return config/seg.yaml."""
    marks = {Applies.LIVE: '', Applies.AT_CONFIGURE: '(C) ', Applies.AT_START: '(S) '}
    text = YAML_HEAD
    for group, settings in groupby(all_settings(), key=lambda each: each.group):
        text += f'    # ---- {group.value}\n'
        for setting in settings:
            comment = f'{marks[setting.applies]}{setting.help}.{_values_in_words(setting)}'
            text += textwrap.fill(comment, 100, initial_indent='    # ', subsequent_indent='    # ')
            text += f'\n    {setting.name}: {yaml_value(setting.default)}\n'
    return text


def _values_in_words(setting: Setting) -> str:
    if setting.choices:
        return f' One of {", ".join(setting.choices)}.'
    if setting.limits is not None:
        return f' {setting.range}.'
    return ''


def yaml_value(value: Any) -> str:
    """Write a default as it stands in a parameter file, where a list cannot be empty."""
    if isinstance(value, tuple):
        return str(list(value or ('',)))
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if value != '' else "''"


def readme_table() -> str:
    """Return README's table of the settings that people change first."""
    rows = ['| setting | default | |', '|---|---|---|']
    settings = {each.name: each for each in all_settings()}
    for setting in (settings[name] for name in README_SETTINGS):
        star = ' *' if setting.applies is Applies.LIVE else ''
        rows.append(f'| `{setting.name}`{star} | {_default(setting)} | {_cell(setting.help)} |')
    return '\n'.join(rows)


def interface_table() -> str:
    """Return the table of parameters of docs/ros-interface.md."""
    rows = ['| parameter | type | default | values | applies | |', '|---|---|---|---|---|---|']
    for setting in all_settings():
        values = ', '.join(f'`{choice}`' for choice in setting.choices) or setting.range
        cells = [
            f'`{setting.name}`',
            ROS_TYPES[setting.kind],
            _default(setting),
            values,
            APPLIES[setting.applies],
            _cell(setting.help),
        ]
        rows.append(f'| {" | ".join(cells)} |')
    return '\n'.join(rows)


def _default(setting: Setting) -> str:
    return '' if setting.default == '' else f'`{yaml_value(setting.default)}`'


def _cell(text: str) -> str:
    return text.replace('|', '\\|')


def _between_markers(path: Path, table: str) -> str:
    text = path.read_text('utf-8')
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise SystemExit(f'{path}: expected one "{BEGIN}" and one "{END}"')
    before, rest = text.split(BEGIN)
    return f'{before}{BEGIN}\n\n{table}\n\n{END}{rest.split(END)[1]}'


if __name__ == '__main__':
    sys.exit(main())
