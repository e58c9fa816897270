# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The command line over a long video and a large folder: whether its memory stays flat.

    tools/run python benchmarks/many_files.py --frames 10000 --files 100000

The images are tiny, so that the number of them is what counts. It prints the memory after a tenth
of them, at the end, and the bytes that each image between added. Exit code 1 where memory grew by
more than a limit: of a video, the first frames are kept, up to 16 MB, to save what fits on a disk
that becomes full.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import psutil
from library import photo

SIZE = 64, 48  # width, height
DIFFERENT = 50  # images; the others are links to them
LINKS = 10_000  # of one file: file systems have a limit
PERIOD = 0.25  # seconds
WARM_UP = 0.1  # of the images
OPTIONS = ('--model', 'person_mask_rcnn', '--refiner', 'none', '--quiet')


def main() -> int:
    """Run both, print the figures."""
    parser = argparse.ArgumentParser(description='memory of the command line over many images')
    parser.add_argument('--frames', type=int, default=10_000, help='of the video; 0 for none')
    parser.add_argument('--files', type=int, default=100_000, help='of the folder; 0 for none')
    parser.add_argument('--most-growth', type=float, default=20.0, help='MB')
    arguments = parser.parse_args()
    grown = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.frames:
            video = write_video(folder / 'long.avi', arguments.frames)
            grown.append(
                watch('frames', arguments.frames, ['video', str(video), '--output', f'{name}/v'])
            )
        if arguments.files:
            images = write_images(folder / 'images', arguments.files)
            out = folder / 'out'
            command = ['image', str(images), '--output', str(out), '--json', f'{name}/all.json']
            grown.append(
                watch('files', arguments.files, command, lambda: sum(1 for _ in os.scandir(out)))
            )
    return 1 if any(megabytes > arguments.most_growth for megabytes in grown) else 0


def write_video(path: Path, frames: int) -> Path:
    """Write a video whose picture moves."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'MJPG'), 30.0, SIZE)
    image = photo(*SIZE)
    for frame in range(frames):
        writer.write(np.roll(image, frame, axis=1))
    writer.release()
    return path


def write_images(folder: Path, count: int) -> Path:
    """Write a folder of many files."""
    folder.mkdir()
    image = photo(*SIZE)
    for number in range(count):
        path = folder / f'{number:07}.png'
        first = number % DIFFERENT + number // (LINKS * DIFFERENT) * LINKS * DIFFERENT
        if first == number:
            cv2.imwrite(str(path), np.roll(image, number, axis=1))
        else:
            path.hardlink_to(folder / f'{first:07}.png')
    return folder


def watch(
    what: str, count: int, arguments: list[str], done: Callable[[], int] | None = None
) -> float:
    """Run a command; print what it took; return the growth of its memory after the warm-up, MB.

    Args:
        what: the images are.
        count: of them.
        arguments: of the command line.
        done: how many there are so far; None takes the time for it.
    """
    started = time.monotonic()
    command = [sys.executable, '-m', 'instance_seg_ros', *arguments, *OPTIONS]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    about = psutil.Process(process.pid)
    samples: list[tuple[float, float]] = []
    while process.poll() is None:
        try:
            progress = float(done()) if done is not None else time.monotonic() - started
            samples.append((progress, about.memory_info().rss / 1e6))
        except (psutil.NoSuchProcess, FileNotFoundError):
            pass
        time.sleep(PERIOD)
    seconds = time.monotonic() - started
    if process.returncode:
        raise SystemExit(f'exit code {process.returncode}: {" ".join(command)}')
    end = samples[-1][0]
    counted = [memory for progress, memory in samples if progress >= WARM_UP * end]
    fifth = max(1, len(counted) // 5)
    before, after = float(np.median(counted[:fifth])), float(np.median(counted[-fifth:]))
    # Between the middles of the first and the last fifth.
    each = 1e6 * (after - before) / (0.8 * (1 - WARM_UP) * count)
    most = max(memory for _, memory in samples)
    print(
        f'{count} {what}: {seconds:.0f} s, {before:.1f} MB after the warm-up, {after:.1f} MB at '
        f'the end, {most:.1f} MB at most; {each:.0f} bytes for each',
        flush=True,
    )
    return after - before


if __name__ == '__main__':
    sys.exit(main())
