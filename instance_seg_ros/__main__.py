# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The command line as ``python -m instance_seg_ros``."""

import sys

from instance_seg_ros.cli import main

if __name__ == '__main__':
    sys.exit(main())
