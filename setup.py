# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Installs the library and the command line without ROS: `pip install .`."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent
NAME = 'instance_seg_ros'


def version() -> str:
    """Return the version that package.xml states, which is the one place to change it."""
    found = re.search(r'<version>(.+?)</version>', (HERE / 'package.xml').read_text('utf-8'))
    if found is None:
        raise RuntimeError('package.xml has no <version>')
    return found.group(1)


def long_description() -> str:
    readme = HERE / 'README.md'
    return readme.read_text('utf-8') if readme.is_file() else ''


def model_files() -> list[str]:
    """Return the model files, relative to this folder, as data_files wants them."""
    return sorted(
        str(path.relative_to(HERE)) for path in (HERE / 'models').glob('*') if path.is_file()
    )


setup(
    name=NAME,
    version=version(),
    description='Instance segmentation with Mask R-CNN for ROS 2, on OpenCV alone',
    long_description=long_description(),
    long_description_content_type='text/markdown',
    license='MIT',
    packages=find_packages(include=[NAME, f'{NAME}.*']),
    data_files=[(f'share/{NAME}/models', model_files())],
    python_requires='>=3.10',
    install_requires=[
        'numpy>=1.24,<3',  # arrays
        # cv2.dnn runs the network, cv2.ximgproc smooths masks. With windows: a desktop has the
        # libraries that they need; on a server install the -headless build instead. 5.1 reads no
        # TensorFlow graphs any more.
        'opencv-contrib-python>=4.10,<5.1',
        'onnxruntime>=1.19,<2',  # the learned refiner; older ones do not work with NumPy 2
        'pycocotools>=2.0.7,<3',  # COCO's run-lengths
        'PyYAML>=5.4,<7',  # manifests
        'tqdm>=4.60,<5',  # progress bars
    ],
    entry_points={'console_scripts': [f'instance-seg = {NAME}.cli:main']},
    zip_safe=False,
)
