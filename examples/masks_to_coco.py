# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Writes the masks of a folder of photos as a COCO data set: masks_to_coco.py photos/ coco.json."""

import json
import sys
from pathlib import Path
from typing import Any

import cv2
from pycocotools import mask as coco_mask

from instance_seg_ros import Segmenter


def main() -> None:
    folder, target = Path(sys.argv[1]), Path(sys.argv[2])
    segmenter = Segmenter()
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, path in enumerate(sorted(folder.glob('*.jpg')), start=1):
        image = cv2.imread(str(path))
        height, width = image.shape[:2]
        images.append({'id': image_id, 'file_name': path.name, 'height': height, 'width': width})
        for annotation in segmenter(image).to_coco(image_id):
            # What an annotation has beyond a result; a person can correct it from here.
            annotation['id'] = len(annotations) + 1
            annotation['iscrowd'] = 0
            annotation['area'] = int(coco_mask.area(annotation['segmentation']))
            annotations.append(annotation)
    categories = [{'id': i, 'name': name} for i, name in segmenter.class_names.items()]
    content = {'images': images, 'annotations': annotations, 'categories': categories}
    target.write_text(json.dumps(content))
    print(f'{len(annotations)} instances in {len(images)} images: {target}')


if __name__ == '__main__':
    main()
