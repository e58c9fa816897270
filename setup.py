# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Installs the library and the command line without ROS: `pip install .`."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent
NAME = 'instance_seg_ros'
URL = 'https://github.com/instance-seg-ros/instance_seg_ros'
PAGES = f'{URL}/blob/main'
FILES = 'https://raw.githubusercontent.com/instance-seg-ros/instance_seg_ros/main'
# What is installed beside the code, below share/instance_seg_ros; CMakeLists.txt does the same.
SHARED = ['.', 'models', 'demo', 'demo/photos', 'msg']


def from_package_xml(pattern: str) -> re.Match[str]:
    """Return what matches in package.xml, the one place that states the version and the author."""
    found = re.search(pattern, (HERE / 'package.xml').read_text('utf-8'))
    if found is None:
        raise RuntimeError(f'package.xml: nothing matches {pattern}')
    return found


def long_description() -> str:
    """Return README.md with absolute links: its pages and pictures are not part of the package."""
    text = (HERE / 'README.md').read_text('utf-8')
    text = re.sub(r'(!\[[^\]]*\]\()(?!https?:)', rf'\g<1>{FILES}/', text)
    return re.sub(r'(?<!!)(\[[^\]]*\]\()(?!https?:|#)', rf'\g<1>{PAGES}/', text)


def shared_files(folder: str) -> list[str]:
    """Return the files of a folder, relative to this one, as data_files wants them."""
    if folder == '.':
        return ['package.xml']
    suffixes = ('.jpg', '.md') if folder.startswith('demo') else None
    return sorted(
        str(path.relative_to(HERE))
        for path in (HERE / folder).glob('*')
        if path.is_file() and (suffixes is None or path.suffix in suffixes)
    )


author = from_package_xml(r'<author email="(.+?)">(.+?)</author>')
setup(
    name=NAME,
    version=from_package_xml(r'<version>(.+?)</version>').group(1),
    description='Instance segmentation with Mask R-CNN for ROS 2 and Python, on a processor',
    long_description=long_description(),
    long_description_content_type='text/markdown',
    author=author.group(2),
    author_email=author.group(1),
    url=URL,
    project_urls={
        'Source': URL,
        'Documentation': f'{PAGES}/docs',
        'Changes': f'{PAGES}/CHANGELOG.rst',
        'Issues': f'{URL}/issues',
    },
    license='MIT',
    license_files=['LICENSE'],
    keywords='instance-segmentation mask-rcnn opencv robotics ros2',
    classifiers=[
        'Development Status :: 4 - Beta',
        'Intended Audience :: Developers',
        'Intended Audience :: Science/Research',
        'Operating System :: OS Independent',
        'Programming Language :: Python :: 3',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Programming Language :: Python :: 3.13',
        'Programming Language :: Python :: 3.14',
        'Topic :: Scientific/Engineering :: Image Recognition',
        'Typing :: Typed',
    ],
    packages=find_packages(include=[NAME, f'{NAME}.*']),
    package_data={NAME: ['py.typed', 'evaluation/report.html', 'viewing/page.html']},
    data_files=[(f'share/{NAME}/{folder}', shared_files(folder)) for folder in SHARED],
    python_requires='>=3.10',
    install_requires=[
        'numpy>=1.24,<3',  # arrays
        # cv2.dnn runs the network, cv2.ximgproc smooths masks. With windows: a desktop has the
        # libraries that they need; on a server install the -headless build instead. Where cv2.dnn
        # does not read the model's files (before 4.10 and from 5.1 on), onnxruntime runs it.
        'opencv-contrib-python>=4.5.4,<6',
        'pillow>=9,<14',  # class names beyond ASCII in pictures
        'onnxruntime>=1.19,<2',  # second engine, refiner; older ones do not work with NumPy 2
        'pycocotools>=2.0.7,<3',  # COCO's run lengths
        'PyYAML>=5.4,<7',  # manifests
        'requests>=2.25,<3',  # downloads of models; pooch, which is made for it, cannot resume
        'tqdm>=4.60,<5',  # progress bars
    ],
    # pip install '.[bags,parquet]'
    extras_require={
        # Apache-2.0. 0.11.7 is what rosbags-image asks for; a 0.12 may change the converter of
        # ROS 1 types, which bags/writer.py uses.
        'bags': ['rosbags>=0.11.7,<0.12', 'rosbags-image>=0.10.4,<0.11'],
        # Average precision, also of boundaries (Apache-2.0); a 2.0 may change its interface.
        # Jinja2 (BSD) fills in the report.
        'evaluate': ['faster-coco-eval>=1.8,<2', 'jinja2>=3,<4'],
        'completion': ['shtab>=1.13,<2'],  # MPL-2.0; alive, and its scripts do not start Python
        'parquet': ['pyarrow>=14,<28'],  # Apache-2.0; instance-seg --parquet; 14 has Python 3.12
        # Apache-2.0. Ray Data, and with it pyarrow and fsspec, which instance-seg batch uses
        # without Ray, too. 2.51 has the actor pools that batch/on_ray.py asks for.
        'batch': ['ray[data]>=2.51,<3', 'pyarrow>=14,<28', 'fsspec>=2023.1'],
    },
    entry_points={'console_scripts': [f'instance-seg = {NAME}.cli:main']},
    zip_safe=False,
)
