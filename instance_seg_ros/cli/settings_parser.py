# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""A parser whose defaults can come from a file, which the option --config names."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from instance_seg_ros.cli.completion import names_files
from instance_seg_ros.cli.config_file import read_config
from instance_seg_ros.paths import given_path
from instance_seg_ros.schema import Setting

_BAD_INPUT = 2  # exit code


class SettingsParser(argparse.ArgumentParser):
    """Reads the file that --config names; what is given on the command line wins.

    Parsers of commands that are added to it are of this class, too.

    Attributes:
        settings: that are options here.
        other_parameters: parameters of the node that are options here under another name or as
            well: parameter to option.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.settings: tuple[Setting, ...] = ()
        self.other_parameters: dict[str, str] = {}

    def add_config_option(self, settings: Sequence[Setting]) -> None:
        """Let these settings come from a file."""
        self.settings = tuple(settings)
        action = self.add_argument(
            '--config',
            type=given_path,
            metavar='FILE',
            help="YAML file of settings, such as the node's config/seg.yaml, or lines such as "
            'tiles: 2x2; options of the command line win',
        )
        names_files(action)
        self.set_defaults(config_left_out=())

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """Parse as usual; where a file is named, parse again with what it says as defaults."""
        parsed, rest = super().parse_known_args(args, namespace)
        if not self.settings or parsed.config is None:
            return parsed, rest
        try:
            config = read_config(parsed.config, self.settings, self.other_parameters)
        except ValueError as error:
            self.exit(_BAD_INPUT, f'instance-seg: error: --config: {error}\n')
        self.set_defaults(**config.values, config_left_out=tuple(config.left_out))
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """End with one line; the options of a command fill a screen."""
        self.exit(_BAD_INPUT, f'{self.prog}: error: {message}. See {self.prog} --help\n')
