# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Segments a video with the library: segment_video.py drive.mp4 annotated.mp4."""

import sys
from collections.abc import Iterator

import cv2
import numpy as np

from instance_seg_ros import Segmenter, draw_instances


def frames_of(video: cv2.VideoCapture) -> Iterator[np.ndarray]:
    """Yield the frames, uint8 (height, width, 3) BGR."""
    while True:
        read, frame = video.read()
        if not read:
            return
        yield frame


def main() -> None:
    source, target = sys.argv[1:]
    video = cv2.VideoCapture(source)
    if not video.isOpened():
        sys.exit(f'{source}: cannot be read as a video')
    size = (int(video.get(cv2.CAP_PROP_FRAME_WIDTH)), int(video.get(cv2.CAP_PROP_FRAME_HEIGHT)))
    writer = cv2.VideoWriter(
        target, cv2.VideoWriter.fourcc(*'mp4v'), video.get(cv2.CAP_PROP_FPS), size
    )
    segmenter = Segmenter(confidence_threshold=0.6)
    # stream() reads the next frame while the masks of this one are finished.
    for number, (frame, instances) in enumerate(segmenter.stream(frames_of(video))):
        print(f'frame {number}: {", ".join(instances.class_names) or "nothing"}')
        writer.write(draw_instances(frame, instances))
    writer.release()


if __name__ == '__main__':
    main()
