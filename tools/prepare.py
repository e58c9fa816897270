# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Prepares all that `make demo`, `make test` and `make lint` need; does nothing if it is there."""

import argparse
import sys
from pathlib import Path

from machine import SetupError, check_machine
from virtualenv import DISTRIBUTIONS, make_virtualenv
from workspace import build_workspace


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--venv', type=Path, required=True, help='the virtual environment')
    parser.add_argument('--workspace', type=Path, help='build the ROS packages in this folder')
    parser.add_argument(
        '--ros',
        choices=DISTRIBUTIONS,
        default=DISTRIBUTIONS[0],
        help='the distribution, where ROS 2 is not installed',
    )
    arguments = parser.parse_args()
    try:
        check_machine(arguments.ros)
        environment_digest = make_virtualenv(arguments.venv, arguments.ros)
        if arguments.workspace is not None:
            build_workspace(arguments.workspace, arguments.venv, environment_digest)
    except SetupError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
