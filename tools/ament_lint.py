# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Runs ament_flake8 and ament_pep257 with the arguments that CMakeLists.txt has for them."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
PACKAGE = 'instance_seg_ros'
LINTERS = ('flake8', 'pep257')


def arguments_of(linter: str) -> list[str]:
    """Return the arguments of ament_<linter>(...) in CMakeLists.txt."""
    cmake = (ROOT / 'CMakeLists.txt').read_text('utf-8')
    call = re.search(rf'^ *ament_{linter}\((.*?)\)$', cmake, re.DOTALL | re.MULTILINE)
    if call is None:
        raise SystemExit(f'error: CMakeLists.txt has no call of ament_{linter}')
    text = call[1].replace('${PROJECT_NAME}', PACKAGE)
    text = text.replace('${CMAKE_CURRENT_SOURCE_DIR}', '.')
    # CMake's name of an argument; the program has an option.
    return text.replace('CONFIG_FILE', '--config').split()


def main() -> int:
    """Print what a linter finds, and nothing where it finds nothing."""
    code = 0
    for linter in LINTERS:
        program = shutil.which(f'ament_{linter}', path=f'{BIN}{os.pathsep}{os.environ["PATH"]}')
        if program is None:
            print(f'ament_{linter} is not installed: left to `colcon test`')
            continue
        found = subprocess.run(
            [program, *arguments_of(linter)], cwd=ROOT, capture_output=True, text=True
        )
        if found.returncode != 0:
            # Without the list of all files that were looked at.
            lines = (found.stdout + found.stderr).splitlines()
            said = [line for line in lines if line and not line.startswith(('* ', 'checking '))]
            print(f'ament_{linter}:', *said, sep='\n')
            code = 1
    return code


if __name__ == '__main__':
    sys.exit(main())
