# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The command ``instance-seg completion``: a script with which a shell completes the others.

The script knows all options, so that the shell does not start Python at each tab.
"""

from __future__ import annotations

import argparse
from typing import Any

from instance_seg_ros.cli.console import CommandError, print_out

SHELLS = ('bash', 'zsh', 'fish')
# What shtab.FILE is, where shtab need not be installed.
_FILES = {
    'bash': '_shtab_compgen_files',
    'zsh': '_files',
    'fish': '(__fish_complete_path (commandline -ct))',
}


def names_files(action: argparse.Action) -> None:
    """Let the value of an option or argument be completed as the name of a file or folder."""
    action.complete = _FILES  # type: ignore[attr-defined]  # an attribute that shtab reads


def add_completion_command(commands: Any) -> None:
    """Add ``completion`` to the parser's commands."""
    parser = commands.add_parser(
        'completion',
        help='print what lets a shell complete the commands and options with the tab key',
        description='Print a script for a shell. For bash: eval "$(instance-seg completion bash)" '
        'in ~/.bashrc; for others see docs/command-line.md.',
    )
    parser.add_argument('shell', choices=SHELLS)


def print_completion(shell: str, parser: argparse.ArgumentParser) -> None:
    """Print the script for a shell.

    Raises:
        CommandError: shtab is missing.

    """
    try:
        import shtab
    except ImportError:
        raise CommandError(
            'completion needs shtab: pip install "shtab>=1.13", which the extra '
            'instance_seg_ros[completion] has'
        ) from None
    print_out(shtab.complete(parser, shell))
